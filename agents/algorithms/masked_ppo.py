"""Masked PPO, made by sb3-contrib: actions that could do nothing are never drawn."""

from agents.algorithms.base import Learner, LearnerRequest
from agents.algorithms.registry import CLIPPING, Algorithm, register


def make(request: LearnerRequest) -> Learner:
    """A learner for the request. parameters: as for ppo."""
    from agents.learners.on_policy_makers import make_masked_ppo

    return make_masked_ppo(request)


register(
    Algorithm(
        name="masked_ppo",
        label="Masked PPO",
        description="PPO that never tries what is impossible, such as selling when flat; good with nine steps.",
        actions=("steps", "choice"),
        networks=("mlp", "lstm", "tcn", "ane"),
        make=make,
        space={
            "learning_rate": {"low": 3e-4, "high": 3e-3, "log": True},
            "batch_size": {"choices": [256, 512, 1024]},
            "gamma": {"choices": [0.8, 0.9, 0.95]},
            "ent_coef": {"low": 1e-3, "high": 2e-2, "log": True},
        },
        optional=CLIPPING,
        on_policy=True,
        several=True,
    )
)
