"""Thinned curves: short enough, no extreme lost, and old points stay while new ones come."""

import numpy as np
import pytest

from agents.training_pages.thinning import thin


def test_a_short_curve_is_left_alone():
    steps, columns = thin(np.arange(5), {"x": np.arange(5.0)}, 600)
    assert steps.tolist() == [0, 1, 2, 3, 4] and columns["x"].tolist() == [0, 1, 2, 3, 4]


def test_a_bucket_keeps_its_lowest_and_highest_in_their_order():
    # 16 rows, at most 8 points: buckets of four rows, two points each, at the first and the last step of the bucket
    values = np.array([1.0, 9, 2, 3, 5, 5, 0, 8, 4, 4, 4, 4, 7, 1, 2, 6])
    steps, columns = thin(np.arange(16) * 10, {"x": values}, 8)
    assert steps.tolist() == [0, 30, 40, 70, 80, 110, 120, 150]
    # 1..9 ascends; 0 comes before 8; all equal; 7 comes before 1
    assert columns["x"].tolist() == [1, 9, 0, 8, 4, 4, 7, 1]


@pytest.mark.parametrize("n", [601, 1200, 1201, 5000, 12_345, 100_001])
def test_it_is_never_longer_than_asked_and_loses_no_extreme(n):
    values = np.random.default_rng(n).normal(size=n)
    values[n // 3], values[n // 2] = 50.0, -50.0
    steps, columns = thin(np.arange(n), {"x": values}, 600)
    assert steps.size == columns["x"].size <= 600
    assert columns["x"].max() == 50.0 and columns["x"].min() == -50.0
    assert (np.diff(steps) > 0).all() and steps[0] == 0 and steps[-1] == n - 1


def test_what_was_not_recorded_stays_unknown():
    values = np.full(16, np.nan)
    values[5] = 3.0
    columns = thin(np.arange(16), {"x": values}, 8)[1]
    np.testing.assert_array_equal(columns["x"], [np.nan, np.nan, 3, 3, np.nan, np.nan, np.nan, np.nan])


def test_old_points_stay_where_they_are_while_a_curve_grows():
    # 1,000 and 1,150 rows both need buckets of four: 1,000 / 4 * 2 = 500 and 288 * 2 = 576 points
    values = np.random.default_rng(1).normal(size=1150)
    before = thin(np.arange(1000), {"x": values[:1000]}, 600)
    after = thin(np.arange(1150), {"x": values}, 600)
    np.testing.assert_array_equal(before[0], after[0][:500])
    np.testing.assert_array_equal(before[1]["x"], after[1]["x"][:500])


def test_columns_of_another_length_are_refused():
    with pytest.raises(ValueError, match="x has 3 values for 5 steps"):
        thin(np.arange(5), {"x": np.arange(3.0)})
    with pytest.raises(ValueError, match="most=2"):
        thin(np.arange(5), {}, 2)
