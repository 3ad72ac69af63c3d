"""What operators do to agents and trainings. Each is a row, a journal line and a notice; the process obeys the row."""

from django.db import transaction

from agents.models import Agent, TrainingRun
from core import jobs
from core.journal import record
from core.ledger import cancel_order
from core.models import JobRow, Order
from marketdata.models import Subscription


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
    _wish(agent, JobRow.Desired.STOPPED, "agent.stopped", f"{agent.name} stopped", actor)
    _cancel_open_orders(agent, actor)


def _cancel_open_orders(agent: Agent, actor: str) -> None:
    for order in Order.objects.filter(book_id=agent.book_id, status__in=Order.OPEN).select_related("instrument"):
        cancel_order(order, code="AGENT_STOPPED", reason="the agent was stopped", actor=actor)


@transaction.atomic
def start_training(agent: Agent, *, actor: str, seed: int = 1) -> TrainingRun:
    """Queue one training of the agent's newest configuration.

    Raises: ValueError if one is already running for this agent.
    """
    Agent.objects.select_for_update().get(pk=agent.pk)
    wanted = TrainingRun.objects.filter(agent=agent, desired_state=JobRow.Desired.RUNNING)
    busy = wanted.exclude(state__in=[JobRow.State.FINISHED, JobRow.State.FAILED]).first()
    if busy:
        raise ValueError(f"{agent.name} is already being trained (run {busy.pk}); stop that run or wait for its end")
    run = TrainingRun.objects.create(agent=agent, configuration=agent.configuration, seed=seed, created_by=actor)
    record("training.started", f"Training of {agent.name} started", actor=actor, subject=f"training:{run.pk}")
    jobs.request("training", run.pk, JobRow.Desired.RUNNING)
    return run


@transaction.atomic
def cancel_training(run: TrainingRun, *, actor: str) -> None:
    """Stop a training; its finished trials stay in the history, no model comes of it."""
    jobs.request("training", run.pk, JobRow.Desired.STOPPED)
    record("training.stopped", f"Training of {run.agent.name} stopped", actor=actor, subject=f"training:{run.pk}")


def _wish(agent: Agent, desired: str, kind: str, message: str, actor: str) -> None:
    before = Agent.objects.values_list("desired_state", flat=True).get(pk=agent.pk)
    jobs.request("agent", agent.pk, desired)
    record(kind, message, actor=actor, subject=f"agent:{agent.pk}", data={"before": before, "after": desired})
