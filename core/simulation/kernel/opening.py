"""Steps 0 to 2 of a bar: the new session, the orders at the open, and the levels they leave.

All arrays are one-dimensional, with the offset at which the account's, position's, bar's or rules' numbers begin:
a view of a shared array would cost an atomic reference count in every bar of every thread.
"""

import math

import numpy as np

from core.simulation.compiled import inlined
from core.simulation.kernel.layout import (
    AGE,
    AVERAGE_PRICE,
    BAR_CLOSE,
    BAR_DAY,
    BAR_DIVIDEND,
    BAR_OPEN,
    BAR_SEC_RATE,
    BAR_SPLIT,
    BAR_TAF_CAP,
    BAR_TAF_PER_SHARE,
    BAR_VOLUME,
    BEST,
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
    QUANTITY,
    REASON_DECISION,
    REASON_FORCE,
    REASON_REST,
    REST,
    RULE_LEVERAGE,
    RULE_LOT,
    RULE_MULTIPLIER,
    RULE_SETTLED_DAILY,
    RULE_SHORT_SELLING,
    STOP,
    TARGET,
)
from core.simulation.kernel.levels import levels_after_order
from core.simulation.kernel.sessions import borrow_fee, fraction_after_split, interest, split_quantity
from core.simulation.kernel.sizing import reduces, room_at_open, trade_at_open, trade_limit

# Turns at the open when there are several instruments.
_RESTS, _REDUCTIONS, _OTHERS = 0, 1, 2


@inlined
def days_since(before: np.ndarray, b: int, bars: np.ndarray, n: int) -> float:
    """Calendar days from the session of one bar to that of the next, 0 within a session."""
    return max(bars[n + BAR_DAY] - before[b + BAR_DAY], 0.0)


@inlined
def split_of(before: np.ndarray, b: int, bars: np.ndarray, n: int) -> float:
    """New units for one old between two bars: a split takes effect with a new session."""
    return bars[n + BAR_SPLIT] if bars[n + BAR_DAY] > before[b + BAR_DAY] else 1.0


@inlined
def anchor_of(before: np.ndarray, b: int, bars: np.ndarray, n: int, rules: np.ndarray, k: int) -> float:
    """Price up to which a future's gains are in cash already; 0 for what is not settled daily."""
    if rules[k + RULE_SETTLED_DAILY] == 0.0:
        return 0.0
    return before[b + BAR_CLOSE] / split_of(before, b, bars, n)


@inlined
def _split_position(
    positions: np.ndarray, p: int, ratio: float, price: float, anchor: float, rules: np.ndarray, k: int
) -> float:
    """Carry out a split. Returns: money paid out for fractions of a lot."""
    before = positions[p + QUANTITY]
    whole = split_quantity(before, ratio, rules[k + RULE_LOT])
    positions[p + QUANTITY] = whole
    if whole == 0.0:
        positions[p + AVERAGE_PRICE] = 0.0
        positions[p + STOP] = positions[p + TARGET] = positions[p + BEST] = np.nan
        positions[p + REST] = 0.0  # nothing of a protective close is left, so a decision need not wait
    else:
        positions[p + AVERAGE_PRICE] /= ratio
        positions[p + STOP] /= ratio
        positions[p + TARGET] /= ratio
        positions[p + BEST] /= ratio
    return fraction_after_split(before, ratio, whole) * (price - anchor) * rules[k + RULE_MULTIPLIER]


@inlined
def begin_session(
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
) -> tuple[float, float, float, float]:
    """Step 0: splits and dividends, then interest on cash, then borrow fees; positions change in place.

    Returns: (cash, interest, borrow fees, dividends).
    """
    dividends, borrow = 0.0, 0.0
    for i in range(n_instruments):
        position, bar, last, k = p + i * N_POSITION, n + i * N_BAR, b + i * N_BAR, r + i * N_RULES
        held = positions[position + QUANTITY]
        days = days_since(before, last, bars, bar)
        if days > 0.0 and held != 0.0:
            # The night was spent in old units: their number and their price are those of the last close.
            borrow += borrow_fee(held, before[last + BAR_CLOSE], days, rules, k)
            if bars[bar + BAR_SPLIT] != 1.0:
                anchor = anchor_of(before, last, bars, bar, rules, k)
                cash += _split_position(
                    positions, position, bars[bar + BAR_SPLIT], bars[bar + BAR_OPEN], anchor, rules, k
                )
            dividends += positions[position + QUANTITY] * bars[bar + BAR_DIVIDEND] * rules[k + RULE_MULTIPLIER]
    cash += dividends
    earned = interest(cash, days_since(before, b, bars, n), rules, r)
    return cash + earned - borrow, earned, borrow, dividends


