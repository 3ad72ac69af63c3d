"""Bars of a longer interval made of shorter ones. Pure: the same bars give the same result in any number of steps."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from marketdata.series import BarSeries

if TYPE_CHECKING:
    from marketdata.calendars import Sessions

DAY = 86_400


def coarser(series: BarSeries, to_seconds: int, sessions: Sessions | None = None) -> BarSeries:
    """Merge bars into bars of `to_seconds`: first open, highest high, lowest low, last close, summed volume.

    Below a day a bar starts at a whole multiple of its length since 1970 UTC. A day is a session: with `sessions` its
    bars are those that start from open to close, its time is the session's date at 00:00 UTC, and bars outside
    trading hours belong to no day; without them it is the UTC date. A bar in which nothing happened does not exist.
    The bars must be shorter than that; their times cannot tell, since minutes without a trade have none.
    Raises: ValueError if to_seconds is longer than a day: weeks are for charts (levels.py).
    """
    if not 1 <= to_seconds <= DAY:
        raise ValueError(f"bars of {to_seconds} seconds were asked for, expected 1 to {DAY}")
    start = series.time // to_seconds * to_seconds
    if to_seconds == DAY and sessions is not None:
        start = session_dates(series.time, sessions)
        inside = start >= 0
        series, start = merge_where(series, inside), start[inside]
    return merge(series, start)


def session_dates(time: np.ndarray, sessions: Sessions) -> np.ndarray:
    """Per bar start (T,) the date of the session it lies in, 00:00 UTC seconds; -1 outside every session."""
    row = np.searchsorted(sessions.opens, time, side="right") - 1
    known = row >= 0
    known[known] = time[known] < sessions.closes[row[known]]
    return np.where(known, sessions.day[np.maximum(row, 0)] if len(sessions.day) else -1, -1)


def merge_where(series: BarSeries, keep: np.ndarray) -> BarSeries:
    """The bars at which `keep` (T,) is true."""
    columns = (series.time, series.open, series.high, series.low, series.close, series.volume)
    return BarSeries(*(column[keep] for column in columns))


def merge(series: BarSeries, start: np.ndarray) -> BarSeries:
    """One bar per run of equal `start` (T,), which becomes its time. Volumes are added in order of time."""
    if len(series) == 0:
        return series
    first = np.flatnonzero(np.concatenate([[True], np.diff(start) != 0]))
    last = np.append(first[1:], len(series)) - 1
    run = np.cumsum(np.concatenate([[0], np.diff(start) != 0]))
    return BarSeries(
        start[first],
        series.open[first],
        np.maximum.reduceat(series.high, first),
        np.minimum.reduceat(series.low, first),
        series.close[last],
        # bincount adds one by one; other sums group their terms by length, so a longer run could round otherwise.
        np.bincount(run, weights=series.volume),
    )
