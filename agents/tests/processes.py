"""Trainings as processes of their own, on the tests' database and with a folder of their own, for tests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil
from django.conf import settings

from agents.models import ModelVersion, TrainingRun
from core.models import JobRow
from core.processes import wait_until
from core.tests.job_processes import test_database_url

ENDED = (JobRow.State.FINISHED, JobRow.State.FAILED, JobRow.State.STOPPED)


class Trainings:
    """Starts `manage.py run_training`, as the desk's watchdog does, and knows what was started."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.started: dict[int, subprocess.Popen[bytes]] = {}
        self.environment = {
            **os.environ, "DATABASE_URL": test_database_url(), "DESK_LOCAL_DIR": str(folder),
            "DESK_MODELS_DIR": str(folder / "models"), "OMP_NUM_THREADS": "1",
        }  # fmt: skip

    def log(self) -> str:
        """What they have written, the last of it."""
        path = self.folder / "training.log"
        return path.read_text()[-3_000:] if path.exists() else ""

    def manage(self, *arguments: str, seconds: float = 60.0) -> str:
        """A command of a person at a terminal. Returns: what it says."""
        command = [sys.executable, "manage.py", *arguments]
        done = subprocess.run(
            command, cwd=settings.BASE_DIR, env=self.environment, capture_output=True, text=True, timeout=seconds
        )
        assert done.returncode == 0, done.stdout[-500:] + done.stderr[-2_000:]
        return done.stdout

    def start(self, pk: int, command: str = "run_training") -> subprocess.Popen[bytes]:
        """A process for one run: its own, or with run_study_worker one that helps."""
        with (self.folder / "training.log").open("ab") as log:
            self.started[pk] = subprocess.Popen(
                [sys.executable, "manage.py", command, str(pk)], cwd=settings.BASE_DIR,
                env=self.environment, stdout=log, stderr=log,
            )  # fmt: skip
        return self.started[pk]

    def start_wanted(self) -> None:
        """Start every run that is wanted and has no process, as the watchdog does twice a second."""
        for run in TrainingRun.objects.exclude(desired_state=JobRow.Desired.STOPPED).exclude(state__in=ENDED[:2]):
            process = self.started.get(run.pk)
            if process is None or process.poll() is not None:
                self.start(run.pk)

    def carry_out(self, run: TrainingRun, seconds: float = 90.0, **changes: Any) -> ModelVersion:
        """A run from its start to its version. changes: of its row beforehand."""
        if changes:
            TrainingRun.objects.filter(pk=run.pk).update(**changes)
        assert self.start(run.pk).wait(seconds) == 0, self.log()
        run.refresh_from_db()
        assert run.state == JobRow.State.FINISHED, f"{run.state_reason} {self.log()}"
        return ModelVersion.objects.get(run=run)

    def wait(self, check: Any, what: str, seconds: float = 60.0) -> None:
        """Keep starting what is wanted until the check holds."""
        assert wait_until(lambda: self.start_wanted() or check(), seconds=seconds, every=0.25), f"{what}: {self.log()}"

    def wait_only(self, check: Any, what: str, seconds: float = 60.0) -> None:
        """Start nothing until the check holds."""
        assert wait_until(check, seconds=seconds, every=0.25), f"{what}: {self.log()}"

    def end(self) -> None:
        """Kill what is left of them and their workers."""
        for process in self.started.values():
            if process.poll() is None:
                family = psutil.Process(process.pid).children(recursive=True)
                for one in (*family, psutil.Process(process.pid)):
                    one.kill()
                process.wait()


@contextmanager
def trainings_in(folder: Path, django_settings: Any) -> Iterator[Trainings]:
    """Trainings in a folder, which this process reads too; none of them lives on afterwards."""
    django_settings.MODELS_DIR, django_settings.LOCAL_DIR = folder / "models", folder
    found = Trainings(folder)
    yield found
    found.end()
