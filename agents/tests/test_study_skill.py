"""What a study's best trial is worth when only the trials' medians are known, and how that is said."""

import numpy as np
import pytest

from agents.studies.skill import judge_sharpes
from agents.training_pages.skill_words import skill_words


def test_the_best_of_several_medians_by_hand() -> None:
    # 4 trials on 400 bars: a median counts as 400 / (pi / 2) = 254.65 bars, so chance alone spreads their Sharpe ratios
    # by 1 / sqrt(254.65) = 0.06267. Theirs spread by sqrt(0.00225) = 0.0474 about their mean of 0.06, which is less,
    # so chance it is. The expected best of 4: (1 - 0.57722) * Phi^-1(0.75) + 0.57722 * Phi^-1(1 - 1 / (4 e))
    # = 0.42278 * 0.67449 + 0.57722 * 1.32845 = 1.05196; times 0.06267 is 0.06592.
    # Chance: (0.12 - 0.06592) / sqrt((1 + 0.06592^2 / 2) / 254.65) = 0.05408 / 0.06273 = 0.8620, Phi = 0.8057.
    found = judge_sharpes(0.12, [0.12, 0.08, 0.05, -0.01], 400)
    assert found.luck == pytest.approx(0.06592, abs=2e-5)
    assert found.chance == pytest.approx(0.8057, abs=2e-4)
    assert (found.n_trials, found.n_bars, found.proven) == (4, 400, False)
    # A single try is held against nothing: 0.12 * sqrt(254.65) = 1.9149, Phi = 0.9723.
    alone = judge_sharpes(0.12, [0.12], 400)
    assert (alone.luck, alone.proven) == (0.0, True)
    assert alone.chance == pytest.approx(0.9723, abs=2e-4)
    # Trials further apart than chance explains raise the bar: 0.3 and -0.3 spread by 0.3.
    # The expected best of 2: 0.42278 * 0 + 0.57722 * Phi^-1(1 - 1 / (2 e)) = 0.57722 * 0.90046 = 0.51976.
    assert judge_sharpes(0.3, [0.3, -0.3], 400).luck == pytest.approx(0.3 * 0.51976, abs=2e-5)


@pytest.mark.parametrize(("n_trials", "n_folds"), [(1, 3), (4, 2), (12, 3), (20, 5)])
def test_studies_without_skill_report_it_in_at_most_one_of_twenty(n_trials: int, n_folds: int) -> None:
    random, n_bars, called = np.random.default_rng(n_trials), 200, 0
    for _ in range(300):
        returns = random.normal(0.0, 0.01, (n_trials, n_folds, n_bars))
        values = np.median(returns.mean(axis=2) / returns.std(axis=2, ddof=1), axis=1)
        called += judge_sharpes(values.max(), list(values), n_folds * n_bars).proven
    assert called <= 0.05 * 300, called


def test_real_skill_is_seen_among_medians_and_missing_numbers_are_refused() -> None:
    assert judge_sharpes(0.25, [0.25, 0.02, -0.03, 0.01, 0.0, 0.04], 900).proven
    with pytest.raises(ValueError, match="n_bars is 19"):
        judge_sharpes(0.1, [0.1], 19)
    for best, trials in ((0.1, []), (float("nan"), [0.1]), (0.1, [0.1, float("inf")])):
        with pytest.raises(ValueError, match="finite"):
            judge_sharpes(best, trials, 100)


def test_the_sentence_says_plainly_whether_it_was_luck() -> None:
    # Per year is per bar times sqrt(252) = 15.8745: 0.06592 is 1.05, 0.12 is 1.90.
    said = skill_words(judge_sharpes(0.12, [0.12, 0.08, 0.05, -0.01], 400).to_dict(), 252)
    assert said == (
        "The best settings cannot be told from luck: the best of 4 tries without any skill shows a Sharpe ratio of "
        "about 1.05 a year; these show 1.90, better than that with a chance of only 81 %."
    )
    alone = skill_words(judge_sharpes(0.12, [0.12], 400).to_dict(), 252)
    assert alone == "Better than luck of a single try with a chance of 97 %."
    assert "with a chance of only 87 %" in skill_words(judge_sharpes(0.07, [0.07], 400).to_dict(), 252)  # Phi(1.117)
    assert "earned nothing" in skill_words(judge_sharpes(-0.1, [-0.1, -0.2], 400).to_dict(), 252)
    certain = skill_words(judge_sharpes(0.4, [0.4], 900).to_dict(), 252)
    assert certain == "Better than luck of a single try with a chance of more than 99 %."
