"""Features that TA-Lib calculates. Several features of one indicator share one calculation.

Source of the indicators: https://ta-lib.org/functions/, version 0.8, whose batch functions and stream handles give the
same bits.
"""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from math import inf

import talib
from talib import abstract

from marketdata.features.definitions import (
    FeatureDefinition,
    direction,
    fine_percent,
    one_decimal,
    percent,
    two_decimals,
)
from marketdata.features.recipes import ABOVE, CHANGE, DIFFERENCE, HUNDREDTH, RAW, SHARE, WIDTH, WITHIN

HLC = ("high", "low", "close")
HL = ("high", "low")
C = ("close",)
HLCV = (*HLC, "volume")


@dataclass(frozen=True)
class Indicator:
    """A TA-Lib function with its parameters; equal ones are calculated once."""

    function: str
    inputs: tuple[str, ...]
    parameters: tuple[tuple[str, float], ...]

    @property
    def options(self) -> dict[str, float]:
        """The parameters as TA-Lib takes them."""
        return dict(self.parameters)

    @property
    def needs_volume(self) -> bool:
        """Whether bars without a volume are left out."""
        return "volume" in self.inputs

    @cache  # noqa: B019 - the indicators below are constants
    def lookback(self) -> int:
        """Leading bars without a value."""
        return int(abstract.Function(self.function, **self.options).lookback)  # type: ignore[attr-defined]

    @cache  # noqa: B019
    def n_outputs(self) -> int:
        """How many series it gives."""
        return len(abstract.Function(self.function).output_names)  # type: ignore[attr-defined]

    def batch(self) -> Callable:
        """The function over whole arrays."""
        return getattr(talib, self.function)

    def handle(self) -> Callable:
        """The class of its stream handles."""
        return getattr(talib.stream, self.function)


@dataclass(frozen=True)
class IndicatorFeature:
    """What a feature makes of an indicator: a recipe and which outputs it takes."""

    indicator: Indicator
    recipe: int
    a: int = 0
    b: int = 0


def _of(function: str, inputs: tuple[str, ...], **parameters: float) -> Indicator:
    return Indicator(function, inputs, tuple(parameters.items()))


_macd = _of("MACD", C, fastperiod=12, slowperiod=26, signalperiod=9)
_bands = _of("BBANDS", C, timeperiod=20)
_ema_50 = _of("EMA", C, timeperiod=50)
_aroon = _of("AROON", HL, timeperiod=25)
_supertrend = _of("SUPERTREND", HLC, timeperiod=10, multiplier=3.0)
_stochastic = _of("STOCH", HLC, fastk_period=14, slowk_period=3, slowd_period=3)
_donchian = _of("DONCHIAN", HL, timeperiod=20)
_extremes = _of("MINMAX", C, timeperiod=120)

SHARE_OF_PRICE = (fine_percent, -inf, inf)
DISTANCE = (percent, -1.0, inf)
SCALE_100 = (one_decimal, 0.0, 100.0)
PERCENT = (percent, -inf, inf)
NUMBER = (two_decimals, -inf, inf)

