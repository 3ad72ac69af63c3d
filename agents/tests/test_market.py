from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import numpy as np
import pytest
import talib

from agents.environment.env import Market
from agents.environment.market import average_true_range, market_of, session_days
from agents.tests.markets import stormy
from agents.tests.worlds import walk
from core.simulation import kernel
from marketdata.calendars import sessions
from marketdata.series import BarSeries

DAY = 86_400


def seconds(*moments: str) -> np.ndarray:
    return np.array([int(datetime.fromisoformat(moment).replace(tzinfo=UTC).timestamp()) for moment in moments])


def test_a_market_of_bars_knows_ranges_days_fees_and_average_range():
    bars = walk(60)
    market = market_of(bars, np.zeros((60, 2)))
    assert market.bars.shape == (60, 1, kernel.N_BAR)
    for name in ("open", "high", "low", "close", "volume"):
        np.testing.assert_array_equal(getattr(market, name), getattr(bars, name))
    np.testing.assert_array_equal(market.day, bars.time // DAY)
    np.testing.assert_array_equal(market.atr, talib.ATR(bars.high, bars.low, bars.close, 14))
    assert market.actions.shape == (0, 2) and market.fees.shape == (60, 3)
    assert market.inputs.dtype == np.float32 and (market.n_features, market.n_instruments) == (2, 1)


def test_open_and_close_lie_in_the_range_whatever_the_source_says():
    bars = walk(30)
    odd = BarSeries(bars.time, bars.open, bars.close * 0.99, bars.close * 1.01, bars.close, bars.volume)
    market = market_of(odd, np.zeros((30, 1)))
    assert (market.high >= np.maximum(market.open, market.close)).all()
    assert (market.low <= np.minimum(market.open, market.close)).all()


def test_the_average_true_range_by_wilder_worked_by_hand():
    # Closes of 100, ranges of 2, so every true range is 2; then a gap to 110 with a range of 4.
    n = 17
    close = np.full(n, 100.0)
    high, low = close + 1, close - 1
    close[15], high[15], low[15] = 110.0, 112.0, 108.0
    close[16], high[16], low[16] = 110.0, 111.0, 109.0
    bars = BarSeries(np.arange(n) * DAY, close, high, low, close, np.ones(n))
    atr = average_true_range(bars)
    assert np.isnan(atr[:14]).all() and atr[14] == pytest.approx(2.0)
    # True range 112 - 100 = 12: (13 · 2 + 12) / 14; then (13 · that + 2) / 14.
    assert atr[15] == pytest.approx(38 / 14)
    assert atr[16] == pytest.approx((13 * 38 / 14 + 2) / 14)


def test_a_split_is_no_move_of_the_price():
    bars, actions = walk(60), np.tile([1.0, 0.0], (60, 1))
    actions[30, 0] = 4.0
    factor = np.cumprod(actions[:, 0])
    split = BarSeries(
        bars.time, *(getattr(bars, name) / factor for name in ("open", "high", "low", "close")), bars.volume
    )
    np.testing.assert_allclose(average_true_range(split, actions), average_true_range(bars) / factor, rtol=1e-12)


def test_an_intraday_bar_has_the_date_of_its_session():
    # Regular hours end at 21:00 UTC in winter; 01:30 UTC on the 6th is still the evening of the 5th in New York.
    time = seconds("2024-01-05T14:30", "2024-01-05T20:55", "2024-01-06T01:30", "2024-01-08T09:00", "2024-01-08T14:30")
    found = session_days(time, 300, sessions("XNYS", date(2024, 1, 1), date(2024, 1, 31)), ZoneInfo("America/New_York"))
    days = [date(1970, 1, 1).fromordinal(date(1970, 1, 1).toordinal() + int(day)) for day in found]
    assert days == [date(2024, 1, 5)] * 3 + [date(2024, 1, 8)] * 2
    without = session_days(time, 300)
    assert without[2] == without[1] + 1, "without a calendar it is the UTC date"


def test_an_overnight_session_has_the_date_it_ends_on():
    # CME: Monday's session begins on Sunday at 17:00 in Chicago, 23:00 UTC in winter.
    time = seconds("2024-01-07T23:30", "2024-01-08T15:00", "2024-01-08T23:30")
    found = session_days(time, 300, sessions("CMES", date(2024, 1, 1), date(2024, 1, 31)), ZoneInfo("America/Chicago"))
    assert list(found - found[0]) == [0, 0, 1]
    assert found[0] == (date(2024, 1, 8) - date(1970, 1, 1)).days


def test_several_instruments_stand_side_by_side():
    one, two = stormy(seed=1), stormy(seed=2, n_features=4)
    both = Market.several([one, two])
    assert (len(both), both.n_features, both.n_instruments) == (260, 7, 2)
    np.testing.assert_array_equal(both.features[:, 3:], two.features)
    np.testing.assert_array_equal(both.close, np.column_stack([one.close, two.close]))
    with pytest.raises(ValueError, match="2 instruments"):
        _ = both.actions
    with pytest.raises(ValueError, match="same rows"):
        Market.several([one, stormy(n_bars=200)])
    with pytest.raises(ValueError, match="at least one"):
        Market.several([])


def test_features_of_another_length_or_scale_are_refused():
    prices = np.full(5, 10.0)
    for features, message in ((np.zeros((4, 1)), "one row per bar"), (np.full((5, 1), 5.1), "normalised")):
        with pytest.raises(ValueError, match=message):
            Market(features, prices, prices, prices, np.zeros((5, 3)))
