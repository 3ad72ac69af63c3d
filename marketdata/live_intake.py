"""Takes what a source brings into the tables: live bars or ticks, and the history of what was missed before."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import fields
from datetime import UTC, datetime
from typing import Any

import numpy as np

from core.journal import record
from core.models import Event, Instrument
from marketdata.bar_store import store_bars
from marketdata.fetch_job import store_part
from marketdata.live_moments import Moments
from marketdata.live_report import Report
from marketdata.models import Stream
from marketdata.pump import Pump
from marketdata.series import BarSeries
from marketdata.sources import registry
from marketdata.sources.base import Asked, Part, Source, SourceRefusedError, SourceUnavailableError, Update
from marketdata.ticks.series import TickBatch
from marketdata.ticks.store import ingest

FILL_WAIT_SECONDS = 0.5
TICKS_AT_ONCE = 50_000
SETTLE_SECONDS = 3.0  # a source needs a moment before a bar that has just closed is in its history


class Intake:
    """One connection to a source and the tables it fills."""

    def __init__(
        self,
        stream: Stream,
        source: Source,
        instruments: list[Instrument],
        moments: Moments,
        report: Report,
        now: Callable[[], datetime],
        breathe: Callable[[], None],
    ) -> None:
        """breathe: called at least every second while history is fetched; raises to interrupt."""
        self.stream, self.source, self.instruments = stream, source, instruments
        self.moments, self.report, self.now, self.breathe = moments, report, now, breathe
        # While bars are missing before the newest ones, nothing is published. A market with its own clock stood still.
        self.gap_open = not own_clock(stream)
        # Of the bar in which ticks began to come only a part was seen: it and later ones wait for its history.
        self.partial: int | None = None
        # The bar that had only just closed when the gap was filled and was not there yet: later ones wait for it.
        self.unsettled: int | None = None
        self._well = False
        self._feed: Pump[Update] | None = None
        # Everything that had come by this moment is stored: a busy process may be behind the clock.
        self.clock = now()
        self._well_since, self._ticks_came = 0.0, False
        self._by_symbol: dict[str, Instrument] = {}

    def take(self, seconds: float, *, since: datetime) -> Update | None:
        """Store what comes within so many seconds, and fill the gap that lies before it.

        since: the first moment that is wanted. Raises: SourceError, OSError.
        """
        if self._feed is None:
            self._feed = self._open(since)
        last = self._drain(self._feed, seconds)
        if last is None and self._feed.ended:
            raise SourceUnavailableError(f"{self.source.label} ended the stream")
        if self._well and self.gap_open:
            asked_at = self.now().timestamp()
            self._fill(since)
            self.gap_open, self.unsettled = False, self._not_there_yet(asked_at)
        elif self._well and self.unsettled is not None and self._is_settled(self.unsettled):
            self._fill(since)
            self.unsettled = None
        elif self._well and self.partial is not None and self._is_settled(self.partial):
            self._fill(since)
            self.partial = None
        return last

    def _drain(self, feed: Pump[Update], seconds: float) -> Update | None:
        """Store everything that has come; ticks of one instrument at once, which is faster the more there are."""
        last: Update | None = None
        waiting: dict[str, list[TickBatch]] = {}
        n_ticks = 0
        while n_ticks < TICKS_AT_ONCE:
            asked_at = self.now()
            update = feed.get(seconds if last is None else 0.0)
            if update is None:
                self.clock = asked_at
                break
            last = update
            self._note_state(update)
            self._store_all_bars(update.bars)
            for symbol, batch in update.ticks.items():
                waiting.setdefault(symbol, []).append(batch)
                n_ticks += len(batch)
        for symbol, batches in waiting.items():
            if symbol in self._by_symbol:
                self._store_ticks(self._by_symbol[symbol], joined(batches))
        return last

    def _note_state(self, update: Update) -> None:
        """From trouble to no trouble: what came meanwhile is missing."""
        if not update.problem and not self._well:
            self._well_since, self._ticks_came = self.now().timestamp(), False
            self.gap_open = not own_clock(self.stream)
        self._well = not update.problem

    @property
    def holds(self) -> bool:
        """Whether bars may be missing before the newest ones, so that none may be published."""
        return self.gap_open or not self._well

    def may_publish(self, moment: int) -> bool:
        """Whether no bar that history has still to bring comes before this one or is this one."""
        return (self.partial is None or moment < self.partial) and (self.unsettled is None or moment <= self.unsettled)

    def close(self) -> None:
        """End the connection."""
        if self._feed is not None:
            self._feed.close()
            self._feed = None

    def _open(self, since: datetime) -> Pump[Update]:
        interval = self.stream.interval_seconds
        # The bar that is open now closes while we listen, so the source must not leave it out.
        begun = datetime.fromtimestamp(self.now().timestamp() // interval * interval, UTC)
        asked = [self._asked(one, since if own_clock(self.stream) else begun) for one in self.instruments]
        self._by_symbol = {one.symbol: instrument for one, instrument in zip(asked, self.instruments, strict=True)}
        return Pump(self.source.live(asked))

    def _asked(self, instrument: Instrument, start: datetime, end: datetime | None = None) -> Asked:
        options = source_options(self.stream)
        return registry.asked(instrument, self.stream.interval_seconds, start=start, end=end, options=options)

    def _store_all_bars(self, bars: Mapping[str, BarSeries]) -> None:
        for symbol, series in bars.items():
            if len(series) and symbol in self._by_symbol:
                self._store_bars(self._by_symbol[symbol], series)

    def _store_bars(self, instrument: Instrument, series: BarSeries) -> None:
        store_bars(instrument, self.stream.interval_seconds, series, self.source.name)
        self.moments.bars_came(instrument.pk, int(series.time[-1]))
        self.report.came({"n_bars": len(series)})

    def _store_ticks(self, instrument: Instrument, batch: TickBatch) -> None:
        if not len(batch):
            return
        interval = self.stream.interval_seconds
        makes_bars = self.moments.from_ticks
        if makes_bars and not self._ticks_came and not own_clock(self.stream):
            self.partial = int(self._well_since // interval * interval)
        self._ticks_came = True
        done = ingest(instrument, batch, self.source.name, bar_intervals=[interval] if makes_bars else [])
        self.moments.ticks_came(instrument.pk, float(np.max(batch.time)) / 1e6)
        n_bad = sum(done.bad.values())
        self.report.came(
            {"n_ticks": done.n_stored, "n_repeated": done.n_repeated, "n_late": done.n_late, "n_bad": n_bad}
        )

    def _is_settled(self, moment: int) -> bool:
        return self.clock.timestamp() >= self.moments.closes(moment) + SETTLE_SECONDS

    def _not_there_yet(self, asked_at: float) -> int | None:
        """The bar that closed just before history was asked, unless everybody's came; ticks have `partial` for that."""
        interval = self.stream.interval_seconds
        begun = int(asked_at // interval * interval)
        young = [at for at in (begun - interval, begun) if 0 <= asked_at - self.moments.closes(at) < SETTLE_SECONDS]
        if self.moments.from_ticks or not young:
            return None
        known = min(self.moments.bars.get(instrument.pk, 0) for instrument in self.instruments)
        return young[-1] if known < young[-1] else None

    def _fill(self, since: datetime) -> None:
        """Fetch the closed bars from `since` until now of every instrument."""
        until = self.now()
        if since > until:
            return
        for instrument in self.instruments:
            pump: Pump[Part] = Pump(self.source.history(self._asked(instrument, since, until)), n_ahead=2)
            try:
                while not pump.ended:
                    self.breathe()
                    part = pump.get(FILL_WAIT_SECONDS)
                    if part is not None:
                        self._store_part(instrument, part)
            except SourceRefusedError as error:
                self._no_history(instrument, error)
            finally:
                pump.close()

    def _store_part(self, instrument: Instrument, part: Part) -> None:
        n_stored = store_part(instrument, self.stream.interval_seconds, part, self.source.name)
        if n_stored:
            self.moments.bars_came(instrument.pk, int(part.series.time[-1]))
        self.report.came({"n_bars": n_stored, "n_bad": part.n_bad})

    def _no_history(self, instrument: Instrument, error: SourceRefusedError) -> None:
        """A source without history cannot fill gaps; its live bars are still better than none, and it is said."""
        note = f"bars missed before {self.now():%H:%M:%S} UTC cannot be fetched: {error}"
        if note != self.report.note:
            record(
                "stream.gap", f"{self.stream.name}, {instrument.symbol}: {note}", level=Event.Level.ATTENTION,
                subject=f"stream:{self.stream.pk}",
            )  # fmt: skip
        self.report.note = note


def joined(batches: list[TickBatch]) -> TickBatch:
    """The ticks of several batches as one, in the order they came."""
    if len(batches) == 1:
        return batches[0]
    return TickBatch(*(np.concatenate([getattr(one, field.name) for one in batches]) for field in fields(TickBatch)))


def own_clock(stream: Stream) -> bool:
    """Whether its market's time is not the clock's: a simulator at another speed stands still while it is paused, so
    it has no gap to fill."""
    times = stream.bars_per_second * stream.interval_seconds
    return stream.source == Stream.Source.SIMULATOR and not 0.999 < times < 1.001


def source_options(stream: Stream) -> dict[str, Any]:
    """A stream's options as its source is asked with; a simulator's speed is the stream's."""
    options = dict(stream.options)
    if stream.source == Stream.Source.SIMULATOR:
        options["speed"] = round(stream.bars_per_second * stream.interval_seconds, 6)
    return options
