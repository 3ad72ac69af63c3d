import json

import numpy as np
import pytest
from scipy import stats
from scipy.stats import norm

from agents.policies.normaliser import Normaliser

pytestmark = pytest.mark.filterwarnings("error")
NAN = np.nan


def test_scaling_worked_by_hand_with_missing_constant_and_extreme_values():
    # Column 0: mean 2, squares 1, 1, 0: deviation sqrt(2/3). Column 1 is constant. Column 2: of 0 and 10 only.
    fitted = Normaliser.fit(np.array([[1.0, 7.0, 0.0], [3.0, 7.0, 10.0], [2.0, 7.0, np.nan]]))
    np.testing.assert_allclose(fitted.centre, [2.0, 7.0, 5.0])
    np.testing.assert_allclose(fitted.spread, [np.sqrt(2 / 3), 0.0, 5.0])
    scaled = fitted.apply(np.array([[2.0 + np.sqrt(2 / 3), 9.0, np.nan], [1e9, 7.0, -20.0]]))
    np.testing.assert_allclose(scaled, [[1.0, 0.0, 0.0], [5.0, 0.0, -5.0]])


def test_raw_values_come_back():
    fitted = Normaliser.fit(np.random.default_rng(0).normal(3, 2, (50, 2)))
    assert fitted.to_raw(fitted.apply(np.array([4.0, 1.0])), 0)[0] == pytest.approx(4.0)


def test_json_round_trip_is_exact():
    fitted = Normaliser.fit(np.random.default_rng(1).normal(0.1, 1e-7, (99, 4)) / 3)
    again = Normaliser.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert again.centre.tobytes() == fitted.centre.tobytes()
    assert again.spread.tobytes() == fitted.spread.tobytes()


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


def test_the_z_scores_dict_is_as_stored_models_have_it():
    fitted = Normaliser.fit(np.array([[1.0], [3.0]]))
    assert fitted.to_dict() == {"mean": [2.0], "deviation": [1.0]}
    assert Normaliser.from_dict({"mean": [2.0], "deviation": [1.0]}).kind == "zscore"


def test_robust_worked_by_hand_with_missing_constant_and_rare_values():
    # Column 0: 1 to 5, quartiles 2 and 4; column 1 is constant; column 2 is 0 but once, so its deviation decides:
    # mean 2, squares 4 * 2^2 + 8^2 = 80, of five: 16; column 3 was never seen.
    rows = np.array([[5.0, 7.0, 0.0], [1.0, 7.0, 0.0], [3.0, 7.0, 10.0], [2.0, 7.0, 0.0], [4.0, 7.0, 0.0]])
    rows = np.column_stack([rows, np.full(5, NAN)])
    rows = np.vstack([rows, [NAN, 7.0, NAN, NAN]])
    fitted = Normaliser.fit(rows, "robust")
    np.testing.assert_allclose(fitted.centre, [3.0, 7.0, 0.0, 0.0])
    np.testing.assert_allclose(fitted.spread, [2.0 / (2 * norm.ppf(0.75)), 0.0, 4.0, 0.0])
    scaled = fitted.apply(np.array([[3.0, 8.0, 4.0, 1.0], [NAN, 7.0, 1e9, NAN]]))
    np.testing.assert_allclose(scaled, [[0.0, 0.0, 1.0, 0.0], [0.0, 0.0, 5.0, 0.0]])


def test_one_outlier_moves_the_mean_but_not_the_median():
    rows = np.random.default_rng(0).normal(size=(999, 1))
    wild = np.vstack([rows, [[1e6]]])
    np.testing.assert_allclose(Normaliser.fit(wild, "robust").spread, Normaliser.fit(rows, "robust").spread, rtol=0.01)
    assert Normaliser.fit(wild).spread > 1e4


def test_robust_agrees_with_scipy_on_normal_data():
    rows = np.random.default_rng(1).normal(3.0, 2.0, (2_001, 3))
    fitted = Normaliser.fit(rows, "robust")
    np.testing.assert_allclose(fitted.spread, stats.iqr(rows, axis=0, scale="normal"), rtol=1e-12)
    np.testing.assert_allclose(fitted.centre, np.median(rows, axis=0), rtol=1e-15)


def test_min_max_worked_by_hand():
    fitted = Normaliser.fit(np.array([[2.0, 7.0, NAN], [6.0, 7.0, NAN], [NAN, 7.0, NAN]]), "minmax")
    scaled = fitted.apply(np.array([[2.0, 7.0, 1.0], [6.0, 9.0, 1.0], [5.0, NAN, NAN], [100.0, 7.0, 0.0]]))
    np.testing.assert_allclose(scaled[:, 0], [-1.0, 1.0, 0.5, 1.0])
    assert not scaled[:, 1:].any()
    assert fitted.to_raw(np.array(0.5), 0) == 5.0


@pytest.mark.parametrize("kind", ["robust", "minmax"])
def test_the_other_kinds_come_back_exactly(kind):
    rows = np.random.default_rng(1).normal(0.1, 1e-7, (99, 4)) / 3
    fitted = Normaliser.fit(rows, kind)
    again = Normaliser.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert (again.kind, again.limit) == (kind, fitted.limit)
    assert again.apply(rows).tobytes() == fitted.apply(rows).tobytes()


def test_an_unknown_kind_is_refused():
    with pytest.raises(ValueError, match="zscore, robust, minmax"):
        Normaliser.fit(np.ones((2, 1)), "rank")
    with pytest.raises(ValueError, match="unknown normaliser 'rank'"):
        Normaliser.from_dict({"kind": "rank"})
