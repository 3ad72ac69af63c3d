"""Workers of a study on a Ray cluster: one task per worker, on hosts that have the desk and reach its database."""

import importlib
import os
from typing import Any

from django.conf import settings

# What a host needs to know of the desk besides its code; the database must be one it can reach.
PASSED_ON = ("DATABASE_URL", "DESK_LOCAL_DIR", "DESK_MODELS_DIR", "DESK_SECRET_KEY")


class RayMissing(RuntimeError):
    """RAY_ADDRESS names a cluster, but the package is not installed."""


class RayWorkers:
    """See workforce.Workforce. They obey the run's row, so that ending them needs nothing but patience."""

    def __init__(self, run_pk: int, address: str) -> None:
        self.run_pk, self.ray = run_pk, _ray()
        self.ray.init(address=address, ignore_reinit_error=True, logging_level="ERROR")
        self._task = self.ray.remote(num_cpus=1, max_retries=0)(work_on_host)
        self._working: list[Any] = []

    def keep(self, wanted: int, n_ended: int) -> None:
        """See Workforce. The cluster's cores are the limit, not this machine's."""
        if self._working:
            ended, self._working = self.ray.wait(self._working, num_returns=len(self._working), timeout=0)
            self.ray.get(ended)  # an error of a worker is ours
        most = max(int(self.ray.cluster_resources().get("CPU", 1)), 1)
        while len(self._working) < min(wanted, most):
            self._working.append(self._task.remote(self.run_pk, str(settings.BASE_DIR), passed_on()))

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
    from agents.study_process import work

    work(TrainingRun.objects.get(pk=run_pk), lambda: False)


def _ray() -> Any:
    try:
        return importlib.import_module("ray")
    except ImportError as error:
        raise RayMissing(
            "RAY_ADDRESS is set, but Ray is not installed: pip install '.[cluster]', or unset RAY_ADDRESS"
        ) from error
