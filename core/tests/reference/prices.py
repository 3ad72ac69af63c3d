"""The page's part "Price": what a trade is paid at."""

from math import ceil, floor

from core.tests.reference.state import Rules


def to_the_tick(price: float, traded: float, tick: float) -> float:
    """Against the trader: buys up, sells down; tick 0 rounds nothing. No price is below 0."""
    if tick:
        price = ceil(price / tick - 1e-9) * tick if traded > 0 else floor(price / tick + 1e-9) * tick
    return max(price, 0.0)


def market_price(reference: float, traded: float, volume: float, rules: Rules) -> float:
    """The reference, worse by half the spread and the order's own impact; no impact where there is no volume."""
    slip_bps = rules.half_spread_bps
    if volume > 0:
        slip_bps += rules.impact_bps * (abs(traded) / volume) ** rules.impact_exponent
    slip = slip_bps / 1e4
    return to_the_tick(reference * (1 + slip if traded > 0 else 1 - slip), traded, rules.tick_size)


def limit_price(reference: float, traded: float, rules: Rules) -> float:
    """A target is a limit order: no slip, but the tick counts."""
    return to_the_tick(reference, traded, rules.tick_size)
