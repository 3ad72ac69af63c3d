"""SQL of the Data page: what is stored, without counting it bar by bar."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from marketdata.levels import LADDER

LONGEST = LADDER[-1]
# Without levels (bars stored before there were any) counting stops here and the page says "more than".
MOST_COUNTED = 100_000

# Jumps from one series to the next through the index: as many looks as there are series, however long they are.
_STORED = """
    WITH RECURSIVE series AS (
        (SELECT instrument_id, interval_seconds FROM marketdata_bar
         WHERE %(instrument)s::bigint IS NULL OR instrument_id = %(instrument)s
         ORDER BY instrument_id, interval_seconds LIMIT 1)
        UNION ALL
        SELECT further.instrument_id, further.interval_seconds FROM series CROSS JOIN LATERAL (
            SELECT instrument_id, interval_seconds FROM marketdata_bar
            WHERE (instrument_id, interval_seconds) > (series.instrument_id, series.interval_seconds)
              AND (%(instrument)s::bigint IS NULL OR instrument_id = %(instrument)s)
            ORDER BY instrument_id, interval_seconds LIMIT 1
        ) AS further
    )
    SELECT series.instrument_id, series.interval_seconds, earliest.time, latest.time, latest.source,
        coalesce(levels.n, checks.n_bars), levels.n IS NOT NULL
    FROM series
    CROSS JOIN LATERAL (
        SELECT time FROM marketdata_bar AS bar
        WHERE bar.instrument_id = series.instrument_id AND bar.interval_seconds = series.interval_seconds
        ORDER BY time LIMIT 1
    ) AS earliest
    CROSS JOIN LATERAL (
        SELECT time, source FROM marketdata_bar AS bar
        WHERE bar.instrument_id = series.instrument_id AND bar.interval_seconds = series.interval_seconds
        ORDER BY time DESC LIMIT 1
    ) AS latest
    CROSS JOIN LATERAL (
        SELECT sum(n_bars)::bigint AS n FROM marketdata_chartbar AS level
        WHERE level.instrument_id = series.instrument_id AND level.interval_seconds = series.interval_seconds
          AND level.level_seconds = %(longest)s
    ) AS levels
    LEFT JOIN marketdata_healthcheck AS checks
        ON checks.instrument_id = series.instrument_id AND checks.interval_seconds = series.interval_seconds
    ORDER BY series.instrument_id, series.interval_seconds
"""
_COUNT = """
    SELECT count(*) FROM (
        SELECT FROM marketdata_bar WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s
        LIMIT %(limit)s
    ) AS few
"""
_NTH_BAR = """
    SELECT min(time) FROM (
        SELECT time FROM marketdata_bar WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s
          AND (%(end)s::timestamptz IS NULL OR time <= %(end)s)
        ORDER BY time DESC LIMIT %(n)s
    ) AS latest
"""
_NTH_MERGED = """
    SELECT min(time) FROM (
        SELECT time FROM marketdata_chartbar WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s
          AND level_seconds = %(length)s AND (%(end)s::timestamptz IS NULL OR time <= %(end)s)
        ORDER BY time DESC LIMIT %(n)s
    ) AS latest
"""
_NTH_NEXT_BAR = """
    SELECT max(time) FROM (
        SELECT time FROM marketdata_bar WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s
          AND time >= %(start)s ORDER BY time LIMIT %(n)s
    ) AS next
"""
_NTH_NEXT_MERGED = """
    SELECT max(time) + make_interval(secs => %(length)s - 1) FROM (
        SELECT time FROM marketdata_chartbar WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s
          AND level_seconds = %(length)s AND time >= %(start)s ORDER BY time LIMIT %(n)s
    ) AS next
"""
_HAVE = """
    SELECT asked.seconds FROM unnest(%(intervals)s::int[]) WITH ORDINALITY AS asked (seconds, place)
    CROSS JOIN LATERAL (
        SELECT 1 FROM marketdata_bar WHERE instrument_id = %(instrument)s AND interval_seconds = asked.seconds LIMIT 1
    ) AS one
    ORDER BY asked.place LIMIT 1
