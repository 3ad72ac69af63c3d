"""One step of many copies by several threads.

The copies lie in as many blocks as there are threads. A thread takes the parts of its own block first, in every step
the same ones, which its processor still has at hand; then it takes what is left of the others'. Which thread does a
part cannot change a number.
"""

import numpy as np

from agents.environment.atomics import add, load, store
from agents.environment.batch_arrays import PART, Copies, Results, World
from agents.environment.batch_step import step_part
from core.simulation.compiled import compiled, inlined

# The board on which threads agree, a number per cache line of 64 bytes: copies done, episodes ended, steps so far, and
# how many parts of each thread's block are taken.
LINE = 8
DONE, ENDED, CALLS, CLOSED, TAKEN = 0, LINE, 2 * LINE, 3 * LINE, 4 * LINE


def new_board(n_threads: int) -> np.ndarray:
    """The board of so many threads, int64, with nothing to take yet."""
    board = np.zeros(TAKEN + n_threads * LINE, dtype=np.int64)
    board[TAKEN::LINE] = np.iinfo(np.int64).max // 2
    return board


@inlined
def _take_parts(
    world: World, copies: Copies, results: Results, actions: np.ndarray, again: bool, board: np.ndarray, thread: int
) -> None:
    """Step parts of the copies until none is left that nobody has taken."""
    n, n_blocks = len(results.rewards), (len(board) - TAKEN) // LINE
    n_parts = (n + PART - 1) // PART
    for turn in range(n_blocks):
        block = (thread + turn) % n_blocks
        first, end = block * n_parts // n_blocks, (block + 1) * n_parts // n_blocks
        part = first + add(board, TAKEN + block * LINE, 1)
        while part < end:
            stop = min((part + 1) * PART, n)
            n_ended = step_part(world, copies, results, actions, part * PART, stop, again)
            add(board, ENDED, n_ended)
            add(board, DONE, stop - part * PART)
            part = first + add(board, TAKEN + block * LINE, 1)


@compiled(nogil=True, error_model="numpy")
def step_together(
    world: World, copies: Copies, results: Results, actions: np.ndarray, again: bool, board: np.ndarray
) -> int:
    """step_part of all copies, shared with the threads in `help_along`. Returns: how many episodes ended."""
    store(board, ENDED, 0)
    store(board, DONE, 0)
    for block in range((len(board) - TAKEN) // LINE):
        store(board, TAKEN + block * LINE, 0)  # from here on its parts may be taken
    store(board, CALLS, load(board, CALLS) + 1)
    _take_parts(world, copies, results, actions, again, board, 0)
    while load(board, DONE) < len(results.rewards):
        pass  # others are at their last parts, some microseconds each
    return load(board, ENDED)


@compiled(nogil=True, error_model="numpy")
def help_along(
    world: World,
    copies: Copies,
    results: Results,
    actions: np.ndarray,
    again: bool,
    board: np.ndarray,
    thread: int,
    patience: int,
) -> None:
    """In another thread: take part in every step_together, until none has begun for `patience` looks at the board.

    thread: which block is its own, from 1 on; 0 is that of the thread that calls step_together.
    """
    seen, looks = load(board, CALLS), 0
    _take_parts(world, copies, results, actions, again, board, thread)
    while looks < patience and load(board, CLOSED) == 0:
        looks += 1
        if load(board, CALLS) != seen:
            seen, looks = load(board, CALLS), 0
            _take_parts(world, copies, results, actions, again, board, thread)
