"""Bars made of trades, from scratch or going on where the last trade left off. Pure, no database.

A bar of s seconds starts at a multiple of s seconds since 1970-01-01 UTC and holds the trades from its start up to,
not including, the next multiple; a minute without a trade has no bar. Every stored trade counts, whatever its
condition; quotes make no bars. Volume is summed trade by trade in the order of `identity.order`, so that going on from
a stored bar gives the very bits that starting from scratch gives.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numba import njit

from marketdata.series import BarSeries

DAY = 86_400
MICROSECONDS = 1_000_000


@dataclass(frozen=True)
class OpenBar:
    """A bar that later trades may still change."""

    start: int  # seconds since 1970 UTC
    open: float
    high: float
    low: float
    close: float
    volume: float


def check_interval(interval_seconds: int) -> int:
    """The interval itself. Raises: ValueError unless whole bars fit a day exactly, 1 second to 1 day."""
    if not 1 <= interval_seconds <= DAY or DAY % interval_seconds:
        raise ValueError(
            f"bars of {interval_seconds} s do not divide a day: give 1 to 86400 seconds, such as 60 or 300"
        )
    return interval_seconds


def bar_starts(time: np.ndarray, interval_seconds: int) -> np.ndarray:
    """Start of the bar that each moment falls in, int64 seconds. time: int64 microseconds since 1970 UTC."""
    return time // (interval_seconds * MICROSECONDS) * interval_seconds


def make_bars(
    time: np.ndarray, price: np.ndarray, size: np.ndarray, interval_seconds: int, open_bar: OpenBar | None = None
) -> BarSeries:
    """Bars of trades in order: time int64 microseconds since 1970 UTC, price and size float64, all shape (T,).

    open_bar: the bar to go on with; it is the first of the result if a trade falls into it, else it is not in it.
    Raises: ValueError if times descend, or a trade comes before the open bar.
    """
    check_interval(interval_seconds)
    if time.size == 0:
        return BarSeries.empty()
    starts = bar_starts(time, interval_seconds)
    if (time[1:] < time[:-1]).any():
        raise ValueError("trades must be in order of time: sort them by identity.order first")
    if open_bar is not None and starts[0] < open_bar.start:
        raise ValueError(f"a trade of bar {starts[0]} comes before the open bar {open_bar.start}: make that bar anew")
    columns = _make(starts, price, size)
    if open_bar is not None and starts[0] == open_bar.start:
        return BarSeries(*_continued(columns, open_bar, size[starts == open_bar.start]))
    return BarSeries(*columns)


def open_bar_of(series: BarSeries) -> OpenBar | None:
    """The last bar of a series, None without one."""
    if len(series) == 0:
        return None
    values = (getattr(series, name)[-1] for name in ("open", "high", "low", "close", "volume"))
    return OpenBar(int(series.time[-1]), *(float(value) for value in values))


def _continued(columns: tuple[np.ndarray, ...], bar: OpenBar, sizes: np.ndarray) -> tuple[np.ndarray, ...]:
    """The first of these bars as the rest of `bar`."""
    _, opens, highs, lows, _, volumes = columns
    opens[0], highs[0], lows[0] = bar.open, max(bar.high, highs[0]), min(bar.low, lows[0])
    volumes[0] = _sum(bar.volume, sizes)
    return columns


@njit(cache=True)
def _sum(total, sizes):
    for size in sizes:
        total += size
    return total


@njit(cache=True)
def _make(starts, price, size):
    n_bars = 1
    for i in range(1, starts.size):
        n_bars += starts[i] != starts[i - 1]
    time, columns = np.empty(n_bars, dtype=np.int64), np.empty((5, n_bars))
    opens, highs, lows, closes, volumes = columns
    at = -1
    for i in range(starts.size):
        if i == 0 or starts[i] != starts[i - 1]:
            at += 1
            time[at] = starts[i]
            opens[at], highs[at], lows[at], volumes[at] = price[i], price[i], price[i], 0.0
        highs[at], lows[at] = max(highs[at], price[i]), min(lows[at], price[i])
        closes[at] = price[i]
        volumes[at] += size[i]
    return time, opens, highs, lows, closes, volumes
