"""Admin pages for instruments, accounts, the ledger and the journal."""

from typing import Any

from django import forms
from django.conf import settings
from django.contrib import admin
from django.http import HttpRequest
from unfold.decorators import display
from unfold.widgets import UnfoldBooleanSwitchWidget

from core import admin_people, admin_tasks  # noqa: F401  # they register users, groups and tasks
from core.admin_display import HistoryAdmin
from core.admin_journal import JournalledAdmin
from core.models import Account, Book, EquitySnapshot, Event, Fill, Financing, Heartbeat, Instrument, Order, Position

ORDER_COLOURS = {
    "filled": "success",
    "accepted": "info",
    "submitted": "info",
    "partially filled": "info",
    "denied": "warning",
    "rejected": "danger",
}


@admin.register(Instrument)
class InstrumentAdmin(JournalledAdmin):
    """What can be traded or watched."""

    list_display = (
        "symbol", "name", "asset_class", "exchange", "currency", "leverage_factor", "underlying", "constructed",
    )  # fmt: skip
    list_filter = ("asset_class", "constructed", "exchange", "currency")
    search_fields = ("symbol", "name")
    list_select_related = ("underlying",)
    autocomplete_fields = ("underlying",)


class AccountForm(forms.ModelForm):
    """Paper by default; live needs the environment's switch and an operator who says so."""

    confirm_live = forms.BooleanField(
        required=False,
        label="Trade real money",
        help_text="Needed only when the mode changes to live.",
        widget=UnfoldBooleanSwitchWidget,
    )

    class Meta:
        model = Account
        fields = ("name", "mode", "currency")

    def clean(self) -> dict[str, Any]:
        """Refuse the way into live trading without both keys."""
        values = super().clean() or {}
        before = self.initial.get("mode") if self.instance.pk else None
        if values.get("mode") == Account.Mode.LIVE and before != Account.Mode.LIVE:
            if not settings.LIVE_TRADING_ALLOWED:
                raise forms.ValidationError(
                    {"mode": "Live trading is switched off on this desk. Start it with DESK_ALLOW_LIVE=1 to allow it."}
                )
            if not values.get("confirm_live"):
                raise forms.ValidationError(
                    {"confirm_live": "Orders of this account would trade real money. Confirm it, or choose paper."}
                )
        return values


@admin.register(Account)
class AccountAdmin(JournalledAdmin):
    """The brokerage account, and whether it trades paper or real money."""

    form = AccountForm
    list_display = ("name", "shown_mode", "currency", "created_at")
    list_filter = ("mode",)
    search_fields = ("name",)
    fields = ("name", "mode", "confirm_live", "currency")

    @display(description="mode", ordering="mode", label={"live": "danger", "paper": "info"})
    def shown_mode(self, row: Account) -> str:
        """Live stands out."""
        return row.mode

    def get_readonly_fields(self, request: HttpRequest, obj: Account | None = None) -> Any:
        """The ledger is kept in the account's currency, so it stays."""
        fixed = ("currency", "created_at") if obj else ()
        return (*super().get_readonly_fields(request, obj), *fixed)


class BookForm(forms.ModelForm):
    """A new book starts with its cash; from then on only fills change it."""

    def clean_start_cash(self) -> Any:
        """Money to trade with."""
        cash = self.cleaned_data["start_cash"]
        if cash <= 0:
            raise forms.ValidationError("Give an amount above 0: a book without money cannot trade.")
        return cash


@admin.register(Book)
class BookAdmin(JournalledAdmin):
    """Shares of an account's money. Cash belongs to the ledger: it cannot be typed."""

    form = BookForm
    list_display = ("name", "account", "start_cash", "cash", "peak_equity", "created_at")
    list_filter = ("account",)
    search_fields = ("name", "account__name")
    list_select_related = ("account",)
    add_fieldsets = ((None, {"fields": ("account", "name", "start_cash")}),)
    fields = ("account", "name", "start_cash", "cash", "peak_equity", "created_at")

    def get_readonly_fields(self, request: HttpRequest, obj: Book | None = None) -> Any:
        """After the start only the name may change."""
        given = super().get_readonly_fields(request, obj)
        ledger = [name for name in self.fields if name != "name"]
        return (*given, *ledger, *self._readable(ledger)) if obj else given

    def save_model(self, request: HttpRequest, obj: Book, form: forms.ModelForm, change: bool) -> None:
        """A new book holds its start cash and nothing else."""
        if not change:
            obj.cash = obj.peak_equity = obj.start_cash
        super().save_model(request, obj, form, change)


