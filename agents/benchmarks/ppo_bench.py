"""PPO against Stable-Baselines3's on gym-trading-env: steps a second, and time to the same episode return.

Both learn [64, 64] tanh networks on the same noisy wave with the same inputs, fee and reward (the logarithmic return),
in episodes of the same length. Where it opens our market closed before, so that both trade at the same price.
"""

import json
import subprocess
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, cast

import numpy as np
import torch
from django.conf import settings
from stable_baselines3 import PPO
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.logger import Logger

from agents.benchmarks.peer_env import HOW_TO_GET_IT, PACKAGE, peer_env, peer_version
from agents.environment.batch_env import BatchEnv
from agents.environment.env_config import EnvConfig
from agents.environment.market import Market
from agents.environment.own_state import OwnSpec
from agents.environment.rewards import RewardSettings
from agents.environment.vec_env import DeskVecEnv
from agents.learners.arena import typical_reward
from agents.learners.fast_ppo import FastPPO
from core.measurement import Measurement
from core.simulation.rules import MarketRules

N_BARS, EPISODE_LENGTH, START_CASH = 3_000, 250, 50_000.0
WAVE_BARS, WAVE_HEIGHT, NOISE = 32, 0.05, 0.003
LOOK_BACKS = (1, 2, 4, 8, 16)
FEE_BPS = 10.0
# Mean summed logarithmic return of an episode; knowing the wave, about 0.75 can be had.
WANTED_RETURN = 0.5
N_EPISODES = 24  # newest ones whose mean counts, of either
SEEDS = (1, 2, 3, 4, 5)
THEIR_STEPS, OUR_STEPS = 40_960, 1_000_000  # at most
OUR_LEAST_STEPS = 200_000  # so that speed is measured over more than a moment
OURS: dict[str, Any] = {
    "n_steps": 32, "batch_size": 1024, "n_epochs": 5, "learning_rate": 3e-3, "gamma": 0.9, "gae_lambda": 0.9,
    "ent_coef": 1e-3, "policy_kwargs": {"net_arch": [64, 64], "activation_fn": torch.nn.Tanh},
}  # fmt: skip
N_COPIES = 128


@dataclass(frozen=True)
class Race:
    """One learning."""

    seconds: float | None  # until WANTED_RETURN, None if never
    steps: int | None  # the same in environment steps
    steps_per_second: float  # environment steps, learned from as well


def waves() -> tuple[np.ndarray, np.ndarray]:
    """Closes (T,) of a noisy wave, and returns over some look-backs, scaled, (T, n)."""
    t, noise = np.arange(N_BARS), np.random.default_rng(0).standard_normal(N_BARS)
    logs = WAVE_HEIGHT * np.sin(2 * np.pi * t / WAVE_BARS) + np.cumsum(NOISE * noise)
    columns = [np.concatenate([np.zeros(k), logs[k:] - logs[:-k]]) for k in LOOK_BACKS]
    return 100.0 * np.exp(logs), np.array([np.clip(column / column.std(), -5, 5) for column in columns]).T


def our_learner(seed: int) -> FastPPO:
    """Ours on many copies."""
    close, features = waves()
    market = Market(
        features, np.concatenate([close[:1], close[:-1]]), close, np.full(N_BARS, 1e6), np.zeros((N_BARS, 3))
    )
    config = EnvConfig(
        rules=MarketRules(half_spread_bps=0.0, tick_size=0.0, lot=1e-6, schedule="bps", commission_bps=FEE_BPS),
        reward=RewardSettings(net_return=0.0, log_return=1.0),
        start_cash=START_CASH,
        episode_length=EPISODE_LENGTH,
        own=OwnSpec(("weight",)),
    )
    env = DeskVecEnv(BatchEnv(market, config, N_COPIES, seed, n_threads=1))
    scale = 1.0 / typical_reward(market, config)
    return FastPPO("MlpPolicy", env, seed=seed, device="cpu", reward_scale=scale, watcher=_Newest(env.batch), **OURS)


def race_ours(seed: int) -> Race:
    """Learn until the wanted return and for OUR_LEAST_STEPS at least."""
    model = our_learner(seed)
    env, newest = cast(DeskVecEnv, model.env), cast(_Newest, model.watcher)
    model._setup_learn(OUR_STEPS, None)
    model.set_logger(Logger(None, []))
    reached, steps, start = None, None, time.perf_counter()
    while model.num_timesteps < (OUR_STEPS if reached is None else OUR_LEAST_STEPS):
        model.collect_rollouts(env, None, model.rollout_buffer, model.n_steps)
        if reached is None and newest.mean() >= WANTED_RETURN:
            reached, steps = time.perf_counter() - start, model.num_timesteps
        model.train()
    return Race(reached, steps, model.num_timesteps / (time.perf_counter() - start))


