"""A whole learning of the pair: data joined, a lesson learned, and the policy it serves judged on fresh bars. Pure.

Unlike agents/proof_markets/lesson, which takes the learners by themselves, everything here is what a training uses:
`several`, `Lesson`, `learn`, and `run_backtest` for the policy it hands back.
"""

import time
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from agents.environment.market import Market
from agents.policies.backtest import run_backtest
from agents.policies.features import CATALOGUE, DAY, FeatureSpec, Inputs
from agents.policies.normalisers import NormaliserChoice, fit
from agents.policies.policy import ServedPolicy
from agents.proof_markets.lesson import JUDGING, LEARNING, START_CASH, market_of, settings_of
from agents.proof_markets.markets import Path
from agents.proof_markets.pair import Pair, market_of_pair, play_optimum, proof_pair
from agents.runs.dataset import Dataset
from agents.runs.joint_dataset import several
from agents.runs.learning import Lesson, learn
from agents.studies.folds import Rows
from marketdata.series import BarSeries

N_TRAINING, N_VALIDATION, N_UNSEEN, N_FRESH = 100_000, 4_000, 20, 20_001  # bars
N_EVALUATIONS = 4
PARAMETERS: dict[str, dict[str, Any]] = {"ppo": {"gamma": 0.95}, "sac": {"gamma": 0.95}}
N_STEPS = {"ppo": 400_000, "sac": 60_000}


@dataclass(frozen=True)
class PairProof:
    """How a learning of the pair stands."""

    served: float  # mean net return per bar of the served policy on fresh bars
    best: float  # the same of the optimum
    seconds: float  # of learning, its evaluations among them

    @property
    def share(self) -> float:
        """Of the optimum's mean, 1 is as good as can be."""
        return self.served / self.best


def prove_pair(algorithm: str, seed: int, n_steps: int | None = None) -> PairProof:
    """Learn for n_steps (None: N_STEPS) and judge the policy that comes out."""
    pair, optimum = proof_pair()
    lesson = lesson_of(algorithm, pair, seed, N_STEPS[algorithm] if n_steps is None else n_steps)
    started = time.perf_counter()
    policy = learn(lesson).policy
    seconds = time.perf_counter() - started
    policy = ServedPolicy.from_bytes(policy.to_bytes())
    fresh = pair.draw(N_FRESH, np.random.default_rng([seed, JUDGING]))
    best = play_optimum(pair, fresh, optimum, policy.actions).mean()
    return PairProof(float(served_returns(policy, fresh).mean()), float(best), seconds)


def lesson_of(algorithm: str, pair: Pair, seed: int, n_steps: int, n_training: int = N_TRAINING) -> Lesson:
    """A lesson on a path of its own. Both instruments have the same rules."""
    paths = pair.draw(n_training + N_VALIDATION + N_UNSEEN, np.random.default_rng([seed, LEARNING]))
    data = several([dataset_of(path) for path in paths])
    settings = settings_of(algorithm, pair.first, len(data.spec))
    training = replace(settings.training, n_steps=n_steps, n_evaluations=N_EVALUATIONS, min_trades=0)
    return Lesson(
        dataset=data, settings=replace(settings, training=training), parameters=PARAMETERS[algorithm], seed=seed,
        training=data.training, validation=data.validation, start_cash=START_CASH, n_steps=n_steps,
    )  # fmt: skip


def dataset_of(path: Path) -> Dataset:
    """One instrument's path, cut, scaled by its training rows. Its features have names of the catalogue's."""
    market, n_bars = market_of(path), len(path.close)
    bars, spec = _bars(market), FeatureSpec(tuple(CATALOGUE)[: path.features.shape[1]])
    first_unseen = n_bars - N_UNSEEN
    training = Rows(0, first_unseen - N_VALIDATION - 1)
    choice = NormaliserChoice()
    return Dataset(
        bars=bars, spec=spec, raw=path.features,
        normaliser=fit(choice, path.features, bars.time, training.first, training.last), market=market,
        training=training, validation=Rows(training.last + 1, first_unseen - 1), unseen=Rows(first_unseen, n_bars - 1),
        fingerprint=bars.fingerprint(), inputs=Inputs(bars, DAY), choice=choice,
    )  # fmt: skip


def served_returns(policy: ServedPolicy, paths: tuple[Path, Path]) -> np.ndarray:
    """Net return of every bar but the first, (T - 1,), of the policy in a backtest of both."""
    raw = np.concatenate([path.features for path in paths], axis=1)
    seconds = np.arange(len(raw), dtype=np.int64) * DAY
    scaled = np.split(policy.normaliser.apply_series(raw, seconds), len(paths), axis=1)
    first, second = (replace(path, features=part) for path, part in zip(paths, scaled, strict=True))
    result = run_backtest(policy, market_of_pair((first, second)), seconds, 0, len(raw) - 1, start_cash=START_CASH)
    equity = result.track.equity
    return np.asarray(equity[1:] / equity[:-1] - 1.0)


def _bars(market: Market) -> BarSeries:
    seconds = np.arange(len(market), dtype=np.int64) * DAY
    return BarSeries(seconds, market.open, market.high, market.low, market.close, market.volume)
