"""Instruments whose calendars differ in one account: which rows are left, and that nothing else changes."""

from dataclasses import replace
from datetime import date

import numpy as np
import pytest

from agents.environment.market import Market
from agents.environment.randomise import RandomiseSettings
from agents.policies import normalisers
from agents.policies.features import FeatureSpec
from agents.policies.normaliser import Normaliser
from agents.policies.normalisers import NormaliserChoice
from agents.policies.online_normaliser import OnlineNormaliser
from agents.runs.dataset import Dataset, prepare
from agents.runs.joint_dataset import several
from agents.studies.folds import Rows
from agents.tests import pairs
from agents.tests.worlds import FEATURES, dataset, day_of, settings, walk
from core.simulation import kernel
from core.simulation.rules import MarketRules
from marketdata.series import BarSeries

SPEC = FeatureSpec(FEATURES)
CUTS = (day_of(400), day_of(550))
LEFT_OUT = sorted(pairs.MISSING_OF_FIRST + pairs.MISSING_OF_SECOND)
COMMON = np.delete(np.arange(700), LEFT_OUT)  # rows of `walk` that both have
FREE = MarketRules(half_spread_bps=0.0, tick_size=0.0, schedule="none")


def test_only_common_moments_are_left_and_features_are_those_of_all_own_bars():
    first, second = pairs.halves(settings())
    both = several([first, second])
    np.testing.assert_array_equal(both.time, walk().time[COMMON])
    # In rows of `walk`: training 33 to 399 less 100 and 200, validation 400 to 549 less 450, unseen less 600.
    assert both.training == Rows(33, 397)
    assert both.validation == Rows(398, 546)
    assert both.unseen == Rows(547, 695)
    # Row 150 of the account is row 151 of `walk`, which is row 151 of the first (it lacks 200) and 150 of the second.
    np.testing.assert_array_equal(both.raw[150], np.concatenate([first.raw[151], second.raw[150]]))
    # Row 449 is row 452: 451 of the first, 450 of the second. There the second's last return is over two days.
    np.testing.assert_array_equal(both.raw[449], np.concatenate([first.raw[451], second.raw[450]]))
    closes = walk(seed=7).close
    assert second.raw[449, FEATURES.index("return_1")] == pytest.approx(closes[451] / closes[449] - 1.0)
    np.testing.assert_array_equal(both.market.bars[449, 0], first.market.bars[451, 0])
    np.testing.assert_array_equal(both.market.bars[449, 1], second.market.bars[450, 0])
    assert (both.market.n_instruments, both.market.n_features) == (2, 12)


def test_equal_calendars_join_to_what_stands_side_by_side():
    first, second = dataset(settings()), dataset(settings(), walk(seed=7))
    both = several([first, second])
    # Each column is scaled by itself, and all rows are common: the same as two normalisers.
    expected = Market.several([first.market, second.market])
    np.testing.assert_array_equal(both.market.bars, expected.bars)
    np.testing.assert_array_equal(both.market.features, expected.features)
    for name in ("training", "validation", "unseen"):
        assert getattr(both, name) == getattr(first, name)
    assert both.fingerprint != several([second, first]).fingerprint != first.fingerprint


def test_splits_and_dividends_of_bars_left_out_happen_with_the_next_common_bar():
    actions = np.tile([1.0, 0.0], (700, 1))
    # While the first rests, the second pays 0.60, splits 3 for 1 and pays 0.10; on the next common day 0.20.
    actions[100], actions[101], actions[102] = (1.0, 0.6), (3.0, 0.1), (1.0, 0.2)
    actions[300] = (2.0, 0.4)  # on a common day
    second = prepare(walk(seed=7), None, SPEC, *CUTS, actions=actions)
    first = prepare(pairs.without(walk(), (100, 101)), None, SPEC, *CUTS)
    both = several([first, second])
    table = both.market.bars[:, 1, [kernel.BAR_SPLIT, kernel.BAR_DIVIDEND]]
    # One old unit became three: 0.60 / 3 + 0.10 + 0.20 = 0.50 for each of them.
    np.testing.assert_allclose(table[100], [3.0, 0.5], rtol=1e-15)
    np.testing.assert_array_equal(table[298], [2.0, 0.4])
    assert (np.delete(table, [100, 298], axis=0) == [1.0, 0.0]).all()
    # 90 units become 270 and bring 90 * 0.60 + 270 * 0.10 + 270 * 0.20 = 135, in the account as on paper.
    targets = np.full((3, 2), np.nan)
    targets[0] = 0.0, 90.0
    *_, out = kernel.run_targets(both.market.bars[98:101], 1e6, targets, np.array([FREE.as_array()] * 2))
    assert out[:, kernel.OUT_DIVIDENDS].sum() == pytest.approx(135.0)


