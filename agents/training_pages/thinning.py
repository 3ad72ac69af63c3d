"""Long curves made short enough for the pixels on screen, with every extreme kept. Pure."""

import numpy as np

MOST_POINTS = 600


def thin(
    steps: np.ndarray, columns: dict[str, np.ndarray], most: int = MOST_POINTS
) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """At most `most` points: per bucket of rows the lowest and the highest value, in the order in which they came.

    steps: shape (T,), ascending. columns: shape (T,) each, NaN where nothing was recorded.
    Returns: steps and columns of equal length, unchanged when they are short enough already.
    Raises: ValueError if a column's length differs from that of steps, or most is below 4.
    Buckets hold 4, 8, 16 … rows, so that a growing curve keeps its old points until it has doubled: nothing jumps.
    Source: min-max aggregation, as in Jugel et al., "M4", VLDB 2014.
    """
    if most < 4:
        raise ValueError(f"a curve needs room for at least 4 points, got most={most}")
    for name, column in columns.items():
        if column.shape != steps.shape:
            raise ValueError(f"{name} has {column.size} values for {steps.size} steps; give one value per step")
    if steps.size <= most:
        return steps, columns
    size = 4
    while 2 * -(-steps.size // size) > most:
        size *= 2
    first = np.arange(0, steps.size, size)
    last = np.minimum(first + size, steps.size) - 1
    places = np.stack([first, last], axis=1).ravel()
    # A last bucket of one row would name the same step twice, and steps must ascend.
    kept = np.concatenate([[True], places[1:] > places[:-1]])
    return steps[places[kept]], {name: _extremes(column, size)[kept] for name, column in columns.items()}


def _extremes(column: np.ndarray, size: int) -> np.ndarray:
    """Two values per bucket of `size` rows: its lowest and its highest, the earlier one first; NaN for an empty one."""
    padded = np.full(-(-column.size // size) * size, np.nan)
    padded[: column.size] = column
    rows = padded.reshape(-1, size)
    known = ~np.isnan(rows)
    lows = np.where(known, rows, np.inf).argmin(axis=1)
    highs = np.where(known, rows, -np.inf).argmax(axis=1)
    order = np.sort(np.stack([lows, highs], axis=1), axis=1)
    pairs = np.take_along_axis(rows, order, axis=1)
    pairs[~known.any(axis=1)] = np.nan
    return pairs.ravel()
