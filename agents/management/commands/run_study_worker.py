"""`manage.py run_study_worker ID`: carry out trials of a training that runs, here or on another host."""

import signal
from types import FrameType
from typing import Any

from django.core.management.base import CommandError, CommandParser

from agents.configuration import ConfigurationError
from agents.models import TrainingRun
from core.commands import DeskCommand
from core.models import JobRow


class Command(DeskCommand):
    help = "Help a running training with its trials; by hand also on other hosts that use the same database."
    requires_system_checks = []  # checked when the desk starts; a worker should be at work at once

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=int, help="Number of the training run.")
        parser.add_argument("--parent", type=int, help="Process to end with; the training's own names itself here.")

    def handle(self, *args: Any, **options: Any) -> None:
        run = TrainingRun.objects.filter(pk=options["id"]).first()
        if run is None:
            raise CommandError(f"there is no training run {options['id']}")
        if not run.study_name:
            raise CommandError(f"training run {run.pk} has not begun yet; start it, then its workers")
        ended = run.state in (JobRow.State.FINISHED, JobRow.State.FAILED)
        if ended or run.desired_state != JobRow.Desired.RUNNING:
            state = run.get_state_display() if ended else run.get_desired_state_display()
            raise CommandError(f"training run {run.pk} is {state}, so it has no trials to carry out")
        # Imported here: torch takes seconds, which a wrong id should not cost.
        from agents.runs.run_data import TrainingFailed
        from agents.studies.study_process import Orphaned, work

        told, orphaned = _Told(), Orphaned(options["parent"])
        try:
            if work(run, lambda: told.ending or orphaned()):
                self.stdout.write(f"All trials of training run {run.pk} have been given out.")
        except (TrainingFailed, ConfigurationError) as error:
            raise CommandError(str(error)) from error


class _Told:
    """Whether a signal has asked this process to end."""

    def __init__(self) -> None:
        self.ending = False
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._end)

    def _end(self, number: int, frame: FrameType | None) -> None:
        self.ending = True
