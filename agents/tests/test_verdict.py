"""The words of a backtest, and the range of its Sharpe ratio."""

import pytest

from agents.verdict import bars_per_year, doubt, sharpe_range, verdict

GOOD = {"total_return": 0.59, "max_drawdown": 0.13, "sharpe_ratio": 0.92, "n_trades": 12}
HOLD = {"total_return": 0.24, "max_drawdown": 0.32}


def test_bars_per_year_counts_trading_days_only():
    # 252 bars in 365.25 days is 252 a year; 126 bars in half of that too
    assert bars_per_year(252, 365.25) == pytest.approx(252)
    assert bars_per_year(126, 182.625) == pytest.approx(252)
    assert bars_per_year(0, 10) is None


def test_range_of_a_sharpe_ratio_of_zero_over_a_year():
    # per bar 0, so the variance is 1 / 252; annual error sqrt(1 / 252) * sqrt(252) = 1; 90 % is 1.645 of it
    assert sharpe_range(0.0, 252, 252) == pytest.approx((-1.645, 1.645))


def test_range_widens_a_little_with_the_ratio_itself():
    # per bar 2 / sqrt(252) = 0.12599, squared 0.015873; variance (1 + 0.0079365) / 252;
    # annual error sqrt(1.0079365) = 1.00396
    low, high = sharpe_range(2.0, 252, 252)
    assert (high - low) / 2 == pytest.approx(1.645 * 1.0079365**0.5)


def test_a_result_that_may_be_luck_says_so():
    words = " ".join(verdict(GOOD, HOLD, sure=(-0.2, 2.0), n_trials=4, unseen=True))
    assert "earned 59.0\u202f% after costs where buying and holding earned 24.0\u202f%" in words
    assert "fell at most 13.0\u202f% below its peak instead of 32.0\u202f%" in words
    assert "cannot be told from luck" in words and "−0.20 to 2.00" in words
    assert "picked from 4 trials" in words and "not proof" in words


def test_a_loss_and_a_validation_period_are_named():
    words = " ".join(verdict({"total_return": -0.1, "n_trades": 0}, {}, sure=None, n_trials=1, unseen=False))
    assert "It lost 10.0\u202f% after costs." in words
    assert "never closed a trade" in words and "expect less elsewhere" in words


def test_without_a_result_it_claims_nothing():
    assert verdict({}, HOLD, sure=None, n_trials=4, unseen=True) == [
        "It has no result: the policy's equity was not measured."
    ]


def test_doubt_names_the_worst_first():
    assert doubt({"total_return": -0.01}, {"total_return": -0.5}, sure=(0.1, 0.9)) == "lost money"
    assert doubt({"total_return": 0.1}, {"total_return": 0.2}, sure=(0.1, 0.9)) == "less than holding"
    assert doubt({"total_return": 0.3}, {"total_return": 0.2}, sure=(-0.1, 0.9)) == "may be luck"
    assert doubt({"total_return": 0.3}, {"total_return": 0.2}, sure=(0.1, 0.9)) == ""
    assert doubt({}, {}, sure=None) == "not measured"
