import numpy as np
import pytest

from marketdata.series import BarSeries


def make(times, close=None):
    close = np.arange(1.0, len(times) + 1) if close is None else np.asarray(close, dtype=float)
    return BarSeries(np.array(times), close, close + 1, close - 0.5, close, np.zeros(len(times)))


def test_times_that_do_not_ascend_are_refused_by_position():
    with pytest.raises(ValueError, match=r"bar 2 \(5\) does not come after bar 1 \(5\)"):
        make([1, 5, 5])


def test_arrays_of_different_length_are_refused_by_name():
    ones = np.ones(2)
    with pytest.raises(ValueError, match=r"low has shape \(3,\), expected \(2,\)"):
        BarSeries(np.array([1, 2]), ones, ones, np.ones(3), ones, ones)


def test_until_and_between_include_their_ends():
    bars = make([10, 20, 30, 40])
    assert bars.until(30).time.tolist() == [10, 20, 30]
    assert bars.until(9).time.tolist() == []
    assert bars.between(20, 30).time.tolist() == [20, 30]
    assert bars.between(21, 29).time.tolist() == []


def test_a_series_cannot_be_changed_from_outside():
    close = np.array([1.0, 2.0])
    bars = make([1, 2], close)
    close[0] = 99.0
    assert bars.close[0] == 1.0
    with pytest.raises(ValueError, match="read-only"):
        bars.close[0] = 5.0


def test_fingerprint_depends_on_every_number_and_nothing_else():
    bars = make([1, 2])
    assert bars.fingerprint() == make([1, 2]).fingerprint()
    assert len(bars.fingerprint()) == 64
    assert bars.fingerprint() != make([1, 3]).fingerprint()
    assert bars.fingerprint() != make([1, 2], [1.0, np.nextafter(2.0, 3.0)]).fingerprint()
    assert bars.fingerprint() != bars.until(1).fingerprint()


def test_empty_series():
    assert len(BarSeries.empty()) == 0
    assert BarSeries.empty().until(5).time.dtype == np.int64
