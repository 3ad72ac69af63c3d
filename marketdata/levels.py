"""Chart levels: every bar merged to ever longer ones as it is written, so that any zoom reads only what a screen shows.

A level is a whole multiple of the one below it, so each is made of the one below. Levels are for eyes: agents and
reports read the bars themselves.
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection

from marketdata.series import BarSeries

DAY = 86_400
LADDER = (5, 15, 60, 300, 900, 3600, 14_400, DAY, 4 * DAY, 16 * DAY, 64 * DAY)

_BASE = """
    SELECT time, time AS first_time, open, high, low, close, volume, 1 AS n_bars FROM marketdata_bar
    WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s
      AND time >= to_timestamp(%(start)s) AND time < to_timestamp(%(end)s)
"""
_LEVEL = """
    SELECT time, first_time, open, high, low, close, volume, n_bars FROM marketdata_chartbar
    WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s AND level_seconds = %(below)s
      AND time >= to_timestamp(%(start)s) AND time < to_timestamp(%(end)s)
"""
# The function is made by a migration; it takes the levels from the shortest to the longest.
_REFRESH = "SELECT marketdata_refresh_levels(%(instrument)s, %(interval)s, %(levels)s::int[], %(first)s, %(last)s)"
# Counts no further than it must: more than fits is all that is asked.
_COUNT_BASE = f"SELECT count(*) FROM ({_BASE} LIMIT %(limit)s) AS few"  # noqa: S608 - our own text
_COUNT_LEVEL = f"SELECT count(*) FROM ({_LEVEL} LIMIT %(limit)s) AS few"  # noqa: S608 - our own text
_TOTAL = """
    SELECT coalesce(sum(n_bars), 0) FROM marketdata_chartbar
    WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s AND level_seconds = %(level)s
      AND time >= to_timestamp(%(start)s) AND time < to_timestamp(%(end)s)
"""
_READ = """
    SELECT extract(epoch FROM first_time)::bigint, open, high, low, close, volume FROM ({rows}) AS bars ORDER BY time
"""
_READ_BASE = _READ.format(rows=_BASE)
_READ_LEVEL = _READ.format(rows=_LEVEL)
# Far before the first and after the last bar anybody stores, and within what PostgreSQL counts in.
_ROUGHLY = 16  # a level this much shorter than the span counts well enough
_EVER = (-200 * 365 * DAY, 400 * 365 * DAY)


def levels_of(interval_seconds: int) -> list[int]:
    """Lengths in seconds of the levels above bars of this interval, each a multiple of the one before; may be empty."""
    found: list[int] = []
    for level in LADDER:
        if level > interval_seconds and level % (found[-1] if found else interval_seconds) == 0:
            found.append(level)
    return found


def refresh(instrument_id: int, interval_seconds: int, first: int, last: int) -> None:
    """Bring every level up to date after bars that start from `first` to `last` (seconds UTC) were written."""
    values: dict[str, Any] = {"levels": levels_of(interval_seconds), "first": first, "last": last}
    if values["levels"]:
        with connection.cursor() as cursor:
            cursor.execute(_REFRESH, {**_key(instrument_id, interval_seconds), **values})


def rebuild(instrument_id: int, interval_seconds: int) -> None:
    """Make all levels of one series anew, such as for bars that were stored before there were levels."""
    with connection.cursor() as cursor:
        cursor.execute(
            "DELETE FROM marketdata_chartbar WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s",
            _key(instrument_id, interval_seconds),
        )
        cursor.execute(
            "SELECT extract(epoch FROM min(time))::bigint, extract(epoch FROM max(time))::bigint FROM marketdata_bar"
            " WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s",
            _key(instrument_id, interval_seconds),
        )
        first, last = cursor.fetchone()
    if first is not None:
        refresh(instrument_id, interval_seconds, first, last)


def chart_bars(
    instrument_id: int,
    interval_seconds: int,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    n_most: int = 2000,
    at_least_seconds: int = 0,
) -> BarSeries:
    """At most `n_most` bars from `start` to `end`, both included: as stored if they fit, else merged to a level.

    A merged bar has the time of its first bar. The first may begin a little before `start`, so that nothing is cut in
    half at the screen's rim; the last never knows a bar after `end`, so that a chart of the past shows no future.
    at_least_seconds: the shortest bar wanted, such as 300 to see 5-minute bars of stored minutes.
    Columns and order as queries.load_bars; no bars: an empty series. Raises: ValueError if n_most is below 1, or when
    `at_least_seconds` is neither the interval nor a level of it.
    """
    return thinned(
        instrument_id, interval_seconds, start=start, end=end, n_most=n_most, at_least_seconds=at_least_seconds
    )[0]


def thinned(
    instrument_id: int,
    interval_seconds: int,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    n_most: int = 2000,
    at_least_seconds: int = 0,
) -> tuple[BarSeries, int]:
    """As chart_bars. Returns: the bars and how many seconds each spans."""
    if n_most < 1:
        raise ValueError(f"n_most is {n_most}, expected at least 1")
    lengths = [interval_seconds, *levels_of(interval_seconds)]
    if at_least_seconds > interval_seconds:
        if at_least_seconds not in lengths:
            raise ValueError(f"bars of {interval_seconds} s are shown as {lengths} s, not as {at_least_seconds} s")
        lengths = lengths[lengths.index(at_least_seconds) :]
    # Bars start on whole seconds: the first from `start` on, the last up to `end`.
    span = (
        math.ceil(start.timestamp()) if start else _EVER[0],
        math.floor(end.timestamp()) if end else _EVER[1],
    )
    with connection.cursor() as cursor:
        length = _fitting(cursor, instrument_id, interval_seconds, lengths, span, n_most)
        bars = _read(cursor, instrument_id, interval_seconds, length, span)
    # Past the longest level there is nothing left but to take every so many.
    return (bars if len(bars) <= n_most else _every(bars, -(-len(bars) // n_most))), length


def n_stored(instrument_id: int, interval_seconds: int) -> int:
    """How many bars of one series are stored, from its longest level and so at once. Exact."""
    levels = levels_of(interval_seconds)
    if not levels:
        raise ValueError(f"bars of {interval_seconds} s have no levels to count by")
    with connection.cursor() as cursor:
        return _total(cursor, instrument_id, interval_seconds, levels[-1], _EVER)


def _fitting(
    cursor: Any, instrument_id: int, interval_seconds: int, lengths: list[int], span: tuple[int, int], n_most: int
) -> int:
    """The shortest length whose bars fit, guessed from a level's counts and then looked at."""
    rough = [level for level in levels_of(interval_seconds) if level * _ROUGHLY <= span[1] - span[0]]
    least = _total(cursor, instrument_id, interval_seconds, rough[-1], span) if rough else 0
    for length in lengths[:-1]:
        # Merging k bars leaves at least a k-th of them, so these cannot fit and need no look.
        if least * interval_seconds / length > n_most:
            continue
        values = {**_key(instrument_id, interval_seconds), **_span(length, interval_seconds, span)}
        cursor.execute(_COUNT_BASE if length == interval_seconds else _COUNT_LEVEL, {**values, "limit": n_most + 1})
        if cursor.fetchone()[0] <= n_most:
            return length
    return lengths[-1]


