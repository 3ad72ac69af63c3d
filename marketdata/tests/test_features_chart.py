"""Indicators of charts, against TA-Lib and by hand."""

import numpy as np
import pytest
import talib

from marketdata.features.chart import CHART_INDICATORS, compute
from marketdata.series import BarSeries
from marketdata.tests.feature_worlds import DAY, MINUTE, changed, flat, sessions, walk

BARS = walk(400)


@pytest.mark.parametrize("name", CHART_INDICATORS)
@pytest.mark.parametrize("n", [0, 1, 400])
def test_every_indicator_gives_its_lines_in_full_length(name, n):
    bars = BarSeries(*(getattr(BARS, column)[:n] for column in ("time", "open", "high", "low", "close", "volume")))
    lines = compute(name, bars, MINUTE, sessions())
    assert tuple(lines) == CHART_INDICATORS[name].lines
    assert all(line.shape == (n,) and not np.isinf(line).any() for line in lines.values())
    if n == 400:
        assert all(np.isfinite(line[-1]) for line in lines.values())


def test_lines_are_ta_libs_in_units_of_price():
    close, high, low = BARS.close, BARS.high, BARS.low
    np.testing.assert_array_equal(compute("sma_50", BARS, MINUTE)["SMA 50"], talib.SMA(close, 50))
    np.testing.assert_array_equal(compute("ema_10", BARS, MINUTE)["EMA 10"], talib.EMA(close, 10))
    upper, middle, lower = talib.BBANDS(close, 20)
    bands = compute("bollinger", BARS, MINUTE)
    for name, line in (("Upper", upper), ("Middle", middle), ("Lower", lower)):
        np.testing.assert_array_equal(bands[name], line)
    np.testing.assert_array_equal(compute("atr", BARS, MINUTE)["ATR"], talib.ATR(high, low, close, 14))
    np.testing.assert_array_equal(compute("macd", BARS, MINUTE)["Histogram"], talib.MACD(close)[2])
    np.testing.assert_array_equal(compute("adx", BARS, MINUTE)["-DI"], talib.MINUS_DI(high, low, close, 14))


def test_the_sessions_average_price_starts_again_each_session():
    # Two bars late on one New York session, two early on the next; without sessions the UTC date decides.
    time = np.array([1_577_134_620, 1_577_134_680, 1_577_197_800, 1_577_197_860])  # 23 and 24 December 2019
    price, volume = np.array([10.0, 20.0, 30.0, 60.0]), np.array([1.0, 3.0, 0.0, 2.0])
    bars = BarSeries(time, price, price, price, price, volume)
    expected = [10.0, (10 + 60) / 4, np.nan, 60.0]  # the third has no volume yet
    for known in (sessions(), None):
        np.testing.assert_allclose(compute("vwap", bars, MINUTE, known)["VWAP"], expected)
    assert np.isnan(compute("vwap", bars, DAY)["VWAP"]).all()


def test_bars_without_a_price_are_left_out():
    close = BARS.close.copy()
    close[50] = np.nan
    line = compute("sma_20", changed(BARS, close=close), MINUTE)["SMA 20"]
    assert np.isnan(line[50])
    kept = np.delete(close, 50)
    np.testing.assert_array_equal(np.delete(line, 50), talib.SMA(kept, 20))


def test_a_price_that_never_moves_and_unknown_names():
    for name in CHART_INDICATORS:
        assert not any(np.isinf(line).any() for line in compute(name, flat(300), MINUTE).values())
    with pytest.raises(ValueError, match="unknown indicator 'rsi_14'; known: sma_20"):
        compute("rsi_14", BARS, MINUTE)
