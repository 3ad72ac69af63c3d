"""Job processes: one operating-system process per running row, held by an advisory lock so that only one ever acts.

A launcher claims the row and starts the process; the process takes the lock, beats, and obeys the row. A second
process for the same row waits as a hot standby and takes over when the first one's database session ends.
"""

import json
import logging
import os
import signal
import socket
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any

import psycopg
from django.db import InterfaceError, OperationalError, connection
from django.db.models import F, Q
from django.utils import timezone

from core import processes
from core.job_kinds import JobKind, find
from core.models import JobRow
from core.notices import CHANNEL, notify
from core.queries import lock_holder

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=20)
BEAT_EVERY_SECONDS = 1.0
# Exit code of a process that lost its database or its lock: start it again, nothing is wrong with its settings.
EXIT_TRY_AGAIN = 75
# What Django adds to libpq's connection parameters.
DJANGO_ONLY = ("cursor_factory", "context", "prepare_threshold")


class LockLostError(Exception):
    """The session holding this job's lock has ended: stop at once, another process may already act."""


# Django wraps the driver's errors in its own; the lock's session raises the driver's.
DATABASE_LOST = (LockLostError, psycopg.OperationalError, OperationalError, InterfaceError)


class JobFailedError(Exception):
    """The job cannot go on until a person changes something; the message says what."""


def claim(kind: JobKind, pk: int) -> bool:
    """Claim a row for launching by compare-and-set. Returns: False if another launcher has it or it already runs."""
    if lock_holder(kind.number, pk) is not None:
        return False
    now = timezone.now()
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=now)
    wanted = kind.model._default_manager.filter(pk=pk).exclude(desired_state=JobRow.Desired.STOPPED)
    # A request that waited in the queue until its job had ended must not run it a second time.
    wanted = wanted.exclude(state__in=[JobRow.State.FINISHED, JobRow.State.FAILED])
    return bool(
        wanted.filter(free).update(
            lease_until=now + LEASE,
            state=JobRow.State.STARTING,
            state_reason="",
            n_restarts=F("n_restarts") + 1,
            pid=None,
            host=socket.gethostname(),
        )
    )


def launch(kind_name: str, pk: int) -> bool:
    """Start the process of one job if nobody runs it. Safe to call twice and from anywhere.

    Returns: whether a process was started. It lives in its own session, so it outlasts the caller.
    """
    kind = find(kind_name)
    if not claim(kind, pk):
        return False
    process = processes.start(f"{kind.name}:{pk}", ["manage.py", kind.command, str(pk)])
    # The pid lets the watchdog see at once that a process died before its first heartbeat.
    kind.model._default_manager.filter(pk=pk, lease_until__isnull=False).update(pid=process.pid)
    # Whoever launched it may live for days: take the exit status, so that no zombie stays behind.
    threading.Thread(target=process.wait, daemon=True).start()
    return True


