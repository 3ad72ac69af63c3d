"""SQL for the data-health checks: which series there are, their ends and sources, and sessions made of shorter bars."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.db import connection

from marketdata.health_prices import Extremes
from marketdata.models import DAY

# Jumps from one series to the next through the index, however long they are.
_STORED = """
    WITH RECURSIVE series AS (
        (SELECT instrument_id, interval_seconds FROM marketdata_bar ORDER BY instrument_id, interval_seconds LIMIT 1)
        UNION ALL
        SELECT further.instrument_id, further.interval_seconds FROM series CROSS JOIN LATERAL (
            SELECT instrument_id, interval_seconds FROM marketdata_bar
            WHERE (instrument_id, interval_seconds) > (series.instrument_id, series.interval_seconds)
            ORDER BY instrument_id, interval_seconds LIMIT 1
        ) AS further
    )
    SELECT instrument_id, interval_seconds FROM series
"""
_LAST = """
    SELECT time FROM marketdata_bar
    WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s
      AND (%(until)s::timestamptz IS NULL OR time <= %(until)s)
    ORDER BY time DESC OFFSET %(skip)s LIMIT 1
"""
_SOURCES = """
    SELECT DISTINCT source FROM marketdata_bar
    WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s ORDER BY source LIMIT 20
"""
_COUNT = "SELECT count(*) FROM marketdata_bar WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s"
_SHORTER = """
    SELECT extract(epoch FROM time_bucket('1 day', time))::bigint, min(low), max(high), last(close, time), count(*)
    FROM marketdata_bar
    WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s AND NOT outside_session
      AND time >= %(start)s AND time < %(end)s
    GROUP BY 1
"""
# Asked at every bar of every agent: one plan without joins that bring columns.
_WORTH_ASKING = """
    SELECT EXISTS (
        SELECT FROM marketdata_datafault
        WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s AND cleared_at IS NULL
    ) OR EXISTS (
        SELECT FROM marketdata_stream_instruments AS link JOIN marketdata_stream AS stream ON stream.id = link.stream_id
        WHERE link.instrument_id = %(instrument)s AND stream.interval_seconds = %(interval)s
          AND stream.desired_state = 'running' AND stream.source <> 'replay'
    )
"""


@dataclass(frozen=True)
class Stored:
    """One stored series."""

    instrument_id: int
    interval_seconds: int


def stored_series() -> list[Stored]:
    """Every instrument and interval with at least one bar."""
    return [Stored(*row) for row in _rows(_STORED, {})]


def last_time(
    instrument_id: int, interval_seconds: int, *, until: datetime | None = None, skip: int = 0
) -> datetime | None:
    """Time of the newest bar up to `until`, or of the one `skip` bars before it; None where there is none."""
    values = {"instrument": instrument_id, "interval": interval_seconds, "until": until, "skip": skip}
    rows = _rows(_LAST, values)
    return rows[0][0] if rows else None


def worth_asking(instrument_id: int, interval_seconds: int) -> bool:
    """Whether the series has an open fault or a running stream that is no replay; without either nothing blocks it."""
    return bool(_rows(_WORTH_ASKING, {"instrument": instrument_id, "interval": interval_seconds})[0][0])


def sources(instrument_id: int, interval_seconds: int) -> list[str]:
    """Where the bars came from."""
    return [row[0] for row in _rows(_SOURCES, {"instrument": instrument_id, "interval": interval_seconds})]


def count(instrument_id: int, interval_seconds: int) -> int:
    """Stored bars."""
    return int(_rows(_COUNT, {"instrument": instrument_id, "interval": interval_seconds})[0][0])


def days_of_shorter(
    instrument_id: int, interval_seconds: int, start: datetime, end: datetime
) -> dict[int, tuple[Extremes, int]]:
    """By UTC day (seconds): extremes of the bars inside sessions, and how many seconds of bars there are."""
    values = {"instrument": instrument_id, "interval": interval_seconds, "start": start, "end": end}
    return {
        day: (Extremes(low, high, close), n * interval_seconds) for day, low, high, close, n in _rows(_SHORTER, values)
    }


def shortest_stored(instrument_id: int) -> int | None:
    """The shortest interval of this instrument below a day that has bars."""
    rows = _rows(
        "SELECT interval_seconds FROM marketdata_bar WHERE instrument_id = %(instrument)s "
        "ORDER BY interval_seconds LIMIT 1",
        {"instrument": instrument_id},
    )
    return int(rows[0][0]) if rows and rows[0][0] < DAY else None


def _rows(sql: str, values: dict[str, Any]) -> list[tuple[Any, ...]]:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()
