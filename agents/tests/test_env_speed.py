"""What `manage.py bench env` measures: that costs and stops are really at work, and what it prints with and without
the peer. How fast it is, is not tested: machines differ."""

import json

import numpy as np
import pytest

from agents import benches
from agents.benchmarks import env_speed, peer_env
from agents.environment.batch_env import BatchEnv
from agents.environment.env_config import EnvConfig
from core.simulation import kernel

SPEEDS = {"copies_1": 50_000.0, "copies_64": 3e6, "copies_1024": 1e7, "one_thread": 6e6}


def test_the_copies_pay_and_are_stopped_in_every_way():
    env = BatchEnv(env_speed.market(), EnvConfig(rules=env_speed.RULES, episode_length=250), 64, seed=1)
    env.reset()
    random, seen, paid = np.random.default_rng(2), set[float](), np.zeros(kernel.N_OUT)
    for _ in range(300):
        env.step(np.where(random.random(64) < 0.05, random.integers(0, 3, 64), 0))
        fills = env.fills.reshape(-1, kernel.N_FILL)
        seen |= set(fills[fills[:, kernel.FILL_TRADED] != 0, kernel.FILL_REASON])
        paid += np.abs(env.out).sum(axis=0)
    assert seen >= {
        kernel.REASON_DECISION, kernel.REASON_STOP, kernel.REASON_TRAIL, kernel.REASON_TARGET, kernel.REASON_FORCE
    }  # fmt: skip
    for place in (kernel.OUT_COMMISSION, kernel.OUT_SLIPPAGE, kernel.OUT_INTEREST, kernel.OUT_BORROW):
        assert paid[place] > 0


def test_everything_that_is_there_is_measured():
    found = env_speed.measure(n_rounds=1, seconds=0.01)
    assert set(found) - {"peer"} == set(SPEEDS)
    assert all(value > 0 for value in found.values())
    assert ("peer" in found) == (peer_env.peer_version() is not None)


def test_figures_beside_the_peer(monkeypatch):
    monkeypatch.setattr(benches, "_speeds", lambda: SPEEDS | {"peer": 50_000.0})
    monkeypatch.setattr(benches, "peer_version", lambda: "0.3.5")
    rows = [json.loads(found.to_json()) for found in benches.env()]
    assert [(row["bench"], row["ratio"]) for row in rows] == [
        ("env: 1 copy", 1.0), ("env: 64 copies", 60.0), ("env: 1,024 copies", 200.0)
    ]  # fmt: skip
    assert rows[2]["value"] == 1e7 and rows[2]["one_thread"] == 6e6
    assert rows[0]["baseline_is"] == "gym-trading-env 0.3.5, one environment as it is"


def test_without_the_peer_our_figures_stand_alone(monkeypatch):
    monkeypatch.setattr(benches, "_speeds", lambda: SPEEDS)
    monkeypatch.setattr(benches, "peer_version", lambda: None)
    row = json.loads(benches.env()[-1].to_json())
    assert (row["value"], row["baseline"], row["ratio"]) == (1e7, None, None)
    assert "pip install --no-deps gym-trading-env" in row["baseline_is"]


@pytest.mark.skipif(peer_env.peer_version() is None, reason=peer_env.HOW_TO_GET_IT)
def test_the_peer_charges_and_importing_it_leaves_warnings_alone():
    import warnings

    before = list(warnings.filters)
    close = np.array([100.0, 100.0, 110.0, 110.0])
    env = peer_env.peer_env(
        np.zeros((4, 2)), close, fee=0.001, borrow_rate=0.0, episode_length="max", start_cash=1000.0
    )
    assert warnings.filters == before
    env.reset(seed=1)
    *_, info = env.step(1)
    assert 998.0 < info["portfolio_valuation"] <= 1000.0