@admin.register(Order)
class OrderAdmin(HistoryAdmin):
    """Every order, including those the risk gate denied."""

    list_display = (
        "id", "created_at", "book", "instrument", "side", "purpose", "quantity", "filled_quantity", "shown_status",
        "reason",
    )  # fmt: skip
    list_filter = ("status", "purpose", "side", "instrument", "book")
    search_fields = ("=client_order_id", "reason_code", "instrument__symbol")
    list_select_related = ("book__account", "instrument")
    show_full_result_count = False

    @display(description="status", ordering="status", label=ORDER_COLOURS)
    def shown_status(self, row: Order) -> str:
        """One word, coloured."""
        return row.status.replace("_", " ")


@admin.register(Fill)
class FillAdmin(HistoryAdmin):
    """Executions."""

    list_display = ("time", "book", "instrument", "quantity", "price", "commission", "slippage", "order")
    list_filter = ("time", "instrument", "book")
    search_fields = ("=execution_id", "instrument__symbol")
    list_select_related = ("book__account", "instrument", "order__instrument")
    show_full_result_count = False


@admin.register(Financing)
class FinancingAdmin(HistoryAdmin):
    """Interest and borrow fees: what moves cash without an order."""

    list_display = ("time", "book", "instrument", "kind", "n_days", "amount")
    list_filter = ("time", "kind", "book")
    list_select_related = ("book__account", "instrument")
    show_full_result_count = False


@admin.register(Position)
class PositionAdmin(HistoryAdmin):
    """What each book holds. The ledger keeps it; it cannot be typed."""

    list_display = (
        "instrument", "book", "quantity", "average_price", "last_price", "shown_open_result", "realised_result",
        "opened_at",
    )  # fmt: skip
    list_filter = ("book", "instrument")
    search_fields = ("instrument__symbol", "book__name")
    list_select_related = ("book__account", "instrument")

    @display(description="open result")
    def shown_open_result(self, row: Position) -> str:
        """Gain or loss on what is held, to the cent."""
        return f"{row.open_result:,.2f}"


@admin.register(EquitySnapshot)
class EquitySnapshotAdmin(HistoryAdmin):
    """What a book was worth at each close."""

    list_display = ("time", "book", "equity", "cash", "shown_exposure", "shown_drawdown")
    list_filter = ("time", "book")
    list_select_related = ("book__account",)
    ordering = ("-time", "-id")
    show_full_result_count = False

    @display(description="exposure", ordering="exposure")
    def shown_exposure(self, row: EquitySnapshot) -> str:
        """In percent of equity."""
        return f"{row.exposure:.1%}"

    @display(description="drawdown", ordering="drawdown")
    def shown_drawdown(self, row: EquitySnapshot) -> str:
        """In percent of the peak."""
        return f"{row.drawdown:.1%}"


@admin.register(Event)
class EventAdmin(HistoryAdmin):
    """The journal."""

    list_display = ("time", "shown_level", "kind", "actor", "message", "subject")
    list_filter = ("time", "level", "kind")
    search_fields = ("message", "=subject", "=actor", "kind__startswith")
    show_full_result_count = False

    @display(
        description="level", ordering="level", label={"critical": "danger", "attention": "warning", "info": "info"}
    )
    def shown_level(self, row: Event) -> str:
        """One word, coloured."""
        return row.level


@admin.register(Heartbeat)
class HeartbeatAdmin(HistoryAdmin):
    """When each component was last heard of."""

    list_display = ("component", "host", "pid", "started_at", "beat_at")
    list_filter = ("host",)
    search_fields = ("component", "host")
