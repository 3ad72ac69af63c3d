"""How long 60 features take: a million bars at once, and one bar at a time, beside what people usually do."""

import time
from collections.abc import Callable

import numpy as np
import pandas as pd
import talib

from core.measurement import Measurement
from marketdata.features.batch import compute
from marketdata.features.catalogue import CATALOGUE, FeatureList
from marketdata.features.inputs import Inputs
from marketdata.features.streaming import FeatureStream
from marketdata.series import BarSeries

N_BARS = 1_000_000
N_FEATURES = 60
N_STREAMED = 20_000
N_PEER = 100_000  # pandas is too slow for all bars; its time is scaled up
N_REPEATS = 3
MINUTE = 60


def run() -> list[Measurement]:
    """Batch and streaming time of the same 60 features, whether they agree, and how far sums have drifted."""
    bars, spec = made_bars(N_BARS), sixty()
    compute(spec, Inputs(_part(bars, 0, 2_000), MINUTE))  # compile first
    rows = np.empty(0)
    batch_seconds = []
    for _ in range(N_REPEATS):
        del rows
        started = time.perf_counter()
        rows = compute(spec, Inputs(bars, MINUTE))
        batch_seconds.append(time.perf_counter() - started)
    batch = min(batch_seconds)
    peer = _best(lambda: pandas_sixty(_part(bars, 0, N_PEER)), 1) * N_BARS / N_PEER
    streamed, worst = _stream(spec, bars, rows)
    everything = FeatureList(tuple(CATALOGUE))
    all_streamed, _ = _stream(everything, _part(bars, 0, 8_000), None)
    return [
        Measurement(
            "features_batch", batch, "s", peer, f"60 rolling columns by pandas, from {N_PEER} bars",
            {"n_bars": N_BARS, "n_features": N_FEATURES, "first_run": round(batch_seconds[0], 3),
             "drift": drift(spec, bars, rows)},
        ),
        Measurement(
            "features_stream", streamed * 1e6, "µs per bar", _talib_again(bars) * 1e6,
            "TA-Lib's RSI 14 alone, calculated anew over the last 250 bars at each bar, times 60",
            {"n_features": N_FEATURES, "largest_relative_difference_to_batch": worst,
             f"all_{len(everything)}_features": round(all_streamed * 1e6, 1)},
        ),
    ]  # fmt: skip


def sixty() -> FeatureList:
    """Sixty features of every kind that bars alone can give, taken evenly from the catalogue."""
    names = [name for name, d in CATALOGUE.items() if d.needs <= {"volume"} and d.group != "calendar"]
    picked = np.linspace(0, len(names) - 1, N_FEATURES).round().astype(int)
    return FeatureList(tuple(names[number] for number in picked))


def made_bars(n: int, seed: int = 4) -> BarSeries:
    """Seeded minute bars of a random walk with nights and missing minutes."""
    rng = np.random.default_rng(seed)
    close = np.round(100.0 * np.exp(np.cumsum(rng.normal(0.0, 4e-4, n))), 4)
    opens = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opens, close) * (1.0 + np.abs(rng.normal(0.0, 2e-4, n)))
    low = np.minimum(opens, close) * (1.0 - np.abs(rng.normal(0.0, 2e-4, n)))
    steps = np.where(rng.random(n) < 0.02, 3 * MINUTE, MINUTE)
    steps[::390] = 1_050 * MINUTE
    return BarSeries(1_262_615_400 + np.cumsum(steps), opens, high, low, close, np.round(rng.lognormal(9.0, 1.0, n)))


def drift(spec: FeatureList, bars: BarSeries, rows: np.ndarray, n: int = 6_000, n_shown: int = 100) -> float:
    """Largest difference at the series' end to a calculation of its last bars alone, in each feature's deviations.

    n: so many bars that averages have forgotten where they started.
    """
    fresh = compute(spec, Inputs(_part(bars, len(bars) - n, len(bars)), MINUTE))[-n_shown:]
    size = np.maximum(np.nanstd(fresh, axis=0), np.nanmean(np.abs(fresh), axis=0))
    return float(np.nanmax(np.abs(rows[-n_shown:] - fresh) / np.maximum(size, 1e-12)))


def pandas_sixty(bars: BarSeries) -> pd.DataFrame:
    """Sixty rolling columns as a notebook has them: the peer, not the same indicators."""
    close, volume = pd.Series(bars.close), pd.Series(bars.volume)
    returns = close.pct_change()
    columns: dict[str, pd.Series] = {}
    for length in (10, 20, 30, 60, 100):
        window, moved = close.rolling(length), returns.rolling(length)
        columns |= {
            f"mean_{length}": close / window.mean(),
            f"deviation_{length}": window.std(),
            f"low_{length}": close / window.min(),
            f"high_{length}": close / window.max(),
            f"return_{length}": close.pct_change(length),
            f"ema_{length}": close / close.ewm(span=length, adjust=False).mean(),
            f"volatility_{length}": moved.std(),
            f"skew_{length}": moved.skew(),
            f"kurtosis_{length}": moved.kurt(),
            f"correlation_{length}": moved.corr(volume),
            f"volume_{length}": volume / volume.rolling(length).mean(),
            f"rank_{length}": window.rank(),
        }
    return pd.DataFrame(columns)


def _stream(spec: FeatureList, bars: BarSeries, rows: np.ndarray | None) -> tuple[float, float]:
    """Seconds per bar, and the largest relative difference to the batch's rows."""
    start = min(len(bars) // 2, 5_000)
    count = min(N_STREAMED, len(bars) - start)
    part = _part(bars, start, start + count)
    table = list(zip(*(column.tolist() for column in _columns(part)), strict=True))
    best, worst = np.inf, 0.0
    for _ in range(N_REPEATS):
        stream = FeatureStream(spec, MINUTE)
        stream.warm(Inputs(_part(bars, 0, start), MINUTE))
        started = time.perf_counter()
        found = [stream.update(*row) for row in table]
        best = min(best, (time.perf_counter() - started) / count)
    if rows is not None:
        expected, got = rows[start : start + count], np.array(found)
        if not np.array_equal(np.isnan(expected), np.isnan(got)):
            return best, float("inf")
        with np.errstate(invalid="ignore", divide="ignore"):
            relative = np.abs(got - expected) / np.abs(expected)
        worst = float(np.nanmax(np.where(got == expected, 0.0, relative)))
    return best, worst


def _talib_again(bars: BarSeries) -> float:
    close = bars.close[:N_STREAMED].copy()

    def go() -> None:
        for row in range(250, 2_250):
            talib.RSI(close[row - 250 : row], 14)

    return _best(go) / 2_000 * N_FEATURES


def _best(work: Callable[[], object], repeats: int = N_REPEATS) -> float:
    seconds = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)


def _columns(bars: BarSeries) -> tuple[np.ndarray, ...]:
    return bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume


def _part(bars: BarSeries, first: int, last: int) -> BarSeries:
    return BarSeries(*(column[first:last] for column in _columns(bars)))
