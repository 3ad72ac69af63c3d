"""Splits and dividends: worked by hand, as properties, and against adjusted closes somebody else computed."""

from datetime import UTC, date, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.adjusted import DIVIDEND, SPLIT, Mode, adjusted, day_start, per_bar
from marketdata.series import BarSeries
from marketdata.sources.base import Action
from marketdata.tests import shared_data

DAY = 86_400
FIRST = date(2024, 1, 1)


def daily(*closes: float, volume: float = 100.0) -> BarSeries:
    close = np.array(closes)
    time = day_start(FIRST, UTC) + np.arange(close.size) * DAY
    return BarSeries(time, close * 0.99, close * 1.02, close * 0.98, close, np.full(close.size, volume))


def on(day: int, kind: str, value: float) -> Action:
    return Action(FIRST + timedelta(days=day - 1), kind, value)


def returns(series: BarSeries) -> np.ndarray:
    return series.close[1:] / series.close[:-1] - 1.0


def test_two_for_one_split_and_half_a_dividend_by_hand():
    # Day 3: 2:1 after a close of 100, so earlier prices count 1/2 and earlier volume 2.
    # Day 5: 0.50 after a close of 50, so earlier prices count 1 − 0.5/50 = 0.99; volume stays.
    bars = daily(100, 100, 50, 50, 49.5)
    actions = [on(5, DIVIDEND, 0.5), on(3, SPLIT, 2.0)]

    back = adjusted(bars, actions, Mode.BACK)
    np.testing.assert_allclose(back.close, [49.5, 49.5, 49.5, 49.5, 49.5])
    np.testing.assert_allclose(back.volume, [200, 200, 100, 100, 100])

    forward = adjusted(bars, actions, Mode.FORWARD)
    np.testing.assert_allclose(forward.close, [100, 100, 100, 100, 100])
    np.testing.assert_allclose(forward.volume, [100, 100, 50, 50, 50])
    np.testing.assert_allclose(forward.high / forward.low, bars.high / bars.low)

    assert adjusted(bars, actions, Mode.RAW) is bars
    np.testing.assert_allclose(returns(back), 0.0, atol=1e-15)
    np.testing.assert_allclose(returns(forward), 0.0, atol=1e-15)


def test_the_example_vendors_publish():
    # Closes 46.99, 48.30, 24.96 (2:1 that day), 24.53 (0.08 that day): 23.42, 24.07, 24.88, 24.53
    back = adjusted(daily(46.99, 48.30, 24.96, 24.53), [on(3, SPLIT, 2.0), on(4, DIVIDEND, 0.08)], Mode.BACK)
    np.testing.assert_allclose(back.close, [23.42, 24.07, 24.88, 24.53], atol=0.005)


def test_a_chart_as_of_a_day_knows_neither_later_actions_nor_later_bars():
    bars = daily(100, 100, 50, 50, 49.5)
    actions = [on(3, SPLIT, 2.0), on(5, DIVIDEND, 0.5)]

    np.testing.assert_allclose(adjusted(bars, actions, Mode.BACK, date(2024, 1, 2)).close, [100, 100])
    np.testing.assert_allclose(adjusted(bars, actions, Mode.BACK, date(2024, 1, 4)).close, [50, 50, 50, 50])
    # On the morning of the 5th, before its bar, the chart is already without the dividend: 50·(1 − 0.5/50) = 49.5
    np.testing.assert_allclose(
        adjusted(bars.until(int(bars.time[3])), actions, Mode.BACK, date(2024, 1, 5)).close, 49.5
    )


def test_a_split_and_a_dividend_in_one_night_are_paid_on_the_new_shares():
    # 100 before; 2:1 makes 50; 1.00 on each new share leaves 49: a close of 49 is a return of nothing
    forward = adjusted(daily(100, 49), [on(2, DIVIDEND, 1.0), on(2, SPLIT, 2.0)], Mode.FORWARD)
    np.testing.assert_allclose(forward.close, [100, 100])
    np.testing.assert_allclose(forward.volume, [100, 50])


