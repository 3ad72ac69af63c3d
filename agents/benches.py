"""What `manage.py bench` measures: ours and a peer in one run, on this machine."""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC

import numpy as np
from django.conf import settings
from django.db import transaction

from core.models import Instrument
from marketdata.models import DAY, Bar
from marketdata.queries import copy_bars
from marketdata.series import BarSeries

N_BARS = 50_000
N_STEPS = 100_000
N_STEPS_INTERPRETED = 5_000


@dataclass(frozen=True)
class Measurement:
    """One figure and the peer's; ratio is value / baseline."""

    name: str
    value: float
    unit: str
    baseline: float
    baseline_is: str

    def to_json(self) -> str:
        """One line, fit for docs/benchmarks.md and for machines."""
        figures = {"value": round(self.value, 1), "unit": self.unit, "baseline": round(self.baseline, 1)}
        return json.dumps(
            {
                "bench": self.name,
                **figures,
                "ratio": round(self.value / self.baseline, 2),
                "baseline_is": self.baseline_is,
            }
        )


class _RollBack(Exception):
    """Leaves a measuring transaction without a trace."""


def random_bars(n_bars: int, seed: int = 1) -> BarSeries:
    """Daily bars of a seeded random walk."""
    close = 100.0 * np.exp(np.cumsum(0.01 * np.random.default_rng(seed).standard_normal(n_bars)))
    time_ = np.arange(n_bars, dtype=np.int64) * DAY // 24
    return BarSeries(time_, close, close * 1.01, close * 0.99, close, np.full(n_bars, 1e6))


def bars() -> Measurement:
    """Rows a second into the bars hypertable, with replacement of old rows: COPY against Django's bulk_create."""
    ours = _timed_in_rolled_back_transaction(_copy)
    peer = _timed_in_rolled_back_transaction(_bulk_create)
    return Measurement("bars", N_BARS / ours, "rows/s", N_BARS / peer, "Django bulk_create(update_conflicts=True)")


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


def env() -> Measurement:
    """Steps a second of the training environment against the same code without numba, each in a process of its own."""
    ours = _steps_per_second(N_STEPS, {})
    peer = _steps_per_second(N_STEPS_INTERPRETED, {"NUMBA_DISABLE_JIT": "1"})
    return Measurement("env", ours, "steps/s", peer, "the same environment and kernel without numba")


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


BENCHES: dict[str, Callable[[], Measurement]] = {"bars": bars, "env": env}
