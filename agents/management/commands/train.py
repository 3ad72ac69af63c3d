"""`manage.py train AGENT…`: train agents one after the other; the desk carries it out."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from agents.models import Agent, TrainingRun
from agents.runs import control
from agents.runs.new_run import RunWish
from agents.training_pages.training_settings import BACKENDS, TEST_TRIALS
from core.commands import DeskCommand
from core.operators import terminal_actor


class Command(DeskCommand):
    help = "Queue trainings of agents in the order they are named; they begin when the desk runs (`make up`)."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("agents", nargs="+", metavar="AGENT", help="Names of agents, or `all`.")
        parser.add_argument("--plan", default="", metavar="NAME", help="What the list is called on the pages.")
        parser.add_argument("--minutes", type=int, help="For all of them together; what has not begun is left out.")
        parser.add_argument("--minutes-each", type=int, help="For each; the best by then is published.")
        parser.add_argument(
            "--trials", type=int, default=0, help="Instead of the number in the settings; at most 2 in a test."
        )
        parser.add_argument("--workers", type=int, default=0, help="Processes per training; chosen when left out.")
        parser.add_argument("--backend", choices=BACKENDS, help="Instead of the one in the settings.")
        parser.add_argument("--seed", type=int, default=1, help="Equal seeds give equal weights.")
        parser.add_argument("--test", action="store_true", help="Seconds instead of minutes, to see that all fits.")

    def handle(self, *args: Any, **options: Any) -> None:
        agents = _agents(options["agents"])
        mode = TrainingRun.Mode.TEST if options["test"] else TrainingRun.Mode.FULL
        wish = RunWish(
            seed=options["seed"], mode=mode, backend=options["backend"], n_workers=options["workers"],
            n_trials=options["trials"], max_minutes=options["minutes_each"],
        )  # fmt: skip
        try:
            plan = control.start_plan(
                agents, actor=terminal_actor(), name=options["plan"], max_minutes=options["minutes"], run=wish
            )
        except ValueError as error:
            raise CommandError(str(error)) from error
        if options["test"] and options["trials"] > TEST_TRIALS:
            self.stdout.write(f"A test has {TEST_TRIALS} trials at most, not {options['trials']}.")
        for run in plan.runs.order_by("position", "id"):
            state = "waits" if run.queued else "begins"
            self.stdout.write(f"Run {run.pk}: {run.agent.name} {state}")


def _agents(names: list[str]) -> list[Agent]:
    known = {agent.name: agent for agent in Agent.objects.order_by("id")}
    if names == ["all"]:
        names = list(known)
    unknown = [name for name in names if name not in known]
    if unknown or not names:
        there = ", ".join(known) or "none yet, see `manage.py add_agent --help`"
        raise CommandError(f"there is no agent {', '.join(unknown) or 'at all'}; there are: {there}")
    return [known[name] for name in names]
