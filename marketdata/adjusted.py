"""Raw bars made comparable across splits and dividends, never with knowledge of the future. Pure.

An action makes one step, at the start of its ex date. For a split of r new shares for one old, prices before it count
1 / r and volumes r. For a dividend D, prices before it count 1 - D / P, P being the last raw close before the ex date
(less what other actions of the same night took off it); volumes stay. So a return over the ex date is
(close after + D) / close before - 1 times the usual correction for reinvesting D at P - D. These are the multipliers
of the Center for Research in Security Prices as Yahoo and other vendors publish them ("What is the adjusted close?":
2:1 on 18 February gives 0.5; 0.08 on 19 February after a close of 24.96 gives 1 - 0.08 / 24.96 = 0.9968).

Three ways to use the steps:
- raw: not at all. What was traded, what orders fill at.
- back: bars before a step are multiplied by it, the last bar keeps its price. What a chart shows; with `as_of`, what
  it showed on that day, because later actions (and bars) are left out. Old values change with each new action.
- forward: bars from a step on are divided by it, the first bar keeps its price. A bar's value depends only on actions
  up to that bar, so it never changes when more become known: this is what training, backtests and agents read.
Both adjusted ways have the same returns; they differ by one constant factor.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from enum import StrEnum

import numpy as np

from marketdata.series import BarSeries
from marketdata.sources.base import Action

SPLIT, DIVIDEND = "split", "dividend"
# For moments (n,) in seconds UTC: time and raw close of the last bar before each, (n,) both; time -1 where none is.
LastBefore = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Mode(StrEnum):
    """Which prices are wanted; see the module."""

    RAW = "raw"
    BACK = "back"
    FORWARD = "forward"


@dataclass(frozen=True)
class Step:
    """What makes earlier bars comparable with those from `time` on."""

    time: int  # start of the ex date, seconds since 1970 UTC
    price: float  # earlier prices count times this
    shares: float  # earlier volumes count times this


def adjusted(
    series: BarSeries, actions: Iterable[Action], mode: Mode, as_of: date | None = None, *, zone: tzinfo = UTC
) -> BarSeries:
    """The series in one of the three modes; every array keeps its length unless as_of cuts it.

    actions: in any order; those the prices already contain must not be among them.
    as_of: only actions with an ex date up to this day, and only bars of days up to it; None: the last bar's day.
    zone: where a day begins: the exchange's for intraday bars, UTC for daily bars, whose time is a label in UTC.
    Raises: ValueError for an action no price can have, such as a dividend above the close before it.
    """
    if as_of is not None:
        series = series.until(day_start(as_of + timedelta(days=1), zone) - 1)
    if mode == Mode.RAW or len(series) == 0:
        return series
    last = as_of or datetime.fromtimestamp(int(series.time[-1]), UTC).astimezone(zone).date()
    known = [action for action in actions if action.ex_date <= last]
    return apply_steps(series, steps(known, lambda times: _last_before(series, times), zone), mode)


def steps(actions: Sequence[Action], last_before: LastBefore, zone: tzinfo) -> list[Step]:
    """The steps the actions make, in ascending time.

    An action without any bar before it is left out: there is nothing to make comparable.
    Raises: ValueError as `adjusted`.
    """
    ordered = in_order(actions)
    times = np.array([day_start(action.ex_date, zone) for action in ordered], dtype=np.int64)
    bars, closes = last_before(times)
    found: list[Step] = []
    bar_of_night, left = -1, 1.0  # actions between the same two bars take off one after the other
    for action, time, bar, close in zip(ordered, times.tolist(), bars.tolist(), closes.tolist(), strict=True):
        if bar < 0:
            continue
        if bar != bar_of_night:
            bar_of_night, left = bar, 1.0
        step = _step(action, time, close * left)
        left *= step.price
        found.append(step)
    return found


def apply_steps(series: BarSeries, found: Sequence[Step], mode: Mode) -> BarSeries:
    """The series with the steps applied forward or back; steps must ascend."""
    price, shares = np.ones(len(series)), np.ones(len(series))
    for step in found:  # in order, so that a bar's factor is the same product however many bars are loaded
        at = int(np.searchsorted(series.time, step.time, side="left"))
        part = slice(at, None) if mode == Mode.FORWARD else slice(None, at)
        price[part] *= 1.0 / step.price if mode == Mode.FORWARD else step.price
        shares[part] *= 1.0 / step.shares if mode == Mode.FORWARD else step.shares
    return BarSeries(
        time=series.time,
        open=series.open * price,
        high=series.high * price,
        low=series.low * price,
        close=series.close * price,
        volume=series.volume * shares,
    )


def per_bar(time: np.ndarray, actions: Iterable[Action], zone: tzinfo) -> np.ndarray:
    """What happens to whoever holds the instrument before each bar trades: split and dividend, (T, 2) float64.

    time: starts of bars, int64 seconds UTC. An action happens at the first bar from the start of its ex date on, so at
    the bar at which the adjusted series has its step; one at the first bar, or before it, is left out: nobody held.
    Columns: new shares for one old, 1 for none; dividend per share held after that split, 0 for none. Where several
    fall on one bar the splits come first, as one, and a dividend of the days before a split is divided by it.
    """
    rows = np.tile([1.0, 0.0], (len(time), 1))
    for action in in_order(actions):
        bar = int(np.searchsorted(time, day_start(action.ex_date, zone), side="left"))
        if not 0 < bar < len(time):
            continue
        if action.kind == SPLIT:
            rows[bar] = rows[bar, 0] * action.value, rows[bar, 1] / action.value
        else:
            rows[bar, 1] += action.value
    return rows


def in_order(actions: Iterable[Action]) -> list[Action]:
    """By ex date; a split comes before a dividend of the same day: the dividend is then paid on the new shares."""
    return sorted(actions, key=lambda action: (action.ex_date, action.kind != SPLIT))


def day_start(day: date, zone: tzinfo) -> int:
    """First second of a day in a zone, seconds since 1970 UTC."""
    return int(datetime(day.year, day.month, day.day, tzinfo=zone).timestamp())


def _last_before(series: BarSeries, times: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    before = np.searchsorted(series.time, times, side="left") - 1
    return np.where(before >= 0, series.time[before], -1), series.close[before]


def _step(action: Action, time: int, price: float) -> Step:
    if not (np.isfinite(action.value) and action.value > 0):
        raise ValueError(f"{action.kind} of {action.ex_date} has value {action.value}, expected above 0: correct it")
    if action.kind == SPLIT:
        return Step(time, 1.0 / action.value, action.value)
    if action.kind != DIVIDEND:
        raise ValueError(f"{action.kind!r} on {action.ex_date} is no kind of action: use {SPLIT} or {DIVIDEND}")
    if action.value >= price:
        raise ValueError(
            f"dividend of {action.value:g} on {action.ex_date} is not below the close before it ({price:g}): "
            "correct the dividend, or mark it as already contained in the prices"
        )
    return Step(time, 1.0 - action.value / price, 1.0)