# name: (label, group, (display, lowest, highest), what is made of which indicator)
_ROWS: dict[str, tuple[str, str, tuple[Callable[[float], str], float, float], IndicatorFeature]] = {
    "rsi_14": ("RSI 14", "momentum", SCALE_100, IndicatorFeature(_of("RSI", C, timeperiod=14), RAW)),
    "macd": ("MACD line, share of price", "momentum", SHARE_OF_PRICE, IndicatorFeature(_macd, SHARE, 0)),
    "macd_signal": ("MACD signal, share of price", "momentum", SHARE_OF_PRICE, IndicatorFeature(_macd, SHARE, 1)),
    "macd_histogram": (
        "MACD histogram, share of price", "momentum", SHARE_OF_PRICE, IndicatorFeature(_macd, SHARE, 2)),
    "ema_10": (
        "Close against its 10-bar average", "trend", PERCENT, IndicatorFeature(_of("EMA", C, timeperiod=10), ABOVE)),
    "ema_50": ("Close against its 50-bar average", "trend", PERCENT, IndicatorFeature(_ema_50, ABOVE)),
    "ema_50_slope": (
        "Slope of the 50-bar average, per bar", "trend", SHARE_OF_PRICE, IndicatorFeature(_ema_50, CHANGE)),
    "ema_200": (
        "Close against its 200-bar average", "trend", DISTANCE, IndicatorFeature(_of("EMA", C, timeperiod=200), ABOVE)),
    "sma_20": ("Close against its 20-bar mean", "trend", DISTANCE, IndicatorFeature(_bands, ABOVE, 1)),
    "sma_200": (
        "Close against its 200-bar mean", "trend", DISTANCE, IndicatorFeature(_of("SMA", C, timeperiod=200), ABOVE)),
    "kama_30": (
        "Close against Kaufman's adaptive average", "trend", DISTANCE,
        IndicatorFeature(_of("KAMA", C, timeperiod=30), ABOVE)),
    "hma_20": (
        "Close against the 20-bar Hull average", "trend", PERCENT,
        IndicatorFeature(_of("HMA", C, timeperiod=20), ABOVE)),
    "tema_20": (
        "Close against the 20-bar triple average", "trend", PERCENT,
        IndicatorFeature(_of("TEMA", C, timeperiod=20), ABOVE)),
    "hilbert_trend": (
        "Close against the Hilbert trend line", "trend", PERCENT, IndicatorFeature(_of("HT_TRENDLINE", C), ABOVE)),
    "midprice_9": (
        "Close against the middle of 9 bars", "trend", DISTANCE,
        IndicatorFeature(_of("MIDPRICE", HL, timeperiod=9), ABOVE)),
    "midprice_26": (
        "Close against the middle of 26 bars", "trend", DISTANCE,
        IndicatorFeature(_of("MIDPRICE", HL, timeperiod=26), ABOVE)),
    "adx_14": ("Strength of the trend, ADX 14", "trend", SCALE_100,
               IndicatorFeature(_of("ADX", HLC, timeperiod=14), RAW)),
    "plus_di_14": ("Upward movement, +DI 14", "trend", SCALE_100,
                   IndicatorFeature(_of("PLUS_DI", HLC, timeperiod=14), RAW)),
    "minus_di_14": ("Downward movement, -DI 14", "trend", SCALE_100,
                    IndicatorFeature(_of("MINUS_DI", HLC, timeperiod=14), RAW)),
    "aroon_down_25": ("Aroon down 25", "trend", SCALE_100, IndicatorFeature(_aroon, RAW, 0)),
    "aroon_up_25": ("Aroon up 25", "trend", SCALE_100, IndicatorFeature(_aroon, RAW, 1)),
    "sar": ("Close against the parabolic stop", "trend", PERCENT, IndicatorFeature(_of("SAR", HL), ABOVE)),
    "supertrend": ("Close against the supertrend line", "trend", PERCENT, IndicatorFeature(_supertrend, ABOVE, 0)),
    "supertrend_side": (
        "Direction of the supertrend", "trend", (direction, -1.0, 1.0), IndicatorFeature(_supertrend, RAW, 1)),
    "vortex_14": (
        "Vortex 14, up minus down", "trend", NUMBER,
        IndicatorFeature(_of("VORTEX", HLC, timeperiod=14), DIFFERENCE, 0, 1)),
    "trix_15": (
        "Change of the triple 15-bar average", "trend", SHARE_OF_PRICE,
        IndicatorFeature(_of("TRIX", C, timeperiod=15), HUNDREDTH)),
    "vhf_28": ("Trend against noise, 28 bars", "trend", (two_decimals, 0.0, 1.0),
               IndicatorFeature(_of("VHF", C, timeperiod=28), RAW)),
    "peak_distance_120": ("Close against the highest close of 120 bars", "trend", (percent, -1.0, 0.0),
                          IndicatorFeature(_extremes, ABOVE, 1)),
    "trough_distance_120": ("Close against the lowest close of 120 bars", "trend", (percent, 0.0, inf),
                            IndicatorFeature(_extremes, ABOVE, 0)),
    "rsi_2": ("RSI 2", "momentum", SCALE_100, IndicatorFeature(_of("RSI", C, timeperiod=2), RAW)),
    "stochastic_k": ("Stochastic %K 14", "momentum", SCALE_100, IndicatorFeature(_stochastic, RAW, 0)),
    "stochastic_d": ("Stochastic %D 14", "momentum", SCALE_100, IndicatorFeature(_stochastic, RAW, 1)),
    "stochastic_rsi": (
        "Stochastic of RSI 14", "momentum", SCALE_100,
        IndicatorFeature(_of("STOCHRSI", C, timeperiod=14, fastk_period=14, fastd_period=3), RAW, 1)),
    "williams_28": ("Williams %R 28", "momentum", (one_decimal, -100.0, 0.0),
                    IndicatorFeature(_of("WILLR", HLC, timeperiod=28), RAW)),
    "cci_20": ("Commodity channel index 20", "momentum", (one_decimal, -inf, inf),
               IndicatorFeature(_of("CCI", HLC, timeperiod=20), RAW)),
    "ultimate": ("Ultimate oscillator 7, 14, 28", "momentum", SCALE_100, IndicatorFeature(_of("ULTOSC", HLC), RAW)),
    "tsi": ("True strength index 25, 13", "momentum", (one_decimal, -100.0, 100.0),
            IndicatorFeature(_of("TSI", C, firstperiod=25, secondperiod=13), RAW)),
    "efficiency_10": ("Kaufman's efficiency, 10 bars", "momentum", (two_decimals, -1.0, 1.0),
                      IndicatorFeature(_of("ER", C, timeperiod=10), RAW)),
    "balance_of_power": ("Balance of power", "momentum", (two_decimals, -1.0, 1.0),
                         IndicatorFeature(_of("BOP", ("open", *HLC)), RAW)),
    "percent_rank_100": (
        "Share of the last 100 closes below this one", "statistical", SCALE_100,
        IndicatorFeature(_of("PERCENTRANK", C, timeperiod=100), RAW)),
    "bollinger_position": ("Place within the Bollinger bands", "volatility", NUMBER,
                           IndicatorFeature(_bands, WITHIN, 0, 2)),
    "bollinger_width": ("Width of the Bollinger bands", "volatility", (percent, 0.0, inf),
                        IndicatorFeature(_bands, WIDTH, 0, 2)),
    "donchian_position_20": ("Place within the 20-bar range", "volatility", (two_decimals, 0.0, 1.0),
                             IndicatorFeature(_donchian, WITHIN, 0, 2)),
    "donchian_width_20": ("Width of the 20-bar range", "volatility", (percent, 0.0, inf),
                          IndicatorFeature(_donchian, WIDTH, 0, 2)),
    "keltner_position": ("Place within the Keltner channel", "volatility", NUMBER,
                         IndicatorFeature(_of("KC", HLC, timeperiod=20, atrperiod=10), WITHIN, 0, 2)),
    "natr_14": ("Average true range 14, share of price", "volatility", (fine_percent, 0.0, inf),
                IndicatorFeature(_of("NATR", HLC, timeperiod=14), HUNDREDTH)),
    "true_range": ("True range, share of price", "volatility", (fine_percent, 0.0, inf),
                   IndicatorFeature(_of("TRANGE", HLC), SHARE)),
    "mass_index": ("Mass index 9, 25", "volatility", (one_decimal, 0.0, inf), IndicatorFeature(_of("MASSI", HL), RAW)),
    "relative_volatility": (
        "Relative volatility index 14", "volatility", SCALE_100,
        IndicatorFeature(_of("RVI", C, timeperiod=14, stddevperiod=10), RAW)),
    "mfi_14": ("Money flow index 14", "volume", SCALE_100, IndicatorFeature(_of("MFI", HLCV, timeperiod=14), RAW)),
    "cmf_20": ("Chaikin money flow 20", "volume", (two_decimals, -1.0, 1.0),
               IndicatorFeature(_of("CMF", HLCV, timeperiod=20), RAW)),
    "volume_oscillator": ("Volume average 12 against 26", "volume", PERCENT,
                          IndicatorFeature(_of("PVO", ("volume",)), HUNDREDTH)),
}  # fmt: skip

RECIPES: dict[str, IndicatorFeature] = {name: row[3] for name, row in _ROWS.items()}


def _defined(label: str, group: str, shown: tuple, made: IndicatorFeature) -> FeatureDefinition:
    indicator = made.indicator
    return FeatureDefinition(
        label, shown[0], indicator.lookback() + (made.recipe == CHANGE), shown[1], shown[2], group,
        f"TA-Lib {indicator.function}", frozenset({"volume"}) if indicator.needs_volume else frozenset(),
    )  # fmt: skip


TALIB: dict[str, FeatureDefinition] = {name: _defined(*row) for name, row in _ROWS.items()}
