"""One bar of one book, as the kernel sees it: from ledger rows to its arrays and back. No row is written here."""

import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np

from core.closed_bar import ClosedBar
from core.ledger import to_money
from core.models import Instrument, Order, Position
from core.simulation import kernel
from core.simulation.fees import fees_for
from core.simulation.rules import MarketRules, rules_table

PURPOSES = {
    kernel.REASON_DECISION: Order.Purpose.DECISION,
    kernel.REASON_STOP: Order.Purpose.STOP,
    kernel.REASON_TRAIL: Order.Purpose.TRAIL,
    kernel.REASON_TARGET: Order.Purpose.TARGET,
    kernel.REASON_REST: Order.Purpose.REST,
    kernel.REASON_FORCE: Order.Purpose.FORCE,
}

_PROTECTION = [
    kernel.RULE_STOP_LOSS,
    kernel.RULE_TAKE_PROFIT,
    kernel.RULE_TRAIL_FRACTION,
    kernel.RULE_TRAIL_ATR,
]


@dataclass(frozen=True)
class Trade:
    """Something that traded in the bar."""

    quantity: float  # signed
    price: float
    commission: float
    slippage: float  # account currency
    purpose: str  # of Order.Purpose


@dataclass(frozen=True)
class Overnight:
    """What was held over the night, in the units of the close before: a split has changed them since."""

    quantity: float  # signed
    close: float


@dataclass(frozen=True)
class BarOutcome:
    """What the bar did to the book."""

    at_open: Trade | None
    protective: Trade | None
    interest: float  # received > 0, paid < 0
    borrow: float  # paid, >= 0
    stop: float | None  # levels after the bar
    target: float | None
    best: float | None
    closing: bool  # the rest of a protective close waits
    forced_flat: bool  # must be closed at the next open
    withheld: bool  # a level was touched while protection was not allowed to trade


def live_through(
    position: Position | None,
    instrument: Instrument,
    cash: float,
    start_cash: float,
    rules: MarketRules,
    bar: ClosedBar,
    ordered: float | None,
    *,
    n_days: int,
    overnight: Overnight | None,
    protect: bool,
) -> BarOutcome:
    """Take a book through a bar by the kernel.

    cash: of the book; ordered: signed quantity of the order at the open, None for none; n_days: calendar days since
    the session of the book's last bar, 0 within a session; overnight: None for what is held now. protect: whether
    levels and forced closes may trade; where they may not they stay as they are. Splits and dividends have been booked
    before.
    """
    account, positions = kernel.new_account(start_cash), kernel.new_positions(1)
    table, row = rules_table(rules), positions[0]
    night = overnight or overnight_of(position)
    # Here and not in `advance`, which would see the quantity after a split and not what was borrowed.
    interest, borrow = kernel.financing(cash, night.quantity, night.close, float(n_days), table[0])
    account[kernel.CASH] = account[kernel.EQUITY] = cash + interest - borrow
    held = _fill_position(row, position, rules, table[0])
    before, now = _bars(position, bar)
    kept = row.copy()
    if not protect:
        row[[kernel.STOP, kernel.TARGET, kernel.BEST]], row[[kernel.REST, kernel.FORCED_FLAT]] = math.nan, 0.0
        table[0, _PROTECTION] = 0.0
    targets = np.array([math.nan if ordered is None else held + ordered])
    out, fills = np.empty(kernel.N_OUT), np.empty((1, 2, kernel.N_FILL))
    kernel.advance(account, positions, before, now, targets, table, out, fills)
    withheld = not protect and _keep_levels(row, kept, before, now, rules_table(rules)[0])
    return BarOutcome(
        at_open=_trade(fills[0, kernel.AT_OPEN]),
        protective=_trade(fills[0, kernel.PROTECTIVE]),
        interest=float(interest),
        borrow=float(borrow),
        stop=_level(row[kernel.STOP]),
        target=_level(row[kernel.TARGET]),
        best=_level(row[kernel.BEST]),
        closing=bool(row[kernel.REST]),
        forced_flat=bool(row[kernel.QUANTITY] and (row[kernel.FORCED_FLAT] or account[kernel.PENDING_FORCE])),
        withheld=withheld,
    )


def overnight_of(position: Position | None) -> Overnight:
    """What a position as it is in the ledger now was worth at the last close."""
    if position is None:
        return Overnight(0.0, 0.0)
    return Overnight(float(position.quantity), float(position.last_price))


