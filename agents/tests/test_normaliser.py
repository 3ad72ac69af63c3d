import json

import numpy as np
import pytest

from agents.normaliser import Normaliser


def test_scaling_worked_by_hand_with_missing_constant_and_extreme_values():
    # Column 0: mean 2, squares 1, 1, 0: deviation sqrt(2/3). Column 1 is constant. Column 2: of 0 and 10 only.
    fitted = Normaliser.fit(np.array([[1.0, 7.0, 0.0], [3.0, 7.0, 10.0], [2.0, 7.0, np.nan]]))
    np.testing.assert_allclose(fitted.mean, [2.0, 7.0, 5.0])
    np.testing.assert_allclose(fitted.deviation, [np.sqrt(2 / 3), 0.0, 5.0])
    scaled = fitted.apply(np.array([[2.0 + np.sqrt(2 / 3), 9.0, np.nan], [1e9, 7.0, -20.0]]))
    np.testing.assert_allclose(scaled, [[1.0, 0.0, 0.0], [5.0, 0.0, -5.0]])


def test_raw_values_come_back():
    fitted = Normaliser.fit(np.random.default_rng(0).normal(3, 2, (50, 2)))
    assert fitted.to_raw(fitted.apply(np.array([4.0, 1.0])), 0)[0] == pytest.approx(4.0)


def test_json_round_trip_is_exact():
    fitted = Normaliser.fit(np.random.default_rng(1).normal(0.1, 1e-7, (99, 4)) / 3)
    again = Normaliser.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again.mean.tobytes() == fitted.mean.tobytes()
    assert again.deviation.tobytes() == fitted.deviation.tobytes()


def test_a_column_never_seen_in_training_scales_to_zero():
    fitted = Normaliser.fit(np.array([[1.0, np.nan], [2.0, np.nan]]))
    np.testing.assert_array_equal(fitted.apply(np.array([1.5, 20.0])), [0.0, 0.0])


@pytest.mark.parametrize("rows", [np.empty((0, 3)), np.array([[1.0, np.inf]])])
def test_useless_rows_are_refused(rows):
    with pytest.raises(ValueError, match="rows"):
        Normaliser.fit(rows)


def test_damaged_values_are_refused():
    with pytest.raises(ValueError, match="mean and deviation"):
        Normaliser.from_dict({"mean": [1.0]})
    with pytest.raises(ValueError, match="agree"):
        Normaliser.from_dict({"mean": [1.0], "deviation": [1.0, 2.0]})
