"""From Yahoo's tables to bars as they were traded. Pure.

Yahoo's open, high, low, close and volume are already adjusted for every split up to the day they are asked for, and so
are dividends (3.29 a share paid before Apple's 7:1 split is listed as 0.47); prices are not adjusted for dividends.
Such bars cannot be kept: after the next split old ones and new ones would not fit. So splits are undone here: bars
before a split are multiplied by its ratio, volume is divided by it, and a dividend before it is multiplied too. What
is stored is what was traded and paid, the same whenever it is asked for, and no action is in the prices.

Sometimes Yahoo lists a split hours before it has adjusted the prices before it. Then the price steps at the ex date;
such a split is not undone, and said. The rule is the one of marketdata/adjust.py: the step from the last close to the
open is nearer to the split than to nothing.

Prices carry the accuracy of 32-bit floats (187.14999389648438 for 187.15): they are rounded to 7 significant digits.
Rows without any price are intervals without a trade and no bars; rows with some prices missing are bad. An open or
close up to 0.5 % outside low to high comes from rounding heavily split prices and widens them; beyond, the row is bad.
yfinance turns a missing volume into 0. Volume 0 is otherwise real where nobody reports it (indices, currencies), or
Yahoo's gap: the first row of an answer often has it, so one bar more than wanted is asked for and dropped; single
crypto bars have it too. A row of the last trade, off the grid of the interval, is no bar.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, tzinfo
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd

from marketdata.adjusted import DIVIDEND, SPLIT, day_start
from marketdata.series import BarSeries
from marketdata.sources.base import Action
from marketdata.sources.yahoo_client import Chart

DAY = 86_400
_COLUMNS = ("Open", "High", "Low", "Close", "Volume")
_LEAST_RATIO = 1.2  # a smaller step cannot be told from an ordinary night
_OUTSIDE = 0.005  # of the price; of 283,880 daily rows of large companies 83 lie outside, by the last digit
_DIGITS, _MOST_PROBLEMS = 7, 5
# Hundredths have names of their own at Yahoo; other currencies would need the rate of that day.
_RATES = dict.fromkeys((("GBP", "GBp"), ("ZAR", "ZAc"), ("ILS", "ILA")), 100.0)
_RATES |= {(part, whole): 0.01 for whole, part in _RATES}


@dataclass(frozen=True)
class Sheet:
    """One answer of Yahoo, read: still split-adjusted."""

    series: BarSeries
    actions: list[Action]  # oldest first, values as Yahoo gives them
    zone: tzinfo  # where the exchange's days begin
    n_bad: int = 0
    problems: list[str] = field(default_factory=list)


def read(chart: Chart, interval_seconds: int) -> Sheet:
    """Bars and actions of an answer. Daily bars are labelled with their date at 00:00 UTC."""
    zone = ZoneInfo(chart.zone)
    if chart.frame.empty:
        return Sheet(BarSeries.empty(), [], zone)
    frame = chart.frame.sort_index()
    local = pd.DatetimeIndex(frame.index)
    days = (local.tz_localize(None).normalize().as_unit("s").asi8 // DAY).astype(np.int64)
    time = days * DAY if interval_seconds >= DAY else local.as_unit("s").asi8
    values = frame.loc[:, list(_COLUMNS)].to_numpy(dtype=np.float64)
    series, n_bad, problems = _bars(time, values, interval_seconds)
    actions, wrong = _actions(frame, days, chart)
    return Sheet(series, actions, zone, n_bad + len(wrong), problems + wrong[:_MOST_PROBLEMS])


def undo_splits(series: BarSeries, splits: Sequence[Action], zone: tzinfo) -> BarSeries:
    """Bars as traded. splits: all from the first bar to the day the bars were asked for; zone: UTC for daily bars."""
    ratio = np.ones(len(series))
    for split in splits:
        ratio[series.time < day_start(split.ex_date, zone)] *= split.value
    if (ratio == 1.0).all():
        return replace(series, **{name: _rounded(getattr(series, name)) for name in ("open", "high", "low", "close")})
    prices = {name: _rounded(getattr(series, name) * ratio) for name in ("open", "high", "low", "close")}
    shares = np.where(ratio == 1.0, series.volume, np.round(series.volume / ratio))
    return replace(series, **prices, volume=shares)


def as_paid(actions: Sequence[Action], splits: Sequence[Action]) -> list[Action]:
    """Dividends a share as they were paid, splits as they are. splits: those Yahoo has adjusted for until now."""
    paid = []
    for action in actions:
        if action.kind == DIVIDEND:
            later = [split.value for split in splits if split.ex_date > action.ex_date]
            action = replace(action, value=float(f"{action.value * float(np.prod(later)):.6g}"))
        paid.append(action)
    return paid


def in_prices(series: BarSeries, splits: Sequence[Action], zone: tzinfo) -> tuple[list[Action], list[str]]:
    """Which splits Yahoo's bars are adjusted for, and a sentence for each other one. zone: UTC for daily bars."""
    done, problems = [], []
    for split in splits:
        at = int(np.searchsorted(series.time, day_start(split.ex_date, zone)))
        if 0 < at < len(series) and max(split.value, 1.0 / split.value) >= _LEAST_RATIO:
            jump = float(series.open[at] / series.close[at - 1])
            if abs(np.log(jump * split.value)) < abs(np.log(jump)):
                problems.append(
                    f"Yahoo lists a split of {split.value:g} on {split.ex_date} but has not adjusted earlier prices "
                    "for it; they are stored as they came, as traded"
                )
                continue
        done.append(split)
    return done, problems


