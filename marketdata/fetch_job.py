"""One fetch at work: asks for what is missing, stores every piece, waits and asks again when the source is away."""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from core.jobs import Job, JobFailedError
from core.journal import record
from core.models import Event, Instrument, JobRow
from core.notices import notify
from marketdata import corporate, intervals
from marketdata.bar_store import store_bars
from marketdata.models import Bar, Fetch
from marketdata.pump import Pump
from marketdata.sources import registry
from marketdata.sources.base import Part, Source, SourceError, SourceRefusedError, SourceUnavailableError
from marketdata.spans import EARLIEST, Span, merged, missing

LATE_SECONDS = 3600  # bars this young may still come or change; they are asked for again
LOOK_SECONDS = 0.5  # how often the row is asked whether to go on
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 2.0, 120.0
MOST_TRIES = 8  # in a row, without one bar between
MOST_PROBLEMS = 100


def store_part(instrument: Instrument, interval_seconds: int, part: Part, source: str) -> int:
    """Store a piece of history and what companies did to their shares in it. Returns: bars stored."""
    with transaction.atomic():
        n_stored = store_bars(instrument, interval_seconds, part.series, source)
        if part.actions:
            corporate.store_actions(instrument, part.actions, source=source, in_prices=part.in_prices)
    return n_stored


class CancelledError(Exception):
    """Somebody cancelled it, or the desk shuts down."""


