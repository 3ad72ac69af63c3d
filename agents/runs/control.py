"""What operators do to agents and trainings. Each is a row, a journal line and a notice; the process obeys the row."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction

from agents.models import Agent, TrainingPlan, TrainingRun, Trial
from agents.runs import plans, queue
from agents.runs.new_run import RunWish, new_run
from agents.runs.run_files import forget_files
from core import jobs
from core.journal import record
from core.ledger import cancel_order
from core.models import JobRow, Order, Position
from core.notices import notify
from marketdata.models import Subscription

ENDED = (JobRow.State.FINISHED, JobRow.State.FAILED)


@transaction.atomic
def start(agent: Agent, *, actor: str) -> None:
    """Start a stopped agent at the next bar of its stream; bars it has missed stay missed."""
    agent = Agent.objects.select_for_update().get(pk=agent.pk)
    if agent.desired_state != JobRow.Desired.STOPPED:
        resume(agent, actor=actor)
        return
    # What an agent that failed has left open was decided for a bar that is long gone.
    _cancel_open_orders(agent, actor)
    if agent.stream_id is not None:
        subscription, _ = Subscription.objects.get_or_create(stream_id=agent.stream_id, subscriber=agent.name)
        subscription.active, subscription.acknowledged = True, None
        subscription.save()
        Agent.objects.filter(pk=agent.pk).update(last_bar_time=agent.stream.cursor if agent.stream else None)
    _wish(agent, JobRow.Desired.RUNNING, "agent.started", f"{agent.name} started", actor)


@transaction.atomic
def pause(agent: Agent, *, actor: str) -> None:
    """Let an agent watch but decide nothing new; its position stays and is valued."""
    if Agent.objects.values_list("desired_state", flat=True).get(pk=agent.pk) == JobRow.Desired.STOPPED:
        raise ValueError(f"{agent.name} is stopped, so there is nothing to pause; start it first")
    _wish(agent, JobRow.Desired.PAUSED, "agent.paused", f"{agent.name} paused", actor)


@transaction.atomic
def resume(agent: Agent, *, actor: str) -> None:
    """Let a paused agent decide again from the next bar on. Raises: ValueError if it is stopped."""
    if Agent.objects.values_list("desired_state", flat=True).get(pk=agent.pk) == JobRow.Desired.STOPPED:
        raise ValueError(f"{agent.name} is stopped, so there is nothing to continue; start it first")
    _wish(agent, JobRow.Desired.RUNNING, "agent.resumed", f"{agent.name} continues", actor)


@transaction.atomic
def stop(agent: Agent, *, actor: str) -> None:
    """Stop an agent; its open orders are canceled by its process, its position stays."""
    # Agent first, then its subscription: its process takes them in this order for every bar.
    agent = Agent.objects.select_for_update().get(pk=agent.pk)
    Subscription.objects.filter(stream=agent.stream, subscriber=agent.name).update(active=False)
    # Its process is what takes the book through the bars, levels and all.
    holds = Position.objects.filter(book_id=agent.book_id).exclude(quantity=0).exists()
    warning = "; its position stays open, and no stop or target closes it until it is started again" if holds else ""
    _wish(agent, JobRow.Desired.STOPPED, "agent.stopped", f"{agent.name} stopped{warning}", actor)
    _cancel_open_orders(agent, actor)


def _cancel_open_orders(agent: Agent, actor: str) -> None:
    for order in Order.objects.filter(book_id=agent.book_id, status__in=Order.OPEN).select_related("instrument"):
        cancel_order(order, code="AGENT_STOPPED", reason="the agent was stopped", actor=actor)


@transaction.atomic
def start_training(
    agent: Agent,
    *,
    actor: str,
    seed: int = 1,
    mode: str = TrainingRun.Mode.FULL,
    backend: str | None = None,
    n_workers: int = 0,
    n_trials: int = 0,
    queued: bool = False,
    not_before: datetime | None = None,
    max_minutes: int | None = None,
    reason: str = "",
    changes: dict[str, Any] | None = None,
) -> TrainingRun:
    """Train an agent by its newest settings: at once, or when its turn comes.

    queued: wait behind what is at work and what waits already; so does a run with not_before. changes: of the
    settings, kept as a new version of them; the others as in RunWish.
    Raises: ValueError naming what makes no sense, or if it is to begin at once and the agent is being trained already.
    """
    Agent.objects.select_for_update().get(pk=agent.pk)
    queued = queued or not_before is not None
    busy = (queue.working() | queue.waiting()).filter(agent=agent).order_by("id").first()
    if busy and not queued:
        state = "waits for its training" if busy.queued else "is already being trained"
        raise ValueError(f"{agent.name} {state} (run {busy.pk}); stop that run, wait for its end, or queue another")
    wish = RunWish(
        seed=seed, mode=mode, backend=backend, n_workers=n_workers, n_trials=n_trials, max_minutes=max_minutes,
        not_before=not_before, reason=reason, changes=changes or {},
    )  # fmt: skip
    run = new_run(agent, wish, actor=actor)
    subject = f"training:{run.pk}"
    if queued:
        queue.append(run)
        record("training.queued", f"Training of {agent.name} waits for its turn", actor=actor, subject=subject)
        notify("training", run=run.pk)
        queue.advance()
    else:
        record("training.started", f"Training of {agent.name} started", actor=actor, subject=subject)
        jobs.request("training", run.pk, JobRow.Desired.RUNNING)
    run.refresh_from_db()
    return run


def cancel_training(run: TrainingRun, *, actor: str) -> None:
    """End a training for good: its trials stay in the history, what it has learned is lost, no model comes of it.

    Raises: ValueError if it has ended already.
    """
    with transaction.atomic():
        if queue.waiting().filter(pk=run.pk).exists():
            remove_from_queue(run, actor=actor)
            return
        found = TrainingRun.objects.select_for_update().get(pk=run.pk)
        if found.desired_state == JobRow.Desired.STOPPED or found.state in ENDED:
            raise ValueError(f"{run} is {_state_of(found)}, so there is nothing to stop")
        _wish_of_run(run, JobRow.Desired.STOPPED, "training.stopped", "was canceled", actor)
        found.refresh_from_db()
        at_rest = found.state == JobRow.State.STOPPED  # no process has it that would end it
        if at_rest:
            queue.end_canceled(run)
    if at_rest:
        forget_files(run.pk)
    queue.advance()


def pause_training(run: TrainingRun, *, actor: str) -> None:
    """Let a training rest; what is under way is kept, and its place is free for another. Raises: ValueError."""
    with transaction.atomic():
        _must_be_wanted(run, JobRow.Desired.RUNNING, "pause")
        _wish_of_run(run, JobRow.Desired.PAUSED, "training.paused", "paused", actor)
    queue.advance()


@transaction.atomic
def resume_training(run: TrainingRun, *, actor: str) -> None:
    """Let a paused training go on where it was. Raises: ValueError if it is not paused."""
    _must_be_wanted(run, JobRow.Desired.PAUSED, "resume")
    _wish_of_run(run, JobRow.Desired.RUNNING, "training.resumed", "continues", actor)


@transaction.atomic
def stop_and_keep_best(run: TrainingRun, *, actor: str) -> None:
    """End a training now and publish the best of what it has. Raises: ValueError if no trial is done yet."""
    found = TrainingRun.objects.select_for_update().get(pk=run.pk)
    if found.desired_state == JobRow.Desired.STOPPED or found.state in ENDED:
        raise ValueError(f"{run} is not at work, so there is nothing to keep")
    if not found.trials.filter(state=Trial.State.DONE).exists():
        raise ValueError(f"{run} has no finished trial yet, so there is nothing to keep; wait for one, or stop the run")
    TrainingRun.objects.filter(pk=run.pk).update(keep_best=True)
    _wish_of_run(run, JobRow.Desired.RUNNING, "training.kept", "ends, the best so far is published", actor)


@transaction.atomic
def remove_from_queue(run: TrainingRun, *, actor: str) -> None:
    """Take a waiting training out of the queue. Raises: ValueError if it does not wait."""
    queue.remove(run)
    message = f"Training of {run.agent.name} was taken out of the queue"
    record("training.removed", message, actor=actor, subject=f"training:{run.pk}")


@transaction.atomic
def move_in_queue(run: TrainingRun, place: int, *, actor: str) -> None:
    """Give a waiting training another place, 0 is the next. Raises: ValueError if it does not wait."""
    queue.move(run, place)
    message = f"Training of {run.agent.name} was moved to place {place + 1} of the queue"
    record("training.moved", message, actor=actor, subject=f"training:{run.pk}")


def start_plan(
    agents: Sequence[Agent],
    *,
    actor: str,
    name: str = "",
    max_minutes: int | None = None,
    run: RunWish | None = None,
) -> TrainingPlan:
    """Train agents in this order, one at a time. max_minutes: for all of them; run: how each is trained.

    Raises: ValueError naming what makes no sense.
    """
    name = name or f"Training of {len(agents)} agents"
    wish = plans.PlanWish(name=name, run=run or RunWish(), max_minutes=max_minutes)
    return plans.start_plan(agents, wish, actor=actor)


def _must_be_wanted(run: TrainingRun, desired: str, verb: str) -> None:
    found = TrainingRun.objects.select_for_update().get(pk=run.pk)
    if found.desired_state != desired or found.state in ENDED:
        raise ValueError(f"{run} is {_state_of(found)}, so there is nothing to {verb}")


def _state_of(run: TrainingRun) -> str:
    """The state in words; the wish where the process has yet to follow it."""
    if run.state in ENDED:
        return str(run.get_state_display())
    if run.desired_state == JobRow.Desired.STOPPED:
        return "waiting in the queue" if run.queued else "stopped"
    return "paused" if run.desired_state == JobRow.Desired.PAUSED else "at work"


def _wish_of_run(run: TrainingRun, desired: str, kind: str, done: str, actor: str) -> None:
    jobs.request("training", run.pk, desired)
    record(kind, f"Training of {run.agent.name} {done}", actor=actor, subject=f"training:{run.pk}")


def _wish(agent: Agent, desired: str, kind: str, message: str, actor: str) -> None:
    before = Agent.objects.values_list("desired_state", flat=True).get(pk=agent.pk)
    jobs.request("agent", agent.pk, desired)
    record(kind, message, actor=actor, subject=f"agent:{agent.pk}", data={"before": before, "after": desired})
