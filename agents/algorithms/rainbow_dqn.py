"""DQN with what Rainbow adds that pays here: double, dueling, returns over several steps, surprising steps first.

Source: Hessel and others, "Rainbow: Combining Improvements in Deep Reinforcement Learning", AAAI 2018.
"""

from typing import Any

from agents.algorithms.base import Learner, LearnerRequest
from agents.algorithms.registry import REPLAYING, Algorithm, register


def make(request: LearnerRequest) -> Learner:
    """A learner for the request. parameters: learning_rate, gamma, exploration, batch_size, n_steps, alpha."""
    from agents.learners import exploring
    from agents.learners.dueling import DuelingPolicy, dueling_weights
    from agents.learners.fast_dqn import FastDQN
    from agents.learners.off_policy_setup import exploration, make_learner, n_choices
    from agents.learners.parameters import number, whole
    from agents.learners.replay import PrioritisedReplay
    from agents.networks.spec import DUELING, HeadSpec

    def model(**settings: Any) -> FastDQN:
        replay = {
            "n_steps": whole(request.parameters, "n_steps", 3),
            "alpha": number(request.parameters, "alpha", 0.5),
            "gamma": settings["gamma"],
        }
        return FastDQN(
            DuelingPolicy, double=True, replay_buffer_class=PrioritisedReplay, replay_buffer_kwargs=replay,
            **exploration(request), **settings,
        )  # fmt: skip

    return make_learner(
        request, model, act=exploring.now_and_then, head=HeadSpec(DUELING, n_choices(request)), batch_size=128,
        steps_per_update=8, export=dueling_weights,
    )  # fmt: skip


register(
    Algorithm(
        name="rainbow_dqn",
        label="Rainbow DQN",
        description="DQN that looks several bars ahead and goes back to what surprised it; the strongest of its kind.",
        actions=("choice", "steps"),
        networks=("mlp", "lstm", "tcn", "ane"),
        make=make,
        on_policy=False,
        space={
            "learning_rate": {"low": 1e-4, "high": 2e-3, "log": True},
            "gamma": {"choices": [0.8, 0.9, 0.95]},
            "batch_size": {"choices": [64, 128, 256]},
            "exploration": {"low": 0.1, "high": 0.5},
            "n_steps": {"choices": [1, 3, 5]},
            "alpha": {"choices": [0.4, 0.6]},
        },
        optional=REPLAYING,
    )
)
