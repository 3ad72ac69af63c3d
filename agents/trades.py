"""Round trips of the desk's books, matched from the stored fills."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from core.models import Book, Fill, Instrument
from core.simulation.trades import Fill as PlainFill
from core.simulation.trades import RoundTrip, Split, round_trips
from risk.models import BookedAction


@dataclass(frozen=True)
class Trade:
    """One round trip with the names a page shows."""

    trip: RoundTrip
    instrument: Instrument
    book: Book

    @property
    def side(self) -> str:
        return "long" if self.trip.side > 0 else "short"

    @property
    def held(self) -> str:
        """How long, in the largest unit that fits."""
        entry, exit_ = self.trip.entry_time, self.trip.exit_time
        if not (isinstance(entry, datetime) and isinstance(exit_, datetime)):
            return "–"
        seconds = (exit_ - entry).total_seconds()
        if seconds >= 86_400:
            return f"{seconds / 86_400:.0f} d"
        return f"{seconds / 3600:.1f} h" if seconds >= 3600 else f"{seconds / 60:.0f} min"


def recent_trades(account_id: int | None, limit: int | None = None) -> list[Trade]:
    """Closed round trips of an account's books, the one booked last first; all of them without a limit.

    By booking and not by market time: replays of different years run side by side.
    """
    groups: dict[tuple[int, int], list[PlainFill]] = defaultdict(list)
    names: dict[tuple[int, int], tuple[Instrument, Book]] = {}
    booked: dict[tuple[int, int, Any], int] = {}
    fills = Fill.objects.filter(book__account=account_id).select_related("instrument", "book").order_by("time", "id")
    for fill in fills:
        key = (fill.book_id, fill.instrument_id)
        groups[key].append(PlainFill(fill.time, float(fill.quantity), float(fill.price), float(fill.commission)))
        names[key], booked[(*key, fill.time)] = (fill.instrument, fill.book), fill.pk
    splits = _splits(account_id)
    trades = [
        Trade(trip, *names[key])
        for key, rows in groups.items()
        for trip in round_trips(rows, float(names[key][0].multiplier), splits[key])
    ]
    trades.sort(key=lambda trade: booked[trade.book.pk, trade.instrument.pk, trade.trip.exit_time], reverse=True)
    return trades[:limit]


def _splits(account_id: int | None) -> dict[tuple[int, int], list[Split]]:
    """The splits an account's books have met, by book and instrument, oldest first."""
    found: dict[tuple[int, int], list[Split]] = defaultdict(list)
    rows = BookedAction.objects.filter(book__account=account_id, kind=BookedAction.Kind.SPLIT, applied=True)
    for row in rows.order_by("time", "ex_date"):
        found[row.book_id, row.instrument_id].append(Split(row.time, row.value, float(row.quantity_after)))
    return found
