"""Bars as the kernel reads them, checked, because the kernel checks nothing inside its loop."""

import numpy as np
from numpy.typing import ArrayLike

# Adjusted prices are products of floats: a high may lie a hair below the close it equals.
PRICE_SLACK = 1e-9


def bar_table(
    open_: ArrayLike,
    close: ArrayLike,
    volume: ArrayLike,
    fees: ArrayLike | None = None,
    *,
    high: ArrayLike | None = None,
    low: ArrayLike | None = None,
    day: ArrayLike | None = None,
    atr: ArrayLike | None = None,
    actions: ArrayLike | None = None,
) -> np.ndarray:
    """Bars of one instrument as the kernel reads them: (T, 1, kernel.N_BAR).

    open_, close, volume, fees: as ``validate_bars`` takes them.
    high, low: shape (T,); left out they are the higher and the lower of open and close.
    day: shape (T,), ordinal of each bar's session date, ascending; left out every bar is a session of its own, one day
    after the last. atr: shape (T,), average true range known at each close, NaN while unknown; left out: unknown.
    actions: shape (T, 2), split and dividend as ``validate_actions`` takes them, on the first bar of their session.
    Raises: ValueError naming the array and the first row that cannot be traded.
    """
    from core.simulation.kernel import layout

    opens, closes, volumes, rows = validate_bars(open_, close, volume, fees)
    n_bars = len(closes)
    table = np.zeros((n_bars, 1, layout.N_BAR))
    bars = table[:, 0, :]
    bars[:, layout.BAR_OPEN], bars[:, layout.BAR_CLOSE], bars[:, layout.BAR_VOLUME] = opens, closes, volumes
    bars[:, layout.BAR_HIGH], bars[:, layout.BAR_LOW] = _range(opens, closes, high, low)
    bars[:, layout.BAR_DAY] = _days(day, n_bars)
    bars[:, layout.BAR_ATR] = _average_range(atr, n_bars)
    bars[:, layout.BAR_SPLIT] = 1.0
    bars[:, layout.BAR_SEC_RATE : layout.BAR_TAF_CAP + 1] = rows
    happened = validate_actions(np.empty((0, 2)) if actions is None else actions, n_bars)
    if len(happened):
        _refuse_actions_inside_sessions(happened, bars[:, layout.BAR_DAY])
        bars[:, layout.BAR_SPLIT : layout.BAR_DIVIDEND + 1] = happened
    return table


def side_by_side(*tables: np.ndarray) -> np.ndarray:
    """Bars of several instruments of one account: (T, I, kernel.N_BAR) from (T, 1, kernel.N_BAR) each.

    Row t of all of them must be the same moment. Raises: ValueError if their numbers of bars differ.
    """
    lengths = [len(table) for table in tables]
    if len(set(lengths)) != 1:
        raise ValueError(f"tables have {lengths} bars; instruments of one account need the same rows: align them first")
    return np.ascontiguousarray(np.concatenate(tables, axis=1))


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
        _same_length(name, array, n_bars)
    if rows.shape != (n_bars, 3):
        raise ValueError(f"fees has shape {rows.shape}, expected ({n_bars}, 3); pass fees_for(times)")
    for name, array in prices.items():
        _refuse(name, array, ~(np.isfinite(array) & (array > 0)), "a finite price above 0")
    _refuse("volume", volumes, ~(np.isfinite(volumes) & (volumes >= 0)), "a finite volume of at least 0")
    _refuse("fees", rows, ~(np.isfinite(rows) & (rows >= 0)).all(axis=1), "finite fees of at least 0")
    return prices["open"], prices["close"], volumes, rows


def validate_actions(actions: ArrayLike, n_bars: int) -> np.ndarray:
    """What companies did to their shares: (T, 2) float64, or (0, 2) where nothing happened.

    actions: columns split (new units for one old, 1 for none) and dividend (per unit held after it, 0 for none).
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


def _range(
    opens: np.ndarray, closes: np.ndarray, high: ArrayLike | None, low: ArrayLike | None
) -> tuple[np.ndarray, np.ndarray]:
    top, bottom = np.maximum(opens, closes), np.minimum(opens, closes)
    highs = top if high is None else np.asarray(high, dtype=float)
    lows = bottom if low is None else np.asarray(low, dtype=float)
    _same_length("high", highs, len(closes))
    _same_length("low", lows, len(closes))
    ends = np.column_stack([opens, highs, lows, closes])
    _refuse("high", ends, ~(np.isfinite(highs) & (highs >= top * (1 - PRICE_SLACK))), "high at or above open and close")
    bad = ~(np.isfinite(lows) & (lows <= bottom * (1 + PRICE_SLACK)) & (lows > 0))
    _refuse("low", ends, bad, "low above 0, at or below open and close")
    return highs, lows


def _days(day: ArrayLike | None, n_bars: int) -> np.ndarray:
    days = np.arange(n_bars, dtype=float) if day is None else np.asarray(day, dtype=float)
    _same_length("day", days, n_bars)
    falling = np.diff(days, prepend=days[:1]) < 0
    _refuse("day", days, ~np.isfinite(days) | falling | (days != np.floor(days)), "whole days that ascend")
    return days


def _average_range(atr: ArrayLike | None, n_bars: int) -> np.ndarray:
    ranges = np.full(n_bars, np.nan) if atr is None else np.asarray(atr, dtype=float)
    _same_length("atr", ranges, n_bars)
    _refuse("atr", ranges, np.isinf(ranges) | (ranges < 0), "a range of at least 0, or NaN while unknown")
    return ranges


def _refuse_actions_inside_sessions(actions: np.ndarray, days: np.ndarray) -> None:
    """A split or dividend takes effect with a new session; before the first bar nothing is held."""
    inside = np.diff(days, prepend=-np.inf) <= 0
    happened = (actions[:, 0] != 1.0) | (actions[:, 1] != 0.0)
    _refuse("actions", actions, inside & happened, "splits and dividends on the first bar of a session only")


def _same_length(name: str, array: np.ndarray, n_bars: int) -> None:
    if array.shape != (n_bars,):
        raise ValueError(f"{name} has shape {array.shape}, expected ({n_bars},) like close; align the arrays")


def _refuse(name: str, array: np.ndarray, bad: np.ndarray, expected: str) -> None:
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise ValueError(f"{name}: row {row} is {array[row]}, expected {expected}; drop or repair the bar first")
