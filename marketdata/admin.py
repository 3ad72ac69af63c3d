"""Admin pages for imports and streams. Bars are rows by the million: they are looked at in charts and SQL."""

import math

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from core.admin_display import HistoryAdmin, ReadableAdmin
from marketdata import control
from marketdata.models import DataImport, Stream, Subscription


@admin.register(DataImport)
class DataImportAdmin(HistoryAdmin):
    """What was imported and which rows were bad. A record of the past: nothing here can be changed."""

    list_display = ("name", "instrument", "source", "n_good", "n_bad", "first_time", "last_time", "created_at")
    list_filter = ("instrument", "source")
    search_fields = ("name", "instrument__symbol", "sha256")
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
        if not (math.isfinite(speed) and 0 <= speed <= control.FASTEST):
            raise forms.ValidationError(f"Give 0 (as fast as possible) to {control.FASTEST:g} bars a second.")
        return speed


@admin.register(Stream)
class StreamAdmin(ReadableAdmin):
    """A stream's speed can be changed while it runs; starting and stopping is done with its buttons on the desk."""

    form = SpeedForm
    list_display = ("name", "state", "bars_per_second", "from_time", "to_time", "cursor", "heartbeat_at")
    list_filter = ("state",)
    search_fields = ("name",)
    fields = (
        "name", "bars_per_second", "source", "instruments", "interval_seconds", "from_time", "to_time", "cursor",
        "published_at", "desired_state", "state", "state_reason", "heartbeat_at", "host", "pid", "n_restarts",
    )  # fmt: skip
    readonly_fields = tuple(name for name in fields if name != "bars_per_second")

    def save_model(self, request: HttpRequest, obj: Stream, form: forms.ModelForm, change: bool) -> None:
        """Only the speed, through the same door as the desk's button: journal, notice, new settings version."""
        control.set_speed(obj, obj.bars_per_second, actor=request.user.get_username())

    def has_add_permission(self, request: HttpRequest) -> bool:
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Stream | None = None) -> bool:
        return False
