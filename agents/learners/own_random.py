"""Random generators of a learner's own, though Stable-Baselines3 draws from the process's. Pure."""

import random
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from agents.learners.state import Arrays, part, random_arrays, restore_random, under


class OwnRandom:
    """Within a call the process's generators go on from this learner's state; afterwards they are as before.

    So two learners in one process, or an evaluation between two rounds, do not change each other's draws.
    """

    def __init__(self) -> None:
        self._states = _taken()

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Draw from the learner's own generators."""
        outside = _taken()
        _put_back(self._states)
        try:
            yield
        finally:
            self._states = _taken()
            _put_back(outside)

    @property
    def arrays(self) -> Arrays:
        """Where the generators stand, for a snapshot."""
        with self():
            return part(random_arrays(), "random")

    @arrays.setter
    def arrays(self, arrays: Arrays) -> None:
        with self():
            restore_random(under("random", arrays))


def _taken() -> list[Any]:
    """The process's generators as they are; as arrays they would take ten times as long."""
    cuda = torch.cuda.get_rng_state() if torch.cuda.is_available() else None
    return [torch.get_rng_state(), np.random.get_state(), random.getstate(), cuda]


def _put_back(states: list[Any]) -> None:
    for_torch, for_numpy, for_python, cuda = states
    torch.set_rng_state(for_torch)
    np.random.set_state(for_numpy)
    random.setstate(for_python)
    if cuda is not None:
        torch.cuda.set_rng_state(cuda)