@inlined
def _room(
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
    instrument: int,
) -> float:
    """Money one instrument may be worth at the open, with cash and the other positions as they stand now."""
    equity, others = cash, 0.0
    for j in range(n_instruments):
        bar, k = n + j * N_BAR, r + j * N_RULES
        units = positions[p + j * N_POSITION + QUANTITY] * rules[k + RULE_MULTIPLIER]
        equity += units * (bars[bar + BAR_OPEN] - anchor_of(before, b + j * N_BAR, bars, bar, rules, k))
        if j != instrument:
            others += abs(units) * bars[bar + BAR_OPEN]
    return room_at_open(equity, others, rules[r + RULE_LEVERAGE])


@inlined
def _wanted(
    positions: np.ndarray, position: int, target: float, ratio: float, force: bool, rules: np.ndarray, k: int
) -> tuple[float, int]:
    """What the instrument's order at the open aims at, in this bar's units, and why."""
    if positions[position + REST] != 0.0:
        return 0.0, REASON_REST
    if force or positions[position + FORCED_FLAT] != 0.0:
        return 0.0, REASON_FORCE
    if math.isnan(target):
        return positions[position + QUANTITY], REASON_DECISION
    if ratio != 1.0:
        target = split_quantity(target, ratio, rules[k + RULE_LOT])
    if target < 0.0 and rules[k + RULE_SHORT_SELLING] == 0.0:
        target = 0.0
    return target, REASON_DECISION


@inlined
def _trade(
    room: float,
    target: float,
    reason: int,
    positions: np.ndarray,
    position: int,
    bars: np.ndarray,
    bar: int,
    anchor: float,
    rules: np.ndarray,
    k: int,
    fills: np.ndarray,
    fill: int,
) -> float:
    """One instrument's order at the open, and the levels after it. Returns: the change of cash."""
    held, volume = positions[position + QUANTITY], bars[bar + BAR_VOLUME]
    traded, price, paid, slippage, change, quantity, average = trade_at_open(
        held, target, positions[position + AVERAGE_PRICE], room, bars[bar + BAR_OPEN],
        trade_limit(volume, rules, k), volume, anchor,
        bars[bar + BAR_SEC_RATE], bars[bar + BAR_TAF_PER_SHARE], bars[bar + BAR_TAF_CAP], rules, k,
    )  # fmt: skip
    if traded == 0.0:
        return 0.0
    positions[position + STOP], positions[position + TARGET], positions[position + BEST] = levels_after_order(
        held, quantity, average, positions[position + STOP], positions[position + TARGET],
        positions[position + BEST], rules, k,
    )  # fmt: skip
    if held * quantity <= 0.0:
        positions[position + AGE] = 0.0
    positions[position + QUANTITY], positions[position + AVERAGE_PRICE] = quantity, average
    fills[fill + FILL_TRADED], fills[fill + FILL_PRICE] = traded, price
    fills[fill + FILL_COMMISSION], fills[fill + FILL_SLIPPAGE] = paid, slippage
    fills[fill + FILL_REASON] = reason
    return change


@inlined
def trade_all_at_open(
    cash: float,
    force: bool,
    positions: np.ndarray,
    p: int,
    before: np.ndarray,
    b: int,
    bars: np.ndarray,
    n: int,
    targets: np.ndarray,
    q: int,
    rules: np.ndarray,
    r: int,
    fills: np.ndarray,
    f: int,
    n_instruments: int,
) -> float:
    """Steps 1 and 2: rests of protective closes, then orders that reduce, then the others. Returns: cash."""
    several = n_instruments > 1
    for turn in range(_RESTS, (_OTHERS if several else _RESTS) + 1):
        for i in range(n_instruments):
            position, bar, last, k = p + i * N_POSITION, n + i * N_BAR, b + i * N_BAR, r + i * N_RULES
            held = positions[position + QUANTITY]
            ratio = split_of(before, last, bars, bar)
            target, reason = _wanted(positions, position, targets[q + i], ratio, force, rules, k)
            if target == held:
                continue
            smaller = reduces(held, target)
            its_turn = _RESTS if reason == REASON_REST else _REDUCTIONS if smaller else _OTHERS
            if several and its_turn != turn:
                continue
            room = np.inf
            if not smaller:
                room = _room(cash, positions, p, before, b, bars, n, rules, r, n_instruments, i)
            anchor = anchor_of(before, last, bars, bar, rules, k)
            cash += _trade(
                room, target, reason, positions, position, bars, bar, anchor, rules, k, fills, f + 2 * i * N_FILL
            )
    return cash
