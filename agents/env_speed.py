"""How fast the training environment steps on this machine. Pure; `manage.py bench env` gives it its own process."""

import time

import numpy as np

from agents.env import EnvConfig, Market, TradingEnv
from core.simulation.rules import MarketRules

N_BARS, N_FEATURES, WARM_UP_STEPS = 2_000, 14, 100


def steps_per_second(n_steps: int) -> float:
    """Steps a second with costs, random actions and episodes of 250 bars; compiling is not counted."""
    random = np.random.default_rng(1)
    close = 100.0 * np.exp(np.cumsum(0.01 * random.standard_normal(N_BARS)))
    features = np.clip(random.standard_normal((N_BARS, N_FEATURES)), -5, 5)
    market = Market(features, close, close, np.full(N_BARS, 1e6), np.zeros((N_BARS, 3)))
    env = TradingEnv(market, EnvConfig(rules=MarketRules(), episode_length=250))
    actions = random.integers(0, 3, n_steps + WARM_UP_STEPS).tolist()
    env.reset(seed=1)
    start = 0.0
    for number, action in enumerate(actions):
        if number == WARM_UP_STEPS:
            start = time.perf_counter()
        *_, terminated, truncated, _ = env.step(action)
        if terminated or truncated:
            env.reset()
    return n_steps / (time.perf_counter() - start)
