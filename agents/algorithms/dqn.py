"""DQN, made by Stable-Baselines3; its gradient steps written by hand where the network is a plain one."""

from typing import Any

from agents.algorithms.base import Learner, LearnerRequest
from agents.algorithms.registry import REPLAYING, TPU, Algorithm, register


def make(request: LearnerRequest) -> Learner:
    """A learner for the request. parameters: learning_rate, gamma, exploration, batch_size."""
    if request.backend == TPU:
        from agents.learners import jax_makers

        return jax_makers.make_dqn(request)
    from agents.learners import exploring
    from agents.learners.fast_dqn import FastDQN
    from agents.learners.off_policy_setup import exploration, make_learner, n_choices
    from agents.networks.spec import HeadSpec, Q

    def model(**settings: Any) -> FastDQN:
        return FastDQN("MlpPolicy", **exploration(request), **settings)

    head = HeadSpec(Q, n_choices(request))
    return make_learner(request, model, act=exploring.now_and_then, head=head, batch_size=128, steps_per_update=8)


register(
    Algorithm(
        name="dqn",
        label="DQN",
        description="Learns what each choice is worth from everything it has seen; simple and frugal with bars.",
        actions=("choice", "steps"),
        networks=("mlp", "lstm", "tcn", "ane"),
        make=make,
        on_policy=False,
        backends=("cpu", "cuda", "tpu"),
        space={
            "learning_rate": {"low": 1e-4, "high": 2e-3, "log": True},
            "gamma": {"choices": [0.8, 0.9, 0.95]},
            "batch_size": {"choices": [64, 128, 256]},
            "exploration": {"low": 0.1, "high": 0.5},
        },
        optional=REPLAYING,
    )
)
