from types import SimpleNamespace

import numpy as np
import pytest

from agents.environment.rewards import COMPONENT_NAMES
from agents.learners.watch import Watch, WatchedVecEnv
from agents.tests.copies import SignVecEnv


def _played(n):
    components = np.arange(n * len(COMPONENT_NAMES), dtype=float).reshape(n, -1)
    return SimpleNamespace(components=components, final_returns=np.arange(n) * 10.0)


def test_shares_means_and_returns_over_two_steps():
    watch = Watch(_played(2), "choice")
    watch.saw(np.array([0, 1]), np.zeros(2), np.array([False, False]))
    watch.saw(np.array([[1.0], [1.0]]), np.zeros(2), np.array([False, True]))
    found = watch.report()
    assert found["actions"] == {"hold": 0.25, "buy": 0.75, "sell": 0.0}
    n = len(COMPONENT_NAMES)
    # The first component is 0 in one copy and n in the other, in both steps.
    assert found["reward_components"][COMPONENT_NAMES[0]] == pytest.approx(n / 2)
    assert found["episode_return"] == 10.0
    assert watch.report()["episode_return"] is None


def test_target_positions_count_as_long_flat_or_short():
    watch = Watch(_played(4), "target")
    watch.saw(np.array([[0.9], [0.04], [-0.04], [-0.5]]), np.zeros(4), np.zeros(4, bool))
    assert watch.report()["actions"] == {"short": 0.25, "flat": 0.5, "long": 0.25}


def test_the_wrapper_scales_rewards_and_keeps_the_environments_own():
    env = SignVecEnv(3)
    env.batch.components, env.batch.final_returns = np.zeros((3, len(COMPONENT_NAMES))), np.zeros(3)
    watched = WatchedVecEnv(env, Watch(env.batch, "choice"), reward_scale=10.0)
    watched.reset()
    _, rewards, _, _ = watched.step(np.array([0, 1, 2]))
    assert set(np.abs(rewards)) == {10.0}
    assert watched.watch.report()["actions"] == pytest.approx(dict.fromkeys(("hold", "buy", "sell"), 1 / 3))
