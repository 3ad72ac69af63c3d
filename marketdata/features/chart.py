"""Indicators drawn on charts: in price units, unlike features, which mean the same at every price level."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal

import numpy as np
import talib

from marketdata.calendars import Sessions
from marketdata.coarser import session_dates
from marketdata.features.inputs import DAY, bars_table, usable, with_volume
from marketdata.series import BarSeries

Lines = tuple[np.ndarray, ...]


@dataclass(frozen=True)
class ChartIndicator:
    """What a person may draw."""

    label: str
    pane: Literal["price", "own"]  # over the prices, or below them with a scale of its own
    lines: tuple[str, ...]
    calculate: Callable[[BarSeries], Lines]
    by_session: bool = False  # starts again each session
    needs_volume: bool = False


def _mean(length: int) -> ChartIndicator:
    return ChartIndicator(
        f"Mean of {length} bars", "price", (f"SMA {length}",), lambda b: (talib.SMA(b.close, length),)
    )


def _fading(length: int) -> ChartIndicator:
    return ChartIndicator(
        f"Fading average of {length} bars", "price", (f"EMA {length}",), lambda b: (talib.EMA(b.close, length),)
    )


CHART_INDICATORS: dict[str, ChartIndicator] = {
    "sma_20": _mean(20),
    "sma_50": _mean(50),
    "sma_200": _mean(200),
    "ema_10": _fading(10),
    "ema_50": _fading(50),
    "bollinger": ChartIndicator(
        "Bollinger bands 20, 2", "price", ("Upper", "Middle", "Lower"), lambda b: talib.BBANDS(b.close, 20)
    ),
    "vwap": ChartIndicator(
        "Average price of the session", "price", ("VWAP",), lambda b: (_vwap(b),), by_session=True, needs_volume=True
    ),
    "rsi": ChartIndicator("RSI 14", "own", ("RSI",), lambda b: (talib.RSI(b.close, 14),)),
    "macd": ChartIndicator("MACD 12, 26, 9", "own", ("MACD", "Signal", "Histogram"), lambda b: talib.MACD(b.close)),
    "atr": ChartIndicator(
        "Average true range 14", "own", ("ATR",), lambda b: (talib.ATR(b.high, b.low, b.close, 14),)
    ),
    "stochastic": ChartIndicator(
        "Stochastic 14, 3, 3", "own", ("%K", "%D"),
        lambda b: talib.STOCH(b.high, b.low, b.close, fastk_period=14, slowk_period=3, slowd_period=3),
    ),
    "adx": ChartIndicator(
        "Strength of the trend, ADX 14", "own", ("ADX", "+DI", "-DI"),
        lambda b: tuple(f(b.high, b.low, b.close, 14) for f in (talib.ADX, talib.PLUS_DI, talib.MINUS_DI)),
    ),
    "volume_average": ChartIndicator(
        "Mean volume of 20 bars", "own", ("Volume 20",), lambda b: (talib.SMA(b.volume, 20),), needs_volume=True
    ),
}  # fmt: skip


def compute(
    name: str, bars: BarSeries, interval_seconds: int, sessions: Sessions | None = None
) -> dict[str, np.ndarray]:
    """Lines by name, each (T,) float64, NaN where there is no value yet.

    Averages that never forget start at the first bar given, so hand over some bars before the first one shown. A
    session is the one `sessions` says, else the UTC date; the session's average price is drawn for intraday bars only.
    Raises: ValueError for an unknown indicator.
    """
    if name not in CHART_INDICATORS:
        raise ValueError(f"unknown indicator {name!r}; known: {', '.join(CHART_INDICATORS)}")
    indicator = CHART_INDICATORS[name]
    lines = {line: np.full(len(bars), np.nan) for line in indicator.lines}
    table = bars_table(bars)
    good = usable(table) & with_volume(table) if indicator.needs_volume else usable(table)
    if indicator.by_session and interval_seconds >= DAY:
        return lines
    for rows in _sessions(bars, good, sessions) if indicator.by_session else [np.flatnonzero(good)]:
        if len(rows):
            columns = (bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume)
            found = indicator.calculate(BarSeries(*(column[rows] for column in columns)))
            for line, values in zip(indicator.lines, found, strict=True):
                lines[line][rows] = values
    return lines


def _vwap(bars: BarSeries) -> np.ndarray:
    volume = np.cumsum(bars.volume)
    money = np.cumsum((bars.high + bars.low + bars.close) / 3.0 * bars.volume)
    return np.divide(money, volume, out=np.full(len(bars), np.nan), where=volume > 0)


def _sessions(bars: BarSeries, good: np.ndarray, sessions: Sessions | None) -> list[np.ndarray]:
    """Rows of the good bars, session by session; those outside every session go by their UTC date."""
    rows = np.flatnonzero(good)
    dates = bars.time[rows] // DAY * DAY
    if sessions is not None and len(sessions):
        known = session_dates(bars.time[rows], sessions)
        dates = np.where(known >= 0, known, dates)
    return np.split(rows, np.flatnonzero(np.diff(dates)) + 1)