def test_a_dividend_before_a_split_without_a_bar_between_is_paid_on_the_old_shares():
    # bars of Friday (100) and Tuesday; 2.00 on Saturday's date leaves 98, 2:1 on Monday's leaves 49
    bars = daily(100, 0.5, 0.5, 49)
    bars = BarSeries(*(getattr(bars, name)[[0, 3]] for name in ("time", "open", "high", "low", "close", "volume")))
    forward = adjusted(bars, [on(3, SPLIT, 2.0), on(2, DIVIDEND, 2.0)], Mode.FORWARD)
    np.testing.assert_allclose(forward.close, [100, 100])


def test_actions_before_the_first_bar_or_after_the_last_change_nothing():
    bars = daily(10, 11)
    for action in (on(-9, SPLIT, 2.0), on(1, DIVIDEND, 0.5), on(3, SPLIT, 2.0)):
        np.testing.assert_array_equal(adjusted(bars, [action], Mode.FORWARD).close, bars.close)
        np.testing.assert_array_equal(adjusted(bars, [action], Mode.BACK).close, bars.close)
    assert len(adjusted(BarSeries.empty(), [on(1, SPLIT, 2.0)], Mode.BACK)) == 0


def test_minute_bars_step_where_the_exchange_s_day_begins():
    zone = ZoneInfo("America/New_York")
    # 15:59 and 19:30 (after hours, 00:30 UTC of the next day) on the 9th are still old shares; 04:00 on the 10th is not
    moments = [datetime(2024, 6, 9, 15, 59), datetime(2024, 6, 9, 20, 30), datetime(2024, 6, 10, 4, 0)]
    time = np.array([int(moment.replace(tzinfo=zone).timestamp()) for moment in moments])
    assert datetime.fromtimestamp(int(time[1]), UTC).day == 10
    price = np.array([1200.0, 1200.0, 120.0])
    bars = BarSeries(time, price, price, price, price, np.ones(3))
    np.testing.assert_allclose(
        adjusted(bars, [Action(date(2024, 6, 10), SPLIT, 10.0)], Mode.BACK, zone=zone).close, [120.0, 120.0, 120.0]
    )


@pytest.mark.parametrize(
    ("action", "words"),
    [
        (on(2, DIVIDEND, 10.0), "not below the close before it"),
        (on(2, SPLIT, 0.0), "expected above 0"),
        (on(2, DIVIDEND, float("nan")), "expected above 0"),
        (on(2, "merger", 1.0), "no kind of action"),
    ],
)
def test_actions_no_price_can_have_are_refused(action, words):
    with pytest.raises(ValueError, match=words):
        adjusted(daily(10, 11), [action], Mode.FORWARD)


@st.composite
def histories(draw):
    n_bars = draw(st.integers(2, 25))
    closes = draw(st.lists(st.floats(5, 500), min_size=n_bars, max_size=n_bars))
    days = draw(st.lists(st.integers(1, n_bars + 2), max_size=8, unique=True))
    kinds = st.one_of(
        st.tuples(st.just(SPLIT), st.sampled_from([2.0, 1.5, 7.0, 0.1])),
        st.tuples(st.just(DIVIDEND), st.floats(0.01, 4.0)),
    )
    return daily(*closes), [on(day, *draw(kinds)) for day in days]


@settings(max_examples=50, deadline=None)
@given(histories(), st.integers(1, 25))
def test_forward_values_never_know_the_future(history, n_known):
    bars, actions = history
    known = bars.until(int(bars.time[min(n_known, len(bars)) - 1]))
    today = datetime.fromtimestamp(int(known.time[-1]), UTC).date()
    known_then = adjusted(known, [a for a in actions if a.ex_date <= today], Mode.FORWARD)
    seen_later = adjusted(bars, actions, Mode.FORWARD).until(int(known.time[-1]))
    assert known_then.fingerprint() == seen_later.fingerprint()  # bit for bit


@settings(max_examples=50, deadline=None)
@given(histories())
def test_a_return_over_an_ex_date_is_what_a_holder_earned_by_reinvesting(history):
    bars, actions = history
    # Independent of factors: one share, splits multiply it, a dividend buys shares at the price less the dividend.
    shares, worth = 1.0, [bars.close[0]]
    for bar in range(1, len(bars)):
        today, price = datetime.fromtimestamp(int(bars.time[bar]), UTC).date(), bars.close[bar - 1]
        for action in (a for a in actions if a.ex_date == today):
            if action.kind == SPLIT:
                shares, price = shares * action.value, price / action.value
            else:
                shares += shares * action.value / (price - action.value)
        worth.append(shares * bars.close[bar])
    forward, back = adjusted(bars, actions, Mode.FORWARD), adjusted(bars, actions, Mode.BACK)
    np.testing.assert_allclose(forward.close, worth, rtol=1e-12)
    np.testing.assert_allclose(returns(back), returns(forward), rtol=1e-9, atol=1e-12)
    assert back.close[-1] == bars.close[-1] and forward.close[0] == bars.close[0]


