"""The worker processes of a study: how many the machine can bear, started, watched, and ended."""

import logging
import os
import subprocess
import time
from typing import Protocol

from agents.studies.machine import free_memory_mb, n_cores
from core import processes

logger = logging.getLogger(__name__)

MEMORY_PER_WORKER_MB = 600.0  # torch, the bars and a replay buffer of usual size
SPARE_MEMORY_MB = 300.0  # below it a worker is sent home
SECONDS_TO_END = 30.0  # to write a checkpoint
MOST_CRASHES = 5  # without one trial ending in between
MOST_PER_CORE = 2  # however many are asked for: more would only wait for each other


class WorkersFail(RuntimeError):
    """Workers end with an error again and again; the log says why."""


class Workforce(Protocol):
    """Workers of one study, wherever they run."""

    def keep(self, wanted: int, n_ended: int) -> None:
        """Have so many at work. n_ended: trials that have ended, a sign that workers get somewhere."""

    def pids(self) -> list[int]:
        """Their processes on this machine."""

    def end(self) -> None:
        """Have them keep what is under way and end."""


class LocalWorkers:
    """Workers on this machine, each `manage.py run_study_worker`, each with one numerical thread."""

    def __init__(self, run_pk: int) -> None:
        self.run_pk = run_pk
        self._working: list[subprocess.Popen[bytes]] = []
        self._n_crashes, self._n_ended, self._start_at = 0, 0, 0.0

    def keep(self, wanted: int, n_ended: int) -> None:
        """See Workforce. Raises: WorkersFail."""
        self._take_note(n_ended)
        if free_memory_mb() < SPARE_MEMORY_MB and len(self._working) > 1:
            logger.warning("run %s: memory is short, one worker less", self.run_pk)
            self._start_at = time.monotonic() + SECONDS_TO_END
            self._working[-1].terminate()
        while len(self._working) < wanted and time.monotonic() >= self._start_at:
            arguments = ["manage.py", "run_study_worker", str(self.run_pk), "--parent", str(os.getpid())]
            self._working.append(processes.start(f"study-worker:{self.run_pk}", arguments))

    def _take_note(self, n_ended: int) -> None:
        if n_ended > self._n_ended:
            self._n_ended, self._n_crashes = n_ended, 0
        for worker in [worker for worker in self._working if worker.poll() is not None]:
            self._working.remove(worker)
            if worker.returncode:
                self._n_crashes += 1
                self._start_at = time.monotonic() + self._n_crashes
                logger.warning("run %s: a worker ended with code %s", self.run_pk, worker.returncode)
        if self._n_crashes >= MOST_CRASHES:
            self.end()
            raise WorkersFail(f"{MOST_CRASHES} workers in a row ended with an error; see the log")

    def pids(self) -> list[int]:
        """See Workforce."""
        return [worker.pid for worker in self._working]

    def end(self) -> None:
        """See Workforce; who does not end in time is killed and loses what came after the last checkpoint."""
        for worker in self._working:
            worker.terminate()
        until = time.monotonic() + SECONDS_TO_END
        for worker in self._working:
            try:
                worker.wait(max(until - time.monotonic(), 0.0))
            except subprocess.TimeoutExpired:
                logger.warning("run %s: worker %s does not end and is killed", self.run_pk, worker.pid)
                processes.kill_group(worker.pid)
                worker.wait()
        self._working = []


def n_workers(
    asked: int, useful: int, n_trainings: int = 1, *, n_working: int = 0, free_mb: float | None = None
) -> int:
    """How many workers a study should have: 1 to as many as are useful.

    asked: by the settings, 0 for as many as there are cores; useful: trials that can be under way at once;
    n_trainings: that share the machine; n_working: workers that have their memory already; free_mb: what is left
    besides, None asks the machine.
    """
    by_memory = n_working + int((free_memory_mb() if free_mb is None else free_mb) // MEMORY_PER_WORKER_MB)
    by_cores = n_cores() // max(n_trainings, 1)
    wanted = min(asked, MOST_PER_CORE * n_cores()) or by_cores
    return max(min(wanted, by_memory, useful), 1)


def on_a_cluster() -> bool:
    """Whether workers run on a Ray cluster rather than here."""
    return bool(os.environ.get("RAY_ADDRESS"))


def workforce_for(run_pk: int) -> Workforce:
    """Where workers are started: on a Ray cluster if RAY_ADDRESS names one, here otherwise. Raises: RayMissing."""
    if on_a_cluster():
        from agents.studies.ray_workers import RayWorkers  # only with the optional group of packages

        return RayWorkers(run_pk, os.environ["RAY_ADDRESS"])
    return LocalWorkers(run_pk)
