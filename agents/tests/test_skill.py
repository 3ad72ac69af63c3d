"""Skill against luck: hand-worked values of Bailey and Lopez de Prado's formula, and chance on noise."""

import numpy as np
import pytest
from scipy.stats import norm

from agents.studies.skill import judge, judge_study, sharpe_of, stitched

EULER = 0.5772156649015329


def by_hand(returns: np.ndarray, luck: float) -> float:
    """Their formula (8): PSR(SR0) = Phi((SR - SR0) sqrt(T - 1) / sqrt(1 - skew SR + (kurtosis - 1) / 4 SR^2))."""
    n, mean, spread = len(returns), returns.mean(), returns.std(ddof=1)
    centred = returns - mean
    skew = (centred**3).mean() / (centred**2).mean() ** 1.5
    kurtosis = (centred**4).mean() / (centred**2).mean() ** 2
    sharpe = mean / spread
    return float(
        norm.cdf((sharpe - luck) * np.sqrt(n - 1) / np.sqrt(1 - skew * sharpe + (kurtosis - 1) / 4 * sharpe**2))
    )


def test_one_trial_is_held_against_nothing() -> None:
    returns = np.random.default_rng(1).normal(0.001, 0.01, 500)
    found = judge(returns, np.array([returns.mean() / returns.std(ddof=1)]))
    assert found.luck == 0.0
    assert found.chance == pytest.approx(by_hand(returns, 0.0), abs=2e-3)


def test_luck_grows_with_the_number_of_trials_as_the_paper_says() -> None:
    random = np.random.default_rng(2)
    returns, sharpes = random.normal(0.001, 0.01, 750), random.normal(0.0, 0.08, 40)
    found = judge(returns, sharpes)
    # Their formula (7): the expected maximum of N draws of the trials' spread.
    expected = sharpes.std() * ((1 - EULER) * norm.ppf(1 - 1 / 40) + EULER * norm.ppf(1 - 1 / (40 * np.e)))
    assert found.luck == pytest.approx(expected, rel=0.02)
    assert found.chance == pytest.approx(by_hand(returns, found.luck), abs=2e-3)


def test_the_best_of_many_without_skill_is_seldom_called_skilled() -> None:
    random, called = np.random.default_rng(3), 0
    for _ in range(400):
        trials = random.normal(0.0, 0.01, (20, 500))
        sharpes = trials.mean(axis=1) / trials.std(axis=1, ddof=1)
        called += judge(trials[sharpes.argmax()], sharpes).proven
    assert called <= 0.08 * 400


def test_real_skill_is_seen() -> None:
    random = np.random.default_rng(4)
    trials = random.normal(0.0, 0.01, (10, 1_000))
    trials[3] += 0.002
    sharpes = trials.mean(axis=1) / trials.std(axis=1, ddof=1)
    assert sharpes.argmax() == 3
    assert judge(trials[3], sharpes).proven


def test_who_never_invested_has_shown_nothing() -> None:
    assert not judge(np.zeros(100), np.zeros(5)).proven


@pytest.mark.parametrize(
    ("returns", "sharpes", "message"),
    [
        (np.zeros(5), np.zeros(3), "at least 20"),
        (np.full(50, np.nan), np.zeros(3), "finite"),
        (np.zeros(50), np.empty(0), "trial_sharpes"),
    ],
)
def test_wrong_input_is_refused(returns: np.ndarray, sharpes: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        judge(returns, sharpes)


def test_a_studys_returns_are_the_mean_over_seeds_and_folds_follow_each_other() -> None:
    folds = [[np.array([0.01, 0.03]), np.array([0.03, 0.01])], [np.array([0.0, -0.02, 0.04])]]
    np.testing.assert_allclose(stitched(folds), [0.02, 0.02, 0.0, -0.02, 0.04])
    # Mean 0.012, sum of squares about it 0.00208, so variance 0.00052.
    assert sharpe_of(stitched(folds)) == pytest.approx(0.012 / 0.00052**0.5)
    assert sharpe_of(np.zeros(4)) == 0.0
    with pytest.raises(ValueError, match="fold 1: seeds have 2, 3 returns"):
        stitched([[np.zeros(2), np.zeros(3)]])


def test_a_study_is_judged_by_its_best_trial_against_all_that_have_returns() -> None:
    random = np.random.default_rng(7)
    trials = [[[random.normal(0.0, 0.01, 200) for _ in range(2)] for _ in range(3)] for _ in range(4)]
    trials.append([])  # failed before its first part
    found = judge_study(trials, 2)
    sharpes = np.array([sharpe_of(stitched(trial)) for trial in trials[:4]])
    assert found == judge(stitched(trials[2]), sharpes)
    assert (found.n_trials, found.n_bars) == (4, 600)
