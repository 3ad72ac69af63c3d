"""Made-up and real markets that the tests of features share."""

from datetime import date
from functools import cache

import numpy as np
import pandas as pd

from marketdata import calendars
from marketdata.features.catalogue import CATALOGUE, FeatureList
from marketdata.features.inputs import Inputs
from marketdata.features.streaming import FeatureStream
from marketdata.series import BarSeries
from marketdata.tests import shared_data

MINUTE, DAY = 60, 86_400
ALL = FeatureList(tuple(CATALOGUE))
COLUMNS = ("time", "open", "high", "low", "close", "volume")


@cache
def sessions() -> calendars.Sessions:
    """New York's sessions over the years the tests use."""
    return calendars.sessions("XNYS", date(2010, 12, 1), date(2020, 3, 1))


def session_minutes(n: int, first: date = date(2019, 12, 16)) -> np.ndarray:
    """Starts of the first n minutes of trading from a date on."""
    known = sessions()
    row = int(np.searchsorted(known.day, calendars._seconds(first)))
    parts = [np.empty(0, dtype=np.int64)]
    while sum(map(len, parts)) < n:
        parts.append(np.arange(known.opens[row], known.closes[row], MINUTE))
        row += 1
    return np.concatenate(parts)[:n]


def walk(n: int, seed: int = 1, *, time: np.ndarray | None = None, step: float = 1e-3) -> BarSeries:
    """A random walk with open gaps, both shadows and changing volume; minutes of trading, a tenth of them missing."""
    rng = np.random.default_rng(seed)
    if time is None:
        minutes = session_minutes(n + n // 4 + 20)
        time = minutes[np.sort(rng.choice(len(minutes), n, replace=False))]
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, step, n)))
    opens = np.concatenate([[100.0], close[:-1]]) * np.exp(rng.normal(0.0, step / 3, n))
    high = np.maximum(opens, close) * (1.0 + np.abs(rng.normal(0.0, step / 2, n)))
    low = np.minimum(opens, close) * (1.0 - np.abs(rng.normal(0.0, step / 2, n)))
    return BarSeries(time, opens, high, low, close, np.round(rng.lognormal(9.0, 1.0, n)))


def flat(n: int, price: float = 100.1, volume: float = 0.0) -> BarSeries:
    """A price that never moves."""
    same = np.full(n, price)
    return BarSeries(session_minutes(n), same, same, same, same, np.full(n, volume))


def changed(bars: BarSeries, **columns: np.ndarray) -> BarSeries:
    """The same bars with other columns."""
    return BarSeries(*(columns.get(name, getattr(bars, name)) for name in COLUMNS))


def part(bars: BarSeries, first: int, last: int) -> BarSeries:
    """Bars number first to last - 1."""
    return BarSeries(*(getattr(bars, name)[first:last] for name in COLUMNS))


def vix_days(first: int, last: int, seed: int = 2) -> BarSeries:
    """A made-up VIX for every session between two moments, from 60 days before."""
    days = sessions().day
    days = days[(days >= first - 60 * DAY) & (days <= last)]
    level = 15.0 * np.exp(np.cumsum(np.random.default_rng(seed).normal(0.0, 0.05, len(days))))
    return BarSeries(days, level, level, level, level, np.zeros(len(days)))


def world(n: int = 500, seed: int = 1) -> Inputs:
    """Minute bars with everything else a feature may need; the underlying misses some minutes of its own."""
    bars = walk(n, seed)
    other = walk(n, seed + 10, time=bars.time, step=7e-4)
    keep = np.random.default_rng(seed).random(n) < 0.95
    underlying = BarSeries(*(getattr(other, name)[keep] for name in COLUMNS))
    rng = np.random.default_rng(seed + 20)
    known = np.sort(rng.uniform(bars.time[0] - DAY, bars.time[-1], 40))
    scores = np.column_stack([known, rng.uniform(-1.0, 1.0, 40)])
    return Inputs(bars, MINUTE, vix_days(bars.time[0], bars.time[-1]), underlying, scores, sessions())


def streamed(spec: FeatureList, inputs: Inputs, warm: int = 0) -> np.ndarray:
    """What a stream gives, (T, n): the first `warm` bars as history, the rest one by one, all else as it is known."""
    bars = inputs.bars
    stream = FeatureStream(spec, inputs.interval_seconds, inputs.sessions)
    feeds = {"vix": _rows(inputs.vix), "underlying": _rows(inputs.underlying), "scores": inputs.scores}
    start = int(bars.time[warm - 1]) if warm else -(10**6)
    rows: list[np.ndarray] = []
    if warm:
        early = [None if s is None else s.until(int(start)) for s in (inputs.vix, inputs.underlying)]
        closed = start + inputs.interval_seconds
        scores = None if inputs.scores is None else inputs.scores[inputs.scores[:, 0] <= closed]
        history = Inputs(part(bars, 0, warm), inputs.interval_seconds, *early, scores, inputs.sessions)
        rows.extend(stream.warm(history))
    for row in range(warm, len(bars)):
        until = bars.time[row]
        new = {}
        for name, table in feeds.items():
            if table is not None:  # a score may be known by the bar's close, a bar only from its start on
                extra = inputs.interval_seconds if name == "scores" else 0
                new[name] = table[(table[:, 0] > start + extra) & (table[:, 0] <= until + extra)]
        rows.append(stream.update(*(getattr(bars, name)[row].item() for name in COLUMNS), **new))
        start = until
    return np.array(rows)


def _rows(series: BarSeries | None) -> np.ndarray | None:
    return None if series is None else np.column_stack([series.time, series.close])


def assert_same(found: np.ndarray, expected: np.ndarray, names: tuple[str, ...], relative: float = 1e-12) -> None:
    """Equal to the stream's promise, feature by feature, NaN in the same places."""
    for column, name in enumerate(names):
        np.testing.assert_allclose(
            found[:, column], expected[:, column], rtol=relative, atol=0.0, equal_nan=True, err_msg=name
        )


def real_minutes(file: str, symbol: str) -> BarSeries:
    """Minute bars of one symbol from the reference data, or skip."""
    frame = pd.read_parquet(shared_data.need(f"minute/{file}.parquet"))
    frame = frame[frame["symbol"] == symbol]
    time = (frame["timestamp"] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1)
    return shared_data.bars(frame.set_index(time))
