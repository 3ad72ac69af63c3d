"""How fast the training environments step on this machine. Pure; `manage.py bench env` gives it its own process.

Copies decide at random on bars with full costs: spread, impact, tiered commission, regulatory fees, a volume limit,
stop, target, trail and time stop, interest, borrow fees and a margin call. Compiling is not counted.
"""

import json
import time
from collections.abc import Callable

import gymnasium
import numpy as np

from agents.benchmarks.peer_env import peer_env, peer_version
from agents.environment.batch_env import BatchEnv
from agents.environment.env_config import EnvConfig
from agents.environment.market import Market
from core.simulation.fees import fees_for
from core.simulation.rules import MarketRules

N_BARS, N_FEATURES, EPISODE_LENGTH, START_CASH = 2_000, 14, 250, 50_000.0
COPIES = (1, 64, 1_024)
N_ROUNDS, ROUND_SECONDS, N_ACTION_SETS = 5, 0.4, 64
RULES = MarketRules(
    half_spread_bps=2.0,
    impact_bps=10.0,
    schedule="ibkr_tiered",
    participation=0.05,
    short_selling=True,
    stop_loss=0.05,
    take_profit=0.10,
    trail_fraction=0.08,
    time_stop=40.0,
    margin_call=4.0,
    interest_rate=0.04,
    credit_spread=0.005,
    debit_spread=0.015,
    borrow_rate=0.01,
    sharpe_rate=0.01,
)
Speed = Callable[[float], float]  # runs for so many seconds; steps a second


def market(n_bars: int = N_BARS, seed: int = 1) -> Market:
    """Daily bars of a seeded random walk with ranges, volumes and the fees of their dates."""
    random = np.random.default_rng(seed)
    close = 100.0 * np.exp(np.cumsum(0.01 * random.standard_normal(n_bars)))
    open_ = close * np.exp(0.003 * random.standard_normal(n_bars))
    reach = np.exp(0.006 * np.abs(random.standard_normal((2, n_bars))))
    days = np.datetime64("2016-01-04") + np.arange(n_bars)
    return Market(
        np.clip(random.standard_normal((n_bars, N_FEATURES)), -5, 5),
        open_,
        close,
        random.uniform(1e5, 1e6, n_bars),
        fees_for(days),
        high=np.maximum(open_, close) * reach[0],
        low=np.minimum(open_, close) / reach[1],
        day=days.astype(int),
    )


def ours(n_copies: int, n_threads: int | None = None) -> Speed:
    """Our vectorised environment; every copy's step counts."""
    config = EnvConfig(rules=RULES, episode_length=EPISODE_LENGTH, start_cash=START_CASH)
    env = BatchEnv(market(), config, n_copies, seed=1, n_threads=n_threads)
    choices = np.random.default_rng(2).integers(0, 3, (N_ACTION_SETS, n_copies))
    env.reset()

    def run(seconds: float) -> float:
        return n_copies * _calls_per_second(lambda number: env.step(choices[number % N_ACTION_SETS]), seconds)

    run(0.05)
    return run


def theirs() -> Speed:
    """The peer's environment, one copy as it is; on the same closes and features. Raises: ImportError without it."""
    data = market()
    env: gymnasium.Env = peer_env(
        data.features, data.close, fee=0.001, borrow_rate=1e-4, episode_length=EPISODE_LENGTH, start_cash=START_CASH
    )
    choices = np.random.default_rng(2).integers(0, 2, 10_000).tolist()
    env.reset(seed=1)

    def one(number: int) -> None:
        *_, terminated, truncated, _ = env.step(choices[number % len(choices)])
        if terminated or truncated:
            env.reset()

    def run(seconds: float) -> float:
        return _calls_per_second(one, seconds)

    run(0.05)
    return run


def _calls_per_second(call: Callable[[int], object], seconds: float) -> float:
    number, start = 0, time.perf_counter()
    while (taken := time.perf_counter() - start) < seconds:
        for _ in range(16):
            call(number)
            number += 1
    return number / taken


def measure(n_rounds: int = N_ROUNDS, seconds: float = ROUND_SECONDS) -> dict[str, float]:
    """Steps a second by name: copies_1 ..., one_thread, and peer where it is installed.

    All take turns, the best round of each counts: other programs only ever slow a round down.
    """
    speeds: dict[str, Speed] = {f"copies_{n}": ours(n) for n in COPIES}
    speeds["one_thread"] = ours(COPIES[-1], n_threads=1)
    if peer_version():
        speeds["peer"] = theirs()
    rounds = [{name: run(seconds) for name, run in speeds.items()} for _ in range(n_rounds)]
    return {name: max(found[name] for found in rounds) for name in speeds}


def as_json() -> str:
    """What `measure` finds, for the process that asked."""
    return json.dumps(measure())
