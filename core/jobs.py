"""Job processes: one operating-system process per running row, held by an advisory lock so that only one ever acts.

A launcher claims the row and starts the process; the process takes the lock, beats, and obeys the row. A second
process for the same row waits as a hot standby and takes over when the first one's database session ends.
"""

import json
import logging
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from types import FrameType
from typing import Any

import psycopg
from django.conf import settings
from django.db import connection
from django.db.models import F, Q
from django.utils import timezone

from core.job_kinds import JobKind, find
from core.models import JobRow
from core.notices import CHANNEL, notify
from core.queries import lock_holder

logger = logging.getLogger(__name__)

LEASE = timedelta(seconds=20)
BEAT_EVERY_SECONDS = 1.0
# Exit code of a process that lost its database or its lock: start it again, nothing is wrong with its settings.
EXIT_TRY_AGAIN = 75


class LockLostError(Exception):
    """The session holding this job's lock has ended: stop at once, another process may already act."""


class JobFailedError(Exception):
    """The job cannot go on until a person changes something; the message says what."""


def claim(kind: JobKind, pk: int) -> bool:
    """Claim a row for launching by compare-and-set. Returns: False if another launcher has it or it already runs."""
    if lock_holder(kind.number, pk) is not None:
        return False
    now = timezone.now()
    free = Q(lease_until__isnull=True) | Q(lease_until__lt=now)
    wanted = kind.model._default_manager.filter(pk=pk).exclude(desired_state=JobRow.Desired.STOPPED)
    return bool(
        wanted.filter(free).update(
            lease_until=now + LEASE, state=JobRow.State.STARTING, state_reason="", n_restarts=F("n_restarts") + 1
        )
    )


def launch(kind_name: str, pk: int) -> bool:
    """Start the process of one job if nobody runs it. Safe to call twice and from anywhere.

    Returns: whether a process was started. It lives in its own session, so it outlasts the caller.
    """
    kind = find(kind_name)
    if not claim(kind, pk):
        return False
    subprocess.Popen(
        [sys.executable, str(settings.BASE_DIR / "manage.py"), kind.command, str(pk)],
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        env={**os.environ, "DESK_PROCESS": f"{kind.name}:{pk}"},
        cwd=settings.BASE_DIR,
    )
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
            notices = self._session.notifies(timeout=max(seconds, 0.0), stop_after=1)
            return [json.loads(notice.payload) for notice in notices]
        except psycopg.OperationalError as error:
            raise LockLostError(f"{self.name} lost its database session: {error}") from error

    def _check_lock(self) -> None:
        if self._session is None or self._session.closed or self._session.broken:
            raise LockLostError(f"{self.name} lost its database session")

    def _take_lock(self) -> None:
        """Take the lock, waiting as a hot standby while another process holds it."""
        parameters = connection.get_connection_params()
        keep = {key: parameters[key] for key in ("host", "port", "user", "password", "dbname") if key in parameters}
        self._session = psycopg.connect(
            **keep, autocommit=True, connect_timeout=5, keepalives_idle=5, application_name=self.name
        )
        said = False
        while not self.shutting_down:
            row = self._session.execute("SELECT pg_try_advisory_lock(%s, %s)", [self.kind.number, self.pk]).fetchone()
            if row and row[0]:
                self._session.execute(f"LISTEN {CHANNEL}")
                return
            if not said:
                logger.info("another process runs %s; waiting as a standby", self.name)
                said = True
            time.sleep(0.5)

    def _release(self) -> None:
        if self._session is not None:
            self._session.close()
            self._session = None


@contextmanager
def hold(kind_name: str, pk: int) -> Iterator[Job]:
    """Run as the process of one job: lock, signals, and an honest last state.

    SIGTERM and SIGINT set `shutting_down`; the wish on the row stays, so the desk's next start continues the job.
    A JobFailedError or any other error is written on the row for operators; a lost database is not, it exits with 75.
    """
    job = Job(find(kind_name), pk)

    def stop(number: int, frame: FrameType | None) -> None:
        job.shutting_down = True

    old = {number: signal.signal(number, stop) for number in (signal.SIGTERM, signal.SIGINT)}
    try:
        job._take_lock()
        yield job
    except (LockLostError, psycopg.OperationalError) as error:
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
        kind.model._default_manager.filter(pk=pk).update(state=JobRow.State.STOPPED, lease_until=None)
    notify(kind.name, **{kind.name: pk})
    if desired != JobRow.Desired.STOPPED:
        enqueue_launch(kind_name, pk)
