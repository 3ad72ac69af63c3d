"""Live components against the kernel's, on the same account."""

from decimal import Decimal
from types import SimpleNamespace

import numpy as np
import pytest

from agents.earnings import Moments, components_between
from agents.environment.env import EnvConfig, TradingEnv
from agents.tests.markets import FULL, random_actions, stormy
from core.simulation import kernel


def snapshot(env: TradingEnv) -> SimpleNamespace:
    """What the ledger would have stored at this close."""
    out, account = env.batch.out[0], env.account
    return SimpleNamespace(
        equity=Decimal(float(account[kernel.EQUITY])),
        drawdown=float(account[kernel.DRAWDOWN]),
        exposure=float(out[kernel.OUT_EXPOSURE]),
    )


@pytest.mark.parametrize("action", ["choice", "target"])
def test_every_component_is_the_kernels(action):
    config = EnvConfig(action=action, rules=FULL)
    env, table, moments = TradingEnv(stormy(seed=4), config), FULL.as_array(), Moments()
    env.reset()
    before, last = snapshot(env), None
    for actions in random_actions(config, 150, (1,), seed=4):
        *_, info = env.step(actions)
        after = snapshot(env)
        fills = [SimpleNamespace(commission=fill[3], slippage=fill[4]) for fill in info["fills"]]
        change = abs(actions[0] - last) if action == "target" and last is not None else 0.0
        found, moments = components_between(
            before, after, fills, moments, table, age_bars=env.positions[0, kernel.AGE], change=change
        )
        for name, value in found.items():
            assert value == pytest.approx(info["components"][name], rel=1e-6, abs=1e-11), name
        before, last = after, actions[0]
    assert moments.variance == pytest.approx(env.account[kernel.VARIANCE])
    assert moments.sharpe_a == pytest.approx(env.account[kernel.SHARPE_A])


def test_moments_come_back_from_what_is_stored():
    assert Moments.stored({}) == Moments()
    assert Moments.stored({"variance": 0.25, "net_return": 1.0, "sharpe_a": None}) == Moments(variance=0.25)
    # rate 0.5: A = 0 + 0.5 · -0.1, B = 0.5 · 0.01, D = 0.5 · 0.01
    rules = np.zeros(kernel.N_RULES)
    rules[kernel.RULE_SHARPE_RATE], rules[kernel.RULE_VOLATILITY_DECAY] = 0.5, 0.75
    found = Moments().after(-0.1, rules)
    assert (found.variance, found.sharpe_a) == (pytest.approx(0.0025), pytest.approx(-0.05))
    assert (found.sharpe_b, found.downside) == (pytest.approx(0.005), pytest.approx(0.005))
