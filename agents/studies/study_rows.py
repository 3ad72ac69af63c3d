"""A study's trials as rows that workers share, and as an Optuna study in PostgreSQL.

The rows are the truth while a trial is under way: who has it, which parts are done, what it has reported. When the
trials up to some number have all ended they are written to Optuna's study in order, so that both count alike. Every
worker can do that, since drawing and judging a trial again gives the same (studies/study.py).
"""

import logging
import os
import socket
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Any

import optuna
import psutil
from django.db import transaction
from django.utils import timezone
from optuna.trial import FrozenTrial, TrialState

from agents.configuration import AgentSettings, space_of
from agents.models import TrainingRun, Trial
from agents.studies import tuning
from agents.studies.study import AIMS, Drawn, StudyPlan, part_score, seed_for
from agents.training_pages.training_settings import NSGA2

logger = logging.getLogger(__name__)

# A worker on another host that has been silent for so long is gone; on this host we look for its process.
SILENT_AFTER = timedelta(seconds=120)
ENDED = (Trial.State.DONE, Trial.State.PRUNED, Trial.State.FAILED)
STATES = {
    Trial.State.DONE: TrialState.COMPLETE,
    Trial.State.PRUNED: TrialState.PRUNED,
    Trial.State.FAILED: TrialState.FAIL,
}
# The backtest metric behind each aim; the first is the score, which never having traded does not flatter.
METRIC_OF_AIM = dict(zip(AIMS, ("sharpe_ratio", "max_drawdown", "turnover"), strict=True))


@dataclass(frozen=True)
class Claim:
    """A trial that is now this worker's."""

    row: Trial
    drawn: Drawn
    pruned: bool  # what it has reported before was already enough to end it


def plan_of(run: TrainingRun, settings: AgentSettings) -> StudyPlan:
    """The run's study. Raises: ValueError if a range of the search makes no sense."""
    training = settings.training
    return StudyPlan(
        seed=run.seed,
        n_trials=training.n_trials,
        n_resources=training.n_parts * training.n_evaluations,
        space=space_of(settings),
        sampler=training.sampler,
        pruner=training.pruner,
    )


def this_worker() -> str:
    """Host and process, as trials name who carries them out."""
    return f"{socket.gethostname()}:{os.getpid()}"


class StudyRows:
    """The trials of one run."""

    def __init__(self, run: TrainingRun, settings: AgentSettings, storage: optuna.storages.BaseStorage) -> None:
        self.run, self.settings, self.plan = run, settings, plan_of(run, settings)
        self.study = tuning.open_study(storage, run.study_name, self.plan.directions)
        self._settled: list[FrozenTrial] = self.study.get_trials(deepcopy=False)

    @transaction.atomic
    def claim(self, worker: str, *, new: bool = True) -> Claim | None:
        """A trial to carry out: one that lost its worker, else a new one. None: none can begin now.

        new: whether a new one may begin.
        """
        TrainingRun.objects.select_for_update().only("pk").get(pk=self.run.pk)  # one worker claims at a time
        rows = list(self.run.trials.order_by("number"))
        self._record(rows)
        running = [row for row in rows if row.state == Trial.State.RUNNING]
        # Whoever asks for work has none: a trial in its own name is left over from an error.
        lost = next((row for row in running if row.worker == worker or is_lost(row)), None)
        if lost is not None:
            return self._take(lost, worker)
        number = len(rows)
        if not new or number >= self.plan.n_trials or len(self._settled) < self.plan.n_settled(number):
            return None
        row = Trial(run=self.run, number=number, seed=seed_for(self.run.seed, number))
        return self._take(row, worker)

    def _take(self, row: Trial, worker: str) -> Claim:
        drawn = self._draw(row.number)
        if row.pk is None:
            row.parameters, row.started_at = drawn.parameters, timezone.now()
        row.worker, row.heartbeat_at = worker, timezone.now()
        row.save()
        return Claim(row, drawn, replay(drawn, row, self.settings.training.n_evaluations))

    def _draw(self, number: int) -> Drawn:
        return Drawn(self.plan, number, self._settled[: self.plan.n_settled(number)])

    def record(self) -> int:
        """Write what has ended to Optuna's study. Returns: how many trials it holds."""
        with transaction.atomic():
            TrainingRun.objects.select_for_update().only("pk").get(pk=self.run.pk)
            self._record(list(self.run.trials.order_by("number")))
        return len(self._settled)

    def _record(self, rows: Sequence[Trial]) -> None:
        stored = self.study.get_trials(deepcopy=False)  # other workers write too
        self._settled = stored
        for row in rows[len(stored) :]:
            if row.state not in ENDED:
                return
            drawn = self._draw(row.number)
            replay(drawn, row, self.settings.training.n_evaluations)
            values = self._values(row) if row.state == Trial.State.DONE else None
            self.study.add_trial(drawn.ended(STATES[Trial.State(row.state)], values, {"seed": row.seed}))
            self._settled = self.study.get_trials(deepcopy=False)

    def _values(self, row: Trial) -> list[float]:
        assert row.value is not None
        return aims_of(row) if self.plan.sampler == NSGA2 else [row.value]

    def n_ended(self) -> int:
        """Trials that have ended."""
        return self.run.trials.filter(state__in=ENDED).count()


def replay(drawn: Drawn, row: Trial, n_evaluations: int) -> bool:
    """Report again what the trial has reported. Returns: whether that ended it."""
    reports = running_values(all_evaluations(row), n_evaluations)
    return any(drawn.report(step, value) for step, value in reports)


def all_evaluations(row: Trial) -> list[list[float]]:
    """Scores of every evaluation so far, one list per part, the part under way last."""
    under_way = row.metrics.get("under_way", [])
    return [part["evaluations"] for part in row.parts] + ([under_way] if under_way else [])


def running_values(parts: Sequence[Sequence[float]], n_evaluations: int) -> list[tuple[int, float]]:
    """What a trial reports: evaluations so far, and the median over its parts, the last as far as it has come."""
    found, scores = [], list[float]()
    for number, evaluations in enumerate(parts):
        for count in range(1, len(evaluations) + 1):
            value = median([*scores, part_score(evaluations[:count])])
            found.append((number * n_evaluations + count, value))
        scores.append(part_score(evaluations))
    return found


def is_lost(row: Trial, now: datetime | None = None) -> bool:
    """Whether nobody carries out a running trial any more."""
    if not row.worker or row.heartbeat_at is None:
        return True
    now = now or timezone.now()
    host, _, pid = row.worker.rpartition(":")
    if host != socket.gethostname():
        return now - row.heartbeat_at > SILENT_AFTER
    try:
        # A process that began after the last heartbeat only happens to have the same number.
        return psutil.Process(int(pid)).create_time() > row.heartbeat_at.timestamp() or not _alive(int(pid))
    except (psutil.Error, ValueError):
        return True


def _alive(pid: int) -> bool:
    return psutil.Process(pid).status() != psutil.STATUS_ZOMBIE


def medians(parts: Sequence[dict[str, Any]]) -> tuple[float, dict[str, float]]:
    """A trial's objective and its aims: medians over its parts. A metric that is not defined counts as 0."""
    aims = {
        aim: median([float(part["metrics"].get(name) or 0.0) for part in parts]) for aim, name in METRIC_OF_AIM.items()
    }
    return median([part["score"] for part in parts]), aims


def aims_of(row: Trial) -> list[float]:
    """What a study of several aims compares: the score, drawdown and turnover of a trial that is done."""
    assert row.value is not None
    return [row.value, *(float(row.objectives[name]) for name in list(AIMS)[1:])]
