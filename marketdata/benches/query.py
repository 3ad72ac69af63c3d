"""How fast a chart gets its bars at any zoom with 10 million stored, and how fast the latest tick is found."""

import os
import time
from collections.abc import Callable
from datetime import UTC, datetime

import numpy as np
from django.db import connection

from core.measurement import Measurement
from core.models import Instrument
from marketdata import levels
from marketdata.bar_store import store_bars
from marketdata.benches.scratch import scratch_database
from marketdata.series import BarSeries
from marketdata.ticks.queries import latest_tick
from marketdata.ticks.series import TickBatch
from marketdata.ticks.store import ingest

N_BARS = int(os.environ.get("DESK_BENCH_BARS", 10_000_000))
N_TICKS = int(os.environ.get("DESK_BENCH_TICKS", 1_000_000))
MINUTE, BLOCK = 60, 500_000
START = int(datetime(2001, 1, 1, tzinfo=UTC).timestamp())
_BUCKETED = """
    SELECT time_bucket(%(width)s * interval '1 second', time) AS bucket, first(open, time), max(high), min(low),
        last(close, time), sum(volume)
    FROM marketdata_bar
    WHERE instrument_id = %(i)s AND interval_seconds = 60
      AND time >= to_timestamp(%(start)s) AND time <= to_timestamp(%(end)s)
    GROUP BY bucket ORDER BY bucket
"""
N_LOOKS, N_PEER_LOOKS, N_POINTS = 400, 20, 2000


def run() -> list[Measurement]:
    """95th percentiles in milliseconds: charts at random zooms and places, and the latest tick."""
    with scratch_database():
        instrument = Instrument.objects.create(symbol="BENCH", name="bench", asset_class="crypto", calendar="24/7")
        _store(instrument)
        spans = _spans(np.random.default_rng(1), N_LOOKS)
        ours = _milliseconds([_look(instrument, span) for span in spans])
        peer = _milliseconds([_time_bucket(instrument, span) for span in spans[:N_PEER_LOOKS]])
        chart = Measurement(
            "query: chart",
            float(np.percentile(ours, 95)),
            "ms (95th percentile)",
            float(np.percentile(peer, 95)),
            "time_bucket, first, max, min, last and sum over the stored bars",
            {
                "bars": N_BARS,
                "looks": N_LOOKS,
                "median_ms": round(float(np.median(ours)), 2),
                "most_ms": round(max(ours), 2),
            },
        )
        return [chart, _latest_tick(instrument)]


def _store(instrument: Instrument) -> None:
    """One instrument's minutes without a break, as a market that never closes has them."""
    random = np.random.default_rng(0)
    for first in range(0, N_BARS, BLOCK):
        n = min(BLOCK, N_BARS - first)
        close = 100 * np.exp(np.cumsum(1e-4 * random.standard_normal(n)))
        time_ = START + MINUTE * np.arange(first, first + n)
        store_bars(
            instrument, MINUTE, BarSeries(time_, close, close * 1.001, close * 0.999, close, np.ones(n)), "bench"
        )
    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE marketdata_bar")
        cursor.execute("VACUUM ANALYZE marketdata_chartbar")


def _spans(random: np.random.Generator, n: int) -> list[tuple[int, int]]:
    """From half an hour to everything, all zooms alike, anywhere."""
    lengths = np.exp(random.uniform(np.log(30), np.log(N_BARS), n)).astype(int)
    lengths[::20] = N_BARS  # the whole history is what people look at first
    starts = (random.uniform(0, 1, n) * (N_BARS - lengths)).astype(int)
    return [(START + MINUTE * int(a), START + MINUTE * int(a + b)) for a, b in zip(starts, lengths, strict=True)]


def _look(instrument: Instrument, span: tuple[int, int]) -> Callable[[], object]:
    start, end = (datetime.fromtimestamp(second, UTC) for second in span)
    return lambda: levels.chart_bars(instrument.pk, MINUTE, start=start, end=end, n_most=N_POINTS)


def _time_bucket(instrument: Instrument, span: tuple[int, int]) -> Callable[[], object]:
    """TimescaleDB's own way: group the span's bars as they are read."""
    values = {"i": instrument.pk, "start": span[0], "end": span[1], "width": max(60, (span[1] - span[0]) // N_POINTS)}

    def look() -> object:
        with connection.cursor() as cursor:
            cursor.execute(_BUCKETED, values)
            return cursor.fetchall()

    return look


def _latest_tick(instrument: Instrument) -> Measurement:
    """The newest of many ticks by index, against asking for the greatest time and then for its row."""
    for first in range(0, N_TICKS, BLOCK):
        n = min(BLOCK, N_TICKS - first)
        ticks = TickBatch.trades(
            (START + np.arange(first, first + n) // 2) * 1_000_000,
            np.full(n, 100.0),
            np.ones(n),
            sequence=np.arange(first, first + n),
        )
        ingest(instrument, ticks, "bench", bar_intervals=[])
    ours = _milliseconds([lambda: latest_tick(instrument.pk)] * 200)
    peer = _milliseconds([lambda: _newest_by_maximum(instrument)] * 50)
    return Measurement(
        "query: latest tick",
        float(np.percentile(ours, 95)),
        "ms (95th percentile)",
        float(np.percentile(peer, 95)),
        "SELECT ... WHERE time = (SELECT max(time) ...)",
        {"ticks": N_TICKS, "median_ms": round(float(np.median(ours)), 3)},
    )


def _newest_by_maximum(instrument: Instrument) -> object:
    sql = (
        "SELECT * FROM marketdata_tick WHERE instrument_id = %(i)s"
        " AND time = (SELECT max(time) FROM marketdata_tick WHERE instrument_id = %(i)s)"
    )
    with connection.cursor() as cursor:
        cursor.execute(sql, {"i": instrument.pk})
        return cursor.fetchone()


def _milliseconds(looks: list[Callable[[], object]]) -> list[float]:
    looks[0]()  # the first one opens files and plans
    found = []
    for look in looks:
        start = time.perf_counter()
        look()
        found.append((time.perf_counter() - start) * 1000)
    return found
