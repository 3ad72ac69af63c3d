"""What features are calculated from: bars, and other series as far as a specification needs them."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from marketdata.calendars import Sessions
from marketdata.series import BarSeries

DAY = 86_400
SESSIONS_PER_YEAR = 252
SESSION_SECONDS = 23_400  # 9:30 to 16:00
# Rows (time, value): new bars of another series or new scores.
Rows = np.ndarray | Sequence[tuple[float, float]] | None


@dataclass(frozen=True, eq=False)
class Inputs:
    """What features may use; everything but the bars may be missing, its features are NaN then."""

    bars: BarSeries  # all history there is: averages that never forget start at the first bar given
    interval_seconds: int
    vix: BarSeries | None = None  # daily bars
    underlying: BarSeries | None = None  # bars of the same interval
    scores: np.ndarray | None = None  # (K, 2) known_at seconds ascending, score from -1 to 1
    sessions: Sessions | None = None  # of the instrument's exchange; they must cover the bars

    def fingerprint(self) -> str:
        """SHA-256 (hex) of all of it."""
        digest = hashlib.sha256(f"{self.interval_seconds}\n{self.bars.fingerprint()}".encode())
        for series in (self.vix, self.underlying):
            digest.update(b"-" if series is None else series.fingerprint().encode())
        for table in (rows_of(self.scores), sessions_table(self.sessions)):
            digest.update(str(table.shape).encode())
            digest.update(table.astype("<f8").tobytes())
        return digest.hexdigest()


def bars_table(bars: BarSeries) -> np.ndarray:
    """(T, 6) float64: time, open, high, low, close, volume."""
    table = np.empty((len(bars), 6))
    for column, values in enumerate((bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume)):
        table[:, column] = values
    return table


def closes_table(series: BarSeries | None) -> np.ndarray:
    """(T, 2) float64: time and close; no rows for None."""
    if series is None:
        return np.empty((0, 2))
    return np.column_stack([series.time.astype(np.float64), series.close])


def rows_of(rows: Rows) -> np.ndarray:
    """(K, 2) float64. Raises: ValueError for another shape or times that do not ascend."""
    if rows is None or len(rows) == 0:
        return np.empty((0, 2))
    table = np.ascontiguousarray(rows, dtype=np.float64)
    if table.ndim != 2 or table.shape[1] != 2:
        raise ValueError(f"rows have shape {table.shape}, expected (K, 2): time in seconds and value")
    if (np.diff(table[:, 0]) < 0).any():
        raise ValueError("rows must ascend by time: sort them first")
    return table


def sessions_table(sessions: Sessions | None) -> np.ndarray:
    """(S, 4) float64: day, opens, closes, half; no rows for None."""
    if sessions is None:
        return np.empty((0, 4))
    return np.column_stack([sessions.day, sessions.opens, sessions.closes, sessions.half]).astype(np.float64)


def per_year(interval_seconds: int) -> float:
    """What turns volatility per bar into one per year: a year of 252 sessions of six and a half hours."""
    return math.sqrt(SESSIONS_PER_YEAR * max(SESSION_SECONDS / interval_seconds, 1.0))


def usable(table: np.ndarray) -> np.ndarray:
    """Bars with all four prices, (T,) bool; the kernels have the same rule."""
    prices = table[:, 1:5]
    return (np.isfinite(prices) & (prices > 0.0)).all(axis=1)


def with_volume(table: np.ndarray) -> np.ndarray:
    """Bars with a volume, (T,) bool; 0 is one."""
    return np.isfinite(table[:, 5]) & (table[:, 5] >= 0.0)