def closed(series: BarSeries, interval_seconds: int, chart: Chart, now: datetime) -> BarSeries:
    """Without bars that are still forming. A daily bar is closed after the end of its session."""
    moment = int(now.timestamp())
    if interval_seconds < DAY:
        return series.until(moment - interval_seconds)
    today = now.astimezone(ZoneInfo(chart.zone)).date()
    if chart.closes is not None and chart.closes.astimezone(ZoneInfo(chart.zone)).date() == today:
        over = now >= chart.closes
    else:
        over = False  # Yahoo does not say when today ends: tomorrow it is certain
    return series.until(day_start(today, UTC) - (0 if over else 1))


def _bars(time: np.ndarray, values: np.ndarray, interval_seconds: int) -> tuple[BarSeries, int, list[str]]:
    empty = np.isnan(values[:, :4]).all(axis=1)
    off_grid = time % min(interval_seconds, 900) != 0  # hours may begin at half past, as on Wall Street
    good, problems, n_bad = ~empty & ~off_grid, [], 0
    for row in np.flatnonzero(good):
        reason = _wrong(values[row])
        if reason:
            good[row], n_bad = False, n_bad + 1
            if n_bad <= _MOST_PROBLEMS:
                problems.append(f"{datetime.fromtimestamp(int(time[row]), UTC):%Y-%m-%d %H:%M}: {reason}")
    good &= np.append(time[1:] != time[:-1], True)  # of two rows of one time the later one
    open_, high, low, close, volume = values[good].T
    high, low = np.maximum.reduce([open_, high, close]), np.minimum.reduce([open_, low, close])
    return BarSeries(time[good], open_, high, low, close, volume), n_bad, problems


def _wrong(row: np.ndarray) -> str:
    open_, high, low, close, volume = row
    if not (np.isfinite(row).all() and min(row[:4]) > 0):
        return "a price is missing or not above 0"
    if high < low or not low * (1 - _OUTSIDE) <= min(open_, close) <= max(open_, close) <= high * (1 + _OUTSIDE):
        return f"open {open_:g}, close {close:g} do not lie in low {low:g} to high {high:g}"
    return "" if volume >= 0 else f"volume {volume:g} is below 0"


def _actions(frame: pd.DataFrame, days: np.ndarray, chart: Chart) -> tuple[list[Action], list[str]]:
    found, wrong = [], []
    splits, dividends, gains = (_column(frame, name) for name in ("Stock Splits", "Dividends", "Capital Gains"))
    # A fund's gains are paid like a dividend. Yahoo mostly counts them in it already: then it is not less than they.
    dividends = dividends + np.where(dividends < gains, gains, 0.0)
    for amounts, kind in ((splits, SPLIT), (dividends, DIVIDEND)):
        for row in np.flatnonzero(amounts != 0):
            day = datetime.fromtimestamp(int(days[row]) * DAY, UTC).date()
            paid_in = chart.paid_in.get(day, chart.currency) if kind == DIVIDEND else chart.currency
            value = float(amounts[row]) * _RATES.get((paid_in, chart.currency), 1.0)
            if not (np.isfinite(value) and value > 0):
                wrong.append(f"{day}: Yahoo lists a {kind} of {value:g}, which is none")
            elif paid_in != chart.currency and (paid_in, chart.currency) not in _RATES:
                wrong.append(
                    f"{day}: the dividend of {value:g} was paid in {paid_in}, prices are in {chart.currency}; "
                    "it is left out, enter it by hand in the prices' currency"
                )
            else:
                found.append(Action(day, kind, value))
    return sorted(found, key=lambda action: (action.ex_date, action.kind)), wrong


def _column(frame: pd.DataFrame, name: str) -> np.ndarray:
    return (
        np.nan_to_num(frame[name].to_numpy(dtype=np.float64), posinf=np.inf) if name in frame else np.zeros(len(frame))
    )


def _rounded(prices: np.ndarray) -> np.ndarray:
    if prices.size == 0:
        return prices
    scale = 10.0 ** (_DIGITS - 1 - np.floor(np.log10(prices)))
    return np.round(prices * scale) / scale
