"""Every algorithm and every network the desk offers learns a market whose best policy is known, and is served."""

from importlib.util import find_spec
from typing import Any

import numpy as np
import pytest

from agents import algorithms
from agents.environment.actions import TARGET
from agents.policies.backtest import run_backtest
from agents.proof_markets.lesson import judging_path, make_learner, market_of, play_optimum, solved

pytestmark = pytest.mark.slow
N_JUDGED = 3_000
# Steps that suffice with room to spare; the bar is modest on purpose, test_learning_proofs has the high one.
WANTED_SHARE = 0.7
CASES: dict[str, tuple[str, int, dict[str, Any], dict[str, Any] | None]] = {
    "a2c": ("a2c", 300_000, {"gamma": 0.95}, None),
    "masked_ppo": ("masked_ppo", 60_000, {"gamma": 0.95}, None),
    "recurrent_ppo": ("recurrent_ppo", 60_000, {"gamma": 0.95}, {"kind": "recurrent", "hidden": [32]}),
    "td3": ("td3", 60_000, {"gamma": 0.95}, None),
    "rainbow_dqn": ("rainbow_dqn", 60_000, {"gamma": 0.95, "learning_rate": 5e-4}, None),
    "qrdqn": ("qrdqn", 60_000, {"gamma": 0.95, "learning_rate": 5e-4}, None),
    "ppo with lstm": ("ppo", 80_000, {"gamma": 0.95}, {"kind": "lstm", "hidden": [32], "window": 8}),
    "ppo with tcn": ("ppo", 80_000, {"gamma": 0.95}, {"kind": "tcn", "hidden": [32], "window": 8}),
    "ppo with ane": ("ppo", 80_000, {"gamma": 0.95}, {"kind": "ane", "hidden": [32], "window": 8}),
}
ON_JAX = {"ppo": 150_000, "sac": 60_000, "dqn": 80_000}


def share(
    algorithm: str, n_steps: int, parameters: dict[str, Any], network: dict[str, Any] | None, backend: str
) -> float:
    """Mean net return of the served policy in a backtest on fresh bars, as a share of the optimum's."""
    market, optimum = solved("sine")
    learner = make_learner(algorithm, market, 1, n_steps, parameters, network, backend)
    try:
        while learner.steps_done < n_steps:
            learner.advance()
        policy = learner.policy()
    finally:
        learner.close()
    path = judging_path(market, 1)
    played = run_backtest(policy, market_of(path), np.arange(len(path.close)) * 86_400, 0, N_JUDGED)
    earned = float(np.mean(played.track.equity[1:] / played.track.equity[:-1] - 1.0))
    return earned / play_optimum(market, path, optimum, TARGET).mean


@pytest.mark.parametrize("case", CASES)
def test_it_learns_the_sine(case: str) -> None:
    assert share(*CASES[case], "cpu") >= WANTED_SHARE


@pytest.mark.skipif(find_spec("sbx") is None, reason="JAX is an optional group: pip install '.[tpu]'")
@pytest.mark.parametrize("algorithm", ON_JAX)
def test_it_learns_the_sine_on_jax_too(algorithm: str) -> None:
    assert share(algorithm, ON_JAX[algorithm], {"gamma": 0.95}, None, "tpu") >= WANTED_SHARE


def test_every_algorithm_and_network_is_proven() -> None:
    proven = {name for name, *_ in CASES.values()} | {"ppo", "sac", "dqn"}  # these in test_learning_proofs
    assert proven == set(algorithms.names())
    kinds = {network["kind"] for *_, network in CASES.values() if network} | {"mlp"}
    assert kinds == {kind for one in algorithms.all_algorithms().values() for kind in one.networks}
