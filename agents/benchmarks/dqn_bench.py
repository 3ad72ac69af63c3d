"""`manage.py bench dqn`: gradient steps a second of our DQNs against Stable-Baselines3's. Pure."""

from collections.abc import Callable
from functools import partial
from typing import Any

from stable_baselines3 import DQN

from agents.benchmarks.off_policy_bench import by_turns, filled, threads
from agents.environment.actions import CHOICE
from agents.learners.dueling import DuelingPolicy
from agents.learners.fast_dqn import FastDQN
from agents.learners.replay import PrioritisedReplay
from core.measurement import Measurement

BATCH, STEPS_PER_TURN = 128, 100
SETTINGS: dict[str, Any] = {"device": "cpu", "batch_size": BATCH, "policy_kwargs": {"net_arch": [64, 64]}}


def dqn() -> list[Measurement]:
    """DQN, and double + dueling + three steps + priorities, each beside Stable-Baselines3's plain DQN; one thread."""
    rainbow = partial(
        FastDQN, DuelingPolicy, double=True, replay_buffer_class=PrioritisedReplay,
        replay_buffer_kwargs={"n_steps": 3, "gamma": 0.99}, **SETTINGS,
    )  # fmt: skip
    makers: dict[str, Callable[..., Any]] = {
        "theirs": partial(DQN, "MlpPolicy", **SETTINGS),
        "ours": partial(FastDQN, "MlpPolicy", **SETTINGS),
        "rainbow": rainbow,
    }
    with threads(1):
        models = {name: filled(make, CHOICE) for name, make in makers.items()}
        found = by_turns(models, BATCH, STEPS_PER_TURN)
    peer = "Stable-Baselines3 DQN, [64, 64], batch 128, one thread"
    return [
        Measurement("dqn", found["ours"], "gradient steps/s", found["theirs"], peer),
        Measurement("rainbow_dqn", found["rainbow"], "gradient steps/s", found["theirs"], peer),
    ]
