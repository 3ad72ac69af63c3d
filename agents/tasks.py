"""Short tasks of the agents' room for the django-q2 cluster, and when they run."""

from datetime import timedelta

from django.utils import timezone
from django_q.models import Schedule

from agents.runs import queue, run_files


def advance_queue() -> int:
    """Begin trainings whose turn has come. Returns: how many begin."""
    return len(queue.advance())


def remove_old_files() -> int:
    """Remove what ended trainings have left behind. Returns: of how many."""
    return len(run_files.remove_old().runs)


def schedule() -> None:
    """Have the cluster look every minute; ends of trainings and operators' wishes move the queue at once.

    Once a day it tidies up after trainings.
    """
    Schedule.objects.get_or_create(
        name="queue of trainings",
        defaults={
            "func": "agents.tasks.advance_queue",
            "schedule_type": Schedule.MINUTES,
            "minutes": 1,
            "next_run": timezone.now() + timedelta(minutes=1),
        },
    )
    Schedule.objects.get_or_create(
        name="files of ended trainings",
        defaults={
            "func": "agents.tasks.remove_old_files",
            "schedule_type": Schedule.DAILY,
            "next_run": timezone.now() + timedelta(minutes=10),
        },
    )
