"""The batch against the single environment, the kernel's own runs, and itself with other threads."""

from dataclasses import replace

import numpy as np
import pytest

from agents.environment.batch_env import COMPONENT_NAMES, BatchEnv
from agents.environment.env import EnvConfig, Market, TradingEnv
from agents.environment.own_state import ALL, OwnSpec
from agents.environment.randomise import RandomiseSettings
from agents.environment.rewards import RewardSettings, reward
from agents.tests.markets import FULL, random_actions, stormy
from core.simulation import kernel
from core.simulation.rules import MarketRules

EVERYTHING = RewardSettings(
    drawdown=0.3, volatility=0.2, cost=0.1, log_return=0.7, differential_sharpe=0.01, differential_downside=0.02,
    holding=0.001, consistency=0.05,
)  # fmt: skip
KINDS = ("choice", "steps", "target")


def config_of(action: str, **changes) -> EnvConfig:
    return EnvConfig(**{"action": action, "rules": FULL, "reward": EVERYTHING, "own": OwnSpec(ALL)} | changes)


@pytest.mark.parametrize("action", KINDS)
@pytest.mark.parametrize("window", [1, 7])
def test_every_copy_equals_a_single_environment_step_by_step(action, window):
    market, config = stormy(), config_of(action, first=5, episode_length=90, episodes="chronological", window=window)
    batch = BatchEnv(market, config, 3, seed=4)
    singles = [TradingEnv(market, config) for _ in range(3)]
    seen = batch.reset().copy()
    for copy, single in enumerate(singles):
        for _ in range(copy + 1):  # chronological: copy number c begins with window c
            first, info = single.reset()
        assert info["row"] == batch.rows[copy]
        np.testing.assert_array_equal(seen[copy], first)
    n_ended = 0
    for actions in random_actions(config, 200, (3,)):
        seen, rewards, terminated, truncated = batch.step(actions)
        for copy, single in enumerate(singles):
            expected, earned, *ends, info = single.step(actions[copy])
            assert (rewards[copy], [terminated[copy], truncated[copy]]) == (earned, ends)
            np.testing.assert_array_equal(batch.components[copy], list(info["components"].values()))
            if any(ends):
                n_ended += 1
                np.testing.assert_array_equal(batch.final_observations[copy], expected)
                assert batch.final_lengths[copy] == (90 if truncated[copy] else batch.final_lengths[copy])
                expected, _ = single.reset()
            np.testing.assert_array_equal(seen[copy], expected)
    assert n_ended >= 6


@pytest.mark.parametrize("action", KINDS)
def test_one_pass_equals_the_kernels_run_of_the_same_targets(action):
    market, config = stormy(seed=3), config_of(action)
    batch, table = BatchEnv(market, config, 1), config.rules_array(1)
    batch.reset()
    targets, equity, quantity, fills = [], [50_000.0], [0.0], []
    for k, actions in enumerate(random_actions(config, len(market) - 1, (1,), seed=3)):
        kind = {"choice": kernel.CHOICE, "steps": kernel.STEPS, "target": kernel.CONTINUOUS}[action]
        targets.append(
            kernel.target_of(kind, actions[0], batch.positions[0, 0], batch.accounts[0], market.close[k], table[0])
        )
        if batch.n_ended:
            break
        batch.step(actions)
        fills += [fill.copy() for fill in batch.fills[0, 0] if fill[kernel.FILL_TRADED] != 0.0]
        if batch.n_ended:
            break
        equity.append(batch.accounts[0, kernel.EQUITY])
        quantity.append(batch.positions[0, 0, kernel.QUANTITY])
    n = len(equity)
    expected = kernel.run_targets(market.bars[:n], 50_000.0, np.array([*targets, np.nan])[:n], table)
    np.testing.assert_array_equal(equity, expected[0])
    np.testing.assert_array_equal(quantity, expected[1][:, 0])
    count = len(expected[2])
    np.testing.assert_array_equal(
        np.array(fills)[:count], expected[2][:, kernel.RUN_TRADED : kernel.RUN_TRADED + kernel.N_FILL]
    )
    assert len({int(fill[kernel.FILL_REASON]) for fill in fills}) >= 3, "the test needs stops as well as decisions"


def test_components_and_reward_are_logged_and_weighted():
    config = config_of("target")
    batch = BatchEnv(stormy(seed=1), config, 8)
    batch.reset()
    for actions in random_actions(config, 60, (8,)):
        batch.step(actions)
        for copy in range(8):
            parts = dict(zip(COMPONENT_NAMES, batch.components[copy].tolist(), strict=True))
            earned, again = reward(parts, EVERYTHING)
            assert earned == pytest.approx(batch.rewards[copy], abs=1e-15)
            assert again["risk_adjusted_return"] == parts["risk_adjusted_return"]


