"""Puts every feature on one scale: distance from its training mean, in training standard deviations."""

import json
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

LIMIT = 5.0  # scaled values beyond this say "extreme", not how extreme; it keeps one bad print from ruling a network
# A column whose spread is only rounding noise around its mean carries no information.
CONSTANT_BELOW = 1e-10


@dataclass(frozen=True)
class Normaliser:
    """Mean and standard deviation per feature, fitted on training rows only. Constant columns have deviation 0."""

    mean: np.ndarray  # (n,), raw units
    deviation: np.ndarray  # (n,), raw units, 0 for a constant or never seen column

    @classmethod
    def fit(cls, rows: np.ndarray) -> Self:
        """Fit on training rows (T, n); NaN means missing and is left out, column by column.

        Raises: ValueError if there are no rows or a value is infinite.
        """
        rows = np.asarray(rows, dtype=float)
        if rows.ndim != 2 or rows.shape[0] == 0:
            raise ValueError(f"rows has shape {rows.shape}, expected (T, n) with T >= 1; pass the training rows")
        if np.isinf(rows).any():
            raise ValueError("rows holds an infinite value; repair the bars it was computed from")
        known = np.isfinite(rows)
        count = np.maximum(known.sum(axis=0), 1)
        mean = np.where(known, rows, 0.0).sum(axis=0) / count
        deviation = np.sqrt(np.where(known, (rows - mean) ** 2, 0.0).sum(axis=0) / count)
        deviation[deviation <= CONSTANT_BELOW * np.maximum(1.0, np.abs(mean))] = 0.0
        return cls(mean, deviation)

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Scaled rows, float64, same shape (T, n) or (n,): within +-LIMIT; missing values and constant columns are 0.

        Raises: ValueError if the number of columns differs from what it was fitted on.
        """
        rows = np.asarray(rows, dtype=float)
        if rows.shape[-1:] != self.mean.shape:
            raise ValueError(f"rows has {rows.shape[-1:]} columns, the normaliser {self.mean.shape}; features differ")
        usable = np.isfinite(rows) & (self.deviation > 0)
        scaled = (np.where(usable, rows, 0.0) - self.mean) / np.where(self.deviation > 0, self.deviation, 1.0)
        return np.where(usable, np.clip(scaled, -LIMIT, LIMIT), 0.0)

    def to_raw(self, scaled: np.ndarray, column: int) -> np.ndarray:
        """Raw values of one column's scaled values; the reverse of apply where nothing was cut off."""
        return np.asarray(scaled, dtype=float) * self.deviation[column] + self.mean[column]

    def to_dict(self) -> dict[str, Any]:
        """Lists by name, fit for JSON; floats survive the round trip exactly."""
        return {"mean": self.mean.tolist(), "deviation": self.deviation.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The reverse of to_dict. Raises: ValueError if the lists are missing or of different lengths."""
        try:
            mean, deviation = np.array(values["mean"], dtype=float), np.array(values["deviation"], dtype=float)
        except (KeyError, TypeError) as error:
            raise ValueError(f"a normaliser needs lists mean and deviation, got {json.dumps(values)[:80]}") from error
        if mean.ndim != 1 or mean.shape != deviation.shape:
            raise ValueError(f"normaliser: mean has shape {mean.shape}, deviation {deviation.shape}; they must agree")
        if not (np.isfinite(mean).all() and np.isfinite(deviation).all() and (deviation >= 0).all()):
            raise ValueError("normaliser: mean and deviation must be finite, deviation at least 0")
        return cls(mean, deviation)
