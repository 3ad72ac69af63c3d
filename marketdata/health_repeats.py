"""Bars that repeat earlier ones, and prices that stand still. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from marketdata.health_finding import DAY, Accepted, Finding, Severity, counted, finding, remaining, when
from marketdata.series import BarSeries

# So many bars in a row that are all equal to earlier ones are a copy; fewer may be chance.
BLOCK = 5
# So many bars in a row with one and the same price: a feed that repeats its last price.
FROZEN_INTRADAY, FROZEN_DAILY = 60, 10


def duplicates(series: BarSeries, interval_seconds: int, accepted: Sequence[Accepted]) -> Finding | None:
    """Bars equal to the one before, blocks of bars equal to an earlier block, and prices that stand still.

    Bars with one single price are no copies of each other: two trades at one price are ordinary. They count only
    where the price stands still for a long time.
    """
    if len(series) < 2:
        return None
    copied = _equal_to_before(series) | _copied_blocks(series)
    frozen = _frozen_runs(series, FROZEN_DAILY if interval_seconds >= DAY else FROZEN_INTRADAY)
    frozen_at = np.array(list(frozen), dtype=np.int64)
    at = np.union1d(np.flatnonzero(copied), frozen_at)
    at = at[remaining(series.time[at], accepted)]
    if at.size == 0:
        return None
    runs = [frozen[int(bar)] for bar in at if int(bar) in frozen]
    n_copied = int(copied[at].sum())
    parts = []
    if n_copied:
        parts.append(f"{counted(n_copied, 'bar repeats', 'bars repeat')} earlier bars exactly")
    if runs:
        times = counted(len(runs), "time")
        parts.append(f"the price stands still {times}, at most for {counted(max(runs), 'bar')}")
    detail = f"{'; '.join(parts)}; first {when(int(series.time[at[0]]), interval_seconds)}."
    detail = detail[0].upper() + detail[1:]

    def found(i: int) -> str:
        bar = int(at[i])
        if bar in frozen:
            return f"{series.close[bar]:g} for {counted(frozen[bar], 'bar')}"
        return f"the same open, high, low, close {series.close[bar]:g} and volume again"

    severity: Severity = "warning" if runs or n_copied >= BLOCK else "note"
    return finding("duplicates", severity, series.time[at], detail, found)


def _values(series: BarSeries) -> tuple[np.ndarray, ...]:
    return series.open, series.high, series.low, series.close, series.volume


def _equal_to_before(series: BarSeries) -> np.ndarray:
    equal = np.zeros(len(series), dtype=bool)
    equal[1:] = series.high[1:] > series.low[1:]
    for values in _values(series):
        equal[1:] &= values[1:] == values[:-1]
    return equal


def _copied_blocks(series: BarSeries) -> np.ndarray:
    """Bars that belong to a later copy of at least BLOCK bars in a row, (T,) bool."""
    copied = np.zeros(len(series), dtype=bool)
    n_windows = len(series) - BLOCK + 1
    if n_windows < 2:
        return copied
    keys = _keys(series)
    windows = np.zeros(n_windows, dtype=np.uint64)
    varied = np.ones(n_windows, dtype=bool)
    moves = series.high > series.low
    for place in range(BLOCK):
        windows = windows * np.uint64(0x9E3779B97F4A7C15) + keys[place : place + n_windows]
        varied &= moves[place : place + n_windows]
    candidates = np.flatnonzero(varied)
    order = candidates[np.argsort(windows[candidates], kind="stable")]  # stable: the original comes first
    later = order[1:][windows[order[1:]] == windows[order[:-1]]]
    for place in range(BLOCK):
        copied[later + place] = True
    return copied


def _keys(series: BarSeries) -> np.ndarray:
    """One 64-bit number per bar, the same for equal bars and for hardly any others, (T,) uint64."""
    keys = np.zeros(len(series), dtype=np.uint64)
    for values in _values(series):
        keys = (keys ^ np.ascontiguousarray(values + 0.0).view(np.uint64)) * np.uint64(0xBF58476D1CE4E5B9)
        keys ^= keys >> np.uint64(29)
    return keys


def _frozen_runs(series: BarSeries, least: int) -> dict[int, int]:
    """First bar and length of every run of at least `least` bars without a change of price."""
    still = np.zeros(len(series) + 1, dtype=bool)
    still[1:-1] = (
        (series.high[1:] == series.low[1:])
        & (series.close[1:] == series.close[:-1])
        & (series.high[:-1] == series.low[:-1])
    )
    edges = np.flatnonzero(np.diff(still.astype(np.int8)))
    # still[i] says that bar i repeats bar i - 1, so the run begins one bar earlier
    runs = zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True)
    return {first: last - first + 1 for first, last in runs if last - first + 1 >= least}
