"""Cutting bars into periods, and where their features come from."""

import numpy as np
import pytest

from agents.dataset import prepare
from agents.features import FeatureSpec
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
