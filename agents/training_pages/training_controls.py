"""What operators ask of trainings: start, plan, pause, continue, stop and keep the best, cancel, leave the queue."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect, render
from django.urls import reverse
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from agents.models import Agent, TrainingRun
from agents.reconfigure import add_configuration
from agents.runs import control
from agents.runs.new_run import RunWish
from agents.training_pages.training_forms import PlanForm, StartForm
from agents.training_pages.training_rows import RunView
from agents.training_pages.training_views import find_run, main_panel, page
from core.journal import record
from core.permissions import go_back, operator_required
from marketdata.explorer_controls import sentence
from marketdata.panels import done, toasts


@dataclass(frozen=True)
class Wish:
    """Something that can be asked of a run."""

    carry_out: str  # name of the function in runs/control.py
    title: str
    text: str
    button: str
    said: str
    no: str = "Go on"


WISHES = {
    "pause": Wish("pause_training", "", "", "Pause", "was asked to pause; it keeps its place to the last step."),
    "resume": Wish("resume_training", "", "", "Continue", "goes on where it stopped."),
    "keep": Wish(
        "stop_and_keep_best", "Stop and keep the best?",
        "Nothing more is learned. The best that has been learned so far is tested on the unseen bars and becomes a "
        "model version.",
        "Stop, keep the best", "was asked to stop and to keep the best.",
    ),
    "cancel": Wish(
        "cancel_training", "Cancel this training?",
        "It ends for good: its finished trials stay in the history, but what it has learned is lost and no model "
        "version comes of it. To go on later, pause it instead.",
        "Cancel, keep no model", "is canceled; no model version comes of it.",
    ),
    "remove": Wish(
        "remove_from_queue", "Take it out of the queue?", "It has not begun, so nothing is lost.",
        "Remove", "was taken out of the queue.", no="Leave it there",
    ),
}  # fmt: skip


@require_GET
@operator_required
def training_ask(request: HttpRequest, run_id: int, action: str) -> HttpResponse:
    """Ask before something is stopped for good."""
    run, wish = find_run(run_id), _known(action)
    context = {"run": run, "view": RunView(run), "wish": wish, "action": action}
    return show_form(request, "agents/training/_ask.html", context)


@require_POST
@operator_required
def training_action(request: HttpRequest, run_id: int, action: str) -> HttpResponse:
    """Carry a wish out, or say why not."""
    run, wish = find_run(run_id), _known(action)
    back = reverse("training") if action == "remove" else reverse("training-run", args=[run.pk])
    try:
        getattr(control, wish.carry_out)(run, actor=request.user.get_username())
    except ValueError as error:
        messages.error(request, f"Run {run.pk} was left as it was: {sentence(error)}")
    else:
        messages.success(request, f"Run {run.pk} {wish.said}")
    if not getattr(request, "htmx", False):
        return go_back(request, back)
    if request.POST.get("panel"):
        return render(
            request, "agents/training/_head.html", {**main_panel(RunView(find_run(run_id))), "with_toasts": True}
        )
    return toasts(request)


@require_POST
@operator_required
def training_start(request: HttpRequest, agent_id: int) -> HttpResponse:
    """Start a training of an agent with its newest settings, as its own page and the admin offer it."""
    agent = get_object_or_404(Agent, pk=agent_id)
    try:
        run = control.start_training(agent, actor=request.user.get_username())
    except ValueError as error:
        messages.error(request, f"No training was started: {sentence(error)}")
        return go_back(request, reverse("training"))
    messages.success(request, f"Training run {run.pk} of {agent.name} begins in a moment.")
    return go_back(request, reverse("training-run", args=[run.pk]))


@require_http_methods(["GET", "POST"])
@operator_required
def training_new(request: HttpRequest) -> HttpResponse:
    """The start form; sent, it starts a training or puts it into the queue."""
    form = StartForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        run = _start(request, form)
        if run is not None:
            words = "waits for its turn" if run.queued else "begins in a moment"
            messages.success(request, f"Training run {run.pk} of {run.agent.name} {words}.")
            return redirect("training")
    return page(request, form, status=422 if request.method == "POST" else 200)


@require_http_methods(["GET", "POST"])
@operator_required
def training_plan(request: HttpRequest) -> HttpResponse:
    """Several agents, one after the other."""
    form = PlanForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        given = form.cleaned_data
        agents = form.chosen(given)
        try:
            control.start_plan(
                agents, name=given["name"], actor=request.user.get_username(), max_minutes=given["max_minutes"],
                run=RunWish(mode=_mode(given)),
            )  # fmt: skip
        except ValueError as error:
            form.add_error(None, sentence(error))
        else:
            names = ", ".join(agent.name for agent in agents)
            return done(request, f"Planned, one after the other: {names}.", reverse("training"), moves=True)
    status = 422 if request.method == "POST" else 200
    return show_form(request, "agents/training/_plan.html", {"form": form}, status=status)


def show_form(request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    """A form: alone when a script shows it in a dialog, else as a page of its own."""
    if getattr(request, "htmx", False):
        return render(request, template, {**context, "in_dialog": True}, status=status)
    return render(request, "agents/training/alone.html", {**context, "part": template}, status=status)


def _start(request: HttpRequest, form: StartForm) -> TrainingRun | None:
    """The run of a valid form; None with the reason beside the form if it cannot be started."""
    given, actor = form.cleaned_data, request.user.get_username()
    try:
        with transaction.atomic():
            agent = _with_algorithm(given["agent"], given["algorithm"], actor)
            if form.wanted != form.configuration:
                add_configuration(agent, form.wanted, actor=actor)
            return control.start_training(
                agent, actor=actor, seed=given["seed"], mode=_mode(given), backend=given["backend"],
                n_workers=given["n_workers"], n_trials=given["n_trials"], queued=given["queued"],
                not_before=given["not_before"], max_minutes=given["max_minutes"], reason=given["reason"],
            )  # fmt: skip
    except ValueError as error:
        form.add_error(None, sentence(error))
        return None


def _with_algorithm(agent: Agent, algorithm: str, actor: str) -> Agent:
    """The agent with the wanted algorithm. Only one that has no version yet can change it."""
    if algorithm == agent.algorithm:
        return agent
    agent = Agent.objects.select_for_update().get(pk=agent.pk)
    if agent.model_versions.exists():
        raise ValueError(f"{agent.name} has versions made with {agent.algorithm_label}; make a new agent")
    before, agent.algorithm = agent.algorithm, algorithm
    agent.save(update_fields=["algorithm"])
    record(
        "agent.algorithm", f"{agent.name} learns with {agent.algorithm_label} from now on", actor=actor,
        subject=f"agent:{agent.pk}", data={"before": before, "after": algorithm},
    )  # fmt: skip
    return agent


def _mode(given: dict[str, Any]) -> str:
    return TrainingRun.Mode.TEST if given["test"] else TrainingRun.Mode.FULL


def _known(action: str) -> Wish:
    if action not in WISHES:
        raise Http404(f"There is no action called {action}.")
    return WISHES[action]
