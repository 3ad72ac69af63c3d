"""Admin pages for what agents left behind: trainings, trials, model versions, backtests and decisions."""

from typing import Any

from django.contrib import admin, messages
from django.db import models
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from unfold.decorators import action, display
from unfold.enums import ActionVariant
from unfold.forms import BaseDialogForm

from agents.models import Backtest, Decision, ModelVersion, TrainingPlan, TrainingPoint, TrainingRun, Trial
from agents.runs import control
from core.admin_ask import ask, go_to
from core.admin_display import HistoryAdmin, breakable
from core.admin_journal import actor_of
from core.models import Account, JobRow


@admin.register(TrainingRun)
class TrainingRunAdmin(HistoryAdmin):
    """Trainings; one that runs can be stopped."""

    list_display = (
        "id", "agent", "shown_state", "phase", "shown_progress", "n_trials", "seed", "started_at", "finished_at",
        "created_by",
    )  # fmt: skip
    list_filter = ("state", "agent")
    search_fields = ("agent__name", "study_name", "created_by")
    list_select_related = ("agent",)
    date_hierarchy = "created_at"
    actions_detail = ("cancel",)

    @display(
        description="state",
        ordering="state",
        label={"running": "info", "starting": "info", "finished": "success", "failed": "danger"},
    )
    def shown_state(self, row: TrainingRun) -> str:
        """One word, coloured."""
        return row.state

    @display(description="progress", ordering="progress")
    def shown_progress(self, row: TrainingRun) -> str:
        """In percent."""
        return f"{row.progress:.0%}"

    def has_cancel_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may change trainings may stop them, though nobody edits their rows."""
        return request.user.has_perm("agents.change_trainingrun")

    @action(
        description="Stop training", permissions=["cancel"], icon="stop", url_path="cancel",
        variant=ActionVariant.DANGER,
        dialog=ask("Stop this training", "Finished trials stay; no model version comes of it.", "Stop training"),
    )  # fmt: skip
    def cancel(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        """Ask a training to stop."""
        run = get_object_or_404(TrainingRun, pk=object_id)
        if run.desired_state != JobRow.Desired.RUNNING or run.state in (JobRow.State.FINISHED, JobRow.State.FAILED):
            messages.error(request, f"Run {run.pk} is not running, so there is nothing to stop.")
        else:
            control.cancel_training(run, actor=actor_of(request))
            messages.success(request, f"Run {run.pk} was asked to stop.")
        return go_to(request, reverse("admin:agents_trainingrun_change", args=[run.pk]))


@admin.register(Trial)
class TrialAdmin(HistoryAdmin):
    """Every try of every study."""

    list_display = ("run", "number", "state", "value", "is_best", "duration_seconds", "seed")
    list_filter = ("state", "is_best", "run__agent")
    search_fields = ("run__study_name", "run__agent__name")
    list_select_related = ("run__agent",)
    ordering = ("-run", "number")


@admin.register(TrainingPlan)
class TrainingPlanAdmin(HistoryAdmin):
    """Lists of trainings that were carried out one after the other."""

    list_display = ("name", "max_minutes", "created_by", "created_at")
    search_fields = ("name", "created_by")
    date_hierarchy = "created_at"


@admin.register(TrainingPoint)
class TrainingPointAdmin(HistoryAdmin):
    """Learning curves, point by point."""

    list_display = ("run", "part", "step", "time")
    search_fields = ("part", "=run__pk", "run__agent__name")
    list_select_related = ("run__agent",)


@admin.register(ModelVersion)
class ModelVersionAdmin(HistoryAdmin):
    """Trained policies; one that passed its backtest can be put to work."""

    list_display = ("agent", "version", "shown_state", "seed", "study_name", "created_at")
    list_filter = ("state", "agent")
    search_fields = ("agent__name", "study_name", "=sha256", "=weights_sha256")
    list_select_related = ("agent",)
    date_hierarchy = "created_at"
    actions_detail = ("deploy",)
    readonly_preprocess_fields = dict.fromkeys(("sha256", "weights_sha256", "data_fingerprint", "file"), breakable)

    @display(
        description="state",
        ordering="state",
        label={"deployed": "success", "proven": "info", "refused": "danger"},
    )
    def shown_state(self, row: ModelVersion) -> str:
        """One word, coloured."""
        return row.state

    def has_deploy_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Who may change model versions may deploy them, though nobody edits their rows."""
        return request.user.has_perm("agents.change_modelversion")

    @action(
        description="Deploy on paper", permissions=["deploy"], icon="rocket_launch", url_path="deploy",
        dialog=ask("Deploy on paper", "The agent decides with this version from its next bar on.", "Deploy"),
    )  # fmt: skip
    def deploy(self, request: HttpRequest, form: BaseDialogForm, object_id: str) -> HttpResponse:
        """Let the agent trade with this version, if the registry agrees."""
        # Imported on use: it brings torch, which no other admin page needs.
        from agents import registry

        version = get_object_or_404(ModelVersion.objects.select_related("agent__book__account"), pk=object_id)
        try:
            if version.agent.book.account.mode != Account.Mode.PAPER:
                raise registry.ModelRefused(f"account {version.agent.book.account} trades real money, not paper")
            registry.deploy(version, actor=actor_of(request))
            messages.success(request, f"{version.agent} trades with version {version.version} from its next bar on.")
        except registry.ModelRefused as error:
            messages.error(request, f"Not deployed: {error}.")
        return go_to(request, reverse("admin:agents_modelversion_change", args=[version.pk]))


@admin.register(Backtest)
class BacktestAdmin(HistoryAdmin):
    """What each version earned on bars it was not trained on."""

    list_display = ("id", "model_version", "period", "from_time", "to_time", "n_bars", "passed", "created_at")
    list_filter = ("passed", "period", "model_version__agent")
    search_fields = ("model_version__agent__name",)
    list_select_related = ("model_version__agent",)
    date_hierarchy = "created_at"

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        """A list of curves would be megabytes; a row's page still reads its own."""
        return super().get_queryset(request).defer("curve", "trades")


@admin.register(Decision)
class DecisionAdmin(HistoryAdmin):
    """Every decision, with its reasons and the risk gate's answer."""

    list_display = (
        "time", "agent", "instrument", "label", "shown_confidence", "shown_verdict", "quantity_before",
        "quantity_allowed", "close", "model_version",
    )  # fmt: skip
    list_filter = ("time", "agent", "label", "verdict")
    search_fields = ("agent__name", "=reason_code")
    list_select_related = ("agent", "instrument", "model_version__agent", "configuration__agent")
    show_full_result_count = False

    def get_queryset(self, request: HttpRequest) -> models.QuerySet:
        """The list shows none of these, and they are most of a row."""
        return super().get_queryset(request).defer("observation", "rationale", "reward_components", "latency_ms")

    @display(description="confidence", ordering="confidence")
    def shown_confidence(self, row: Decision) -> str:
        """In percent."""
        return f"{row.confidence:.0%}"

    @display(
        description="risk gate",
        ordering="verdict",
        label={"allowed": "success", "smaller order allowed": "info", "denied": "danger"},
    )
    def shown_verdict(self, row: Decision) -> str:
        """In words, coloured."""
        return row.get_verdict_display()
