"""What operators do to streams. Each is a row, a journal line and a notice; the process obeys the row."""

import math

from django.db import transaction
from django.db.models import F

from core import jobs
from core.journal import record
from core.models import JobRow
from core.notices import notify
from marketdata.models import Stream

FASTEST = 1000.0


def start(stream: Stream, *, actor: str) -> None:
    """Run or continue a stream."""
    _wish(stream, JobRow.Desired.RUNNING, "stream.started", f"{stream.name} started", actor)


def pause(stream: Stream, *, actor: str) -> None:
    """Hold a stream where it is. Raises: ValueError if it is stopped."""
    if Stream.objects.values_list("desired_state", flat=True).get(pk=stream.pk) == JobRow.Desired.STOPPED:
        raise ValueError(f"{stream.name} is stopped, so there is nothing to pause; start it first")
    _wish(stream, JobRow.Desired.PAUSED, "stream.paused", f"{stream.name} paused", actor)


def stop(stream: Stream, *, actor: str) -> None:
    """Stop a stream; starting it again continues after its last bar."""
    _wish(stream, JobRow.Desired.STOPPED, "stream.stopped", f"{stream.name} stopped", actor)


@transaction.atomic
def set_speed(stream: Stream, bars_per_second: float, *, actor: str) -> None:
    """Change the replay speed: bars a second, 0 for as fast as the agents can go. Raises: ValueError otherwise."""
    if not (math.isfinite(bars_per_second) and 0 <= bars_per_second <= FASTEST):
        raise ValueError(
            f"speed {bars_per_second} is not possible: give 0 (as fast as possible) to {FASTEST:g} bars a second"
        )
    before = Stream.objects.values_list("bars_per_second", flat=True).get(pk=stream.pk)
    Stream.objects.filter(pk=stream.pk).update(
        bars_per_second=bars_per_second, settings_version=F("settings_version") + 1
    )
    speed = f"{bars_per_second:g} bars a second" if bars_per_second else "as fast as possible"
    record(
        "stream.speed",
        f"{stream.name} now replays {speed}",
        actor=actor,
        subject=f"stream:{stream.pk}",
        data={"before": before, "after": bars_per_second},
    )
    notify("stream", stream=stream.pk)


@transaction.atomic
def _wish(stream: Stream, desired: str, kind: str, message: str, actor: str) -> None:
    before = Stream.objects.values_list("desired_state", flat=True).get(pk=stream.pk)
    jobs.request("stream", stream.pk, desired)
    data = {"before": before, "after": desired}
    record(kind, message, actor=actor, subject=f"stream:{stream.pk}", data=data)
