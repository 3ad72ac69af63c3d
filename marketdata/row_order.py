"""Which rows of an unsorted file can stay so that times strictly ascend and the fewest rows go. Pure."""

from __future__ import annotations

from bisect import bisect_left
from collections.abc import Sequence

import numpy as np


def longest_ascending(times: np.ndarray) -> np.ndarray:
    """Positions of a longest strictly ascending run of times; of equal neighbours the first stays.

    One wrong time in the far future drops that row, not all that follow it.
    times: shape (T,), int64.
    Returns: shape (K,), ascending positions into times.
    Source: Fredman, "On computing the length of longest increasing subsequences", 1975 (patience sorting).
    """
    if times.size == 0 or (np.diff(times) > 0).all():
        return np.arange(times.size)
    ends: list[int] = []  # smallest last time of a run of each length
    rows: list[int] = []  # the row that holds it
    before = np.full(times.size, -1, dtype=np.int64)
    for row, time in enumerate(times.tolist()):
        length = bisect_left(ends, time)
        if length < len(ends) and ends[length] == time:
            continue
        before[row] = rows[length - 1] if length else -1
        ends[length : length + 1] = [time]
        rows[length : length + 1] = [row]
    kept = []
    row = rows[-1]
    while row >= 0:
        kept.append(row)
        row = int(before[row])
    return np.array(kept[::-1], dtype=np.int64)


def order_problems(
    times: np.ndarray, values: np.ndarray, numbers: np.ndarray, kept: np.ndarray, n_most: int
) -> list[tuple[int, str]]:
    """Row number and reason of the rows that cannot stay, in file order, at most `n_most`.

    times: (T,) int64; values: (T, C) float64; numbers: (T,) file line numbers; kept: (K,) positions that stay.
    """
    dropped = np.setdiff1d(np.arange(times.size), kept)[:n_most]
    kept_times = times[kept].tolist()
    return [(int(numbers[row]), _reason(int(row), times, values, numbers, kept, kept_times)) for row in dropped]


def _reason(
    row: int, times: np.ndarray, values: np.ndarray, numbers: np.ndarray, kept: np.ndarray, kept_times: Sequence[int]
) -> str:
    time = int(times[row])
    at = bisect_left(kept_times, time)
    if at < len(kept_times) and kept_times[at] == time:
        twin = int(kept[at])
        if np.array_equal(values[row], values[twin], equal_nan=True):
            return f"repeats row {numbers[twin]}: same time, same values"
        return f"same time as row {numbers[twin]} with other values; row {numbers[twin]} is kept"
    ahead = int(np.searchsorted(kept, row)) - 1  # last kept row above this one in the file
    if ahead >= 0 and kept_times[ahead] > time:
        return f"out of order: precedes row {numbers[kept[ahead]]} in time"
    return f"out of order: later in time than row {numbers[kept[ahead + 1]]}, which follows it"
