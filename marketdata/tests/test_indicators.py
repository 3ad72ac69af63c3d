import numpy as np
import pandas as pd
import pytest
import talib

from marketdata import indicators
from marketdata.tests import shared_data

CLOSE = 100 * np.exp(np.cumsum(np.random.default_rng(11).normal(0, 0.01, 400)))
HIGH, LOW = CLOSE * 1.01, CLOSE * 0.985

ALL = {
    "rsi": lambda c: indicators.rsi(c),
    "ema": lambda c: indicators.ema(c, 10),
    "sma": lambda c: indicators.sma(c, 10),
    "roc": lambda c: indicators.roc(c, 5),
    "macd": lambda c: np.array(indicators.macd(c)),
    "atr": lambda c: indicators.atr(c * 1.01, c * 0.985, c),
    "returns": lambda c: indicators.simple_returns(c, 5),
    "volatility": lambda c: indicators.rolling_volatility(indicators.simple_returns(c), 20),
}
WARM_UP = {"rsi": 14, "ema": 9, "sma": 9, "roc": 5, "macd": 33, "atr": 14, "returns": 5, "volatility": 20}


@pytest.mark.parametrize("name", ALL)
def test_nan_until_enough_bars_are_seen_and_never_after(name):
    values = np.atleast_2d(ALL[name](CLOSE))
    assert np.isnan(values[:, : WARM_UP[name]]).all()
    assert np.isfinite(values[:, WARM_UP[name] :]).all()


@pytest.mark.parametrize("name", ALL)
def test_changing_the_future_changes_no_past_value(name):
    changed = CLOSE.copy()
    changed[250:] *= np.random.default_rng(3).uniform(0.5, 2.0, 150)
    np.testing.assert_array_equal(ALL[name](CLOSE)[..., :250], ALL[name](changed)[..., :250])
    assert not np.array_equal(ALL[name](CLOSE)[..., 250:], ALL[name](changed)[..., 250:])


@pytest.mark.parametrize("name", ALL)
@pytest.mark.parametrize("length", [0, 1, 5])
def test_a_series_too_short_gives_nan_of_its_length(name, length):
    values = ALL[name](CLOSE[:length])
    assert values.shape[-1] == length
    if length < 5:
        assert np.isnan(values).all()


def test_wrappers_give_what_ta_lib_gives():
    np.testing.assert_array_equal(indicators.rsi(CLOSE, 14), talib.RSI(CLOSE, 14))
    np.testing.assert_array_equal(indicators.ema(CLOSE, 50), talib.EMA(CLOSE, 50))
    np.testing.assert_array_equal(indicators.sma(CLOSE, 20), talib.SMA(CLOSE, 20))
    np.testing.assert_array_equal(indicators.roc(CLOSE, 20), talib.ROC(CLOSE, 20))
    np.testing.assert_array_equal(indicators.macd(CLOSE), talib.MACD(CLOSE, 12, 26, 9))
    np.testing.assert_array_equal(indicators.atr(HIGH, LOW, CLOSE, 14), talib.ATR(HIGH, LOW, CLOSE, 14))


def test_ema_by_hand():
    # Start: mean of 1, 2, 3 = 2; alpha 2/4; then 2 + (4 - 2) / 2 = 3 and 3 + (10 - 3) / 2 = 6.5
    np.testing.assert_allclose(indicators.ema(np.array([1.0, 2, 3, 4, 10]), 3)[2:], [2.0, 3.0, 6.5])


def test_rsi_by_hand():
    # Changes +2, -1: averages 1 and 0.5 -> 100 * 1 / 1.5; then +3: (1 + 3) / 2 = 2 and 0.25 -> 100 * 2 / 2.25
    np.testing.assert_allclose(indicators.rsi(np.array([10.0, 12, 11, 14]), 2)[2:], [100 / 1.5, 200 / 2.25])


def test_roc_and_returns_by_hand():
    close = np.array([100.0, 110.0, 99.0])
    np.testing.assert_allclose(indicators.roc(close, 1)[1:], [10.0, -10.0])
    np.testing.assert_allclose(indicators.simple_returns(close)[1:], [0.1, -0.1])
    np.testing.assert_allclose(indicators.simple_returns(close, 2)[2:], [-0.01])


def test_rolling_volatility_by_hand():
    returns = np.array([np.nan, 0.01, 0.03, -0.01])
    # 0.01, 0.03: mean 0.02, deviations 0.01 each, sum of squares 0.0002, over n - 1 = 1
    expected = [np.sqrt(0.0002), np.sqrt(0.0008)]
    values = indicators.rolling_volatility(returns, 2)
    assert np.isnan(values[:2]).all()
    np.testing.assert_allclose(values[2:], expected)
    np.testing.assert_allclose(
        indicators.rolling_volatility(returns, 2, bars_per_year=252)[2:], np.array(expected) * np.sqrt(252)
    )


def test_unclear_input_is_refused():
    with pytest.raises(ValueError, match="close at bar 1 is not a finite number"):
        indicators.rsi(np.array([1.0, np.nan, 2.0]))
    with pytest.raises(ValueError, match="expected \\(T,\\)"):
        indicators.ema(np.ones((2, 2)), 2)
    with pytest.raises(ValueError, match="expected at least 2"):
        indicators.ema(CLOSE, 1)
    with pytest.raises(ValueError, match="2 <= fast < slow"):
        indicators.macd(CLOSE, 26, 12)
    with pytest.raises(ValueError, match="one shape"):
        indicators.atr(HIGH[:3], LOW, CLOSE)
    with pytest.raises(ValueError, match="close at bar 0 is not above 0"):
        indicators.simple_returns(np.array([0.0, 1.0]))
    with pytest.raises(ValueError, match="returns at bar 1"):
        indicators.rolling_volatility(np.array([0.1, np.nan, 0.1]), 2)


def test_sma_ema_and_rsi_agree_with_the_published_spy_values():
    table = pd.read_csv(shared_data.need("oracles/indicators_basic_spy_2017_2018.csv"))
    close = table["close"].to_numpy()
    for ours, column in (
        (indicators.sma(close, 20), "sma20"),
        (indicators.ema(close, 20), "ema20"),
        (indicators.rsi(close, 14), "rsi14"),
    ):
        np.testing.assert_allclose(ours, table[column].to_numpy(), rtol=1e-8, equal_nan=True)


def test_atr_agrees_with_the_published_values_once_their_start_has_faded():
    table = pd.read_csv(shared_data.need("oracles/atr14.csv"))
    ours = indicators.atr(table["high"].to_numpy(), table["low"].to_numpy(), table["close"].to_numpy(), 14)
    theirs = table["atr"].to_numpy()
    # Theirs starts one bar earlier, at the mean of 14 ranges with the first as high - low; Wilder's average then
    # forgets the start by 13/14 a bar, so the difference must shrink by exactly that.
    difference = (ours - theirs)[14:]
    np.testing.assert_allclose(difference[1:], difference[:-1] * 13 / 14, atol=1e-9)
    assert abs(difference[-1]) < abs(difference[0])


def test_macd_line_agrees_with_the_published_values_once_their_start_has_faded():
    table = pd.read_csv(shared_data.need("oracles/macd_line_12_26.csv"))
    ours, _, _ = indicators.macd(table["close"].to_numpy())
    # Theirs starts both averages at the first close; the slow one forgets that by 25/27 a bar.
    difference = np.abs(ours - table["macd"].to_numpy())
    assert difference[-1] < 0.002
    assert difference[-1] < 0.02 * np.nanmax(difference)
