"""What the benches of SAC and DQN share: a small market to learn on, and two learners timed by turns. Pure."""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import Logger

from agents.environment.batch_env import BatchEnv
from agents.environment.env_config import EnvConfig
from agents.environment.market import Market
from agents.environment.vec_env import DeskVecEnv
from agents.learners.arena import typical_reward
from agents.learners.watch import Watch, WatchedVecEnv
from core.simulation.rules import MarketRules

N_BARS, N_FEATURES, N_COPIES, EPISODE = 2_000, 14, 16, 50


def hinting_market(seed: int = 1) -> Market:
    """Daily bars whose first feature tells half of the next bar's move; the other features are noise."""
    random = np.random.default_rng(seed)
    features = np.clip(random.standard_normal((N_BARS, N_FEATURES)), -3.0, 3.0)
    moves = 0.01 * (np.roll(features[:, 0], 1) + random.standard_normal(N_BARS))
    close = 100.0 * np.exp(np.cumsum(moves))
    open_ = np.concatenate([[100.0], close[:-1]])
    return Market(features, open_, close, np.full(N_BARS, 1e6), np.zeros((N_BARS, 3)))


def playground(action: str, seed: int) -> tuple[WatchedVecEnv, Watch]:
    """Copies of an environment on the hinting market, with costs, rewards of a usual size and who counts returns."""
    market, config = hinting_market(), EnvConfig(action=action, rules=MarketRules(), episode_length=EPISODE)
    batch = BatchEnv(market, config, N_COPIES, seed, n_threads=1)
    watch = Watch(batch, action)
    return WatchedVecEnv(DeskVecEnv(batch), watch, 1.0 / typical_reward(market, config)), watch


def filled(make: Callable[..., Any], action: str, n_steps: int = 4_096, seed: int = 1) -> Any:
    """A learner that has only looked on for n_steps at random: ready to be timed."""
    env, _ = playground(action, seed)
    model = make(env=env, seed=seed, learning_starts=n_steps, buffer_size=2 * n_steps)
    model.set_logger(Logger(None, []))
    return model.learn(n_steps)


def by_turns(models: dict[str, Any], batch_size: int, steps_per_turn: int, n_turns: int = 15) -> dict[str, float]:
    """Gradient steps a second of each learner, the median over its turns.

    By turns, so that what else the machine does strikes all alike.
    """
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for turn in range(n_turns + 1):
        for name, model in models.items():
            start = time.perf_counter()
            model.train(steps_per_turn, batch_size)
            if turn:  # the first one warms up
                seconds[name].append(time.perf_counter() - start)
    return {name: steps_per_turn / float(np.median(taken)) for name, taken in seconds.items()}


@contextmanager
def threads(n: int) -> Iterator[None]:
    """Within it torch uses n threads."""
    before = torch.get_num_threads()
    torch.set_num_threads(n)
    try:
        yield
    finally:
        torch.set_num_threads(before)
