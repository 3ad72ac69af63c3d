"""Stops, targets and trails: where they lie, and what they do inside a bar."""

import math

import numpy as np

from core.simulation.compiled import inlined
from core.simulation.kernel.costs import commission
from core.simulation.kernel.layout import (
    REASON_STOP,
    REASON_TARGET,
    REASON_TRAIL,
    RULE_MULTIPLIER,
    RULE_STOP_LOSS,
    RULE_TAKE_PROFIT,
    RULE_TRAIL_ATR,
    RULE_TRAIL_FRACTION,
)
from core.simulation.kernel.prices import fill_price, limit_price
from core.simulation.kernel.sizing import within_limit


@inlined
def levels_after_order(
    quantity_before: float,
    quantity: float,
    average_price: float,
    stop: float,
    target: float,
    best: float,
    rules: np.ndarray,
    k: int = 0,
) -> tuple[float, float, float]:
    """Stop, target and best price after the order at the open; NaN for none.

    An order that opens, increases or reverses sets them by the new average price, except that an increase keeps the
    best price; one that only reduces keeps all; flat has none.
    """
    if quantity == 0.0:
        return np.nan, np.nan, np.nan
    same_side = quantity_before * quantity > 0.0
    if same_side and abs(quantity) <= abs(quantity_before):
        return stop, target, best
    side = 1.0 if quantity > 0.0 else -1.0
    loss, profit = rules[k + RULE_STOP_LOSS], rules[k + RULE_TAKE_PROFIT]
    stop = average_price * (1.0 - side * loss) if loss > 0.0 else np.nan
    target = average_price * (1.0 + side * profit) if profit > 0.0 else np.nan
    return stop, target, best if same_side else average_price


@inlined
def trail_level(quantity: float, best: float, atr: float, rules: np.ndarray, k: int = 0) -> float:
    """The trail's level for this bar, from what was known before it; NaN without one, or while ATR is unknown.

    atr: of the bar before, in this bar's units.
    """
    side = 1.0 if quantity > 0.0 else -1.0
    if rules[k + RULE_TRAIL_FRACTION] > 0.0:
        return best * (1.0 - side * rules[k + RULE_TRAIL_FRACTION])
    if rules[k + RULE_TRAIL_ATR] > 0.0:
        return best - side * rules[k + RULE_TRAIL_ATR] * atr
    return np.nan


@inlined
def touched(
    quantity: float, stop: float, target: float, trail: float, open_price: float, high: float, low: float
) -> tuple[int, float]:
    """Which level closes the position in this bar and at which price; (0, NaN) for none.

    First the open, which a gap may have put beyond a level, then the inside of the bar with the worse order of events.
    """
    # Mirrored around zero a short position reads like a long one: its losing side is down, too.
    side = 1.0 if quantity > 0.0 else -1.0
    opened, worst, best = open_price * side, low * side, high * side
    if side < 0.0:
        worst, best = best, worst
    level, reason = stop * side, REASON_STOP
    if math.isnan(level) or trail * side > level:
        level, reason = trail * side, REASON_TRAIL
    aim = target * side
    if opened <= level:
        return reason, open_price
    if opened >= aim:
        return REASON_TARGET, open_price
    if worst <= level:
        return reason, level * side
    if best >= aim:
        return REASON_TARGET, target
    return 0, np.nan


@inlined
def protective_close(
    quantity: float,
    stop: float,
    target: float,
    trail: float,
    open_price: float,
    high: float,
    low: float,
    volume: float,
    limit: float,
    sec_rate: float,
    taf_per_share: float,
    taf_cap: float,
    rules: np.ndarray,
    k: int = 0,
) -> tuple[float, float, float, float, int, float]:
    """Close a position whose stop, trail or target this bar touches.

    stop, target, trail: levels, NaN for none; limit: units this bar still lets trade.
    Returns: (traded, price, commission, slippage, reason, rest); reason 0 where no level is touched; traded 0 and
    price NaN where the bar lets nothing trade; rest: signed quantity that is left to close at the next open.
    """
    reason, reference = touched(quantity, stop, target, trail, open_price, high, low)
    if reason == 0:
        return 0.0, np.nan, 0.0, 0.0, 0, 0.0
    traded = within_limit(-quantity, limit, rules, k)
    if traded == 0.0:
        return 0.0, np.nan, 0.0, 0.0, reason, quantity
    is_limit = reason == REASON_TARGET
    if is_limit:
        price = limit_price(reference, traded, rules, k)
    else:
        price = fill_price(reference, traded, volume, rules, k)
    paid = commission(traded, price, sec_rate, taf_per_share, taf_cap, is_limit, rules, k)
    slippage = (price - reference) * traded * rules[k + RULE_MULTIPLIER]
    return traded, price, paid, slippage, reason, quantity + traded


@inlined
def trail_after_bar(quantity: float, best: float, high: float, low: float) -> float:
    """The best price a position has seen, once this bar is over."""
    return max(best, high) if quantity > 0.0 else min(best, low)
