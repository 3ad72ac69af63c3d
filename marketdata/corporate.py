"""Splits and dividends as rows, and stored bars adjusted for them.

A row an operator has written or corrected (source "operator") is kept: what a source says later does not change it.
Two actions of one kind on one day are one row: dividends added, splits multiplied.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import lru_cache
from math import isclose, isfinite
from typing import Any

import numpy as np
from django.db import connection, transaction

from core import journal
from core.models import Event, Instrument
from core.notices import notify
from marketdata.adjusted import (
    DIVIDEND,
    SPLIT,
    LastBefore,
    Mode,
    Step,
    apply_steps,
    day_start,
    in_order,
    per_bar,
    steps,
)
from marketdata.models import CorporateAction
from marketdata.queries import load_bars
from marketdata.series import BarSeries
from marketdata.sources.base import Action

DAY = 86_400
OPERATOR = "operator"
_SAME = 1e-6  # relative; Yahoo prints dividends with six digits
# For each moment (seconds UTC), in their order: time in seconds and close of the last bar before it, or NULL.
_LAST_BEFORE = """
    SELECT extract(epoch FROM last.time)::bigint, last.close
    FROM unnest(%(moments)s::bigint[]) WITH ORDINALITY AS asked(moment, place)
    LEFT JOIN LATERAL (
        SELECT time, close FROM marketdata_bar
        WHERE instrument_id = %(instrument)s AND interval_seconds = %(interval)s AND time < to_timestamp(asked.moment)
        ORDER BY time DESC LIMIT 1
    ) AS last ON true
    ORDER BY asked.place
"""


@dataclass(frozen=True)
class StoredActions:
    """What became of actions that were to be stored."""

    n_new: int
    n_changed: int
    n_same: int


@transaction.atomic
def store_actions(
    instrument: Instrument, actions: Iterable[Action], source: str, *, in_prices: bool = False, actor: str = "system"
) -> StoredActions:
    """Write actions that are new or say something else than before; both are journalled.

    in_prices: the stored bars of this source already contain them.
    Raises: ValueError for a kind or value that is no action, before anything is written.
    """
    wanted = _one_a_day(actions)
    rows = CorporateAction.objects.select_for_update().filter(instrument=instrument)
    known = {(row.ex_date, row.kind): row for row in rows}
    new, changed = [], 0
    for (day, kind), value in sorted(wanted.items()):
        row = known.get((day, kind))
        if row is None:
            new.append(
                CorporateAction(
                    instrument=instrument, ex_date=day, kind=kind, value=value, source=source, in_prices=in_prices
                )
            )
        elif not _says_the_same(row, value, in_prices):
            _change(row, value, source, in_prices, actor)
            changed += 1
    CorporateAction.objects.bulk_create(new)
    if new:
        journal.record(
            "data.actions_stored",
            f"{instrument.symbol}: {_counted(new)} from {source}",
            actor=actor,
            subject=f"instrument:{instrument.pk}",
            data={"actions": [_words(row) for row in new[-200:]], "in_prices": in_prices},
        )
    if new or changed:
        notify("bar", instrument=instrument.pk)  # charts that show adjusted prices
    return StoredActions(len(new), changed, len(wanted) - len(new) - changed)


def actions_of(instrument: Instrument, *, until: date | None = None) -> list[CorporateAction]:
    """Stored actions of an instrument, oldest first; until: only those with an ex date up to this day."""
    rows = CorporateAction.objects.filter(instrument=instrument).order_by("ex_date", "kind")
    return list(rows.filter(ex_date__lte=until) if until else rows)


def load_adjusted(
    instrument: Instrument,
    interval_seconds: int,
    mode: Mode,
    *,
    as_of: date | None = None,
    start: datetime | None = None,
    end: datetime | None = None,
) -> BarSeries:
    """Stored bars from `start` to `end`, both included (aware), raw or adjusted; see marketdata/adjusted.py.

    Actions that the prices already contain are left out. Forward: counted from the first bar stored at this interval,
    so a part loaded alone has, bit for bit, the values it has in the whole. Importing older bars, or an action within
    them that was not known, multiplies all later values by one factor.
    as_of: actions and bars up to this day only; None: actions up to the last bar's day.
    Raises: ValueError for an action that no price can have; correct it in the admin.
    """
    in_utc = interval_seconds >= DAY or (mode == Mode.RAW and as_of is None)
    zone: tzinfo = UTC if in_utc else exchange_zone(instrument.calendar)
    if as_of is not None:
        latest = datetime.fromtimestamp(day_start(as_of + timedelta(days=1), zone) - 1, UTC)
        end = latest if end is None else min(end, latest)
    series = load_bars(instrument.pk, interval_seconds, start=start, end=end)
    if mode == Mode.RAW or len(series) == 0:
        return series
    last = as_of or datetime.fromtimestamp(int(series.time[-1]), UTC).astimezone(zone).date()
    before = _last_before(instrument.pk, interval_seconds, series, whole=start is None)
    return apply_steps(series, _steps(instrument, last, before, zone), mode)


def load_steps(instrument: Instrument, interval_seconds: int, until: date) -> list[Step]:
    """What actions up to a day make of the bars of one interval, for adjusted.apply_steps.

    For whoever reads bar by bar: steps change only when a day begins or an action is stored, and bars they are applied
    to have, bit for bit, the values of load_adjusted(..., FORWARD). Raises: ValueError as load_adjusted.
    """
    before = _last_before(instrument.pk, interval_seconds, BarSeries.empty(), whole=False)
    return _steps(instrument, until, before, day_zone(instrument, interval_seconds))


def load_per_bar(instrument: Instrument, interval_seconds: int, time: np.ndarray) -> np.ndarray:
    """Splits and dividends of stored bars that begin at `time` (T,), as adjusted.per_bar has them: (T, 2)."""
    return per_bar(time, unapplied(instrument), day_zone(instrument, interval_seconds))


def unapplied(instrument: Instrument, *, until: date | None = None) -> list[Action]:
    """Stored actions that the prices do not contain, oldest first; until: ex dates up to this day."""
    rows = CorporateAction.objects.filter(instrument=instrument, in_prices=False)
    if until is not None:
        rows = rows.filter(ex_date__lte=until)
    return in_order(Action(row.ex_date, row.kind, row.value) for row in rows)


def day_zone(instrument: Instrument, interval_seconds: int) -> tzinfo:
    """Where the days of a series begin: UTC for daily bars, whose time is a label, else the exchange's zone."""
    return UTC if interval_seconds >= DAY else exchange_zone(instrument.calendar)


