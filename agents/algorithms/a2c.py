"""A2C, made by Stable-Baselines3."""

from agents.algorithms.base import Learner, LearnerRequest
from agents.algorithms.registry import ROLLOUTS, Algorithm, register


def make(request: LearnerRequest) -> Learner:
    """A learner for the request. parameters: those of `space`, and gae_lambda, n_copies."""
    from agents.learners.on_policy_makers import make_a2c

    return make_a2c(request)


register(
    Algorithm(
        name="a2c",
        label="A2C",
        description="PPO's simpler elder: many small updates, quick but rougher; good for a first look.",
        actions=("choice", "steps", "target"),
        networks=("mlp", "lstm", "tcn", "ane"),
        make=make,
        space={
            "learning_rate": {"low": 3e-4, "high": 3e-3, "log": True},
            "batch_size": {"choices": [160, 320, 640]},
            "gamma": {"choices": [0.8, 0.9, 0.95]},
            "ent_coef": {"low": 1e-3, "high": 2e-2, "log": True},
        },
        optional=ROLLOUTS,
        on_policy=True,
        several=True,
    )
)
