"""What `manage.py bench` measures: ours and a peer in one run, on this machine."""

import importlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable
from datetime import UTC

import numpy as np
from django.conf import settings
from django.db import transaction

from agents.benchmarks.peer_env import HOW_TO_GET_IT, peer_version
from agents.benchmarks.peer_env import PACKAGE as PEER
from core.measurement import Measurement
from core.models import Instrument
from marketdata.benches import BENCHES as MARKETDATA
from marketdata.models import DAY, Bar
from marketdata.queries import copy_bars
from marketdata.series import BarSeries

N_BARS = 50_000


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
    """Steps a second of the training environment, costs and stops included, in a process of its own."""
    found = _speeds()
    baseline, version = found.get("peer"), peer_version()
    baseline_is = f"{PEER} {version}, one environment as it is" if version else f"not measured: {HOW_TO_GET_IT}"
    copies = sorted(int(name.removeprefix("copies_")) for name in found if name.startswith("copies_"))
    more = {"n_cores": len(os.sched_getaffinity(0)), "one_thread": round(found["one_thread"])}
    return [
        Measurement(
            f"env: {n:,} {'copy' if n == 1 else 'copies'}",
            found[f"copies_{n}"],
            "steps/s",
            baseline,
            baseline_is,
            more if n == copies[-1] else {},
        )
        for n in copies
    ]


def _speeds() -> dict[str, float]:
    done = subprocess.run(
        [sys.executable, "-c", "from agents.benchmarks.env_speed import as_json; print(as_json())"],
        cwd=settings.BASE_DIR,
        capture_output=True,
        text=True,
        check=True,
        timeout=300,
    )
    return json.loads(done.stdout)


def _of(module: str, name: str) -> Callable[[], list[Measurement]]:
    """A bench in a module of its own, imported when it is run: torch takes seconds to load."""
    return lambda: getattr(importlib.import_module(f"agents.benchmarks.{module}"), name)()


BENCHES: dict[str, Callable[[], list[Measurement]]] = {
    "bars": bars,
    "env": env,
    "ppo": _of("ppo_bench", "ppo"),
    "sac": _of("sac_bench", "sac"),
    "dqn": _of("dqn_bench", "dqn"),
    "tune": _of("tune_bench", "tune"),
    "proof": _of("proof_bench", "proof"),
    **MARKETDATA,
}
