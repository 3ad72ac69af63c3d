"""Where a learner plays: copies of the environment, what they pay compared to what suits a network, and who watches."""

from dataclasses import dataclass, replace

import numpy as np

from agents import algorithms
from agents.algorithms.base import LearnerRequest
from agents.environment import actions as kinds
from agents.environment.batch_env import BatchEnv
from agents.environment.env_config import EnvConfig
from agents.environment.market import Market
from agents.environment.randomise import RandomiseSettings
from agents.environment.vec_env import DeskVecEnv
from agents.learners.guard import Guard, input_names
from agents.learners.watch import Watch, WatchedVecEnv

# Rows looked at to see how large rewards are; the newest of a long history say enough.
MOST_ROWS = 20_000
LEAST_REWARD = 1e-9
# What being invested all the time means in each kind of action.
INVESTED = {kinds.CHOICE: 1.0, kinds.STEPS: 4.0, kinds.TARGET: 1.0}


@dataclass(frozen=True, eq=False)
class Arena:
    """The copies and what goes with them."""

    batch: BatchEnv
    env: DeskVecEnv  # the same for Stable-Baselines3
    watch: Watch
    guard: Guard
    reward_scale: float  # rewards are multiplied by it before they are learned from
    n_features: int
    n_own: int

    def watched(self) -> WatchedVecEnv:
        """The environment for a learner that steps it by Stable-Baselines3's own means."""
        return WatchedVecEnv(self.env, self.watch, self.reward_scale)


def open_arena(request: LearnerRequest, n_copies: int) -> Arena:
    """Copies of the request's environment, seeded by it. Raises: ValueError for several instruments it cannot learn."""
    config = request.config
    if request.n_instruments > 1:
        _check_several(request.settings.algorithm)
    # One thread: trials run side by side in processes of their own, and a rollout's steps are short.
    batch = BatchEnv(request.markets, config, n_copies, request.seed, n_threads=1)
    columns = input_names(request.settings.features.names, config.own.names, config.window, request.n_instruments)
    return Arena(
        batch=batch,
        env=DeskVecEnv(batch),
        watch=Watch(batch, config.action, request.pulse),
        guard=Guard(columns),
        reward_scale=1.0 / typical_reward(request.markets[0], config),
        n_features=batch.n_features,
        n_own=len(config.own) * batch.n_instruments,
    )


def _check_several(name: str) -> None:
    algorithm = algorithms.get(name)
    if not algorithm.several:
        able = ", ".join(other.label for other in algorithms.all_algorithms().values() if other.several)
        raise ValueError(f"{algorithm.label} trades one instrument at a time; for several choose one of {able}")


def typical_reward(market: Market, config: EnvConfig) -> float:
    """Standard deviation of the reward when always invested, over the training rows."""
    first, last = config.rows(len(market))
    first = max(first, last - MOST_ROWS)
    plain = replace(config, first=first, last=last, episode_length=None, window=1, randomise=RandomiseSettings())
    batch = BatchEnv(market, plain, 1, n_threads=1)
    batch.reset()
    action = np.full((1, batch.n_instruments), INVESTED[config.action])
    rewards = [float(batch.step(action)[1][0]) for _ in range(last - first)]
    return max(float(np.std(rewards)), LEAST_REWARD)
