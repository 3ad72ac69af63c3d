"""Learners on proof markets: what a learned policy earns there as a share of what the best possible one earns. Pure.

Both play the same environment on the same path, which no learner has seen: many stretches side by side, each entered
with nothing but cash.
"""

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import date
from functools import cache
from typing import Any

import numpy as np
import torch

from agents import algorithms
from agents.algorithms.base import Learner, LearnerRequest
from agents.configuration import AgentSettings, DeployChecks, network_of
from agents.environment.actions import CHOICE, STEPS, TARGET
from agents.environment.batch_env import BatchEnv
from agents.environment.env_config import EnvConfig
from agents.environment.episodes import CHRONOLOGICAL
from agents.environment.market import Market
from agents.environment.own_state import OwnSpec
from agents.environment.rewards import RewardSettings
from agents.networks.spec import HeadSpec, NetworkSpec
from agents.policies.features import CATALOGUE, FeatureSpec
from agents.policies.normaliser import Normaliser
from agents.policies.outputs import action_of, choose
from agents.policies.policy import ServedPolicy
from agents.proof_markets.markets import PROOF_MARKETS, Path, ProofMarket
from agents.proof_markets.optimum import Optimum, solve
from agents.training_pages.training_settings import TrainingSettings
from core.simulation import kernel
from core.simulation.rules import MarketRules

N_BARS = 100_000  # of the path that is learned on: enough that its noise cannot be learned by heart
N_STRETCHES, STRETCH = 100, 400  # of the path that is judged on, and bars of each
EPISODE_LENGTH = 250  # bars of a training episode
START_CASH = 50_000.0
# The optimum only ever wants nothing or everything, so two rules change nothing for it and help a continuous policy to
# say so: changes of position below the band are left out, or it would pay for trembling; and 0.8 already means
# everything (leverage allows no more), as the noise that SAC must keep holds its targets away from the end.
NO_TRADE_BAND, MAX_WEIGHT = 0.1, 1.25
BUY_ALL, SELL_ALL = 4, 8  # of the nine steps
LEARNING, JUDGING = 1, 2  # apart, so that no path is both learned and judged on

# For all markets alike; all else is as each algorithm comes. gamma: twenty bars ahead, longer than most positions are
# held. A DQN's choice flips with the smallest error of its values where being in or out is worth nearly the same: hence
# its large batches and small steps.
PARAMETERS: dict[str, dict[str, Any]] = {
    "ppo": {"gamma": 0.95},
    "sac": {"gamma": 0.95},
    "dqn": {"gamma": 0.95, "learning_rate": 5e-4, "batch_size": 512},
}
N_STEPS = {"ppo": 200_000, "sac": 60_000, "dqn": 80_000}  # of the environment; half a minute of one core at most
HIDDEN = (64, 64)


@dataclass(frozen=True)
class Proof:
    """How a learning stands."""

    share: float  # of the optimum's mean net return per bar, 1 is as good as can be
    seconds: float  # of learning, without the judging
    cpu_seconds: float
    steps: int  # of the environment, all copies together


@dataclass(frozen=True)
class Played:
    """What playing a path earned."""

    net_returns: np.ndarray  # (T,) per bar, after costs, all stretches one after the other

    @property
    def mean(self) -> float:
        """Net return per bar."""
        return float(self.net_returns.mean())

    @property
    def error(self) -> float:
        """Standard error of the mean, bars taken as independent."""
        return float(self.net_returns.std(ddof=1) / np.sqrt(len(self.net_returns)))


def market_of(path: Path) -> Market:
    """The path as environments play it: every bar opens where the one before closed."""
    n_bars = len(path.close)
    opens = np.concatenate([path.close[:1], path.close[:-1]])
    return Market(path.features, opens, path.close, np.zeros(n_bars), np.zeros((n_bars, 3)))


def rules_of(market: ProofMarket) -> MarketRules:
    """Proportional costs and nothing else; prices and quantities are as good as unrounded."""
    return MarketRules(
        half_spread_bps=market.cost * 1e4, tick_size=0.0, lot=1e-9, schedule="none", leverage=1.0,
        max_weight=MAX_WEIGHT, no_trade_band=NO_TRADE_BAND,
    )  # fmt: skip


def make_learner(
    algorithm: str,
    market: ProofMarket,
    seed: int,
    n_steps: int,
    parameters: dict[str, Any] | None = None,
    network: dict[str, Any] | None = None,
    backend: str = "cpu",
) -> Learner:
    """A learner on a path of its own. parameters: None for PARAMETERS; network: as in settings, None for an MLP."""
    path = market.draw(N_BARS, np.random.default_rng([seed, LEARNING]))
    settings = settings_of(algorithm, market, path.features.shape[1], network)
    config = EnvConfig(
        action=settings.actions, rules=settings.rules, reward=settings.reward, start_cash=START_CASH,
        episode_length=EPISODE_LENGTH, own=settings.own_state, window=settings.network.window,
    )  # fmt: skip
    request = LearnerRequest(
        markets=(market_of(path),), config=config, network=settings.network, settings=settings,
        parameters=PARAMETERS[algorithm] if parameters is None else parameters, seed=seed, n_steps=n_steps,
        build=_builder(settings), backend=backend,
    )  # fmt: skip
    return algorithms.get(algorithm).make(request)


