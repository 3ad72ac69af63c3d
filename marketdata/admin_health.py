"""Admin pages of data health: what was found wrong with stored bars, and when somebody last looked."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminTextInputWidget

from core.admin_ask import ask, go_to
from core.admin_display import HistoryAdmin
from core.admin_journal import actor_of
from marketdata import data_health, intervals
from marketdata.models import DataFault, HealthCheck, TickState


class ClearForm(BaseDialogForm):
    """Why a fault may be accepted."""

    reason = forms.CharField(
        max_length=240,
        widget=UnfoldAdminTextInputWidget,
        error_messages={"required": "Say why the data can be trusted, in a few words: it goes into the journal."},
    )


@admin.register(DataFault)
class DataFaultAdmin(HistoryAdmin):
    """Faults of stored bars. Checks find and close them; a person may accept one, with a reason."""

    list_display = ("instrument", "shown_interval", "kind", "shown_severity", "n", "detail", "found_at", "cleared_at")
    list_filter = ("severity", "kind", ("cleared_at", admin.EmptyFieldListFilter), "instrument")
    search_fields = ("instrument__symbol", "detail", "clear_reason")
    list_select_related = ("instrument",)
    ordering = ("-found_at",)
    date_hierarchy = "found_at"
    actions_detail = ("clear",)

    @display(description="bars", ordering="interval_seconds")
    def shown_interval(self, row: DataFault) -> str:
        """Such as 1m."""
        return intervals.words(row.interval_seconds)

    @display(
        description="severity",
        ordering="severity",
        label={"blocks trading": "danger", "warning": "warning", "note": "info", "cleared": "success"},
    )
    def shown_severity(self, row: DataFault) -> str:
        """One or two words, coloured."""
        return "cleared" if row.cleared_at else row.get_severity_display()

    def has_clear_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may change faults may clear them, though nobody edits their rows."""
        return request.user.has_perm("marketdata.change_datafault")

    @action(
        description="Clear…", permissions=["clear"], icon="task_alt", url_path="clear",
        variant=ActionVariant.PRIMARY,
        dialog=ask(
            "Clear this fault",
            "You accept these places as they are. Agents may trade on the series again if nothing else blocks it.",
            "Clear fault",
            ClearForm,
        ),
    )  # fmt: skip
    def clear(self, request: HttpRequest, form: ClearForm, object_id: str) -> HttpResponse:
        """Accept one fault."""
        fault = get_object_or_404(DataFault, pk=object_id)
        try:
            data_health.clear(fault, actor=actor_of(request), reason=form.cleaned_data["reason"])
            messages.success(request, f"Fault of {fault.instrument} cleared.")
        except ValueError as error:
            messages.error(request, f"Nothing was changed: {error}.")
        return go_to(request, reverse("admin:marketdata_datafault_change", args=[fault.pk]))


@admin.register(HealthCheck)
class HealthCheckAdmin(HistoryAdmin):
    """When each series was last looked at, and what was there."""

    list_display = ("instrument", "shown_interval", "checked_at", "n_bars", "first_time", "last_time")
    list_filter = ("interval_seconds", "instrument")
    search_fields = ("instrument__symbol",)
    list_select_related = ("instrument",)

    @display(description="bars", ordering="interval_seconds")
    def shown_interval(self, row: HealthCheck) -> str:
        """Such as 1m."""
        return intervals.words(row.interval_seconds)


@admin.register(TickState)
class TickStateAdmin(HistoryAdmin):
    """Where each instrument's ticks stand, and how many rows were refused for which reason."""

    list_display = ("instrument", "n_ticks", "n_late", "n_repeated", "bad", "last_time", "updated_at")
    list_select_related = ("instrument",)
    search_fields = ("instrument__symbol",)
