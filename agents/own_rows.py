"""What a live agent remembers of itself, read from its stored rows: snapshots, fills, splits and decisions.

The rows go through the same functions as the environment's steps (own_history), so a process that has just started
remembers exactly what the one before did. Only bars that are completely dealt with are kept in memory; the bar at hand
is added to a copy, for its transaction may still be undone.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Any

import numpy as np
from django.db.models import QuerySet

from agents.environment import own_history
from agents.models import Agent, Decision
from core.closed_bar import ClosedBar
from core.models import EquitySnapshot, Fill
from risk.models import BookedAction

Row = tuple[Any, ...]  # begins with its time
ROWS_AT_ONCE = 5_000


@dataclass(frozen=True)
class _Known:
    """The memory at the close of one bar, before the decision made there."""

    time: datetime
    values: np.ndarray
    held: Decimal  # the ledger's own quantity: a sum of floats may miss zero by a hair


# What changes the quantity held, in order: a fill (time, False, quantity, price, commission), or before the fills of
# its time a split (time, True, ratio, quantity after it).
def _opened(moves: list[Row]) -> datetime | None:
    """When the position the moves leave open was opened, from flat or by reversal; None when flat."""
    held, opened = Decimal(0), None
    for time, is_split, number, *rest in moves:
        before, held = held, rest[0] if is_split else held + number
        if held * before <= 0:
            opened = time if held else None
    return opened


class _Rows:
    """Rows in order of time, taken as far as wanted."""

    def __init__(self, rows: Iterator[Row]) -> None:
        self._rows = rows
        self.next = next(rows, None)

    def take(self, wanted: Callable[[datetime], bool]) -> Iterator[Row]:
        """The rows from here on while their time is wanted."""
        while self.next is not None and wanted(self.next[0]):
            row, self.next = self.next, next(self._rows, None)
            yield row


class OwnRows:
    """One agent's memory, grown bar by bar."""

    def __init__(self, agent: Agent) -> None:
        self.agent, self.multiplier = agent, agent.instrument.multiplier
        self._known: _Known | None = None

    def memory(self, bar: ClosedBar) -> np.ndarray:
        """The memory at the close of a bar whose fills are booked and whose snapshot is stored.

        The first call reads as far back as anything still matters, later ones only what is new.
        Raises: LookupError without that snapshot.
        """
        known = self._known if self._known is not None and self._known.time < bar.time else self._begin(bar.time)
        snapshots, moves, decisions = self._rows(known.time if known else None, bar.time)
        for snapshot in snapshots.take(lambda time: True):
            self._known = known  # of a bar before this one
            known = self._closed(known, snapshot, moves, decisions, bar)
        if known is None or known.time != bar.time:
            raise LookupError(f"{self.agent.name}'s book was not valued at {bar.time:%Y-%m-%d %H:%M}; mark it first")
        return known.values

    def _begin(self, until: datetime) -> _Known | None:
        """The memory at a bar from which on reading is enough: of what was before it only fills and splits matter.

        None where it takes everything from the first bar on.
        """
        moves = list(self._moves(self._fills(until), self._splits(until)))
        start = self._start(until, _opened(moves))
        if start is None:
            return None
        values, held, last_fill = own_history.new_memory(0.0, float(start.equity)), Decimal(0), None
        for move in moves:
            if move[0] > start.time:
                break
            held = self._move(values, held, move)
            last_fill = last_fill if move[1] else move[0]
        values[own_history.FILLED_NOW] = 0.0
        bars = self._snapshots(start.time)
        since = bars.count() - 1 if last_fill is None else bars.filter(time__gt=last_fill).count()
        values[own_history.SINCE_FILL] = since
        return _Known(start.time, values, held)

    def _start(self, until: datetime, opened: datetime | None) -> EquitySnapshot | None:
        """The newest snapshot with enough bars and decisions after it, and before the open position was opened."""
        snapshots = self._snapshots(until).order_by("-time")
        decisions = Decision.objects.filter(agent=self.agent.pk, time__lt=until).order_by("-time")
        bound = snapshots[own_history.N_BARS :].values_list("time", flat=True).first()
        wish = decisions[own_history.N_WANTED - 1 :].values_list("time", flat=True).first()
        if bound is None or wish is None:
            return None
        early = snapshots.filter(time__lte=min(bound, wish))
        return (early.filter(time__lt=opened) if opened else early).first()

    def _snapshots(self, until: datetime) -> QuerySet[EquitySnapshot]:
        return EquitySnapshot.objects.filter(book=self.agent.book_id, time__lte=until)

    def _fills(self, until: datetime) -> QuerySet[Fill, Row]:
        """Time, quantity, price and commission of the fills so far, oldest first."""
        fills = Fill.objects.filter(book=self.agent.book_id, instrument=self.agent.instrument_id, time__lte=until)
        return fills.order_by("time", "id").values_list("time", "quantity", "price", "commission")

    def _splits(self, until: datetime) -> QuerySet[BookedAction, Row]:
        """Time, ratio and quantity after of the splits booked so far, oldest first."""
        mine = {"book": self.agent.book_id, "instrument": self.agent.instrument_id, "time__lte": until}
        splits = BookedAction.objects.filter(kind=BookedAction.Kind.SPLIT, applied=True, **mine)
        return splits.order_by("time", "ex_date").values_list("time", "value", "quantity_after")

    def _moves(self, fills: QuerySet[Any, Row], splits: QuerySet[Any, Row]) -> Iterator[Row]:
        """Both as moves in order of time. Several splits of one bar are one, with the product of their ratios."""
        waiting: dict[datetime, Row] = {}
        for time, ratio, after in splits:
            before = waiting[time][2] if time in waiting else 1.0
            waiting[time] = (time, True, before * ratio, after)
        rest = sorted(waiting.values())
        for time, *numbers in fills.iterator(chunk_size=ROWS_AT_ONCE):
            while rest and rest[0][0] <= time:
                yield rest.pop(0)
            yield (time, False, *numbers)
        yield from rest

    def _move(self, values: np.ndarray, held: Decimal, move: Row) -> Decimal:
        """Remember one move. Returns: the quantity held then."""
        _, is_split, number, *rest = move
        if is_split:
            own_history.split_units(values, float(number), float(rest[0]))
            return rest[0]
        held += number
        price, commission = rest
        own_history.add_fill(
            values, float(number), float(price), float(commission), float(held), float(self.multiplier)
        )
        return held

    def _rows(self, after: datetime | None, until: datetime) -> tuple[_Rows, _Rows, _Rows]:
        """Snapshots and moves later than `after`, decisions from it on, all up to `until`."""
        later, from_it = ({} if after is None else {name: after} for name in ("time__gt", "time__gte"))
        snapshots = (
            self._snapshots(until).filter(**later).order_by("time").values_list("time", "cash", "equity", "exposure")
        )
        decisions = Decision.objects.filter(agent=self.agent.pk, time__lt=until, **from_it).order_by("time")
        moves = self._moves(self._fills(until).filter(**later), self._splits(until).filter(**later))
        wishes = decisions.values_list("time", "quantity_wanted", "close", "equity")
        first, third = (_Rows(query.iterator(chunk_size=ROWS_AT_ONCE)) for query in (snapshots, wishes))
        return first, _Rows(moves), third

    def _closed(self, known: _Known | None, snapshot: Row, moves: _Rows, decisions: _Rows, bar: ClosedBar) -> _Known:
        """The memory one bar later."""
        time, cash, equity, exposure = snapshot
        multiplier = float(self.multiplier)
        if known is None:
            close = self._close(time, cash, equity, exposure, Decimal(0), decisions, bar)
            return _Known(time, own_history.new_memory(close, float(equity)), Decimal(0))
        values, held = known.values.copy(), known.held
        for _, wanted, close, worth in decisions.take(lambda moment: moment < time):
            own_history.add_decision(values, wanted, close, worth, multiplier)
        for move in moves.take(lambda moment: moment <= time):
            held = self._move(values, held, move)
        close = self._close(time, cash, equity, exposure, held, decisions, bar)
        own_history.close_bar(values, close, float(equity))
        return _Known(time, values, held)

    def _close(
        self, time: datetime, cash: Decimal, equity: Decimal, exposure: float, held: Decimal, decisions: _Rows,
        bar: ClosedBar,
    ) -> float:  # fmt: skip
        """The close a bar was valued at: as its decision has it, else what the ledger's value says.

        Not from the stored bars: those may have been corrected since.
        """
        if time == bar.time:
            return bar.close
        if decisions.next is not None and decisions.next[0] == time:
            return float(decisions.next[2])
        if not held:
            return 0.0
        # A future's gains are in cash, so only its exposure tells its value; without equity there is no exposure.
        value = float(equity - cash) if exposure == 0.0 else exposure * float(equity)
        return value / float(held * self.multiplier)
