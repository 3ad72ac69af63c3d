"""The catalogue, and specifications as ordered, versioned, hashable lists."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from marketdata.features import catalogue
from marketdata.features.batch import compute
from marketdata.features.catalogue import CATALOGUE, FIRST, FeatureList, lines, markdown
from marketdata.features.definitions import GROUPS, NEEDS
from marketdata.tests.feature_worlds import ALL, world

PAGE = Path(__file__).resolve().parents[2] / "docs" / "features.md"


def test_there_are_enough_of_every_kind():
    assert len(CATALOGUE) >= 95
    assert {feature.group for feature in CATALOGUE.values()} == set(GROUPS)
    assert set().union(*(feature.needs for feature in CATALOGUE.values())) == set(NEEDS)
    labels = [feature.label for feature in CATALOGUE.values()]
    assert len(set(labels)) == len(labels)


def test_the_first_features_keep_their_place_and_their_fingerprint():
    assert tuple(CATALOGUE)[:12] == FIRST
    # Of ["rsi_14", "macd"] as models stored it before the catalogue grew: SHA-256 of [1, "rsi_14", "macd"] in JSON.
    expected = "71d0e997"
    assert FeatureList(("rsi_14", "macd")).fingerprint()[:8] == expected


def test_a_list_is_known_by_its_names_order_and_versions(monkeypatch):
    one, other = FeatureList(("rsi_14", "macd")), FeatureList(("macd", "rsi_14"))
    assert one == FeatureList(["rsi_14", "macd"])  # type: ignore[arg-type]
    assert hash(one) == hash(FeatureList(("rsi_14", "macd")))
    assert one != other
    assert one.fingerprint() != other.fingerprint()
    before = FeatureList(("rsi_14", "hma_20")).fingerprint()
    monkeypatch.setitem(catalogue.CATALOGUE, "hma_20", replace(CATALOGUE["hma_20"], version=2))
    assert FeatureList(("rsi_14", "hma_20")).fingerprint() != before
    assert FeatureList(("rsi_14", "macd")).fingerprint() == one.fingerprint()


def test_unknown_repeated_and_missing_names_are_refused():
    with pytest.raises(ValueError, match=r"unknown feature 'rsi_13'; known: rsi_14, macd"):
        FeatureList(("rsi_13",))
    with pytest.raises(ValueError, match="at least one and different"):
        FeatureList(("macd", "macd"))
    with pytest.raises(ValueError, match="got none"):
        FeatureList(())


def test_a_list_knows_what_it_needs():
    assert FeatureList(("rsi_14", "return_5")).needs == frozenset()
    assert FeatureList(("vix_premium", "ratio_z_60")).needs == {"vix", "underlying"}
    assert FeatureList(("sentiment", "half_day")).needs == {"sentiment", "sessions"}
    assert FeatureList(("mfi_14",)).needs == {"volume"}


def test_warm_up_is_known_and_exact():
    inputs = world(400)
    rows = compute(ALL, inputs)
    others = {"sentiment", "sessions"}
    for column, name in enumerate(ALL.names):
        if not CATALOGUE[name].needs & others:
            first = int(np.argmax(np.isfinite(rows[:, column])))
            # The underlying misses some bars: its windows may fill a little later.
            slack = 20 if "underlying" in CATALOGUE[name].needs else 0
            assert CATALOGUE[name].warm_up <= first <= CATALOGUE[name].warm_up + slack, name
    assert ALL.warm_up == 199
    assert FeatureList(("rsi_14", "macd")).warm_up == 33


def test_values_stay_within_their_bounds_and_read_well():
    rows = compute(ALL, world(800, 7))
    for name, values in zip(ALL.names, rows.T, strict=True):
        known, feature = values[np.isfinite(values)], CATALOGUE[name]
        assert known.size, name
        assert known.min() >= feature.lowest - 1e-9, name
        assert known.max() <= feature.highest + 1e-9, name
        assert 0 < len(feature.display(float(known[-1]))) < 12


def test_the_page_lists_every_feature_as_the_catalogue_has_it():
    page = PAGE.read_text()
    assert markdown() in page, "docs/features.md is old: put the catalogue's markdown() into it again"
    assert len(list(lines())) == len(CATALOGUE)
