"""A normaliser that goes on learning: mean and variance that forget exponentially, carried from bar to bar.

The row of bar t is scaled with what the rows before t had left, then remembered. So nothing later than t, and not even
t itself, decides the scale of t. Training runs from the first stored bar; the state after the last training row is kept
with the model version, and everything after that row goes on from there, in a backtest as well as live. Moments that
are not after it are computed from the first bar again.
Source of the recursion: West, "Updating mean and variance estimates", CACM 1979, with decaying weights.
"""

from dataclasses import dataclass, replace
from typing import Any, Self

import numpy as np
from numba import njit

from agents.policies.normaliser import CONSTANT_BELOW, LIMIT, Scale, lists, training_rows

ONLINE = "online"
HALF_LIFE = 250.0  # bars; about a year of daily ones
LEAST_KNOWN = 20.0  # values of a column before it is scaled; of fewer a spread says nothing
BEFORE_ALL = -(2**62)  # seconds: the time of a state that has seen nothing


@njit(cache=True, fastmath=False)
def _run(
    rows: np.ndarray, decay: float, limit: float, least: float, constant: float,
    mean: np.ndarray, variance: np.ndarray, weight: np.ndarray, count: np.ndarray, out: np.ndarray,
) -> None:  # fmt: skip
    """Scale each row with what the rows before left, then remember it; the state arrays (n,) are changed in place."""
    for t in range(rows.shape[0]):
        for i in range(rows.shape[1]):
            value = rows[t, i]
            out[t, i] = 0.0
            if not np.isfinite(value):
                continue
            spread = np.sqrt(variance[i])
            if count[i] >= least and spread > constant * max(1.0, abs(mean[i])):
                out[t, i] = min(max((value - mean[i]) / spread, -limit), limit)
            weight[i] = decay * weight[i] + 1.0
            share, distance = 1.0 / weight[i], value - mean[i]
            mean[i] += share * distance
            variance[i] = (1.0 - share) * (variance[i] + share * distance * distance)
            count[i] += 1.0


@dataclass(frozen=True, eq=False)
class OnlineNormaliser:
    """What has been remembered up to the bar that began at `time`, and how fast it is forgotten."""

    half_life: float  # known values after which a value counts half
    time: int  # seconds UTC, start of the last bar remembered
    mean: np.ndarray  # (n,), raw units
    variance: np.ndarray  # (n,), raw units squared, population
    weight: np.ndarray  # (n,), sum of the decayed weights
    count: np.ndarray  # (n,), values known so far

    @classmethod
    def fresh(cls, n_columns: int, half_life: float = HALF_LIFE) -> Self:
        """One that has seen nothing. Raises: ValueError for a half-life that is not above 0."""
        if not 0.0 < half_life < np.inf:
            raise ValueError(f"half_life must be above 0 bars, got {half_life!r}")
        return cls(float(half_life), BEFORE_ALL, *(np.zeros(n_columns) for _ in range(4)))

    @classmethod
    def fit(cls, rows: np.ndarray, time: np.ndarray, half_life: float = HALF_LIFE) -> Self:
        """The state after training rows (T, n) of bars that began at `time` (T,), the first stored bar first.

        Raises: ValueError if there are no rows, or a value is infinite.
        """
        rows = training_rows(rows)
        return cls.fresh(rows.shape[1], half_life).after(rows, time)

    def forgotten(self) -> Self:
        """The same before it has seen anything."""
        return self.fresh(len(self.mean), self.half_life)

    def _went_through(self, rows: np.ndarray, last: int) -> tuple[Self, np.ndarray]:
        """The state after `rows`, the last of which began at `last`, and the rows scaled."""
        rows = np.ascontiguousarray(rows, dtype=float)
        if rows.ndim != 2 or rows.shape[1:] != self.mean.shape:
            raise ValueError(f"rows has shape {rows.shape}, the normaliser {self.mean.shape}; features differ")
        mean, variance, weight, count = (getattr(self, name).copy() for name in _PARTS)
        out = np.empty_like(rows)
        decay = 0.5 ** (1.0 / self.half_life)
        _run(rows, decay, LIMIT, LEAST_KNOWN, CONSTANT_BELOW, mean, variance, weight, count, out)
        time = max(last, self.time)
        return replace(self, time=time, mean=mean, variance=variance, weight=weight, count=count), out

    def after(self, rows: np.ndarray, time: np.ndarray) -> Self:
        """The state once the rows (T, n) later than its own time are remembered too; time: (T,), ascending."""
        start = int(np.searchsorted(time, self.time, side="right"))
        last = int(time[-1]) if len(time) else self.time
        return self._went_through(rows[start:], last)[0]

    def apply_series(self, rows: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Scaled rows (T, n), each by what was known before it; rows: from the first stored bar on, at `time` (T,).

        Rows later than this state go on from it; the earlier ones are computed from the first row given.
        """
        rows, time = np.asarray(rows, dtype=float), np.asarray(time)
        start = int(np.searchsorted(time, self.time, side="right"))
        early = self.forgotten()._went_through(rows[:start], BEFORE_ALL)[1]
        return np.concatenate([early, self._went_through(rows[start:], self.time)[1]])

    def scale(self) -> Scale:
        """Centre and spread for the row after this state."""
        spread = np.sqrt(self.variance)
        useless = (self.count < LEAST_KNOWN) | (spread <= CONSTANT_BELOW * np.maximum(1.0, np.abs(self.mean)))
        return Scale(self.mean, np.where(useless, 0.0, spread))

    def to_dict(self) -> dict[str, Any]:
        """Lists by name, fit for JSON; floats survive the round trip exactly."""
        parts = {name: getattr(self, name).tolist() for name in _PARTS}
        return {"kind": ONLINE, "half_life": self.half_life, "time": self.time, **parts}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The reverse of to_dict. Raises: ValueError if something is missing or makes no sense."""
        half_life, time = values.get("half_life"), values.get("time")
        if not isinstance(half_life, int | float) or not isinstance(time, int) or not half_life > 0:
            raise ValueError(f"online normaliser: half_life and time must be numbers, got {half_life!r} and {time!r}")
        parts = lists(values, _PARTS)
        if not all(np.isfinite(part).all() for part in parts) or any((part < 0).any() for part in parts[1:]):
            raise ValueError(f"online normaliser: {', '.join(_PARTS)} must be finite, all but the mean at least 0")
        return cls(float(half_life), time, *parts)


_PARTS = ("mean", "variance", "weight", "count")
