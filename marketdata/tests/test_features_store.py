"""Results on disk: found again, checked, bounded."""

import os

import numpy as np
import pytest

from marketdata.features.batch import compute
from marketdata.features.catalogue import FeatureList
from marketdata.features.inputs import Inputs
from marketdata.features.store import FeatureStore
from marketdata.tests.feature_worlds import MINUTE, changed, walk, world

SPEC = FeatureList(("rsi_14", "macd", "volatility_20"))


class Counting:
    """The calculation, counted."""

    def __init__(self):
        self.n = 0

    def __call__(self, spec, inputs):
        self.n += 1
        return compute(spec, inputs)


@pytest.fixture
def store(tmp_path):
    return FeatureStore(tmp_path / "features")


def test_the_second_time_nothing_is_calculated(store):
    inputs, work = Inputs(walk(300), MINUTE), Counting()
    first, second = store.rows(SPEC, inputs, work), store.rows(SPEC, inputs, work)
    assert work.n == 1
    np.testing.assert_array_equal(second, compute(SPEC, inputs))
    np.testing.assert_array_equal(first, second)
    assert isinstance(second, np.memmap)
    assert not second.flags.writeable


def test_anything_that_changes_the_numbers_is_another_result(store):
    full, work = world(200), Counting()
    volume = full.bars.volume.copy()
    volume[7] += 1.0
    vix, under, scores = full.vix, full.underlying, full.scores
    variants = [
        (SPEC, full),
        (FeatureList(SPEC.names[::-1]), full),
        (SPEC, Inputs(changed(full.bars, volume=volume), MINUTE, vix, under, scores, full.sessions)),
        (SPEC, Inputs(full.bars, 300, vix, under, scores, full.sessions)),
        (SPEC, Inputs(full.bars, MINUTE, None, under, scores, full.sessions)),
        (SPEC, Inputs(full.bars, MINUTE, vix, None, scores, full.sessions)),
        (SPEC, Inputs(full.bars, MINUTE, vix, under, scores[:-1], full.sessions)),
        (SPEC, Inputs(full.bars, MINUTE, vix, under, scores, None)),
    ]
    for spec, inputs in variants:
        store.rows(spec, inputs, work)
    assert work.n == len(variants)


@pytest.mark.parametrize("damage", ["cut", "flip", "empty", "text"])
def test_a_damaged_file_is_calculated_again(store, damage):
    inputs, work = Inputs(walk(300), MINUTE), Counting()
    store.rows(SPEC, inputs, work)
    (path,) = store.folder.glob("*.npy")
    data = bytearray(path.read_bytes())
    if damage == "flip":
        data[-9] ^= 1
    path.write_bytes({"cut": data[:-100], "flip": data, "empty": b"", "text": b"not an array"}[damage])
    np.testing.assert_array_equal(store.rows(SPEC, inputs, work), compute(SPEC, inputs))
    assert work.n == 2
    store.rows(SPEC, inputs, work)
    assert work.n == 2
    assert len(list(store.folder.iterdir())) == 1


def test_the_folder_keeps_to_its_size_and_the_oldest_goes_first(tmp_path):
    inputs = [Inputs(walk(100, seed), MINUTE) for seed in range(4)]
    one_file = 100 * 3 * 8 + 128
    store, work = FeatureStore(tmp_path, most_bytes=3 * one_file), Counting()
    for number in range(3):
        store.rows(SPEC, inputs[number], work)
    for age, path in enumerate(sorted(tmp_path.glob("*.npy"), key=lambda p: p.stat().st_mtime_ns)):
        os.utime(path, (1_000 + age, 1_000 + age))
    store.rows(SPEC, inputs[0], work)  # used again: now the newest
    store.rows(SPEC, inputs[3], work)
    assert work.n == 4
    assert len(list(tmp_path.glob("*.npy"))) == 3
    store.rows(SPEC, inputs[0], work)
    assert work.n == 4
    store.rows(SPEC, inputs[1], work)  # was removed
    assert work.n == 5


def test_a_result_larger_than_the_folder_or_a_folder_that_cannot_be_written_only_costs_time(tmp_path):
    inputs = Inputs(walk(100), MINUTE)
    small = FeatureStore(tmp_path / "small", most_bytes=10)
    np.testing.assert_array_equal(small.rows(SPEC, inputs), compute(SPEC, inputs))
    assert not list((tmp_path / "small").glob("*")) if (tmp_path / "small").exists() else True
    (tmp_path / "file").write_text("in the way")
    blocked = FeatureStore(tmp_path / "file")
    np.testing.assert_array_equal(blocked.rows(SPEC, inputs), compute(SPEC, inputs))
