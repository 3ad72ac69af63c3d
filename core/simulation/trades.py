"""From fills to round trips, at average cost.

Every fill that reduces a position closes a slice of it, and each slice is one round trip: its entry is the position's
average price and opening time, its costs are its share of the entry commissions plus the exit commission.
A split changes what is open into new units; what it pays out in cash for fractions is no trade, and neither is a
dividend: both are in the account's equity, not in a trade's result.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import isfinite

import numpy as np

Time = datetime | np.datetime64 | int


@dataclass(frozen=True)
class Fill:
    """One execution."""

    time: Time  # any values that order the fills: datetimes or bar numbers
    quantity: float  # signed: bought > 0, sold < 0
    price: float  # per unit
    commission: float = 0.0  # account currency, >= 0


@dataclass(frozen=True)
class Split:
    """A split as an account met it, before the fills of its time."""

    time: Time
    ratio: float  # new units for one old
    quantity: float  # signed, held after it


@dataclass(frozen=True)
class RoundTrip:
    """A slice of a position, entry to exit."""

    entry_time: Time  # when the position was opened from flat or by reversal
    exit_time: Time
    side: int  # +1 long, -1 short
    quantity: float  # > 0
    entry_price: float  # average of the position when the slice was closed
    exit_price: float
    costs: float  # commissions of both ends that fall on this slice
    result: float  # account currency, net of costs
    instrument: int = 0  # its number in an account of several


@dataclass(frozen=True)
class OpenPosition:
    """What the fills have not closed."""

    entry_time: Time
    quantity: float  # signed
    average_price: float
    costs: float  # entry commissions that fall on what is still open


def round_trips(fills: Iterable[Fill], multiplier: float = 1.0, splits: Iterable[Split] = ()) -> list[RoundTrip]:
    """Closed round trips, in order of their exits.

    fills, splits: one instrument, in order of time; multiplier: money per unit and point.
    Raises: ValueError for fills out of order, a quantity of 0, or numbers that are not finite.
    """
    return match_fills(fills, multiplier, splits)[0]


def open_remainder(fills: Iterable[Fill], multiplier: float = 1.0, splits: Iterable[Split] = ()) -> OpenPosition | None:
    """The position the fills leave open, or None when flat. Raises: as round_trips."""
    return match_fills(fills, multiplier, splits)[1]


def match_fills(
    fills: Iterable[Fill], multiplier: float = 1.0, splits: Iterable[Split] = ()
) -> tuple[list[RoundTrip], OpenPosition | None]:
    """Round trips and the open remainder in one pass; see round_trips."""
    waiting = deque(splits)
    trips: list[RoundTrip] = []
    position: OpenPosition | None = None
    previous: Fill | None = None
    for number, fill in enumerate(fills):
        _check(fill, number, previous)
        previous = fill
        while waiting and waiting[0].time <= fill.time:  # type: ignore[operator]
            position = _split(position, waiting.popleft())
        if position is None:
            position = OpenPosition(fill.time, fill.quantity, fill.price, fill.commission)
        elif position.quantity * fill.quantity > 0:
            position = _increased(position, fill)
        else:
            trip, position = _reduced(position, fill, multiplier)
            trips.append(trip)
    for split in waiting:
        position = _split(position, split)
    return trips, position


def fills_from_array(fills: np.ndarray, times: Sequence[Time] | np.ndarray | None = None) -> list[Fill]:
    """Fills of one instrument, rows that begin with bar, quantity, price, commission; times: one per bar.

    fills: (n, 4 or more), as ``kernel.run_targets`` returns them for one instrument.
    """
    return [
        Fill(int(bar) if times is None else times[int(bar)], float(quantity), float(price), float(commission))
        for bar, quantity, price, commission in fills[:, :4]
    ]


def _split(position: OpenPosition | None, split: Split) -> OpenPosition | None:
    if position is None or split.quantity == 0:
        return None
    return replace(position, quantity=split.quantity, average_price=position.average_price / split.ratio)


def _increased(position: OpenPosition, fill: Fill) -> OpenPosition:
    quantity = position.quantity + fill.quantity
    average = (position.quantity * position.average_price + fill.quantity * fill.price) / quantity
    return OpenPosition(position.entry_time, quantity, average, position.costs + fill.commission)


def _reduced(position: OpenPosition, fill: Fill, multiplier: float) -> tuple[RoundTrip, OpenPosition | None]:
    side = 1 if position.quantity > 0 else -1
    closed = min(abs(position.quantity), abs(fill.quantity))
    entry_costs = position.costs * closed / abs(position.quantity)
    exit_costs = fill.commission * closed / abs(fill.quantity)
    costs = entry_costs + exit_costs
    result = side * closed * (fill.price - position.average_price) * multiplier - costs
    trip = RoundTrip(position.entry_time, fill.time, side, closed, position.average_price, fill.price, costs, result)
    quantity = position.quantity + fill.quantity
    if quantity == 0:
        return trip, None
    if quantity * position.quantity > 0:
        rest = OpenPosition(position.entry_time, quantity, position.average_price, position.costs - entry_costs)
    else:  # reversed: the rest of this fill opens the other side
        rest = OpenPosition(fill.time, quantity, fill.price, fill.commission - exit_costs)
    return trip, rest


def _check(fill: Fill, number: int, previous: Fill | None) -> None:
    if not (isfinite(fill.quantity) and isfinite(fill.price) and isfinite(fill.commission)) or fill.quantity == 0:
        raise ValueError(f"fill {number} is {fill}; quantity must not be 0 and all numbers must be finite")
    if previous is not None and fill.time < previous.time:  # type: ignore[operator]
        raise ValueError(f"fills must ascend by time: fill {number} ({fill.time}) precedes the one before; sort first")
