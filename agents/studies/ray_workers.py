"""Workers of a study on a Ray cluster: one task per worker, on hosts that have the desk and reach its database."""

import importlib
import logging
import os
import socket
from typing import Any

from django.conf import settings

from agents.studies.workforce import MOST_CRASHES, WorkersFail

logger = logging.getLogger(__name__)

SECONDS_TO_REACH = 5.0
# What a host needs to know of the desk besides its code; the database must be one it can reach.
PASSED_ON = ("DATABASE_URL", "DESK_LOCAL_DIR", "DESK_MODELS_DIR", "DESK_SECRET_KEY")


class RayMissing(RuntimeError):
    """RAY_ADDRESS names a cluster, but the package is not installed or nothing answers there."""


class RayWorkers:
    """See workforce.Workforce. They obey the run's row, so that ending them needs nothing but patience."""

    def __init__(self, run_pk: int, address: str) -> None:
        self.run_pk, self.ray = run_pk, _ray()
        try:
            reach(address)
            self.ray.init(address=address, ignore_reinit_error=True, logging_level="ERROR")
        except Exception as error:  # Ray has no error of its own for this: connection, value, assertion, runtime …
            why = " ".join(str(error).split())[:120] or type(error).__name__
            raise RayMissing(
                f"RAY_ADDRESS is {address}, but no Ray cluster can be used there ({why}); "
                "start one, or unset RAY_ADDRESS"
            ) from error
        self._task = self.ray.remote(num_cpus=1, max_retries=0)(work_on_host)
        self._working: list[Any] = []
        self._n_crashes = self._n_ended = 0

    def keep(self, wanted: int, n_ended: int) -> None:
        """See Workforce; raises WorkersFail. The cluster's cores are the limit, not this machine's."""
        self._take_note(n_ended)
        most = max(int(self.ray.cluster_resources().get("CPU", 1)), 1)
        while len(self._working) < min(wanted, most):
            self._working.append(self._task.remote(self.run_pk, str(settings.BASE_DIR), passed_on()))

    def _take_note(self, n_ended: int) -> None:
        """Raises: WorkersFail when they fail again and again with no trial ending in between."""
        if n_ended > self._n_ended:
            self._n_ended, self._n_crashes = n_ended, 0
        if not self._working:
            return
        ended, self._working = self.ray.wait(self._working, num_returns=len(self._working), timeout=0)
        for task in ended:
            try:
                self.ray.get(task)
            except self.ray.exceptions.RayError as error:
                self._n_crashes += 1
                why = str(error).strip().splitlines()[-1]
                logger.warning("run %s: a worker on the Ray cluster failed: %s", self.run_pk, why)
                if self._n_crashes >= MOST_CRASHES:
                    raise WorkersFail(f"{MOST_CRASHES} workers in a row failed on the Ray cluster: {why}") from error

    def pids(self) -> list[int]:
        """See Workforce: none of them is ours."""
        return []

    def end(self) -> None:
        """See Workforce."""
        for worker in self._working:
            self.ray.cancel(worker)
        if self._working:
            self.ray.wait(self._working, num_returns=len(self._working), timeout=30.0)
        self._working = []


def reach(address: str) -> None:
    """Raises: OSError if nothing listens there; of other forms than host:port only Ray can tell.

    Ray itself waits a minute or more for an address that is not there, and then its threads do not end.
    """
    host, _, port = address.removeprefix("ray://").rpartition(":")
    if host and port.isdigit():
        socket.create_connection((host.strip("[]"), int(port)), timeout=SECONDS_TO_REACH).close()


def passed_on() -> dict[str, str]:
    """Environment variables a host needs."""
    return {name: os.environ[name] for name in PASSED_ON if name in os.environ}


def work_on_host(run_pk: int, folder: str, environment: dict[str, str]) -> None:
    """What a Ray task does: become a process of the desk and work."""
    import sys

    os.environ.update(environment, OMP_NUM_THREADS="1", DJANGO_SETTINGS_MODULE="tradingsite.settings")
    sys.path.insert(0, folder)
    import django

    django.setup()
    from agents.models import TrainingRun
    from agents.studies.study_process import work

    work(TrainingRun.objects.get(pk=run_pk), lambda: False)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise RayMissing(
            "RAY_ADDRESS is set, but Ray is not installed: pip install '.[cluster]', or unset RAY_ADDRESS"
        ) from error
