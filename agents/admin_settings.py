"""Admin pages for agents' settings: versions are added, never edited."""

from typing import Any

from django import forms
from django.contrib import admin
from django.http import HttpRequest

from agents.agent_settings import settings_of
from agents.configuration import ConfigurationError
from agents.models import AgentConfiguration
from agents.reconfigure import add_configuration
from core.admin_display import ReadableAdmin
from core.admin_journal import actor_of


class ConfigurationForm(forms.ModelForm):
    """A new version: whose, and the settings."""

    def clean(self) -> dict[str, Any]:
        """Refuse settings the agent could not read, with the name of the one that is wrong."""
        values = super().clean() or {}
        if values.get("agent") and values.get("data") is not None:
            try:
                settings_of(values["agent"], values["data"])
            except ConfigurationError as error:
                raise forms.ValidationError({"data": f"{error}."}) from error
        return values


@admin.register(AgentConfiguration)
class AgentConfigurationAdmin(ReadableAdmin):
    """Versions of settings: added, never edited."""

    form = ConfigurationForm
    list_display = ("agent", "version", "created_by", "created_at")
    list_filter = ("agent",)
    search_fields = ("agent__name", "created_by")
    list_select_related = ("agent",)
    add_fieldsets = ((None, {"fields": ("agent", "data")}),)
    fields = ("agent", "version", "created_by", "created_at", "data")
    # Not editable in the model, so never part of its form.
    readonly_fields = ("version", "created_by", "created_at")

    def get_changeform_initial_data(self, request: HttpRequest) -> dict[str, Any]:
        """Start from the agent's newest settings."""
        given: dict[str, Any] = super().get_changeform_initial_data(request)
        wanted = str(given.get("agent", ""))
        newest = AgentConfiguration.objects.filter(agent_id=wanted).first() if wanted.isdecimal() else None
        return {**given, "data": newest.data} if newest else given

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: bool) -> None:
        """Through the one function that adds versions, which numbers and journals them."""
        added = add_configuration(obj.agent, obj.data, actor=actor_of(request))
        obj.pk, obj.version, obj.created_by = added.pk, added.version, added.created_by

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: a change is a new version."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: trainings and decisions refer to it."""
        return False
