from dataclasses import replace

import numpy as np
import pytest

from agents.environment.batch_env import BatchEnv
from agents.environment.env import EnvConfig
from agents.environment.randomise import RandomiseSettings, bootstrap_rows, synthetic_bars, synthetic_markets
from agents.policies import normalisers
from agents.policies.features import FeatureSpec, Inputs
from agents.policies.normalisers import NormaliserChoice
from agents.tests.markets import FULL, stormy
from agents.tests.worlds import walk
from core.simulation import kernel
from core.simulation.rules import MarketRules
from marketdata.series import BarSeries

SPEC = FeatureSpec(("return_1", "rsi_14", "volatility_20", "vix"))
FIRST, LAST = 60, 360
COSTS = {
    kernel.RULE_HALF_SPREAD_BPS: 0, kernel.RULE_IMPACT_BPS: 1, kernel.RULE_COMMISSION_PER_UNIT: 2,
    kernel.RULE_COMMISSION_MINIMUM: 2, kernel.RULE_COMMISSION_MAXIMUM_FRACTION: 2, kernel.RULE_EXCHANGE_PER_SHARE: 2,
    kernel.RULE_CLEARING_PER_SHARE: 2, kernel.RULE_CLEARING_MAXIMUM_FRACTION: 2,
}  # fmt: skip


def test_costs_are_drawn_per_episode_within_the_factor():
    config = EnvConfig(rules=FULL, episode_length=10, randomise=RandomiseSettings(costs=1.0))
    batch = BatchEnv(stormy(), config, 2_000, seed=1)
    batch.reset()
    usual = FULL.as_array()
    factors = batch.rules[:, 0, list(COSTS)] / usual[list(COSTS)]
    assert factors.min() >= 0.5 - 1e-12 and factors.max() <= 2.0 + 1e-12
    assert factors.min() < 0.51 and factors.max() > 1.98, "the whole range is used"
    # The logarithm is uniform: as often below 1 as above, within five standard deviations of 2,000 draws.
    assert abs((factors[:, 0] < 1).mean() - 0.5) < 5 * 0.5 / np.sqrt(2_000)
    for column, group in enumerate(COSTS.values()):
        np.testing.assert_allclose(factors[:, column], factors[:, list(COSTS.values()).index(group)], rtol=1e-12)
    assert abs(np.corrcoef(factors[:, :3].T)[~np.eye(3, dtype=bool)]).max() < 0.15, "three draws, not one"
    others = np.setdiff1d(np.arange(kernel.N_RULES), list(COSTS))
    assert (batch.rules[:, 0, others] == usual[others]).all()
    before = batch.rules.copy()
    for _ in range(10):
        batch.step(np.zeros(2_000))
    assert (batch.rules[:, 0, 0] != before[:, 0, 0]).all(), "another episode, other costs"


def test_without_randomising_all_copies_share_the_rules():
    batch = BatchEnv(stormy(), EnvConfig(rules=FULL), 5)
    assert batch.rules.shape == (1, 1, kernel.N_RULES)
    np.testing.assert_array_equal(batch.rules[0, 0], FULL.as_array())


def test_commission_is_that_many_times_as_high():
    config = EnvConfig(
        rules=MarketRules(schedule="bps", commission_bps=10.0, half_spread_bps=0.0, tick_size=0.0),
        randomise=RandomiseSettings(costs=3.0),
    )
    batch = BatchEnv(stormy(), config, 50, seed=2)
    batch.reset()
    factor = batch.rules[:, 0, kernel.RULE_COMMISSION_BPS] / 10.0
    batch.step(np.ones(50))
    fills = batch.fills[:, 0, kernel.AT_OPEN]
    value = fills[:, kernel.FILL_TRADED] * fills[:, kernel.FILL_PRICE]
    np.testing.assert_allclose(fills[:, kernel.FILL_COMMISSION], value * 1e-3 * factor, rtol=1e-12)


def inputs_of(bars: BarSeries) -> Inputs:
    vix = replace(bars, close=20 + 10 * np.sin(np.arange(len(bars)) / 9))
    return Inputs(bars, 86_400, vix)


def paths_of(bars: BarSeries, n: int = 2, block: int = 10, seed: int = 3):
    inputs = inputs_of(bars)
    raw = SPEC.compute(bars, inputs.vix)
    scale = normalisers.fit(NormaliserChoice(), raw[: LAST + 1], bars.time[: LAST + 1], FIRST, LAST)
    return raw, scale, synthetic_markets(
        [(inputs, raw)], SPEC, scale, FIRST, LAST, RandomiseSettings(paths=n, block=block), seed
    )  # fmt: skip


