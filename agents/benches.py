"""What `manage.py bench` measures: ours and a peer in one run, on this machine."""

import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC

import numpy as np
from django.conf import settings
from django.db import transaction

from core.measurement import Measurement
from core.models import Instrument
from marketdata.benches import BENCHES as MARKETDATA
from marketdata.models import DAY, Bar
from marketdata.queries import copy_bars
from marketdata.series import BarSeries

N_BARS = 50_000
N_STEPS = 100_000
N_STEPS_INTERPRETED = 5_000


class _RollBack(Exception):
    """Leaves a measuring transaction without a trace."""


def random_bars(n_bars: int, seed: int = 1) -> BarSeries:
    """Daily bars of a seeded random walk."""
    close = 100.0 * np.exp(np.cumsum(0.01 * np.random.default_rng(seed).standard_normal(n_bars)))
    time_ = np.arange(n_bars, dtype=np.int64) * DAY // 24
    return BarSeries(time_, close, close * 1.01, close * 0.99, close, np.full(n_bars, 1e6))


def bars() -> list[Measurement]:
    """Rows a second into the bars hypertable, with replacement of old rows: COPY against Django's bulk_create."""
    ours = _timed_in_rolled_back_transaction(_copy)
    peer = _timed_in_rolled_back_transaction(_bulk_create)
    return [Measurement("bars", N_BARS / ours, "rows/s", N_BARS / peer, "Django bulk_create(update_conflicts=True)")]


def _timed_in_rolled_back_transaction(write: Callable[[Instrument, BarSeries], None]) -> float:
    series = random_bars(N_BARS)
    try:
        with transaction.atomic():
            instrument = Instrument.objects.create(
                symbol="BENCH", name="bench", asset_class=Instrument.AssetClass.INDEX
            )
            start = time.perf_counter()
            write(instrument, series)
            seconds = time.perf_counter() - start
            raise _RollBack
    except _RollBack:
        return seconds


def _copy(instrument: Instrument, series: BarSeries) -> None:
    copy_bars(instrument.pk, DAY, series, "bench")


def _bulk_create(instrument: Instrument, series: BarSeries) -> None:
    times = np.array(series.time, dtype="datetime64[s]").astype("datetime64[us]").tolist()
    columns = (series.open, series.high, series.low, series.close, series.volume)
    rows = [
        Bar(
            instrument=instrument,
            time=moment.replace(tzinfo=UTC),
            open=row[0],
            high=row[1],
            low=row[2],
            close=row[3],
            volume=row[4],
            source="bench",
        )
        for moment, *row in zip(times, *(column.tolist() for column in columns), strict=True)
    ]
    Bar.objects.bulk_create(
        rows,
        batch_size=2000,
        update_conflicts=True,
        unique_fields=["instrument", "interval_seconds", "time"],
        update_fields=["open", "high", "low", "close", "volume", "source"],
    )


def env() -> list[Measurement]:
    """Steps a second of the training environment against the same code without numba, each in a process of its own."""
    ours = _steps_per_second(N_STEPS, {})
    peer = _steps_per_second(N_STEPS_INTERPRETED, {"NUMBA_DISABLE_JIT": "1"})
    return [Measurement("env", ours, "steps/s", peer, "the same environment and kernel without numba")]


def _steps_per_second(n_steps: int, extra: dict[str, str]) -> float:
    code = f"from agents.env_speed import steps_per_second; print(steps_per_second({n_steps}))"
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=settings.BASE_DIR,
        env={**os.environ, **extra},
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return float(done.stdout)


BENCHES: dict[str, Callable[[], list[Measurement]]] = {"bars": bars, "env": env, **MARKETDATA}