@pytest.mark.parametrize("seed", range(5))
def test_one_unit_becomes_as_much_as_with_all_bars(seed):
    """Whatever happens in whichever bars are left out, units and dividends are those of following every bar."""
    random = np.random.default_rng(seed)
    actions = np.column_stack([random.choice([1.0, 1.0, 2.0, 0.5, 1.5], 700), random.choice([0.0, 0.3, 1.1], 700)])
    actions[:, 0] **= random.random(700) < 0.1
    left_out = tuple(np.flatnonzero(random.random(700) < 0.2))
    second = prepare(walk(seed=7), None, SPEC, *CUTS, actions=actions)
    both = several([prepare(pairs.without(walk(), left_out), None, SPEC, *CUTS), second])
    table = both.market.bars[:, 1, [kernel.BAR_SPLIT, kernel.BAR_DIVIDEND]]
    kept = np.delete(np.arange(700), left_out)
    for place in range(1, len(kept)):
        units, cash = 1.0, 0.0
        for row in range(kept[place - 1] + 1, kept[place] + 1):
            units *= actions[row, 0]
            cash += units * actions[row, 1]
        split, dividend = table[place]
        assert (split, split * dividend) == pytest.approx((units, cash), rel=1e-12)


@pytest.mark.parametrize("kind", ["zscore", "robust", "minmax"])
def test_one_normaliser_scales_all_columns_by_the_common_training_rows(kind):
    both = several(pairs.halves(replace(settings(), normaliser=NormaliserChoice(kind))))
    rows = both.raw[33:398]
    parts = [Normaliser.fit(part, kind) for part in np.split(rows, 2, axis=1)]
    expected = np.concatenate(
        [one.apply(part) for one, part in zip(parts, np.split(both.raw, 2, axis=1), strict=True)], axis=1
    )
    np.testing.assert_array_equal(both.market.features, expected)
    assert len(both.normaliser.scale().centre) == 12
    # What a policy file keeps of it.
    again = normalisers.from_dict(both.normaliser.to_dict())
    np.testing.assert_array_equal(again.apply_series(both.raw, both.time), both.market.features)


def test_the_online_normaliser_goes_along_all_columns_at_once():
    both = several(pairs.halves(replace(settings(), normaliser=NormaliserChoice("online", 100.0))))
    for part, features in zip(np.split(both.raw, 2, axis=1), np.split(both.market.features, 2, axis=1), strict=True):
        alone = OnlineNormaliser.fit(part[:398], both.time[:398], 100.0)
        np.testing.assert_array_equal(alone.apply_series(part, both.time), features)
    assert isinstance(both.normaliser, OnlineNormaliser) and both.normaliser.time == both.time[397]


def later_changed(bars: BarSeries, row: int) -> BarSeries:
    """The same up to the row; three times as dear afterwards."""
    factor = np.where(np.arange(len(bars)) <= row, 1.0, 3.0)
    return BarSeries(
        bars.time, *(factor * getattr(bars, name) for name in ("open", "high", "low", "close")), bars.volume
    )


@pytest.mark.parametrize("kind", ["zscore", "online"])
def test_what_comes_later_changes_nothing_before(kind):
    def cut(change_first: bool) -> tuple[np.ndarray, np.ndarray]:
        bars = [pairs.without(walk(), (200,)), walk(seed=7)]
        bars[0 if change_first else 1] = later_changed(bars[0 if change_first else 1], 300)
        parts = [prepare(one, None, SPEC, *CUTS, normaliser=NormaliserChoice(kind)) for one in bars]
        found = several(parts).refit(Rows(33, 220), Rows(240, 290))
        return found.market.features[:291], found.market.bars[:291]

    parts = [
        prepare(one, None, SPEC, *CUTS, normaliser=NormaliserChoice(kind))
        for one in (pairs.without(walk(), (200,)), walk(seed=7))
    ]
    plain = several(parts).refit(Rows(33, 220), Rows(240, 290))
    for change_first in (True, False):
        features, bars = cut(change_first)
        np.testing.assert_array_equal(features, plain.market.features[:291])
        np.testing.assert_array_equal(bars, plain.market.bars[:291])


