"""Features that TA-Lib calculates, against TA-Lib itself, and its indicators against published values."""

import numpy as np
import pandas as pd
import pytest
import talib

from marketdata.features.batch import compute
from marketdata.features.catalogue import FeatureList
from marketdata.features.inputs import Inputs
from marketdata.features.talib_features import TALIB
from marketdata.series import BarSeries
from marketdata.tests import shared_data
from marketdata.tests.feature_worlds import MINUTE, walk

BARS = walk(600, 3)
OPEN, H, L, C, V = BARS.open, BARS.high, BARS.low, BARS.close, BARS.volume
LOWER, MIDDLE, UPPER = talib.BBANDS(C, 20)[::-1]
MACD = talib.MACD(C, 12, 26, 9)
TOP, _, BOTTOM = talib.DONCHIAN(H, L, 20)
KELTNER = talib.KC(H, L, C, 20, 10, 2.0)
AROON = talib.AROON(H, L, 25)
STOCH = talib.STOCH(H, L, C, 14, 3, 0, 3, 0)
EMA_50 = talib.EMA(C, 50)
SUPERTREND = talib.SUPERTREND(H, L, C, 10, 3.0)
VORTEX = talib.VORTEX(H, L, C, 14)
LOW_120, HIGH_120 = talib.MINMAX(C, 120)

EXPECTED = {
    "rsi_14": talib.RSI(C, 14),
    "rsi_2": talib.RSI(C, 2),
    "macd": MACD[0] / C,
    "macd_signal": MACD[1] / C,
    "macd_histogram": MACD[2] / C,
    "ema_10": C / talib.EMA(C, 10) - 1,
    "ema_50": C / EMA_50 - 1,
    "ema_50_slope": np.concatenate([[np.nan], EMA_50[1:] / EMA_50[:-1] - 1]),
    "ema_200": C / talib.EMA(C, 200) - 1,
    "sma_20": C / talib.SMA(C, 20) - 1,
    "sma_200": C / talib.SMA(C, 200) - 1,
    "kama_30": C / talib.KAMA(C, 30) - 1,
    "hma_20": C / talib.HMA(C, 20) - 1,
    "tema_20": C / talib.TEMA(C, 20) - 1,
    "hilbert_trend": C / talib.HT_TRENDLINE(C) - 1,
    "midprice_9": C / talib.MIDPRICE(H, L, 9) - 1,
    "midprice_26": C / talib.MIDPRICE(H, L, 26) - 1,
    "adx_14": talib.ADX(H, L, C, 14),
    "plus_di_14": talib.PLUS_DI(H, L, C, 14),
    "minus_di_14": talib.MINUS_DI(H, L, C, 14),
    "aroon_down_25": AROON[0],
    "aroon_up_25": AROON[1],
    "sar": C / talib.SAR(H, L) - 1,
    "supertrend": C / SUPERTREND[0] - 1,
    "supertrend_side": np.where(np.isnan(SUPERTREND[0]), np.nan, SUPERTREND[1]),
    "vortex_14": VORTEX[0] - VORTEX[1],
    "trix_15": talib.TRIX(C, 15) / 100,
    "vhf_28": talib.VHF(C, 28),
    "peak_distance_120": C / HIGH_120 - 1,
    "trough_distance_120": C / LOW_120 - 1,
    "stochastic_k": STOCH[0],
    "stochastic_d": STOCH[1],
    "stochastic_rsi": talib.STOCHRSI(C, 14, 14, 3)[1],
    "williams_28": talib.WILLR(H, L, C, 28),
    "cci_20": talib.CCI(H, L, C, 20),
    "ultimate": talib.ULTOSC(H, L, C, 7, 14, 28),
    "tsi": talib.TSI(C, 25, 13),
    "efficiency_10": talib.ER(C, 10),
    "balance_of_power": talib.BOP(OPEN, H, L, C),
    "percent_rank_100": talib.PERCENTRANK(C, 100),
    "bollinger_position": (C - LOWER) / (UPPER - LOWER),
    "bollinger_width": (UPPER - LOWER) / C,
    "donchian_position_20": (C - BOTTOM) / (TOP - BOTTOM),
    "donchian_width_20": (TOP - BOTTOM) / C,
    "keltner_position": (C - KELTNER[2]) / (KELTNER[0] - KELTNER[2]),
    "natr_14": talib.ATR(H, L, C, 14) / C,
    "true_range": talib.TRANGE(H, L, C) / C,
    "mass_index": talib.MASSI(H, L, 9, 25),
    "relative_volatility": talib.RVI(C, 14, 10),
    "mfi_14": talib.MFI(H, L, C, V, 14),
    "cmf_20": talib.CMF(H, L, C, V, 20),
    "volume_oscillator": talib.PVO(V, 12, 26, 1) / 100,
}


def test_every_one_is_checked():
    assert set(EXPECTED) == set(TALIB)


