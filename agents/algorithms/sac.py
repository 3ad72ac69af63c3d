"""SAC, made by Stable-Baselines3."""

from agents.algorithms.base import Learner, LearnerRequest
from agents.algorithms.registry import Algorithm, register


def make(request: LearnerRequest) -> Learner:
    """A learner for the request."""
    raise NotImplementedError


register(
    Algorithm(
        name="sac",
        label="SAC",
        description="Learns finely graded positions from few bars; made for leveraged funds.",
        actions=("target",),
        networks=("mlp", "lstm", "tcn", "ane"),
        make=make,
        on_policy=False,
    )
)
