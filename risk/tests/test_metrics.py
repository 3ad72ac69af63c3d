"""Metrics against values worked by hand, published oracles, and pandas and SciPy."""

import csv
import json
import math
from datetime import date
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from risk import metrics

ORACLES = Path(__file__).resolve().parents[2].parent / "shared" / "data" / "oracles"
needs_oracles = pytest.mark.skipif(not ORACLES.is_dir(), reason="the published metric oracles are not on this machine")


def test_drawdown_is_measured_from_the_running_peak():
    # 30 below a peak of 120 is a quarter; the later high of 150 changes nothing before it
    np.testing.assert_allclose(metrics.drawdown(np.array([100.0, 120.0, 90.0, 150.0])), [0.0, 0.0, 0.25, 0.0])
    assert metrics.max_drawdown(np.array([100.0, 120.0, 90.0, 150.0])) == 0.25


@pytest.mark.parametrize("equity", [[], [100.0, 0.0], [100.0, -1.0], [100.0, math.nan], [1.0, math.inf], [[1.0]]])
def test_equity_that_is_empty_or_not_positive_is_refused(equity):
    with pytest.raises(ValueError, match="equity must be"):
        metrics.drawdown(np.array(equity))
    with pytest.raises(ValueError, match="equity must be"):
        metrics.summary(np.array(equity), 252)


def test_longest_drawdown_counts_bars_below_a_peak_even_when_still_open():
    # peak 120 in row 1, below it in rows 2 to 4 (3 bars), 121 in row 5; then 2 bars below
    equity = np.array([100.0, 120.0, 90.0, 100.0, 119.0, 121.0, 120.0, 120.0])
    assert metrics.longest_drawdown_span(equity) == (1, 4)
    assert metrics.longest_drawdown_bars(equity) == 3
    assert metrics.longest_drawdown_bars(equity[:4]) == 2
    assert metrics.longest_drawdown_bars(np.array([1.0, 1.0, 2.0])) == 0


def test_returns_are_simple_fractions_per_bar():
    # 110/100 - 1 = 0.1; 99/110 - 1 = -0.1; in all 99/100 - 1 = -0.01
    equity = np.array([100.0, 110.0, 99.0])
    np.testing.assert_allclose(metrics.returns(equity), [0.1, -0.1])
    assert metrics.total_return(equity) == pytest.approx(-0.01)
    assert metrics.returns(np.array([5.0])).shape == (0,)


def test_annual_return_compounds():
    # 21 % in two quarters is 10 % a quarter: 1.1^4 - 1 = 0.4641 a year
    assert metrics.annual_return(np.array([100.0, 105.0, 121.0]), 4) == pytest.approx(0.4641)
    assert math.isnan(metrics.annual_return(np.array([100.0]), 4))


def test_volatility_sharpe_and_sortino_by_hand():
    # returns 0.1, -0.1, 0.3: mean 0.1; deviations 0, -0.2, 0.2: sample variance 0.08/2 = 0.04, deviation 0.2
    equity = np.array([100.0, 110.0, 99.0, 128.7])
    assert metrics.annual_volatility(equity, 4) == pytest.approx(0.2 * 2)
    assert metrics.sharpe_ratio(equity, 4) == pytest.approx(0.1 / 0.2 * 2)
    # 8 % a year is 2 % a quarter: (0.1 - 0.02)/0.2 * 2 = 0.8
    assert metrics.sharpe_ratio(equity, 4, rate_per_year=0.08) == pytest.approx(0.8)
    # downside: one of three bars, sqrt(0.01/3) = 0.0577350; 0.1/0.0577350 * 2 = 3.4641
    assert metrics.sortino_ratio(equity, 4) == pytest.approx(2 * math.sqrt(3))


def test_ratios_without_deviation_are_zero_for_an_idle_account_and_nan_otherwise():
    idle, steady = np.full(5, 100.0), 100.0 * 1.01 ** np.arange(5)
    for ratio in (metrics.sharpe_ratio, metrics.sortino_ratio, metrics.calmar_ratio):
        assert ratio(idle, 252) == 0.0
        assert math.isnan(ratio(steady, 252))
    assert math.isnan(metrics.sharpe_ratio(np.array([100.0, 101.0]), 252))
    assert math.isnan(metrics.sortino_ratio(np.array([100.0]), 252))


def test_calmar_is_annual_return_over_the_deepest_drawdown():
    # 4 quarters, 100 to 120: 20 % a year; deepest 110 to 99: 10 %; 0.2/0.1 = 2
    assert metrics.calmar_ratio(np.array([100.0, 110.0, 99.0, 110.0, 120.0]), 4) == pytest.approx(2.0)


def test_profit_factor_and_win_rate():
    # gains 30 + 10, losses 15 + 5: 40/20 = 2; two of five above 0
    results = np.array([30.0, -15.0, 10.0, -5.0, 0.0])
    assert metrics.profit_factor(results) == 2.0
    assert metrics.win_rate(results) == pytest.approx(0.4)
    assert metrics.profit_factor(np.array([1.0])) == math.inf
    assert math.isnan(metrics.profit_factor(np.array([]))) and math.isnan(metrics.profit_factor(np.array([0.0])))
    assert math.isnan(metrics.win_rate(np.array([])))
    with pytest.raises(ValueError, match="trade_results"):
        metrics.win_rate(np.array([1.0, math.nan]))


