"""A worker of a study as a process of its own, started by the run's process or by hand on another host."""

import os
from collections.abc import Callable

from agents.models import TrainingRun
from agents.runs.learning import TrainingPaused, TrainingStopped
from agents.runs.run_data import assignment_of
from agents.runs.run_wish import OperatorsWish
from agents.studies import tuning
from agents.studies.study_rows import StudyRows
from agents.studies.study_worker import StudyWorker


def work(run: TrainingRun, ending: Callable[[], bool]) -> bool:
    """Carry out trials of a run until there are no more. ending: whether this process has been told to end.

    Returns: whether all trials are given out; False if the work was interrupted.
    Raises: TrainingFailed or ConfigurationError as the run itself would.
    """
    assignment = assignment_of(run)
    limit = assignment.settings.training.max_minutes

    def may_begin() -> bool:
        worked = TrainingRun.objects.values_list("worked_seconds", flat=True).get(pk=run.pk)
        return limit is None or worked < limit * 60 or not run.trials.exists()

    with tuning.open_storage() as storage:
        rows = StudyRows(run, assignment.settings, storage)
        try:
            StudyWorker(rows, assignment, OperatorsWish(run.pk, ending)).work(may_begin)
        except (TrainingPaused, TrainingStopped):
            return False
    return True


class Orphaned:
    """Whether the process that started this one is gone; without one, never."""

    def __init__(self, parent: int | None) -> None:
        self.parent = parent

    def __call__(self) -> bool:
        return self.parent is not None and os.getppid() != self.parent
