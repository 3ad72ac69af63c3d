"""A second, slow and plain account of one bar, to hold the kernel against.

Written from the rules in words, not from the kernel: no numpy, no vectors, dictionaries with names. It follows the
rules' own order of multiplication, so that rounding down to whole lots falls the same way.
"""

from math import ceil, floor, inf, isnan, log1p, sqrt, trunc
from typing import Any


def slipped(reference: float, n: float, volume: float, rules: dict[str, Any]) -> float:
    """Spread plus volume-share impact, then to the tick against the trader."""
    impact = rules["impact_bps"] * (abs(n) / volume) ** rules["impact_exponent"] if volume else 0.0
    slip = (rules["half_spread_bps"] + impact) / 10_000
    tick = rules["tick_size"]
    if n > 0:
        raw = reference * (1 + slip)
        return ceil(raw / tick - 1e-9) * tick if tick else raw
    raw = reference * (1 - slip)
    return max(0.0, floor(raw / tick + 1e-9) * tick if tick else raw)


def charged(n: float, price: float, fees: tuple[float, float, float], rules: dict[str, Any]) -> float:
    """IBKR fixed: at least 1.00, at most 1 % of value; sells also pay the SEC and FINRA."""
    value = abs(n) * price * rules["multiplier"]
    if rules["schedule"] == "none":
        return 0.0
    if rules["schedule"] == "bps":
        return rules["commission_bps"] / 10_000 * value
    broker = min(max(1.00, 0.005 * abs(n)), 0.01 * value)
    if n > 0:
        return broker
    sec, taf, cap = fees
    return broker + sec * value + min(taf * abs(n), cap)


def decided(weight: float, book: dict[str, float], close: float, rules: dict[str, Any]) -> float:
    """Continuous action to target quantity."""
    weight = max(-1.0 if rules["short_selling"] else 0.0, min(1.0, weight)) * rules["max_weight"]
    if book["equity"] <= 0 or weight == 0:
        return 0.0
    current = book["quantity"] * close * rules["multiplier"] / book["equity"]
    if abs(weight - current) < rules["no_trade_band"]:
        return book["quantity"]
    return trunc(weight * book["equity"] / (close * rules["multiplier"]) / rules["lot"]) * rules["lot"]


def affordable(target: float, book: dict[str, float], open_: float, volume: float, rules: dict[str, Any]) -> float:
    """Quantity after the leverage limit at the open, then the volume limit."""
    held, lot, m = book["quantity"], rules["lot"], rules["multiplier"]
    if not rules["short_selling"]:
        target = max(target, 0.0)
    half = rules["half_spread_bps"] / 10_000
    equity = book["cash"] + held * open_ * m
    if target > 0 and target > held:  # buying into a larger or a new long position
        most = floor(rules["leverage"] * equity / (open_ * (1 + half) * m) / lot) * lot
        target = min(target, max(most, held, 0.0))
    elif target < 0 and target < held:
        most = floor(rules["leverage"] * equity / (open_ * (1 - half) * m) / lot) * lot
        target = -min(-target, max(most, -held, 0.0))
    most_traded = floor(rules["participation"] * volume / lot) * lot if rules["participation"] else inf
    if target - held > most_traded * (1 + 1e-9):
        return held + most_traded
    if held - target > most_traded * (1 + 1e-9):
        return held - most_traded
    return target


def run(
    bars: list[tuple[float, float, float]],
    fees: list[tuple[float, float, float]],
    start_cash: float,
    weights: list[float],
    rules: dict[str, Any],
) -> list[dict[str, float]]:
    """One dictionary per bar (open, close, volume); weights are continuous actions, NaN for no decision."""
    book = {"cash": start_cash, "quantity": 0.0, "average": 0.0, "equity": start_cash, "peak": start_cash}
    book.update(variance=0.0, age=0.0, drawdown=0.0)
    ruined, target, days = False, 0.0, []
    decay = 0.5 ** (1 / rules["volatility_half_life"])
    m = rules["multiplier"]
    for (open_, close, volume), fee, weight in zip(bars, fees, weights, strict=True):
        before = dict(book)
        held = book["quantity"]
        new = affordable(0.0 if ruined else target, book, open_, volume, rules)
        n = new - held
        day = {"traded": n, "price": float("nan"), "commission": 0.0, "slippage": 0.0}
        day["terminated"] = float(ruined)
        if n:
            price = slipped(open_, n, volume, rules)
            paid = charged(n, price, fee, rules)
            book["cash"] = book["cash"] - n * price * m - paid
            book["quantity"] = new
            if new == 0:
                book["average"] = 0.0
            elif held * new <= 0:
                book["average"] = price
            elif abs(new) > abs(held):
                book["average"] = (abs(held) * book["average"] + abs(n) * price) / abs(new)
            day.update(price=price, commission=paid, slippage=abs(price - open_) * abs(n) * m)
        book["equity"] = book["cash"] + book["quantity"] * close * m
        book["peak"] = max(book["peak"], book["equity"])
        book["drawdown"] = 1 - book["equity"] / book["peak"]
        same_side = book["quantity"] * held > 0
        book["age"] = 0.0 if not book["quantity"] else book["age"] + 1 if same_side else 1.0
        earned = book["equity"] / before["equity"] - 1 if before["equity"] > 0 else 0.0
        book["variance"] = decay * book["variance"] + (1 - decay) * earned**2
        costs = day["commission"] + day["slippage"]
        day["net_return"] = earned
        day["log_return"] = log1p(max(earned, -1 + 1e-6))
        day["drawdown_reward"] = -max(0.0, book["drawdown"] - before["drawdown"])
        day["volatility"] = -sqrt(book["variance"])
        day["cost"] = -costs / before["equity"] if before["equity"] > 0 else 0.0
        if book["equity"] <= rules["ruin_fraction"] * start_cash:
            ruined = True
        days.append(book | day)
        target = book["quantity"] if isnan(weight) else decided(weight, book, close, rules)
    return days