def test_every_component_worked_by_hand():
    # 10 units bought at the open of 100 with all of 1,000, no costs; closes 110, 104.5; then half is wanted.
    prices = np.array([100.0, 100.0, 110.0, 104.5])
    opens = np.array([100.0, 100.0, 110.0, 110.0])
    rules = MarketRules(half_spread_bps=0, schedule="none", tick_size=0, sharpe_rate=0.5, volatility_half_life=1.0)
    market = Market(np.zeros((4, 1)), opens, prices, np.ones(4), np.zeros((4, 3)))
    batch = BatchEnv(market, EnvConfig(action="target", rules=rules, start_cash=1_000.0), 1, autoreset=False)
    batch.reset()
    found = []
    for action in (1.0, 1.0, 0.5):
        batch.step(np.array([action]))
        found.append(dict(zip(COMPONENT_NAMES, batch.components[0].tolist(), strict=True)))
    first, second, third = found
    assert first["net_return"] == 0.0 and first["consistency"] == 0.0
    # First bar: one close held with all the money.
    assert first["holding"] == pytest.approx(-1.0)
    assert second["net_return"] == pytest.approx(0.1)
    assert second["log_return"] == pytest.approx(np.log(1.1))
    # v = 0.5 * 0 + 0.5 * 0.1²
    assert second["volatility"] == pytest.approx(-np.sqrt(0.005))
    assert second["risk_adjusted_return"] == pytest.approx(0.1 / np.sqrt(0.005))
    assert second["drawdown"] == 0.0 and second["holding"] == pytest.approx(-2.0)
    # Sold 5 of 10 at 110: 1,100 · 0.5 / 110 = 5. Then 550 + 5 · 104.5 = 1,072.5: a loss of 2.5 %.
    assert third["net_return"] == pytest.approx(-0.025)
    assert third["drawdown"] == pytest.approx(-0.025)
    assert third["consistency"] == -0.5
    assert third["holding"] == pytest.approx(-3 * 522.5 / 1_072.5)
    # A = 0.5 · 0.1 = 0.05, B = 0.5 · 0.01 = 0.005, variance 0.0025; ΔA = -0.075, ΔB = 0.000625 - 0.005.
    sharpe = (0.005 * -0.075 - 0.5 * 0.05 * (0.000625 - 0.005)) / 0.0025**1.5
    assert third["differential_sharpe"] == pytest.approx(sharpe)
    assert third["differential_downside"] == 0.0  # no loss before this one
    assert third["cost"] == 0.0


def test_costs_count_as_a_component():
    # 100 shares at 25.00 with 2 bps: 25.005 to the cent 25.01; 1.00 commission and 1.00 beside the open, of 2,600.
    market = Market(np.zeros((3, 1)), np.full(3, 25.0), np.full(3, 25.0), np.ones(3), np.zeros((3, 3)))
    batch = BatchEnv(market, EnvConfig(start_cash=2_600.0, rules=MarketRules(max_weight=0.97)), 1)
    batch.reset()
    batch.step(np.array([1]))
    assert batch.fills[0, 0, 0, kernel.FILL_TRADED] == 100.0
    cost = dict(zip(COMPONENT_NAMES, batch.components[0], strict=True))["cost"]
    assert cost == pytest.approx(-(1.0 + 1.0) / 2_600.0)


@pytest.mark.parametrize("n_threads", [2, 3])
def test_the_number_of_threads_changes_no_number(n_threads):
    market = stormy()
    config = config_of("steps", episode_length=30, randomise=RandomiseSettings(costs=0.5))
    one, many = (BatchEnv((market, stormy(seed=9)), config, 1024, seed=2, n_threads=n) for n in (1, n_threads))
    np.testing.assert_array_equal(one.reset(), many.reset())
    for actions in random_actions(config, 70, (1024,)):
        for left, right in zip(one.step(actions), many.step(actions), strict=True):
            np.testing.assert_array_equal(left, right)
        assert one.n_ended == many.n_ended
    for name, array in one.snapshot().items():
        np.testing.assert_array_equal(array, many.snapshot()[name], err_msg=name)


def test_a_snapshot_goes_on_bit_for_bit():
    config = config_of("target", episode_length=20, randomise=RandomiseSettings(costs=1.0))
    markets = (stormy(), stormy(seed=5))
    batch, other = (BatchEnv(markets, config, 32, seed=seed) for seed in (1, 8))
    batch.reset()
    other.reset()
    actions = random_actions(config, 90, (32,))
    for row in actions[:45]:
        batch.step(row)
    saved = batch.snapshot()
    first = [tuple(array.copy() for array in batch.step(row)) for row in actions[45:]]
    for one in (batch, other):
        one.restore(saved)
        np.testing.assert_array_equal(one.observations, saved["observations"].reshape(32, -1))
        for row, expected in zip(actions[45:], first, strict=True):
            for left, right in zip(one.step(row), expected, strict=True):
                np.testing.assert_array_equal(left, right)
    with pytest.raises(ValueError, match="snapshot accounts"):
        BatchEnv(markets, config, 31).restore(saved)


def test_same_seed_same_episodes_and_another_seed_others():
    config = EnvConfig(episode_length=20)
    rows = []
    for seed in (3, 3, 4):
        batch = BatchEnv(stormy(), config, 64, seed=seed)
        batch.reset()
        rows.append(batch.rows.copy())
    np.testing.assert_array_equal(rows[0], rows[1])
    assert (rows[0] != rows[2]).any()
    batch.reset(seed=3)
    np.testing.assert_array_equal(batch.rows, rows[0])


