"""The Training page, the page of one run, their panels and their curves."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.core.paginator import Paginator
from django.http import Http404, HttpRequest, HttpResponse, JsonResponse, QueryDict
from django.shortcuts import get_object_or_404, render
from django.views.decorators.http import require_http_methods

from agents.models import Agent, TrainingRun
from agents.records import csv_response
from agents.studies.search import left_out
from agents.studies.study_table import few_trials
from agents.training_pages import training_curves
from agents.training_pages.run_words import differences, episode_words, reward_of_run, reward_words, variation_words
from agents.training_pages.training_backends import lines
from agents.training_pages.training_defaults import training_value
from agents.training_pages.training_forms import StartForm
from agents.training_pages.training_more import REWARD_PLACES
from agents.training_pages.training_rows import RunView, main_run, runs, waiting, working
from agents.training_pages.training_words import ACTIONS, BACKENDS, NETWORKS, SAMPLERS
from marketdata.explorer import interval_words

ROWS_PER_PAGE = 15
# Name, title, and what is said while there is nothing to draw.
CHARTS = (
    ("return", "Return per episode", "The first points come when a trial has learned for a moment."),
    ("trials", "Validation score, by trial", "The first bar comes when a trial has ended."),
    ("losses", "Losses, each on its own scale", "No loss has been recorded yet."),
    ("actions", "Share of actions", "No action has been counted yet."),
    ("rewards", "Parts of the reward, before weights", "No part of the reward has been recorded yet."),
    ("speed", "Steps a second", "No speed has been measured yet."),
)


def training_list(request: HttpRequest) -> HttpResponse:
    """The run at work with its curves and trials, the others, the queue, the history, and a form to start one."""
    return page(request, StartForm(initial=asked(request.GET)))


def page(request: HttpRequest, form: StartForm, *, status: int = 200) -> HttpResponse:
    """The whole Training page around a form."""
    view = main_run()
    context = {
        **main_panel(view), **queue_panel(request), **history_panel(request), **start_panel(form),
        "others": [RunView(run) for run in working() if view is None or run.pk != view.run.pk],
    }  # fmt: skip
    return render(request, "agents/training.html", context, status=status)


def training_detail(request: HttpRequest, run_id: int) -> HttpResponse:
    """One run: progress, curves, trials, what it ran with, and the version it made."""
    view = RunView(find_run(run_id))
    context = {
        **main_panel(view), "facts": run_facts(view.run), "logs": logs_folder(view.run), **settings_panel(view.run),
    }  # fmt: skip
    return render(request, "agents/training_run.html", context)


def panel_view(request: HttpRequest, name: str) -> HttpResponse:
    """One panel as a partial: head, trials (of ?run=), queue or history."""
    if name in ("head", "trials", "result"):
        number = request.GET.get("run", "")
        view = RunView(find_run(int(number) if number.isdigit() else 0))
        context = {**main_panel(view), "facts": run_facts(view.run)}
    elif name in ("queue", "history"):
        context = queue_panel(request) if name == "queue" else history_panel(request)
    else:
        raise Http404(f"There is no panel called {name}.")
    return render(request, f"agents/training/_{name}.html", context)


@require_http_methods(["GET", "POST"])
def start_form(request: HttpRequest) -> HttpResponse:
    """The start form for what is filled in so far: only what fits is offered, and the estimate is new.

    A script asks for the form alone; without one the button beside it posts here and gets the page.
    """
    if request.method == "POST":
        return page(request, StartForm(initial=asked(request.POST)))
    return render(request, "agents/training/_start.html", start_panel(StartForm(initial=asked(request.GET))))


def curves(request: HttpRequest, run_id: int) -> JsonResponse:
    """The charts' numbers: ?part= chooses, ?since= and ?shown= ask for what is new."""
    since = request.GET.get("since", "0")
    if not since.isdigit():
        return JsonResponse({"error": "since is the id of the newest point you have"}, status=400)
    part, shown = request.GET.get("part", ""), request.GET.get("shown", "")
    return JsonResponse(training_curves.answer(find_run(run_id), part, int(since), shown))


def curve_csv(request: HttpRequest, run_id: int, chart: str) -> HttpResponse:
    """Everything behind one chart, nothing thinned."""
    run = find_run(run_id)
    try:
        header, rows = training_curves.table(run, chart, request.GET.get("part", ""))
    except KeyError as error:
        raise Http404(f"There is no chart called {chart}.") from error
    return csv_response(f"run-{run.pk}-{chart}.csv", header, rows)


def find_run(run_id: int) -> TrainingRun:
    """The run, or a page that says it is not there."""
    return get_object_or_404(runs(), pk=run_id)


def main_panel(view: RunView | None) -> dict[str, Any]:
    """One run with the best of its trials."""
    run = view.run if view else None
    return {"view": view, "run": run, "table": few_trials(run) if run else None, "charts": CHARTS}


def queue_panel(request: HttpRequest) -> dict[str, Any]:
    """Who waits."""
    return {"queue": list(waiting()), "active_ids": " ".join(str(run.pk) for run in working())}


