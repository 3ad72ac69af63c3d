"""Commission schedules, one order in one bar at a time. Rates come in the rules and the bar, never from here."""

import numpy as np

from core.simulation.compiled import inlined
from core.simulation.kernel.layout import (
    RULE_CLEARING_MAXIMUM_FRACTION,
    RULE_CLEARING_PER_SHARE,
    RULE_COMMISSION_BPS,
    RULE_COMMISSION_MAXIMUM_FRACTION,
    RULE_COMMISSION_MINIMUM,
    RULE_COMMISSION_PER_UNIT,
    RULE_EXCHANGE_PER_SHARE,
    RULE_MULTIPLIER,
    RULE_PASS_THROUGH,
    RULE_SCHEDULE,
    SCHEDULE_BPS,
    SCHEDULE_NONE,
    SCHEDULE_PER_CONTRACT,
    SCHEDULE_TIERED,
)


@inlined
def _third_parties(n: float, value: float, paid: float, limit_fill: bool, rules: np.ndarray, k: int) -> float:
    """What the tiered schedule passes on beside the broker's own ``paid``: exchange, clearing, a share of ``paid``."""
    exchange = 0.0 if limit_fill else rules[k + RULE_EXCHANGE_PER_SHARE] * n
    clearing = min(rules[k + RULE_CLEARING_PER_SHARE] * n, rules[k + RULE_CLEARING_MAXIMUM_FRACTION] * value)
    return exchange + clearing + rules[k + RULE_PASS_THROUGH] * paid


@inlined
def commission(
    traded: float,
    price: float,
    sec_rate: float,
    taf_per_share: float,
    taf_cap: float,
    limit_fill: bool,
    rules: np.ndarray,
    k: int = 0,
) -> float:
    """Commission of one order in one bar, regulatory fees on sells of US shares included. Not rounded, >= 0.

    sec_rate: fraction of the value sold; taf_per_share, taf_cap: FINRA's fee and its cap, account currency;
    limit_fill: the order waited at its price, so the tiered schedule charges no exchange fee for taking liquidity.
    """
    n, schedule = abs(traded), rules[k + RULE_SCHEDULE]
    value = n * price * rules[k + RULE_MULTIPLIER]
    if n == 0.0 or schedule == SCHEDULE_NONE:
        return 0.0
    if schedule == SCHEDULE_BPS:
        return value * rules[k + RULE_COMMISSION_BPS] / 1e4
    if schedule == SCHEDULE_PER_CONTRACT:
        return rules[k + RULE_COMMISSION_PER_UNIT] * n
    paid = max(rules[k + RULE_COMMISSION_MINIMUM], rules[k + RULE_COMMISSION_PER_UNIT] * n)
    paid = min(paid, rules[k + RULE_COMMISSION_MAXIMUM_FRACTION] * value)
    if schedule == SCHEDULE_TIERED:
        paid += _third_parties(n, value, paid, limit_fill, rules, k)
    if traded < 0.0:
        paid += sec_rate * value + min(taf_per_share * n, taf_cap)
    return paid
