"""Learners that know nothing of the desk, on its environments, through the interfaces that everybody uses."""

import warnings
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import torch
from gymnasium.utils.env_checker import check_env as check_by_gymnasium
from gymnasium.vector import AutoresetMode
from gymnasium.wrappers.vector import DictInfoToList, NormalizeReward, RecordEpisodeStatistics
from sb3_contrib import MaskablePPO
from stable_baselines3 import PPO
from stable_baselines3.common.env_checker import check_env as check_by_sb3
from stable_baselines3.common.monitor import Monitor
from stable_baselines3.common.vec_env import DummyVecEnv, VecEnv, VecNormalize

from agents import algorithms
from agents.algorithms.base import LearnerRequest
from agents.environment.actions import CHOICE, STEPS, TARGET
from agents.environment.batch_env import BatchEnv
from agents.environment.env import TradingEnv
from agents.environment.env_config import EnvConfig
from agents.environment.own_state import OwnSpec
from agents.environment.rewards import COMPONENT_NAMES
from agents.environment.vec_env import DeskVecEnv
from agents.environment.vector_env import DeskVectorEnv
from agents.policies.backtest import run_backtest
from agents.proof_markets import lesson as proofs
from agents.proof_markets.lesson import EPISODE_LENGTH, START_CASH, judging_path, market_of, play, play_optimum, solved

pytestmark = pytest.mark.slow
NET = {"net_arch": [32, 32], "activation_fn": torch.nn.Tanh}
WANTED_SHARE = 0.7


@pytest.fixture(autouse=True)
def one_thread() -> None:
    torch.set_num_threads(1)


def config(action: str, **changes: Any) -> EnvConfig:
    market, _ = solved("sine")
    return EnvConfig(
        action=action, rules=proofs.rules_of(market), start_cash=START_CASH, episode_length=EPISODE_LENGTH,
        own=OwnSpec(("weight",)), **changes,
    )  # fmt: skip


def learning_market(n_bars: int = 20_000):
    market, _ = solved("sine")
    return market_of(market.draw(n_bars, np.random.default_rng(3)))


def share(action: str, decide: Callable[[np.ndarray], np.ndarray]) -> float:
    """What a policy earns on bars nobody has seen, as a share of the optimum's."""
    market, optimum = solved("sine")
    path = judging_path(market, 1)
    best = play_optimum(market, path, optimum, action).mean
    return play(market, path, action, lambda observations, _: decide(observations)).mean / best


def singles(n: int) -> VecEnv:
    market = learning_market()
    return DummyVecEnv([lambda: Monitor(TradingEnv(market, config(CHOICE))) for _ in range(n)])


def copies(n: int, action: str = CHOICE) -> DeskVecEnv:
    return DeskVecEnv(BatchEnv(learning_market(), config(action), n, seed=1, n_threads=1))


@pytest.mark.parametrize("action", [CHOICE, STEPS, TARGET])
def test_a_long_life_pleases_both_checkers(action: str) -> None:
    env = TradingEnv(learning_market(2_000), config(action))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        check_by_sb3(env, skip_render_check=False)
        check_by_gymnasium(env)
    observation, _ = env.reset(seed=1)
    env.action_space.seed(1)
    n_ended = 0
    for _ in range(5_000):
        observation, reward, terminated, truncated, info = env.step(env.action_space.sample())
        assert env.observation_space.contains(observation) and np.isfinite(reward)
        assert set(COMPONENT_NAMES) <= set(info["components"])
        if terminated or truncated:
            n_ended += 1
            env.reset()
    assert n_ended == 5_000 // EPISODE_LENGTH


