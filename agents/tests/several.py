"""Markets and policies of several instruments in one account, for the tests of this room."""

from dataclasses import replace
from typing import Any

import numpy as np

from agents.algorithms import registry
from agents.algorithms.base import LearnerRequest
from agents.environment.env_config import EnvConfig
from agents.environment.market import Market
from agents.environment.own_state import OwnSpec
from agents.networks.spec import HeadSpec, NetworkSpec
from agents.policies.features import FeatureSpec
from agents.policies.normaliser import Normaliser
from agents.policies.policy import ServedPolicy
from agents.tests import worlds
from agents.tests.markets import stormy
from agents.tests.networks import ACTIONS, random_weights
from core.simulation import kernel
from core.simulation.rules import MarketRules

FEATURES = ("rsi_14", "macd", "return_1")  # names only: the values are random
OWN = OwnSpec(("weight", "open_return", "cash_share", "wanted_1"))
# Different money per point, lots and costs, so that no two instruments can be mixed up unnoticed.
RULES = (
    MarketRules(half_spread_bps=2, schedule="ibkr_tiered", leverage=1.5, interest_rate=0.03, short_selling=True),
    MarketRules(half_spread_bps=5, schedule="bps", commission_bps=3, multiplier=2.0, lot=0.5, no_trade_band=0.02),
    MarketRules(half_spread_bps=1, tick_size=0.0, short_selling=True, max_weight=0.7, stop_loss=0.05),
)
PLAIN = NetworkSpec("mlp", (8,), "relu", 2)


def market(n_instruments: int = 2, n_bars: int = 260) -> Market:
    """Storms with splits and dividends at the same moments."""
    parts = [stormy(n_bars, len(FEATURES), seed) for seed in range(1, n_instruments + 1)]
    for part in parts[1:]:
        part.bars[:, 0, kernel.BAR_DAY] = parts[0].day
    return Market.several(parts)


def as_they_are(n_instruments: int) -> Normaliser:
    """Features that are scaled already."""
    n = n_instruments * len(FEATURES)
    return Normaliser(np.zeros(n), np.ones(n))


def policy(
    head: HeadSpec, network: NetworkSpec | None = None, *, own: OwnSpec = OWN, seed: int = 0, gain: float = 3.0
) -> ServedPolicy:
    """A policy with random weights for `market` of as many instruments as the head has."""
    n, network = head.n_instruments, network or NetworkSpec(hidden=(16, 16))
    weights = random_weights(network, head, n * len(FEATURES), n * len(own), seed, gain)
    return ServedPolicy.from_parts(
        algorithm="test", actions=ACTIONS[head.n_actions], spec=FeatureSpec(FEATURES), normaliser=as_they_are(n),
        rules=RULES[0], other_rules=RULES[1:n], network=network, head=head, weights=weights, own=own,
    )  # fmt: skip


def learner(name: str, action: str, n_instruments: int, *, network: NetworkSpec | None = None, **more: Any) -> Any:
    """A learner on `market` whose policies are real ones."""
    algorithm = registry.get(name)
    if network is None:
        usual = algorithm.networks[0]
        network = NetworkSpec("recurrent", (8,), "relu", 1, {"size": 4}) if usual == "recurrent" else PLAIN

    def build(*, network: NetworkSpec, head: HeadSpec, weights: dict[str, Any]) -> ServedPolicy:
        return ServedPolicy.from_parts(
            algorithm=name, actions=action, spec=FeatureSpec(FEATURES), normaliser=as_they_are(n_instruments),
            rules=RULES[0], other_rules=RULES[1:n_instruments], network=network, head=head, weights=weights, own=OWN,
        )  # fmt: skip

    request = LearnerRequest(
        markets=(market(n_instruments),),
        config=EnvConfig(
            action=action, rules=RULES[:n_instruments], episode_length=50, own=OWN, window=network.window
        ),
        network=network,
        settings=replace(
            worlds.settings(), algorithm=name, actions=action, network=network, features=FeatureSpec(FEATURES),
            own_state=OWN,
        ),
        parameters={"n_copies": 8, "n_epochs": 1} if algorithm.on_policy else {}, seed=1, n_steps=1_024,
        build=build, **more,
    )  # fmt: skip
    return algorithm.make(request)
