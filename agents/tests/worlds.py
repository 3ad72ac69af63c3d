"""Small made-up markets and policies that the tests of this room share."""

from datetime import date
from typing import Any

import numpy as np
import torch

from agents.configuration import AgentSettings, parse
from agents.environment import own_state
from agents.environment.env import Market
from agents.environment.own_state import OwnSpec
from agents.policies.features import FeatureSpec
from agents.policies.normaliser import Normaliser
from agents.policies.policy import ServedPolicy
from agents.runs.dataset import Dataset, prepare
from core.simulation.rules import MarketRules
from marketdata.series import BarSeries

DAY = 86_400
FIRST_DAY = 15_706  # 2013-01-01, in days since 1970
FEATURES = ("rsi_14", "macd", "ema_10", "return_1", "return_5", "volatility_20")


def walk(n_bars: int = 700, seed: int = 0) -> BarSeries:
    """Daily bars of a random walk around 100 with a little momentum."""
    rng = np.random.default_rng(seed)
    noise = rng.normal(0.0005, 0.015, n_bars)
    close = 100 * np.exp(np.cumsum(noise + 0.3 * np.concatenate([[0], noise[:-1]])))
    open_ = np.concatenate([[100.0], close[:-1]]) * np.exp(rng.normal(0, 0.003, n_bars))
    high, low = np.maximum(open_, close) * 1.004, np.minimum(open_, close) * 0.996
    time = (FIRST_DAY + np.arange(n_bars)) * DAY
    return BarSeries(time, open_, high, low, close, np.full(n_bars, 1e6))


def day_of(row: int) -> date:
    """The date of a row of `walk`."""
    return date.fromtimestamp((FIRST_DAY + row) * DAY + DAY / 2)


def configuration(algorithm: str = "ppo", **training: Any) -> dict[str, Any]:
    """A configuration for `walk`: training to row 399, validation to 549, unseen after."""
    return {
        "features": list(FEATURES),
        "rules": {"half_spread_bps": 2.0, "no_trade_band": 0.05 if algorithm == "sac" else 0.0},
        "reward": {"drawdown": 0.1} if algorithm == "ppo" else {"kind": "risk_adjusted", "volatility": 1.0},
        "training": {
            "periods": {"validation": day_of(400).isoformat(), "unseen": day_of(550).isoformat()},
            "n_trials": 2, "n_steps": 4096, "n_evaluations": 2, "episode_length": 100, "min_trades": 0, "vix": "",
            "search": {"width": 16, "drop": "nothing"}, "n_folds": 1, "n_seeds": 1, "n_final_seeds": 1, "n_workers": 1,
        }
        | training,
        "deploy_checks": {"largest_drawdown": 0.99, "min_trades": 0},
    }  # fmt: skip


def settings(algorithm: str = "ppo", **training: Any) -> AgentSettings:
    """The same, parsed."""
    return parse(algorithm, configuration(algorithm, **training))


def dataset(of: AgentSettings, bars: BarSeries | None = None) -> Dataset:
    """`walk` cut as the settings say."""
    return prepare(
        bars or walk(), None, of.features, of.training.validation, of.training.unseen, normaliser=of.normaliser
    )


def market(n_bars: int = 300, n_features: int = 5, seed: int = 0) -> Market:
    """Random features beside a random walk."""
    bars = walk(n_bars, seed)
    features = np.random.default_rng(seed + 1).normal(size=(n_bars, n_features)).clip(-5, 5)
    return Market(features, bars.open, bars.close, bars.volume, np.zeros((n_bars, 3)))


def policy(
    algorithm: str = "ppo",
    seed: int = 0,
    names: tuple[str, ...] = FEATURES,
    rules: MarketRules | None = None,
    gain: float = 1.0,
    own: OwnSpec = own_state.DEFAULT,
) -> ServedPolicy:
    """A policy with random weights; gain: how strongly the head answers."""
    generator = torch.Generator().manual_seed(seed)
    n_inputs, width = len(names) + len(own), 16
    shapes = {"body.0": (width, n_inputs), "body.1": (width, width), "head": (3 if algorithm == "ppo" else 1, width)}
    if algorithm == "sac":
        shapes["deviation_head"] = (1, width)
    weights = {}
    for name, shape in shapes.items():
        size = gain if name == "head" else 1.0
        weights[f"{name}.weight"] = torch.randn(shape, generator=generator) * size / shape[1] ** 0.5
        weights[f"{name}.bias"] = torch.randn(shape[0], generator=generator) * 0.1
    spec = FeatureSpec(names)
    scale = Normaliser.fit(spec.compute(walk())[spec.warm_up :])
    activation = "tanh" if algorithm == "ppo" else "relu"
    return ServedPolicy.from_weights(
        algorithm, spec, scale, rules or MarketRules(no_trade_band=0.05), (width, width), activation, weights, own
    )
