"""Training and backtest pages: how a policy came to be and what it proved."""

from typing import Any

from django.core.paginator import Paginator
from django.db.models import F
from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.vary import vary_on_headers

from agents.dashboard import active_runs, progress
from agents.models import Agent, Backtest, ModelVersion, TrainingRun
from agents.records import csv_response
from agents.reports import report, small_curves
from core.models import JobRow

ROWS_PER_PAGE = 25


@vary_on_headers("HX-Request")
def training_list(request: HttpRequest) -> HttpResponse:
    """Runs in progress, past runs, and a form to start one."""
    runs = TrainingRun.objects.select_related("agent", "agent__instrument").order_by("-id")
    context = {
        "active": [progress(run) for run in active_runs()],
        "page": Paginator(runs, ROWS_PER_PAGE).get_page(request.GET.get("page")),
        "starts": [start_facts(agent) for agent in Agent.objects.select_related("instrument").order_by("id")],
    }
    template = "agents/_training_list.html" if getattr(request, "htmx", False) else "agents/training.html"
    return render(request, template, context)


@vary_on_headers("HX-Request")
def training_detail(request: HttpRequest, run_id: int) -> HttpResponse:
    """One run: progress, trials, and the version it made."""
    run = get_object_or_404(TrainingRun.objects.select_related("agent__instrument", "configuration"), pk=run_id)
    trials = list(run.trials.order_by(F("value").desc(nulls_last=True), "number"))
    names = sorted({name for trial in trials for name in trial.parameters})
    values = [trial.value for trial in trials if trial.value is not None]
    version = ModelVersion.objects.filter(run=run).prefetch_related("backtests").first()
    context = {
        "progress": progress(run),
        "run": run,
        "trials": trials,
        "names": names,
        "largest": max((abs(value) for value in values), default=1) or 1,
        "version": version,
    }
    return render(
        request, "agents/_training_run.html" if getattr(request, "htmx", False) else "agents/training_run.html", context
    )


def start_facts(agent: Agent) -> dict[str, Any]:
    """What a training of this agent would do, in the numbers of its newest settings."""
    configuration = agent.configurations.order_by("-version").first()
    training = configuration.data.get("training", {}) if configuration else {}
    ended = TrainingRun.objects.filter(agent=agent, state=JobRow.State.FINISHED)
    last = ended.exclude(started_at=None).exclude(finished_at=None).order_by("-id").first()
    took = last.finished_at - last.started_at if last and last.started_at and last.finished_at else None
    return {
        "agent": agent,
        "configuration": configuration,
        "training": training,
        "busy": active_runs().filter(agent=agent).first(),
        "took": took.total_seconds() if took else None,
    }


def backtest_list(request: HttpRequest) -> HttpResponse:
    """Every backtest with its result against buying and holding."""
    rows = Backtest.objects.select_related("model_version__agent__instrument", "model_version__run").order_by("-id")
    page = Paginator(rows, ROWS_PER_PAGE).get_page(request.GET.get("page"))
    curves = [(row, small_curves(row, 60)) for row in page]
    return render(request, "agents/backtests.html", {"page": page, "rows": curves})


def backtest_detail(request: HttpRequest, backtest_id: int) -> HttpResponse:
    """The report of one backtest."""
    backtest = _backtest(backtest_id)
    return render(request, "agents/backtest.html", {"backtest": backtest, **report(backtest)})


def backtest_curve_csv(request: HttpRequest, backtest_id: int) -> HttpResponse:
    """Equity, baseline and exposure per bar, nothing left out."""
    backtest = _backtest(backtest_id)
    names = ["time", "equity", "baseline", "exposure"]
    columns = [backtest.curve.get(name, []) for name in names]
    return csv_response(f"backtest-{backtest.pk}-curve.csv", names, zip(*columns, strict=False))


def backtest_trades_csv(request: HttpRequest, backtest_id: int) -> HttpResponse:
    """The round trips of a backtest."""
    backtest = _backtest(backtest_id)
    names = list(backtest.trades[0]) if backtest.trades else ["entry_time", "exit_time", "result"]
    rows = ([row.get(name) for name in names] for row in backtest.trades)
    return csv_response(f"backtest-{backtest.pk}-trades.csv", names, rows)


def _backtest(backtest_id: int) -> Backtest:
    rows = Backtest.objects.select_related("model_version__agent__instrument", "model_version__run")
    return get_object_or_404(rows, pk=backtest_id)
