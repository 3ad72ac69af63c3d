"""Steps 3 to 7 of a bar: protection inside it, the mark at its close, rewards, and what is forced at the next open."""

import math

import numpy as np

from core.simulation.compiled import inlined
from core.simulation.kernel.layout import (
    AGE,
    AT_OPEN,
    AVERAGE_PRICE,
    BAR_ATR,
    BAR_CLOSE,
    BAR_HIGH,
    BAR_LOW,
    BAR_OPEN,
    BAR_SEC_RATE,
    BAR_TAF_CAP,
    BAR_TAF_PER_SHARE,
    BAR_VOLUME,
    BEST,
    DRAWDOWN,
    EQUITY,
    FILL_COMMISSION,
    FILL_PRICE,
    FILL_REASON,
    FILL_SLIPPAGE,
    FILL_TRADED,
    FORCED_FLAT,
    N_BAR,
    N_FILL,
    N_POSITION,
    N_RULES,
    OUT_COMMISSION,
    OUT_COST,
    OUT_DRAWDOWN,
    OUT_EXPOSURE,
    OUT_GROSS_EXPOSURE,
    OUT_HOLDING,
    OUT_SLIPPAGE,
    OUT_TURNOVER,
    PEAK,
    PENDING_FORCE,
    PROTECTIVE,
    QUANTITY,
    REST,
    RULE_MARGIN_CALL,
    RULE_MULTIPLIER,
    RULE_RUIN_FRACTION,
    RULE_SETTLED_DAILY,
    RULE_TIME_STOP,
    START_EQUITY,
    STOP,
    TARGET,
)
from core.simulation.kernel.levels import protective_close, trail_after_bar, trail_level
from core.simulation.kernel.opening import anchor_of, split_of
from core.simulation.kernel.sessions import settle
from core.simulation.kernel.sizing import limit_left, trade_limit


@inlined
def protect(
    positions: np.ndarray,
    position: int,
    before: np.ndarray,
    last: int,
    bars: np.ndarray,
    bar: int,
    rules: np.ndarray,
    k: int,
    fills: np.ndarray,
    fill: int,
) -> float:
    """Steps 3 to 5 for one instrument: close it at a level, or move its trail. Returns: the change of cash."""
    held = positions[position + QUANTITY]
    if held == 0.0 or positions[position + REST] != 0.0:
        return 0.0
    atr = before[last + BAR_ATR] / split_of(before, last, bars, bar)
    volume, high, low = bars[bar + BAR_VOLUME], bars[bar + BAR_HIGH], bars[bar + BAR_LOW]
    # What traded at the open has used its part of the bar's volume.
    at_open = fills[fill + AT_OPEN * N_FILL + FILL_TRADED]
    limit = limit_left(trade_limit(volume, rules, k), at_open, rules, k)
    traded, price, paid, slippage, reason, rest = protective_close(
        held, positions[position + STOP], positions[position + TARGET],
        trail_level(held, positions[position + BEST], atr, rules, k),
        bars[bar + BAR_OPEN], high, low, volume, limit,
        bars[bar + BAR_SEC_RATE], bars[bar + BAR_TAF_PER_SHARE], bars[bar + BAR_TAF_CAP], rules, k,
    )  # fmt: skip
    if reason == 0:
        positions[position + BEST] = trail_after_bar(held, positions[position + BEST], high, low)
        return 0.0
    positions[position + QUANTITY] = rest
    positions[position + REST] = 1.0  # until flat
    if traded == 0.0:
        return 0.0
    fill += PROTECTIVE * N_FILL
    fills[fill + FILL_TRADED], fills[fill + FILL_PRICE] = traded, price
    fills[fill + FILL_COMMISSION], fills[fill + FILL_SLIPPAGE] = paid, slippage
    fills[fill + FILL_REASON] = reason
    anchor = anchor_of(before, last, bars, bar, rules, k)
    return -traded * (price - anchor) * rules[k + RULE_MULTIPLIER] - paid


@inlined
def _age(positions: np.ndarray, position: int, time_stop: float) -> float:
    """One more close seen, or everything forgotten when flat. Returns: the age in bars."""
    if positions[position + QUANTITY] == 0.0:
        positions[position + AVERAGE_PRICE] = positions[position + AGE] = 0.0
        positions[position + REST] = positions[position + FORCED_FLAT] = 0.0
        positions[position + STOP] = positions[position + TARGET] = positions[position + BEST] = np.nan
        return 0.0
    age = positions[position + AGE] + 1.0
    positions[position + AGE] = age
    if time_stop > 0.0 and age >= time_stop:
        positions[position + FORCED_FLAT] = 1.0
    return age


