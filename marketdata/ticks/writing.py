"""SQL that brings ticks in: the lock, the fast way, the way that finds repeats, and where things stand afterwards."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
from django.db import connection
from django.utils import timezone

from core.models import Event
from marketdata.ticks import wire
from marketdata.ticks.series import TickBatch

DROPPED = "ticks.dropped"  # journal kind, written by retention.py
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_NAMES = ", ".join(wire.COLUMNS)
_COPY = f"COPY {{}} ({_NAMES}) FROM STDIN (FORMAT BINARY)"
# One table for the life of the connection: making one each time would swell the catalogue of a live desk.
_STAGE = "CREATE TEMP TABLE IF NOT EXISTS tick_staging (LIKE marketdata_tick) ON COMMIT DELETE ROWS"
_INSERT = f"""
    WITH added AS (
        INSERT INTO marketdata_tick ({_NAMES}) SELECT {_NAMES} FROM pg_temp.tick_staging ORDER BY time
        ON CONFLICT (instrument_id, time, identity) DO NOTHING RETURNING time, kind
    )
    SELECT count(*), count(*) FILTER (WHERE time < %(last_time)s),
        array_agg(DISTINCT floor(extract(epoch FROM time) / %(step)s)::bigint * %(step)s) FILTER (WHERE kind = 1)
    FROM added
"""  # noqa: S608 - our own column names
_LOCK = """
    SELECT (extract(epoch FROM last_time) * 1000000)::bigint, (extract(epoch FROM last_trade_time) * 1000000)::bigint,
        n_ticks, n_late, n_repeated, bad::text, bar_intervals::text
    FROM marketdata_tickstate WHERE instrument_id = %s FOR UPDATE
"""
# Ticks without a state are there when someone deleted the row: what is stored decides, not what should be.
_START = """
    INSERT INTO marketdata_tickstate
        (instrument_id, last_time, last_trade_time, n_ticks, n_late, n_repeated, bad, bar_intervals, updated_at)
    SELECT %(instrument)s, max(time), max(time) FILTER (WHERE kind = 1), count(*), 0, 0, '{}', '[]', now()
    FROM marketdata_tick WHERE instrument_id = %(instrument)s
    ON CONFLICT (instrument_id) DO NOTHING
"""
_SAVE = """
    UPDATE marketdata_tickstate SET last_time = %(last_time)s, last_trade_time = %(last_trade_time)s,
        n_ticks = %(n_ticks)s, n_late = %(n_late)s, n_repeated = %(n_repeated)s, bad = %(bad)s::jsonb,
        bar_intervals = %(bar_intervals)s::jsonb, updated_at = %(now)s
    WHERE instrument_id = %(instrument)s
"""
_LAST_TRADE = """
    SELECT sequence, identity FROM marketdata_tick
    WHERE instrument_id = %s AND time = %s AND kind = 1 ORDER BY sequence DESC, identity DESC LIMIT 1
"""


@dataclass
class Standing:
    """What a TickState row says, times in microseconds since 1970 UTC."""

    last_time: int | None = None
    last_trade_time: int | None = None
    n_ticks: int = 0
    n_late: int = 0
    n_repeated: int = 0
    bad: dict[str, int] = field(default_factory=dict)
    bar_intervals: list[int] = field(default_factory=list)


@dataclass(frozen=True)
class Inserted:
    """What was new among ticks that might have been stored already."""

    n_ticks: int = 0
    n_late: int = 0  # earlier than the latest stored before
    touched: tuple[int, ...] = ()  # multiples of `step`, seconds, that new trades fall into


def moment(microseconds: int) -> datetime:
    """An aware datetime; no float comes between, so every microsecond is kept."""
    return _EPOCH + timedelta(microseconds=microseconds)


def lock(instrument_id: int) -> Standing:
    """Where an instrument's ticks stand, locked to the end of the transaction; made when it has none."""
    with connection.cursor() as cursor:
        cursor.execute(_LOCK, [instrument_id])
        row = cursor.fetchone()
        if row is None:
            cursor.execute(_START, {"instrument": instrument_id})
            cursor.execute(_LOCK, [instrument_id])
            row = cursor.fetchone()
    return Standing(*row[:5], *(json.loads(text) for text in row[5:]))


def save(instrument_id: int, standing: Standing) -> None:
    """Write back what `lock` gave, changed."""
    times = {name: getattr(standing, name) for name in ("last_time", "last_trade_time")}
    values = {name: None if time is None else moment(time) for name, time in times.items()}
    counts = {name: getattr(standing, name) for name in ("n_ticks", "n_late", "n_repeated")}
    lists = {"bad": json.dumps(standing.bad), "bar_intervals": json.dumps(standing.bar_intervals)}
    with connection.cursor() as cursor:
        cursor.execute(_SAVE, {**values, **counts, **lists, "now": timezone.now(), "instrument": instrument_id})


def last_trade(instrument_id: int, time: int) -> tuple[int, int] | None:
    """Sequence and identity of the last stored trade of this microsecond; None when there is none."""
    with connection.cursor() as cursor:
        cursor.execute(_LAST_TRADE, [instrument_id, moment(time)])
        return cursor.fetchone()


def copy_new(instrument_id: int, ticks: TickBatch, identity: np.ndarray, source: str) -> None:
    """Straight into the hypertable: for ticks that cannot be stored yet, or the whole transaction fails."""
    _copy("marketdata_tick", instrument_id, ticks, identity, source)


def insert_missing(
    instrument_id: int, ticks: TickBatch, identity: np.ndarray, source: str, *, last_time: int, step: int
) -> Inserted:
    """Through a staging table, leaving out what is stored already. step: seconds, for `touched`."""
    with connection.cursor() as cursor:
        cursor.execute(_STAGE)
        _copy("pg_temp.tick_staging", instrument_id, ticks, identity, source)
        cursor.execute(_INSERT, {"last_time": moment(last_time), "step": step})
        n_ticks, n_late, touched = cursor.fetchone()
        # For a second batch in one transaction. TRUNCATE would write a new line into the catalogue each time.
        cursor.execute("DELETE FROM pg_temp.tick_staging")
    return Inserted(n_ticks, n_late, tuple(sorted(touched or ())))


def kept_since() -> int:
    """Microseconds since 1970 UTC before which ticks have been dropped; 0 when none ever were."""
    untils = Event.objects.filter(kind=DROPPED).values_list("data__until", flat=True)
    return max((int(until) for until in untils), default=0) * 1_000_000


def _copy(table: str, instrument_id: int, ticks: TickBatch, identity: np.ndarray, source: str) -> None:
    with connection.cursor() as cursor, cursor.copy(_COPY.format(table)) as copy:
        for piece in wire.encode(ticks, identity, instrument_id, source):
            copy.write(piece)
