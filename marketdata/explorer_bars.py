"""What the Data page's chart asks for while somebody zooms and pans: few bars of any span, and indicators on them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from core.models import Instrument
from marketdata import levels
from marketdata.calendars import Sessions, sessions
from marketdata.explorer_queries import Quote, quote, time_of_nth_last
from marketdata.explorer_question import Asked
from marketdata.features.chart import CHART_INDICATORS, compute
from marketdata.series import BarSeries

# Bars before the first one shown, so that slow averages no longer depend on where the screen begins.
WARM_UP = 300
AS_ASKED = 10**9  # more bars than anybody asks for: nothing is merged further


def answer(instrument: Instrument, asked: Asked) -> dict[str, Any]:
    """Bars and indicator lines, times in epoch seconds, at most `points` bars.

    bars: rows of time, open, high, low, close, volume. lines: per indicator its label, pane and, per line, one value a
    bar, null where it is not known yet. length: seconds each bar spans. first and last: where the stored bars begin and
    end, so that a chart knows whether there is more. n_all: stored bars of the interval they are made of.
    """
    bars, length = _bars(instrument, asked)
    latest = quote(instrument.pk, asked.base_seconds, asked.end)
    return {
        "symbol": instrument.symbol,
        "interval": asked.interval_seconds,
        "base": asked.base_seconds,
        "length": length,
        "n_all": levels.n_stored(instrument.pk, asked.base_seconds),
        "first": _epoch(latest.first) if latest else None,
        "last": _epoch(latest.time) if latest else None,
        "upTo": _epoch(asked.end) if asked.end else None,
        "bars": [list(row) for row in zip(*_columns(bars), strict=True)],
        "lines": _lines(instrument, asked, bars, length),
        "quote": _quote(latest),
    }


def _quote(latest: Quote | None) -> dict[str, Any] | None:
    if latest is None:
        return None
    change, before = _finite(latest.change), _epoch(latest.before_time)
    return {"price": _finite(latest.price), "change": change, "since": before}


def csv_rows(instrument: Instrument, asked: Asked) -> Iterator[list[Any]]:
    """Header and rows of what the chart shows, one column per indicator line."""
    found = answer(instrument, asked)
    names = [(name, line) for name, entry in found["lines"].items() for line in entry["values"]]
    yield ["time", "open", "high", "low", "close", "volume", *(line for _, line in names)]
    for n, row in enumerate(found["bars"]):
        values = [found["lines"][name]["values"][line][n] for name, line in names]
        yield [datetime.fromtimestamp(row[0], UTC).isoformat(), *row[1:], *values]


def _bars(instrument: Instrument, asked: Asked) -> tuple[BarSeries, int]:
    """The bars of the span and the seconds each spans: the interval asked for if they fit, else a longer level."""
    key = instrument.pk, asked.base_seconds
    # The first may have begun before the start, so one place is left for it.
    n_most = asked.points - 1
    start = asked.start or time_of_nth_last(*key, asked.interval_seconds, n_most, asked.end)
    if start is None:
        return BarSeries.empty(), asked.interval_seconds
    return levels.thinned(*key, start=start, end=asked.end, n_most=n_most, at_least_seconds=asked.interval_seconds)


def _lines(instrument: Instrument, asked: Asked, bars: BarSeries, length: int) -> dict[str, Any]:
    """Indicators of the bars as shown, begun early enough to be warm at the first of them."""
    if not asked.indicators or len(bars) == 0:
        return {}
    before = _before(instrument, asked, int(bars.time[0]), length)
    series = _joined(before, bars)
    lines = {}
    for name in asked.indicators:
        one = CHART_INDICATORS[name]
        values = compute(name, series, length, _sessions(instrument, series) if one.by_session else None)
        lines[name] = {
            "label": one.label,
            "pane": one.pane,
            "values": {line: [_finite(value) for value in row[len(before) :].tolist()] for line, row in values.items()},
        }
    return lines


def _sessions(instrument: Instrument, series: BarSeries) -> Sessions | None:
    """The sessions the bars lie in; None for a calendar nobody knows."""
    first, last = (datetime.fromtimestamp(int(series.time[at]), UTC).date() for at in (0, -1))
    try:
        return sessions(instrument.calendar, first - timedelta(days=1), last + timedelta(days=1))
    except ValueError:
        return None


def _before(instrument: Instrument, asked: Asked, first: int, length: int) -> BarSeries:
    """Up to WARM_UP bars of the same length before `first`."""
    end = datetime.fromtimestamp(first - 1, UTC)
    start = time_of_nth_last(instrument.pk, asked.base_seconds, length, WARM_UP, end)
    if start is None:
        return BarSeries.empty()
    found, found_length = levels.thinned(
        instrument.pk, asked.base_seconds, start=start, end=end, n_most=WARM_UP * 4, at_least_seconds=length
    )
    return found if found_length == length else BarSeries.empty()


def _joined(first: BarSeries, second: BarSeries) -> BarSeries:
    if len(first) == 0:
        return second
    first = first.until(int(second.time[0]) - 1)
    names = ("time", "open", "high", "low", "close", "volume")
    return BarSeries(*(np.concatenate([getattr(first, name), getattr(second, name)]) for name in names))


def _columns(bars: BarSeries) -> list[list[Any]]:
    prices = (bars.open, bars.high, bars.low, bars.close, bars.volume)
    return [bars.time.tolist(), *([_finite(value) for value in column.tolist()] for column in prices)]


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _epoch(moment: datetime | None) -> int | None:
    return int(moment.timestamp()) if moment else None
