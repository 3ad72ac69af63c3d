"""One bar of one book, as the kernel sees it: all its instruments in one account. No row is written here."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from core.brokers.paper_arrays import (
    OF_THE_ACCOUNT,
    PROTECTION,
    Trade,
    keep_levels,
    read_level,
    read_trade,
    rules_of_standing,
    write_bar,
    write_position,
    write_standing,
)
from core.closed_bar import ClosedBar
from core.models import Instrument, Order, Position
from core.simulation import kernel
from core.simulation.rules import MarketRules, rules_table


@dataclass(frozen=True)
class Overnight:
    """What was held over the night, in the units of the close before: a split has changed them since."""

    quantity: float  # signed
    close: float


@dataclass(frozen=True)
class Leg:
    """One instrument of the book and its bar. Splits and dividends have been booked before."""

    instrument: Instrument
    position: Position | None
    rules: MarketRules
    bar: ClosedBar
    order: Order | None  # carried out at the open as far as it is not filled
    n_days: int  # calendar days since the session of the book's last bar, 0 within a session
    overnight: Overnight | None  # None for what is held now

    @property
    def ordered(self) -> float:
        """Signed quantity that is still to be traded; NaN without an order."""
        if self.order is None:
            return math.nan
        filled = self.order.filled_quantity if self.order.side == Order.Side.BUY else -self.order.filled_quantity
        return float(self.order.signed_quantity - filled)


@dataclass(frozen=True)
class Before:
    """The book before the bar."""

    cash: float
    start_cash: float
    rules: MarketRules  # of the account: of its first instrument, whether that one has a bar or not
    standing: Sequence[Position]  # held without a bar; they count at their last price
    called: bool  # ruin or a margin call closes everything
    interest_due: bool  # False where it has been booked for this bar


@dataclass(frozen=True)
class BarOutcome:
    """What the bar did to one instrument of the book."""

    at_open: Trade | None
    protective: Trade | None
    borrow: float  # paid, >= 0
    stop: float | None  # levels after the bar
    target: float | None
    best: float | None
    closing: bool  # the rest of a protective close waits
    forced_flat: bool  # must be closed at the next open
    withheld: bool  # a level was touched while protection was not allowed to trade


@dataclass(frozen=True)
class BookOutcome:
    """What the bar did to the book."""

    legs: tuple[BarOutcome, ...]
    interest: float  # received > 0, paid < 0
    called: bool  # ruin or a margin call closes everything at the next open


def live_through(legs: Sequence[Leg], book: Before, *, protect: bool) -> BookOutcome:
    """Take a book through a bar by one call of the kernel.

    legs: at least one, in the account's order. protect: whether levels and forced closes may trade; where they may
    not they stay as they are. Raises: ValueError for a standing position without a price.
    """
    n = len(legs) + len(book.standing)
    standing_rules = [rules_of_standing(position.instrument) for position in book.standing]
    table = rules_table(*(leg.rules for leg in legs), *standing_rules)
    table[0, OF_THE_ACCOUNT] = book.rules.as_array()[OF_THE_ACCOUNT]
    # Here and not in `advance`, which would see the quantity after a split and not what was borrowed.
    interest = kernel.interest(book.cash, float(legs[0].n_days), table[0]) if book.interest_due else 0.0
    borrow = [_borrow(leg, table[i]) for i, leg in enumerate(legs)]
    account, positions = kernel.new_account(book.start_cash), kernel.new_positions(n)
    account[kernel.CASH] = account[kernel.EQUITY] = book.cash + interest - sum(borrow)
    before, now = np.zeros((n, kernel.N_BAR)), np.zeros((n, kernel.N_BAR))
    targets = np.full(n, math.nan)
    for i, leg in enumerate(legs):
        targets[i] = write_position(positions[i], leg.position, leg.rules, table[i]) + leg.ordered
        write_bar(before[i], now[i], leg.position, leg.bar)
    for i, position in enumerate(book.standing, start=len(legs)):
        write_standing(positions[i], before[i], now[i], position)
    kept, rules = positions.copy(), table.copy()
    if not protect:
        positions[:, [kernel.STOP, kernel.TARGET, kernel.BEST]] = math.nan
        positions[:, [kernel.REST, kernel.FORCED_FLAT]], table[:, PROTECTION] = 0.0, 0.0
    if book.called:
        _force(positions[: len(legs)], targets, protect=protect)
    out, fills = np.empty(kernel.N_OUT), np.empty((n, 2, kernel.N_FILL))
    kernel.advance(account, positions, before, now, targets, table, out, fills)
    called = bool(account[kernel.PENDING_FORCE]) or (book.called and bool(positions[:, kernel.QUANTITY].any()))
    outcomes = []
    for i in range(len(legs)):
        withheld = not protect and keep_levels(positions[i], kept[i], before[i], now[i], rules[i])
        outcomes.append(_outcome(positions[i], fills[i], borrow[i], called=called, withheld=withheld))
    return BookOutcome(tuple(outcomes), float(interest), called)


def _borrow(leg: Leg, rules: np.ndarray) -> float:
    night = leg.overnight or overnight_of(leg.position)
    return float(kernel.borrow_fee(night.quantity, night.close, float(leg.n_days), rules))


def _force(positions: np.ndarray, targets: np.ndarray, *, protect: bool) -> None:
    """Ruin or a margin call: everything is closed; where that may not trade nothing is enlarged at least."""
    if protect:
        # As PENDING_FORCE would, but what the kernel sets of that after the bar is then of this close alone.
        positions[:, kernel.FORCED_FLAT] = 1.0
        return
    for i, row in enumerate(positions):
        held = row[kernel.QUANTITY]
        if held * targets[i] < 0.0 or abs(targets[i]) > abs(held):
            targets[i] = math.nan


def _outcome(row: np.ndarray, fills: np.ndarray, borrow: float, *, called: bool, withheld: bool) -> BarOutcome:
    return BarOutcome(
        at_open=read_trade(fills[kernel.AT_OPEN]),
        protective=read_trade(fills[kernel.PROTECTIVE]),
        borrow=borrow,
        stop=read_level(row[kernel.STOP]),
        target=read_level(row[kernel.TARGET]),
        best=read_level(row[kernel.BEST]),
        closing=bool(row[kernel.REST]),
        forced_flat=called or bool(row[kernel.QUANTITY] and row[kernel.FORCED_FLAT]),
        withheld=withheld,
    )


def overnight_of(position: Position | None) -> Overnight:
    """What a position as it is in the ledger now was worth at the last close."""
    if position is None:
        return Overnight(0.0, 0.0)
    return Overnight(float(position.quantity), float(position.last_price))


def must_close_all(positions: Iterable[Position], rules: Mapping[int, MarketRules | None]) -> bool:
    """Whether ruin or a margin call at an earlier close still closes the whole book.

    A time stop marks its own position alone; ruin and margin calls mark every row of the book, flat ones too, until
    nothing is held. positions: of the book; rules: by instrument id, None where they are not known.
    """
    rows = list(positions)
    if any(row.forced_flat and row.quantity == 0 for row in rows):
        return True
    held = [row for row in rows if row.quantity != 0]
    marked = all(row.forced_flat for row in held)
    return marked and any(not _time_is_up(row, rules.get(row.instrument_id)) for row in held)


def _time_is_up(position: Position, rules: MarketRules | None) -> bool:
    return rules is not None and 0.0 < rules.time_stop <= position.age_bars