@pytest.mark.parametrize(("kind", "seed"), [("single", 1), ("copies", 1), ("copies", 2)])
def test_plain_ppo_of_stable_baselines3_learns_and_stays(kind: str, seed: int) -> None:
    env = VecNormalize(singles(8) if kind == "single" else copies(32), norm_obs=False, gamma=0.95)
    n_steps = 8_192 // env.num_envs // 4
    model = PPO("MlpPolicy", env, learning_rate=2e-3, n_steps=n_steps, batch_size=256, n_epochs=6, gamma=0.95,
        gae_lambda=0.9, ent_coef=5e-3, policy_kwargs=NET, seed=seed, device="cpu")  # fmt: skip
    model.learn(30_000)
    found = share(CHOICE, lambda rows: model.predict(rows, deterministic=True)[0])
    assert found > WANTED_SHARE
    # What Monitor and the batch count themselves says the same: the last episodes earned, and every one was whole.
    assert model.ep_info_buffer and all(episode["l"] == EPISODE_LENGTH for episode in model.ep_info_buffer)
    assert np.mean([episode["r"] for episode in model.ep_info_buffer]) > 0.1
    # Learning on does not ruin it.
    model.learn(10_000, reset_num_timesteps=False)
    assert share(CHOICE, lambda rows: model.predict(rows, deterministic=True)[0]) > WANTED_SHARE


def test_masked_nine_steps_are_learned_and_no_masked_one_is_taken() -> None:
    env = copies(32, STEPS)
    model = MaskablePPO("MlpPolicy", VecNormalize(env, norm_obs=False, gamma=0.95), learning_rate=2e-3, n_steps=64,
        batch_size=256, n_epochs=6, gamma=0.95, gae_lambda=0.9, ent_coef=5e-3, policy_kwargs=NET, seed=1,
        device="cpu")  # fmt: skip
    taken, step = [], env.batch.step

    def watched(actions: np.ndarray):
        taken.append(env.batch.masks()[np.arange(32), np.asarray(actions).reshape(-1).astype(int)].all())
        return step(actions)

    env.batch.step = watched  # type: ignore[method-assign]
    model.learn(30_000)
    assert all(taken) and len(taken) >= 30_000 // 32
    market, _ = solved("sine")
    judge = TradingEnv(market_of(judging_path(market, 1)), replace(config(STEPS), episode_length=4_000))
    observation, _ = judge.reset()
    counts, earned = np.zeros(9), []
    for _ in range(4_000):
        mask = judge.action_masks()
        action = int(model.predict(observation, action_masks=mask, deterministic=True)[0])
        assert mask[action]
        counts[action] += 1
        observation, reward, *_ = judge.step(action)
        earned.append(reward)
    assert counts[0] > 0 and counts[1:5].sum() > 100 and counts[5:].sum() > 100
    _, optimum = solved("sine")
    assert np.mean(earned) > 0.5 * optimum.gain


