"""The one way to write bars: marked, stored or replaced, and everything made of them brought up to date."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import numpy as np
from django.db import connection, transaction
from django.utils import timezone

from core.models import Instrument
from marketdata import calendars, levels
from marketdata.coarser import DAY, coarser, merge_where
from marketdata.models import Fetch
from marketdata.queries import copy_bars, load_bars, other_source, times_from_elsewhere
from marketdata.series import BarSeries

MADE = "made:"  # source of bars made of shorter ones, followed by those bars' seconds
_LOCK_CLASS = 1_650_553_459  # "bars" as a number: tells these locks from those of other parts


@transaction.atomic
def store_bars(instrument: Instrument, interval_seconds: int, series: BarSeries, source: str) -> int:
    """Store bars or replace those of the same time; all or nothing.

    Bars that begin while the instrument's exchange is closed are marked. Chart levels, and longer bars that
    `make_bars` once made of these, follow in the same transaction. Writers of one instrument take turns until their
    transactions end. Tells nobody: callers notify.
    source: where they came from, at most 32 characters.
    Returns: rows inserted or replaced, len(series).
    Raises: ValueError if the instrument names a calendar that does not exist.
    """
    if len(series) == 0:
        return 0
    outside = calendars.outside(instrument.calendar, series.time, interval_seconds)
    _take_turn(instrument.pk)
    n_rows = copy_bars(instrument.pk, interval_seconds, series, source, outside=outside)
    first, last = int(series.time[0]), int(series.time[-1])
    levels.refresh(instrument.pk, interval_seconds, first, last)
    for longer in _made_of(instrument, interval_seconds):
        _make(instrument, interval_seconds, longer, first, last)
    return n_rows


@transaction.atomic
def make_bars(instrument: Instrument, from_seconds: int, to_seconds: int) -> int:
    """Make longer bars of all stored shorter ones; from then on they follow every change of these.

    Bars that came from elsewhere are not replaced. Returns: bars made.
    Raises: ValueError if to_seconds is not a multiple of from_seconds up to a day, if there is nothing to make them
    of, if bars of that length from another source are stored, or if days are to be made of bars in which a session
    opens: these belong neither to the day nor to the time before it.
    """
    if not from_seconds < to_seconds <= DAY or to_seconds % from_seconds:
        raise ValueError(
            f"bars of {from_seconds} s cannot make bars of {to_seconds} s: "
            f"expected a multiple of {from_seconds}, at most {DAY}"
        )
    source = f"{MADE}{from_seconds}"
    _take_turn(instrument.pk)
    other = other_source(instrument.pk, to_seconds, source)
    if other:
        raise ValueError(f"{instrument.symbol} already has bars of {to_seconds} s from {other}; they are kept")
    series = load_bars(instrument.pk, from_seconds)
    if len(series) == 0:
        raise ValueError(f"{instrument.symbol} has no bars of {from_seconds} s to make longer ones of")
    if to_seconds == DAY:
        _refuse_split_opens(instrument, from_seconds, series)
    n_made = _make(instrument, from_seconds, to_seconds, int(series.time[0]), int(series.time[-1]))
    if not n_made:
        raise ValueError(
            f"no bar of {instrument.symbol} lies in a session of {instrument.calendar}: no day can be made"
        )
    # The row says from now on that these bars follow the shorter ones; see _made_of.
    Fetch.objects.get_or_create(
        source=source,
        instrument=instrument,
        interval_seconds=to_seconds,
        defaults={"done": 1.0, "n_stored": n_made, "state": Fetch.State.FINISHED, "ended_at": timezone.now()},
    )
    return n_made


def _refuse_split_opens(instrument: Instrument, from_seconds: int, series: BarSeries) -> None:
    first, last = _moment(int(series.time[0])), _moment(int(series.time[-1]))
    around = calendars.sessions(
        instrument.calendar, (first - timedelta(days=1)).date(), (last + timedelta(days=1)).date()
    )
    before = np.searchsorted(series.time, around.opens) - 1  # the last bar that begins before each open
    split = (before >= 0) & (series.time[before] + from_seconds > around.opens)
    if split.any():
        at = _moment(int(around.opens[split][0]))
        raise ValueError(
            f"the session of {instrument.calendar} opens at {at:%H:%M} UTC, inside a bar of {from_seconds} s: its day "
            "would lack or hold too much; make days of shorter bars"
        )


def _take_turn(instrument_id: int) -> None:
    """Wait for whoever writes bars of this instrument: neither could see the other's, so levels would lack some."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_advisory_xact_lock(%s, %s)", [_LOCK_CLASS, instrument_id])


def _made_of(instrument: Instrument, interval_seconds: int) -> list[int]:
    """Lengths of the bars that are made of these."""
    rows = Fetch.objects.filter(instrument=instrument, source=f"{MADE}{interval_seconds}")
    return sorted(set(rows.values_list("interval_seconds", flat=True)))


def _make(instrument: Instrument, from_seconds: int, to_seconds: int, first: int, last: int) -> int:
    """Make anew, from all of their bars, the longer bars that a change between `first` and `last` touches."""
    if to_seconds < DAY:
        start = first // to_seconds * to_seconds
        end = last // to_seconds * to_seconds + to_seconds - 1
        made = coarser(_load(instrument, from_seconds, start, end), to_seconds)
    else:
        around = calendars.sessions(
            instrument.calendar, (_moment(first) - timedelta(days=1)).date(), (_moment(last) + timedelta(days=1)).date()
        )
        touched = np.flatnonzero((around.closes > first) & (around.opens <= last))
        if touched.size == 0:
            return 0
        start, end = int(around.opens[touched[0]]), int(around.closes[touched[-1]]) - 1
        made = coarser(_load(instrument, from_seconds, start, end), DAY, around)
    source = f"{MADE}{from_seconds}"
    return store_bars(instrument, to_seconds, _without_others(instrument.pk, to_seconds, made, source), source)


def _without_others(instrument_id: int, interval_seconds: int, made: BarSeries, source: str) -> BarSeries:
    """Made bars but those that came from elsewhere since, such as from a file: these are kept as they are."""
    if len(made) == 0:
        return made
    first, last = _moment(int(made.time[0])), _moment(int(made.time[-1]))
    others = times_from_elsewhere(instrument_id, interval_seconds, source, first, last)
    return merge_where(made, ~np.isin(made.time, others)) if others else made


def _load(instrument: Instrument, interval_seconds: int, start: int, end: int) -> BarSeries:
    return load_bars(instrument.pk, interval_seconds, start=_moment(start), end=_moment(end))


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)
