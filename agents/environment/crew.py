"""Threads that help with the steps of a batch of environments.

A step of a thousand copies takes a tenth of a millisecond, about as long as waking a sleeping thread. So a helper that
has just helped keeps looking for the next step for a moment, without Python's lock, and only then goes to sleep. Parts
are taken, not given out: a helper that comes late or not at all delays nobody.
"""

import os
import threading
import weakref
from collections.abc import Callable
from contextlib import suppress

import numpy as np

from agents.environment.batch_threads import CLOSED, new_board

PATIENCE = 200_000  # looks at the board before going to sleep, about a quarter of a millisecond
Help = Callable[[np.ndarray, int, int], None]  # (board, thread, patience)


class Crew:
    """Up to n - 1 helpers beside the caller's own thread; they start with the first step of a process."""

    def __init__(self, n_threads: int, help_along: Help) -> None:
        """help_along: see batch_threads.help_along; it must hold nothing that holds the crew."""
        self.n_helpers = max(n_threads, 1) - 1
        self.board = new_board(self.n_helpers + 1)
        self._help, self._helpers, self._process = help_along, list[_Helper](), 0

    def wake(self) -> None:
        """Before a step: let those who sleep look at the board again."""
        if self._process != os.getpid():  # the first step, or after a fork, which threads do not survive
            self._process = os.getpid()
            # Compiled here: a daemon thread still compiling when the process ends would crash it.
            self._help(self.board, 0, 0)
            self._helpers = [_Helper(self._help, self.board, 1 + number) for number in range(self.n_helpers)]
            for helper in self._helpers:
                weakref.finalize(self, helper.leave)
        for helper in self._helpers:
            helper.wake()


class _Helper:
    """One thread, asleep or looking at the board."""

    def __init__(self, help_along: Help, board: np.ndarray, number: int) -> None:
        self._help, self._board, self._number, self._asleep = help_along, board, number, True
        self._bed = threading.Lock()
        self._bed.acquire()
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def wake(self) -> None:
        """Does nothing to one that is awake."""
        if self._asleep:
            self._asleep = False
            self._bed.release()

    def _serve(self) -> None:
        while True:
            self._bed.acquire()
            if self._board[CLOSED]:
                return
            self._help(self._board, self._number, PATIENCE)
            # A step that begins between the last look and this line is done without this helper.
            self._asleep = True

    def leave(self) -> None:
        """End the thread."""
        self._board[CLOSED] = 1
        with suppress(RuntimeError):  # it is awake and will see the board
            self._bed.release()
        self._thread.join(timeout=1.0)  # so that it is not in compiled code when the interpreter is taken down
