"""A live stream's process: stores what its source brings, then publishes it, as a replay publishes what is stored.

A live stream never waits for its agents; one that is late catches up bar by bar. After a start, a pause, a crash or
trouble with the source, the bars since the cursor are fetched as history first, and nothing newer is published until
they are there: so no bar is lost, and one that comes twice replaces itself.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from django.db import transaction
from django.utils import timezone

from core.jobs import Job, JobFailedError
from core.journal import record
from core.models import Event, Instrument, JobRow
from marketdata import replay
from marketdata.fetch_job import back_off, clock_words
from marketdata.live_intake import Intake, own_clock, source_options
from marketdata.live_moments import Moments
from marketdata.live_report import Report
from marketdata.models import Stream
from marketdata.queries import next_bar_times
from marketdata.sources import registry
from marketdata.sources.base import Source, SourceError, SourceRefusedError, Update

logger = logging.getLogger(__name__)

IDLE_SECONDS = 1.0
WAIT_SECONDS = 0.5  # for news from the source
READ_ROW_SECONDS = 0.25
PUBLISH_SECONDS = 0.05  # between two looks for complete bars
READ_AHEAD = 500


class InterruptedFillError(Exception):
    """The stream was paused or stopped while it fetched what was missed."""


class Live:
    """One live stream's process; see core.jobs for what it obeys."""

    def __init__(self, job: Job, *, source: Source | None = None, now: Callable[[], datetime] = timezone.now) -> None:
        """source: instead of the registry's; now: the clock. Both only differ in tests."""
        self.job, self.now = job, now
        self._given = source
        self.session: Session | None = None
        self.report = Report(job.pk, now)
        self.n_failures = 0
        self.retry_at = 0.0

    def run(self) -> None:
        """Until told to stop. Raises: JobFailedError for what a person must mend."""
        try:
            self._follow()
        except SourceRefusedError as error:
            raise JobFailedError(f"{error}") from error
        finally:
            self._close()
            self.report.write(now=True)

    def _follow(self) -> None:
        read_at, stream = 0.0, self.job.read()
        while not self.job.shutting_down:
            if time.monotonic() >= read_at:
                stream, read_at = self.job.read(), time.monotonic() + READ_ROW_SECONDS
                self._drop_if_changed(stream)
            version = stream.settings_version if stream.settings_version != stream.applied_version else None
            if stream.desired_state == JobRow.Desired.STOPPED:
                self.job.beat(JobRow.State.STOPPED, applied_version=version)
                return
            if stream.desired_state == JobRow.Desired.PAUSED:
                self._close()
                self.report.said(problem="", next_look=None)
                self.job.beat(JobRow.State.PAUSED, applied_version=version)
                self.job.wait(IDLE_SECONDS)
                read_at = 0.0
            elif not self._turn(stream, version):
                return
            self.report.write()
        self.job.beat(JobRow.State.STOPPED, "the desk was shut down")

    def _turn(self, stream: Stream, version: int | None) -> bool:
        """One look at the source. Returns: False when the stream's last bar is out."""
        if (left := self.retry_at - time.monotonic()) > 0:
            self.job.beat(JobRow.State.WAITING, self.report.problem, applied_version=version)
            self.job.wait(min(left, IDLE_SECONDS))
            return True
        try:
            if self.session is None:
                source = self._given or registry.source(stream.source)
                self.session = Session(stream, source, self.report, self.now, self._breathe)
            self.job.beat(*self.report.state(), applied_version=version)
            update = self.session.look()
        except SourceRefusedError:
            raise
        except InterruptedFillError:
            self._close()
            return True
        except (SourceError, OSError) as error:
            self._trouble(stream, error)
            return True
        self._heard(stream, update)
        return not self.session.finished or not self._finish(stream)

    def _drop_if_changed(self, stream: Stream) -> None:
        """Another connection is opened when what this one depends on is no longer what the row says."""
        if self.session is not None and self.session.key != _key(stream):
            self._close()

    def _breathe(self) -> None:
        """Beat while history is fetched. Raises: InterruptedFillError if there is something else to do."""
        row: Stream = self.job.read()
        if self.job.shutting_down or row.desired_state != JobRow.Desired.RUNNING:
            raise InterruptedFillError
        self.job.beat(JobRow.State.RUNNING, "fetching the bars that were missed")
        self.report.write()

    def _heard(self, stream: Stream, update: Update | None) -> None:
        if update is None:
            return
        before, self.n_failures = self.report.problem, 0
        self.report.said(problem=update.problem, next_look=update.next_look)
        self._journal(stream, before, update.problem)

    def _trouble(self, stream: Stream, error: Exception) -> None:
        """Close the connection and say when it is tried again."""
        self._close()
        self.n_failures += 1
        seconds = back_off(self.n_failures, error)
        self.retry_at = time.monotonic() + seconds
        again = self.now() + timedelta(seconds=seconds)
        before = self.report.problem
        self.report.said(problem=f"{error}; tried again at {clock_words(self.now(), seconds)}", next_look=again)
        self._journal(stream, before, self.report.problem)
        self.job.beat(JobRow.State.WAITING, self.report.problem)

    def _journal(self, stream: Stream, before: str, problem: str) -> None:
        """Trouble is told when it begins and when it is over, not at every try."""
        if bool(before) == bool(problem):
            return
        kind, words = ("stream.trouble", problem) if problem else ("stream.recovered", "bars come again")
        level = Event.Level.ATTENTION if problem else Event.Level.INFO
        record(kind, f"{stream.name}: {words}", level=level, subject=f"stream:{stream.pk}")

    def _finish(self, stream: Stream) -> bool:
        self._close()
        with transaction.atomic():
            record("stream.finished", f"{stream.name} has brought its last bar", subject=f"stream:{stream.pk}")
            self.job.beat(JobRow.State.FINISHED, "the last bar is out")
        return True

    def _close(self) -> None:
        if self.session is not None:
            self.session.close()
            self.session = None