@pytest.mark.parametrize("name", TALIB)
def test_a_feature_is_what_ta_lib_gives(name):
    found = compute(FeatureList((name,)), Inputs(BARS, MINUTE))[:, 0]
    np.testing.assert_allclose(found, EXPECTED[name], rtol=1e-11, atol=1e-15, equal_nan=True)


def test_indicators_of_one_calculation_do_not_disturb_each_other():
    names = tuple(TALIB)
    together = compute(FeatureList(names[::-1]), Inputs(BARS, MINUTE))[:, ::-1]
    for column, name in enumerate(names):
        np.testing.assert_array_equal(together[:, column], compute(FeatureList((name,)), Inputs(BARS, MINUTE))[:, 0])


def _closes(close: np.ndarray, high: np.ndarray | None = None, low: np.ndarray | None = None) -> BarSeries:
    time = 86_400 * np.arange(len(close))
    return BarSeries(time, close, close if high is None else high, close if low is None else low, close, close)


def test_averages_and_strength_agree_with_the_published_spy_values():
    table = pd.read_csv(shared_data.need("oracles/indicators_basic_spy_2017_2018.csv"))
    close = table["close"].to_numpy(float)
    found = compute(FeatureList(("sma_20", "rsi_14")), Inputs(_closes(close), 86_400))
    np.testing.assert_allclose(close / (found[:, 0] + 1), table["sma20"], rtol=1e-8, equal_nan=True)
    np.testing.assert_allclose(found[:, 1], table["rsi14"], rtol=1e-8, equal_nan=True)
    # No feature is an average of 20 bars; that of 10 and 50 are the same function, which must start as published.
    np.testing.assert_allclose(talib.EMA(close, 20), table["ema20"], rtol=1e-8, equal_nan=True)
    ten = compute(FeatureList(("ema_10",)), Inputs(_closes(close), 86_400))[:, 0]
    np.testing.assert_allclose(close / (ten + 1), talib.EMA(close, 10), rtol=1e-12, equal_nan=True)


def test_relative_strength_agrees_with_the_published_one_that_starts_at_zero():
    table = pd.read_csv(shared_data.need("oracles/rsi14_ewm_seed0.csv"))
    close = table["close"].to_numpy(float)
    # Theirs starts both averages at 0. So does Wilder's after 14 bars in which nothing moved.
    still = np.concatenate([np.full(14, close[0]), close])
    found = compute(FeatureList(("rsi_14",)), Inputs(_closes(still), 86_400))[14:, 0]
    known = table["rsi"].notna().to_numpy()
    np.testing.assert_allclose(found[known], table["rsi"][known], atol=1e-4)  # the page has six digits of averages


def test_bollinger_bands_agree_with_the_published_values():
    table = pd.read_csv(shared_data.need("oracles/bbands_20_2.csv"))
    close = table["close"].to_numpy(float)
    spec = FeatureList(("bollinger_position", "bollinger_width", "sma_20"))
    found = compute(spec, Inputs(_closes(close), 86_400))
    # Theirs: width as a percentage of the mean; ours as a share of the close.
    np.testing.assert_allclose(close[19:] / (found[19:, 2] + 1), table["middle"][19:], rtol=1e-6)
    np.testing.assert_allclose(
        found[19:, 1] * close[19:] / table["middle"][19:] * 100, table["width_pct"][19:], rtol=1e-5
    )
    np.testing.assert_allclose(found[19:, 0], table["percent_b"][19:], rtol=1e-5, atol=1e-6)


def test_macd_agrees_with_the_published_line_once_its_start_has_faded():
    table = pd.read_csv(shared_data.need("oracles/macd_line_12_26.csv"))
    close = table["close"].to_numpy(float)
    found = compute(FeatureList(("macd",)), Inputs(_closes(close), 86_400))[:, 0] * close
    difference = np.abs(found - table["macd"].to_numpy())
    # Theirs starts both averages at the first close; the slow one forgets that by 25/27 a bar.
    assert difference[-1] < 0.002
    assert difference[-1] < 0.02 * np.nanmax(difference)


def test_average_true_range_agrees_with_the_published_one_once_its_start_has_faded():
    table = pd.read_csv(shared_data.need("oracles/atr14.csv"))
    high, low, close = (table[name].to_numpy(float) for name in ("high", "low", "close"))
    bars = BarSeries(86_400 * np.arange(len(close)), close, high, low, close, close)
    found = compute(FeatureList(("natr_14", "true_range")), Inputs(bars, 86_400)) * close[:, None]
    difference = (found[:, 0] - table["atr"].to_numpy())[14:]
    np.testing.assert_allclose(difference[1:], difference[:-1] * 13 / 14, atol=1e-9)  # it forgets by 13/14 a bar
    np.testing.assert_allclose(found[1:, 1], table["tr"][1:], atol=1e-9)