# What Apple paid a share (investor relations, dividend history), ex dates; 7:1 on 2014-06-09, 4:1 on 2020-08-31.
APPLE_PAID = {
    2.65: ["2012-08-09", "2012-11-07", "2013-02-07"],
    3.05: ["2013-05-09", "2013-08-08", "2013-11-06", "2014-02-06"],
    3.29: ["2014-05-08"],
    0.47: ["2014-08-07", "2014-11-06", "2015-02-05"],
    0.52: ["2015-05-07", "2015-08-06", "2015-11-05", "2016-02-04"],
    0.57: ["2016-05-05", "2016-08-04", "2016-11-03", "2017-02-09"],
    0.63: ["2017-05-11", "2017-08-10", "2017-11-10", "2018-02-09"],
    0.73: ["2018-05-11", "2018-08-10", "2018-11-08"],
}


def test_apple_s_published_actions_rebuild_the_adjusted_close_of_a_provider():
    frame = shared_data.daily("AAPL").loc[day_start(date(2012, 7, 2), UTC) :]
    bars, split = shared_data.bars(frame), day_start(date(2014, 6, 9), UTC)
    # The file is adjusted for both splits; as traded: times 28 before the first, times 4 between the two.
    ratio = np.where(bars.time < split, 28.0, 4.0)
    prices = (values * ratio for values in (bars.open, bars.high, bars.low, bars.close))
    traded = BarSeries(bars.time, *prices, bars.volume / ratio)
    actions = [Action(date.fromisoformat(day), DIVIDEND, paid) for paid, days in APPLE_PAID.items() for day in days]
    actions.append(Action(date(2014, 6, 9), SPLIT, 7.0))

    back = adjusted(traded, actions, Mode.BACK)

    adj_close = frame["adj_close"].to_numpy()
    np.testing.assert_allclose(back.close / back.close[-1], adj_close / adj_close[-1], rtol=2e-5)
    np.testing.assert_allclose(back.volume, frame["volume"].to_numpy() / 4.0, rtol=1e-9)


def test_each_action_belongs_to_the_first_bar_from_its_ex_date_on():
    time = day_start(FIRST, UTC) + np.array([0, 1, 4, 5]) * DAY  # days 1, 2, 5, 6
    actions = [on(1, DIVIDEND, 9.0), on(2, SPLIT, 7.0), on(2, DIVIDEND, 0.5), on(4, DIVIDEND, 0.2), on(9, SPLIT, 2.0)]
    # Day 1 is the first bar and day 9 has none yet; day 4 has no bar, so its dividend is paid at day 5.
    expected = [[1.0, 0.0], [7.0, 0.5], [1.0, 0.2], [1.0, 0.0]]
    assert per_bar(time, reversed(actions), UTC).tolist() == expected


def test_a_dividend_before_a_split_of_the_same_bar_is_paid_on_old_shares():
    time = day_start(FIRST, UTC) + np.array([0, 6]) * DAY
    # 0.6 on an old share is 0.2 on each of three new ones, 0.1 after the next split; then 0.05 more.
    actions = [on(3, DIVIDEND, 0.6), on(4, SPLIT, 3.0), on(5, SPLIT, 2.0), on(5, DIVIDEND, 0.05)]
    assert per_bar(time, actions, UTC)[1].tolist() == pytest.approx([6.0, 0.15])


def test_an_intraday_action_comes_with_the_first_bar_of_the_exchanges_day():
    zone = ZoneInfo("America/New_York")
    evening = int(datetime(2024, 1, 2, 19, 0, tzinfo=zone).timestamp())  # already 3 January in UTC
    time = np.array([evening, evening + 14 * 3600])
    assert per_bar(time, [on(3, SPLIT, 2.0)], zone).tolist() == [[1.0, 0.0], [2.0, 0.0]]