@pytest.mark.parametrize("action", KINDS)
def test_several_instruments_share_one_account(action):
    """Against the kernel's run of the same targets, and each instrument's own values against the account."""
    parts = [stormy(seed=seed, n_features=2) for seed in (1, 2)]
    days = parts[0].day
    parts[1].bars[:, 0, kernel.BAR_DAY] = days
    market = Market.several(parts)
    rules = (FULL, replace(FULL, stop_loss=0.0, multiplier=2.0, lot=0.5))
    config = EnvConfig(action=action, rules=rules, own=OwnSpec(("weight", "cash_share", "wanted_1")), window=2)
    batch = BatchEnv(market, config, 1)
    assert batch.reset().shape == (1, 2 * 4 + 3 * 2)
    table, targets, equity = config.rules_array(2), [], [50_000.0]
    kind = {"choice": kernel.CHOICE, "steps": kernel.STEPS, "target": kernel.CONTINUOUS}[action]
    for k, actions in enumerate(random_actions(config, len(market) - 1, (1, 2), seed=2)):
        targets.append(
            [
                kernel.target_of(
                    kind, actions[0, i], batch.positions[0, i], batch.accounts[0], market.close[k, i], table[i]
                )
                for i in range(2)
            ]
        )
        batch.step(actions)
        if batch.n_ended:
            break
        equity.append(batch.accounts[0, kernel.EQUITY])
        held = batch.positions[0, :, kernel.QUANTITY] * market.close[k + 1] * [1.0, 2.0] / equity[-1]
        own = batch.observations[0, 8:].reshape(2, 3)
        np.testing.assert_allclose(own[:, 0], held.clip(-5, 5), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(own[:, 1], np.full(2, -held.sum()).clip(-5, 5), rtol=1e-6, atol=1e-6)
        np.testing.assert_allclose(batch.observations[0, 4:8], market.features[k + 1], rtol=1e-6)
    n = len(equity)
    expected, *_ = kernel.run_targets(market.bars[:n], 50_000.0, np.array([*targets, [np.nan] * 2])[:n], table)
    np.testing.assert_array_equal(equity, expected)
    assert n > 60


def test_what_comes_later_changes_nothing_seen_before():
    market, t = stormy(), 120
    bars, features = market.bars.copy(), market.features.copy()
    bars[t + 1 :, :, : kernel.BAR_DAY] *= 1.5
    features[t + 1 :] = 1.0
    other = Market.several([market])
    other.bars, other.features = bars, features
    config = config_of("steps", window=5)
    one, two = BatchEnv(market, config, 1), BatchEnv(other, config, 1)
    np.testing.assert_array_equal(one.reset(), two.reset())
    for k, actions in enumerate(random_actions(config, t + 20, (1,), seed=6)):
        left, right = one.step(actions), two.step(actions)
        if k < t:
            np.testing.assert_array_equal(left[0], right[0])
            np.testing.assert_array_equal(left[1], right[1])
    assert (left[0] != right[0]).any(), "the change must be seen once it has happened"


def test_before_the_first_bar_the_window_is_zeros():
    market = Market(np.arange(1, 7.0)[:, None] / 2, *(np.full(6, 10.0),) * 3, np.zeros((6, 3)))
    batch = BatchEnv(market, EnvConfig(window=4), 1)
    np.testing.assert_array_equal(batch.reset()[0, :4], [0, 0, 0, 0.5])
    batch.step(np.array([0]))
    np.testing.assert_array_equal(batch.observations[0, :4], [0, 0, 0.5, 1.0])
    # A second market's window does not begin in the first one's bars.
    both = BatchEnv((market, market), EnvConfig(window=4), 64)
    assert {tuple(row[:4]) for row in both.reset()} == {(0, 0, 0, 0.5)}


def test_actions_that_make_no_sense_are_refused_before_anything_happens():
    batch = BatchEnv(stormy(), EnvConfig(episode_length=50), 4)
    batch.reset()
    before = batch.snapshot()
    for wrong in ([0, 1, 3, 0], [0, 1, 0.5, 0], [0, 1, np.nan, 0], [0, 1, -1, 0]):
        with pytest.raises(ValueError, match=r"NaN|whole numbers"):
            batch.step(np.array(wrong))
    with pytest.raises(ValueError, match="shape"):
        batch.step(np.array([0, 1]))
    for name, array in batch.snapshot().items():
        np.testing.assert_array_equal(array, before[name])


def test_markets_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="same numbers"):
        BatchEnv((stormy(), stormy(n_features=4)), EnvConfig(), 2)
    with pytest.raises(ValueError, match="at least 260"):
        BatchEnv((stormy(), stormy(n_bars=200)), EnvConfig(), 2)
    assert BatchEnv((stormy(), stormy(n_bars=200)), EnvConfig(last=199), 2).last == 199
    with pytest.raises(ValueError, match="2 rules for 1"):
        BatchEnv(stormy(), EnvConfig(rules=(FULL, FULL)), 2)
