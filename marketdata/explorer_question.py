"""Reads what the Data page's chart asks for, and refuses what makes no sense with a sentence."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

from core.models import Instrument
from marketdata import levels
from marketdata.explorer_queries import first_stored, time_of_nth_last, time_of_nth_next
from marketdata.features.chart import CHART_INDICATORS, ChartIndicator
from marketdata.models import DAY, Stream

USUAL = (60, 300, 900, 3600, DAY)
MOST_POINTS = 2000
POINTS_AT_FIRST = 1000
MOST_INDICATORS = 8
_LATEST = datetime(9000, 1, 1, tzinfo=UTC)
_EARLIEST = datetime(1800, 1, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Asked:
    """One question of the chart. Times are aware; `end` never lies after what a watched replay has published."""

    interval_seconds: int
    base_seconds: int  # the stored bars it is made of
    start: datetime | None = None  # None: as many as fit before the end
    end: datetime | None = None  # None: up to the last bar
    points: int = POINTS_AT_FIRST
    indicators: tuple[str, ...] = field(default_factory=tuple)


def chart_indicators(instrument: Instrument) -> dict[str, ChartIndicator]:
    """Name to indicator of everything that can be drawn for an instrument."""
    return {name: one for name, one in CHART_INDICATORS.items() if instrument.has_volume or not one.needs_volume}


def offered(stored: list[int]) -> list[tuple[int, int]]:
    """Intervals a chart can show, ascending, each with the stored interval it is made of."""
    found = {seconds: seconds for seconds in stored}
    for seconds in USUAL:
        bases = [base for base in stored if seconds in levels.levels_of(base)]
        if seconds not in found and bases:
            found[seconds] = max(bases)
    return sorted(found.items())


def read_question(parameters: Mapping[str, str], instrument: Instrument) -> Asked:
    """The question in a query string. Raises: ValueError with a sentence for the person who wrote it."""
    interval = _whole(parameters, "interval", DAY, 1, 10 * 365 * DAY)
    finer = sorted({1, 5, 10, 15, 30, *USUAL, 120, 600, 1800, 7200, 14_400}, reverse=True)
    candidates = [interval, *(base for base in finer if base < interval and interval in levels.levels_of(base))]
    base = first_stored(instrument.pk, candidates)
    if base is None:
        raise ValueError(f"{instrument.symbol} has no bars of {interval} seconds, nor any they could be made of.")
    start, end = _moment(parameters, "from"), _moment(parameters, "to")
    if start and end and start > end:
        raise ValueError("from lies after to: exchange them.")
    start, end = _widened(parameters, instrument, base, start, end)
    return Asked(
        interval_seconds=interval,
        base_seconds=base,
        start=start,
        end=_published(parameters.get("stream", ""), instrument, end),
        points=_whole(parameters, "points", POINTS_AT_FIRST, 10, MOST_POINTS),
        indicators=_indicators(parameters.get("with", ""), instrument),
    )


def _widened(
    parameters: Mapping[str, str], instrument: Instrument, base: int, start: datetime | None, end: datetime | None
) -> tuple[datetime | None, datetime | None]:
    """The span and `margin` more bars of `length` on each side, however long the market was closed between them."""
    margin = _whole(parameters, "margin", 0, 0, MOST_POINTS)
    if not margin:
        return start, end
    length = _whole(parameters, "length", base, 1, 10 * 365 * DAY)
    if length not in (base, *levels.levels_of(base)):
        raise ValueError(f"length is {length}, expected one of {', '.join(map(str, (base, *levels.levels_of(base))))}.")
    if start is not None:
        start = time_of_nth_last(instrument.pk, base, length, margin, start) or start
    if end is not None:
        end = time_of_nth_next(instrument.pk, base, length, margin, end) or end
    return start, end


def _published(text: str, instrument: Instrument, end: datetime | None) -> datetime | None:
    """The end, held back to what a watched replay has published."""
    if not text:
        return end
    if not text.isdecimal() or len(text) > 12:
        raise ValueError(f"stream is {text[:40]!r}, expected a stream's number.")
    stream = Stream.objects.filter(pk=int(text), instruments=instrument).first()
    if stream is None:
        raise ValueError(f"There is no stream {text} of {instrument.symbol}.")
    cursor = stream.cursor or stream.from_time - timedelta(microseconds=1)
    return min(end or _LATEST, cursor)


def _indicators(text: str, instrument: Instrument) -> tuple[str, ...]:
    names = tuple(dict.fromkeys(name for name in text.split(",") if name))
    if len(names) > MOST_INDICATORS:
        raise ValueError(f"{len(names)} indicators were asked for; a chart shows at most {MOST_INDICATORS}.")
    known = chart_indicators(instrument)
    for name in names:
        if name not in known:
            raise ValueError(f"There is no indicator called {name[:60]!r}.")
    return names


def _whole(parameters: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    text = parameters.get(name, "")
    if not text:
        return default
    if not text.isdecimal() or len(text) > 12 or not least <= int(text) <= most:
        raise ValueError(f"{name} is {text[:40]!r}, expected a whole number from {least:,} to {most:,}.")
    return int(text)


def _moment(parameters: Mapping[str, str], name: str) -> datetime | None:
    """A time in epoch seconds, held within what the database counts in."""
    text = parameters.get(name, "")
    if not text:
        return None
    try:
        seconds = float(text)
    except ValueError:
        seconds = math.nan
    if not math.isfinite(seconds):
        raise ValueError(f"{name} is {text[:40]!r}, expected a time in seconds since 1970.")
    limits = _EARLIEST.timestamp(), _LATEST.timestamp()
    return datetime.fromtimestamp(math.floor(min(max(seconds, limits[0]), limits[1])), UTC)
