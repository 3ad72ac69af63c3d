"""Sound bars for tests of data health: every session complete, prices that move a little, volume everywhere."""

from dataclasses import replace
from datetime import date, timedelta

import numpy as np

from marketdata import calendars
from marketdata.health_rules import About
from marketdata.series import BarSeries


def times(first: date, last: date, interval_seconds: int, calendar: str = "XNYS") -> np.ndarray:
    """Starts of every bar of the sessions between two dates."""
    found = calendars.sessions(calendar, first, last)
    if interval_seconds >= 86_400:
        return found.day
    pairs = zip(found.opens, found.closes, strict=True)
    return np.concatenate([np.arange(opens, closes, interval_seconds) for opens, closes in pairs])


def walk(time: np.ndarray, seed: int = 1, step: float = 5e-4) -> BarSeries:
    """A random walk on these times; no two bars alike."""
    rng = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(rng.normal(0.0, step, time.size)))
    opens = np.concatenate([[100.0], close[:-1]])
    high = np.maximum(opens, close) * (1 + rng.uniform(0.1, 0.5, time.size) * step)
    low = np.minimum(opens, close) * (1 - rng.uniform(0.1, 0.5, time.size) * step)
    return BarSeries(time, opens, high, low, close, rng.integers(100, 10_000, time.size).astype(float))


def minutes(first: date = date(2019, 12, 16), last: date = date(2019, 12, 31)) -> BarSeries:
    """Minute bars; by default eleven sessions, of which Christmas Eve is a half day: 10·390 + 210 = 4,110 bars."""
    return walk(times(first, last, 60))


def days(first: date = date(2010, 1, 1), last: date = date(2013, 12, 31)) -> BarSeries:
    """Daily bars."""
    return walk(times(first, last, 86_400), step=0.01)


def without(series: BarSeries, *gone: slice | list[int]) -> BarSeries:
    """The same without the bars at these places."""
    keep = np.ones(len(series), dtype=bool)
    for places in gone:
        keep[places] = False
    return BarSeries(*(getattr(series, name)[keep] for name in ("time", "open", "high", "low", "close", "volume")))


def changed(series: BarSeries, **columns: dict[int, float]) -> BarSeries:
    """The same with single numbers replaced: changed(series, high={3: 1.0})."""
    arrays = {}
    for name, values in columns.items():
        arrays[name] = np.array(getattr(series, name))
        arrays[name][list(values)] = list(values.values())
    return replace(series, **arrays)


def scaled(series: BarSeries, places: slice, factor: float) -> BarSeries:
    """The same with all prices of these bars multiplied."""
    arrays = {name: np.array(getattr(series, name)) for name in ("open", "high", "low", "close")}
    for values in arrays.values():
        values[places] *= factor
    return replace(series, **arrays)


def about(series: BarSeries, interval_seconds: int, calendar: str = "XNYS", **values: object) -> About:
    """What the rules must know of it."""
    first, last = (date(1970, 1, 1) + timedelta(seconds=int(at)) for at in (series.time[0], series.time[-1]))
    around = calendars.sessions(calendar, first - timedelta(days=4), last + timedelta(days=4))
    return About(interval_seconds, around, **values)
