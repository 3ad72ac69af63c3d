"""Replays stored bars in order, as if they closed now, never ahead of the agents that listen."""

import logging
import math
import time
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from core.jobs import Job
from core.journal import record
from core.models import JobRow
from core.notices import notify
from marketdata.models import Stream, Subscription
from marketdata.queries import next_bar_times

logger = logging.getLogger(__name__)

READ_AHEAD = 200
IDLE_SECONDS = 1.0


class Replay:
    """One stream's process: publishes the next bar when its time has come and every active listener has caught up."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.ahead: list[datetime] = []
        self.last_at = -math.inf  # when the last bar was due, on the monotonic clock

    def run(self) -> None:
        """Until told to stop or the last bar is out."""
        while not self.job.shutting_down:
            stream: Stream = self.job.read()
            if stream.desired_state == JobRow.Desired.STOPPED:
                self.job.beat(JobRow.State.STOPPED, applied_version=stream.settings_version)
                return
            if not self._turn(stream):
                return
        self.job.beat(JobRow.State.STOPPED, "the desk was shut down")

    def _turn(self, stream: Stream) -> bool:
        """One look: publish or wait. Returns: False when the replay has ended."""
        version = stream.settings_version if stream.settings_version != stream.applied_version else None
        if stream.desired_state == JobRow.Desired.PAUSED:
            self.job.beat(JobRow.State.PAUSED, applied_version=version)
            self.job.wait(IDLE_SECONDS)
            return True
        late = behind(stream)
        if late:
            self.job.beat(JobRow.State.WAITING, f"waiting for {', '.join(late)}", applied_version=version)
            self.job.wait(IDLE_SECONDS)
            return True
        self.job.beat(JobRow.State.RUNNING, applied_version=version)
        # From the speed of this moment, so that a faster one counts at once, however slow the last one was.
        pause = self.last_at + _pace(stream) - time.monotonic()
        if pause > 0:
            # A listener's notice ends the wait early; the clock above still holds the pace.
            self.job.wait(min(pause, IDLE_SECONDS))
            return True
        return self._publish_next(stream)

    def _publish_next(self, stream: Stream) -> bool:
        moment = self._next_time(stream)
        if moment is None:
            self._finish(stream)
            return False
        publish(stream, moment)
        now, due = time.monotonic(), self.last_at + _pace(stream)
        # A little lateness is made up for; after a long wait the pace starts anew instead of rushing.
        self.last_at = due if now - due < _pace(stream) else now
        return True

    def _next_time(self, stream: Stream) -> datetime | None:
        """Time of the next bar after the cursor, read in blocks."""
        # The table has a constraint: every replay has a last bar.
        assert stream.to_time is not None
        after = stream.cursor or stream.from_time - timedelta(microseconds=1)
        self.ahead = [moment for moment in self.ahead if after < moment <= stream.to_time]
        if not self.ahead:
            self.ahead = next_bar_times(
                list(stream.instruments.values_list("pk", flat=True)),
                stream.interval_seconds,
                after=after,
                until=stream.to_time,
                limit=READ_AHEAD,
            )
        return self.ahead[0] if self.ahead else None

    def _finish(self, stream: Stream) -> None:
        with transaction.atomic():
            record("stream.finished", f"{stream.name} has replayed its last bar", subject=f"stream:{stream.pk}")
            self.job.beat(JobRow.State.FINISHED, "the last bar is out")


def _pace(stream: Stream) -> float:
    """Seconds from one bar to the next; 0 for as fast as the listeners can go."""
    return 1.0 / stream.bars_per_second if stream.bars_per_second > 0 else 0.0


@transaction.atomic
def publish(stream: Stream, moment: datetime) -> None:
    """Move the cursor on to `moment`, never back, and tell everybody; the bar itself is already stored."""
    before = Q(cursor__isnull=True) | Q(cursor__lt=moment)
    if not Stream.objects.filter(before, pk=stream.pk).update(cursor=moment, published_at=timezone.now()):
        return  # another process of this stream was faster
    for instrument in stream.instruments.values_list("pk", flat=True):
        notify("bar", instrument=instrument, stream=stream.pk)


def behind(stream: Stream) -> list[str]:
    """Active listeners that have not dealt with the stream's last bar, so that no bar is lost while one restarts.

    Before the first bar a listener counts as ready once it has acknowledged anything at all.
    """
    listeners = Subscription.objects.filter(stream=stream, active=True)
    late = Q(acknowledged__isnull=True)
    if stream.cursor is not None:
        late |= Q(acknowledged__lt=stream.cursor)
    return sorted(listeners.filter(late).values_list("subscriber", flat=True))
