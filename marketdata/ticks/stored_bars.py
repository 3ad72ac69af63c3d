"""Keeps the stored bars of an instrument equal to what its stored ticks make, whatever came and in what order."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import Any

import numpy as np
from django.db import connection

from core.models import Instrument
from marketdata.bar_store import store_bars
from marketdata.series import BarSeries
from marketdata.ticks.bars import DAY, MICROSECONDS, OpenBar, bar_starts, make_bars, open_bar_of
from marketdata.ticks.queries import trades_between
from marketdata.ticks.writing import moment

SOURCE = "ticks"
Trades = tuple[np.ndarray, np.ndarray, np.ndarray]  # time in microseconds, price, size; in order
_NEAR = 3_600  # seconds: touched stretches closer than this are read as one
# The first and last moment are said once more as constants, so that the planner opens no other chunk.
_OPEN_BARS = """
    SELECT interval_seconds, extract(epoch FROM time)::bigint, open, high, low, close, volume FROM marketdata_bar
    WHERE instrument_id = %s AND source = %s AND interval_seconds = ANY(%s) AND time = ANY(%s)
      AND time >= %s AND time <= %s
"""


def go_on(
    instrument: Instrument,
    trades: Trades,
    intervals: Sequence[int],
    last_trade_time: int | None,
    touched: Iterable[int],
) -> dict[int, list[int]]:
    """Bring bars up to date after new trades were stored.

    trades: those after every trade stored before, whose last was at `last_trade_time` (microseconds). touched:
    moments (seconds) within every stretch that got a trade earlier than that; their bars are made anew from what is
    stored. So is the bar of the last trade when it is not stored as bars of ticks are: someone else's replaced it.
    Returns: starts of the bars written, ascending, by interval.
    """
    written: dict[int, list[int]] = {interval: [] for interval in intervals}
    open_bars = _open_bars(instrument.pk, trades[0], intervals, last_trade_time)
    anew = {interval: {at // interval * interval for at in touched} for interval in intervals}
    for interval, bar in open_bars.items():
        if bar is None and last_trade_time is not None:
            anew[interval].add(last_trade_time // MICROSECONDS // interval * interval)
    if any(anew.values()):
        _make_anew(instrument, anew, written)
    for interval in intervals:
        starts = bar_starts(trades[0], interval)
        rest = ~np.isin(starts, list(anew[interval])) if anew[interval] else np.ones(starts.size, dtype=bool)
        time, price, size = (column[rest] for column in trades)
        series = make_bars(time, price, size, interval, open_bars.get(interval))
        _store(instrument, interval, series, written)
    return {interval: sorted(set(starts)) for interval, starts in written.items()}


def make_all(instrument: Instrument, interval: int) -> list[int]:
    """Bars of an interval from every stored trade, for an interval asked for after ticks were stored."""
    written: dict[int, list[int]] = {interval: []}
    first, last = moment(0), moment(4_102_444_800 * MICROSECONDS)
    for series in _stored(instrument.pk, interval, first, last):
        _store(instrument, interval, series, written)
    return sorted(set(written[interval]))


def _make_anew(instrument: Instrument, anew: dict[int, set[int]], written: dict[int, list[int]]) -> None:
    wanted = {interval: np.array(sorted(starts), dtype=np.int64) for interval, starts in anew.items() if starts}
    # A stretch holds whole bars of every interval: all of them divide a day, so their common multiple does.
    common = math.lcm(*wanted)
    places = {at // common * common for starts in anew.values() for at in starts}
    for start, end in _stretches(sorted(places), common):
        for interval, starts in wanted.items():
            for series in _stored(instrument.pk, interval, moment(start * MICROSECONDS), moment(end * MICROSECONDS)):
                _store(instrument, interval, _only(series, starts), written)


def _stored(instrument_id: int, interval: int, start: datetime, end: datetime) -> Iterator[BarSeries]:
    """Bars of the stored trades, page by page; a bar that a page cuts is the last of one and the first of the next."""
    open_bar: OpenBar | None = None
    for trades in trades_between(instrument_id, start, end):
        series = make_bars(*trades, interval, open_bar)
        open_bar = open_bar_of(series)
        yield series


def _stretches(places: list[int], length: int) -> list[tuple[int, int]]:
    """Start and end of the stretches that places of this length form; near ones are joined."""
    found: list[tuple[int, int]] = []
    for at in places:
        if found and at - found[-1][1] <= _NEAR:
            found[-1] = (found[-1][0], at + length)
        else:
            found.append((at, at + length))
    return found


def _only(series: BarSeries, starts: np.ndarray) -> BarSeries:
    kept = np.isin(series.time, starts)
    return BarSeries(*(getattr(series, name)[kept] for name in ("time", "open", "high", "low", "close", "volume")))


def _store(instrument: Instrument, interval: int, series: BarSeries, written: dict[int, list[int]]) -> None:
    if len(series):
        store_bars(instrument, interval, series, SOURCE)
        written[interval].extend(series.time.tolist())


def _open_bars(
    instrument_id: int, times: np.ndarray, intervals: Sequence[int], last_trade_time: int | None
) -> dict[int, OpenBar | None]:
    """Stored bars of the last trade that the first of these trades falls into, by interval; None: should be there."""
    if last_trade_time is None or times.size == 0:
        return {}
    last = {interval: last_trade_time // MICROSECONDS // interval * interval for interval in intervals}
    first = int(times[0]) // MICROSECONDS
    found: dict[int, OpenBar | None] = {i: None for i in intervals if first // i * i == last[i]}
    if found:
        moments = [moment(last[interval] * MICROSECONDS) for interval in found]
        values: list[Any] = [instrument_id, SOURCE, list(found), moments, min(moments), max(moments)]
        with connection.cursor() as cursor:
            cursor.execute(_OPEN_BARS, values)
            bars = {interval: OpenBar(*bar) for interval, *bar in cursor.fetchall() if bar[0] == last[interval]}
        found.update(bars)
    return found


def common_step(intervals: Sequence[int]) -> int:
    """The longest stretch, in seconds, that every bar of these intervals is a whole number of."""
    return math.gcd(*intervals) if intervals else DAY
