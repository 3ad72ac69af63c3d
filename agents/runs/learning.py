"""One learning: a learner on its training rows, judged on its validation rows as it goes. Pure.

Everything that decides the numbers is in the Lesson. A learning that was paused or killed goes on from its checkpoint
and ends with the same weights, bit for bit, as one that was not.
"""

import logging
import time
from pathlib import Path

import numpy as np

from agents.algorithms.base import Learner, LearnerReport
from agents.learners import checkpoint as checkpoints
from agents.learners import state
from agents.learners.checkpoint import Checkpoint, CheckpointUnusable
from agents.learners.guard import TrainingDiverged
from agents.learners.tally import Tally
from agents.learners.tensorboard_log import ScalarLog, open_log
from agents.policies.backtest import BacktestResult, run_backtest
from agents.policies.policy import ServedPolicy
from agents.runs import backends
from agents.runs.lesson import (
    GO,
    PAUSE,
    STOP,
    Judge,
    Lesson,
    LessonResult,
    Progress,
    Report,
    TrainingPaused,
    TrainingStopped,
    Wish,
    make_learner,
)

__all__ = [
    "Lesson", "LessonResult", "Progress", "TrainingDiverged", "TrainingPaused", "TrainingStopped", "learn",
    "make_learner", "score",
]  # fmt: skip
logger = logging.getLogger(__name__)

NEVER_TRADED = -1.0  # score of a policy without a single fill: worse than earning nothing
SECONDS_BETWEEN_REPORTS = 0.5
SECONDS_BETWEEN_CHECKPOINTS = 5.0
# A round that takes longer than the first is asked within, as often as the second, whether it is to go on.
SECONDS_OF_A_ROUND, SECONDS_BETWEEN_WISHES = 1.0, 0.25
MOST_TIME_FOR_CHECKPOINTS = 0.05  # share of a learning's time that writing them may take
POINTS_IN_LOG = 200  # of TensorBoard, per learning


def learn(
    lesson: Lesson,
    *,
    on_progress: Report = lambda progress: None,
    judge: Judge = lambda number, score: False,
    wish: Wish = lambda: GO,
    checkpoint: Path | None = None,
    logs: Path | None = None,
) -> LessonResult:
    """Carry a lesson out, from its checkpoint if there is one. Returns: the best evaluation.

    on_progress: called at the start and then at most twice a second; wish: asked after every round, and within one that
    takes long, which is then dropped: a learning paused there goes on from its last checkpoint. checkpoint: file that
    is written every few seconds and at every evaluation, and left there at the end; logs: folder for TensorBoard.
    A checkpoint or log that cannot be written ends nothing: a note of the progress says so.
    Raises: TrainingPaused, TrainingStopped; TrainingDiverged naming what became NaN, the last good checkpoint stays;
    BackendMissing.
    """
    backends.check(lesson.backend, lesson.settings.algorithm, lesson.settings.network.kind)
    backends.prepare(lesson.backend, lesson.settings.training.n_threads)
    learning = _Learning(lesson, on_progress, judge, wish, checkpoint)
    try:
        learning.open(logs)
        return learning.run()
    finally:
        learning.close()


def score(result: BacktestResult, min_trades: float) -> float:
    """What trials are ranked by: the validation Sharpe ratio after costs, less what too few trades cost.

    A policy that turns its money over fewer than min_trades times (in and out once is one) loses up to one point in
    proportion, so that buying once and holding does not pass for a strategy. One that never trades scores -1: its
    Sharpe ratio of 0 would beat every honest loser.
    """
    if len(result.track.fills) == 0:
        return NEVER_TRADED
    sharpe = result.metrics["sharpe_ratio"]
    missing = max(1.0 - result.metrics["n_turns"] / min_trades, 0.0) if min_trades else 0.0
    return (sharpe if np.isfinite(sharpe) else NEVER_TRADED) - missing


