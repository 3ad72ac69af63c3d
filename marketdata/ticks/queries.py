"""SQL that reads stored ticks. Values are always parameters."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta

import numpy as np
from django.db import connection
from psycopg import sql

from marketdata.ticks import wire
from marketdata.ticks.series import TRADE, TickBatch
from marketdata.ticks.writing import moment

PAGE = 200_000  # trades read at a time, 12 MB
_NUMBERS = ("price", "size", "bid", "bid_size", "ask", "ask_size")
_FIELDS = "kind, price, size, bid, bid_size, ask, ask_size, sequence, exchange, condition"
_LOAD = f"""
    SELECT (extract(epoch FROM time) * 1000000)::bigint, {_FIELDS} FROM marketdata_tick
    WHERE instrument_id = %s AND time >= %s AND time <= %s ORDER BY time, sequence, identity LIMIT %s
"""  # noqa: S608 - our own column names
_STATE = "SELECT last_time, last_trade_time FROM marketdata_tickstate WHERE instrument_id = %s"
# Both ends are constants, so that the planner opens the chunks between them and no others.
_LATEST = f"""
    SELECT time, {_FIELDS}, source FROM marketdata_tick
    WHERE instrument_id = %(instrument)s AND time >= %(start)s AND time <= %(end)s
      AND (%(kind)s::smallint IS NULL OR kind = %(kind)s)
    ORDER BY time DESC, sequence DESC, identity DESC LIMIT 1
"""  # noqa: S608 - our own column names
# Filled in by psycopg: COPY takes no parameters. The rows come as one value: PostgreSQL sends a message for each row,
# and taking those apart in Python costs more than all the rest.
_TRADES = sql.SQL("""
    COPY (
        SELECT string_agg(
            timestamptz_send(time) || int8send(sequence) || int8send(identity) || float8send(price) || float8send(size),
            ''::bytea ORDER BY time, sequence, identity
        ) FROM (
            SELECT time, sequence, identity, price, size FROM marketdata_tick
            WHERE instrument_id = {instrument} AND kind = 1 AND time >= {start} AND time < {end}
              AND (time > {start} OR (sequence, identity) > ({sequence}, {identity}))
            ORDER BY time, sequence, identity LIMIT {limit}
        ) AS page
    ) TO STDOUT (FORMAT BINARY)
""")
_TOTALS = """
    SELECT count(*), coalesce(sum(n_ticks), 0)::bigint, coalesce(sum(n_late), 0)::bigint,
        coalesce(sum(n_repeated), 0)::bigint, hypertable_size('marketdata_tick'),
        (SELECT count(*) FROM show_chunks('marketdata_tick'))
    FROM marketdata_tickstate
"""
_EARLIEST = -(2**63)


@dataclass(frozen=True)
class StoredTick:
    """One trade or quote as stored; a number its kind does not have, or that is unknown, is None."""

    time: datetime
    kind: int
    price: float | None
    size: float | None
    bid: float | None
    bid_size: float | None
    ask: float | None
    ask_size: float | None
    sequence: int
    exchange: str
    condition: str
    source: str


@dataclass(frozen=True)
class Totals:
    """All instruments together; counts are of everything ever stored, size and chunks of what is there now."""

    n_instruments: int
    n_ticks: int
    n_late: int
    n_repeated: int
    n_bytes: int
    n_chunks: int


def load_ticks(instrument_id: int, start: datetime, end: datetime, limit: int = 10_000) -> TickBatch:
    """The first `limit` ticks from `start` to `end`, both included, in their order (see identity.py)."""
    with connection.cursor() as cursor:
        cursor.execute(_LOAD, [instrument_id, start, end, limit])
        rows = cursor.fetchall()
    if not rows:
        return TickBatch.empty()
    columns = list(zip(*rows, strict=True))
    whole = {name: np.array(columns[at]) for at, name in ((0, "time"), (1, "kind"), (8, "sequence"))}
    numbers = {name: np.array(column, dtype=np.float64) for name, column in zip(_NUMBERS, columns[2:8], strict=True)}
    exchange, condition = np.array(columns[9], dtype="S8"), np.array(columns[10], dtype="S12")
    return TickBatch(**whole, **numbers, exchange=exchange, condition=condition)


def latest_tick(instrument_id: int, kind: int | None = None) -> StoredTick | None:
    """The last tick of an instrument, or the last of a kind; None when there is none.

    A last quote is looked for on the day up to the last tick first, then everywhere.
    """
    with connection.cursor() as cursor:
        cursor.execute(_STATE, [instrument_id])
        last_time, last_trade_time = cursor.fetchone() or (None, None)
        end = last_trade_time if kind == TRADE else last_time
        if end is None:
            return None
        starts = [end] if kind in (None, TRADE) else [end - timedelta(days=1), _long_ago(end)]
        for start in starts:
            cursor.execute(_LATEST, {"instrument": instrument_id, "start": start, "end": end, "kind": kind})
            row = cursor.fetchone()
            if row is not None:
                return StoredTick(*row)
    return None


def totals() -> Totals:
    """Counts for pages."""
    with connection.cursor() as cursor:
        cursor.execute(_TOTALS)
        return Totals(*cursor.fetchone())


def trades_between(
    instrument_id: int, start: datetime, end: datetime, *, page: int = PAGE
) -> Iterator[tuple[np.ndarray, np.ndarray, np.ndarray]]:
    """Stored trades from `start` up to, not including, `end`, in their order, at most `page` at a time.

    Yields: time (int64 microseconds since 1970 UTC), price, size (float64), all of one shape.
    """
    sequence = identity = _EARLIEST
    while True:
        values = {"instrument": instrument_id, "start": start, "end": end, "limit": page}
        rows = wire.decode_trades(_read({**values, "sequence": sequence, "identity": identity}))
        time = wire.times(rows)
        if rows.size:
            yield time, rows["price"].astype(np.float64), rows["size"].astype(np.float64)
        if rows.size < page:
            return
        start = moment(int(time[-1]))
        sequence, identity = int(rows["sequence"][-1]), int(rows["identity"][-1])


def _read(values: dict[str, object]) -> bytes:
    statement = _TRADES.format(**{name: sql.Literal(value) for name, value in values.items()})
    with connection.cursor() as cursor, cursor.copy(statement.as_string(cursor.connection)) as copy:
        return b"".join(bytes(piece) for piece in copy)


def _long_ago(end: datetime) -> datetime:
    return end.replace(year=1970, month=1, day=1)