def _steps(instrument: Instrument, until: date, before: LastBefore, zone: tzinfo) -> list[Step]:
    try:
        return steps(unapplied(instrument, until=until), before, zone)
    except ValueError as error:
        raise ValueError(f"{instrument.symbol}: {error}") from error


@lru_cache(maxsize=64)
def exchange_zone(calendar: str) -> tzinfo:
    """The time zone an exchange's days are counted in. Raises: ValueError for an unknown calendar."""
    import exchange_calendars
    from exchange_calendars.errors import InvalidCalendarName

    try:
        # A short stretch is quick to build; the zone is the same in all of it.
        return exchange_calendars.get_calendar(calendar, start="2024-01-02", end="2024-01-31").tz
    except InvalidCalendarName as error:
        raise ValueError(f"there is no trading calendar {calendar!r}: give a name such as XNYS or 24/7") from error


def _last_before(instrument_id: int, interval_seconds: int, series: BarSeries, *, whole: bool) -> LastBefore:
    def look(moments: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        at = np.searchsorted(series.time, moments, side="left") - 1
        time, close = np.full(at.size, -1, dtype=np.int64), np.full(at.size, np.nan)
        time[at >= 0], close[at >= 0] = series.time[at[at >= 0]], series.close[at[at >= 0]]
        earlier = np.flatnonzero(at < 0)
        if earlier.size and not whole:
            values = {"instrument": instrument_id, "interval": interval_seconds, "moments": moments[earlier].tolist()}
            with connection.cursor() as cursor:
                cursor.execute(_LAST_BEFORE, values)
                for place, (moment, price) in zip(earlier.tolist(), cursor.fetchall(), strict=True):
                    if moment is not None:
                        time[place], close[place] = moment, price
        return time, close

    return look


def _one_a_day(actions: Iterable[Action]) -> dict[tuple[date, str], float]:
    found: dict[tuple[date, str], float] = {}
    for action in actions:
        if action.kind not in (SPLIT, DIVIDEND) or not (isfinite(action.value) and action.value > 0):
            raise ValueError(
                f"{action.kind!r} of {action.value} on {action.ex_date} is no action: give {SPLIT} or {DIVIDEND} "
                "with a value above 0"
            )
        key = (action.ex_date, action.kind)
        if key not in found:
            found[key] = action.value
        elif action.kind == SPLIT:
            found[key] *= action.value
        else:
            found[key] += action.value
    return found


def _says_the_same(row: CorporateAction, value: float, in_prices: bool) -> bool:
    same = isclose(row.value, value, rel_tol=_SAME) and row.in_prices == in_prices
    return same or row.source == OPERATOR


def _change(row: CorporateAction, value: float, source: str, in_prices: bool, actor: str) -> None:
    before = _words(row)
    row.value, row.source, row.in_prices = value, source, in_prices
    row.save(update_fields=["value", "source", "in_prices"])
    journal.record(
        "data.action_changed",
        f"{row.instrument.symbol}: the {row.kind} of {row.ex_date} is now {value:g} from {source}, it was "
        f"{before['value']:g}; adjusted prices have changed",
        level=Event.Level.ATTENTION,
        actor=actor,
        subject=f"instrument:{row.instrument_id}",
        data={"before": before, "after": _words(row)},
    )


def _words(row: CorporateAction) -> dict[str, Any]:
    return {
        "ex_date": row.ex_date.isoformat(), "kind": row.kind, "value": row.value, "source": row.source,
        "in_prices": row.in_prices,
    }  # fmt: skip


def _counted(rows: list[CorporateAction]) -> str:
    n_splits = sum(row.kind == SPLIT for row in rows)
    n_dividends = len(rows) - n_splits
    return " and ".join(
        f"{n} {word}{'' if n == 1 else 's'}" for n, word in ((n_splits, "split"), (n_dividends, "dividend")) if n
    )
