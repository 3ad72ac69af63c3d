"""SQL on the bars hypertable: bulk in by COPY, arrays out. Values are always parameters."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection, transaction

from marketdata.series import BarSeries

# One session imports one series at a time; the table lives until the transaction ends.
_STAGE = (
    "CREATE TEMP TABLE bar_staging (time bigint, open float8, high float8, low float8, close float8, volume float8)"
    " ON COMMIT DROP"
)
_COPY = "COPY bar_staging (time, open, high, low, close, volume) FROM STDIN (FORMAT BINARY)"
_UPSERT = """
    INSERT INTO marketdata_bar (time, instrument_id, interval_seconds, open, high, low, close, volume, source)
    SELECT to_timestamp(time), %(instrument)s, %(interval)s, open, high, low, close, volume, %(source)s
    FROM bar_staging ORDER BY time
    ON CONFLICT (instrument_id, interval_seconds, time) DO UPDATE SET
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, source = excluded.source
"""
_LOAD = """
    SELECT extract(epoch FROM time)::bigint, open, high, low, close, volume
    FROM marketdata_bar
    WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s
      AND (%(start)s::timestamptz IS NULL OR time >= %(start)s) AND (%(end)s::timestamptz IS NULL OR time <= %(end)s)
    ORDER BY time
"""
_COUNT = """
    SELECT count(*) FROM marketdata_bar
    WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s
      AND (%(start)s::timestamptz IS NULL OR time >= %(start)s) AND (%(end)s::timestamptz IS NULL OR time <= %(end)s)
"""
# Groups are counted from the first bar, so that a new bar changes the last group only.
_GROUPED = """
    SELECT extract(epoch FROM min(time))::bigint, first(open, time), max(high), min(low), last(close, time), sum(volume)
    FROM (
        SELECT *, (row_number() OVER (ORDER BY time) - 1) / %(size)s AS part FROM marketdata_bar
        WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s
          AND (%(start)s::timestamptz IS NULL OR time >= %(start)s)
          AND (%(end)s::timestamptz IS NULL OR time <= %(end)s)
    ) AS numbered
    GROUP BY part ORDER BY part
"""
_TIMES = """
    SELECT DISTINCT time FROM marketdata_bar
    WHERE instrument_id = ANY(%(instruments)s) AND interval_seconds = %(interval)s
      AND (%(after)s::timestamptz IS NULL OR time > %(after)s) AND time <= %(until)s
    ORDER BY time LIMIT %(limit)s
"""


def copy_bars(instrument_id: int, interval_seconds: int, series: BarSeries, source: str) -> int:
    """Write bars by COPY into a temporary table, then insert them or replace those of the same time; all or nothing.

    source: where they came from, at most 32 characters.
    Returns: rows inserted or replaced, len(series). An empty series writes nothing.
    """
    if len(series) == 0:
        return 0
    columns = (series.time, series.open, series.high, series.low, series.close, series.volume)
    with transaction.atomic(), connection.cursor() as cursor:
        cursor.execute("DROP TABLE IF EXISTS pg_temp.bar_staging")  # a second series in one transaction
        cursor.execute(_STAGE)
        with cursor.copy(_COPY) as copy:
            copy.set_types(["int8", "float8", "float8", "float8", "float8", "float8"])
            for row in zip(*(column.tolist() for column in columns), strict=True):
                copy.write_row(row)
        cursor.execute(_UPSERT, {"instrument": instrument_id, "interval": interval_seconds, "source": source})
        return cursor.rowcount


def load_bars(
    instrument_id: int, interval_seconds: int, *, start: datetime | None = None, end: datetime | None = None
) -> BarSeries:
    """Bars of one instrument from `start` to `end`, both included (aware datetimes), in ascending time.

    Columns: time int64 seconds UTC; open, high, low, close, volume float64. No bars: an empty series.
    """
    return _series(_LOAD, {"instrument": instrument_id, "interval": interval_seconds, "start": start, "end": end})


def chart_bars(
    instrument_id: int,
    interval_seconds: int,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    n_most: int = 2000,
) -> BarSeries:
    """At most `n_most` bars from `start` to `end`, both included: as stored if they are few, else neighbours merged.

    A merged bar has the first time and open, highest high, lowest low, last close and summed volume of k neighbours,
    k being the smallest number that fits. Columns and order as load_bars; no bars: an empty series.
    """
    if n_most < 1:
        raise ValueError(f"n_most is {n_most}, expected at least 1")
    values: dict[str, Any] = {"instrument": instrument_id, "interval": interval_seconds, "start": start, "end": end}
    with connection.cursor() as cursor:
        cursor.execute(_COUNT, values)
        size = -(-cursor.fetchone()[0] // n_most)
    return _series(_LOAD, values) if size <= 1 else _series(_GROUPED, {**values, "size": size})


def next_bar_times(
    instrument_ids: Sequence[int], interval_seconds: int, after: datetime | None, until: datetime, limit: int
) -> list[datetime]:
    """Times (aware, UTC) later than `after` and up to `until` at which at least one of the instruments has a bar.

    Ascending, without repeats, at most `limit`; empty when nothing is left. after None: from the first bar.
    """
    values: dict[str, Any] = {
        "instruments": list(instrument_ids),
        "interval": interval_seconds,
        "after": after,
        "until": until,
        "limit": limit,
    }
    with connection.cursor() as cursor:
        cursor.execute(_TIMES, values)
        return [row[0] for row in cursor.fetchall()]


def _series(sql: str, values: dict[str, Any]) -> BarSeries:
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        rows = cursor.fetchall()
    if not rows:
        return BarSeries.empty()
    time, *prices = zip(*rows, strict=True)
    return BarSeries(np.array(time, dtype=np.int64), *(np.array(price, dtype=np.float64) for price in prices))
