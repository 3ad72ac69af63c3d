"""Whether a stream that somebody wants can be made; each refusal says what to do."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

from django.core.exceptions import ValidationError
from django.core.validators import validate_slug
from django.db.models import Max, Min
from django.utils import timezone

from core.models import Instrument
from marketdata import intervals
from marketdata.models import Bar, Stream
from marketdata.sources import registry
from marketdata.sources.base import SourceError


def check_new(name: str, source: str, instruments: Sequence[Instrument], interval_seconds: int) -> None:
    """Raises: ValueError if no such stream can be made."""
    try:
        validate_slug(name)
    except ValidationError as error:
        raise ValueError(f"{name!r} is not a name: use letters, digits, - and _ only") from error
    if len(name) > 60:
        raise ValueError(f"the name has {len(name)} characters, at most 60 are possible")
    if Stream.objects.filter(name=name).exists():
        raise ValueError(f"there is already a stream called {name}; choose another name")
    if source not in Stream.Source.values:
        raise ValueError(f"there is no source {source!r}; known: {', '.join(Stream.Source.values)}")
    if not instruments:
        raise ValueError("a stream needs at least one instrument")
    if not 1 <= interval_seconds <= intervals.DAY:
        raise ValueError(f"bars of {interval_seconds} seconds are not possible: give 1 second to 1 day")


def check_offered(source: str, interval_seconds: int) -> None:
    """Raises: ValueError if the source cannot be used or has no live bars of this length."""
    try:
        offered = registry.live_intervals(source)
    except SourceError as error:
        raise ValueError(str(error)) from error
    if offered and interval_seconds not in offered:
        raise ValueError(
            f"{registry.names()[source]} has no {intervals.words(interval_seconds)} bars as they happen; it has "
            f"{', '.join(intervals.words(seconds) for seconds in offered)}"
        )


def stored_range(
    instruments: Sequence[Instrument], interval_seconds: int, start: datetime | None, end: datetime | None
) -> tuple[datetime, datetime]:
    """First and last bar of a replay. Raises: ValueError naming an instrument without bars in it."""
    spans = []
    for instrument in instruments:
        bars = Bar.objects.filter(instrument=instrument, interval_seconds=interval_seconds)
        bars = bars.filter(time__gte=start) if start else bars
        bars = bars.filter(time__lte=end) if end else bars
        span = bars.aggregate(first=Min("time"), last=Max("time"))
        if span["first"] is None:
            limits = [f"from {start:%Y-%m-%d %H:%M}"] if start else []
            limits += [f"until {end:%Y-%m-%d %H:%M}"] if end else []
            raise ValueError(
                f"{instrument.symbol} has no {intervals.words(interval_seconds)} bars {' '.join(limits) or 'stored'}; "
                "fetch or import them first"
            )
        spans.append(span)
    return start or min(span["first"] for span in spans), end or max(span["last"] for span in spans)


def live_start(source: str, interval_seconds: int, bars_per_second: float, options: dict[str, Any]) -> datetime:
    """The bar that is open now; a simulator that shall run faster has to begin in the past."""
    if source == Stream.Source.SIMULATOR and not math.isclose(bars_per_second * interval_seconds, 1):
        begins = str(options.get("begins") or "2020-01-01")
        try:
            return datetime.fromisoformat(begins).replace(tzinfo=UTC)
        except ValueError as error:
            raise ValueError(f"begins is {begins!r}: give a date such as 2020-01-01") from error
    now = int(timezone.now().timestamp())
    return datetime.fromtimestamp(now // interval_seconds * interval_seconds, UTC)
