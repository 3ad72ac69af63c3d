"""Random generators of a learner's own, though Stable-Baselines3 draws from the process's. Pure."""

from collections.abc import Iterator
from contextlib import contextmanager

from agents.learners.state import Arrays, part, random_arrays, restore_random


class OwnRandom:
    """Within a call the process's generators go on from this learner's state; afterwards they are as before.

    So two learners in one process, or an evaluation between two rounds, do not change each other's draws.
    """

    def __init__(self) -> None:
        self.arrays: Arrays = part(random_arrays(), "random")

    @contextmanager
    def __call__(self) -> Iterator[None]:
        """Draw from the learner's own generators."""
        outside = random_arrays()
        restore_random({f"random/{name}": array for name, array in self.arrays.items()})
        try:
            yield
        finally:
            self.arrays = part(random_arrays(), "random")
            restore_random(outside)
