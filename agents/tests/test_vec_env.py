"""The batch behind Stable-Baselines3's and Gymnasium's interfaces."""

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium.vector import AutoresetMode, SyncVectorEnv
from gymnasium.wrappers.vector import RecordEpisodeStatistics
from sb3_contrib import MaskablePPO
from sb3_contrib.common.maskable.utils import get_action_masks, is_masking_supported
from stable_baselines3 import PPO, SAC

from agents.environment.batch_env import BatchEnv
from agents.environment.env import EnvConfig, TradingEnv
from agents.environment.rewards import COMPONENT_NAMES
from agents.environment.vec_env import DeskVecEnv
from agents.environment.vector_env import DeskVectorEnv
from agents.tests.markets import random_actions, stormy


def batch(n: int = 8, **changes) -> BatchEnv:
    return BatchEnv(stormy(), EnvConfig(**{"episode_length": 20} | changes), n, seed=1)


def test_infos_are_empty_except_where_an_episode_ended():
    env = DeskVecEnv(batch(4, episodes="chronological"))
    before = env.reset()
    total = np.zeros(4)
    for step in range(20):
        after, rewards, dones, infos = env.step(np.full(4, step % 3))
        assert after is not before and rewards.dtype == np.float32
        total += env.batch.rewards
        assert dones.all() == (step == 19)
        if step < 19:
            assert all(info == {} for info in infos)
        before = after
    for copy, info in enumerate(infos):
        assert info["TimeLimit.truncated"] and info["episode"]["l"] == 20
        assert info["episode"]["r"] == pytest.approx(total[copy], abs=1e-12)
        assert info["terminal_observation"].shape == (env.batch.n_inputs,)
        assert (info["terminal_observation"] != after[copy]).any(), "what is returned is the next episode's beginning"


def test_a_seed_says_which_episodes_come():
    env = DeskVecEnv(batch(64))
    env.seed(7)
    first = env.reset()
    assert (env.reset() != first).any()
    env.seed(7)
    np.testing.assert_array_equal(env.reset(), first)


def test_masks_reach_sb3_contrib():
    env = DeskVecEnv(batch(3))
    env.reset()
    assert is_masking_supported(env) and not is_masking_supported(DeskVecEnv(batch(3, action="target")))
    np.testing.assert_array_equal(get_action_masks(env), [[True, True, False]] * 3)
    with pytest.raises(AttributeError, match="no method"):
        env.env_method("dance")
    with pytest.raises(AttributeError, match="share everything"):
        env.set_attr("seed", 1)
    assert env.get_attr("n_copies", [0, 2]) == [3, 3] and env.env_is_wrapped(gymnasium.Wrapper) == [False] * 3


@pytest.mark.parametrize("kind", ["ppo", "sac", "maskable"])
def test_learners_of_sb3_learn_on_it(kind):
    torch.set_num_threads(1)
    env = DeskVecEnv(batch(8, action="target" if kind == "sac" else "steps", window=3))
    if kind == "sac":
        model = SAC("MlpPolicy", env, seed=1, learning_starts=16, buffer_size=500, batch_size=16)
        model.learn(64)
    else:
        make = PPO if kind == "ppo" else MaskablePPO
        model = make("MlpPolicy", env, seed=1, n_steps=32, batch_size=64, n_epochs=1)
        model.learn(512)
        assert model.ep_info_buffer and model.ep_info_buffer[-1]["l"] == 20
    assert model.num_timesteps >= 64


def test_gymnasiums_vector_interface_equals_its_own_vector_of_single_environments():
    config = EnvConfig(action="target", episode_length=20, episodes="chronological", window=2)
    ours = DeskVectorEnv(BatchEnv(stormy(), config, 1))
    theirs = SyncVectorEnv([lambda: TradingEnv(stormy(), config)], autoreset_mode=AutoresetMode.SAME_STEP)
    assert ours.observation_space == theirs.observation_space and ours.action_space == theirs.action_space
    assert ours.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    first, _ = ours.reset(seed=3)
    np.testing.assert_array_equal(first, theirs.reset(seed=3)[0])
    n_ended = 0
    for actions in random_actions(config, 70, (1, 1)):
        one, two = ours.step(actions), theirs.step(actions)
        for left, right in zip(one[:4], two[:4], strict=True):
            np.testing.assert_array_equal(left, right)
        if "final_obs" in two[4]:
            n_ended += 1
            np.testing.assert_array_equal(one[4]["final_obs"][0], two[4]["final_obs"][0])
            np.testing.assert_array_equal(one[4]["_final_obs"], two[4]["_final_obs"])
            assert one[4]["final_length"][0] == 20
    assert n_ended == 3


def test_vector_infos_hold_every_component():
    env = DeskVectorEnv(batch(5))
    observations, infos = env.reset(seed=1)
    assert env.observation_space.contains(observations) and infos["row"].shape == (5,)
    *_, infos = env.step(env.action_space.sample())
    assert set(infos["components"]) == set(COMPONENT_NAMES)
    assert all(values.shape == (5,) for values in infos["components"].values())
    assert env.action_masks().shape == (5, 3)
    with pytest.raises(ValueError, match="single number"):
        env.reset(seed=[1, 2])


def test_gymnasiums_own_wrapper_counts_the_same_episodes():
    env = RecordEpisodeStatistics(DeskVectorEnv(batch(5, episodes="chronological")))
    env.reset(seed=1)
    for _ in range(20):
        *_, infos = env.step(env.action_space.sample())
    assert infos["_episode"].all() and infos["_final_return"].all() and env.episode_count == 5
    np.testing.assert_allclose(infos["episode"]["r"], infos["final_return"], rtol=1e-12)
    np.testing.assert_array_equal(infos["episode"]["l"], infos["final_length"])


@pytest.mark.parametrize("kind", [DeskVecEnv, DeskVectorEnv])
def test_a_batch_that_does_not_start_again_is_refused(kind):
    with pytest.raises(ValueError, match="autoreset"):
        kind(BatchEnv(stormy(), EnvConfig(), 2, autoreset=False))
