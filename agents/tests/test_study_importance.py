"""Importance: a parameter that decides the score comes first, and too little evidence is said."""

import numpy as np
import pytest

from agents.studies.study_importance import FEWEST_TRIALS, importance, logarithmic, measure
from tests import factories


def made_up(n: int, seed: int = 0) -> list[tuple[dict, float]]:
    """Trials whose score is a parabola of the learning rate's logarithm, with a little noise; nothing else matters."""
    random = np.random.default_rng(seed)
    trials = []
    for _ in range(n):
        power = random.uniform(-4, -2)
        parameters = {
            "learning_rate": float(10**power), "width": int(random.choice([16, 32, 64])),
            "penalty": float(random.uniform(0.5, 2)), "drop": str(random.choice(["nothing", "momentum"])), "fixed": 1.0,
        }  # fmt: skip
        trials.append((parameters, float(-2 * (power + 3) ** 2 + 0.05 * random.normal())))
    return trials


@pytest.mark.parametrize("n", [20, 40, 200])
@pytest.mark.parametrize("seed", [1, 2, 3])
def test_the_parameter_that_decides_the_score_comes_first(n, seed):
    found = measure(made_up(n, seed))
    assert found.rows[0][0] == "learning_rate" and found.rows[0][1] > 0.5
    assert sum(share for _, share in found.rows) == pytest.approx(1.0)
    assert found.n_trials == n and not found.reason
    # a parameter that never changed is not measured
    assert "fixed" not in dict(found.rows)


def test_a_choice_can_matter_most():
    random = np.random.default_rng(5)
    trials = []
    for _ in range(60):
        width = int(random.choice([16, 32, 64]))
        trials.append(({"width": width, "penalty": float(random.random())}, float(width + random.normal())))
    assert measure(trials).rows[0][0] == "width"


def test_a_scale_is_told_by_where_the_middle_value_lies():
    assert logarithmic([1e-4, 3e-4, 1e-3, 3e-3, 1e-2])
    assert not logarithmic([0.01, 0.25, 0.5, 0.75, 1.0])
    assert not logarithmic([-1.0, 0.5, 100.0]) and not logarithmic([1.0, 1.2, 2.0])


def test_too_few_trials_are_said():
    found = measure(made_up(FEWEST_TRIALS - 1))
    assert found.rows == [] and "14 have finished, 15 are needed" in found.reason


@pytest.mark.parametrize(
    ("trials", "words"),
    [
        ([({"a": i}, 1.0) for i in range(20)], "scored the same"),
        ([({"a": 1}, float(i)) for i in range(20)], "more than one value"),
    ],
)
def test_nothing_to_compare_is_said(trials, words):
    assert words in measure(trials).reason


def test_a_single_varied_parameter_has_all_of_it():
    assert measure([({"a": float(i)}, float(i)) for i in range(20)]).rows == [("a", 1.0)]


@pytest.mark.django_db
def test_it_is_measured_once_for_every_number_of_trials(monkeypatch):
    run = factories.training_run(factories.desk().aapl, finished=True)
    calls = []
    monkeypatch.setattr(
        "agents.studies.study_importance.measure", lambda trials: calls.append(len(trials)) or measure(trials)
    )
    first, second = importance(run), importance(run)
    # three of the factory's four trials have a score
    assert calls == [3] and first == second and "3 have finished" in first.reason