def test_a_fold_is_scaled_by_its_own_rows_and_may_have_some_of_the_features():
    whole = pairs.pair(settings())
    cut = whole.refit(Rows(33, 199), Rows(220, 280), FeatureSpec(("return_1", "rsi_14")))
    assert (cut.training, cut.validation, cut.unseen) == (Rows(33, 199), Rows(220, 280), whole.unseen)
    # Of six features each: return_1 is the fourth, rsi_14 the first; then the same of the second instrument.
    raw = whole.raw[:, [3, 0, 9, 6]]
    expected = ((raw - raw[33:200].mean(axis=0)) / raw[33:200].std(axis=0)).clip(-5, 5)
    np.testing.assert_allclose(cut.market.features[33:], expected[33:], atol=1e-12)
    np.testing.assert_array_equal(cut.market.bars, whole.market.bars)
    with pytest.raises(ValueError, match="the data have no feature macd_signal; they have rsi_14"):
        whole.refit(whole.training, spec=FeatureSpec(("macd_signal",)))


def test_made_up_paths_draw_the_same_moments_for_both():
    data = pairs.pair(settings())
    rows = data.training
    paths = data.paths(rows, RandomiseSettings(paths=2, block=10), seed=3)
    closes = np.column_stack([walk().close, walk(seed=7).close])[COMMON]
    moves = closes[rows.first + 1 : rows.last + 1] / closes[rows.first : rows.last]  # (rows, 2) of both together
    for path in paths:
        assert (path.n_instruments, path.n_features, len(path)) == (2, 12, rows.last + 1)
        ours = path.close[1:] / path.close[:-1]
        distance = np.abs(ours[:, None, :] - moves[None]).max(axis=2).min(axis=1)
        assert distance.max() < 1e-12, "every pair of moves happened on one day"
    assert not np.array_equal(paths[0].close, paths[1].close)


def test_what_moves_together_does_so_on_made_up_paths():
    noise = np.random.default_rng(4).normal(0.0, 0.004, 700)
    close = walk().close * np.exp(noise)
    twin = BarSeries(walk().time, close, close * 1.001, close * 0.999, close, np.full(700, 1e6))
    data = several([dataset(settings()), dataset(settings(), twin)])

    def correlation(closes: np.ndarray) -> float:
        return float(np.corrcoef(np.diff(np.log(closes), axis=0).T)[0, 1])

    real = correlation(data.market.close[33:400])
    for path in data.paths(data.training, RandomiseSettings(paths=3, block=5), seed=1):
        # A correlation of 0.92 from 400 bars has a standard error of (1 - 0.92 ** 2) / 20 = 0.008; four of them.
        assert correlation(path.close) == pytest.approx(real, abs=0.035)
    assert real > 0.9


def test_features_of_a_made_up_path_are_those_of_its_bars():
    data = pairs.pair(settings())
    path = data.paths(data.training, RandomiseSettings(paths=1, block=10), seed=3)[0]
    raw = []
    for k in range(2):
        columns = (path.bars[:, k, place] for place in (kernel.BAR_OPEN, kernel.BAR_HIGH, kernel.BAR_LOW,
                                                        kernel.BAR_CLOSE, kernel.BAR_VOLUME))  # fmt: skip
        raw.append(SPEC.compute(BarSeries(data.time[: len(path)], *columns)))
    expected = data.normaliser.apply_series(np.concatenate(raw, axis=1), data.time[: len(path)])
    np.testing.assert_allclose(path.features[33:], expected[33:], atol=1e-12)


def other(**changes: object) -> Dataset:
    arguments = {"normaliser": NormaliserChoice(), "interval_seconds": 86_400, "spec": SPEC} | changes
    return prepare(walk(seed=7), None, arguments.pop("spec"), *CUTS, **arguments)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"spec": FeatureSpec(("return_1",))}, r"features of instrument 2 differ from the first's: \('return_1',\)"),
        ({"normaliser": NormaliserChoice("robust")}, "scaling of instrument 2"),
        ({"interval_seconds": 3_600}, "interval in seconds of instrument 2 differ from the first's: 3600 and 86400"),
    ],
)
def test_instruments_prepared_differently_are_refused(changes, message):
    with pytest.raises(ValueError, match=message):
        several([dataset(settings()), other(**changes)])


def test_too_little_in_common_is_refused():
    one = dataset(settings())
    with pytest.raises(ValueError, match="1 instruments arrived, expected two or more"):
        several([one])
    bars = walk()
    shifted = replace(bars, time=bars.time + 3_600)  # no moment in common
    with pytest.raises(ValueError, match=r"the training period has 0 bars.*have 0 bars in common"):
        several([one, dataset(settings(), shifted)])
    # Cut at other dates, a row lies in a period only if it does so for both: 300 to 399 is the second's validation.
    early = prepare(bars, None, SPEC, day_of(300), day_of(550))
    both = several([one, early])
    assert (both.training, both.validation) == (Rows(33, 299), Rows(400, 549))
    with pytest.raises(ValueError, match="the validation period has 10 bars"):
        several([one, prepare(bars, None, SPEC, day_of(300), day_of(410))])
    assert isinstance(CUTS[0], date)
