"""Cutting bars into periods, and where their features come from."""

import numpy as np
import pytest

from agents.policies.features import FeatureSpec
from agents.runs.dataset import prepare
from agents.studies.folds import Rows
from agents.tests import worlds
from agents.tests.worlds import FEATURES, day_of, walk
from marketdata.features import store as store_module
from marketdata.features.store import FeatureStore
from marketdata.series import BarSeries

SPEC = FeatureSpec(FEATURES)
CUTS = (day_of(400), day_of(550))


def other_series(n: int = 700) -> BarSeries:
    return walk(n, seed=5)


def test_the_periods_follow_each_other_without_the_warm_up():
    data = prepare(walk(), None, SPEC, *CUTS)
    assert (data.training.first, data.training.last) == (33, 399)
    assert (data.validation.first, data.validation.last) == (400, 549)
    assert (data.unseen.first, data.unseen.last) == (550, 699)
    np.testing.assert_array_equal(data.raw, SPEC.compute(walk()))


def test_the_fingerprint_is_what_it_was_where_no_other_series_is_used():
    # SHA-256 of bars, VIX, features and cuts, line by line, as models have stored it.
    import hashlib

    bars, vix = walk(), other_series()
    cuts = [day.isoformat() for day in CUTS]
    for series in (None, vix):
        text = "\n".join([bars.fingerprint(), series.fingerprint() if series else "", SPEC.fingerprint(), *cuts])
        assert prepare(bars, series, SPEC, *CUTS).fingerprint == hashlib.sha256(text.encode()).hexdigest()


def test_other_series_are_part_of_the_fingerprint_and_reach_the_features():
    spec = FeatureSpec(("underlying_return_1", "sentiment"))
    bars, scores = walk(), np.array([[walk().time[10] + 0.0, 0.5]])
    plain = prepare(bars, None, spec, *CUTS)
    full = prepare(bars, None, spec, *CUTS, underlying=other_series(), scores=scores)
    assert plain.fingerprint != full.fingerprint
    assert np.isnan(plain.raw).all()
    assert np.isfinite(full.raw[:, 0]).sum() == len(bars) - 1
    assert full.raw[10, 1] == 0.5
    less = prepare(bars, None, spec, *CUTS, underlying=other_series(), scores=scores * [1, -1])
    assert less.fingerprint != full.fingerprint


def test_the_second_time_nothing_is_calculated(tmp_path, monkeypatch):
    store = FeatureStore(tmp_path)
    first = prepare(walk(), None, SPEC, *CUTS, store=store)

    def fail(*_):
        raise AssertionError("calculated again")

    monkeypatch.setattr(store_module, "compute", fail)
    second = prepare(walk(), None, SPEC, *CUTS, store=store)
    np.testing.assert_array_equal(first.raw, second.raw)
    np.testing.assert_array_equal(first.market.features, second.market.features)
    assert first.fingerprint == second.fingerprint


def test_a_period_that_is_too_short_is_named():
    with pytest.raises(ValueError, match="the unseen period has 10 bars, expected at least 20"):
        prepare(walk(560), None, SPEC, *CUTS)


def test_a_fold_is_scaled_by_its_own_training_rows_alone():
    of = worlds.settings()
    whole = worlds.dataset(of)
    cut = whole.refit(Rows(33, 199), Rows(220, 280))
    assert (cut.training, cut.validation, cut.unseen) == (Rows(33, 199), Rows(220, 280), whole.unseen)
    # By hand: mean and deviation of the fold's rows, other bars left out, cut off at 5.
    rows = whole.raw[33:200]
    expected = ((whole.raw - rows.mean(axis=0)) / rows.std(axis=0)).clip(-5, 5)
    np.testing.assert_allclose(cut.market.features[33:], expected[33:], atol=1e-12)
    # What comes later may be anything: the fold's features up to its validation stay.
    bars = worlds.walk()
    factor = np.where(np.arange(len(bars)) < 300, 1.0, 3.0)
    prices = (values * factor for values in (bars.open, bars.high, bars.low, bars.close))
    later = BarSeries(bars.time, *prices, bars.volume)
    changed = worlds.dataset(of, later).refit(Rows(33, 199), Rows(220, 280))
    np.testing.assert_array_equal(changed.market.features[:281], cut.market.features[:281])


def test_a_fold_may_have_some_of_the_features():
    whole = worlds.dataset(worlds.settings())
    cut = whole.refit(whole.training, spec=FeatureSpec(("return_1", "rsi_14")))
    np.testing.assert_allclose(cut.market.features[:, 1], whole.market.features[:, 0], atol=1e-12)
    assert (cut.validation, cut.spec.names) == (whole.validation, ("return_1", "rsi_14"))
    with pytest.raises(ValueError, match="the data have no feature macd_signal; they have rsi_14"):
        whole.refit(whole.training, spec=FeatureSpec(("macd_signal",)))
