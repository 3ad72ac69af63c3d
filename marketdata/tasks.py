"""Short tasks of the market data room for the django-q2 cluster, and when they run."""

from datetime import timedelta

from django.utils import timezone
from django_q.models import Schedule

from marketdata import data_health
from marketdata.news.refresh import refresh
from marketdata.ticks import retention

# Name, task, minutes from one to the next, minutes until the first.
SCHEDULES = (
    ("data health", "marketdata.tasks.check_data_health", 60, 1),
    ("old ticks", "marketdata.tasks.drop_old_ticks", 24 * 60, 10),
    ("news", "marketdata.tasks.look_for_news", 15, 2),
)


def check_data_health() -> int:
    """Look at every stored series that is due. Returns: series looked at."""
    return data_health.check_all()


def drop_old_ticks() -> int:
    """Drop the ticks that the settings no longer keep. Returns: chunks dropped."""
    return retention.drop_old(timezone.now()).n_dropped


def look_for_news() -> int:
    """Ask feeds and sources for news and score it. Returns: new headlines."""
    return refresh().n_new


def schedule() -> None:
    """Have the cluster do all of this in its turn; times that an operator has changed are kept."""
    for name, func, minutes, first in SCHEDULES:
        Schedule.objects.get_or_create(
            name=name,
            defaults={
                "func": func,
                "schedule_type": Schedule.MINUTES,
                "minutes": minutes,
                "next_run": timezone.now() + timedelta(minutes=first),
            },
        )
