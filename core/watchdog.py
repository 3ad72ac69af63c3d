"""The watchdog: starts the database, the pages, the task cluster and every wanted job, and starts again what dies."""

import json
import logging
import os
import signal
import socket
import subprocess
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from types import FrameType

import psutil
from django.conf import settings
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone

from core import database, health, jobs, processes
from core.database_link import use_address
from core.job_kinds import JobKind, all_kinds
from core.journal import record
from core.models import Event, JobRow
from core.notices import notify
from core.queries import end_backend, lock_holder, ping
from core.tasks import enqueue_launch

logger = logging.getLogger(__name__)

TICK_SECONDS = 0.5
FIRST_WAIT_SECONDS = 1.0
LONGEST_WAIT_SECONDS = 30.0
HEALTHY_AFTER_SECONDS = 60.0
MOST_QUICK_CRASHES = 5
ANSWER_SECONDS = 10.0
QUEUE_STUCK_AFTER = timedelta(seconds=60)


@dataclass
class Child:
    """One process the watchdog keeps alive, with growing pauses between quick crashes."""

    name: str
    arguments: list[str]
    process: subprocess.Popen[bytes] | None = None
    started: float = 0.0
    wait: float = FIRST_WAIT_SECONDS
    start_at: float = 0.0
    n_starts: int = 0

    def keep(self) -> None:
        """Start it if it is not there and its pause is over."""
        now = time.monotonic()
        if self.process is not None and self.process.poll() is None:
            if now - self.started > HEALTHY_AFTER_SECONDS:
                self.wait = FIRST_WAIT_SECONDS
            return
        if self.process is not None:
            self._died(now)
        if now >= self.start_at:
            self.process = processes.start(self.name, self.arguments)
            self.started, self.n_starts = now, self.n_starts + 1

    def _died(self, now: float) -> None:
        assert self.process is not None
        code = self.process.returncode
        # A killed parent can leave workers behind that would go on taking tasks.
        processes.kill_group(self.process.pid)
        self.process = None
        self.start_at = now + self.wait
        logger.warning("%s ended with code %s; starting it again in %.0f s", self.name, code, self.wait)
        _journal("component.restarted", f"{self.name} ended with code {code} and is started again")
        self.wait = min(self.wait * 2, LONGEST_WAIT_SECONDS)

    def restart(self, why: str) -> None:
        """End it now; the next look starts it again."""
        if self.process is not None and self.process.poll() is None:
            logger.warning("restarting %s: %s", self.name, why)
            processes.kill_group(self.process.pid)
            self.process.wait()
            self.process, self.start_at = None, 0.0