def test_rows_come_in_blocks_of_the_training_rows():
    rows = bootstrap_rows(FIRST, LAST, 5_000, 10, np.random.default_rng(0))
    assert rows.min() == FIRST + 1 and rows.max() == LAST, "the first row only says what the next is relative to"
    assert (np.diff(rows.reshape(-1, 10), axis=1) == 1).all()
    assert len(bootstrap_rows(FIRST, LAST, 23, 10, np.random.default_rng(0))) == 23
    with pytest.raises(ValueError, match="blocks of 50"):
        bootstrap_rows(0, 40, 100, 50, np.random.default_rng(0))


def test_a_path_worked_by_hand():
    close = np.array([100.0, 110.0, 99.0, 108.9])
    bars = BarSeries(
        np.arange(4) * 86_400, np.array([100.0, 102.0, 108.0, 100.0]), close * 1.05, close * 0.95, close,
        np.array([1.0, 2.0, 3.0, 4.0]),
    )  # fmt: skip
    # Row 3 gained 10 % from 99 and opened at 100 / 99; row 1 gained 10 % from 100 and opened 2 % higher.
    # The path starts from 100, the close before the first row drawn from.
    path = synthetic_bars(bars, np.array([3, 1, 3]))
    np.testing.assert_allclose(path.close, [110.0, 121.0, 133.1])
    np.testing.assert_allclose(path.open, [100 * 100 / 99, 110 * 1.02, 121 * 100 / 99])
    np.testing.assert_allclose(path.high, path.close * 1.05)
    np.testing.assert_array_equal(path.volume, [4.0, 2.0, 4.0])
    np.testing.assert_array_equal(path.time, bars.time[:3])


def test_paths_are_made_of_training_rows_alone():
    bars = walk(500)
    changed = {name: getattr(bars, name).copy() for name in ("open", "high", "low", "close", "volume")}
    for array in changed.values():
        array[LAST + 1 :] *= 3.0
        array[:FIRST] *= 0.5
    _, _, paths = paths_of(bars)
    _, _, again = paths_of(BarSeries(bars.time, **changed))
    for one, two in zip(paths, again, strict=True):
        assert len(one) == LAST + 1
        np.testing.assert_array_equal(one.bars[:, :, :5], two.bars[:, :, :5])
    # Every move of a path is a move of a training row.
    moves = bars.close[FIRST + 1 : LAST + 1] / bars.close[FIRST:LAST]
    for path in paths:
        ours = path.close[1:] / path.close[:-1]
        assert (np.abs(ours[:, None] - moves).min(axis=1) < 1e-12).all()
    assert not np.array_equal(paths[0].close, paths[1].close)


def test_features_of_a_path_are_those_of_its_bars_and_the_vix_is_that_of_the_rows():
    raw, scale, paths = paths_of(walk(500))
    path = paths[0]
    bars = BarSeries(walk(500).time[: LAST + 1], path.open, path.high, path.low, path.close, path.volume)
    expected = FeatureSpec(SPEC.names[:3]).compute(bars)
    found = path.features
    np.testing.assert_allclose(found[SPEC.warm_up :, :3], scale.apply(np.column_stack([expected, expected[:, :1]]))
                               [SPEC.warm_up :, :3], atol=1e-12)  # fmt: skip
    vix = np.unique(scale.apply(raw[FIRST + 1 : LAST + 1])[:, 3])
    assert np.isin(found[:, 3], vix).all()


def test_episodes_play_on_every_market():
    markets = (stormy(), stormy(seed=1), stormy(seed=2))
    batch = BatchEnv(markets, EnvConfig(episode_length=10), 300, seed=5)
    seen = batch.reset()[:, :3]
    own = [np.abs(seen - market.inputs[batch.rows]).max(axis=1) == 0 for market in markets]
    counts = np.sum(own, axis=1)
    assert counts.sum() == 300 and counts.min() > 60  # 100 each, standard deviation 8.2


@pytest.mark.parametrize(
    ("change", "message"),
    [({"costs": -1.0}, "costs"), ({"costs": np.nan}, "costs"), ({"paths": -1}, "paths"), ({"block": 0}, "block")],
)
def test_settings_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        RandomiseSettings(**change)
