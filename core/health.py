"""Which parts of the desk are well: heartbeats in, one list for the pages out."""

import os
import socket
import time
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

import psutil
from django.utils import timezone

from core.job_kinds import all_kinds
from core.models import Heartbeat, JobRow
from core.queries import ping

Wellness = Literal["well", "attention", "stopped"]
LATE_AFTER_SECONDS = {"web": 10, "watchdog": 10, "tasks": 150}
JOB_LATE_AFTER_SECONDS = 15


@dataclass(frozen=True)
class Component:
    """One part of the desk as the pages show it."""

    name: str
    state: Wellness
    detail: str
    age_seconds: float | None = None


def beat(component: str, **detail: object) -> None:
    """Write a sign of life of a component of this host."""
    Heartbeat.objects.update_or_create(
        component=component,
        host=socket.gethostname(),
        defaults={"pid": os.getpid(), "beat_at": timezone.now(), "detail": detail},
        create_defaults={"pid": os.getpid(), "beat_at": timezone.now(), "detail": detail},
    )


def components() -> list[Component]:
    """Every part of the desk, in the order the dashboard shows it."""
    beats = [_beating(name, label) for name, label in (("watchdog", "Watchdog"), ("web", "Pages"), ("tasks", "Tasks"))]
    jobs = [_job_rows(kind.name.capitalize() + "s", list(kind.model._default_manager.all())) for kind in all_kinds()]
    return [_database(), *beats, *[job for job in jobs if job], _machine()]


def age(moment: datetime | None) -> float | None:
    """Seconds since `moment`, or None if it never was."""
    return None if moment is None else max((timezone.now() - moment) / timedelta(seconds=1), 0.0)


def _database() -> Component:
    start = time.perf_counter()
    ping()
    return Component("Database", "well", f"answers in {(time.perf_counter() - start) * 1000:.1f} ms", 0.0)


def _beating(name: str, label: str) -> Component:
    newest = Heartbeat.objects.filter(component=name).order_by("-beat_at").first()
    if newest is None:
        return Component(label, "attention", "no sign of life yet")
    seconds = age(newest.beat_at) or 0.0
    if seconds > LATE_AFTER_SECONDS[name]:
        return Component(label, "stopped", f"last sign of life {_ago(seconds)}", seconds)
    return Component(label, "well", f"last sign of life {_ago(seconds)}", seconds)


def _ago(seconds: float) -> str:
    return f"{seconds:.0f} s ago" if seconds < 120 else f"{seconds / 60:.0f} min ago"


def _job_rows(label: str, rows: list[JobRow]) -> Component | None:
    """One line for all jobs of a kind; None if there are none."""
    if not rows:
        return None
    failed = [row for row in rows if row.state == JobRow.State.FAILED]
    if failed:
        return Component(label, "stopped", f"{failed[0]}: {failed[0].state_reason or 'stopped by an error'}"[:120])
    wanted = [row for row in rows if row.desired_state != JobRow.Desired.STOPPED and row.state != JobRow.State.FINISHED]
    late = [row for row in wanted if _is_late(row)]
    if late:
        return Component(label, "attention", f"{late[0]} is starting or does not answer", age(late[0].heartbeat_at))
    counts = f"{len(wanted)} of {len(rows)} at work" if wanted else "none at work"
    return Component(label, "well", counts, max((age(row.heartbeat_at) or 0.0 for row in wanted), default=None))


def _is_late(row: JobRow) -> bool:
    seconds = age(row.heartbeat_at)
    return seconds is None or seconds > JOB_LATE_AFTER_SECONDS


def _machine() -> Component:
    memory = psutil.virtual_memory()
    cpu = psutil.cpu_percent(interval=None)
    state: Wellness = "attention" if memory.percent > 92 else "well"
    return Component("Machine", state, f"processor {cpu:.0f} %, memory {memory.percent:.0f} %")