class Job:
    """A running job's hold on its row: lock, heartbeat, wishes of operators, and a way to wait for news."""

    def __init__(self, kind: JobKind, pk: int) -> None:
        self.kind, self.pk = kind, pk
        self.shutting_down = False
        self._session: psycopg.Connection[Any] | None = None
        self._next_beat = 0.0
        self._last: tuple[str, str] = ("", "")

    @property
    def name(self) -> str:
        """Such as "agent:3"."""
        return f"{self.kind.name}:{self.pk}"

    def read(self) -> Any:
        """The row as it is now. Raises: JobFailedError if it was deleted."""
        row = self.kind.model._default_manager.filter(pk=self.pk).first()
        if row is None:
            raise JobFailedError(f"{self.name} no longer exists")
        return row

    def beat(self, state: str, reason: str = "", *, applied_version: int | None = None) -> None:
        """Say that we live and what we do; writes at most once a second unless something changed.

        Raises: LockLostError when the lock's session is gone.
        """
        self._check_lock()
        changed = (state, reason) != self._last or applied_version is not None
        if not changed and time.monotonic() < self._next_beat:
            return
        self._next_beat = time.monotonic() + BEAT_EVERY_SECONDS
        values: dict[str, Any] = {"heartbeat_at": timezone.now(), "state": state, "state_reason": reason[:400]}
        values |= {"pid": os.getpid(), "host": socket.gethostname(), "lease_until": None}
        if applied_version is not None:
            values["applied_version"] = applied_version
        self.kind.model._default_manager.filter(pk=self.pk).update(**values)
        if changed:
            self._last = (state, reason)
            notify(self.kind.name, **{self.kind.name: self.pk})

    def wait(self, seconds: float) -> list[dict[str, Any]]:
        """Sleep until somebody notifies or `seconds` pass. Returns: the notices that came, oldest first."""
        if self._session is None:
            raise LockLostError(f"{self.name} has no lock")
        try:
            notices = list(self._session.notifies(timeout=max(seconds, 0.0), stop_after=1))
        except psycopg.OperationalError as error:
            raise LockLostError(f"{self.name} lost its database session: {error}") from error
        return [notice for notice in map(_content, notices) if notice]

    def _check_lock(self) -> None:
        """Ask the server: a busy process would not notice otherwise that its session was ended."""
        if self._session is None:
            raise LockLostError(f"{self.name} has no lock")
        try:
            self._session.execute("SELECT 1")
        except psycopg.Error as error:
            raise LockLostError(f"{self.name} lost its database session: {error}") from error

    def _take_lock(self) -> bool:
        """Take the lock, waiting as a hot standby while another process holds it. Returns: False if told to end."""
        parameters = {k: v for k, v in connection.get_connection_params().items() if k not in DJANGO_ONLY}
        parameters |= {"connect_timeout": 5, "keepalives_idle": 5, "keepalives_interval": 2, "keepalives_count": 3}
        self._session = psycopg.connect(**parameters, autocommit=True, application_name=self.name)
        # The server too must notice within seconds that our host is gone, or no standby could take over.
        for name, value in (("idle", 5), ("interval", 2), ("count", 3)):
            self._session.execute("SELECT set_config(%s, %s, false)", [f"tcp_keepalives_{name}", str(value)])
        said = False
        while not self.shutting_down:
            row = self._session.execute("SELECT pg_try_advisory_lock(%s, %s)", [self.kind.number, self.pk]).fetchone()
            if row and row[0]:
                self._session.execute(f"LISTEN {CHANNEL}")
                return True
            if not said:
                logger.info("another process runs %s; waiting as a standby", self.name)
                said = True
            time.sleep(0.5)
        return False

    def _count_no_crash(self) -> None:
        """It ended because it was told to or had finished: earlier crashes are forgotten."""
        self.kind.model._default_manager.filter(pk=self.pk).update(n_restarts=0)

    def _release(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


def _content(notice: psycopg.Notify) -> dict[str, Any]:
    """What a notice says; empty for one that is not the desk's, since anybody with SQL may use the channel."""
    try:
        content = json.loads(notice.payload)
    except ValueError:
        return {}
    return content if isinstance(content, dict) else {}


@contextmanager
def hold(kind_name: str, pk: int) -> Iterator[Job]:
    """Run as the process of one job: lock, signals, and an honest last state.

    SIGTERM and SIGINT set `shutting_down`; the wish on the row stays, so the desk's next start continues the job.
    A JobFailedError is written on the row for operators. A lost database or lock exits with 75. Any other error ends
    the process with a traceback in the log; the watchdog starts it again and gives up after a few quick crashes.
    """
    job = Job(find(kind_name), pk)

    def stop(number: int, frame: FrameType | None) -> None:
        job.shutting_down = True

    old = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        if not job._take_lock():
            sys.exit(0)  # a standby that is told to end leaves the row to the process that runs the job
        job.beat(JobRow.State.STARTING)
        yield job
        job._count_no_crash()
    except DATABASE_LOST as error:
        logger.warning("%s: %s; it will be started again", job.name, error)
        sys.exit(EXIT_TRY_AGAIN)
    except JobFailedError as error:
        fail(job.kind, pk, str(error))
        logger.error("%s stopped: %s", job.name, error)
        sys.exit(1)
    finally:
        job._release()
        for number, handler in old.items():
            signal.signal(number, handler)


def fail(kind: JobKind, pk: int, reason: str) -> None:
    """Write on the row that the job needs a person; it is not started again until somebody asks for it."""
    kind.model._default_manager.filter(pk=pk).update(
        state=JobRow.State.FAILED,
        state_reason=reason[:400],
        desired_state=JobRow.Desired.STOPPED,
        lease_until=None,
        settings_version=F("settings_version") + 1,
    )
    notify(kind.name, **{kind.name: pk})


def request(kind_name: str, pk: int, desired: str) -> None:
    """Write an operator's wish on the row, tell the process, and have a launcher started when it should run."""
    from core.tasks import enqueue_launch

    kind = find(kind_name)
    values: dict[str, Any] = {"desired_state": desired, "settings_version": F("settings_version") + 1}
    if desired != JobRow.Desired.STOPPED:
        kind.model._default_manager.filter(pk=pk, state__in=[JobRow.State.FAILED, JobRow.State.FINISHED]).update(
            state=JobRow.State.STOPPED, state_reason=""
        )
        values["n_restarts"] = 0
    kind.model._default_manager.filter(pk=pk).update(**values)
    if desired == JobRow.Desired.STOPPED and lock_holder(kind.number, pk) is None:
        ended = kind.model._default_manager.filter(pk=pk).exclude(state=JobRow.State.FINISHED)
        ended.update(state=JobRow.State.STOPPED, lease_until=None)
    notify(kind.name, **{kind.name: pk})
    if desired != JobRow.Desired.STOPPED:
        enqueue_launch(kind_name, pk)
