"""The queue of trainings: which wait, in what order, and which may begin now."""

import logging
from datetime import timedelta

from django.conf import settings
from django.db import InterfaceError, OperationalError, transaction
from django.db.models import Max, Min, Q, QuerySet
from django.utils import timezone

from agents.models import TrainingPlan, TrainingRun
from agents.studies.machine import n_cores
from core import jobs
from core.journal import record
from core.models import JobRow
from core.notices import notify

logger = logging.getLogger(__name__)

CORES_PER_TRAINING = 2


def waiting() -> QuerySet[TrainingRun]:
    """Runs that wait for their turn, the next first."""
    return TrainingRun.objects.filter(
        queued=True, desired_state=JobRow.Desired.STOPPED, state=JobRow.State.STOPPED, finished_at=None
    ).order_by("position", "id")


def working() -> QuerySet[TrainingRun]:
    """Runs that take a place: at work or about to be. Paused ones do not."""
    ended = Q(state__in=[JobRow.State.FINISHED, JobRow.State.FAILED])
    return TrainingRun.objects.filter(desired_state=JobRow.Desired.RUNNING).exclude(ended)


def places() -> int:
    """How many trainings may be at work at once: the setting, or one for every two cores."""
    return settings.TRAININGS_AT_ONCE or max(n_cores() // CORES_PER_TRAINING, 1)


def append(run: TrainingRun) -> None:
    """Put a run that has not begun at the end."""
    last = waiting().aggregate(last=Max("position"))["last"]
    TrainingRun.objects.filter(pk=run.pk).update(queued=True, position=0 if last is None else last + 1)


@transaction.atomic
def move(run: TrainingRun, place: int) -> None:
    """Give a waiting run another place, 0 is the next. Raises: ValueError if it does not wait."""
    others = [other for other in waiting().select_for_update() if other.pk != run.pk]
    if not waiting().filter(pk=run.pk).exists():
        raise ValueError(f"{run} does not wait in the queue, so it cannot be moved")
    others.insert(max(place, 0), run)
    for position, other in enumerate(others):
        TrainingRun.objects.filter(pk=other.pk).update(position=position)
    notify("training", run=run.pk)


@transaction.atomic
def advance() -> list[TrainingRun]:
    """Begin as many waiting runs as there are places for. Returns: those that begin.

    A run waits on while its agent is being trained, while another run of its plan is at work, and before its time;
    those behind it may pass. What a plan has no time left for is taken out.
    """
    begun = []
    for run in waiting().select_for_update(of=("self",)).select_related("agent", "plan"):
        if run.plan is not None and is_over(run.plan):
            leave_out(run)
        elif working().count() < places() and _may_begin(run):
            TrainingRun.objects.filter(pk=run.pk).update(queued=False)
            record("training.started", f"Training of {run.agent.name} started", subject=f"training:{run.pk}")
            jobs.request("training", run.pk, JobRow.Desired.RUNNING)
            begun.append(run)
    return begun


def advance_quietly() -> None:
    """Advance at the end of a process that may have lost its database; the schedule does it soon in any case."""
    try:
        advance()
    except (OperationalError, InterfaceError) as error:
        logger.warning("the queue of trainings waits for its next look: %s", error)


def _may_begin(run: TrainingRun) -> bool:
    if run.not_before is not None and run.not_before > timezone.now():
        return False
    taken = Q(agent=run.agent)
    if run.plan_id is not None:
        taken |= Q(plan=run.plan_id)
    return not working().filter(taken).exists()


def is_over(plan: TrainingPlan) -> bool:
    """Whether a plan's time is over; it counts from the start of its first run."""
    began = plan.runs.aggregate(first=Min("started_at"))["first"]
    if plan.max_minutes is None or began is None:
        return False
    return timezone.now() >= began + timedelta(minutes=plan.max_minutes)


def leave_out(run: TrainingRun) -> None:
    """Take a run out for which its plan has no time left."""
    _take_out(run, "Left out, the plan's time is over")
    record("training.left_out", f"Training of {run.agent.name} was left out: the time of {run.plan} is over",
        subject=f"training:{run.pk}")  # fmt: skip


@transaction.atomic
def remove(run: TrainingRun) -> None:
    """Take a waiting run out. Raises: ValueError if it does not wait."""
    if not waiting().select_for_update().filter(pk=run.pk).exists():
        raise ValueError(f"{run} does not wait in the queue; stop it instead")
    _take_out(run, "Removed from the queue")


def end_canceled(run: TrainingRun) -> None:
    """Write that a run was ended for good by an operator."""
    values = {"phase": "Canceled", "finished_at": timezone.now(), "eta_seconds": None}
    TrainingRun.objects.filter(pk=run.pk).update(**values)


def _take_out(run: TrainingRun, phase: str) -> None:
    values = {"queued": False, "phase": phase, "finished_at": timezone.now()}
    TrainingRun.objects.filter(pk=run.pk).update(**values)
    notify("training", run=run.pk)
