"""QR-DQN of sb3-contrib: learns not only what a choice is worth but how widely that may vary."""

from typing import Any

from agents.algorithms.base import Learner, LearnerRequest
from agents.algorithms.registry import REPLAYING, Algorithm, register


def make(request: LearnerRequest) -> Learner:
    """A learner for the request. parameters: learning_rate, gamma, exploration, batch_size, n_quantiles."""
    from sb3_contrib import QRDQN

    from agents.learners import exploring
    from agents.learners.off_policy_setup import exploration, make_learner, n_choices
    from agents.learners.parameters import whole
    from agents.networks.spec import QUANTILES, HeadSpec

    n_quantiles = whole(request.parameters, "n_quantiles", 32)

    def model(*, policy_kwargs: dict[str, Any], **settings: Any) -> QRDQN:
        more = {"n_quantiles": n_quantiles}
        return QRDQN("MlpPolicy", policy_kwargs=policy_kwargs | more, **exploration(request), **settings)

    head = HeadSpec(QUANTILES, n_choices(request), {"n_quantiles": n_quantiles})
    return make_learner(request, model, act=exploring.now_and_then, head=head, batch_size=128, steps_per_update=16)


register(
    Algorithm(
        name="qrdqn",
        label="QR-DQN",
        description="DQN that learns the spread of what a choice may bring; slower, for markets with rare large moves.",
        actions=("choice", "steps"),
        networks=("mlp", "lstm", "tcn", "ane"),
        make=make,
        on_policy=False,
        space={
            "learning_rate": {"low": 1e-4, "high": 2e-3, "log": True},
            "gamma": {"choices": [0.8, 0.9, 0.95]},
            "batch_size": {"choices": [64, 128]},
            "exploration": {"low": 0.1, "high": 0.5},
            "n_quantiles": {"choices": [16, 32]},
        },
        optional=REPLAYING,
    )
)