def test_exposure_share_and_turnover():
    assert metrics.exposure_share(np.array([0.0, 10.0, -10.0, 0.0])) == 0.5
    assert math.isnan(metrics.exposure_share(np.array([])))
    # 100 bought, 100 sold on mean equity 100 in 4 of 8 bars a year: 200/100 * 8/4 = 4
    assert metrics.turnover(np.array([0.0, 100.0, 0.0, -100.0]), np.full(4, 100.0), 8) == pytest.approx(4.0)
    with pytest.raises(ValueError, match="traded_value has shape"):
        metrics.turnover(np.array([1.0]), np.full(4, 100.0), 8)


@pytest.mark.parametrize("periods", [0, -1, math.nan, math.inf])
def test_periods_per_year_must_be_positive(periods):
    with pytest.raises(ValueError, match="periods_per_year"):
        metrics.sharpe_ratio(np.array([1.0, 2.0, 3.0]), periods)


def test_summary_names_every_metric_of_equity():
    equity = np.array([100.0, 110.0, 99.0, 128.7])
    found = metrics.summary(equity, 4)
    assert found["total_return"] == pytest.approx(0.287)
    assert found["sharpe_ratio"] == pytest.approx(1.0)
    assert found["max_drawdown"] == pytest.approx(0.1)
    assert found["longest_drawdown_bars"] == 1.0
    assert set(found) == {
        "total_return",
        "annual_return",
        "annual_volatility",
        "sharpe_ratio",
        "sortino_ratio",
        "calmar_ratio",
        "max_drawdown",
        "longest_drawdown_bars",
    }
    assert all(type(value) is float for value in found.values())


def test_metrics_agree_with_empyricals_formulas_in_pandas_and_scipy():
    # empyrical: Sharpe = mean/std(ddof 1)*sqrt(252); Sortino = mean*252 / (sqrt(mean(min(r,0)^2))*sqrt(252));
    # Calmar = annual return / |max drawdown|; annual return = (ending value)^(252/n) - 1
    equity = 1e5 * np.cumprod(1 + np.random.default_rng(7).normal(4e-4, 0.012, 1000))
    changes = pd.Series(equity).pct_change().dropna()
    growth = (1 + changes).cumprod()
    deepest = -(growth / growth.cummax().clip(lower=1.0) - 1).min()
    yearly = growth.iloc[-1] ** (252 / len(changes)) - 1
    lower = np.sqrt((changes.clip(upper=0) ** 2).mean())
    found = metrics.summary(equity, 252)
    assert found["annual_volatility"] == pytest.approx(changes.std() * 252**0.5, rel=1e-10)
    # the t statistic of a mean is mean/std*sqrt(n)
    t_statistic = stats.ttest_1samp(changes, 0.0).statistic
    assert found["sharpe_ratio"] == pytest.approx(t_statistic / len(changes) ** 0.5 * 252**0.5, rel=1e-10)
    assert found["sortino_ratio"] == pytest.approx(changes.mean() * 252 / (lower * 252**0.5), rel=1e-10)
    assert found["annual_return"] == pytest.approx(yearly, rel=1e-10)
    assert found["max_drawdown"] == pytest.approx(deepest, rel=1e-10)
    assert found["calmar_ratio"] == pytest.approx(yearly / deepest, rel=1e-10)


@needs_oracles
def test_published_cases_on_tiny_return_series():
    oracle = json.loads((ORACLES / "return_metrics.json").read_text(encoding="utf-8"))
    for case in oracle["cases"]:
        series = oracle["series"][case["returns"]]
        # A missing return is left out, except that the annual return counts it as a bar without change.
        kept = [0.0 if r is None else r for r in series if r is not None or case["metric"] == "annual_return"]
        equity = np.cumprod([100.0, *(1 + np.array(kept))])
        found = {
            "max_drawdown": lambda e, _: -metrics.max_drawdown(e),  # published as a negative number
            "cum_return_final": lambda e, _: metrics.total_return(e),
            "annual_return": metrics.annual_return,
            "annual_volatility": metrics.annual_volatility,
            "sharpe": metrics.sharpe_ratio,
        }[case["metric"]](equity, case.get("periods", 252))
        # "negative" is published to 7 digits
        decimals = min(case.get("decimals", 8), len(str(case["expected"]).split(".")[1]) if case["expected"] else 8)
        assert found == pytest.approx(case["expected"], abs=1.5 * 10.0**-decimals), case


@needs_oracles
def test_published_buy_and_hold_of_one_share():
    oracle = json.loads((ORACLES / "ige_buy_and_hold.json").read_text(encoding="utf-8"))["expected"]
    with (ORACLES / "ige_2001_2007.csv").open(encoding="utf-8") as file:
        rows = list(csv.DictReader(file))
    close = np.array([float(row["adj_close"]) for row in rows])
    days = [date.fromisoformat(row["date"]) for row in rows]
    assert close[-1] - close[0] == pytest.approx(oracle["profit"], abs=0.005)
    # The publication counts the first bar as a return of zero.
    with_first_bar = np.concatenate([close[:1], close])
    assert metrics.sharpe_ratio(with_first_bar, 252, 0.04) == pytest.approx(oracle["sharpe_annual_rf4pct"], abs=5e-5)
    per_bar = metrics.sharpe_ratio(with_first_bar, 252, 0.04) / math.sqrt(252)
    assert per_bar == pytest.approx(oracle["sharpe_per_period_rf4pct"], abs=5e-5)
    assert metrics.max_drawdown(close) == pytest.approx(oracle["max_drawdown"], abs=5e-6)
    peak, last = metrics.longest_drawdown_span(close)
    assert (days[last] - days[peak]).days == oracle["longest_drawdown_days"]
