"""What operators want of a run, as its processes ask for it many times a second."""

import time
from collections.abc import Callable

from agents.models import TrainingRun
from agents.studies.study_worker import GO, PAUSE, STOP
from core.models import JobRow

ASK_EVERY_SECONDS = 0.5


class OperatorsWish:
    """go; pause, with what is under way kept; or stop, because the best so far is to be published.

    ending: whether this process has been told to end; the row is read at most twice a second. A run that is
    canceled is told to pause, so that no version is made; the run's own process then ends it for good.
    """

    def __init__(self, run_pk: int, ending: Callable[[], bool]) -> None:
        self.run_pk, self.ending = run_pk, ending
        self._asked, self._answer = 0.0, GO

    def __call__(self) -> str:
        if self.ending():
            return PAUSE
        if time.monotonic() - self._asked >= ASK_EVERY_SECONDS:
            self._asked = time.monotonic()
            self._answer = self._read()
        return self._answer

    def _read(self) -> str:
        found = TrainingRun.objects.filter(pk=self.run_pk).values_list("desired_state", "keep_best").first()
        if found is None or found[0] != JobRow.Desired.RUNNING:
            return PAUSE
        return STOP if found[1] else GO
