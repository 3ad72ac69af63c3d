"""PostgreSQL's binary COPY format for ticks, made and read in one pass over arrays. Pure, no database.

Source: PostgreSQL manual, COPY, "Binary Format". Numbers are big-endian; an empty value has length -1 and no bytes;
a moment is microseconds since 2000-01-01. Python-level rows would cost ten times the time of the checks.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit

from marketdata.ticks.series import TickBatch

COLUMNS = (
    "time", "instrument_id", "identity", "kind", "price", "size", "bid", "bid_size", "ask", "ask_size", "sequence",
    "exchange", "condition", "source",
)  # fmt: skip
HEADER = b"PGCOPY\n\xff\r\n\0" + bytes(8)
TRAILER = b"\xff\xff"
YEAR_2000 = 946_684_800_000_000  # microseconds since 1970
ROWS = 4096  # encoded at a time: half a megabyte
# Count of fields, then 14 lengths, then the widest values.
_MOST_BYTES = 2 + 14 * 4 + 4 * 8 + 2 + 6 * 8 + 8 + 12 + 12
_TRADE = np.dtype([("time", ">i8"), ("sequence", ">i8"), ("identity", ">i8"), ("price", ">f8"), ("size", ">f8")])


def encode(batch: TickBatch, identity: np.ndarray, instrument_id: int, source: str) -> Iterator[bytes]:
    """All of a COPY of COLUMNS in pieces, header and trailer included. source: ASCII, at most 12 characters."""
    yield HEADER
    name = np.frombuffer(source.encode("ascii"), dtype=np.uint8)
    buffer = np.empty(min(ROWS, len(batch)) * _MOST_BYTES, dtype=np.uint8)
    for first in range(0, len(batch), ROWS):
        part = batch.take(slice(first, first + ROWS))
        numbers = np.stack((part.price, part.size, part.bid, part.bid_size, part.ask, part.ask_size), axis=1)
        n_bytes = _encode(
            buffer, part.time, instrument_id, identity[first : first + ROWS], part.kind, numbers.view(np.int64),
            np.isnan(numbers), part.sequence, _letters(part.exchange), _letters(part.condition), name,
        )  # fmt: skip
        yield buffer[:n_bytes].tobytes()
    yield TRAILER


def decode_trades(data: bytes) -> np.ndarray:
    """Trades in a COPY of one value, their times, sequences, identities, prices and sizes joined; empty means none.

    Returns: shape (T,), fields of these names; time is in PostgreSQL's count, see `times`.
    """
    # Before the value: the header, the row's count of fields and the value's length.
    return np.frombuffer(data[len(HEADER) + 6 : -len(TRAILER)], dtype=_TRADE)


def times(rows: np.ndarray) -> np.ndarray:
    """Microseconds since 1970 UTC of decoded rows, int64."""
    return rows["time"].astype(np.int64) + YEAR_2000


def _letters(texts: np.ndarray) -> np.ndarray:
    return texts.view(np.uint8).reshape(texts.size, texts.dtype.itemsize)


@njit(cache=True)
def _put(buffer, at, value, n_bytes):
    """A whole number, highest byte first; returns the place after it."""
    for k in range(n_bytes):
        buffer[at + k] = (value >> (8 * (n_bytes - 1 - k))) & 0xFF
    return at + n_bytes


@njit(cache=True)
def _put_long(buffer, at, value):
    return _put(buffer, _put(buffer, at, 8, 4), value, 8)


@njit(cache=True)
def _put_text(buffer, at, letters):
    """Letters up to the first zero, with their number before them."""
    n = 0
    while n < letters.size and letters[n] != 0:
        n += 1
    at = _put(buffer, at, n, 4)
    for k in range(n):
        buffer[at + k] = letters[k]
    return at + n


@njit(cache=True)
def _encode(
    buffer, time, instrument_id, identity, kind, numbers, empty, sequence, exchange, condition, source
):  # fmt: skip
    at = 0
    for i in range(time.size):
        at = _put(buffer, at, 14, 2)
        at = _put_long(buffer, at, time[i] - YEAR_2000)
        at = _put_long(buffer, at, instrument_id)
        at = _put_long(buffer, at, identity[i])
        at = _put(buffer, _put(buffer, at, 2, 4), kind[i], 2)
        for k in range(6):
            at = _put(buffer, at, -1, 4) if empty[i, k] else _put_long(buffer, at, numbers[i, k])
        at = _put_long(buffer, at, sequence[i])
        at = _put_text(buffer, at, exchange[i])
        at = _put_text(buffer, at, condition[i])
        at = _put_text(buffer, at, source)
    return at