"""
_QUOTE = """
    SELECT earliest.time, latest.time, latest.close, before.time, before.close
    FROM (
        SELECT time FROM marketdata_bar WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s
        ORDER BY time LIMIT 1
    ) AS earliest CROSS JOIN (
        SELECT time, close FROM marketdata_bar WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s
          AND (%(end)s::timestamptz IS NULL OR time <= %(end)s)
        ORDER BY time DESC LIMIT 1
    ) AS latest
    LEFT JOIN LATERAL (
        SELECT time, close FROM marketdata_bar WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s
          AND time < date_trunc('day', latest.time, 'UTC')
        ORDER BY time DESC LIMIT 1
    ) AS before ON true
"""


@dataclass(frozen=True)
class Stored:
    """One series in the table."""

    instrument_id: int
    interval_seconds: int
    first: datetime
    last: datetime
    source: str  # of its last bar
    n_bars: int
    exact: bool  # False: there are at least this many


@dataclass(frozen=True)
class Quote:
    """The last close, and the close of the session before it; None where there is no earlier session."""

    first: datetime  # where the series begins
    time: datetime
    price: float
    before_time: datetime | None
    before: float | None

    @property
    def change(self) -> float | None:
        """As a fraction of the earlier close."""
        return self.price / self.before - 1 if self.before else None


def stored_series(instrument_id: int | None = None) -> list[Stored]:
    """Every stored series, or those of one instrument, by instrument and interval. Reads a few rows of each."""
    with connection.cursor() as cursor:
        cursor.execute(_STORED, {"instrument": instrument_id, "longest": LONGEST})
        rows = cursor.fetchall()
        return [_stored(cursor, *row) for row in rows]


def _stored(
    cursor: Any, instrument: int, interval: int, first: datetime, last: datetime, source: str, *counted: Any
) -> Stored:
    n_bars, exact = counted
    if n_bars is None:
        cursor.execute(_COUNT, {"instrument": instrument, "interval": interval, "limit": MOST_COUNTED})
        n_bars = int(cursor.fetchone()[0])
        exact = n_bars < MOST_COUNTED
    return Stored(instrument, interval, first, last, source, n_bars, exact)


def first_stored(instrument_id: int, intervals: list[int]) -> int | None:
    """The first of these intervals of which the instrument has bars."""
    with connection.cursor() as cursor:
        cursor.execute(_HAVE, {"instrument": instrument_id, "intervals": intervals})
        row = cursor.fetchone()
    return row[0] if row else None


def time_of_nth_last(
    instrument_id: int, interval_seconds: int, length: int, n: int, end: datetime | None = None
) -> datetime | None:
    """Where the last `n` bars of `length` seconds up to `end` begin; None without bars."""
    sql = _NTH_BAR if length <= interval_seconds else _NTH_MERGED
    values = {"instrument": instrument_id, "interval": interval_seconds, "length": length, "n": n, "end": end}
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]


def time_of_nth_next(
    instrument_id: int, interval_seconds: int, length: int, n: int, start: datetime
) -> datetime | None:
    """Where the next `n` bars of `length` seconds from `start` on end; None without bars."""
    sql = _NTH_NEXT_BAR if length <= interval_seconds else _NTH_NEXT_MERGED
    values: dict[str, Any] = {
        "instrument": instrument_id,
        "interval": interval_seconds,
        "length": length,
        "n": n,
        "start": start,
    }
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchone()[0]


def quote(instrument_id: int, interval_seconds: int, end: datetime | None = None) -> Quote | None:
    """The last close up to `end` and what it is compared with; None without bars."""
    with connection.cursor() as cursor:
        cursor.execute(_QUOTE, {"instrument": instrument_id, "interval": interval_seconds, "end": end})
        row = cursor.fetchone()
    return Quote(*row) if row else None