def history_panel(request: HttpRequest) -> dict[str, Any]:
    """Past and present runs, page by page."""
    page = Paginator(runs().order_by("-id"), ROWS_PER_PAGE).get_page(request.GET.get("page"))
    return {"page": page, "history": [RunView(run) for run in page]}


def start_panel(form: StartForm) -> dict[str, Any]:
    """The start form with what explains it."""
    agent, method = form.chosen, form.method
    busy = working().filter(agent=agent).first() if agent else None
    numbers = {name: form.number(name) for name in ("n_trials", "n_folds", "n_seeds")}
    steps = training_value(form.configuration, "n_steps")
    periods = form.configuration.get("training", {}).get("periods", {})
    return {
        "form": form, "periods": periods, "busy": busy, "method": method, "seconds": form.seconds,
        "work": work_words(**numbers, steps=steps, test=bool(form["test"].value())),
        "interval": interval_words(agent.interval_seconds) if agent else "",
        "network_words": NETWORKS.get(str(form["network"].value()), ("", ""))[1],
        "action_words": ACTIONS.get(str(form["actions"].value()), ("", ""))[1],
        "reward_words": reward_words({name: form[name].value() for name in REWARD_PLACES}),
        "sampler_words": SAMPLERS.get(str(form["sampler"].value()), ("", ""))[1],
        "lines": lines(method.name) if method else [], "n_agents": Agent.objects.count(),
    }  # fmt: skip


def asked(given: QueryDict) -> dict[str, Any]:
    """What has been filled in so far; boxes are ticked by being there."""
    return {name: value for name, value in given.items() if name in StartForm.base_fields}


def work_words(n_trials: int, n_folds: int, n_seeds: int, steps: int, *, test: bool) -> str:
    """What the numbers of the form come to."""
    if test:
        return "A test tries two settings for a moment: it shows that bars, settings and machine fit together."
    learnings = n_trials * n_folds * n_seeds
    plural = [
        f"{n:,} {word}{'s' * (n != 1)}" for n, word in ((n_trials, "trial"), (n_folds, "fold"), (n_seeds, "seed"))
    ]
    return f"{plural[0]}, each on {plural[1]} with {plural[2]}: up to {learnings:,} times {steps:,} steps."


def run_facts(run: TrainingRun) -> list[tuple[str, Any]]:
    """What a run was made with, name by name."""
    data = run.configuration.data
    network, searched = data.get("network", {}), data.get("training", {}).get("search") or {}
    rows = [
        ("Seed", run.seed),
        ("Network", " ".join([network.get("kind", "mlp").upper(), *map(str, network.get("hidden", []))])),
        ("Reward", reward_of_run(data)),
        ("Episodes", episode_words(data)),
        ("Varies", variation_words(data)),
        ("Runs on", f"{BACKENDS.get(run.backend, run.backend)}, {worker_words(run.n_workers)}"),
        ("Not varied there", ", ".join(left_out(run.agent.algorithm, searched, run.backend))),
        ("Study", run.study_name),
        ("Plan", run.plan.name if run.plan else ""),
        ("Time limit", f"{run.max_minutes} min" if run.max_minutes else ""),
        ("Resources", resource_words(run.resources)),
        ("Process", f"{run.pid} on {run.host}" if run.pid and run.host else ""),
        ("Restarts", run.n_restarts or ""),
    ]
    return [(name, value) for name, value in rows if value not in ("", None)]


def settings_panel(run: TrainingRun) -> dict[str, Any]:
    """How a run's settings differ from those of the agent's run before it; of its first, from its first settings."""
    before = TrainingRun.objects.filter(agent=run.agent_id, pk__lt=run.pk).select_related("configuration").first()
    first = run.agent.configurations.order_by("version").first()
    settings = before.configuration if before else first
    if settings is None or settings.pk == run.configuration_id:
        return {"changed": [], "changed_since": ""}
    since = f"since run {before.pk}" if before else f"since v{settings.version}"
    return {"changed": differences(settings.data, run.configuration.data), "changed_since": since}


def logs_folder(run: TrainingRun) -> str:
    """Where TensorBoard finds this run's logs, relative to the desk's folder; empty if none were written."""
    folder = settings.LOCAL_DIR / "tensorboard" / f"run-{run.pk}"
    return str(folder) if folder.is_dir() else ""


def worker_words(n: int) -> str:
    """How many processes carry out trials."""
    return "as many workers as fit" if n == 0 else f"{n} worker{'s' * (n != 1)}"


def resource_words(found: dict[str, Any]) -> str:
    """What it last took of its machine."""
    words = (
        ("cpu", "{:.1f} cores", 1), ("memory_mb", "{:.1f} GB of memory", 1024),
        ("free_memory_mb", "{:.1f} GB free", 1024), ("gpu", "{:.0f} % of the GPU", 0.01),
        ("gpu_memory_mb", "{:.1f} GB of its memory", 1024),
    )  # fmt: skip
    known = [(text, found[name] / unit) for name, text, unit in words if isinstance(found.get(name), int | float)]
    return ", ".join(text.format(value) for text, value in known)
