"""Recurrent PPO, made by sb3-contrib: an LSTM that remembers from bar to bar."""

from agents.algorithms.base import Learner, LearnerRequest
from agents.algorithms.registry import CLIPPING, Algorithm, register


def make(request: LearnerRequest) -> Learner:
    """A learner for the request. parameters: as for ppo."""
    from agents.learners.on_policy_makers import make_recurrent_ppo

    return make_recurrent_ppo(request)


register(
    Algorithm(
        name="recurrent_ppo",
        label="Recurrent PPO",
        description="PPO with a memory of all bars since the episode began; slower, for patterns of unknown length.",
        actions=("choice", "steps", "target"),
        networks=("recurrent",),
        make=make,
        space={
            "learning_rate": {"low": 3e-4, "high": 3e-3, "log": True},
            "batch_size": {"choices": [128, 256, 512]},
            "gamma": {"choices": [0.8, 0.9, 0.95]},
            "ent_coef": {"low": 1e-3, "high": 2e-2, "log": True},
        },
        optional=CLIPPING,
        on_policy=True,
        several=True,
    )
)
