"""Which bars an episode plays: random windows, fixed windows, or fixed windows one after the other."""

import numpy as np

from agents.environment.random_state import below
from core.simulation.compiled import compiled, inlined

RANDOM, FIXED, CHRONOLOGICAL = "random", "fixed", "chronological"
# random: a window beginning at any bar. fixed: the period is laid out in windows side by side, an episode plays any of
# them. chronological: the same windows in their order; copy number c begins with window c, after the last comes the
# first. The last window is moved back so far that it ends with the period: every bar is played.
KINDS = {RANDOM: 0, FIXED: 1, CHRONOLOGICAL: 2}
_RANDOM, _CHRONOLOGICAL = KINDS[RANDOM], KINDS[CHRONOLOGICAL]


@inlined
def n_windows(first: int, last: int, length: int) -> int:
    """How many fixed windows of `length` steps the rows from first to last hold; length 0: one, all of them."""
    span = last - first
    return 1 if length <= 0 or length >= span else (span + length - 1) // length


@inlined
def next_window(
    kind: int, states: np.ndarray, i: int, first: int, last: int, length: int, number: int
) -> tuple[int, int, int]:
    """The next episode of the copy whose random state is at place i.

    first, last: rows of the period; length: steps of a window, 0 for one pass; number: chronological windows so far.
    Returns: row of the first decision, row of the last bar, and the number to hand over next time.
    """
    if length <= 0 or length >= last - first:
        return first, last, 0
    if kind == _RANDOM:
        start = first + below(states, i, last - first - length + 1)
        return start, start + length, 0
    n = n_windows(first, last, length)
    window = number % n if kind == _CHRONOLOGICAL else below(states, i, n)
    start = min(first + window * length, last - length)
    return start, start + length, (window + 1) % n


@compiled
def windows(kind: int, states: np.ndarray, first: int, last: int, length: int, n: int) -> np.ndarray:
    """First and last rows (n, 2) of the n episodes that copy 0 plays one after the other."""
    found, number = np.empty((n, 2), dtype=np.int64), 0
    for k in range(n):
        found[k, 0], found[k, 1], number = next_window(kind, states, 0, first, last, length, number)
    return found