class Fetching:
    """One job at work."""

    def __init__(
        self,
        job: Job,
        fetch: Fetch,
        on_progress: Callable[[Fetch], object] = lambda fetch: None,
        *,
        source: Source | None = None,
        now: Callable[[], datetime] = timezone.now,
    ) -> None:
        self.job, self.fetch, self.on_progress, self.now = job, fetch, on_progress, now
        self._source = source
        self.covered: list[Span] = merged(map(tuple, fetch.options.get("covered", [])))
        self.n_failures = 0
        self._look_at = 0.0
        self.label = registry.names().get(fetch.source, fetch.source)

    def run(self) -> None:
        """Raises: JobFailedError, CancelledError."""
        try:
            source = self._source or registry.source(self.fetch.source)
        except SourceError as error:
            raise JobFailedError(str(error)) from error
        spans = self.left()
        for n, span in enumerate(spans):
            self._answer(source, span, n / len(spans), 1 / len(spans))
        self._finish(asked=bool(spans))

    def left(self) -> list[Span]:
        """What has to be asked for: what nobody has fetched from this source yet, oldest first."""
        fetch = self.fetch
        start = int(fetch.from_time.timestamp()) if fetch.from_time else EARLIEST
        end = min(int((fetch.to_time or self.now()).timestamp()), int(self.now().timestamp()))
        covered = list(self.covered)
        if not fetch.options.get("refresh") and self._has_bars():
            others = Fetch.objects.filter(
                source=fetch.source, instrument=fetch.instrument_id, interval_seconds=fetch.interval_seconds
            ).exclude(pk=fetch.pk)
            for options in others.values_list("options", flat=True):
                # Another seed or another exchange is another series.
                if _for_source(options) == _for_source(fetch.options):
                    covered += map(tuple, options.get("covered", []))
        return missing((start, end), covered)

    def _has_bars(self) -> bool:
        """Bars that somebody deleted since are asked for again."""
        fetch = self.fetch
        return Bar.objects.filter(
            instrument=fetch.instrument_id, interval_seconds=fetch.interval_seconds, source=fetch.source
        ).exists()

    def _answer(self, source: Source, span: Span, before: float, share: float) -> None:
        """Ask for one stretch until it is answered, however often the source has to be asked."""
        while True:
            rest = missing(span, self.covered)
            try:
                if rest:  # all of it that has not come before an error
                    self._ask(source, rest[0], before, share)
                break
            except SourceRefusedError as error:
                raise JobFailedError(f"{self.label}: {error}") from error
            except (SourceError, OSError) as error:
                self._wait(error)
        late = int(self.now().timestamp()) - self.fetch.interval_seconds - LATE_SECONDS
        self._cover((span[0], min(span[1], late)))

    def _ask(self, source: Source, span: Span, before: float, share: float) -> None:
        fetch = self.fetch
        start = None if span[0] == EARLIEST else datetime.fromtimestamp(span[0], UTC)
        asked = registry.asked(
            fetch.instrument, fetch.interval_seconds, start=start, end=datetime.fromtimestamp(span[1], UTC),
            options=fetch.options,
        )  # fmt: skip
        pump: Pump[Part] = Pump(source.history(asked), n_ahead=2)
        try:
            while True:
                self._obey()
                part = pump.get(LOOK_SECONDS)
                if part is not None:
                    self._take(part, span, before + share * min(max(part.done, 0.0), 1.0))
                elif pump.ended:
                    return
        finally:
            pump.close()

    def _take(self, part: Part, span: Span, done: float) -> None:
        fetch = self.fetch
        if len(part.series):
            self.n_failures = 0
            with transaction.atomic():
                fetch.n_stored += store_part(fetch.instrument, fetch.interval_seconds, part, fetch.source)
                self._cover((span[0], int(part.series.time[-1])))
        fetch.n_bad += part.n_bad
        fetch.n_rows += len(part.series) + part.n_bad
        fetch.done = max(fetch.done, min(done, 0.999))
        # Words that come without rows before the end tell why nothing comes just now; the others stay.
        if part.problems and (len(part.series) or part.n_bad or part.done >= 1):
            known = fetch.options.get("problems", [])
            fetch.options["problems"] = list(dict.fromkeys([*known, *part.problems]))[:MOST_PROBLEMS]
        self._save()
        waits = bool(part.problems) and not len(part.series)
        self.job.beat(JobRow.State.WAITING if waits else JobRow.State.RUNNING, "; ".join(part.problems[:3]))

    def _cover(self, span: Span) -> None:
        self.covered = merged([*self.covered, span])
        self.fetch.options["covered"] = [list(one) for one in self.covered]

    def _save(self) -> None:
        fields = ("n_stored", "n_bad", "n_rows", "done", "options")
        Fetch.objects.filter(pk=self.fetch.pk).update(**{name: getattr(self.fetch, name) for name in fields})
        notify("fetch", fetch=self.fetch.pk)
        self.on_progress(self.fetch)

    def _wait(self, error: Exception) -> None:
        """Let some time pass before the source is asked again. Raises: JobFailedError after too many tries."""
        self.n_failures += 1
        if self.n_failures >= MOST_TRIES:
            raise JobFailedError(f"{self.label}: {error}. Given up after {MOST_TRIES} tries; start it again later")
        seconds = back_off(self.n_failures, error)
        again = time.monotonic() + seconds
        reason = f"{self.label}: {error}; asked again at {clock_words(self.now(), seconds)}"
        while (left := again - time.monotonic()) > 0:
            self._obey()
            self.job.beat(JobRow.State.WAITING, reason)
            self.job.wait(min(left, LOOK_SECONDS))

    def _obey(self) -> None:
        """Beat, and look at the row now and then. Raises: CancelledError."""
        if self.job.shutting_down:
            raise CancelledError
        if time.monotonic() < self._look_at:
            return
        self._look_at = time.monotonic() + LOOK_SECONDS
        row: Fetch = self.job.read()
        if row.desired_state != JobRow.Desired.RUNNING:
            raise CancelledError
        self.job.beat(row.state, row.state_reason)

    @transaction.atomic
    def _finish(self, *, asked: bool) -> None:
        fetch = self.fetch
        fetch.done = 1.0
        self._save()
        if not asked:
            said = "everything asked for was stored already"
        elif fetch.n_stored:
            said = f"{fetch.n_stored:,} bars stored" + (f", {fetch.n_bad:,} bad rows" if fetch.n_bad else "")
        else:
            said = f"{self.label} has no bars in this time"
        Fetch.objects.filter(pk=fetch.pk).update(ended_at=timezone.now())
        doubtful = fetch.n_bad or (asked and not fetch.n_stored)
        record(
            "data.fetched",
            f"{fetch.instrument.symbol}, {intervals.words(fetch.interval_seconds)} from {self.label}: {said}",
            level=Event.Level.ATTENTION if doubtful else Event.Level.INFO,
            actor=fetch.requested_by,
            subject=f"fetch:{fetch.pk}",
        )
        if fetch.n_stored:
            notify("bar", instrument=fetch.instrument_id)
        self.job.beat(JobRow.State.FINISHED, said)


def _for_source(options: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in options.items() if name not in registry.OURS}


def back_off(n_failures: int, error: Exception) -> float:
    """Seconds to wait after so many failures in a row: what the source asked for, or twice as long each time."""
    wanted = getattr(error, "retry_after_seconds", None) if isinstance(error, SourceUnavailableError) else None
    if wanted is not None and math.isfinite(wanted) and wanted > 0:
        return min(float(wanted), LONGEST_WAIT_SECONDS)
    return min(FIRST_WAIT_SECONDS * 2 ** (n_failures - 1), LONGEST_WAIT_SECONDS)


def clock_words(now: datetime, seconds: float) -> str:
    """The moment so many seconds from now, for a sentence."""
    return f"{datetime.fromtimestamp(now.timestamp() + seconds, UTC):%H:%M:%S} UTC"
