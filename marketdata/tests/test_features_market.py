"""Features of the calendar, of other series and of the news, against slow references and by hand."""

import calendar as months
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import pandas as pd
import pytest

from marketdata.features.batch import compute
from marketdata.features.catalogue import FeatureList
from marketdata.features.inputs import Inputs
from marketdata.features.market_kernel import CALENDAR_NAMES, CROSS_NAMES, SENTIMENT_NAMES
from marketdata.features.own_features import CALENDAR, CROSS, SENTIMENT
from marketdata.series import BarSeries
from marketdata.tests.feature_worlds import COLUMNS, DAY, MINUTE, flat, sessions, vix_days, walk, world


def seconds(text: str) -> int:
    return int(datetime.fromisoformat(text).replace(tzinfo=UTC).timestamp())


def at(times: list[str], close: list[float] | None = None) -> BarSeries:
    price = np.array(close or [100.0] * len(times))
    return BarSeries(np.array([seconds(text) for text in times]), price, price, price, price, price * 0)


def columns(names: tuple[str, ...], inputs: Inputs) -> dict[str, np.ndarray]:
    return dict(zip(names, compute(FeatureList(names), inputs).T, strict=True))


def test_the_kernels_names_are_the_catalogues():
    assert (set(CALENDAR_NAMES), set(CROSS_NAMES)) == (set(CALENDAR), set(CROSS))
    assert set(SENTIMENT_NAMES) == set(SENTIMENT)


def test_minutes_of_a_whole_and_a_half_session():
    # 14:30 to 21:00 UTC in winter; 24 December 2019 closed at 18:00. A bar counts from its end.
    bars = at(["2019-12-23T14:29", "2019-12-23T14:30", "2019-12-23T20:59", "2019-12-23T21:00", "2019-12-24T17:59"])
    found = columns(("session_minute", "minutes_to_close", "half_day"), Inputs(bars, MINUTE, sessions=sessions()))
    np.testing.assert_array_equal(found["session_minute"], [np.nan, 1, 390, np.nan, 210])
    np.testing.assert_array_equal(found["minutes_to_close"], [np.nan, 389, 0, np.nan, 0])
    np.testing.assert_array_equal(found["half_day"], [np.nan, 0, 0, np.nan, 1])


def test_a_daily_bar_is_seen_at_its_sessions_close():
    bars = at(["2019-12-23", "2019-12-24", "2019-12-25"])
    found = columns(("session_minute", "minutes_to_close", "half_day"), Inputs(bars, DAY, sessions=sessions()))
    np.testing.assert_array_equal(found["session_minute"], [390, 210, np.nan])
    np.testing.assert_array_equal(found["minutes_to_close"], [0, 0, np.nan])
    np.testing.assert_array_equal(found["half_day"], [0, 1, np.nan])


def test_without_sessions_their_features_are_missing_and_dates_are_those_of_utc():
    names = ("session_minute", "half_day", "week_sin", "month_cos")
    found = columns(names, Inputs(at(["2019-12-23T14:30"]), MINUTE))
    assert np.isnan(found["session_minute"]).all()
    assert np.isnan(found["half_day"]).all()
    assert found["week_sin"][0] == 0.0  # a Monday
    assert found["month_cos"][0] == pytest.approx(np.cos(2 * np.pi * 11 / 12))


def test_dates_over_a_century_agree_with_the_standard_library():
    days = [date(1955, 1, 1) + timedelta(days=n) for n in range(0, 40_000, 7)] + [date(2000, 2, 29), date(2100, 3, 1)]
    days.sort()
    days = list(dict.fromkeys(days))
    price = np.full(len(days), 5.0)
    time = np.array([(day - date(1970, 1, 1)).days * DAY for day in days])
    names = ("week_sin", "week_cos", "month_sin", "month_cos", "turn_of_month")
    found = columns(names, Inputs(BarSeries(time, price, price, price, price, price), DAY))
    for kind, share in (("week", [d.weekday() / 7 for d in days]), ("month", [(d.month - 1) / 12 for d in days])):
        angle = 2 * np.pi * np.array(share)
        np.testing.assert_allclose(found[f"{kind}_sin"], np.sin(angle), atol=1e-12)
        np.testing.assert_allclose(found[f"{kind}_cos"], np.cos(angle), atol=1e-12)
    np.testing.assert_array_equal(found["turn_of_month"], [turn(day) for day in days])


def turn(day: date) -> float:
    """Last weekday of the month, or at most three weekdays from its first to this day."""
    length = months.monthrange(day.year, day.month)[1]
    weekdays = [n for n in range(1, length + 1) if day.replace(day=n).weekday() < 5]
    return float(sum(n <= day.day for n in weekdays) <= 3 or day.day >= weekdays[-1])


