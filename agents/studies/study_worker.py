"""Carries out trials of a study, one after the other, in this process; as many workers as wanted may do the same."""

import logging
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from django.utils import timezone

from agents import registry
from agents.assignment import Assignment, trial_part
from agents.models import Trial
from agents.policies.backtest import jsonable
from agents.runs import learning
from agents.runs.learning import LessonResult, Progress, TrainingPaused, TrainingStopped
from agents.runs.run_log import Notices, PartLog
from agents.studies.study import middle, part_score, seed_for
from agents.studies.study_rows import Claim, StudyRows, medians, running_values, this_worker
from agents.training_pages.training_words import part_words
from core.files import write_file

logger = logging.getLogger(__name__)

GO, PAUSE, STOP = "go", "pause", "stop"
WAIT_SECONDS = 0.2  # until a trial that has to wait for others is looked for again
BEAT_SECONDS = 2.0
KEPT_METRICS = ("sharpe_ratio", "max_drawdown", "turnover", "total_return", "n_trades", "n_turns")
Wish = Callable[[], str]


class TrialTaken(Exception):
    """Another worker has this trial now: this one was silent for too long."""


class StudyWorker:
    """One worker. wish: go, pause (keep what is under way and end) or stop; asked after every round of learning."""

    def __init__(self, rows: StudyRows, assignment: Assignment, wish: Wish) -> None:
        self.rows, self.assignment, self.wish = rows, assignment, wish
        self.name, self.training = this_worker(), assignment.settings.training
        self.notices = Notices(assignment.run_pk)

    def work(self, may_begin: Callable[[], bool] = lambda: True) -> None:
        """Carry out trials until there are no more. may_begin: whether a new trial may still begin.

        Raises: TrainingPaused, TrainingStopped as the wish says.
        """
        while True:
            obey(self.wish())
            new = may_begin()
            claim = self.rows.claim(self.name, new=new)
            if claim is not None:
                self.carry_out(claim)
                continue
            if not new or self.all_given_out():
                return
            time.sleep(WAIT_SECONDS)

    def all_given_out(self) -> bool:
        """Whether every trial has ended or has a worker."""
        return self.rows.run.trials.count() >= self.training.n_trials

    def carry_out(self, claim: Claim) -> None:
        """One trial, from wherever it stands."""
        row, started = claim.row, time.monotonic() - (claim.row.duration_seconds or 0.0)
        under_way = _Trial(self, claim, started)
        try:
            pruned = claim.pruned or under_way.learn_parts()
            under_way.close(Trial.State.PRUNED if pruned else Trial.State.DONE)
        except TrainingPaused:
            under_way.release()
            raise
        except TrainingStopped:
            under_way.fail("ended before its time; the best so far was wanted")
            raise
        except TrialTaken:
            logger.warning("%s: another worker goes on with it", row)
        except (ValueError, RuntimeError) as error:
            # What a lesson cannot be done with is said of the trial; others may do.
            logger.warning("%s: %s", row, error, exc_info=not isinstance(error, learning.TrainingDiverged))
            under_way.fail(str(error) or type(error).__name__, keep=True)


