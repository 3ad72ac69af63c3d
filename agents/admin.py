"""Admin pages for agents: their rows and the buttons that run them."""

from collections.abc import Callable
from typing import Any

from django import forms
from django.contrib import admin, messages
from django.db import models
from django.db.models import F
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import get_object_or_404
from django.urls import reverse
from unfold.admin import TabularInline
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm
from unfold.widgets import UnfoldAdminIntegerFieldWidget, UnfoldAdminSelectWidget

from agents import admin_history, admin_settings  # noqa: F401  # they register the other rows of agents
from agents.algorithms import all_algorithms
from agents.models import Agent, AgentConfiguration
from agents.runs import control  # they register the other rows of agents
from core.admin_ask import ask, go_to
from core.admin_display import time_text
from core.admin_journal import JournalledAdmin, actor_of
from core.models import JobRow
from core.notices import notify

AT_REST = (JobRow.State.STOPPED, JobRow.State.FINISHED, JobRow.State.FAILED)
GIVEN_ONCE = ("name", "algorithm", "instrument", "interval_seconds", "book")
KEPT_BY_THE_DESK = (
    "deployed_version", "last_bar_time", "desired_state", "state", "state_reason", "heartbeat_at", "host", "pid",
    "n_restarts", "settings_version", "applied_version", "created_at",
)  # fmt: skip


class SeedForm(BaseDialogForm):
    """The one choice of a training."""

    seed = forms.IntegerField(
        min_value=0,
        max_value=2_147_483_647,
        initial=1,
        widget=UnfoldAdminIntegerFieldWidget,
        help_text="The same seed, data and settings give the same model.",
    )