def test_time_of_day_and_gaps():
    bars = at(["2019-12-23T05:59", "2019-12-23T06:00", "2019-12-23T06:03"])
    found = columns(("day_sin", "day_cos", "bar_gap"), Inputs(bars, MINUTE))
    assert (found["day_sin"][0], found["day_cos"][0]) == (pytest.approx(1.0), pytest.approx(0.0))  # ends at six
    np.testing.assert_array_equal(found["bar_gap"], [np.nan, 1.0, 3.0])


def test_vix_features_follow_the_sessions_of_the_vix():
    bars = walk(900, 3)
    vix = vix_days(bars.time[0], bars.time[-1])
    found = columns(
        ("vix", "vix_change_1", "vix_change_5", "vix_distance_20", "vix_premium"), Inputs(bars, MINUTE, vix=vix)
    )
    frame = pd.DataFrame({"day": vix.time // DAY, "vix": vix.close})
    frame["one"], frame["five"] = frame["vix"].pct_change(1), frame["vix"].pct_change(5)
    frame["mean"] = frame["vix"] / frame["vix"].rolling(20).mean() - 1
    rows = np.searchsorted(frame["day"], bars.time // DAY) - 1  # the session before: today's close is not known
    for name, column in (
        ("vix", "vix"),
        ("vix_change_1", "one"),
        ("vix_change_5", "five"),
        ("vix_distance_20", "mean"),
    ):
        np.testing.assert_allclose(found[name], frame[column].to_numpy()[rows], rtol=1e-12)
    volatility = pd.Series(bars.close).pct_change().rolling(20).std() * np.sqrt(252 * 390)
    np.testing.assert_allclose(found["vix_premium"], found["vix"] / 100 - volatility, rtol=1e-9, equal_nan=True)


def test_a_vix_that_ended_is_carried_for_five_sessions_and_ten_days_at_most():
    days = sessions().day[sessions().day >= seconds("2019-12-02")][:20]
    price = np.full(20, 100.0)
    bars = BarSeries(days, price, price, price, price, price)
    vix = BarSeries(days[:1], *(np.array([12.0]) for _ in range(5)))
    found = columns(("vix",), Inputs(bars, DAY, vix=vix))["vix"]
    np.testing.assert_array_equal(np.isfinite(found), [True] * 6 + [False] * 14)
    late = BarSeries(days + 11 * DAY, price, price, price, price, price)
    assert np.isnan(columns(("vix",), Inputs(late, DAY, vix=vix))["vix"]).all()


UNDERLYING = tuple(name for name in CROSS_NAMES if name.startswith("underlying") or name[:3] in ("rel", "rat", "lev"))


def slow_underlying(inputs: Inputs) -> dict[str, Any]:
    """The same by pandas: the underlying as known at each bar, at most five bars old."""
    own = pd.Series(inputs.bars.close)
    left = pd.DataFrame({"time": inputs.bars.time})
    right = pd.DataFrame({"time": inputs.underlying.time, "other": inputs.underlying.close})
    other = pd.merge_asof(left, right, on="time", tolerance=5 * inputs.interval_seconds)["other"]
    change, moved = own.pct_change(), other.pct_change(fill_method=None)
    beta, correlation, residual, score, decay = (np.full(len(own), np.nan) for _ in range(5))
    ratio = np.log(own / other)
    for t in range(59, len(own)):
        window = ratio[t - 59 : t + 1].dropna()
        if len(window) >= 45:
            score[t] = (ratio[t] - window.mean()) / window.std()
        pair = pd.DataFrame({"own": change, "other": moved})[t - 59 : t + 1].dropna()
        if t >= 60 and len(pair) >= 45:
            beta[t] = pair.cov().iloc[0, 1] / pair["other"].var()
            correlation[t] = pair.corr().iloc[0, 1]
            residual[t] = change[t] - beta[t] * moved[t]
            decay[t] = np.log(own[t] / own[t - 20]) - beta[t] * np.log(other[t] / other[t - 20])
    result: dict[str, Any] = {f"underlying_return_{n}": other / other.shift(n) - 1 for n in (1, 5, 20)}
    result["underlying_volatility_20"] = moved.rolling(20).std() * np.sqrt(252 * 390)
    result["relative_return_20"] = own / own.shift(20) - other / other.shift(20)
    result |= {"underlying_beta_60": beta, "underlying_correlation_60": correlation, "underlying_residual": residual}
    return result | {"ratio_z_60": score, "leverage_decay_20": decay}


@pytest.mark.parametrize("gap", [0, 12])
def test_features_of_the_underlying_equal_their_slow_reference(gap):
    inputs = world(260, 4)
    if gap:  # the underlying stops trading for a while
        keep = np.full(len(inputs.underlying), True)
        keep[150 : 150 + gap] = False
        under = BarSeries(*(getattr(inputs.underlying, name)[keep] for name in COLUMNS))
        inputs = Inputs(inputs.bars, MINUTE, underlying=under)
    found, expected = columns(UNDERLYING, inputs), slow_underlying(inputs)
    assert set(found) == set(expected)
    for name, values in expected.items():
        np.testing.assert_allclose(found[name], np.asarray(values), rtol=1e-8, atol=1e-12, err_msg=name)


def test_a_fund_that_moves_three_times_its_underlying():
    under = walk(200, 9)
    moves = np.concatenate([[0.0], under.close[1:] / under.close[:-1] - 1.0])
    price = 50.0 * np.cumprod(1.0 + 3.0 * moves)
    fund = BarSeries(under.time, price, price, price, price, under.volume)
    found = columns(UNDERLYING, Inputs(fund, MINUTE, underlying=under))
    np.testing.assert_allclose(found["underlying_beta_60"][60:], 3.0, rtol=1e-9)
    np.testing.assert_allclose(found["underlying_correlation_60"][60:], 1.0, rtol=1e-9)
    np.testing.assert_allclose(found["underlying_residual"][60:], 0.0, atol=1e-12)
    # What resetting the leverage at each bar costs: about 3 * (1 - 3) / 2 times the variance of the underlying.
    variance = pd.Series(moves).pow(2).rolling(20).sum().to_numpy()
    np.testing.assert_allclose(found["leverage_decay_20"][60:], -3.0 * variance[60:], rtol=0.05)


def test_an_underlying_that_never_moves_has_no_beta():
    found = columns(UNDERLYING, Inputs(walk(100, time=flat(100).time), MINUTE, underlying=flat(100)))
    assert np.isnan(found["underlying_beta_60"]).all()
    assert (found["underlying_return_5"][5:] == 0.0).all()


def test_sentiment_by_hand():
    # Bars of one hour; +1 known at hour 1, -0.5 a day later: at hour 25 the first counts half.
    hours = 3600 * np.arange(160)
    price = np.full(160, 10.0)
    scores = np.array([[3600.0, 1.0], [25 * 3600.0, -0.5]])
    found = columns(
        ("sentiment", "sentiment_change", "news_flow"),
        Inputs(BarSeries(hours, price, price, price, price, price), 3600, scores=scores),
    )
    assert found["sentiment"][0] == 1.0  # the first bar closes at hour 1, when it is known
    assert found["sentiment"][24] == pytest.approx((0.5 * 1.0 - 0.5) / 1.5)
    assert found["news_flow"][24] == pytest.approx(1.5)
    assert found["news_flow"][48] == pytest.approx(0.75)
    # Half-lives of six hours and of three days: the first counts 1/16 and 2 ** (-1/3).
    quick, slow = (1 / 16 - 0.5) / (1 + 1 / 16), (2 ** (-1 / 3) - 0.5) / (1 + 2 ** (-1 / 3))
    assert found["sentiment_change"][24] == pytest.approx(quick - slow)
    # Their weight, 1.5 at hour 25, falls below 1/32 after log2(48) = 5.585 days, which is hour 159.04.
    assert np.isfinite(found["sentiment"][: 158 + 1]).all()
    assert np.isnan(found["sentiment"][159])


def test_no_news_is_not_known():
    found = columns(SENTIMENT_NAMES, Inputs(walk(30), MINUTE))
    assert all(np.isnan(values).all() for values in found.values())


def test_a_score_made_late_counts_as_if_it_had_come_in_time():
    from marketdata.features.streaming import FeatureStream

    spec, bars = FeatureList(SENTIMENT_NAMES), walk(40)
    times = bars.time.astype(float)
    scores = np.column_stack([times[[5, 10, 20]], [0.5, -1.0, 0.25]])
    stream = FeatureStream(spec, MINUTE)
    last = np.empty(0)
    for row in range(40):
        new = {20: scores[[0, 2]], 30: scores[1:2]}.get(row)
        last = stream.update(*(getattr(bars, name)[row].item() for name in COLUMNS), scores=new)
    np.testing.assert_allclose(last, compute(spec, Inputs(bars, MINUTE, scores=scores))[-1], rtol=1e-12)
