"""The last step of a run: learn the best parameters several times and publish the one in the middle, not the best."""

import json
import logging
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from agents import registry
from agents.assignment import Assignment, final_part
from agents.models import Trial
from agents.policies.policy import PolicyFileError, ServedPolicy
from agents.runs import learning
from agents.runs.learning import Progress, TrainingDiverged
from agents.runs.run_log import PartLog
from agents.studies.study import middle, seed_for
from agents.studies.study_worker import Wish, obey, trial_file
from agents.training_pages.training_words import part_words
from core.files import write_file

logger = logging.getLogger(__name__)

# Apart from the trials' numbers, so that no final learning repeats a trial's random numbers.
FINAL = 1_000_003


@dataclass(frozen=True)
class Learned:
    """Weights that could be published."""

    seed: int  # of the random numbers
    score: float  # of the weights on the validation period
    policy: ServedPolicy
    how: dict[str, Any]  # for the version's provenance


@dataclass(frozen=True)
class _Outcome:
    """One final learning as its file keeps it."""

    seed: int
    score: float
    evaluations: list[float]
    weights_sha256: str
    problem: str = ""


class FinalLearnings:
    """The final learnings of a run with its best trial's parameters."""

    def __init__(
        self, assignment: Assignment, run_seed: int, best: Trial, wish: Wish,
        note: Callable[[str, str], None] = lambda part, words: None,
    ) -> None:  # fmt: skip
        """note: told the part and what a person should know of its learning."""
        self.assignment, self.run_seed, self.best, self.wish, self.note = assignment, run_seed, best, wish, note

    def learn(self, n: int, looked: Callable[[int, int], None], in_time: Callable[[], bool] = lambda: True) -> None:
        """Learn what is missing of the first n. looked(number, steps) is told where they stand.

        in_time: whether there is time for more than one. Raises: TrainingPaused, TrainingStopped.
        """
        for number in range(n):
            obey(self.wish())
            if not in_time() and self.chosen(number) is not None:
                return
            if self._outcome(number) is None:
                self._learn(number, looked)

    def _learn(self, number: int, looked: Callable[[int, int], None]) -> None:
        part, seed = final_part(number), seed_for(self.run_seed, FINAL, number)
        lesson = self.assignment.lesson(self.best.parameters, len(self.assignment.folds) - 1, seed)
        log = PartLog(self.assignment.run_pk, part, lesson.n_steps)
        n_evaluations = lesson.settings.training.n_evaluations

        def report(progress: Progress) -> None:
            log.take(progress)
            if progress.note:
                self.note(part_words(part), progress.note)
            looked(number, progress.steps_done)

        def judge(count: int, score: float) -> bool:
            log.score(lesson.n_steps * (count + 1) // n_evaluations, score)
            return False

        checkpoint = self.assignment.checkpoint(part)
        try:
            result = learning.learn(
                lesson, on_progress=report, judge=judge, wish=self.wish,
                checkpoint=checkpoint, logs=self.assignment.logs(part),
            )  # fmt: skip
        except TrainingDiverged as error:
            logger.warning("run %s %s: %s", self.assignment.run_pk, part, error)
            self.note(part_words(part), f"It came to nothing: {error}")
            self._write(number, _Outcome(seed, 0.0, [], "", str(error)))
            return
        write_file(self._weights(number), result.policy.to_bytes())
        evaluations = [float(score) for score in result.evaluations]
        self._write(number, _Outcome(seed, float(result.score), evaluations, result.weights_sha256))
        checkpoint.unlink(missing_ok=True)

    def chosen(self, n: int) -> Learned | None:
        """The one with the median score of those among the first n that are done; None without any."""
        found = [(number, outcome) for number in range(n) if (outcome := self._outcome(number)) and not outcome.problem]
        if not found:
            return None
        number, outcome = found[middle([outcome.score for _, outcome in found])]
        how = {"final_scores": [other.score for _, other in found], "final_seed": number}
        return Learned(outcome.seed, outcome.score, ServedPolicy.from_bytes(self._weights(number).read_bytes()), how)

    def problems(self, n: int) -> list[str]:
        """Why final learnings among the first n came to nothing."""
        outcomes = (self._outcome(number) for number in range(n))
        return [outcome.problem for outcome in outcomes if outcome and outcome.problem]

    def of_the_trial(self) -> Learned | None:
        """What the best trial has learned itself on the last fold, the median of its repetitions; None if lost."""
        found = []
        for part in self.best.parts:
            path = trial_file(self.assignment.run_pk, self.best.number, part["seed"])
            if part["fold"] == len(self.assignment.folds) - 1 and path.exists():
                found.append((part, path))
        if not found:
            return None
        part, path = found[middle([part["best"] for part, _ in found])]
        try:
            policy = ServedPolicy.from_bytes(path.read_bytes())
        except (OSError, PolicyFileError) as error:
            logger.warning("the weights of %s are lost: %s", self.best, error)
            return None
        return Learned(seed_for(self.best.seed, part["seed"]), part["best"], policy, {"from_trial": self.best.number})

    def _outcome(self, number: int) -> _Outcome | None:
        try:
            outcome = _Outcome(**json.loads(self._note(number).read_text()))
        except (OSError, ValueError, TypeError):
            return None
        return outcome if outcome.problem or self._weights(number).exists() else None

    def _write(self, number: int, outcome: _Outcome) -> None:
        write_file(self._note(number), json.dumps(asdict(outcome)).encode())

    def _note(self, number: int) -> Path:
        return _folder() / f"run-{self.assignment.run_pk}-final-{number}.json"

    def _weights(self, number: int) -> Path:
        return _folder() / f"run-{self.assignment.run_pk}-final-{number}.safetensors"


def _folder() -> Path:
    return registry.models_dir() / "trials"
