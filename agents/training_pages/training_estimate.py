"""How long a training will take, from how long earlier ones took."""

from __future__ import annotations

import os
from dataclasses import dataclass
from statistics import median

from agents.models import Agent, TrainingRun
from agents.training_pages.training_defaults import training_value
from core.models import JobRow

N_PAST = 5  # runs that are looked at, the newest


@dataclass(frozen=True, kw_only=True)
class Wish:
    """What decides how long a training takes."""

    agent: Agent
    algorithm: str
    backend: str
    test: bool
    n_trials: int
    n_folds: int
    n_seeds: int
    n_workers: int  # 0: as many as fit
    max_minutes: int | None = None


def estimate_seconds(wish: Wish) -> float | None:
    """Seconds, from the newest finished runs of the same algorithm and backend; None if there were none.

    The agent's own runs count first. A test takes as long as tests took; a full run takes what the work of its trials,
    folds and seeds took per unit of work, with the workers it is given. A time limit ends it earlier.
    """
    past = _past(wish)
    if not past:
        return None
    if wish.test:
        return median(_seconds(run) for run in past)
    configuration = wish.agent.configurations.order_by("-version").first()
    steps = training_value(configuration.data if configuration else {}, "n_steps")
    work = wish.n_trials * wish.n_folds * wish.n_seeds * steps / _workers(wish.n_workers)
    seconds = work * median(_seconds(run) / _work(run) for run in past)
    return min(seconds, wish.max_minutes * 60.0) if wish.max_minutes else seconds


def _past(wish: Wish) -> list[TrainingRun]:
    mode = TrainingRun.Mode.TEST if wish.test else TrainingRun.Mode.FULL
    ended = TrainingRun.objects.filter(
        state=JobRow.State.FINISHED, mode=mode, backend=wish.backend, keep_best=False, max_minutes=None,
        agent__algorithm=wish.algorithm,
    ).select_related("configuration").order_by("-id")  # fmt: skip
    own = [run for run in ended.filter(agent=wish.agent)[:N_PAST] if _seconds(run)]
    return own or [run for run in ended[:N_PAST] if _seconds(run)]


def _seconds(run: TrainingRun) -> float:
    if run.worked_seconds:
        return run.worked_seconds
    if run.started_at is None or run.finished_at is None:
        return 0.0
    return (run.finished_at - run.started_at).total_seconds()


def _work(run: TrainingRun) -> float:
    """Steps of a run by its settings, divided among its workers."""
    data = run.configuration.data
    parts = training_value(data, "n_folds") * training_value(data, "n_seeds")
    n_trials = run.n_trials or training_value(data, "n_trials")
    return max(n_trials * parts * training_value(data, "n_steps"), 1) / _workers(run.n_workers)


def _workers(n: int) -> int:
    """Workers that can help: more than there are cores bring nothing."""
    cores = os.cpu_count() or 1
    return min(n or cores, cores)
