"""A learning that takes no time: scores are a function of parameters and seed, so that studies can be tested alone."""

import json
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from agents.runs.learning import Lesson, LessonResult, Progress, TrainingPaused, TrainingStopped
from agents.tests import worlds


def scores_of(lesson: Lesson) -> list[float]:
    """Best at a learning rate of 0.0005; every seed has luck of its own, every fold its own level."""
    luck = np.random.default_rng(lesson.seed).normal(0.0, 0.2, lesson.settings.training.n_evaluations)
    level = -(np.log(lesson.parameters["learning_rate"] / 5e-4) ** 2) + 0.001 * lesson.training.last
    return [float(level + value) for value in luck]


def quick_learn(
    lesson: Lesson,
    *,
    on_progress: Callable[[Progress], None],
    judge: Callable[[int, float], bool],
    wish: Callable[[], str],
    checkpoint: Path | None,
    logs: Path | None,
) -> LessonResult:
    """Stands in for learning.learn; one checkpoint per evaluation, the wish asked before each."""
    scores = scores_of(lesson)
    n, pruned = len(scores), False
    done = json.loads(checkpoint.read_text())["done"] if checkpoint and checkpoint.exists() else 0
    on_progress(Progress(steps_done=lesson.n_steps * done // n, steps_total=lesson.n_steps, steps_per_second=0.0))
    for number in range(done, n):
        wanted = wish()
        if wanted != "go":
            raise TrainingPaused("paused") if wanted == "pause" else TrainingStopped("stopped")
        pruned = judge(number, scores[number])
        steps = lesson.n_steps * (number + 1) // n
        on_progress(Progress(steps_done=steps, steps_total=lesson.n_steps, steps_per_second=1000.0))
        if checkpoint is not None:
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.write_text(json.dumps({"done": number + 1}))
        done = number + 1
        if pruned:
            break
    best = max(scores[:done])
    policy = worlds.policy(lesson.settings.algorithm, lesson.seed, lesson.settings.features.names)
    metrics: dict[str, Any] = {"sharpe_ratio": best, "max_drawdown": 0.1, "turnover": 5.0, "n_trades": 4.0}
    return LessonResult(
        score=best, policy=policy, validation=SimpleNamespace(metrics=metrics),  # type: ignore[arg-type]
        evaluations=scores[:done], steps_done=lesson.n_steps * done // n, pruned=pruned,
        weights_sha256=policy.weights_sha256(),
    )  # fmt: skip