class _Newest:
    """Returns of the newest episodes."""

    def __init__(self, batch: BatchEnv) -> None:
        self.batch, self.returns = batch, deque[float](maxlen=N_EPISODES)

    def saw(self, actions: np.ndarray, rewards: np.ndarray, over: np.ndarray) -> None:
        """One step of all copies."""
        if self.batch.n_ended:
            self.returns.extend(self.batch.final_returns[over].tolist())

    def mean(self) -> float:
        """Their mean; minus infinity before there are enough."""
        return float(np.mean(self.returns)) if len(self.returns) == N_EPISODES else -np.inf


def race_theirs(seed: int) -> Race:
    """Stable-Baselines3's PPO with its defaults until the wanted return."""
    close, features = waves()
    env = peer_env(
        features, close, fee=FEE_BPS / 1e4, borrow_rate=0.0, episode_length=EPISODE_LENGTH, start_cash=START_CASH
    )
    np.random.seed(seed)  # the peer draws its starts from it
    model = PPO("MlpPolicy", env, seed=seed, device="cpu")
    watch = _Until()
    start = watch.start = time.perf_counter()
    model.learn(THEIR_STEPS, callback=watch)
    return Race(watch.reached, watch.steps, model.num_timesteps / (time.perf_counter() - start))


class _Until(BaseCallback):
    """Ends a learning at the wanted return."""

    start, reached, steps = 0.0, None, None

    def _on_step(self) -> bool:
        return self.reached is None

    def _on_rollout_end(self) -> None:
        newest = [episode["r"] for episode in list(self.model.ep_info_buffer or ())[-N_EPISODES:]]
        if len(newest) == N_EPISODES and np.mean(newest) >= WANTED_RETURN:
            self.reached, self.steps = time.perf_counter() - self.start, self.num_timesteps


def as_json(seeds: tuple[int, ...] = SEEDS) -> str:
    """Races of all seeds, ours and theirs by turns, so that other load on the machine meets both."""
    torch.set_num_threads(1)
    race_ours(0)  # compiles
    found: dict[str, list[dict]] = {"ours": [], "theirs": []}
    for seed in seeds:
        found["ours"].append(asdict(race_ours(seed)))
        if peer_version():
            found["theirs"].append(asdict(race_theirs(seed)))
    return json.dumps(found)


def ppo() -> list[Measurement]:
    """Steps a second and seconds to the same return, medians of five seeds, in a process of their own."""
    done = subprocess.run(
        [sys.executable, "-c", "from agents.benchmarks.ppo_bench import as_json; print(as_json())"],
        cwd=settings.BASE_DIR, capture_output=True, text=True, check=True, timeout=900,
    )  # fmt: skip
    found = json.loads(done.stdout)
    about = f"SB3 PPO's defaults on {PACKAGE} {peer_version()}" if peer_version() else f"not measured: {HOW_TO_GET_IT}"
    ours, theirs = ([Race(**race) for race in found[name]] for name in ("ours", "theirs"))
    speed, seconds = (_medians(ours, theirs, name) for name in ("steps_per_second", "seconds"))
    more = {"network": [64, 64], "n_epochs": OURS["n_epochs"], "batch_size": OURS["batch_size"], "copies": N_COPIES}
    return [
        Measurement("ppo: trained steps", speed[0], "steps/s", speed[1], about, more),
        # Upside down, so that more is better here as well.
        Measurement(
            f"ppo: speed to an episode return of {WANTED_RETURN}", 1.0 / seconds[0], "1/s", 1.0 / seconds[1], about,
            {"seconds": [race.seconds for race in ours], "their_seconds": [race.seconds for race in theirs]},
        ),
    ]  # fmt: skip


def _medians(ours: list[Race], theirs: list[Race], name: str) -> tuple[float, float]:
    """Medians of both; a race whose goal was never reached counts as endless, none at all as NaN."""
    found = [[getattr(race, name) for race in races] for races in (ours, theirs)]
    middle = [
        float(np.median([np.inf if value is None else value for value in values])) if values else np.nan
        for values in found
    ]
    return middle[0], middle[1]