def _fill_position(row: np.ndarray, position: Position | None, rules: MarketRules, table: np.ndarray) -> float:
    """Write what the ledger holds to the kernel's row; table: (N_RULES,). Returns: the signed quantity.

    Stop and target hang on the average price alone. They are worked out anew: rounded to the ledger's places, they
    would be touched by other bars than the kernel's; and rules that were changed since hold for what is held already.
    """
    if position is None or position.quantity == 0:
        return 0.0
    quantity, average = float(position.quantity), _as_traded(position.average_price, rules.tick_size)
    row[kernel.QUANTITY], row[kernel.AVERAGE_PRICE] = quantity, average
    row[kernel.STOP], row[kernel.TARGET], row[kernel.BEST] = kernel.levels_after_order(
        0.0, quantity, average, math.nan, math.nan, math.nan, table
    )
    if position.best_price not in (None, position.average_price):
        row[kernel.BEST] = float(position.best_price)
    row[kernel.AGE], row[kernel.REST] = float(position.age_bars), float(position.closing)
    row[kernel.FORCED_FLAT] = float(position.forced_flat)
    return quantity


def _as_traded(price: Decimal, tick: float) -> float:
    """A price of the ledger as the float it was traded at: whole ticks times the tick, 57 · 0.01 = 0.5700000000000001.

    The hair decides whether a bar touches a level worked out from it.
    """
    if tick > 0.0:
        traded = round(float(price) / tick) * tick
        if to_money(traded) == price:
            return traded
    return float(price)


def _bars(position: Position | None, bar: ClosedBar) -> tuple[np.ndarray, np.ndarray]:
    """The bar before, as far as the kernel looks at it, and this one, in the same session: (1, N_BAR) each."""
    before, now = np.zeros((1, kernel.N_BAR)), np.zeros((1, kernel.N_BAR))
    held = position is not None and position.quantity != 0
    before[0, kernel.BAR_CLOSE] = float(position.last_price) if position is not None and held else bar.open
    before[0, kernel.BAR_ATR] = bar.atr_before
    before[0, kernel.BAR_SPLIT] = now[0, kernel.BAR_SPLIT] = 1.0
    now[0, kernel.BAR_OPEN], now[0, kernel.BAR_CLOSE] = bar.open, bar.close
    now[0, kernel.BAR_HIGH], now[0, kernel.BAR_LOW] = bar.highest, bar.lowest
    now[0, kernel.BAR_VOLUME], now[0, kernel.BAR_ATR] = bar.volume, math.nan
    fees = fees_for(np.datetime64(int(bar.time.timestamp()), "s"))[0]
    now[0, kernel.BAR_SEC_RATE], now[0, kernel.BAR_TAF_PER_SHARE], now[0, kernel.BAR_TAF_CAP] = fees
    return before, now


def _keep_levels(row: np.ndarray, kept: np.ndarray, before: np.ndarray, now: np.ndarray, rules: np.ndarray) -> bool:
    """After a bar without protection: the levels as they would be, none of them having traded.

    row: after the bar, changed in place; kept: before it. Returns: whether the bar reached a level.
    """
    held, quantity = kept[kernel.QUANTITY], row[kernel.QUANTITY]
    levels = kernel.levels_after_order(
        held, quantity, row[kernel.AVERAGE_PRICE], kept[kernel.STOP], kept[kernel.TARGET], kept[kernel.BEST], rules
    )
    row[kernel.STOP], row[kernel.TARGET], row[kernel.BEST] = levels
    if quantity == 0.0:
        return False
    if held * quantity > 0.0:
        row[kernel.REST] = kept[kernel.REST]
        row[kernel.FORCED_FLAT] = max(row[kernel.FORCED_FLAT], kept[kernel.FORCED_FLAT])
    trail = kernel.trail_level(quantity, row[kernel.BEST], before[0, kernel.BAR_ATR], rules)
    *_, reason, _ = kernel.protective_close(
        quantity, row[kernel.STOP], row[kernel.TARGET], trail, now[0, kernel.BAR_OPEN], now[0, kernel.BAR_HIGH],
        now[0, kernel.BAR_LOW], 0.0, math.inf, 0.0, 0.0, 0.0, rules,
    )  # fmt: skip
    highest, lowest = now[0, kernel.BAR_HIGH], now[0, kernel.BAR_LOW]
    row[kernel.BEST] = kernel.trail_after_bar(quantity, row[kernel.BEST], highest, lowest)
    return bool(reason)


def _trade(fill: np.ndarray) -> Trade | None:
    if fill[kernel.FILL_TRADED] == 0.0:
        return None
    return Trade(
        float(fill[kernel.FILL_TRADED]), float(fill[kernel.FILL_PRICE]), float(fill[kernel.FILL_COMMISSION]),
        float(fill[kernel.FILL_SLIPPAGE]), PURPOSES[int(fill[kernel.FILL_REASON])],
    )  # fmt: skip


def _level(value: float) -> float | None:
    return None if math.isnan(value) else float(value)
