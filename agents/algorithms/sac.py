"""SAC, made by Stable-Baselines3; its gradient steps written by hand where the network is a plain one."""

from typing import Any

from agents.algorithms.base import Learner, LearnerRequest
from agents.algorithms.registry import REPLAYING, TPU, Algorithm, register


def make(request: LearnerRequest) -> Learner:
    """A learner for the request.

    parameters: learning_rate, gamma, ent_coef (at the start), target_entropy, tau, batch_size.
    """
    if request.backend == TPU:
        from agents.learners import jax_makers

        return jax_makers.make_sac(request)
    from agents.learners import exploring
    from agents.learners.fast_sac import FastSAC
    from agents.learners.off_policy_setup import make_learner
    from agents.learners.parameters import entropy_target, number
    from agents.networks.spec import GAUSSIAN, HeadSpec

    def model(**settings: Any) -> FastSAC:
        start = number(request.parameters, "ent_coef", 0.1)
        tau = number(request.parameters, "tau", 0.01, 1.0)
        chance = entropy_target(request.parameters)
        return FastSAC("MlpPolicy", ent_coef=f"auto_{start}", target_entropy=chance, tau=tau, **settings)

    head = HeadSpec(GAUSSIAN, n_instruments=request.n_instruments)
    return make_learner(request, model, act=exploring.draw, head=head, batch_size=128, steps_per_update=8)


register(
    Algorithm(
        name="sac",
        label="SAC",
        description="Learns finely graded positions from few bars; made for leveraged funds.",
        actions=("target",),
        networks=("mlp", "lstm", "tcn", "ane"),
        make=make,
        on_policy=False,
        several=True,
        backends=("cpu", "cuda", "tpu"),
        space={
            "learning_rate": {"low": 3e-4, "high": 3e-3, "log": True},
            "gamma": {"choices": [0.8, 0.9, 0.95]},
            "ent_coef": {"low": 0.02, "high": 0.3, "log": True},
            "batch_size": {"choices": [128, 256]},
        },
        # In nats; a position drawn evenly from -1 to 1 has ln 2, more there is not. auto: minus the number of actions.
        optional=REPLAYING | {"target_entropy": {"low": -20.0, "high": 0.69, "words": ("auto",)}},
    )
)