class _Trial:
    """A trial under way."""

    def __init__(self, worker: StudyWorker, claim: Claim, started: float) -> None:
        self.worker, self.row, self.drawn, self.started = worker, claim.row, claim.drawn, started
        self.assignment, self.training = worker.assignment, worker.training
        self.evaluations: list[float] = list(self.row.metrics.get("under_way", []))
        self._beaten = 0.0

    def learn_parts(self) -> bool:
        """Learn what is missing. Returns: whether the trial was ended early."""
        for number, (fold, seed) in enumerate(self.assignment.parts):
            if number < len(self.row.parts):
                continue
            name = trial_part(self.row.number, fold, seed)
            result, seconds = self._learn(name, fold, seed)
            if result is None:
                return True
            self._keep_part(name, fold, seed, result, seconds)
        return False

    def _learn(self, name: str, fold: int, seed: int) -> tuple[LessonResult | None, float]:
        lesson = self.assignment.lesson(self.row.parameters, fold, seed_for(self.row.seed, seed))
        log, began = PartLog(self.assignment.run_pk, name, lesson.n_steps), time.monotonic()

        def report(progress: Progress) -> None:
            log.take(progress)
            if progress.note:
                self.row.metrics = {**self.row.metrics, "note": f"{part_words(name)}: {progress.note}"}
                self._save("metrics")
            done = len(self.row.parts) + progress.steps_done / max(progress.steps_total, 1)
            self.row.progress = min(done / self.training.n_parts, 1.0)
            self._beat()

        def judge(number: int, score: float) -> bool:
            log.score(lesson.n_steps * (number + 1) // self.training.n_evaluations, score)
            return self._judge(number, score)

        result = learning.learn(
            lesson, on_progress=report, judge=judge, wish=self._wish,
            checkpoint=self.assignment.checkpoint(name), logs=self.assignment.logs(name),
        )  # fmt: skip
        return (None if result.pruned else result), time.monotonic() - began

    def _judge(self, number: int, score: float) -> bool:
        """Note an evaluation; one that was judged before a crash is judged the same again."""
        self.evaluations = [*self.evaluations[:number], float(score)]
        reports = running_values([*(part["evaluations"] for part in self.row.parts), self.evaluations],
            self.training.n_evaluations)  # fmt: skip
        pruned = self.drawn.report(*reports[-1])
        # The row first: what is learned from here on hangs on what has been reported.
        self.row.metrics = {**self.row.metrics, "under_way": self.evaluations}
        self._save("metrics")
        return pruned

    def _keep_part(self, name: str, fold: int, seed: int, result: LessonResult, seconds: float) -> None:
        metrics = jsonable(result.validation.metrics)
        part = {
            "fold": fold, "seed": seed, "score": part_score(self.evaluations), "best": result.score,
            "evaluations": self.evaluations, "metrics": {key: metrics.get(key) for key in KEPT_METRICS},
            "weights_sha256": result.weights_sha256, "n_steps": result.steps_done, "seconds": round(seconds, 3),
        }  # fmt: skip
        if fold == len(self.assignment.folds) - 1:
            write_file(trial_file(self.assignment.run_pk, self.row.number, seed), result.policy.to_bytes())
        self.row.parts = [*self.row.parts, part]
        self.row.progress = len(self.row.parts) / self.training.n_parts
        self.row.metrics = {key: value for key, value in self.row.metrics.items() if key != "under_way"}
        self.evaluations = []
        self._save("parts", "metrics", "progress")
        self._forget(name)

    def close(self, state: Trial.State) -> None:
        """The trial has ended by itself or was ended early."""
        row = self.row
        if row.parts:
            row.value, row.objectives = medians(row.parts)
            note = {"note": row.metrics["note"]} if "note" in row.metrics else {}
            row.metrics = row.parts[middle([part["score"] for part in row.parts])]["metrics"] | note
        if state == Trial.State.PRUNED:
            # What it had reported last is what it was ended for.
            reports = running_values([*(part["evaluations"] for part in row.parts), self.evaluations],
                self.training.n_evaluations)  # fmt: skip
            row.value = reports[-1][1]
            row.metrics = {**row.metrics, "under_way": self.evaluations}
        self._end(state)

    def fail(self, problem: str, *, keep: bool = False) -> None:
        """The trial can come to nothing. keep: the last good checkpoint, until the run's files are removed."""
        kept = self._checkpoint_at_hand() if keep else None
        self.row.metrics = {**self.row.metrics, "problem": problem}
        if kept is not None:
            self.row.metrics["checkpoint"] = str(kept.relative_to(registry.models_dir()))
        self._end(Trial.State.FAILED, kept)

    def _checkpoint_at_hand(self) -> Path | None:
        """Of the part under way: earlier ones are done and later ones have not begun."""
        number = len(self.row.parts)
        if number >= len(self.assignment.parts):
            return None
        path = self.assignment.checkpoint(trial_part(self.row.number, *self.assignment.parts[number]))
        return path if path.exists() else None

    def _end(self, state: Trial.State, kept: Path | None = None) -> None:
        self.row.state = state
        self.row.duration_seconds = time.monotonic() - self.started
        self._save("state", "value", "objectives", "metrics", "duration_seconds", "progress")
        for fold, seed in self.assignment.parts:
            name = trial_part(self.row.number, fold, seed)
            if self.assignment.checkpoint(name) != kept:
                self._forget(name)
        self.worker.notices.say()

    def release(self) -> None:
        """Leave the trial to whoever goes on with it."""
        self.row.worker, self.row.duration_seconds = "", time.monotonic() - self.started
        Trial.objects.filter(pk=self.row.pk, worker=self.worker.name).update(
            worker="", duration_seconds=self.row.duration_seconds, progress=self.row.progress
        )

    def _wish(self) -> str:
        self._beat()
        return self.worker.wish()

    def _beat(self) -> None:
        now = time.monotonic()
        if now - self._beaten >= BEAT_SECONDS:
            self._beaten = now
            self.row.duration_seconds = now - self.started
            self._save("progress", "duration_seconds")
            self.worker.notices.say()

    def _save(self, *names: str) -> None:
        """Write columns if the trial is still ours. Raises: TrialTaken."""
        values: dict[str, Any] = {name: getattr(self.row, name) for name in names}
        ours = Trial.objects.filter(pk=self.row.pk, worker=self.worker.name, state=Trial.State.RUNNING)
        if not ours.update(heartbeat_at=timezone.now(), **values):
            raise TrialTaken

    def _forget(self, part: str) -> None:
        self.assignment.checkpoint(part).unlink(missing_ok=True)


def obey(wish: str) -> None:
    """Raises: TrainingPaused or TrainingStopped unless the wish is to go on."""
    if wish == PAUSE:
        raise TrainingPaused
    if wish == STOP:
        raise TrainingStopped


def trial_file(run_pk: int, number: int, seed: int) -> Path:
    """Weights of a trial's last fold, kept until the run has published a version."""
    return registry.models_dir() / "trials" / f"run-{run_pk}-trial-{number}-seed-{seed}.safetensors"
