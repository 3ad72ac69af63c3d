"""Checks that bars are fit for the kernel, which itself checks nothing inside its loop."""

import numpy as np
from numpy.typing import ArrayLike


def validate_bars(
    open_: ArrayLike, close: ArrayLike, volume: ArrayLike, fees: ArrayLike | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Bars as contiguous float64 arrays of one length.

    open_, close: shape (T,), prices > 0; volume: shape (T,), >= 0, zeros for an instrument without volume;
    fees: shape (T, 3) from ``fees_for``, or None for no regulatory fees.
    Returns: (open, close, volume, fees).
    Raises: ValueError naming the array and row that is missing, not positive, or of another length.
    """
    prices = {name: np.ascontiguousarray(array, dtype=float) for name, array in (("open", open_), ("close", close))}
    volumes = np.ascontiguousarray(volume, dtype=float)
    n_bars = prices["close"].size
    rows = np.zeros((n_bars, 3)) if fees is None else np.ascontiguousarray(fees, dtype=float)
    if n_bars == 0:
        raise ValueError("no bars arrived; at least one is needed")
    for name, array in {**prices, "volume": volumes}.items():
        if array.shape != (n_bars,):
            raise ValueError(f"{name} has shape {array.shape}, expected ({n_bars},) like close; align the arrays")
    if rows.shape != (n_bars, 3):
        raise ValueError(f"fees has shape {rows.shape}, expected ({n_bars}, 3); pass fees_for(times)")
    for name, array in prices.items():
        _refuse(name, array, ~(np.isfinite(array) & (array > 0)), "a finite price above 0")
    _refuse("volume", volumes, ~(np.isfinite(volumes) & (volumes >= 0)), "a finite volume of at least 0")
    _refuse("fees", rows, ~(np.isfinite(rows) & (rows >= 0)).all(axis=1), "finite fees of at least 0")
    return prices["open"], prices["close"], volumes, rows


def validate_actions(actions: ArrayLike, n_bars: int) -> np.ndarray:
    """Splits and dividends as the kernel reads them: (T, 2) float64, or (0, 2) where there are none.

    actions: columns kernel.ACTION_SPLIT (new units for one old, 1 for none) and ACTION_DIVIDEND (per unit, 0 for none).
    Raises: ValueError for another shape, a split that is not above 0 or a dividend below 0.
    """
    rows = np.array(actions, dtype=float, order="C")
    if rows.size and rows.shape != (n_bars, 2):
        raise ValueError(f"actions has shape {rows.shape}, expected ({n_bars}, 2): split and dividend of each bar")
    if rows.size == 0 or ((rows[:, 0] == 1.0) & (rows[:, 1] == 0.0)).all():
        return np.empty((0, 2))
    _refuse(
        "actions",
        rows,
        ~(np.isfinite(rows).all(axis=1) & (rows[:, 0] > 0) & (rows[:, 1] >= 0)),
        "split > 0, 1 for none, and dividend of at least 0",
    )
    return rows


def _refuse(name: str, array: np.ndarray, bad: np.ndarray, expected: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(f"{name}: row {row} is {array[row]}, expected {expected}; drop or repair the bar first")
