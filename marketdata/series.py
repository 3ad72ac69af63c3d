"""Bars of one instrument as arrays: what features, environments and charts read. Pure, no database."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, fields, replace

import numpy as np

_FIELDS = ("time", "open", "high", "low", "close", "volume")


@dataclass(frozen=True, eq=False)
class BarSeries:
    """OHLCV bars in ascending time; every array has shape (T,), T may be 0.

    Raises: ValueError when the arrays differ in shape or times do not strictly ascend.
    """

    time: np.ndarray  # start of each bar, int64 seconds since 1970-01-01 UTC
    open: np.ndarray  # float64, price of one unit in the instrument's currency; the same for high, low, close
    high: np.ndarray
    low: np.ndarray
    close: np.ndarray
    volume: np.ndarray  # float64, units traded; 0 where the source has none

    def __post_init__(self) -> None:
        for name in _FIELDS:
            kind = np.int64 if name == "time" else np.float64
            array = np.array(getattr(self, name), dtype=kind)  # a copy: nobody else can change a stored series
            if array.ndim != 1 or array.size != np.size(self.time):
                raise ValueError(
                    f"{name} has shape {array.shape}, expected ({np.size(self.time)},): pass one value per bar"
                )
            array.flags.writeable = False
            object.__setattr__(self, name, array)
        unsorted = np.flatnonzero(np.diff(self.time) <= 0)
        if unsorted.size:
            at = int(unsorted[0]) + 1
            raise ValueError(
                f"bars must ascend by time: bar {at} ({self.time[at]}) does not come after "
                f"bar {at - 1} ({self.time[at - 1]}); sort and remove repeats first"
            )

    @classmethod
    def empty(cls) -> BarSeries:
        """A series of no bars."""
        return cls(*(np.empty(0) for _ in fields(cls)))

    def __len__(self) -> int:
        return int(self.time.size)

    def until(self, time_seconds: int) -> BarSeries:
        """The bars that start at or before `time_seconds` (seconds since 1970, UTC)."""
        return self._take(slice(0, int(np.searchsorted(self.time, time_seconds, side="right"))))

    def between(self, start: int, end: int) -> BarSeries:
        """The bars that start from `start` to `end`, both included (seconds since 1970, UTC)."""
        first = int(np.searchsorted(self.time, start, side="left"))
        return self._take(slice(first, int(np.searchsorted(self.time, end, side="right"))))

    def fingerprint(self) -> str:
        """SHA-256 (hex) of all six arrays: the same bars give the same text on every machine."""
        digest = hashlib.sha256(str(len(self)).encode())
        for name in _FIELDS:
            array = getattr(self, name)
            digest.update(name.encode())
            digest.update(array.astype(array.dtype.newbyteorder("<")).tobytes())
        return digest.hexdigest()

    def _take(self, part: slice) -> BarSeries:
        return replace(self, **{name: getattr(self, name)[part] for name in _FIELDS})
