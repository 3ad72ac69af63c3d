"""What an order pays: spread, impact and the tick."""

import math

import numpy as np

from core.simulation.compiled import inlined
from core.simulation.kernel.layout import (
    ROUNDING_SLACK,
    RULE_HALF_SPREAD_BPS,
    RULE_IMPACT_BPS,
    RULE_IMPACT_EXPONENT,
    RULE_TICK_SIZE,
)


@inlined
def _to_tick(price: float, traded: float, tick: float) -> float:
    """The price on a tick, moved against the trader: up for buys, down for sells, never below 0."""
    if tick > 0.0:
        if traded >= 0.0:
            price = math.ceil(price / tick - ROUNDING_SLACK) * tick
        else:
            price = math.floor(price / tick + ROUNDING_SLACK) * tick
    return max(price, 0.0)


@inlined
def slip_bps(traded: float, volume: float, rules: np.ndarray, k: int = 0) -> float:
    """Hundredths of a percent an order pays beside the market; volume 0 means no impact."""
    slip = rules[k + RULE_HALF_SPREAD_BPS]
    impact = rules[k + RULE_IMPACT_BPS]
    if impact > 0.0 and volume > 0.0:
        share, exponent = abs(traded) / volume, rules[k + RULE_IMPACT_EXPONENT]
        # The two usual laws without the general power, which costs as much as the rest of a bar.
        if exponent == 2.0:
            slip += impact * (share * share)
        elif exponent == 0.5:
            slip += impact * math.sqrt(share)
        else:
            slip += impact * share**exponent
    return slip


@inlined
def fill_price(reference: float, traded: float, volume: float, rules: np.ndarray, k: int = 0) -> float:
    """Price of a market order of ``traded`` (buys > 0, sells < 0): spread and impact, then the tick against the trader.

    reference: market price, the bar's open or the level that was touched; volume: of the bar; rules: row at offset k.
    Returns: price per unit, never below 0.
    """
    slip = slip_bps(traded, volume, rules, k) / 1e4
    price = reference * (1.0 + slip) if traded >= 0.0 else reference * (1.0 - slip)
    return _to_tick(price, traded, rules[k + RULE_TICK_SIZE])


@inlined
def limit_price(reference: float, traded: float, rules: np.ndarray, k: int = 0) -> float:
    """Price of a limit order that is met: no spread, no impact, only the tick against the trader."""
    return _to_tick(reference, traded, rules[k + RULE_TICK_SIZE])
