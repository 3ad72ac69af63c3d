"""Puts every feature on one scale, fitted on training rows only: z-score, robust, or min-max.

All of them are a centre and a spread per feature: scaled = (raw - centre) / spread, cut off at a limit.
"""

import json
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Self

import numpy as np

LIMIT = 5.0  # scaled values beyond this say "extreme", not how extreme; it keeps one bad print from ruling a network
# A column whose spread is only rounding noise around its centre carries no information.
CONSTANT_BELOW = 1e-10
ZSCORE, ROBUST, MINMAX = "zscore", "robust", "minmax"
# Between the quartiles of a normal distribution lie this many standard deviations.
IQR_OF_NORMAL = 1.3489795003921634


@dataclass(frozen=True)
class Scale:
    """Centre and spread per feature at one moment. Columns that say nothing have spread 0."""

    centre: np.ndarray  # (n,), raw units
    spread: np.ndarray  # (n,), raw units, 0 for a constant or never seen column
    limit: float = LIMIT  # scaled values lie within +-limit

    def apply(self, rows: np.ndarray) -> np.ndarray:
        """Scaled rows, float64, same shape (T, n) or (n,): within +-limit; missing values and constant columns are 0.

        Raises: ValueError if the number of columns differs from what it was fitted on.
        """
        rows = np.asarray(rows, dtype=float)
        if rows.shape[-1:] != self.centre.shape:
            raise ValueError(f"rows has {rows.shape[-1:]} columns, the normaliser {self.centre.shape}; features differ")
        usable = np.isfinite(rows) & (self.spread > 0)
        scaled = (np.where(usable, rows, 0.0) - self.centre) / np.where(self.spread > 0, self.spread, 1.0)
        return np.where(usable, np.clip(scaled, -self.limit, self.limit), 0.0)

    def to_raw(self, scaled: np.ndarray, column: int) -> np.ndarray:
        """Raw values of one column's scaled values; the reverse of apply where nothing was cut off."""
        return np.asarray(scaled, dtype=float) * self.spread[column] + self.centre[column]


@dataclass(frozen=True)
class Normaliser(Scale):
    """A scale fitted once and never changed."""

    kind: str = ZSCORE

    @classmethod
    def fit(cls, rows: np.ndarray, kind: str = ZSCORE) -> Self:
        """Fit on training rows (T, n); NaN means missing and is left out, column by column.

        kind: zscore (mean, standard deviation), robust (median, quartile distance over that of a normal distribution;
        the standard deviation where the quartiles are equal), minmax (smallest to largest become -1 to 1).
        Raises: ValueError if there are no rows, a value is infinite, or the kind is unknown.
        """
        if kind not in _FITS:
            raise ValueError(f"a frozen normaliser is one of {', '.join(_FITS)}, got {kind!r}")
        rows = training_rows(rows)
        centre, spread = _FITS[kind](rows)
        spread[spread <= CONSTANT_BELOW * np.maximum(1.0, np.abs(centre))] = 0.0
        return cls(centre, spread, 1.0 if kind == MINMAX else LIMIT, kind)

    def apply_series(self, rows: np.ndarray, time: np.ndarray) -> np.ndarray:
        """Scaled rows (T, n) of bars that began at `time` (T,), which does not matter here."""
        return self.apply(rows)

    def scale(self) -> Scale:
        """Centre and spread, the same at every bar."""
        return self

    def to_dict(self) -> dict[str, Any]:
        """Lists by name, fit for JSON; floats survive the round trip exactly."""
        if self.kind == ZSCORE:
            return {"mean": self.centre.tolist(), "deviation": self.spread.tolist()}
        return {"kind": self.kind, "centre": self.centre.tolist(), "spread": self.spread.tolist()}

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The reverse of to_dict. Raises: ValueError if the lists are missing or of different lengths."""
        kind = values.get("kind", ZSCORE) if isinstance(values, dict) else None
        if kind not in _FITS:
            raise ValueError(f"unknown normaliser {kind!r}; expected one of {', '.join(_FITS)}")
        names = ("mean", "deviation") if kind == ZSCORE else ("centre", "spread")
        centre, spread = lists(values, names)
        if not (np.isfinite(centre).all() and np.isfinite(spread).all() and (spread >= 0).all()):
            raise ValueError(f"normaliser: {names[0]} and {names[1]} must be finite, {names[1]} at least 0")
        return cls(centre, spread, 1.0 if kind == MINMAX else LIMIT, kind)


def lists(values: dict[str, Any], names: tuple[str, ...]) -> list[np.ndarray]:
    """Arrays (n,) of equal length by name. Raises: ValueError if one is missing or of another length."""
    try:
        found = [np.array(values[name], dtype=float) for name in names]
    except (KeyError, TypeError, ValueError) as error:
        raise ValueError(f"a normaliser needs lists {' and '.join(names)}, got {json.dumps(values)[:80]}") from error
    if any(array.ndim != 1 or array.shape != found[0].shape for array in found):
        shapes = ", ".join(f"{name} {array.shape}" for name, array in zip(names, found, strict=True))
        raise ValueError(f"normaliser: the lists have shapes {shapes}; they must agree")
    return found


def training_rows(rows: np.ndarray) -> np.ndarray:
    """Rows (T, n) as float64. Raises: ValueError if there are none or a value is infinite."""
    rows = np.asarray(rows, dtype=float)
    if rows.ndim != 2 or rows.shape[0] == 0:
        raise ValueError(f"rows has shape {rows.shape}, expected (T, n) with T >= 1; pass the training rows")
    if np.isinf(rows).any():
        raise ValueError("rows holds an infinite value; repair the bars it was computed from")
    return rows


def _fit_zscore(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    known = np.isfinite(rows)
    count = np.maximum(known.sum(axis=0), 1)
    mean = np.where(known, rows, 0.0).sum(axis=0) / count
    deviation = np.sqrt(np.where(known, (rows - mean) ** 2, 0.0).sum(axis=0) / count)
    return mean, deviation


def _fit_robust(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, centre, high = _by_column(rows, lambda known: np.percentile(known, (25, 50, 75)))
    spread = (high - low) / IQR_OF_NORMAL
    # A rare event: most values are equal and the quartiles say nothing.
    rare = spread <= CONSTANT_BELOW * np.maximum(1.0, np.abs(centre))
    return centre, np.where(rare, _fit_zscore(rows)[1], spread)


def _fit_minmax(rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    low, high = _by_column(rows, lambda known: np.array([known.min(), known.max()]))
    return (low + high) / 2.0, (high - low) / 2.0


def _by_column(rows: np.ndarray, measure: Callable[[np.ndarray], np.ndarray]) -> np.ndarray:
    """What `measure` makes of each column's known values, (number of measures, n); zeros where none is known."""
    n_measures = len(measure(np.zeros(1)))
    found = np.zeros((n_measures, rows.shape[1]))
    for column, values in enumerate(rows.T):
        known = values[np.isfinite(values)]
        if known.size:
            found[:, column] = measure(known)
    return found


_FITS: dict[str, Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]] = {
    ZSCORE: _fit_zscore,
    ROBUST: _fit_robust,
    MINMAX: _fit_minmax,
}
