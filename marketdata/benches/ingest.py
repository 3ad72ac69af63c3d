"""Ticks through `ingest` against raw binary COPY of the same ticks into the same hypertable."""

from __future__ import annotations

import os
import time as clock
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial

import numpy as np
import psutil
from django.db import connection

from core.measurement import Measurement
from core.models import Instrument
from marketdata.benches.scratch import scratch_database
from marketdata.ticks import checks, identity, wire
from marketdata.ticks.series import QUOTE, TRADE, TickBatch
from marketdata.ticks.store import ingest

ROWS = int(os.environ.get("DESK_BENCH_TICKS", "10000000"))
BATCH = 100_000  # ticks of one transaction, on both sides
N_INSTRUMENTS = 4
BATCHES_A_DAY = 5
MILLION = 1_000_000
_OPENING = 1_709_562_600_000_000  # 2024-03-04 14:30 UTC, a Monday; microseconds
_DAY = 86_400_000_000
_SESSION = 23_400_000_000
_COPY = f"COPY marketdata_tick ({', '.join(wire.COLUMNS)}) FROM STDIN (FORMAT BINARY)"


@dataclass
class _Run:
    """Seconds of each batch on both sides, and memory after each of ours."""

    ours: list[float] = field(default_factory=list)
    raw: list[float] = field(default_factory=list)
    megabytes: list[float] = field(default_factory=list)

    def rate(self, seconds: list[float], part: slice = slice(None)) -> float:
        """Rows a second of some batches."""
        return len(seconds[part]) * BATCH / sum(seconds[part])


def run() -> list[Measurement]:
    """Rows a second with checks, order, repeats, state and bars; both sides alternate, so that noise meets both."""
    with scratch_database():
        ours, raw = _instruments("OURS"), _instruments("RAW")
        _warm_up(ours[0], raw[0])
        found = _Run()
        for number, (place, batch) in enumerate(_ticks(ROWS)):
            data = _encoded(raw[place], batch)
            sides = [(found.raw, partial(_copy, data)), (found.ours, partial(_ours, ours[place], batch))]
            for seconds, side in sides if number % 2 else reversed(sides):
                seconds.append(_seconds(side))
            found.megabytes.append(psutil.Process().memory_info().rss / 1e6)
    return [_measurement(found)]


def _measurement(found: _Run) -> Measurement:
    n = min(MILLION // BATCH, len(found.ours))
    first, last = slice(0, n), slice(-n, None)
    start, end = found.rate(found.ours, first), found.rate(found.ours, last)
    raw_start, raw_end = found.rate(found.raw, first), found.rate(found.raw, last)
    more = {
        "rows": len(found.ours) * BATCH,
        "first_million": round(start),
        "last_million": round(end),
        "last_to_first": round(end / start, 3),
        "millions": [round(found.rate(found.ours, slice(at, at + n))) for at in range(0, len(found.ours), n)],
        "raw_last_to_first": round(raw_end / raw_start, 3),
        "last_to_first_beside_raw": round(end / start / (raw_end / raw_start), 3),
        "memory_mb_at_first_million": round(found.megabytes[n - 1]),
        "memory_mb_at_end": round(found.megabytes[-1]),
    }
    value, baseline = found.rate(found.ours), found.rate(found.raw)
    return Measurement("ingest", value, "ticks/s", baseline, "raw binary COPY of the same ticks, already encoded", more)


def _ticks(n_rows: int) -> Iterator[tuple[int, TickBatch]]:
    """Which instrument, and its next ticks: days of trades and quotes in order, the instruments taking turns."""
    rng = np.random.default_rng(11)
    for number in range(n_rows // BATCH):
        place, turn = number % N_INSTRUMENTS, number // N_INSTRUMENTS
        day, part = divmod(turn, BATCHES_A_DAY)
        start = _OPENING + day * _DAY + part * (_SESSION // BATCHES_A_DAY)
        yield place, _batch(rng, start, _SESSION // BATCHES_A_DAY, turn * BATCH)


def _batch(rng: np.random.Generator, start: int, length: int, sequence: int) -> TickBatch:
    trade = rng.random(BATCH) < 0.4
    price = 100 + np.round(np.cumsum(rng.normal(0, 0.002, BATCH)), 2)
    sizes = rng.integers(1, 500, (2, BATCH)).astype(np.float64)
    exchange = rng.choice(np.array([b"N", b"P", b"K", b"XNAS"]), BATCH)
    return TickBatch(
        time=start + np.sort(rng.integers(0, length, BATCH)),
        kind=np.where(trade, TRADE, QUOTE),
        price=np.where(trade, price, np.nan),
        size=np.where(trade, sizes[0], np.nan),
        bid=np.where(trade, np.nan, price - 0.01),
        bid_size=np.where(trade, np.nan, sizes[0]),
        ask=np.where(trade, np.nan, price + 0.01),
        ask_size=np.where(trade, np.nan, sizes[1]),
        sequence=sequence + np.arange(1, BATCH + 1),
        exchange=exchange,
        condition=np.where(trade, rng.choice(np.array([b"", b"F I", b"T"]), BATCH), b""),
    )


def _instruments(name: str) -> list[Instrument]:
    return [Instrument.objects.create(symbol=f"{name}{k}", name=f"{name} {k}") for k in range(N_INSTRUMENTS)]


def _encoded(instrument: Instrument, batch: TickBatch) -> list[bytes]:
    return list(wire.encode(batch, identity.identities(checks.check(batch).batch), instrument.pk, "bench"))


def _copy(data: list[bytes]) -> None:
    with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
        for piece in data:
            copy.write(piece)


def _ours(instrument: Instrument, batch: TickBatch) -> None:
    done = ingest(instrument, batch, "bench")
    if done.n_stored != BATCH:
        raise RuntimeError(f"{done.n_stored} of {BATCH} ticks were stored: the bench's ticks are not what it thinks")


def _seconds(side: Callable[[], None]) -> float:
    start = clock.perf_counter()
    side()
    return clock.perf_counter() - start


def _warm_up(ours: Instrument, raw: Instrument) -> None:
    """Load what the first call loads: compiled code, calendars, plans."""
    batch = _batch(np.random.default_rng(1), _OPENING - 7 * _DAY, _SESSION, 1)
    _ours(ours, batch)
    _copy(_encoded(raw, batch))