@dataclass
class Watchdog:
    """Looks every half second; all it knows about jobs it reads from their rows, so it may be restarted at any time."""

    port: int
    children: list[Child] = field(default_factory=list)
    stopping: bool = False
    _asked: dict[str, float] = field(default_factory=dict)
    _holders: dict[str, tuple[int, float]] = field(default_factory=dict)
    _held: set[str] = field(default_factory=set)  # jobs that were started since we last asked for them
    _database_down: bool = False
    _next_beat: float = 0.0

    def __post_init__(self) -> None:
        web = ["-m", "uvicorn", "tradingsite.asgi:application", "--host", settings.WEB_HOST, "--port", str(self.port)]
        web += ["--no-access-log", "--log-level", "warning", "--lifespan", "on", "--timeout-graceful-shutdown", "3"]
        self.children = [Child("web", web), Child("tasks", ["manage.py", "qcluster"])]

    def run(self) -> None:
        """Watch until told to stop, then stop everything in order: jobs, cluster, pages, database."""
        follower = processes.Follower(processes.log_file())
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            signal.signal(number, self._stop)
        pid_file().write_text(json.dumps({"pid": os.getpid(), "url": self.url}))
        try:
            while not self.stopping:
                self.look()
                follower.pump()
                time.sleep(TICK_SECONDS)
        finally:
            logger.info("stopping; everything is kept and goes on at the next start")
            stop_everything()
            follower.pump()
            pid_file().unlink(missing_ok=True)

    @property
    def url(self) -> str:
        """Where the pages are."""
        return f"http://{settings.WEB_HOST}:{self.port}/"

    def look(self) -> None:
        """One round: database first, since nothing else lives without it."""
        try:
            self._look_at_database()
            for child in self.children:
                child.keep()
            self._look_at_jobs()
            self._look_at_queue()
            if time.monotonic() >= self._next_beat:
                self._next_beat = time.monotonic() + 2
                health.beat("watchdog", children={c.name: c.process.pid for c in self.children if c.process})
        except (OperationalError, InterfaceError, database.DatabaseUnavailable) as error:
            connection.close()
            if not self._database_down:
                logger.warning("the database does not answer: %s", str(error).strip().partition("\n")[0])
            self._database_down = True

    def _stop(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def _look_at_database(self) -> None:
        """Start an embedded server that died; after that every child gets a fresh connection."""
        if not self._database_down:
            ping()
            return
        before = dict(connection.settings_dict)
        use_address(database.ensure_running(log=logger.info))
        moved = connection.settings_dict["PORT"] != before["PORT"]
        ping()
        self._database_down = False
        logger.warning("the database is back")
        # The cluster's sentinel does not survive a lost database reliably; the pages reconnect by themselves, unless
        # the server is on another port now.
        for child in self.children:
            if child.name == "tasks" or moved:
                child.restart("the database was restarted")
        _journal("database.restarted", "The database had stopped and was started again")

    def _look_at_jobs(self) -> None:
        for kind in all_kinds():
            rows = kind.model._default_manager.exclude(state__in=[JobRow.State.FINISHED, JobRow.State.FAILED])
            for row in rows.exclude(desired_state=JobRow.Desired.STOPPED, state=JobRow.State.STOPPED):
                self._look_at_job(kind, row)

    def _look_at_job(self, kind: JobKind, row: JobRow) -> None:
        holder = lock_holder(kind.number, row.pk)
        name = f"{kind.name}:{row.pk}"
        if holder is not None:
            self._held.add(name)
            self._end_if_hung(kind, row, holder)
            return
        if row.desired_state == JobRow.Desired.STOPPED:
            _note_stopped(kind, row)
            return
        if row.lease_until and row.lease_until > timezone.now():
            if not _died_at_start(name, row):
                return
            self._held.add(name)  # our request was answered, only badly
            kind.model._default_manager.filter(pk=row.pk, lease_until=row.lease_until).update(lease_until=None)
        wait = min(FIRST_WAIT_SECONDS * 2 ** max(row.n_restarts - 1, 0), LONGEST_WAIT_SECONDS)
        if name not in self._held:
            wait = max(wait, ANSWER_SECONDS)  # our last request may still be waiting in the cluster's queue
        if time.monotonic() - self._asked.get(name, 0.0) < wait:
            return
        if row.n_restarts >= MOST_QUICK_CRASHES:
            jobs.fail(
                kind,
                row.pk,
                f"it ended {MOST_QUICK_CRASHES} times right after its start; see the log, then start it again",
            )
            _journal("job.failed", f"{row} keeps crashing and was stopped", level=Event.Level.CRITICAL, subject=name)
            return
        self._asked[name] = time.monotonic()
        self._held.discard(name)
        if row.heartbeat_at is not None and row.state not in (JobRow.State.STOPPED, JobRow.State.STARTING):
            _journal("job.restarted", f"{row} had stopped unexpectedly and is started again", subject=name)
        enqueue_launch(kind.name, row.pk)

    def _end_if_hung(self, kind: JobKind, row: JobRow, holder: int) -> None:
        name = f"{kind.name}:{row.pk}"
        held = self._held_for(name, holder)
        beat_age = health.age(row.heartbeat_at)
        # A heartbeat from before this process took the lock says nothing about it.
        silent = held if beat_age is None else min(beat_age, held)
        if row.n_restarts and held > HEALTHY_AFTER_SECONDS and silent < kind.hung_after_seconds:
            kind.model._default_manager.filter(pk=row.pk).update(n_restarts=0)
        if silent < kind.hung_after_seconds:
            return
        logger.warning("%s gave no sign of life for %.0f s; ending it", name, silent)
        process = processes.living(row.pid, name) if row.pid and row.host == socket.gethostname() else None
        if process:
            processes.end([process], patience_seconds=0)
        end_backend(holder)

    def _held_for(self, name: str, holder: int) -> float:
        """Seconds since we first saw this database session hold the job's lock."""
        backend, since = self._holders.get(name, (holder, time.monotonic()))
        if backend != holder:
            since = time.monotonic()
        self._holders[name] = (holder, since)
        return time.monotonic() - since

    def _look_at_queue(self) -> None:
        """A task nobody has taken for a minute means the cluster hangs although its process lives."""
        from django_q.models import OrmQ

        oldest = OrmQ.objects.order_by("lock").values_list("lock", flat=True).first()
        cluster = next(child for child in self.children if child.name == "tasks")
        alive_for = time.monotonic() - cluster.started
        if oldest and timezone.now() - oldest > QUEUE_STUCK_AFTER and alive_for > QUEUE_STUCK_AFTER.total_seconds():
            cluster.restart("a task has waited for more than a minute")


def _died_at_start(name: str, row: JobRow) -> bool:
    """Whether the process launched on this host has ended before it took its lock; no need to wait for the lease."""
    return row.pid is not None and row.host == socket.gethostname() and processes.living(row.pid, name) is None


def _note_stopped(kind: JobKind, row: JobRow) -> None:
    """Nobody runs a job that was told to stop, but its row says otherwise: its process died on the way."""
    gone = kind.model._default_manager.filter(pk=row.pk, desired_state=JobRow.Desired.STOPPED)
    if gone.update(state=JobRow.State.STOPPED, lease_until=None):
        notify(kind.name, **{kind.name: row.pk})


def _journal(kind: str, message: str, *, level: str = Event.Level.ATTENTION, subject: str = "") -> None:
    try:
        record(kind, message, actor="watchdog", level=level, subject=subject)
    except (OperationalError, InterfaceError):
        logger.warning("not journalled, the database is away: %s", message)


def pid_file() -> Path:
    """Where a running watchdog writes its pid and address."""
    return settings.LOCAL_DIR / "watchdog.json"


def running() -> dict | None:
    """Pid and url of the watchdog that runs on this folder, or None; a stale file of a crash counts as none."""
    try:
        found = json.loads(pid_file().read_text())
        process = psutil.Process(found["pid"])
        words = process.cmdline()
        mine = "up" in words and any(word.endswith("manage.py") for word in words)
        return found if mine and process.status() != psutil.STATUS_ZOMBIE else None
    except (OSError, ValueError, KeyError, psutil.Error):
        return None


def stop_everything() -> None:
    """End every process of this desk: jobs, then the leaders, which end their own workers, then our database."""
    ours = processes.ours(but=_own_family())
    is_job = [process for process in ours if _desk_name(process).count(":")]
    leaders = [process for process in ours if process not in is_job and _leads(process)]
    killed = processes.end(is_job, patience_seconds=10)
    killed += processes.end(leaders, patience_seconds=8)
    processes.end(processes.ours(but=_own_family()), patience_seconds=0)
    if killed:
        logger.warning("%d processes did not stop in time and were killed", killed)
    connection.close()
    database.stop()


def _desk_name(process: psutil.Process) -> str:
    try:
        return process.environ().get("DESK_PROCESS", "")
    except psutil.Error:
        return ""


def _leads(process: psutil.Process) -> bool:
    """Whether it leads its session: the process we started, not a worker of it."""
    try:
        return os.getsid(process.pid) == process.pid
    except ProcessLookupError:
        return False


def _own_family() -> list[int]:
    """Our own pid and our ancestors', which carry the mark when make started us from a marked shell."""
    return [os.getpid(), *[parent.pid for parent in psutil.Process().parents()]]
