"""Where a run stands: progress, rate and time left, measured from its trials and written on its row."""

import time
from collections import deque
from collections.abc import Iterable
from typing import Any

from django.db.models import Count, Q, Sum

from agents.models import TrainingRun, Trial
from agents.runs.run_log import Meter, Notices
from agents.studies.study_rows import ENDED
from agents.training_pages.training_settings import TrainingSettings

SECONDS_BETWEEN_LOOKS = 0.5
SECONDS_BETWEEN_READINGS = 2.0
RATE_OVER_SECONDS = 10.0
# Share of the progress bar for everything that learns; loading and the last backtest are quick.
LEARNING_SHARE = 0.98
NOTES = "notes"  # among the resources of a run's row


class RunWatch:
    """Looks at a run's trials at most twice a second and writes what pages show."""

    def __init__(self, run: TrainingRun, training: TrainingSettings) -> None:
        self.run_pk, self.training = run.pk, training
        self.worked_seconds = run.worked_seconds
        self.final_steps = 0  # environment steps of the final learnings, done ones and the one under way
        self.notices, self.meter = Notices(run.pk), Meter()
        self._looked = self._read = 0.0
        self._since: float | None = None
        self._rates: deque[tuple[float, int]] = deque()
        self._resources: dict[str, Any] = {}
        self._notes: dict[str, str] = dict(run.resources.get(NOTES, {}))

    @property
    def over_time(self) -> bool:
        """Whether the run has worked as long as it may."""
        limit = self.training.max_minutes
        return limit is not None and self._worked() >= limit * 60

    def note(self, part: str, words: str) -> None:
        """Keep what a person should know of a learning that belongs to no trial. part: what was learning, in words."""
        before = self._notes.get(part)
        self._notes[part] = f"{before}; {words}" if before and words not in before else words
        TrainingRun.objects.filter(pk=self.run_pk).update(resources=self._found())

    def _found(self) -> dict[str, Any]:
        return self._resources | ({NOTES: self._notes} if self._notes else {})

    def look(self, phase: str, pids: Iterable[int] = (), *, now: bool = False) -> None:
        """Write where the run stands. pids: of its workers; now: whatever the last look was."""
        moment = time.monotonic()
        if self._since is None:
            self._since = moment
        if not now and moment - self._looked < SECONDS_BETWEEN_LOOKS:
            return
        self._looked = moment
        if moment - self._read >= SECONDS_BETWEEN_READINGS:
            self._read, self._resources = moment, self.meter.read(pids)
        TrainingRun.objects.filter(pk=self.run_pk).update(phase=phase[:60], **self._values(moment))
        self.notices.say()

    def _values(self, moment: float) -> dict[str, Any]:
        done, steps = self._work()
        progress, worked = done * LEARNING_SHARE, self._worked()
        values: dict[str, Any] = {
            "n_steps_done": steps, "n_steps_total": self.training.n_steps_total, "progress": progress,
            "steps_per_second": self._rate(moment, steps), "worked_seconds": worked, "resources": self._found(),
        }  # fmt: skip
        # A guess from next to nothing would jump about.
        values["eta_seconds"] = worked * (1.0 - progress) / progress if progress > 0.01 else None
        return values

    def _work(self) -> tuple[float, int]:
        """Share of all learning that is behind us, 0 to 1, and environment steps taken.

        A trial that ended early is wholly behind us although it took few steps.
        """
        training, n_ended = self.training, Count("pk", filter=Q(state__in=ENDED))
        found = Trial.objects.filter(run=self.run_pk).aggregate(
            n_ended=n_ended, all=Sum("progress"), running=Sum("progress", filter=~Q(state__in=ENDED))
        )
        per_trial = training.n_parts * training.n_steps
        behind = (found["n_ended"] + (found["running"] or 0.0)) * per_trial + self.final_steps
        steps = int((found["all"] or 0.0) * per_trial) + self.final_steps
        return min(behind / training.n_steps_total, 1.0), steps

    def _rate(self, moment: float, steps: int) -> float:
        self._rates.append((moment, steps))
        while moment - self._rates[0][0] > RATE_OVER_SECONDS:
            self._rates.popleft()
        before, then = self._rates[0]
        return max(steps - then, 0) / (moment - before) if moment > before else 0.0

    def _worked(self) -> float:
        return self.worked_seconds + (time.monotonic() - self._since if self._since is not None else 0.0)
