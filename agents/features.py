"""What an agent sees of the market: named features of the bars, one calculation for training, backtest and live.

Every feature at bar t is a function of bars <= t. Averages that never forget (EMA, RSI, MACD) start at the first bar
given, so live and batch values agree exactly when both are given the same history.
"""

import hashlib
import json
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property
from math import inf

import numpy as np

from marketdata import indicators
from marketdata.series import BarSeries

VERSION = 1  # raise it when a calculation changes: fingerprints, and so old models, tell the difference
DAY = 86_400
SESSIONS_PER_YEAR = 252
SESSION_SECONDS = 23_400  # 9:30 to 16:00
VIX_MAX_SESSIONS = 5  # how long the last known VIX is carried forward
VIX_MAX_DAYS = 10  # the same in calendar days, for a series that ended before the bars begin


@dataclass(frozen=True)
class FeatureInput:
    """What a feature may use."""

    bars: BarSeries
    vix: BarSeries | None
    interval_seconds: int

    @cached_property
    def macd(self) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Line, signal and histogram in price: computed once for three features."""
        return indicators.macd(self.bars.close)


@dataclass(frozen=True)
class FeatureDefinition:
    """One feature of the catalogue."""

    label: str  # in plain words
    compute: Callable[[FeatureInput], np.ndarray]  # (T,) float64, NaN where unknown
    display: Callable[[float], str]  # a value as operators read it
    warm_up: int  # leading bars without a value
    lowest: float = -inf  # values beyond these cannot happen
    highest: float = inf


def _percent(value: float) -> str:
    return f"{value * 100:.1f} %"


def _fine_percent(value: float) -> str:
    return f"{value * 100:.2f} %"


def _one_decimal(value: float) -> str:
    return f"{value:.1f}"


def _macd_part(part: int) -> Callable[[FeatureInput], np.ndarray]:
    # A share of the close: MACD in dollars means something else at every price level.
    return lambda data: data.macd[part] / data.bars.close


def _distance(length: int) -> Callable[[FeatureInput], np.ndarray]:
    return lambda data: data.bars.close / indicators.ema(data.bars.close, length) - 1.0


def _slope(data: FeatureInput) -> np.ndarray:
    average = indicators.ema(data.bars.close, 50)
    slope = np.full(len(average), np.nan)
    slope[1:] = average[1:] / average[:-1] - 1.0
    return slope


def _returns(length: int) -> Callable[[FeatureInput], np.ndarray]:
    return lambda data: indicators.simple_returns(data.bars.close, length)


def _volatility(data: FeatureInput) -> np.ndarray:
    bars_per_session = max(SESSION_SECONDS / data.interval_seconds, 1.0)
    returns = indicators.simple_returns(data.bars.close, 1)
    return indicators.rolling_volatility(returns, 20, bars_per_year=SESSIONS_PER_YEAR * bars_per_session)


def _vix(data: FeatureInput) -> np.ndarray:
    """VIX close of the same session (of the session before for bars within a day, whose own is not known yet)."""
    level = np.full(len(data.bars), np.nan)
    if data.vix is None or not len(data.vix) or not len(data.bars):
        return level
    day, vix_day = data.bars.time // DAY, data.vix.time // DAY
    sessions, session = np.unique(day, return_inverse=True)
    row = np.searchsorted(vix_day, day, side="right" if data.interval_seconds >= DAY else "left") - 1
    known = row >= 0
    source_day = vix_day[np.maximum(row, 0)]
    age = session - (np.searchsorted(sessions, source_day, side="right") - 1)
    known &= (age <= VIX_MAX_SESSIONS) & (day - source_day <= VIX_MAX_DAYS)
    level[known] = data.vix.close[row[known]]
    return level


CATALOGUE: dict[str, FeatureDefinition] = {
    "rsi_14": FeatureDefinition(
        "RSI 14", lambda data: indicators.rsi(data.bars.close, 14), _one_decimal, 14, 0.0, 100.0
    ),
    "macd": FeatureDefinition("MACD line, share of price", _macd_part(0), _fine_percent, 33),
    "macd_signal": FeatureDefinition("MACD signal, share of price", _macd_part(1), _fine_percent, 33),
    "macd_histogram": FeatureDefinition("MACD histogram, share of price", _macd_part(2), _fine_percent, 33),
    "ema_10": FeatureDefinition("Close against its 10-bar average", _distance(10), _percent, 9),
    "ema_50": FeatureDefinition("Close against its 50-bar average", _distance(50), _percent, 49),
    "ema_50_slope": FeatureDefinition("Slope of the 50-bar average, per bar", _slope, _fine_percent, 50),
    "vix": FeatureDefinition("VIX", _vix, _one_decimal, 0, 0.0),
    "return_1": FeatureDefinition("Price change, 1 bar", _returns(1), _percent, 1, -1.0),
    "return_5": FeatureDefinition("Price change, 5 bars", _returns(5), _percent, 5, -1.0),
    "return_20": FeatureDefinition("Price change, 20 bars", _returns(20), _percent, 20, -1.0),
    "volatility_20": FeatureDefinition("Volatility over 20 bars, per year", _volatility, _percent, 20, 0.0),
}


@dataclass(frozen=True)
class FeatureSpec:
    """An ordered list of features; equal lists are equal specs. Raises: ValueError for unknown or repeated names."""

    names: tuple[str, ...]

    def __post_init__(self) -> None:
        object.__setattr__(self, "names", tuple(self.names))
        unknown = [name for name in self.names if name not in CATALOGUE]
        if unknown:
            raise ValueError(f"unknown feature {', '.join(map(repr, unknown))}; known: {', '.join(CATALOGUE)}")
        if not self.names or len(set(self.names)) != len(self.names):
            raise ValueError(f"features must be at least one and different, got {', '.join(self.names) or 'none'}")

    @property
    def warm_up(self) -> int:
        """Leading bars for which not every feature has a value; VIX may be missing at any bar."""
        return max(CATALOGUE[name].warm_up for name in self.names)

    def fingerprint(self) -> str:
        """SHA-256 (hex) of names, order and the version of their calculation."""
        return hashlib.sha256(json.dumps([VERSION, *self.names]).encode()).hexdigest()

    def compute(self, bars: BarSeries, vix: BarSeries | None = None, interval_seconds: int = DAY) -> np.ndarray:
        """Raw features, shape (T, n), float64, NaN where a value is not known.

        bars: all history there is, not just the last bars; vix: daily bars of the VIX, or None.
        """
        data = FeatureInput(bars, vix, interval_seconds)
        columns = [np.asarray(CATALOGUE[name].compute(data), dtype=float) for name in self.names]
        return np.column_stack(columns)

    def labels(self) -> dict[str, str]:
        """Plain words per name."""
        return {name: CATALOGUE[name].label for name in self.names}


def display(name: str, value: float) -> str:
    """A value as operators read it, such as "28.4" or "3.1 %"."""
    return CATALOGUE[name].display(value)
