"""TD3, made by Stable-Baselines3; its gradient steps written by hand where the network is a plain one."""

from typing import Any

from agents.algorithms.base import Learner, LearnerRequest
from agents.algorithms.registry import REPLAYING, Algorithm, register


def make(request: LearnerRequest) -> Learner:
    """A learner for the request. parameters: learning_rate, gamma, policy_delay, tau, batch_size."""
    from agents.learners import exploring
    from agents.learners.fast_td3 import FastTD3
    from agents.learners.off_policy_setup import make_learner
    from agents.learners.parameters import number, whole
    from agents.networks.spec import DETERMINISTIC, HeadSpec

    def model(**settings: Any) -> FastTD3:
        tau, delay = number(request.parameters, "tau", 0.01, 1.0), whole(request.parameters, "policy_delay", 2)
        return FastTD3("MlpPolicy", tau=tau, policy_delay=delay, **settings)

    head = HeadSpec(DETERMINISTIC, n_instruments=request.n_instruments)
    return make_learner(request, model, act=exploring.with_noise, head=head, batch_size=128, steps_per_update=8)


register(
    Algorithm(
        name="td3",
        label="TD3",
        description="Settles on one position for each situation, without chance; steadier than SAC, explores less.",
        actions=("target",),
        networks=("mlp", "lstm", "tcn", "ane"),
        make=make,
        on_policy=False,
        several=True,
        space={
            "learning_rate": {"low": 1e-4, "high": 2e-3, "log": True},
            "gamma": {"choices": [0.8, 0.9, 0.95]},
            "batch_size": {"choices": [128, 256]},
            "policy_delay": {"choices": [1, 2, 4]},
        },
        optional=REPLAYING,
    )
)
