"""The task queue in the admin's style: schedules can be edited, what ran is history."""

from typing import Any

from django.contrib import admin
from django.db import models, transaction
from django.http import HttpRequest
from django_q.admin import FailAdmin as DjangoQFailAdmin
from django_q.admin import QueueAdmin as DjangoQQueueAdmin
from django_q.admin import ScheduleAdmin as DjangoQScheduleAdmin
from django_q.admin import TaskAdmin as DjangoQTaskAdmin
from django_q.admin import resubmit_task
from django_q.models import Failure, OrmQ, Schedule, Success
from unfold.decorators import action

from core.admin_journal import JournalledAdmin, actor_of
from core.journal import record

for model in (Schedule, Success, Failure, OrmQ):
    admin.site.unregister(model)


class NotTyped(JournalledAdmin):
    """Rows the queue writes: they can be cleared away, never typed."""

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Tasks come from code and schedules."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """What ran stays as it ran."""
        return False


class Resubmitting(NotTyped):
    """Finished tasks, which can be run again."""

    actions = ("run_again",)

    @action(description="Run again", permissions=["delete"])
    def run_again(self, request: HttpRequest, queryset: models.QuerySet) -> None:
        """Put the chosen tasks back into the queue; the delete permission is asked since failures leave their list."""
        with transaction.atomic():
            names = list(queryset.values_list("name", flat=True))
            resubmit_task(self, request, queryset)
            record("task.resubmitted", f"Run again: {', '.join(names)}", actor=actor_of(request), data={"tasks": names})
        self.message_user(request, f"{len(names)} put back into the queue.")


@admin.register(Success)
class SuccessAdmin(Resubmitting, DjangoQTaskAdmin):
    """Tasks that went well."""


@admin.register(Failure)
class FailureAdmin(Resubmitting, DjangoQFailAdmin):
    """Tasks that failed, and why."""


@admin.register(OrmQ)
class QueueAdmin(NotTyped, DjangoQQueueAdmin):
    """Tasks waiting for a worker."""


@admin.register(Schedule)
class ScheduleAdmin(JournalledAdmin, DjangoQScheduleAdmin):
    """What runs by itself, and when."""
