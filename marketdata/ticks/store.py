"""Brings ticks in: checked, once each, in their order, with the bars made of them, in one transaction.

Rules. A bad tick is refused and counted by reason (checks.py). A tick that is stored already is counted as repeated
and changes nothing (identity.py). A tick that is earlier than one that came before it is counted as late and stored
like any other; the bars it falls into are made anew from the stored ticks. The stored ticks and bars are the whole
state: a process that starts again goes on where the last one stopped.

Ticks that must be new, because they are later than every stored one, are copied straight into the hypertable; all
others go through a staging table, where a repeat meets the tick it repeats. The row lock on the instrument's TickState
makes writers take turns, so that nobody else's tick comes between.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta

import numpy as np
from django.db import transaction
from django.utils import timezone

from core.models import Instrument
from core.notices import notify
from marketdata.ticks import checks, identity, stored_bars, writing
from marketdata.ticks.bars import check_interval
from marketdata.ticks.series import TRADE, TickBatch
from marketdata.ticks.writing import Inserted, Standing

INTERVALS = (60,)  # bars made of ticks when nobody chose others
AHEAD = timedelta(days=1)  # clocks differ and sessions have odd labels, but not by more
TOO_OLD = "older than the ticks that are still kept"


@dataclass(frozen=True)
class Ingested:
    """What became of a batch: n_stored + n_repeated + all bad = ticks that came."""

    n_stored: int = 0
    n_repeated: int = 0  # stored before, or twice in the batch
    n_late: int = 0  # of the stored: earlier than one that came before
    bad: dict[str, int] = field(default_factory=dict)  # refused, by reason
    bars: dict[int, list[int]] = field(default_factory=dict)  # interval -> starts of bars written, epoch seconds


@dataclass(frozen=True)
class _Ready:
    """Good ticks in order, each once."""

    ticks: TickBatch
    identity: np.ndarray
    late: np.ndarray  # came after a later one of the batch
    n_repeated: int

    def part(self, mask: np.ndarray) -> _Ready:
        """Some of them."""
        if mask.all():
            return self
        return _Ready(self.ticks.take(mask), self.identity[mask], self.late[mask], 0)


def ingest(
    instrument: Instrument,
    batch: TickBatch,
    source: str,
    *,
    bar_intervals: Sequence[int] | None = None,
    bad: Mapping[str, int] | None = None,
    future_ok: bool = False,
) -> Ingested:
    """Store the good and new ticks of a batch, and bring bars up to date; all or nothing.

    source: who brought them, ASCII, at most 12 characters. bar_intervals: seconds of the bars to keep besides those
    kept already; None: no others, bars of a minute when there are none yet. An interval that is new is made from all
    stored ticks. bad: rows that were refused before they became ticks, to be counted with the rest.
    future_ok: for simulated time; otherwise ticks more than a day ahead of the clock are bad.
    Memory grows with the batch: bring long histories in pieces of some 100,000 ticks.
    Raises: ValueError for a source or an interval that cannot be stored.
    """
    if not source.isascii() or not 1 <= len(source) <= 12:
        raise ValueError(f"source is {source!r}, expected 1 to 12 ASCII characters")
    wanted = None if bar_intervals is None else [check_interval(interval) for interval in bar_intervals]
    latest = checks.YEAR_2100 if future_ok else int((timezone.now() + AHEAD).timestamp() * 1_000_000)
    checked = checks.check(batch, latest=latest)
    refused = checks.add_counts([checked.bad, dict(bad or {})])
    if not len(checked.batch) and not refused:
        return Ingested()
    ready = _ready(checked.batch)
    with transaction.atomic():
        return _store(instrument, ready, refused, source, wanted)


def _ready(batch: TickBatch) -> _Ready:
    hashes = identity.identities(batch)
    late = np.zeros(len(batch), dtype=bool)
    late[1:] = batch.time[1:] < np.maximum.accumulate(batch.time)[:-1]
    places = identity.order(batch.time, batch.sequence, hashes)
    if late.any() or (np.diff(places) != 1).any():
        batch, hashes, late = batch.take(places), hashes[places], late[places]
    first = identity.first_of_each(batch.time, batch.sequence, hashes)
    n_repeated = int(first.size - first.sum())
    if n_repeated:
        batch, hashes, late = batch.take(first), hashes[first], late[first]
    return _Ready(batch, hashes, late, n_repeated)


def _store(
    instrument: Instrument, ready: _Ready, refused: dict[str, int], source: str, wanted: list[int] | None
) -> Ingested:
    standing = writing.lock(instrument.pk)
    usual = INTERVALS if wanted is None and not standing.bar_intervals else ()
    asked = list(dict.fromkeys([*standing.bar_intervals, *(wanted or usual)]))
    sure = _surely_new(instrument.pk, ready, standing)
    new, doubtful = ready.part(sure), ready.part(~sure)
    doubtful, too_old = _without_too_old(doubtful)
    refused = checks.add_counts([refused, {TOO_OLD: too_old} if too_old else {}])
    inserted = Inserted()
    if len(doubtful.ticks) and standing.last_time is not None:
        inserted = writing.insert_missing(
            instrument.pk, doubtful.ticks, doubtful.identity, source,
            last_time=standing.last_time, step=stored_bars.common_step(asked),
        )  # fmt: skip
    if len(new.ticks):
        writing.copy_new(instrument.pk, new.ticks, new.identity, source)
    bars = _bars(instrument, new.ticks, inserted, standing, asked)
    done = Ingested(
        n_stored=len(new.ticks) + inserted.n_ticks,
        n_repeated=ready.n_repeated + len(doubtful.ticks) - inserted.n_ticks,
        n_late=int(_late(new, standing).sum()) + inserted.n_late,
        bad=refused,
        bars={interval: starts for interval, starts in bars.items() if starts},
    )
    writing.save(instrument.pk, _after(standing, new.ticks, done, asked))
    if done.bars:
        notify("tick", instrument=instrument.pk)
    return done


def _surely_new(instrument_id: int, ready: _Ready, standing: Standing) -> np.ndarray:
    """Which ticks cannot be stored yet: those after the last of all, and trades after the last trade."""
    ticks = ready.ticks
    if standing.last_time is None:
        return np.ones(len(ticks), dtype=bool)
    new = ticks.time > standing.last_time
    if new.all():
        return new
    trade = ticks.kind == TRADE
    if standing.last_trade_time is None:
        return new | trade
    new |= trade & (ticks.time > standing.last_trade_time)
    same = trade & (ticks.time == standing.last_trade_time)
    if same.any():
        # Many feeds know seconds or milliseconds only, so batches often begin at the moment the last one ended.
        last = writing.last_trade(instrument_id, standing.last_trade_time)
        if last is not None:
            later = (ticks.sequence > last[0]) | ((ticks.sequence == last[0]) & (ready.identity > last[1]))
            new |= same & later
    return new


def _without_too_old(doubtful: _Ready) -> tuple[_Ready, int]:
    """Late trades of days whose ticks were dropped would make bars of themselves alone: refuse them."""
    trade = doubtful.ticks.kind == TRADE
    if not trade.any():
        return doubtful, 0
    old = trade & (doubtful.ticks.time < writing.kept_since())
    return (doubtful.part(~old), int(old.sum())) if old.any() else (doubtful, 0)


def _late(new: _Ready, standing: Standing) -> np.ndarray:
    return new.late if standing.last_time is None else new.late | (new.ticks.time < standing.last_time)


def _bars(
    instrument: Instrument, new: TickBatch, inserted: Inserted, standing: Standing, asked: list[int]
) -> dict[int, list[int]]:
    added = [interval for interval in asked if interval not in standing.bar_intervals]
    known = asked
    bars: dict[int, list[int]] = {}
    if standing.last_trade_time is not None and added:
        bars = {interval: stored_bars.make_all(instrument, interval) for interval in added}
        known = [interval for interval in asked if interval not in added]
    trade = new.kind == TRADE
    columns = (new.time, new.price, new.size)
    trades = columns if trade.all() else tuple(column[trade] for column in columns)
    if known and (trades[0].size or inserted.touched):
        bars |= stored_bars.go_on(instrument, trades, known, standing.last_trade_time, inserted.touched)
    return bars


def _after(standing: Standing, new: TickBatch, done: Ingested, asked: list[int]) -> Standing:
    trades = new.time[new.kind == TRADE]
    return Standing(
        last_time=_later(standing.last_time, new.time),
        last_trade_time=_later(standing.last_trade_time, trades),
        n_ticks=standing.n_ticks + done.n_stored,
        n_late=standing.n_late + done.n_late,
        n_repeated=standing.n_repeated + done.n_repeated,
        bad=checks.add_counts([standing.bad, done.bad]),
        bar_intervals=asked,
    )


def _later(last: int | None, times: np.ndarray) -> int | None:
    if times.size == 0:
        return last
    return int(times[-1]) if last is None else max(last, int(times[-1]))
