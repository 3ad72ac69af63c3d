"""Processes that belong to this desk: start them, find them again after a crash, end them."""

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

import psutil
from django.conf import settings

# Every process of this desk carries this variable, so that left-overs of a crash are found by what they are.
MARK = "DESK_INSTANCE"


def log_file() -> Path:
    """The one log all processes write to."""
    folder = settings.LOCAL_DIR / "log"
    folder.mkdir(parents=True, exist_ok=True)
    return folder / "desk.log"


def environment(name: str) -> dict[str, str]:
    """Environment of a child process: marked as ours, unbuffered, one numerical thread unless told otherwise."""
    return {
        **os.environ,
        MARK: str(settings.LOCAL_DIR),
        "DESK_PROCESS": name,
        "PYTHONUNBUFFERED": "1",
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "1"),
    }


def start(name: str, arguments: list[str]) -> subprocess.Popen[bytes]:
    """Start a Python child in its own session, writing to the log."""
    with log_file().open("ab") as log:
        return subprocess.Popen(
            [sys.executable, *arguments],
            start_new_session=True,
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            env=environment(name),
            cwd=settings.BASE_DIR,
        )


def ours(*, but: Iterable[int] = ()) -> list[psutil.Process]:
    """All living processes of this desk, found by their mark, except those with the given pids."""
    found = []
    for process in psutil.process_iter():
        if process.pid in but or process.pid == os.getpid():
            continue
        try:
            if process.environ().get(MARK) == str(settings.LOCAL_DIR) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(process)
        except (psutil.Error, OSError):
            continue
    return found


def living(pid: int, name: str) -> psutil.Process | None:
    """The process with that pid if it lives and is what we started under that name; pids are used again."""
    try:
        process = psutil.Process(pid)
        environment_of = process.environ()
    except (psutil.Error, OSError):
        return None
    same = (environment_of.get(MARK), environment_of.get("DESK_PROCESS")) == (str(settings.LOCAL_DIR), name)
    return process if same and alive(process) else None


def end(processes: list[psutil.Process], *, patience_seconds: float) -> int:
    """Ask processes to stop, then make them. Returns: how many had to be killed."""
    for process in processes:
        _signal(process, signal.SIGTERM)
    wait_until(lambda: not any(map(alive, processes)), seconds=patience_seconds, every=0.1)
    stubborn = [process for process in processes if alive(process)]
    for process in stubborn:
        _signal(process, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, stubborn)), seconds=5, every=0.1)
    return len(stubborn)


def alive(process: psutil.Process) -> bool:
    """Whether a process still does anything; one that only waits for its parent to take note of its end does not."""
    try:
        return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return False


def _signal(process: psutil.Process, number: int) -> None:
    with suppress(psutil.NoSuchProcess):
        process.send_signal(number)


def kill_group(pid: int) -> None:
    """Kill a child and everything left in its process group; jobs it launched have sessions of their own."""
    with suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, signal.SIGKILL)


class Follower:
    """Copies what is appended to the log to the terminal, so that the foreground shows every process."""

    def __init__(self, path: Path) -> None:
        self.path = path
        path.touch()
        self._file = path.open("rb")
        self._file.seek(0, os.SEEK_END)

    def pump(self) -> None:
        """Write what has come since the last call; start again when the file was replaced."""
        data = self._file.read()
        if data:
            # The terminal may be gone; the log has it all, and nobody's work may end for that.
            with suppress(OSError):
                sys.stdout.buffer.write(data)
                sys.stdout.flush()
        elif self._file.tell() > self.path.stat().st_size:
            self._file.seek(0)


def wait_until(check, *, seconds: float, every: float = 0.2) -> bool:
    """Poll `check()` until it is true or time is up. Returns: its last answer."""
    end_at = time.monotonic() + seconds
    while time.monotonic() < end_at:
        if check():
            return True
        time.sleep(every)
    return bool(check())
