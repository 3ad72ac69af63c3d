import json
from dataclasses import replace

import numpy as np
import pytest

from agents.environment.env import EnvConfig, Market, TradingEnv
from agents.environment.own_state import own_state
from agents.policies.backtest import jsonable, run_backtest
from agents.tests import worlds
from core.simulation import kernel
from marketdata.series import BarSeries


def _run(policy, data, **kwargs):
    return run_backtest(policy, data.market, data.bars.time, data.unseen.first, data.unseen.last, **kwargs)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_the_kernel_run_of_the_same_targets_gives_the_same_fills_and_equity(algorithm):
    settings = worlds.settings(algorithm)
    data = worlds.dataset(settings)
    policy = worlds.policy(algorithm, seed=5, gain=3.0, rules=settings.rules)
    result = _run(policy, data, start_cash=20_000.0)
    track, part = result.track, slice(data.unseen.first, data.unseen.last + 1)
    targets = [
        policy.target_quantity(action, quantity, equity, close) if np.isfinite(action) else np.nan
        for action, quantity, equity, close in zip(
            track.actions, track.quantity, track.equity, data.bars.close[part], strict=True
        )
    ]
    equity, quantity, fills, _ = kernel.run_targets(
        data.market.bars[part], 20_000.0, np.array(targets), policy.rules.as_array()
    )
    assert len(fills) > 3
    np.testing.assert_array_equal(track.equity, equity)
    np.testing.assert_array_equal(track.quantity, quantity[:, 0])
    columns = [kernel.RUN_BAR, kernel.RUN_TRADED, kernel.RUN_PRICE, kernel.RUN_COMMISSION]
    np.testing.assert_array_equal(track.fills, fills[:, columns])


def test_buying_and_holding_buys_at_the_first_open_after_the_first_decision():
    settings = worlds.settings()
    data = worlds.dataset(settings)
    result = _run(worlds.policy(rules=settings.rules), data, start_cash=10_000.0)
    row = data.unseen.first
    assert len(result.baseline.fills) == 1
    bar, quantity, price, paid = result.baseline.fills[0]
    assert bar == 1
    assert price == pytest.approx(np.ceil(data.bars.open[row + 1] * 1.0002 * 100 - 1e-9) / 100)
    assert quantity <= 10_000 / data.bars.close[row]
    last = 10_000 - quantity * price - paid + quantity * data.bars.close[-1]
    assert result.baseline.equity[-1] == pytest.approx(last)


def test_changing_bars_after_t_changes_no_feature_action_or_fill_up_to_t():
    """No look-ahead from bars to fills: new prices after t, features computed anew, same policy."""
    settings, t = worlds.settings(), 620
    bars, policy = worlds.walk(), worlds.policy(seed=3, gain=5.0)
    values = {name: np.array(getattr(bars, name)) for name in ("open", "high", "low", "close", "volume")}
    for name in ("open", "high", "low", "close"):
        values[name][t + 1 :] *= np.linspace(1.5, 4.0, len(bars) - t - 1)
    results = []
    for series in (bars, BarSeries(bars.time, **values)):
        data = worlds.dataset(settings, series)
        results.append((data, _run(policy, data)))
    (one, first), (two, second) = results
    n = t - one.unseen.first + 1  # bars of the period up to t
    np.testing.assert_array_equal(one.market.features[: t + 1], two.market.features[: t + 1])
    np.testing.assert_array_equal(one.normaliser.centre, two.normaliser.centre)
    np.testing.assert_array_equal(first.track.actions[:n], second.track.actions[:n])
    np.testing.assert_array_equal(first.track.equity[:n], second.track.equity[:n])
    before = [track.fills[track.fills[:, 0] < n] for track in (first.track, second.track)]
    np.testing.assert_array_equal(*before)
    assert len(before[0]) > 3
    assert not np.array_equal(first.track.equity, second.track.equity)


def test_metrics_count_trades_costs_and_turnover():
    settings = worlds.settings()
    data = worlds.dataset(settings)
    result = _run(worlds.policy(seed=5, gain=3.0, rules=settings.rules), data)
    found, fills = result.metrics, result.track.fills
    assert found["n_trades"] == len(result.trades)
    assert found["commission"] == pytest.approx(fills[:, 3].sum())
    assert found["n_turns"] == pytest.approx(np.abs(fills[:, 1] * fills[:, 2]).sum() / result.track.equity.mean() / 2)
    assert found["final_equity"] == pytest.approx(50_000 * (1 + found["total_return"]))
    curve = result.curve()
    assert {len(curve[name]) for name in ("time", "equity", "baseline", "exposure")} == {len(data.unseen)}
    json.dumps([jsonable(found), jsonable(result.baseline_metrics), curve], allow_nan=False)


