"""Plans: a list of agents trained one after the other, with limits on time."""

from collections.abc import Sequence
from dataclasses import dataclass

from django.db import transaction

from agents.models import Agent, TrainingPlan, TrainingRun
from agents.runs import queue
from agents.runs.new_run import MINUTES_WANTED, RunWish, minutes_make_sense, new_run
from core.journal import record
from core.notices import notify


@dataclass(frozen=True, kw_only=True)
class PlanWish:
    """What an operator asks for."""

    name: str
    run: RunWish  # how each of them is trained
    max_minutes: int | None = None  # for all of them together; what has not begun by then is left out


@transaction.atomic
def start_plan(agents: Sequence[Agent], wish: PlanWish, *, actor: str) -> TrainingPlan:
    """Queue a training of each agent, in this order. Raises: ValueError for no agents or one named twice."""
    if not agents:
        raise ValueError("a plan needs at least one agent")
    names = [agent.name for agent in agents]
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"{', '.join(twice)} is named twice; a plan trains each agent once")
    if not minutes_make_sense(wish.max_minutes):
        raise ValueError(f"max_minutes: got {wish.max_minutes}, expected {MINUTES_WANTED}")
    plan = TrainingPlan.objects.create(name=wish.name[:80], max_minutes=wish.max_minutes, created_by=actor[:80])
    for agent in agents:
        run = new_run(agent, wish.run, actor=actor)
        TrainingRun.objects.filter(pk=run.pk).update(plan=plan)
        queue.append(run)
    record("training.planned", f"{plan.name}: {', '.join(names)} will be trained in this order", actor=actor,
        subject=f"plan:{plan.pk}")  # fmt: skip
    notify("training", plan=plan.pk)
    queue.advance()
    return plan