class Session:
    """One connection to the source, from opening it to losing or closing it."""

    def __init__(
        self, stream: Stream, source: Source, report: Report, now: Callable[[], datetime], breathe: Callable[[], None]
    ) -> None:
        self.stream, self.report, self.now = stream, report, now
        self.key = _key(stream)
        self.finished = False
        self.cursor: datetime | None = stream.cursor
        self.instruments: list[Instrument] = list(stream.instruments.order_by("pk"))
        self.moments = Moments(
            {instrument.pk: instrument.calendar for instrument in self.instruments},
            stream.interval_seconds,
            grace_seconds=stream.options.get("grace_seconds"),
            by_clock=not own_clock(stream),
            from_ticks=not registry.brings_bars(stream.source, stream.interval_seconds, stream.options),
        )
        self.intake = Intake(stream, source, self.instruments, self.moments, report, now, breathe)
        self._publish_at = 0.0

    def look(self) -> Update | None:
        """Take what has come and publish what is complete. Raises: SourceError, OSError."""
        update = self.intake.take(WAIT_SECONDS, since=self._next())
        if time.monotonic() >= self._publish_at:
            self._publish_at = time.monotonic() + PUBLISH_SECONDS
            self._publish()
        return update

    def close(self) -> None:
        """End the connection."""
        self.intake.close()

    def _next(self) -> datetime:
        """From when on bars are wanted."""
        if self.cursor is None:
            return self.stream.from_time
        if own_clock(self.stream):
            return datetime.fromtimestamp(self.moments.closes(int(self.cursor.timestamp())), UTC)
        return self.cursor + timedelta(seconds=1)

    def _publish(self) -> None:
        """Publish every complete bar, in order, up to the first that is not."""
        if self.intake.holds:
            return
        stream = self.stream
        after = self.cursor or stream.from_time - timedelta(microseconds=1)
        times = next_bar_times(
            [instrument.pk for instrument in self.instruments], stream.interval_seconds, after=after,
            until=self.now(), limit=READ_AHEAD,
        )  # fmt: skip
        found = [moment for moment in (int(one.timestamp()) for one in times) if self.intake.may_publish(moment)]
        for second in self.moments.complete(found, self.intake.clock.timestamp()):
            moment = datetime.fromtimestamp(second, UTC)
            if stream.to_time is not None and moment > stream.to_time:
                self.finished = True
                return
            replay.publish(stream, moment)
            self.cursor = moment
            self.report.last_bar = moment
        self.finished = stream.to_time is not None and self.cursor is not None and self.cursor >= stream.to_time


def _key(stream: Stream) -> tuple[Any, ...]:
    """What a connection depends on."""
    instruments = tuple(stream.instruments.order_by("pk").values_list("pk", flat=True))
    return stream.source, stream.interval_seconds, instruments, stream.to_time, repr(source_options(stream))
