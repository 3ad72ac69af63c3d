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
    "CREATE TEMP TABLE bar_staging (time bigint, open float8, high float8, low float8, close float8, volume float8,"
    " outside_session boolean) ON COMMIT DROP"
)
_COPY = "COPY bar_staging FROM STDIN (FORMAT BINARY)"
_UPSERT = """
    INSERT INTO marketdata_bar
        (time, instrument_id, interval_seconds, open, high, low, close, volume, source, outside_session)
    SELECT to_timestamp(time), %(instrument)s, %(interval)s, open, high, low, close, volume, %(source)s, outside_session
    FROM {rows} ORDER BY time
    ON CONFLICT (instrument_id, interval_seconds, time) DO UPDATE SET
        open = excluded.open, high = excluded.high, low = excluded.low, close = excluded.close,
        volume = excluded.volume, source = excluded.source, outside_session = excluded.outside_session
"""
_UPSERT_STAGED = _UPSERT.format(rows="bar_staging")
# For a few rows, as a live feed brings them, making a table would cost more than writing the bars.
_UPSERT_FEW = _UPSERT.format(
    rows="unnest(%(time)s::bigint[], %(open)s::float8[], %(high)s::float8[], %(low)s::float8[], %(close)s::float8[],"
    " %(volume)s::float8[], %(outside)s::boolean[])"
    " AS few (time, open, high, low, close, volume, outside_session)"
)
_FEW = 200
# PostgreSQL's binary COPY: every field is its length, then its bytes, most significant first.
_COPY_ROW = np.dtype(
    [("fields", ">i2"), ("time_length", ">i4"), ("time", ">i8")]
    + [
        part
        for name in ("open", "high", "low", "close", "volume")
        for part in ((f"{name}_length", ">i4"), (name, ">f8"))
    ]
    + [("outside_length", ">i4"), ("outside", "u1")]
)
_COPY_HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_COPY_END = b"\xff\xff"
_LOAD = """
    SELECT extract(epoch FROM time)::bigint, open, high, low, close, volume
    FROM marketdata_bar
    WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s
      AND (%(start)s::timestamptz IS NULL OR time >= %(start)s) AND (%(end)s::timestamptz IS NULL OR time <= %(end)s)
    ORDER BY time
"""
_OTHER_SOURCE = (
    "SELECT source FROM marketdata_bar WHERE instrument_id = %s AND interval_seconds = %s AND source <> %s LIMIT 1"
)
_ELSEWHERE = """
    SELECT extract(epoch FROM time)::bigint FROM marketdata_bar WHERE instrument_id = %s
      AND interval_seconds = %s AND time >= %s AND time <= %s AND source <> %s
"""
_COLUMNS = ("time", "open", "high", "low", "close", "volume")
_TIMES = """
    SELECT DISTINCT time FROM marketdata_bar
    WHERE instrument_id = ANY(%(instruments)s) AND interval_seconds = %(interval)s
      AND (%(after)s::timestamptz IS NULL OR time > %(after)s) AND time <= %(until)s
    ORDER BY time LIMIT %(limit)s
"""


def copy_bars(
    instrument_id: int, interval_seconds: int, series: BarSeries, source: str, *, outside: np.ndarray | None = None
) -> int:
    """Write bars by COPY into a temporary table, then insert them or replace those of the same time; all or nothing.

    The inner half of bar_store.store_bars, which is what to call. source: where they came from, at most 32 characters.
    outside: (T,) true where a bar began outside trading hours.
    Returns: rows inserted or replaced, len(series). An empty series writes nothing.
    """
    if len(series) == 0:
        return 0
    values: dict[str, Any] = {"instrument": instrument_id, "interval": interval_seconds, "source": source}
    marks = np.zeros(len(series), dtype=bool) if outside is None else np.asarray(outside, dtype=bool)
    with transaction.atomic(), connection.cursor() as cursor:
        if len(series) <= _FEW:
            columns = {name: getattr(series, name).tolist() for name in _COLUMNS}
            cursor.execute(_UPSERT_FEW, {**values, **columns, "outside": marks.tolist()})
            return cursor.rowcount
        cursor.execute("DROP TABLE IF EXISTS pg_temp.bar_staging")  # a second series in one transaction
        cursor.execute(_STAGE)
        with cursor.copy(_COPY) as copy:
            copy.write(_COPY_HEADER)
            copy.write(_copy_rows(series, marks))
            copy.write(_COPY_END)
        cursor.execute(_UPSERT_STAGED, values)
        return cursor.rowcount


def _copy_rows(series: BarSeries, outside: np.ndarray) -> bytes:
    """All rows as binary COPY wants them, built at once instead of one by one."""
    rows = np.zeros(len(series), dtype=_COPY_ROW)
    rows["fields"] = 7
    for name in _COLUMNS:
        rows[f"{name}_length"] = 8
        rows[name] = getattr(series, name)
    rows["outside_length"], rows["outside"] = 1, outside
    return rows.tobytes()


def load_bars(
    instrument_id: int, interval_seconds: int, *, start: datetime | None = None, end: datetime | None = None
) -> BarSeries:
    """Bars of one instrument from `start` to `end`, both included (aware datetimes), in ascending time.

    Columns: time int64 seconds UTC; open, high, low, close, volume float64. No bars: an empty series.
    """
    return _series(_LOAD, {"instrument": instrument_id, "interval": interval_seconds, "start": start, "end": end})


def other_source(instrument_id: int, interval_seconds: int, source: str) -> str:
    """Another source than `source` that bars of this series came from; empty if there is none."""
    with connection.cursor() as cursor:
        cursor.execute(_OTHER_SOURCE, [instrument_id, interval_seconds, source])
        row = cursor.fetchone()
    return row[0] if row else ""


def times_from_elsewhere(
    instrument_id: int, interval_seconds: int, source: str, first: datetime, last: datetime
) -> list[int]:
    """Starts (seconds UTC) of the bars from `first` to `last`, both included, that did not come from `source`."""
    with connection.cursor() as cursor:
        cursor.execute(_ELSEWHERE, [instrument_id, interval_seconds, first, last, source])
        return [row[0] for row in cursor.fetchall()]


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
