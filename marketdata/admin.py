"""Admin pages for imports and streams. Bars are rows by the million: they are looked at in charts and SQL."""

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from core.admin_display import HistoryAdmin, ReadableAdmin
from core.admin_journal import JournalledAdmin
from core.notices import notify
from marketdata import admin_health, admin_news, control  # noqa: F401  # the first two register their rows
from marketdata.corporate import OPERATOR
from marketdata.models import CorporateAction, DataImport, Fetch, Stream, Subscription


@admin.register(DataImport)
class DataImportAdmin(HistoryAdmin):
    """What was imported and which rows were bad. A record of the past: nothing here can be changed."""

    list_display = ("name", "instrument", "source", "n_good", "n_bad", "first_time", "last_time", "created_at")
    list_filter = ("instrument", "source")
    search_fields = ("name", "instrument__symbol", "sha256")
    list_select_related = ("instrument",)


@admin.register(Fetch)
class FetchAdmin(HistoryAdmin):
    """What history was asked for and what came. Asking and cancelling is done on the Data page or by command."""

    list_display = (
        "__str__", "interval_seconds", "state", "state_reason", "done", "n_stored", "n_bad", "requested_by",
        "created_at",
    )  # fmt: skip
    list_filter = ("source", "state", "instrument")
    search_fields = ("instrument__symbol", "requested_by")
    list_select_related = ("instrument",)


@admin.register(Subscription)
class SubscriptionAdmin(HistoryAdmin):
    """Who must have dealt with a bar before a replay goes on; agents keep these rows themselves."""

    list_display = ("subscriber", "stream", "active", "acknowledged")
    list_filter = ("stream", "active")
    list_select_related = ("stream",)


class SpeedForm(forms.ModelForm):
    """The one thing an operator may change here."""

    class Meta:
        model = Stream
        fields = ("bars_per_second",)

    def clean_bars_per_second(self) -> float:
        speed = self.cleaned_data["bars_per_second"]
        try:
            control.check_speed(self.instance, speed)
        except ValueError as error:
            raise forms.ValidationError(f"{error}.") from error
        return speed


@admin.register(Stream)
class StreamAdmin(ReadableAdmin):
    """A stream's speed can be changed while it runs; starting and stopping is done with its buttons on the desk."""

    form = SpeedForm
    list_display = ("name", "source", "state", "state_reason", "bars_per_second", "from_time", "to_time", "cursor")
    list_filter = ("state", "source")
    search_fields = ("name", "instruments__symbol")
    fields = (
        "name", "bars_per_second", "source", "instruments", "interval_seconds", "from_time", "to_time", "cursor",
        "published_at", "desired_state", "state", "state_reason", "progress", "options", "heartbeat_at", "host", "pid",
        "n_restarts",
    )  # fmt: skip
    readonly_fields = tuple(name for name in fields if name != "bars_per_second")

    def save_model(self, request: HttpRequest, obj: Stream, form: forms.ModelForm, change: bool) -> None:
        """Only the speed, through the same door as the desk's button: journal, notice, new settings version."""
        control.set_speed(obj, obj.bars_per_second, actor=request.user.get_username())

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Stream | None = None) -> bool:
        return False


@admin.register(CorporateAction)
class CorporateActionAdmin(JournalledAdmin):
    """Splits and dividends. What is entered or corrected here is kept whatever a source says later."""

    list_display = ("instrument", "ex_date", "kind", "value", "source", "in_prices", "created_at")
    list_filter = ("kind", "source", "in_prices", "instrument")
    search_fields = ("instrument__symbol",)
    list_select_related = ("instrument",)
    fields = ("instrument", "ex_date", "kind", "value", "in_prices", "source")
    readonly_fields = ("source",)

    def save_model(self, request: HttpRequest, obj: CorporateAction, form: forms.ModelForm, change: bool) -> None:
        """The row is the operator's from now on."""
        obj.source = OPERATOR
        super().save_model(request, obj, form, change)
        if change and form.changed_data:  # the class above writes only what was typed
            obj.save(update_fields=["source"])
        notify("bar", instrument=obj.instrument_id)  # charts that show adjusted prices
