"""From what TA-Lib gives to features that mean the same at every price level; one compiled rule for both executions."""

import math

import numpy as np
from numba import njit

# What a feature makes of an indicator's outputs a, b, c and the close.
RAW = 0  # a
SHARE = 1  # a / close
ABOVE = 2  # close / a - 1: how far the close lies above a
CHANGE = 3  # a / a one bar before - 1
HUNDREDTH = 4  # a / 100: a percentage as a fraction
WIDTH = 5  # (a - b) / close
WITHIN = 6  # (close - b) / (a - b): 0 at b, 1 at a
DIFFERENCE = 7  # a - b
TINY = 1e-12  # a band this narrow, seen from the close, is rounding: the price did not move


@njit(cache=True, error_model="numpy")
def _value(recipe, a, b, before, close):
    if recipe == RAW:
        return a
    if recipe == SHARE:
        return a / close
    if recipe == ABOVE:
        return close / a - 1.0
    if recipe == CHANGE:
        return a / before - 1.0
    if recipe == HUNDREDTH:
        return a / 100.0
    if recipe == WIDTH:
        return (a - b) / close
    if recipe == WITHIN:
        return (close - b) / (a - b) if abs(a - b) > TINY * close else math.nan
    return a - b


@njit(cache=True)
def fill(recipes, first, second, columns, raw, before, close, rows, out):
    """Write features made of indicator outputs.

    recipes, first, second, columns: (F,) int64: what to make, of which outputs, and where in a row it goes;
    raw: (M, T) outputs; before: (M,) outputs one bar before the first, changed to the last; close: (T,);
    rows: (T,) int64 rows of `out` that the bars belong to; out: (N, n), NaN before.
    """
    for f in range(len(recipes)):
        recipe, i, j, column = recipes[f], first[f], second[f], columns[f]
        last = before[i]
        for t in range(len(close)):
            a = raw[i, t]
            value = _value(recipe, a, raw[j, t], last, close[t])
            last = a
            if math.isfinite(value):
                out[rows[t], column] = value
    if len(close):
        before[:] = raw[:, -1]


def no_outputs(count: int) -> np.ndarray:
    """`before` of a stream that has seen nothing."""
    return np.full(count, np.nan)