def test_gymnasiums_wrappers_go_around_the_copies_and_a_plain_loop_learns_there() -> None:
    """Actor and critic as CleanRL writes them, on nothing but gymnasium.vector."""
    inner = DeskVectorEnv(BatchEnv(learning_market(), config(CHOICE), 64, seed=1, n_threads=1))
    recorded = RecordEpisodeStatistics(inner, buffer_length=64)
    env = NormalizeReward(recorded, gamma=0.95)
    assert env.metadata["autoreset_mode"] == AutoresetMode.SAME_STEP
    torch.manual_seed(1)
    body = [torch.nn.Linear(3, 32), torch.nn.Tanh(), torch.nn.Linear(32, 4)]
    network = torch.nn.Sequential(*body)  # three choices and the value
    optimiser = torch.optim.Adam(network.parameters(), lr=4e-3)
    observations, _ = env.reset(seed=1)
    first = 0.0
    for round_ in range(400):
        rows, actions, rewards, overs = [], [], [], []
        for _ in range(8):
            seen = torch.as_tensor(observations)
            with torch.no_grad():
                chosen = torch.distributions.Categorical(logits=network(seen)[:, :3]).sample()
            observations, reward, terminated, truncated, infos = env.step(chosen.numpy())
            over = terminated | truncated
            if over.any():
                np.testing.assert_allclose(infos["episode"]["r"][over], infos["final_return"][over], rtol=1e-9)
                np.testing.assert_array_equal(infos["episode"]["l"][over], EPISODE_LENGTH)
            rows.append(seen)
            actions.append(chosen)
            rewards.append(torch.as_tensor(reward, dtype=torch.float32))
            overs.append(torch.as_tensor(over))
        with torch.no_grad():
            ahead = network(torch.as_tensor(observations))[:, 3]
        returns: list[torch.Tensor] = []
        for reward, over in zip(reversed(rewards), reversed(overs), strict=True):
            ahead = reward + 0.9 * torch.where(over, 0.0, ahead)
            returns.insert(0, ahead)
        found = network(torch.stack(rows))
        wanted, value = torch.stack(returns), found[..., 3]
        policy = torch.distributions.Categorical(logits=found[..., :3])
        advantage = (wanted - value).detach()
        gain = policy.log_prob(torch.stack(actions)) * (advantage - advantage.mean()) / (advantage.std() + 1e-8)
        loss = -gain.mean() + 0.5 * (wanted - value).square().mean() - 0.01 * policy.entropy().mean()
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        if round_ == 60:
            first = float(np.mean(recorded.return_queue))
    assert recorded.episode_count == 64 * (400 * 8 // EPISODE_LENGTH)
    assert float(np.mean(recorded.return_queue)) > max(2.0 * first, 0.1)

    def decide(rows: np.ndarray) -> np.ndarray:
        with torch.no_grad():
            return network(torch.from_numpy(rows))[:, :3].argmax(dim=1).numpy()

    assert share(CHOICE, decide) > WANTED_SHARE
    listed = DictInfoToList(DeskVectorEnv(BatchEnv(learning_market(500), config(CHOICE), 3, seed=1)))
    listed.reset(seed=1)
    *_, infos = listed.step(np.array([1, 0, 1]))
    assert [set(info) for info in infos] == [{"components"}] * 3


def learned(action: str, rules: Any, **changes: Any) -> tuple[Any, BatchEnv]:
    """The desk's own PPO on the sine under other rules or episodes. Returns: its policy and where it played."""
    market, _ = solved("sine")
    path = market.draw(20_000, np.random.default_rng(3))
    settings = replace(proofs.settings_of("ppo", market, path.features.shape[1]), actions=action, rules=rules)
    request = LearnerRequest(
        markets=(market_of(path),), config=replace(config(action), rules=rules, **changes), network=settings.network,
        settings=settings, parameters={"gamma": 0.95}, seed=1, n_steps=120_000, build=proofs._builder(settings),
    )  # fmt: skip
    learner = algorithms.get("ppo").make(request)
    try:
        while learner.steps_done < request.n_steps:
            learner.advance()
        return learner.policy(), learner.arena.batch  # type: ignore[attr-defined]
    finally:
        learner.close()


@pytest.mark.parametrize("kind", ["random", "fixed", "chronological"])
def test_every_kind_of_episode_is_learned_from(kind: str) -> None:
    market, _ = solved("sine")
    policy, batch = learned(CHOICE, proofs.rules_of(market), episodes=kind)
    found = share(CHOICE, lambda rows: proofs.decided(policy, rows))
    assert found > WANTED_SHARE
    # Where the copies stand tells which windows they play: fixed ones begin at multiples of the length.
    begins = batch.ends - EPISODE_LENGTH
    on_the_grid = (begins % EPISODE_LENGTH == 0) | (batch.ends == batch.last)
    assert on_the_grid.all() == (kind != "random")
    assert len(set(begins.tolist())) > len(begins) // 4


def test_where_short_selling_is_on_it_is_used_and_where_it_is_off_never() -> None:
    market, _ = solved("sine")
    path = judging_path(market, 2)
    earned = {}
    for allowed in (False, True):
        rules = replace(proofs.rules_of(market), short_selling=allowed)
        policy, _ = learned(TARGET, rules)
        track = run_backtest(policy, market_of(path), np.arange(len(path.close)) * 86_400, 0, 4_000).track
        assert (track.quantity.min() < 0) == allowed
        assert track.quantity.max() > 0
        bound = np.abs(track.quantity * path.close[: len(track.quantity)]).max() / track.equity.max()
        assert bound < 1.3
        earned[allowed] = float(np.mean(track.equity[1:] / track.equity[:-1] - 1.0))
    # The sine falls as long as it rises: who may be short earns nearly twice as much.
    assert earned[True] > 1.5 * earned[False] > 0