def _total(cursor: Any, instrument_id: int, interval_seconds: int, level: int, span: tuple[int, int]) -> int:
    """Bars in the level's whole buckets inside the span: never more than there are in it."""
    values = {"level": level, "start": -(-span[0] // level) * level, "end": (span[1] + 1) // level * level}
    cursor.execute(_TOTAL, {**_key(instrument_id, interval_seconds), **values})
    return int(cursor.fetchone()[0])


def _read(cursor: Any, instrument_id: int, interval_seconds: int, length: int, span: tuple[int, int]) -> BarSeries:
    """Bars of one length; the last one is put together from shorter ones when `end` lies inside it."""
    key = _key(instrument_id, interval_seconds)
    if length == interval_seconds:
        cursor.execute(_READ_BASE, {**key, **_span(length, interval_seconds, span)})
        return _series(cursor.fetchall())
    start, end = span[0] // length * length, span[1] + 1  # half-open from here on
    whole = end // length * length
    cursor.execute(_READ_LEVEL, {**key, "below": length, "start": start, "end": whole})
    rows = cursor.fetchall()
    rest = _rest(cursor, instrument_id, interval_seconds, length, (max(whole, start), end)) if end < _EVER[1] else []
    if rest:
        rows.append(
            (
                rest[0][0],
                rest[0][1],
                max(row[2] for row in rest),
                min(row[3] for row in rest),
                rest[-1][4],
                sum(row[5] for row in rest),
            )
        )
    return _series(rows)


def _rest(
    cursor: Any, instrument_id: int, interval_seconds: int, length: int, span: tuple[int, int]
) -> list[tuple[Any, ...]]:
    """What lies in one unfinished bar: few long pieces, then shorter ones, down to single bars."""
    key = _key(instrument_id, interval_seconds)
    start, end = span
    rows: list[tuple[Any, ...]] = []
    for shorter in [*reversed([level for level in levels_of(interval_seconds) if level < length]), interval_seconds]:
        until = end if shorter == interval_seconds else end // shorter * shorter
        if until <= start:
            continue
        sql = _READ_BASE if shorter == interval_seconds else _READ_LEVEL
        cursor.execute(sql, {**key, "below": shorter, "start": start, "end": until})
        rows += cursor.fetchall()
        start = until
    return rows


def _every(bars: BarSeries, n: int) -> BarSeries:
    from marketdata.coarser import merge  # only for series longer than any level reaches

    merged = merge(bars, np.arange(len(bars)) // n)
    return BarSeries(bars.time[::n], merged.open, merged.high, merged.low, merged.close, merged.volume)


def _key(instrument_id: int, interval_seconds: int) -> dict[str, Any]:
    return {"instrument": instrument_id, "interval": interval_seconds}


def _span(length: int, interval_seconds: int, span: tuple[int, int]) -> dict[str, Any]:
    """Parameters of one length; a merged bar that only begins before the start is in."""
    start = span[0] if length <= interval_seconds else span[0] // length * length
    return {"below": length, "start": start, "end": span[1] + 1}


def _series(rows: list[tuple[Any, ...]]) -> BarSeries:
    if not rows:
        return BarSeries.empty()
    time, *prices = zip(*rows, strict=True)
    return BarSeries(np.array(time, dtype=np.int64), *(np.array(price, dtype=np.float64) for price in prices))