@inlined
def mark_positions(
    cash: float,
    positions: np.ndarray,
    p: int,
    before: np.ndarray,
    b: int,
    bars: np.ndarray,
    n: int,
    rules: np.ndarray,
    r: int,
    n_instruments: int,
) -> tuple[float, float, float, float, float]:
    """Step 6 for the positions: settlement, values at the close, ages.

    Returns: (cash, equity, net value, gross value, sum of age * |value|).
    """
    wealth, net, gross, aged = 0.0, 0.0, 0.0, 0.0
    for i in range(n_instruments):
        position, bar, k = p + i * N_POSITION, n + i * N_BAR, r + i * N_RULES
        quantity, close = positions[position + QUANTITY], bars[bar + BAR_CLOSE]
        age = _age(positions, position, rules[k + RULE_TIME_STOP])
        value = quantity * close * rules[k + RULE_MULTIPLIER]
        if rules[k + RULE_SETTLED_DAILY] == 0.0:
            wealth += value
        else:
            cash += settle(quantity, anchor_of(before, b + i * N_BAR, bars, bar, rules, k), close, rules, k)
        net += value
        gross += abs(value)
        aged += age * abs(value)
    return cash, cash + wealth, net, gross, aged


@inlined
def sum_fills(fills: np.ndarray, f: int, rules: np.ndarray, r: int, n_instruments: int) -> tuple[float, float, float]:
    """(commission, slippage, value traded) of all fills of a bar."""
    paid, slippage, turnover = 0.0, 0.0, 0.0
    for i in range(2 * n_instruments):
        fill = f + i * N_FILL
        if fills[fill + FILL_TRADED] != 0.0:
            paid += fills[fill + FILL_COMMISSION]
            slippage += fills[fill + FILL_SLIPPAGE]
            multiplier = rules[r + (i // 2) * N_RULES + RULE_MULTIPLIER]
            turnover += abs(fills[fill + FILL_TRADED]) * fills[fill + FILL_PRICE] * multiplier
    return paid, slippage, turnover


@inlined
def mark_account(
    accounts: np.ndarray,
    a: int,
    equity: float,
    net: float,
    gross: float,
    aged: float,
    costs: tuple[float, float, float],
    out: np.ndarray,
    o: int,
) -> float:
    """Step 6 for the account: equity, peak, drawdown, and the rewards that need no memory. Returns: the net return."""
    equity_before, drawdown_before = accounts[a + EQUITY], accounts[a + DRAWDOWN]
    accounts[a + EQUITY] = equity
    accounts[a + PEAK] = max(accounts[a + PEAK], equity)
    drawdown = 1.0 - equity / accounts[a + PEAK]
    accounts[a + DRAWDOWN] = drawdown
    paid, slippage, turnover = costs
    out[o + OUT_DRAWDOWN] = -max(0.0, drawdown - drawdown_before)
    out[o + OUT_COMMISSION], out[o + OUT_SLIPPAGE], out[o + OUT_TURNOVER] = paid, slippage, turnover
    share = 1.0 / equity if equity > 0.0 else 0.0
    out[o + OUT_EXPOSURE], out[o + OUT_GROSS_EXPOSURE] = net * share, gross * share
    out[o + OUT_HOLDING] = -aged * share
    # Without equity there is nothing to earn a return on; ruin has already ended such an account.
    if equity_before <= 0.0:
        out[o + OUT_COST] = 0.0
        return 0.0
    out[o + OUT_COST] = -(paid + slippage) / equity_before
    return equity / equity_before - 1.0


@inlined
def must_force(accounts: np.ndarray, a: int, gross: float, rules: np.ndarray, r: int) -> bool:
    """Step 7: whether the account is ruined, or holds more than the margin call allows."""
    equity, call = accounts[a + EQUITY], rules[r + RULE_MARGIN_CALL]
    if equity <= rules[r + RULE_RUIN_FRACTION] * accounts[a + START_EQUITY] or math.isnan(equity):
        return True
    return (call > 0.0 and gross > call * equity) or accounts[a + PENDING_FORCE] != 0.0
