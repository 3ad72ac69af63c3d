"""`manage.py run_training ID`: the process of one training. Started by a launcher; may be run by hand."""

from typing import Any

import sqlalchemy.exc
from django.core.management.base import CommandError, CommandParser
from django.db import OperationalError
from django.utils import timezone

from agents.configuration import ConfigurationError
from agents.models import TrainingRun
from agents.registry import ModelRefused
from agents.runs.queue import advance_quietly, end_canceled
from agents.runs.run_files import forget_files
from core.commands import DeskCommand
from core.jobs import Job, JobFailedError, LockLostError, hold
from core.models import JobRow

LISTEN_SECONDS = 1.0  # while it is paused


class Command(DeskCommand):
    help = "Carry out one training run, or go on with it."
    requires_system_checks = []  # checked when the desk starts; a job should be at work at once

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=int, help="Number of the training run.")

    def handle(self, *args: Any, **options: Any) -> None:
        pk = options["id"]
        if not TrainingRun.objects.filter(pk=pk).exists():
            raise CommandError(f"there is no training run {pk}")
        try:
            with hold("training", pk) as job:
                run_job(job)
        finally:
            advance_quietly()  # whoever waits may be next


def run_job(job: Job) -> None:
    """Train as long as the row says so, wait while it is paused. Raises: JobFailedError, LockLostError."""
    while not job.shutting_down:
        run = job.read()
        if run.state == JobRow.State.FINISHED:
            return
        if run.desired_state == JobRow.Desired.STOPPED:
            _canceled(job)
            return
        if run.desired_state == JobRow.Desired.PAUSED:
            job.beat(JobRow.State.PAUSED, "paused by an operator")
            job.wait(LISTEN_SECONDS)
        elif _train(job, run):
            return
    # A shutdown of the desk is no wish to stop: the row keeps saying so, and the next start goes on.
    job.beat(JobRow.State.STOPPING, "goes on at the next start")


def _train(job: Job, run: TrainingRun) -> bool:
    """Train until the end or the next wish. Returns: whether a version was made."""
    # Imported here: torch takes seconds, which a wrong id or a finished run should not cost.
    from agents.runs.learning import TrainingPaused, TrainingStopped
    from agents.runs.run_wish import OperatorsWish
    from agents.runs.training import TrainingFailed, train

    job.beat(JobRow.State.RUNNING)
    wish = OperatorsWish(run.pk, lambda: job.shutting_down)
    try:
        train(run, wish=wish, on_progress=lambda phase: job.beat(JobRow.State.RUNNING, phase))
    except (TrainingPaused, TrainingStopped):
        return False
    except (TrainingFailed, ConfigurationError, ModelRefused) as error:
        values = {"phase": "Failed", "finished_at": timezone.now(), "eta_seconds": None}
        TrainingRun.objects.filter(pk=run.pk).update(**values)
        raise JobFailedError(str(error)) from error
    except (OperationalError, sqlalchemy.exc.OperationalError) as error:
        raise LockLostError(str(error)) from error
    job.beat(JobRow.State.FINISHED, "")
    return True


def _canceled(job: Job) -> None:
    # For good: nothing goes on from here, so nothing is kept but the rows.
    end_canceled(job.read())
    forget_files(job.pk)
    job.beat(JobRow.State.STOPPED, "canceled by an operator")
