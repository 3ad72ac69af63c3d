"""When markets trade: sessions, half days and holidays, and what that says about bars. Pure, no database.

Numbers come from exchange_calendars, looked up once per process and kept as arrays of seconds; "24/7" needs no library.
How far a calendar is known: it is built in whole years around what is asked for, so no date is "too new". Some have a
first or last known day (lunar holidays are announced, not computed). Bars beyond it are never called outside, because
nobody knows; a daily bar there closes when its interval ends.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass, fields
from datetime import UTC, date, datetime

import numpy as np

ALWAYS = "24/7"
DAY = 86_400
# Years a calendar is first built for: long enough for most histories, short enough to build in a tenth of a second.
_FIRST_YEAR = 1990
# Building further than this is refused by 64-bit nanoseconds or asks for meaningless holidays.
_EARLIEST_YEAR, _LATEST_YEAR = 1885, 2200
_LOOK = 40 * DAY  # longer than any market stays closed


@dataclass(frozen=True, eq=False)
class Sessions:
    """Sessions in ascending order; every array has shape (S,), S may be 0."""

    day: np.ndarray  # int64, 00:00 UTC of the session's date, seconds since 1970 UTC
    opens: np.ndarray  # int64, first second of trading; of an overnight session the evening before `day`
    closes: np.ndarray  # int64, first second after trading
    half: np.ndarray  # bool, closes earlier than usual
    break_starts: np.ndarray  # int64, begin of the lunch break; equal to `closes` where there is none
    break_ends: np.ndarray  # int64, its end; equal to `closes` where there is none

    def __len__(self) -> int:
        return int(self.day.size)

    def part(self, first: int, last: int) -> Sessions:
        """Sessions number `first` to `last` - 1."""
        return Sessions(*(getattr(self, field.name)[first:last] for field in fields(self)))


@dataclass(frozen=True)
class MarketState:
    """Whether a market trades at a moment."""

    is_open: bool
    next_change: datetime | None  # aware, UTC; None: it never changes, or the calendar ends before it does


@dataclass(frozen=True, eq=False)
class _Known:
    """A calendar as far as it has been built; days are 00:00 UTC in seconds."""

    sessions: Sessions
    first: int  # first day it knows
    end: int  # first day it does not know any more
    earliest: int  # first day it could know
    latest: int  # first day it could never know

    def covers(self, start: int, end: int) -> bool:
        """Whether asking the library again would bring nothing new."""
        return self.first <= max(start, self.earliest) and min(end, self.latest) <= self.end


_known: dict[str, _Known] = {}
_lock = threading.Lock()


def sessions(calendar: str, first: date, last: date) -> Sessions:
    """Sessions whose dates lie from `first` to `last`, both included.

    calendar: a name of exchange_calendars such as "XNYS", or "24/7".
    Returns: those the calendar knows; days before or after its own bounds have none.
    Raises: ValueError for an unknown calendar or a range that ends before it begins.
    """
    if last < first:
        raise ValueError(f"the range ends on {last}, before it begins on {first}: swap the two")
    start, end = _seconds(first), _seconds(last) + DAY
    if calendar == ALWAYS:
        day = np.arange(start, end, DAY, dtype=np.int64)
        close = day + DAY
        return Sessions(day, day, close, np.zeros(day.size, bool), close, close)
    found = _calendar(calendar, start, end).sessions
    return found.part(*(int(n) for n in np.searchsorted(found.day, (start, end))))


def outside(calendar: str, time: np.ndarray, interval_seconds: int) -> np.ndarray:
    """Which bars began while the exchange was closed.

    time: int64 seconds UTC, shape (T,), start of each bar, in any order. interval_seconds: length of a bar.
    Intraday: before the open, at or after the close, or in the lunch break. From one day on: no session has a date
    within the bar. Returns: bool, shape (T,); False beyond the calendar's bounds.
    Raises: ValueError for an unknown calendar.
    """
    time = np.asarray(time, dtype=np.int64)
    if calendar == ALWAYS or time.size == 0:
        return np.zeros(time.shape, dtype=bool)
    known = _calendar(calendar, int(time.min()) - DAY, int(time.max()) + interval_seconds + DAY)
    inside = (time >= known.first) & (time < known.end)
    if interval_seconds >= DAY:
        begin, end = _spanned(known.sessions, time, interval_seconds)
        return inside & (begin == end)
    return inside & ~_trading(known.sessions, time)


def closes_at(calendar: str, time: np.ndarray, interval_seconds: int) -> np.ndarray:
    """From when on each bar may be used: a daily bar from its session's close, an intraday bar from its end.

    Arguments as `outside`. A bar longer than a day closes with the last session in it. A daily bar on a day without
    a session, or beyond the calendar's bounds, closes when its interval ends. An intraday bar never counts as closed
    before its interval is over, also where the session ends earlier: it may hold later trades.
    Returns: int64 seconds UTC, shape (T,).
    """
    time = np.asarray(time, dtype=np.int64)
    ends = time + interval_seconds
    if interval_seconds < DAY or calendar == ALWAYS or time.size == 0:
        return ends
    known = _calendar(calendar, int(time.min()) - DAY, int(time.max()) + interval_seconds + DAY)
    begin, end = _spanned(known.sessions, time, interval_seconds)
    if len(known.sessions) == 0:
        return ends
    return np.where(end > begin, known.sessions.closes[np.maximum(end - 1, 0)], ends)


def state(calendar: str, now: datetime) -> MarketState:
    """Whether the market trades at `now` (aware), and when that changes next. Lunch breaks count as closed.

    Sessions that follow each other without a pause count as one. Raises: ValueError for an unknown calendar.
    """
    if calendar == ALWAYS:
        return MarketState(True, None)
    moment = int(now.timestamp())
    known = _calendar(calendar, moment - _LOOK, moment + _LOOK)
    near = (int(n) for n in np.searchsorted(known.sessions.day, (moment - _LOOK, moment + _LOOK)))
    changes = _changes(known.sessions.part(*near))
    place = int(np.searchsorted(changes, moment, side="right"))
    after = datetime.fromtimestamp(int(changes[place]), UTC) if place < changes.size else None
    return MarketState(place % 2 == 1, after)


def _changes(found: Sessions) -> np.ndarray:
    """Moments at which the market opens (even places) and closes (odd places), int64 seconds, ascending."""
    moments = np.stack([found.opens, found.break_starts, found.break_ends, found.closes], axis=1)
    real = np.ones(moments.shape, dtype=bool)
    real[found.break_starts == found.closes, 1:3] = False
    flat = moments[real]
    same = np.flatnonzero(np.diff(flat) == 0)  # a close and the next open at once are no change
    keep = np.ones(flat.size, dtype=bool)
    keep[same] = keep[same + 1] = False
    return flat[keep]


def _trading(found: Sessions, time: np.ndarray) -> np.ndarray:
    """Whether the market trades at each time, (T,) bool."""
    if len(found) == 0:
        return np.zeros(time.shape, dtype=bool)
    place = np.searchsorted(found.opens, time, side="right") - 1
    at = np.maximum(place, 0)
    resting = (time >= found.break_starts[at]) & (time < found.break_ends[at])
    return (place >= 0) & (time < found.closes[at]) & ~resting


def _spanned(found: Sessions, time: np.ndarray, interval_seconds: int) -> tuple[np.ndarray, np.ndarray]:
    """For bars of a day or longer: sessions [begin, end) whose dates lie within each bar, two (T,) int arrays."""
    day = time - time % DAY
    end = np.maximum(day + interval_seconds, day + DAY)
    return np.searchsorted(found.day, day), np.searchsorted(found.day, end)


def _calendar(name: str, start: int, end: int) -> _Known:
    """The calendar, built so that it knows the seconds from `start` to `end` if it can."""
    known = _known.get(name)
    if known is None or not known.covers(start, end):
        with _lock:
            known = _known.get(name)  # another thread may have built it meanwhile
            if known is None or not known.covers(start, end):
                known = _known[name] = _build(name, start, end, known)
    return known


def _build(name: str, start: int, end: int, known: _Known | None) -> _Known:
    """Ask exchange_calendars for whole years around the range and what was known before. Takes 0.1 to 1.5 s."""
    import exchange_calendars
    import pandas as pd

    earliest, latest = _bounds(name)
    years = [_year(start), _year(end), _FIRST_YEAR, datetime.now(UTC).year + 1]
    if known is not None:
        years += [_year(known.first), _year(known.end - DAY)]
    first = max(date(max(min(years), _EARLIEST_YEAR), 1, 1), earliest)
    last = min(date(min(max(years), _LATEST_YEAR), 12, 31), latest)
    found = exchange_calendars.get_calendar(name, start=pd.Timestamp(first), end=pd.Timestamp(last))

    def seconds(moments: pd.Series) -> np.ndarray:
        return pd.DatetimeIndex(moments).as_unit("s").asi8  # the library counts nanoseconds, pandas 3 microseconds

    closes = seconds(found.closes)
    whole = found.break_starts.isna().to_numpy()
    made = Sessions(
        day=seconds(found.sessions),
        opens=seconds(found.opens),
        closes=closes,
        half=np.asarray(found.sessions.isin(found.early_closes)),
        break_starts=np.where(whole, closes, seconds(found.break_starts)),
        break_ends=np.where(whole, closes, seconds(found.break_ends)),
    )
    return _Known(made, _seconds(first), _seconds(last) + DAY, _seconds(earliest), _seconds(latest) + DAY)


def _bounds(name: str) -> tuple[date, date]:
    """First and last date the library can know of this calendar. Raises: ValueError for an unknown one."""
    from exchange_calendars.calendar_utils import global_calendar_dispatcher as library
    from exchange_calendars.errors import InvalidCalendarName

    try:
        found = library.get_calendar(name)
    except InvalidCalendarName as error:
        raise ValueError(
            f'there is no trading calendar {name!r}: give a name such as XNYS, CMES or XLON, or "24/7" for a market '
            "that never closes"
        ) from error
    earliest, latest = found.bound_min(), found.bound_max()
    return (
        date(_EARLIEST_YEAR, 1, 1) if earliest is None else earliest.date(),
        date(_LATEST_YEAR, 12, 31) if latest is None else latest.date(),
    )


def _seconds(day: date) -> int:
    return (day - date(1970, 1, 1)).days * DAY


def _year(seconds: int) -> int:
    """Year of a moment, also of one far outside what a datetime holds."""
    return int(np.datetime64(seconds, "s").astype("datetime64[Y]").astype(np.int64)) + 1970
