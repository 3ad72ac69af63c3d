"""Finds and ends the processes of one data folder, alive, dead or orphaned."""

import contextlib
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path

import psutil

ORPHAN_SECONDS = 5.0


def postmaster(data: Path) -> int | None:
    """Process id of the server that runs on `data`, or None; a stale postmaster.pid does not count."""
    lines = _pid_file_lines(data)
    try:
        pid = int(lines[0])
    except (IndexError, ValueError):
        return None
    return pid if _works_in(pid, data) else None


def postmaster_port(data: Path) -> int | None:
    """The port in postmaster.pid (its fourth line, see PostgreSQL's miscadmin.h), or None."""
    lines = _pid_file_lines(data)
    return int(lines[3]) if len(lines) > 3 and lines[3].strip().isdigit() else None


def clear_stale_state(data: Path, sockets: Path, *, log: Callable[[str], None]) -> None:
    """Make a start possible after the server was killed: end orphaned backends, remove stale lock files.

    Only to be called when no postmaster runs and the instance's lock is held. PostgreSQL removes its own stale files,
    except when their process id is taken again, by a stranger or by an unreaped zombie: then it refuses to start.
    """
    orphans = _server_processes(data)
    if orphans:
        log(f"Waiting for {len(orphans)} left-over database processes to end …")
        end_orphans(data)
    for path in [data / "postmaster.pid", *sockets.glob(".s.PGSQL.*")]:
        path.unlink(missing_ok=True)


def end_orphans(data: Path) -> None:
    """Wait for backends that lost their postmaster, then stop them, in the end by force."""
    for sign in (None, signal.SIGQUIT, signal.SIGKILL):
        for pid in _server_processes(data):
            if sign is not None:
                _signal(pid, sign)
        if _wait(lambda: not _server_processes(data), ORPHAN_SECONDS):
            return


def stop_postmaster(data: Path, sign: signal.Signals, seconds: float) -> bool:
    """Signal the server and wait; True when it ended within `seconds`, or was not running."""
    pid = postmaster(data)
    if pid is None:
        return True
    _signal(pid, sign)
    return _wait(lambda: not _works_in(pid, data), seconds)


def _server_processes(data: Path) -> list[int]:
    return [pid for pid in psutil.pids() if pid != os.getpid() and _works_in(pid, data)]


def _works_in(pid: int, data: Path) -> bool:
    """Whether a living PostgreSQL process has `data` as its working folder, as every server process does."""
    try:
        process = psutil.Process(pid)
        alive = process.status() != psutil.STATUS_ZOMBIE
        return alive and process.name().startswith("postgres") and Path(process.cwd()) == data.resolve()
    except (psutil.Error, OSError):
        return False


def _pid_file_lines(data: Path) -> list[str]:
    try:
        return (data / "postmaster.pid").read_text().splitlines()
    except OSError:
        return []


def _signal(pid: int, sign: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError):
        os.kill(pid, sign)


def _wait(condition: Callable[[], bool], seconds: float) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if condition():
            return True
        time.sleep(0.05)
    return condition()
