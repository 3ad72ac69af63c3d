import numpy as np
import pytest

from agents.policies.features import CATALOGUE, FIRST, FeatureSpec, display
from agents.tests.worlds import DAY, walk
from agents.wording import PHRASES, label, phrase, shown
from marketdata.series import BarSeries

ALL = FeatureSpec(FIRST)


def _vix(times: np.ndarray, level: np.ndarray) -> BarSeries:
    return BarSeries(times, level, level, level, level, np.zeros(len(times)))


def test_changing_future_bars_changes_no_past_feature():
    bars, t = walk(300), 200
    changed = {name: np.array(getattr(bars, name)) for name in ("open", "high", "low", "close", "volume")}
    for values in changed.values():
        values[t + 1 :] *= 3.0
    vix = _vix(bars.time, np.linspace(10, 30, 300))
    other_vix = _vix(bars.time, np.concatenate([np.linspace(10, 30, 300)[: t + 1], np.full(300 - t - 1, 80.0)]))
    before, after = ALL.compute(bars, vix), ALL.compute(BarSeries(bars.time, **changed), other_vix)
    np.testing.assert_array_equal(before[: t + 1], after[: t + 1])
    assert (before[t + 1] != after[t + 1]).any()


def test_features_of_a_shorter_history_equal_those_of_the_longer_one():
    bars = walk(300)
    np.testing.assert_array_equal(ALL.compute(bars)[:250], ALL.compute(bars.until(int(bars.time[249]))))


def test_every_feature_has_values_from_its_warm_up_on_and_none_before():
    bars = walk(200)
    rows = ALL.compute(bars, _vix(bars.time, np.full(200, 15.0)))
    first = [int(np.argmax(np.isfinite(column))) for column in rows.T]
    assert first == [CATALOGUE[name].warm_up for name in ALL.names]
    assert np.isfinite(rows[ALL.warm_up :]).all()


def test_values_worked_by_hand():
    bars = walk(100)
    spec = FeatureSpec(("return_5", "ema_10", "ema_50_slope", "volatility_20"))
    rows, close = spec.compute(bars), bars.close
    average = close[:10].mean()  # TA-Lib starts the average at the mean of the first ten
    for value in close[10:]:
        average += (value - average) * 2 / 11
    assert rows[-1, 0] == pytest.approx(close[-1] / close[-6] - 1)
    assert rows[-1, 1] == pytest.approx(close[-1] / average - 1)
    long = close[:50].mean()
    averages = [long := long + (value - long) * 2 / 51 for value in close[50:]]
    assert rows[-1, 2] == pytest.approx(averages[-1] / averages[-2] - 1)
    assert rows[-1, 3] == pytest.approx(np.std(close[-20:] / close[-21:-1] - 1, ddof=1) * np.sqrt(252))


def test_vix_is_the_same_sessions_close_carried_for_five_sessions_at_most():
    bars = walk(30)
    # Known on rows 3 and 10 only: 3..8 carry the first, 9 is stale, 10..15 carry the second.
    vix = _vix(bars.time[[3, 10]], np.array([12.0, 20.0]))
    found = FeatureSpec(("vix",)).compute(bars, vix)[:, 0]
    expected = np.full(30, np.nan)
    expected[3:9], expected[10:16] = 12.0, 20.0
    np.testing.assert_array_equal(found, expected)


def test_vix_that_ended_long_before_the_bars_is_missing():
    bars = walk(30)
    assert np.isnan(FeatureSpec(("vix",)).compute(bars, _vix(bars.time[:1] - 400 * DAY, np.array([12.0])))).all()


def test_bars_within_a_day_see_the_vix_of_the_day_before():
    days = walk(3)
    hours = np.concatenate([days.time[1] + 3600 * np.arange(3), days.time[2] + 3600 * np.arange(3)])
    price = np.full(6, 100.0)
    bars = BarSeries(hours, price, price, price, price, price)
    found = FeatureSpec(("vix",)).compute(bars, _vix(days.time, np.array([10.0, 11.0, 12.0])), 3600)[:, 0]
    np.testing.assert_array_equal(found, [10, 10, 10, 11, 11, 11])


def test_an_unknown_feature_is_refused_with_the_known_ones():
    with pytest.raises(ValueError, match=r"'rsi_13'; known: rsi_14, macd"):
        FeatureSpec(("rsi_13",))
    with pytest.raises(ValueError, match="different"):
        FeatureSpec(("rsi_14", "rsi_14"))


def test_fingerprint_depends_on_names_and_order():
    one, other = FeatureSpec(("rsi_14", "macd")), FeatureSpec(("macd", "rsi_14"))
    assert one == FeatureSpec(("rsi_14", "macd"))
    assert hash(one) == hash(FeatureSpec(("rsi_14", "macd")))
    assert one.fingerprint() != other.fingerprint()


def test_a_spec_of_the_first_features_has_the_fingerprint_that_stored_models_carry():
    # SHA-256 of '[1, "rsi_14", ..., "volatility_20"]', the twelve names in their order
    assert ALL.fingerprint() == "4f8e04d0f4b0a6ecf6604e4b780712b731371f87f3bc58640ee44fdd10a66484"


def test_the_whole_catalogue_computes_and_more_than_95_values_are_possible():
    bars, rows = walk(300), FeatureSpec(tuple(CATALOGUE)).compute(walk(300))
    assert rows.shape == (300, len(CATALOGUE))
    assert len(CATALOGUE) > 95
    other = FeatureSpec(("underlying_beta_60", "rsi_14")).compute(bars, underlying=bars)
    assert other[-1, 0] == pytest.approx(1.0)


def test_every_input_has_words_and_they_state_the_fact():
    for name in PHRASES:
        assert label(name)
        assert shown(name, 0.5)
        assert phrase(name, 0.5, 0.4, "day")
    assert set(FIRST) < set(PHRASES)
    assert phrase("rsi_14", 28.4, 31.0) == "RSI 14 fell to 28.4"
    assert phrase("rsi_14", 28.4, 28.41) == "RSI 14 is at 28.4"
    assert phrase("ema_50", -0.031) == "the close is 3.1 % below its 50-day average"
    assert phrase("return_20", 0.052, None, "bar") == "the price rose 5.2 % over 20 bars"
    assert phrase("time_in_position", 1.0) == "it has held for 1 day"
    assert display("ema_50", 0.031) == "3.1 %"