def test_a_policy_that_never_trades_has_flat_equity():
    settings = worlds.settings()
    policy = worlds.policy(rules=settings.rules)
    weights = {name: tensor * 0 if name.startswith("head") else tensor for name, tensor in policy.weights().items()}
    policy = type(policy).from_weights(
        "ppo", policy.spec, policy.normaliser, policy.rules, policy.network.hidden, "tanh", weights
    )
    result = _run(policy, worlds.dataset(settings))  # equal logits: the first, hold
    assert len(result.track.fills) == 0
    assert (result.track.equity == 50_000.0).all()
    assert result.metrics["sharpe_ratio"] == 0.0


def test_the_live_observation_is_bit_for_bit_the_environments():
    settings = worlds.settings("sac")
    data = worlds.dataset(settings)
    policy = worlds.policy("sac", seed=5, gain=3.0, rules=settings.rules)
    policy = type(policy).from_weights(
        "sac", data.spec, data.normaliser, settings.rules, policy.network.hidden, "relu", policy.weights()
    )
    env = TradingEnv(data.market, EnvConfig(action="target", rules=settings.rules, first=data.unseen.first))
    observation, info = env.reset()
    peak = info_equity = 50_000.0
    for _ in range(len(data.unseen) - 1):
        row, position = info["row"], env.positions[0]
        own = own_state(
            position[kernel.QUANTITY], position[kernel.AVERAGE_PRICE], data.bars.close[row], info_equity, peak,
            position[kernel.AGE], settings.rules,
        )  # fmt: skip
        np.testing.assert_array_equal(policy.observe(data.raw[row], own), observation)
        observation, _, _, _, info = env.step([policy.decide(observation).action])
        info_equity, peak = info["equity"], max(peak, info["equity"])


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_protective_closes_and_financing_are_told(algorithm):
    settings = worlds.settings(algorithm)
    rules = replace(
        settings.rules, stop_loss=0.02, take_profit=0.03, trail_atr=1.5, short_selling=True, interest_rate=0.05,
        borrow_rate=0.02,
    )  # fmt: skip
    data = worlds.dataset(settings)
    policy = worlds.policy(algorithm, seed=5, gain=3.0, rules=rules)
    result = _run(policy, data, start_cash=20_000.0)
    track, part = result.track, slice(data.unseen.first, data.unseen.last + 1)
    targets = [
        policy.target_quantity(action, quantity, equity, close) if np.isfinite(action) else np.nan
        for action, quantity, equity, close in zip(
            track.actions, track.quantity, track.equity, data.bars.close[part], strict=True
        )
    ]
    equity, _, fills, out = kernel.run_targets(data.market.bars[part], 20_000.0, np.array(targets), rules.as_array())
    np.testing.assert_array_equal(track.equity, equity)
    np.testing.assert_array_equal(track.reasons, fills[:, kernel.RUN_REASON])
    counts = track.n_fills_by_reason()
    assert counts["decision"] > 3 and counts["stop"] + counts["trail"] + counts["target"] > 3
    assert sum(counts.values()) == len(track.fills) == result.metrics["n_fills"]
    assert result.metrics["n_protective"] == counts["stop"] + counts["trail"] + counts["target"]
    assert track.interest == pytest.approx(out[:, kernel.OUT_INTEREST].sum())
    assert track.borrow == pytest.approx(out[:, kernel.OUT_BORROW].sum())
    assert track.interest != 0
    assert track.borrow > 0 or (track.quantity >= 0).all()
    assert result.metrics["slippage"] == pytest.approx(out[:, kernel.OUT_SLIPPAGE].sum())
    for name, index in kernel.REWARD_COMPONENTS.items():
        if name != "consistency":  # which the environment adds
            assert track.reward_components[name] == pytest.approx(out[:, index].sum(), abs=1e-12), name
    changes = np.abs(np.diff(track.actions[:-1])).sum() if algorithm == "sac" else 0.0
    assert track.reward_components["consistency"] == pytest.approx(-changes)
    assert set(result.baseline.reasons) == {kernel.REASON_DECISION}, "a holder has no stop"


def test_several_instruments_are_refused():
    settings = worlds.settings()
    data = worlds.dataset(settings)
    both = Market.several([data.market, data.market])
    with pytest.raises(ValueError, match="one instrument"):
        run_backtest(worlds.policy(rules=settings.rules), both, data.bars.time, 500, 600)
