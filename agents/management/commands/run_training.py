"""`manage.py run_training ID`: the process of one training. Started by a launcher; may be run by hand."""

import time
from typing import Any

import sqlalchemy.exc
from django.core.management.base import CommandError, CommandParser
from django.db import OperationalError
from django.utils import timezone

from agents.configuration import ConfigurationError
from agents.models import TrainingRun
from agents.registry import ModelRefused
from core.commands import DeskCommand
from core.jobs import Job, JobFailedError, LockLostError, hold
from core.models import JobRow

ASK_EVERY_SECONDS = 0.5


class Command(DeskCommand):
    help = "Carry out one training run, or go on with it."
    requires_system_checks = []  # checked when the desk starts; a job should be at work at once

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=int, help="Number of the training run.")

    def handle(self, *args: Any, **options: Any) -> None:
        pk = options["id"]
        if not TrainingRun.objects.filter(pk=pk).exists():
            raise CommandError(f"there is no training run {pk}")
        with hold("training", pk) as job:
            run_job(job)


def run_job(job: Job) -> None:
    """Train as long as the row says so. Raises: JobFailedError, LockLostError."""
    # Imported here: torch takes seconds, which a wrong id or a finished run should not cost.
    from agents.training import TrainingFailed, TrainingStopped, train

    run = job.read()
    if job.shutting_down or run.state == JobRow.State.FINISHED:
        return
    if run.desired_state != JobRow.Desired.RUNNING:
        _stopped(job)
        return
    job.beat(JobRow.State.RUNNING)
    try:
        train(run, should_stop=_Wish(job), on_progress=lambda phase: job.beat(JobRow.State.RUNNING, phase))
    except TrainingStopped:
        # A shutdown of the desk is no wish to stop: the row keeps saying so, and the next start goes on.
        if job.shutting_down:
            job.beat(JobRow.State.STOPPING, "goes on at the next start")
        else:
            _stopped(job)
    except (TrainingFailed, ConfigurationError, ModelRefused) as error:
        TrainingRun.objects.filter(pk=run.pk).update(phase="Failed", finished_at=timezone.now())
        raise JobFailedError(str(error)) from error
    except (OperationalError, sqlalchemy.exc.OperationalError) as error:
        raise LockLostError(str(error)) from error
    else:
        job.beat(JobRow.State.FINISHED, "")


def _stopped(job: Job) -> None:
    TrainingRun.objects.filter(pk=job.pk).update(phase="Stopped", finished_at=timezone.now())
    job.beat(JobRow.State.STOPPED, "stopped by an operator")


class _Wish:
    """Whether to stop, asked of the row at most twice a second."""

    def __init__(self, job: Job) -> None:
        self.job, self.asked, self.stop = job, 0.0, False

    def __call__(self) -> bool:
        if self.job.shutting_down:
            return True
        if time.monotonic() - self.asked >= ASK_EVERY_SECONDS:
            self.asked = time.monotonic()
            desired = TrainingRun.objects.values_list("desired_state", flat=True).filter(pk=self.job.pk).first()
            self.stop = desired != JobRow.Desired.RUNNING
        return self.stop
