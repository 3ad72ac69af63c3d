"""`manage.py training pause|resume|stop|keep-best RUN_ID`: what the Training page's buttons do, from a terminal.

`manage.py training clean` removes files that ended trainings have left on this machine, as the desk does every day.
"""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from agents.models import TrainingRun
from agents.runs import control, run_files
from core.commands import DeskCommand
from core.operators import terminal_actor

N_NAMED = 5  # runs that a wrong number is answered with
# The function in runs/control.py, and what is said when it was done.
ACTIONS = {
    "pause": (control.pause_training, "pauses; everything under way is kept"),
    "resume": (control.resume_training, "goes on where it was"),
    "stop": (control.cancel_training, "is ended for good; no model version comes of it"),
    "keep-best": (control.stop_and_keep_best, "ends; the best so far becomes a model version"),
}
CLEAN = "clean"


class Command(DeskCommand):
    help = "Pause, resume or stop a training run, end it and keep the best so far, or remove what ended ones left."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = [*ACTIONS, CLEAN]
        parser.add_argument("action", choices=actions, help="What to do; stop keeps nothing, keep-best does.")
        parser.add_argument(
            "id", type=int, nargs="?", metavar="RUN_ID", help="Number of the run, as the Training page shows it."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["action"] == CLEAN:
            self.stdout.write(f"{run_files.remove_old(actor=terminal_actor())}.")
            return
        if options["id"] is None:
            raise CommandError(f"{options['action']} needs the number of a run; {_newest()}")
        run = TrainingRun.objects.select_related("agent").filter(pk=options["id"]).first()
        if run is None:
            raise CommandError(f"there is no training run {options['id']}; {_newest()}")
        carry_out, said = ACTIONS[options["action"]]
        try:
            carry_out(run, actor=terminal_actor())
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Run {run.pk} of {run.agent.name} {said}")


def _newest() -> str:
    rows = TrainingRun.objects.select_related("agent").order_by("-pk")[:N_NAMED]
    named = ", ".join(f"{run.pk} ({run.agent.name})" for run in rows)
    return f"the newest are {named}" if named else "none has been started yet, see `manage.py train --help`"