def settings_of(
    algorithm: str, market: ProofMarket, n_features: int, network: dict[str, Any] | None = None
) -> AgentSettings:
    """An agent that sees the market's features and its own weight. Its features have names of the catalogue's."""
    return AgentSettings(
        algorithm=algorithm,
        features=FeatureSpec(tuple(CATALOGUE)[:n_features]),
        rules=rules_of(market),
        reward=RewardSettings(),
        training=TrainingSettings(validation=date(2000, 1, 1), unseen=date(2001, 1, 1)),
        deploy_checks=DeployChecks(),
        own_state=OwnSpec(("weight",)),
        network=network_of(algorithm, {"hidden": list(HIDDEN)} if network is None else network),
    )


def _builder(settings: AgentSettings) -> Callable[..., ServedPolicy]:
    n = len(settings.features)
    as_they_are = Normaliser(np.zeros(n), np.ones(n))

    def build(*, network: NetworkSpec, head: HeadSpec, weights: dict[str, Any]) -> ServedPolicy:
        return ServedPolicy.from_parts(
            algorithm=settings.algorithm, actions=settings.actions, spec=settings.features, normaliser=as_they_are,
            rules=settings.rules, network=network, head=head, weights=weights, own=settings.own_state,
        )  # fmt: skip

    return build


def judging_path(market: ProofMarket, seed: int) -> Path:
    """A fresh path of N_STRETCHES * STRETCH decisions."""
    return market.draw(N_STRETCHES * STRETCH + 1, np.random.default_rng([seed, JUDGING]))


def play(market: ProofMarket, path: Path, action: str, decide: Callable[[np.ndarray, int], np.ndarray]) -> Played:
    """Play the path in stretches side by side. decide(observations (n, inputs), step) -> actions (n,)."""
    config = EnvConfig(
        action=action, rules=rules_of(market), start_cash=START_CASH, episode_length=STRETCH,
        episodes=CHRONOLOGICAL, own=OwnSpec(("weight",)),
    )  # fmt: skip
    env = BatchEnv(market_of(path), config, N_STRETCHES, n_threads=1, autoreset=False)
    observations, found = env.reset(), np.empty((STRETCH, N_STRETCHES))
    for step in range(STRETCH):
        observations, *_ = env.step(decide(observations, step))
        found[step] = env.out[:, kernel.OUT_NET_RETURN]
    return Played(found.T.reshape(-1))


def decided(policy: ServedPolicy, observations: np.ndarray) -> np.ndarray:
    """What the policy decides without any draw, (n,), for many observations (n, inputs) at once."""
    with torch.inference_mode():
        scores = policy.layers(torch.from_numpy(observations)).double().numpy()
    return action_of(policy.head, scores[:, 0]) if policy.head.is_continuous else choose(scores)


def play_policy(market: ProofMarket, path: Path, policy: ServedPolicy) -> Played:
    """A learned policy's first choice at every bar."""
    return play(market, path, policy.actions, lambda observations, _: decided(policy, observations))


def play_optimum(market: ProofMarket, path: Path, optimum: Optimum, action: str) -> Played:
    """The best possible policy with an algorithm's kind of action."""
    stretches = path.state[:-1].reshape(N_STRETCHES, STRETCH)
    wanted = np.array([optimum.play(states) for states in stretches])
    everything, nothing = {TARGET: (1.0, 0.0), CHOICE: (kernel.BUY, kernel.SELL), STEPS: (BUY_ALL, SELL_ALL)}[action]
    actions = np.where(wanted > 0, everything, nothing)
    return play(market, path, action, lambda _, step: actions[:, step])


@cache
def solved(name: str) -> tuple[ProofMarket, Optimum]:
    """A market of PROOF_MARKETS and its optimum."""
    market = PROOF_MARKETS[name]()
    return market, solve(market)


def prove(algorithm: str, market_name: str, seed: int, n_steps: int | None = None) -> Proof:
    """Learn for n_steps (None: N_STEPS) and judge the final policy."""
    *_, last = looks(algorithm, market_name, seed, n_steps)
    return last


def looks(
    algorithm: str,
    market_name: str,
    seed: int,
    n_steps: int | None = None,
    n_looks: int = 1,
    parameters: dict[str, Any] | None = None,
) -> Iterator[Proof]:
    """The same, judged n_looks times, evenly spread over the learning; judging costs the learning no time."""
    market, optimum = solved(market_name)
    n_steps = N_STEPS[algorithm] if n_steps is None else n_steps
    path, action = judging_path(market, seed), algorithms.get(algorithm).actions[0]
    best = play_optimum(market, path, optimum, action).mean
    seconds = cpu_seconds = 0.0
    started, cpu = time.perf_counter(), time.process_time()
    learner = make_learner(algorithm, market, seed, n_steps, parameters)
    try:
        for look in range(1, n_looks + 1):
            while learner.steps_done < n_steps * look // n_looks:
                learner.advance()
            policy = learner.policy()
            seconds += time.perf_counter() - started
            cpu_seconds += time.process_time() - cpu
            share = play_policy(market, path, policy).mean / best
            yield Proof(share, seconds, cpu_seconds, learner.steps_done)
            started, cpu = time.perf_counter(), time.process_time()
    finally:
        learner.close()
