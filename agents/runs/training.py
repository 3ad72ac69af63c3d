"""One training run: a study, the best parameters learned anew, one look at the unseen period, one model version.

A run that died goes on where it was, and ends with the same weights as one that did not: what is under way has a
checkpoint, what has ended has a row.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from django.db import transaction
from django.utils import timezone

from agents.assignment import Assignment
from agents.models import ModelVersion, TrainingRun, Trial
from agents.runs.final import FinalLearnings, Learned
from agents.runs.learning import TrainingStopped
from agents.runs.publishing import publish
from agents.runs.run_data import TrainingFailed, assignment_of
from agents.runs.run_files import forget_files
from agents.runs.run_watch import RunWatch
from agents.studies import tuning
from agents.studies.ray_workers import RayMissing
from agents.studies.study import knee
from agents.studies.study_rows import StudyRows, aims_of
from agents.studies.study_worker import GO, StudyWorker, Wish, obey
from agents.studies.workforce import WorkersFail, Workforce, n_workers, on_a_cluster, workforce_for
from agents.training_pages.training_settings import NSGA2
from core.journal import record
from core.models import JobRow
from core.notices import notify

__all__ = ["TrainingFailed", "train"]
logger = logging.getLogger(__name__)

LOOK_SECONDS = 0.25  # between looks at workers
TESTING = "Testing on bars it has never seen"


@dataclass
class Training:
    """A run being carried out."""

    run: TrainingRun
    assignment: Assignment
    watch: RunWatch
    wish: Wish
    on_progress: Callable[[str], None]
    phase: str = ""
    workforce: Workforce | None = None
    _looked: float = field(default=0.0)

    def look(self, *, now: bool = False) -> None:
        """Write where the run stands and give a sign of life, at most every quarter of a second."""
        if not now and time.monotonic() - self._looked < LOOK_SECONDS:
            return
        self._looked = time.monotonic()
        self.watch.look(self.phase, self.workforce.pids() if self.workforce else (), now=now)
        self.on_progress(self.phase)

    def say(self, phase: str) -> None:
        """Begin a phase."""
        self.phase = phase
        self.look(now=True)

    def asked(self) -> str:
        """The wish, after a look: what learnings ask."""
        self.look()
        return self.wish()

    def study(self) -> None:
        """Carry out the trials that are missing. Raises: TrainingPaused, TrainingStopped, TrainingFailed."""
        with tuning.open_storage() as storage:
            rows = StudyRows(self.run, self.assignment.settings, storage)
            try:
                if not self._complete(rows):
                    self._study(rows)
            finally:
                rows.record()

    def _study(self, rows: StudyRows) -> None:
        training = self.assignment.settings.training
        if self._n_workers(rows) > 1 or on_a_cluster():
            self._with_workers(rows)
            return

        def asked() -> str:
            self.phase = study_phase(rows.n_ended(), training.n_trials)
            return self.asked()

        self.say(study_phase(rows.n_ended(), training.n_trials))
        worker = StudyWorker(rows, self.assignment, asked)
        while True:
            worker.work(self._may_begin)
            if self._complete(rows):
                return
            time.sleep(LOOK_SECONDS)  # a worker on another host still has a trial

    def _with_workers(self, rows: StudyRows) -> None:
        n_trials = self.assignment.settings.training.n_trials
        try:
            self.workforce = workforce_for(self.run.pk)
            while not self._complete(rows):
                obey(self.wish())
                n_ended = rows.n_ended()
                self.workforce.keep(self._n_workers(rows) if self._in_time() else 1, n_ended)
                self.phase = study_phase(n_ended, n_trials)
                self.look()
                time.sleep(LOOK_SECONDS)
        except (WorkersFail, RayMissing) as error:
            raise TrainingFailed(str(error)) from error
        finally:
            if self.workforce is not None:
                self.workforce.end()
                self.workforce = None

    def _n_workers(self, rows: StudyRows) -> int:
        training = self.assignment.settings.training
        working = TrainingRun.objects.filter(state=JobRow.State.RUNNING).exclude(pk=self.run.pk).count()
        useful = min(rows.plan.lag, training.n_trials - rows.n_ended())
        if on_a_cluster():
            return min(training.n_workers or useful, useful)  # its cores are the limit, not ours
        at_work = len(self.workforce.pids()) if self.workforce else 0
        return n_workers(training.n_workers, useful, working + 1, n_working=at_work)

    def _in_time(self) -> bool:
        return not self.watch.over_time

    def _may_begin(self) -> bool:
        """Whether a new trial may begin; the first one may in any case, or there would be nothing to publish."""
        return self._in_time() or not self.run.trials.exists()

    def _complete(self, rows: StudyRows) -> bool:
        """Whether all trials have ended; out of time, whether those that have begun have."""
        n_ended = rows.n_ended()
        if n_ended >= self.assignment.settings.training.n_trials:
            return True
        return not self._in_time() and n_ended > 0 and n_ended == self.run.trials.count()

    def best(self) -> Trial:
        """The trial whose parameters are published. Raises: TrainingFailed if none has come to its end."""
        done = list(self.run.trials.filter(state=Trial.State.DONE, value__isnull=False).order_by("-value", "number"))
        if not done:
            failed = self.run.trials.filter(state=Trial.State.FAILED).order_by("number")
            problems = dict.fromkeys(row.metrics.get("problem", "") for row in failed)
            raise TrainingFailed(f"no trial finished: {'; '.join(filter(None, problems)) or 'all were stopped'}")
        if self.assignment.settings.training.sampler == NSGA2:
            done.sort(key=lambda row: row.number)
            return done[knee([aims_of(row) for row in done])]
        return done[0]

    def learn_finally(self, best: Trial) -> Learned:
        """What is published. Raises: TrainingPaused, TrainingFailed."""
        training = self.assignment.settings.training
        final = FinalLearnings(self.assignment, self.run.seed, best, self.asked, self.watch.note)
        n = training.n_final_seeds
        before = self.watch.final_steps

        def looked(number: int, steps: int) -> None:
            self.watch.final_steps = before + number * training.n_steps + steps
            self.phase = f"Final learning {number + 1} of {n}"
            self.look()

        hurry = self._in_a_hurry()
        try:
            if not hurry:
                final.learn(n, looked, self._in_time)
        except TrainingStopped:
            hurry = True
        found = final.chosen(n) or (final.of_the_trial() if hurry else None)
        if found is None and hurry:
            # Nothing is at hand, for the trial was another host's: learn it once, whatever the time.
            final.wish = lambda: GO
            final.learn(1, looked)
            found = final.chosen(1)
        if found is None:
            raise TrainingFailed(f"no final learning came to its end: {'; '.join(dict.fromkeys(final.problems(n)))}")
        return found

    def _in_a_hurry(self) -> bool:
        self.run.refresh_from_db(fields=["keep_best"])
        return self.run.keep_best or not self._in_time()


def train(
    run: TrainingRun,
    *,
    wish: Wish = lambda: GO,
    on_progress: Callable[[str], None] = lambda phase: None,
) -> ModelVersion:
    """Carry out a run from wherever it stands. Returns: its one model version.

    wish: go, pause or stop, asked many times a second; on_progress: called a few times a second with the phase.
    Raises: TrainingPaused or TrainingStopped when the wish was such, the latter unless the best was to be kept;
    TrainingFailed or ConfigurationError when a person must change something.
    """
    existing = ModelVersion.objects.filter(run=run).first()
    if existing is not None:
        forget_files(run.pk)  # its process may have died just before that
        _finished(run, existing)
        return existing
    training = begin(run, wish, on_progress)
    try:
        training.study()
    except TrainingStopped:
        if not TrainingRun.objects.values_list("keep_best", flat=True).get(pk=run.pk):
            raise
    best = training.best()
    learned = training.learn_finally(best)
    training.say(TESTING)
    model = publish(training.run, training.assignment, best, learned)
    forget_files(run.pk)
    training.look(now=True)
    _finished(run, model)
    return model


def begin(run: TrainingRun, wish: Wish, on_progress: Callable[[str], None]) -> Training:
    """Load bars and settings. Raises: TrainingFailed or ConfigurationError."""
    now = timezone.now()
    values: dict[str, Any] = {"phase": "Loading bars", "started_at": run.started_at or now, "finished_at": None}
    values |= {"study_name": run.study_name or f"{run.agent.name}-run-{run.pk}", "queued": False}
    TrainingRun.objects.filter(pk=run.pk).update(**values)
    on_progress("Loading bars")
    run.refresh_from_db()
    assignment = assignment_of(run)
    training = assignment.settings.training
    TrainingRun.objects.filter(pk=run.pk).update(n_trials=training.n_trials, n_steps_total=training.n_steps_total)
    run.refresh_from_db()
    return Training(run, assignment, RunWatch(run, training), wish, on_progress)


def study_phase(n_ended: int, n_trials: int) -> str:
    """What a run says while its study goes on."""
    return f"Trial {min(n_ended + 1, n_trials)} of {n_trials}"


@transaction.atomic
def _finished(run: TrainingRun, model: ModelVersion) -> None:
    fields: dict[str, Any] = {"phase": "Finished", "progress": 1.0, "finished_at": timezone.now(), "eta_seconds": 0.0}
    if not TrainingRun.objects.filter(pk=run.pk).exclude(phase="Finished").update(**fields):
        return  # said already, before the process died
    record(
        "training.finished", f"Training of {model.agent.name} finished: {model} is {model.get_state_display()}",
        subject=f"training:{run.pk}", data={"version": model.pk},
    )  # fmt: skip
    notify("training", run=run.pk)
