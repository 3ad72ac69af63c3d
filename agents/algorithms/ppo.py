"""PPO, made by Stable-Baselines3."""

from agents.algorithms.base import Learner, LearnerRequest
from agents.algorithms.registry import Algorithm, register


def make(request: LearnerRequest) -> Learner:
    """A learner for the request."""
    raise NotImplementedError


register(
    Algorithm(
        name="ppo",
        label="PPO",
        description="Steady and quick to train; a good first choice for single stocks.",
        actions=("choice", "steps", "target"),
        networks=("mlp", "lstm", "tcn", "ane"),
        make=make,
        on_policy=True,
    )
)
