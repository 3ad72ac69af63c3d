"""Looks at stored series, keeps their faults as rows, and says whether one of them stops trading.

A fault stays open until a check does not find it any more, or until a person clears it with a reason. What a person has
cleared does not come back for the same places, see health_finding.remaining. A series that was never looked at has no
fault rows and does not stop anybody.
"""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta

import numpy as np
from django.db import transaction
from django.utils import timezone

from core.models import Instrument, JobRow
from marketdata import calendars, health_queries, intervals
from marketdata.health_finding import Finding, Split, moment
from marketdata.health_gaps import stale
from marketdata.health_prices import Extremes
from marketdata.health_rows import accepted as accepted_places
from marketdata.health_rows import clear, keep, open_faults
from marketdata.health_rules import About, examine
from marketdata.models import DAY, CorporateAction, DataFault, HealthCheck, Stream
from marketdata.queries import load_bars
from marketdata.series import BarSeries

__all__ = ["blocking", "check", "check_all", "check_stale", "clear", "open_faults"]

logger = logging.getLogger(__name__)

# A check reads the newest bars only: twenty years of minutes, three weeks of seconds around the clock.
MOST_BARS = 2_000_000
# A series that has not grown is looked at again after this, since bars may have been replaced.
CHECK_AGAIN = timedelta(hours=24)
# Feeds whose bars are of this moment. A simulated market has its own clock.
REAL_TIME = (Stream.Source.YAHOO, Stream.Source.BRIDGE, Stream.Source.CCXT)
CAN_SPLIT = (Instrument.AssetClass.STOCK, Instrument.AssetClass.ETF)
# Shorter bars must cover so much of a session to be a witness against a daily bar.
COVERED = 0.9
_STALE = DataFault.Kind.STALE


@dataclass(frozen=True)
class Feed:
    """A running live feed: the first moment it owes bars of, and its instrument's calendar."""

    since: datetime
    calendar: str


def check(instrument: Instrument, interval_seconds: int, now: datetime | None = None) -> list[DataFault]:
    """Look at one series: its faults are found, brought up to date or closed.

    now: aware, for tests; only a late live feed depends on it. Returns: the faults open afterwards, worst first.
    """
    now = now or timezone.now()
    newest = health_queries.last_time(instrument.pk, interval_seconds, skip=MOST_BARS - 1)
    series = load_bars(instrument.pk, interval_seconds, start=newest)
    known = accepted_places(instrument.pk, interval_seconds)
    about, trouble = _about(instrument, interval_seconds, series)
    late = _late(instrument.pk, interval_seconds, now, _feeds(instrument.pk, interval_seconds))
    found = [*examine(series, about, known), *trouble, *([late] if late else [])]
    with transaction.atomic():
        keep(instrument, interval_seconds, found, set(DataFault.Kind.values), now)
        HealthCheck.objects.update_or_create(
            instrument=instrument,
            interval_seconds=interval_seconds,
            defaults={
                "checked_at": now,
                "n_bars": len(series) if newest is None else health_queries.count(instrument.pk, interval_seconds),
                "first_time": moment(int(series.time[0])) if len(series) else None,
                "last_time": moment(int(series.time[-1])) if len(series) else None,
                "sources": health_queries.sources(instrument.pk, interval_seconds),
            },
        )
    return open_faults(instrument.pk, interval_seconds)


def check_quietly(instrument: Instrument, interval_seconds: int) -> None:
    """As check, for after an import: trouble with looking is logged, since the bars are stored whatever comes of it."""
    try:
        check(instrument, interval_seconds)
    except Exception:
        logger.exception("the %s bars of %s could not be checked", intervals.words(interval_seconds), instrument)


def check_all(now: datetime | None = None) -> int:
    """Look at every series that has grown since it was last looked at, at least once a day; late feeds always.

    One series that cannot be looked at is logged and does not keep the others from it. Returns: series looked at.
    """
    now = now or timezone.now()
    last = {(seen.instrument_id, seen.interval_seconds): seen for seen in HealthCheck.objects.all()}
    stored = {(one.instrument_id, one.interval_seconds) for one in health_queries.stored_series()}
    instruments = Instrument.objects.in_bulk({pk for pk, _ in stored | set(last)})
    n_checked = 0
    for pk, seconds in sorted(stored | set(last)):
        seen = last.get((pk, seconds))
        try:
            if _is_due(seen, pk, seconds, now):
                check(instruments[pk], seconds, now)
                n_checked += 1
            else:
                check_stale(pk, seconds, now)
        except Exception:  # the next series must be looked at, whatever is wrong with this one
            logger.exception("the %s bars of %s could not be checked", intervals.words(seconds), instruments[pk])
    return n_checked


