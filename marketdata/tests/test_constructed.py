from dataclasses import replace

import numpy as np
import pytest

from marketdata.constructed import LeverageTerms, constructed_leverage
from marketdata.series import BarSeries
from marketdata.tests import shared_data

DAY = 86_400
FREE = LeverageTerms(factor=3.0, financing_rate=0.0, yearly_fee=0.0)
INDEX = BarSeries(
    np.array([0, 1, 4]) * DAY,
    np.array([100.0, 101.0, 98.0]),
    np.array([102.0, 104.0, 100.0]),
    np.array([99.0, 100.0, 95.0]),
    np.array([100.0, 102.0, 96.9]),
    np.array([7.0, 7.0, 7.0]),
)


def test_three_times_each_move_by_hand():
    fund = constructed_leverage(INDEX, FREE, start_value=10.0)
    # Bar 0 over its own open 100: open 0 %, high +2 % -> +6 %, low -1 % -> -3 %, close 0 %
    # Bar 1 over 100: +1, +4, 0, +2 % -> 10.3, 11.2, 10.0, 10.6
    # Bar 2 over 102: close -5 % -> -15 %: 10.6 * 0.85 = 9.01; high 100/102 - 1 = -2/102 -> 10.6 * (1 - 6/102)
    np.testing.assert_allclose(fund.open, [10.0, 10.3, 10.6 * (1 - 12 / 102)])
    np.testing.assert_allclose(fund.high, [10.6, 11.2, 10.6 * (1 - 6 / 102)])
    np.testing.assert_allclose(fund.low, [9.7, 10.0, 10.6 * (1 - 21 / 102)])
    np.testing.assert_allclose(fund.close, [10.0, 10.6, 9.01])
    np.testing.assert_array_equal(fund.volume, 0.0)


def test_costs_run_by_calendar_days():
    terms = LeverageTerms(factor=3.0, financing_rate=0.036, yearly_fee=0.0365)
    price = np.full(3, 50.0)
    flat = BarSeries(np.array([0, 1, 4]) * DAY, price, price, price, price, np.zeros(3))
    fund = constructed_leverage(flat, terms, start_value=100.0)
    # A day: 2 * 0.036 / 360 + 0.0365 / 365 = 0.0002 + 0.0001 = 0.0003; over a weekend three times that
    np.testing.assert_allclose(fund.close, [100.0, 100.0 * 0.9997, 100.0 * 0.9997 * 0.9991])


def test_an_inverse_fund_swaps_high_and_low():
    fund = constructed_leverage(INDEX, replace(FREE, factor=-1.0), start_value=10.0)
    np.testing.assert_allclose(fund.close, [10.0, 9.8, 9.8 * 1.05])
    assert (fund.low <= np.minimum(fund.open, fund.close)).all() and (
        fund.high >= np.maximum(fund.open, fund.close)
    ).all()


def test_a_low_inside_the_day_never_reaches_zero_and_a_lost_close_is_refused():
    crash = replace(INDEX, low=np.array([99.0, 60.0, 95.0]))
    assert constructed_leverage(crash, FREE, start_value=10.0).low[1] == pytest.approx(1e-5)
    lost = replace(INDEX, low=np.array([99.0, 60.0, 95.0]), close=np.array([100.0, 60.0, 96.9]))
    with pytest.raises(ValueError, match="loses everything on bar 1"):
        constructed_leverage(lost, FREE, start_value=10.0)


def test_later_bars_change_no_earlier_bar():
    changed = replace(INDEX, close=np.array([100.0, 102.0, 99.0]))
    before, after = (constructed_leverage(index, FREE, start_value=10.0) for index in (INDEX, changed))
    np.testing.assert_array_equal(before.close[:2], after.close[:2])


def test_no_bars_and_a_bad_start_value():
    assert len(constructed_leverage(BarSeries.empty(), FREE, start_value=1.0)) == 0
    with pytest.raises(ValueError, match="start_value is 0"):
        constructed_leverage(INDEX, FREE, start_value=0.0)


def test_a_constructed_tqqq_tracks_the_real_one():
    index, real = shared_data.daily("QQQ"), shared_data.daily("TQQQ")
    common = index.index.intersection(real.index)
    # Dividends count in the fund's value, so both are compared by their adjusted closes.
    index, real = index.loc[common].assign(close=index["adj_close"]), real.loc[common]
    scale = index["adj_close"] / shared_data.daily("QQQ").loc[common, "close"]
    for name in ("open", "high", "low"):
        index[name] = index[name] * scale
    terms = LeverageTerms(factor=3.0, financing_rate=0.004, yearly_fee=0.0095)  # short rates 2010-2018 were near 0.4 %
    fund = constructed_leverage(shared_data.bars(index), terms, start_value=100.0)
    ours = fund.close[1:] / fund.close[:-1] - 1
    theirs = real["adj_close"].to_numpy()[1:] / real["adj_close"].to_numpy()[:-1] - 1
    assert np.corrcoef(ours, theirs)[0, 1] > 0.998
    assert np.std(ours - theirs) < 0.002
    years = (common[-1] - common[0]) / (365.25 * DAY)
    gap = np.log(np.prod(1 + ours) / np.prod(1 + theirs)) / years
    assert abs(gap) < 0.01  # less than one percent a year apart over nine years
    assert np.corrcoef(fund.low[1:] / fund.close[:-1], real["low"][1:] / real["close"].to_numpy()[:-1])[0, 1] > 0.98