class AgentForm(forms.ModelForm):
    """What an operator may change on an agent's row."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if "algorithm" in self.fields:  # an agent that exists only shows it
            choices = [(name, found.label) for name, found in all_algorithms().items()]
            self.fields["algorithm"] = forms.ChoiceField(choices=choices, widget=UnfoldAdminSelectWidget)

    def clean(self) -> dict[str, Any]:
        """A running agent follows its stream; a new one takes effect only at a start."""
        values = super().clean() or {}
        running = self.instance.pk and self.instance.desired_state != JobRow.Desired.STOPPED
        if running and "stream" in self.changed_data:
            raise forms.ValidationError({"stream": f"Stop {self.instance.name} before giving it another stream."})
        return values


class ConfigurationInline(TabularInline):
    """Every version of the settings, newest first."""

    model = AgentConfiguration
    fields = ("version", "created_by", "shown_created_at")
    readonly_fields = fields
    show_change_link = True
    extra = 0
    per_page = 10

    @display(description="created at")
    def shown_created_at(self, row: AgentConfiguration) -> str:
        """In UTC."""
        return time_text(row.created_at)

    def has_add_permission(self, request: HttpRequest, obj: Agent | None = None) -> bool:
        """New versions have a page of their own."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never edited."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never deleted."""
        return False


def _on_one(name: str, words: str, *, question: str, icon: str, variant: ActionVariant = ActionVariant.DEFAULT) -> Any:
    """A button on an agent's page that asks and then calls agents.runs.control."""

    def run(self: "AgentAdmin", request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        agent = get_object_or_404(Agent, pk=object_id)
        self.ask(request, agent, getattr(control, name), f"{agent} was asked to {words.lower()}.")
        return self.back(request, agent)

    run.__name__ = f"{name}_one"
    button = action(
        description=words, permissions=["change"], icon=icon, variant=variant, url_path=name,
        dialog=ask(f"{words} this agent", question, words),
    )  # fmt: skip
    return button(run)


def _on_chosen(name: str, words: str) -> Any:
    """The same for agents chosen in the list."""

    def run(self: "AgentAdmin", request: HttpRequest, queryset: models.QuerySet[Agent]) -> None:
        for agent in queryset:
            self.ask(request, agent, getattr(control, name), f"{agent} was asked to {words.lower()}.")

    run.__name__ = f"{name}_chosen"
    return action(description=f"{words} the chosen agents", permissions=["change"])(run)


@admin.register(Agent)
class AgentAdmin(JournalledAdmin):
    """Agents: what they trade, how they are, and the buttons that run them."""

    form = AgentForm
    list_display = (
        "name", "algorithm", "instrument", "stream", "book", "shown_state", "shown_wish", "deployed_version",
        "last_bar_time",
    )  # fmt: skip
    list_filter = ("state", "algorithm", "instrument")
    search_fields = ("name", "instrument__symbol")
    list_select_related = ("instrument", "stream", "book__account", "deployed_version__agent")
    inlines = (ConfigurationInline,)
    add_fieldsets = ((None, {"fields": (*GIVEN_ONCE, "stream", "deploy_when_proven")}),)
    fieldsets = (
        (None, {"fields": (*GIVEN_ONCE, "stream", "deploy_when_proven")}),
        ("Kept by the desk", {"fields": KEPT_BY_THE_DESK}),
    )
    actions = ("start_chosen", "pause_chosen", "resume_chosen", "stop_chosen", "train_chosen")
    actions_detail = (
        "start_one",
        "pause_one",
        "resume_one",
        "stop_one",
        {"title": "More", "icon": "more_horiz", "items": ("train_one", "new_settings")},
    )

    start_one = _on_one("start", "Start", question="It trades from the next bar of its stream on.", icon="play_arrow")
    pause_one = _on_one("pause", "Pause", question="It watches but decides nothing. Its position stays.", icon="pause")
    resume_one = _on_one("resume", "Continue", question="It decides again from the next bar on.", icon="resume")
    stop_one = _on_one(
        "stop", "Stop", icon="stop", variant=ActionVariant.DANGER,
        question="Its open orders are canceled. Its position stays, watched by nobody.",
    )  # fmt: skip
    start_chosen = _on_chosen("start", "Start")
    pause_chosen = _on_chosen("pause", "Pause")
    resume_chosen = _on_chosen("resume", "Continue")
    stop_chosen = _on_chosen("stop", "Stop")

    @display(
        description="state",
        ordering="state",
        label={"running": "success", "waiting": "info", "starting": "info", "paused": "warning", "failed": "danger"},
    )
    def shown_state(self, row: Agent) -> str:
        """One word, coloured."""
        return row.state

    @display(description="wanted", ordering="desired_state")
    def shown_wish(self, row: Agent) -> str:
        """What operators asked for."""
        return row.get_desired_state_display()

    @action(
        description="Train now", permissions=["change"], icon="model_training", url_path="train",
        dialog=ask("Train now", "A study with the newest settings; it takes a while.", "Train now", SeedForm),
    )  # fmt: skip
    def train_one(self, request: HttpRequest, form: SeedForm, object_id: str) -> HttpResponse:
        """Queue one training."""
        agent = get_object_or_404(Agent, pk=object_id)
        self.train(request, agent, form.cleaned_data["seed"])
        return self.back(request, agent)

    @action(description="Train the chosen agents now", permissions=["change"])
    def train_chosen(self, request: HttpRequest, queryset: models.QuerySet[Agent]) -> None:
        """Queue one training each, with seed 1."""
        for agent in queryset:
            self.train(request, agent, 1)

    @action(description="New settings…", permissions=["settings"], icon="tune", url_path="settings")
    def new_settings(self, request: HttpRequest, object_id: str) -> HttpResponse:
        """Go to the form for a new version; nothing changes until it is saved."""
        return HttpResponseRedirect(f"{reverse('admin:agents_agentconfiguration_add')}?agent={object_id}")

    def train(self, request: HttpRequest, agent: Agent, seed: int) -> None:
        """Start a training and say so, or say why not."""
        if not agent.configurations.exists():
            messages.error(request, f"{agent} has no settings yet: add a version first.")
            return
        self.ask(
            request,
            agent,
            lambda row, actor: control.start_training(row, actor=actor, seed=seed),
            f"Training of {agent} begins in a moment.",
        )

    def ask(self, request: HttpRequest, agent: Agent, wish: Callable[..., Any], done: str) -> None:
        """Call one function of agents.runs.control and tell the operator what came of it."""
        try:
            wish(agent, actor=actor_of(request))
            messages.success(request, done)
        except ValueError as error:
            messages.error(request, f"{agent} was left as it was: {error}.")

    def back(self, request: HttpRequest, agent: Agent) -> HttpResponse:
        """To the agent's page."""
        return go_to(request, reverse("admin:agents_agent_change", args=[agent.pk]))

    # Not permissions=["agents.add_agentconfiguration"]: unfold's system check looks such names up in the database,
    # which has no tables yet when a new desk migrates.
    def has_settings_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may add versions of settings."""
        return request.user.has_perm("agents.add_agentconfiguration")

    def get_readonly_fields(self, request: HttpRequest, obj: Agent | None = None) -> Any:
        """The name is its subscription's and its journal lines'; book and instrument are its history's."""
        given = super().get_readonly_fields(request, obj)
        fixed = (*GIVEN_ONCE, *KEPT_BY_THE_DESK)
        return (*given, *fixed, *self._readable(fixed)) if obj else given

    def get_inlines(self, request: HttpRequest, obj: Agent | None) -> Any:
        """A new agent has no settings yet."""
        return self.inlines if obj else ()

    def save_model(self, request: HttpRequest, obj: Agent, form: forms.ModelForm, change: bool) -> None:
        """Save, and tell the running process that something it reads has changed."""
        super().save_model(request, obj, form, change)
        if change and form.changed_data:
            Agent.objects.filter(pk=obj.pk).update(settings_version=F("settings_version") + 1)
        notify("agent", agent=obj.pk)

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Only at rest; one with trainings or decisions is kept by those, which cannot be deleted."""
        resting = not isinstance(obj, Agent) or (obj.desired_state == JobRow.Desired.STOPPED and obj.state in AT_REST)
        return resting and super().has_delete_permission(request, obj)

    def get_deleted_objects(self, objs: Any, request: HttpRequest) -> Any:
        """Settings that were never used go with their agent, though nobody deletes them alone."""
        tree, counts, needed, protected = super().get_deleted_objects(objs, request)
        return tree, counts, set(needed) - {AgentConfiguration._meta.verbose_name}, protected