class _Learning:
    """A lesson being carried out."""

    def __init__(self, lesson: Lesson, report: Report, judge: Judge, wish: Wish, path: Path | None) -> None:
        self.lesson, self.report, self.judge, self.wish, self.path = lesson, report, judge, wish, path
        self.fingerprint = lesson.fingerprint()
        n = lesson.settings.training.n_evaluations
        self.marks = [lesson.n_steps * (number + 1) // n for number in range(n)]
        self.scores: list[float] = []
        self.best: tuple[float, ServedPolicy] | None = None
        self.validation: BacktestResult | None = None  # of the best; looked at again after a resume
        self.pruned, self.unsaved, self.note = False, False, ""
        self.learner: Learner | None = None
        self.log: ScalarLog = open_log(None)
        self.reported = self.started = self.saved = self.asked = time.monotonic()
        self.between_checkpoints = SECONDS_BETWEEN_CHECKPOINTS

    @property
    def steps_done(self) -> int:
        return self.learner.steps_done if self.learner else 0

    def open(self, logs: Path | None) -> None:
        """Make the learner and bring it to where the checkpoint says."""
        self.learner = make_learner(self.lesson, self._pulse)
        if self.path is not None and self.path.exists():
            try:
                self._restore(checkpoints.read(self.path, self.fingerprint))
            except (CheckpointUnusable, OSError, ValueError, KeyError) as error:
                self._start_anew(str(error))
        self.first_step, self.started = self.steps_done, time.monotonic()
        self.points_at = self.first_step * POINTS_IN_LOG // self.lesson.n_steps
        self.tally, self.points = Tally(self.first_step), Tally(self.first_step)
        try:
            self.log = open_log(logs, self.first_step)
        except OSError as error:
            self._note(f"TensorBoard's log cannot be written: {error}")
        self._tell(force=True)

    def _start_anew(self, reason: str) -> None:
        self._note(f"Learning starts anew: {reason}")
        self.scores, self.best, self.pruned = [], None, False
        self.close()
        self.learner = make_learner(self.lesson, self._pulse)

    def _note(self, words: str) -> None:
        """Tell a person, with the next progress."""
        self.note = f"{self.note}; {words}" if self.note else words
        logger.warning("%s", words)

    def _restore(self, found: Checkpoint) -> None:
        assert self.learner is not None
        about = found.about
        policy = ServedPolicy.from_bytes(found.arrays["best"].tobytes()) if about["best_score"] is not None else None
        self.learner.restore(state.part(found.arrays, "learner"))
        self.scores, self.pruned = list(about["scores"]), bool(about["pruned"])
        self.best = None if policy is None else (float(about["best_score"]), policy)

    def run(self) -> LessonResult:
        """Learn to the end or until somebody wishes otherwise."""
        assert self.learner is not None
        while self.steps_done < self.lesson.n_steps and not self.pruned:
            self._obey()
            self.asked = time.monotonic() + SECONDS_OF_A_ROUND - SECONDS_BETWEEN_WISHES
            report = self.learner.advance()
            self.tally.add(report)
            self._log(report)
            due = self._due()
            if due:
                self._evaluate(due)
            self._tell()
            if due or time.monotonic() - self.saved >= self.between_checkpoints:
                self._save()
        return self._result()

    def _obey(self) -> None:
        wanted = self.wish()
        if wanted == PAUSE:
            self._save()
            raise TrainingPaused(f"paused after {self.steps_done} steps")
        if wanted == STOP:
            raise TrainingStopped(f"stopped after {self.steps_done} steps")

    def _pulse(self) -> None:
        """Within a round: obey if it takes long. What it has learned is lost, the checkpoint is from before it."""
        now = time.monotonic()
        if now - self.asked < SECONDS_BETWEEN_WISHES:
            return
        self.asked = now
        wanted = self.wish()
        if wanted == PAUSE:
            raise TrainingPaused(f"paused within a round after {self.steps_done} steps")
        if wanted == STOP:
            raise TrainingStopped(f"stopped within a round after {self.steps_done} steps")

    def _due(self) -> int:
        """How many evaluations are due by now and not yet made."""
        return sum(mark <= self.steps_done for mark in self.marks) - len(self.scores)

    def _evaluate(self, n_due: int) -> None:
        """Backtest the weights as they are on the validation rows; counts as often as evaluations were due."""
        assert self.learner is not None
        policy = self.learner.policy()
        result = self._backtest(policy)
        value = score(result, self.lesson.settings.training.min_trades)
        if self.best is None or value > self.best[0]:
            self.best, self.validation = (value, policy), result
        for _ in range(n_due):
            self.scores.append(value)
            if self.judge(len(self.scores) - 1, value):
                self.pruned = True
                break
        self.log.write(self.steps_done, {"score": value})

    def _backtest(self, policy: ServedPolicy) -> BacktestResult:
        lesson = self.lesson
        return run_backtest(
            policy, lesson.dataset.market, lesson.dataset.time, lesson.validation.first, lesson.validation.last,
            reward=lesson.settings.reward, start_cash=lesson.start_cash,
        )  # fmt: skip

    def _log(self, report: LearnerReport) -> None:
        before, self.points_at = self.points_at, report.steps_done * POINTS_IN_LOG // self.lesson.n_steps
        self.points.add(report)
        if self.points_at > before:  # at the same steps, whether or not it was interrupted
            self.log.write(report.steps_done, self.points.take().scalars())

    def _tell(self, *, force: bool = False) -> None:
        now = time.monotonic()
        if not force and now - self.reported < SECONDS_BETWEEN_REPORTS and self.steps_done < self.lesson.n_steps:
            return
        self.reported = now
        rate = (self.steps_done - self.first_step) / max(now - self.started, 1e-9)
        means = self.tally.take()
        self.report(
            Progress(
                steps_done=min(self.steps_done, self.lesson.n_steps), steps_total=self.lesson.n_steps,
                steps_per_second=rate, losses=means.losses, reward_components=means.reward_components,
                actions=means.actions, episode_return=means.episode_return, note=self.note,
            )
        )  # fmt: skip
        self.note = ""

    def _save(self) -> None:
        if self.path is None or self.learner is None:
            return
        began = time.monotonic()
        arrays = state.under("learner", self.learner.snapshot())
        if self.best is not None:
            arrays["best"] = np.frombuffer(self.best[1].to_bytes(), dtype=np.uint8)
        about = {
            "scores": self.scores, "pruned": self.pruned, "best_score": self.best[0] if self.best else None,
            "steps_done": self.steps_done,
        }  # fmt: skip
        try:
            checkpoints.write(self.path, Checkpoint(arrays, about), self.fingerprint)
        except OSError as error:  # what is being learned is worth more
            if not self.unsaved:
                self._note(f"No checkpoint can be written: {error}")
            self.unsaved = True
        else:
            self.unsaved = False
        self.saved = time.monotonic()
        took = self.saved - began
        self.between_checkpoints = max(SECONDS_BETWEEN_CHECKPOINTS, took / MOST_TIME_FOR_CHECKPOINTS)

    def _result(self) -> LessonResult:
        assert self.learner is not None
        if self.best is None:
            raise TrainingDiverged("the learning ended before its first evaluation; raise training.n_steps")
        value, policy = self.best
        return LessonResult(
            score=value,
            policy=policy,
            validation=self.validation or self._backtest(policy),
            evaluations=self.scores,
            steps_done=self.steps_done,
            pruned=self.pruned,
            weights_sha256=self.learner.policy().weights_sha256(),
        )

    def close(self) -> None:
        """Release the learner and write what is left of the log."""
        self.log.close()
        if self.learner is not None:
            self.learner.close()
            self.learner = None