def check_stale(instrument_id: int, interval_seconds: int, now: datetime | None = None) -> list[DataFault]:
    """Ask only whether the series' live feed is late: three short queries, cheap enough for every bar.

    Returns: all faults open afterwards, worst first.
    """
    now = now or timezone.now()
    found = open_faults(instrument_id, interval_seconds)
    feeds = _feeds(instrument_id, interval_seconds)
    fault = next((fault for fault in found if fault.kind == _STALE), None)
    late = _late(instrument_id, interval_seconds, now, feeds)
    place, known = moment(late.last) if late else None, fault.last_time if fault else None
    if place == known:
        return found
    instrument = Instrument.objects.get(pk=instrument_id)
    with transaction.atomic():
        keep(instrument, interval_seconds, [late] if late else [], {_STALE}, now)
    return open_faults(instrument_id, interval_seconds)


def blocking(instrument_id: int, interval_seconds: int, now: datetime | None = None) -> list[DataFault]:
    """Open faults that stop trading on this series. Whether its live feed is late is asked anew."""
    if not health_queries.worth_asking(instrument_id, interval_seconds):
        return []
    found = check_stale(instrument_id, interval_seconds, now)
    return [fault for fault in found if fault.severity == DataFault.Severity.BLOCKING]


def _about(instrument: Instrument, interval_seconds: int, series: BarSeries) -> tuple[About, list[Finding]]:
    """What the rules must know of the series, and what was in the way of knowing it."""
    trouble: list[Finding] = []
    known = None
    if len(series):
        days = _days(int(series.time[0]), int(series.time[-1]) + interval_seconds)
        try:
            known = calendars.sessions(instrument.calendar, *days)
        except ValueError as error:
            first, last = int(series.time[0]), int(series.time[-1])
            words = f"Sessions cannot be compared: {error}."[:400]
            trouble.append(Finding(DataFault.Kind.MISSING_SESSIONS, "warning", 1, first, last, words))
    actions = CorporateAction.objects.filter(instrument=instrument, kind=CorporateAction.Kind.SPLIT)
    about = About(
        interval_seconds=interval_seconds,
        sessions=known,
        has_volume=instrument.has_volume,
        can_split=instrument.asset_class in CAN_SPLIT,
        splits=[Split(_seconds(action.ex_date), action.value, action.in_prices) for action in actions],
        shorter=_shorter(instrument, series, known) if interval_seconds == DAY and known is not None else {},
    )
    return about, trouble


def _shorter(instrument: Instrument, series: BarSeries, sessions: calendars.Sessions) -> dict[int, Extremes]:
    """For daily bars: what shorter bars say of the sessions they cover and that lie within one UTC day."""
    interval = health_queries.shortest_stored(instrument.pk)
    if interval is None or len(sessions) == 0:
        return {}
    start, end = moment(int(sessions.day[0])), moment(int(sessions.day[-1]) + DAY)
    days = health_queries.days_of_shorter(instrument.pk, interval, start, end)
    at = np.searchsorted(sessions.day, np.fromiter(days, np.int64, len(days)))
    usable = {}
    for (day, (extremes, seconds)), n in zip(days.items(), at, strict=True):
        if n >= len(sessions) or sessions.day[n] != day:
            continue
        whole = sessions.opens[n] >= day and sessions.closes[n] <= day + DAY
        if whole and seconds >= COVERED * (sessions.closes[n] - sessions.opens[n]):
            usable[day] = extremes
    return usable


def _late(instrument_id: int, interval_seconds: int, now: datetime, feeds: Sequence[Feed]) -> Finding | None:
    """Whether a running live feed of this series is late; with an unknown calendar nobody can tell, so it counts."""
    if not feeds:
        return None
    started, moment_now = int(min(feed.since for feed in feeds).timestamp()), int(now.timestamp())
    newest = health_queries.last_time(instrument_id, interval_seconds, until=now)
    last_bar = int(newest.timestamp()) if newest else started - interval_seconds
    try:
        known = calendars.sessions(feeds[0].calendar, *_days(min(last_bar, started, moment_now), moment_now))
    except ValueError as error:
        return Finding(_STALE, "blocking", 1, last_bar, last_bar, f"Whether the live feed is late is unknown: {error}.")
    if stale(last_bar, started, moment_now, known, interval_seconds, ()) is None:
        return None
    accepted = accepted_places(instrument_id, interval_seconds, kinds=[_STALE]).get(_STALE, ())
    return stale(last_bar, started, moment_now, known, interval_seconds, accepted)


def _feeds(instrument_id: int, interval_seconds: int) -> list[Feed]:
    """The live feeds that should be bringing this series now."""
    streams = Stream.objects.filter(
        source__in=REAL_TIME,
        desired_state=JobRow.Desired.RUNNING,
        interval_seconds=interval_seconds,
        instruments=instrument_id,
    ).exclude(state=JobRow.State.FINISHED)
    return [Feed(*row) for row in streams.values_list("from_time", "instruments__calendar")]


def _is_due(seen: HealthCheck | None, instrument_id: int, interval_seconds: int, now: datetime) -> bool:
    if seen is None or now - seen.checked_at >= CHECK_AGAIN:
        return True
    return health_queries.last_time(instrument_id, interval_seconds) != seen.last_time


def _days(first: int, last: int) -> tuple[date, date]:
    """Dates a few days around a range of seconds."""
    margin = 4 * DAY
    return moment(first - margin).date(), moment(last + margin).date()


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())
