"""Admin pages for limits and the kill switch."""

from typing import Any

from django import forms
from django.contrib import admin, messages
from django.http import HttpRequest, HttpResponse
from django.urls import reverse
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminSelectWidget, UnfoldAdminTextInputWidget, UnfoldBooleanSwitchWidget

from core.admin_ask import ask, go_to
from core.admin_display import HistoryAdmin
from core.admin_journal import JournalledAdmin, actor_of
from core.models import Account
from risk import kill_switch
from risk.models import BookedAction, KillSwitchState, Limits


@admin.register(Limits)
class LimitsAdmin(JournalledAdmin):
    """What the gate allows. A change holds for the next order."""

    list_display = ("account", "max_position_weight", "max_gross_exposure", "max_bars_behind", "updated_at")
    list_select_related = ("account",)
    search_fields = ("account__name",)
    fields = ("account", "max_position_weight", "max_gross_exposure", "max_bars_behind", "updated_at")
    readonly_fields = ("updated_at",)

    def get_readonly_fields(self, request: HttpRequest, obj: Limits | None = None) -> Any:
        """Limits stay with their account."""
        return (*super().get_readonly_fields(request, obj), *(("account",) if obj else ()))

    def has_delete_permission(self, request: HttpRequest, obj: Limits | None = None) -> bool:
        """Never: an account without limits could not trade, and one that trades needs them."""
        return False


@admin.register(BookedAction)
class BookedActionAdmin(HistoryAdmin):
    """Splits and dividends as books have met them."""

    list_display = (
        "time",
        "book",
        "instrument",
        "kind",
        "value",
        "quantity_before",
        "quantity_after",
        "cash",
        "applied",
    )
    list_filter = ("kind", "applied", "instrument")
    search_fields = ("instrument__symbol", "book__name")
    list_select_related = ("book__account", "instrument")
    date_hierarchy = "time"


class RearmForm(BaseDialogForm):
    """Which account, and why."""

    account = forms.ModelChoiceField(Account.objects.all(), empty_label=None, widget=UnfoldAdminSelectWidget)
    reason = forms.CharField(
        max_length=240,
        widget=UnfoldAdminTextInputWidget,
        error_messages={"required": "Say why, in a few words: it goes into the journal."},
    )


class StopForm(RearmForm):
    """And whether to get out of every position."""

    close_positions = forms.BooleanField(
        required=False,
        widget=UnfoldBooleanSwitchWidget,
        help_text="Also close every position at the next bar's open.",
    )


@admin.register(KillSwitchState)
class KillSwitchStateAdmin(HistoryAdmin):
    """Every time trading was stopped or allowed again. The two buttons add to it; nothing else can."""

    list_display = (
        "created_at", "account", "shown_state", "reason", "actor", "close_positions", "shown_canceled", "shown_took",
    )  # fmt: skip
    list_filter = ("engaged", "account")
    search_fields = ("reason", "actor")
    list_select_related = ("account",)
    date_hierarchy = "created_at"
    actions_list = ("stop_trading", "allow_trading")

    def has_switch_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may add states may use the switch, though nobody types them."""
        return request.user.has_perm("risk.add_killswitchstate")

    @display(description="trading", ordering="engaged", label={"stopped": "danger", "allowed": "success"})
    def shown_state(self, row: KillSwitchState) -> str:
        """One word, coloured."""
        return "stopped" if row.engaged else "allowed"

    @display(description="orders canceled", ordering="n_canceled_orders")
    def shown_canceled(self, row: KillSwitchState) -> int:
        """A count."""
        return row.n_canceled_orders

    @display(description="took", ordering="took_ms")
    def shown_took(self, row: KillSwitchState) -> str:
        """Milliseconds."""
        return f"{row.took_ms:.0f} ms" if row.engaged else "-"

    @action(
        description="Stop all trading…",
        permissions=["switch"],
        icon="dangerous",
        variant=ActionVariant.DANGER,
        url_path="stop",
        dialog=ask(
            "Stop all trading",
            "Open orders are canceled at once and no new one is sent until somebody allows trading again.",
            "Stop all trading",
            StopForm,
        ),
    )
    def stop_trading(self, request: HttpRequest, form: StopForm) -> HttpResponse:
        """Engage the switch of one account."""
        values = form.cleaned_data
        state = kill_switch.engage(
            values["account"],
            reason=values["reason"],
            actor=actor_of(request),
            close_positions=values["close_positions"],
        )
        orders = f"{state.n_canceled_orders} open order{'' if state.n_canceled_orders == 1 else 's'} canceled"
        messages.warning(request, f"All trading of account {state.account} stopped: {orders}.")
        return _back(request)

    @action(
        description="Allow trading again…",
        permissions=["switch"],
        icon="play_circle",
        url_path="allow",
        dialog=ask(
            "Allow trading again",
            "Agents that were running continue with their next bar.",
            "Allow trading",
            RearmForm,
        ),
    )
    def allow_trading(self, request: HttpRequest, form: RearmForm) -> HttpResponse:
        """Re-arm the switch of one account."""
        account = form.cleaned_data["account"]
        try:
            kill_switch.rearm(account, reason=form.cleaned_data["reason"], actor=actor_of(request))
            messages.success(request, f"Account {account} may trade again.")
        except ValueError as error:
            messages.error(request, f"Nothing was changed: {error}.")
        return _back(request)


def _back(request: HttpRequest) -> HttpResponse:
    return go_to(request, reverse("admin:risk_killswitchstate_changelist"))
