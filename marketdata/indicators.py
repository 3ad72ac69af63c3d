"""Indicators: TA-Lib's where it has them, with shapes and units. Arrays in, arrays out, NaN until enough bars are seen.

Every function is causal: the value at bar t uses bars up to t. Inputs are shape (T,), finite; T may be 0.
They raise ValueError for other shapes, for NaN or infinity, and for a length below the smallest that makes sense.
Source of the TA-Lib ones: https://ta-lib.org/functions/, version 0.6 and later; Wilder, "New Concepts in Technical
Trading Systems", 1978, for RSI and ATR.
"""

from __future__ import annotations

import numpy as np
import talib


def rsi(close: np.ndarray, n: int = 14) -> np.ndarray:
    """Relative strength index by Wilder, 0 to 100; n NaN first. A price that never moves gives 0, as TA-Lib has it."""
    return _call(talib.RSI, close, n, least=2)


def ema(close: np.ndarray, n: int) -> np.ndarray:
    """Exponential average, alpha 2 / (n + 1), started at the mean of the first n closes; n - 1 NaN first. In price."""
    return _call(talib.EMA, close, n, least=2)


def sma(close: np.ndarray, n: int) -> np.ndarray:
    """Mean of the last n closes; n - 1 NaN first. In price."""
    return _call(talib.SMA, close, n, least=2)


def roc(close: np.ndarray, n: int) -> np.ndarray:
    """Rate of change over n bars in percent, as TA-Lib has it: 100 * (close / close n bars ago - 1); n NaN first."""
    return _call(talib.ROC, close, n, least=1)


def macd(
    close: np.ndarray, fast: int = 12, slow: int = 26, signal: int = 9
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """MACD line (fast EMA - slow EMA), its signal line and the histogram (line - signal), in price.

    TA-Lib starts both averages at bar slow - 1; slow + signal - 2 NaN first in all three.
    Raises: ValueError unless 2 <= fast < slow and signal >= 1.
    """
    values = _checked(close, "close")
    if not 2 <= fast < slow or signal < 1:
        raise ValueError(f"fast {fast}, slow {slow}, signal {signal}: expected 2 <= fast < slow and signal >= 1")
    if values.size == 0:
        return values, values, values
    line, smooth, histogram = talib.MACD(values, fast, slow, signal)
    return line, smooth, histogram


def atr(high: np.ndarray, low: np.ndarray, close: np.ndarray, n: int = 14) -> np.ndarray:
    """Average true range by Wilder, in price; n NaN first: TA-Lib leaves out bar 0, which has no previous close."""
    high, low, close = _checked(high, "high"), _checked(low, "low"), _checked(close, "close")
    if not high.shape == low.shape == close.shape:
        raise ValueError(f"high {high.shape}, low {low.shape} and close {close.shape} must have one shape")
    _check_length(n, least=1)
    return talib.ATR(high, low, close, n) if close.size else close


def simple_returns(close: np.ndarray, n: int = 1) -> np.ndarray:
    """Return over n bars as a fraction, close / close n bars ago - 1; n NaN first. Closes must be above 0."""
    values = _checked(close, "close")
    _check_length(n, least=1)
    if (values <= 0).any():
        raise ValueError(f"close at bar {int(np.argmax(values <= 0))} is not above 0: returns need positive prices")
    result = np.full(values.size, np.nan)
    result[n:] = values[n:] / values[:-n] - 1.0
    return result


def rolling_volatility(returns: np.ndarray, n: int, *, bars_per_year: float | None = None) -> np.ndarray:
    """Sample standard deviation (n - 1) of the last n returns; per bar, or per year when bars_per_year is given (252).

    returns: shape (T,), fractions; NaN at the start only, as simple_returns gives. NaN until n returns are seen.
    Raises: ValueError if n < 2 or a later return is not finite.
    """
    values = np.asarray(returns, dtype=np.float64)
    _check_length(n, least=2)
    finite = np.isfinite(values)
    start = int(np.argmax(finite)) if finite.any() else values.size
    _checked(values[start:], "returns")
    result = np.full(values.size, np.nan)
    if values.size - start >= n:
        # Windows, not running sums: sums of squares lose digits when returns are small and the series is long.
        windows = np.lib.stride_tricks.sliding_window_view(values[start:], n)
        result[start + n - 1 :] = windows.std(axis=1, ddof=1)
    return result if bars_per_year is None else result * np.sqrt(bars_per_year)


def _call(function, close: np.ndarray, n: int, *, least: int) -> np.ndarray:
    values = _checked(close, "close")
    _check_length(n, least=least)
    return function(values, n) if values.size else values


def _checked(values: np.ndarray, name: str) -> np.ndarray:
    array = np.ascontiguousarray(values, dtype=np.float64)
    if array.ndim != 1:
        raise ValueError(f"{name} has shape {array.shape}, expected (T,): pass one value per bar")
    if not np.isfinite(array).all():
        raise ValueError(
            f"{name} at bar {int(np.argmin(np.isfinite(array)))} is not a finite number: clean the bars first"
        )
    return array


def _check_length(n: int, *, least: int) -> None:
    if n < least:
        raise ValueError(f"a length of {n} bars arrived, expected at least {least}")
