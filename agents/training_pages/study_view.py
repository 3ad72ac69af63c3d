"""The Study page of a run: its trials as a table, as parallel lines, what mattered, and how the best was found."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.views.decorators.vary import vary_on_headers

from agents.models import TrainingRun, Trial
from agents.records import csv_response
from agents.studies.study_importance import importance, logarithmic
from agents.studies.study_table import TrialRow, TrialTable, csv_rows, trial_table, varying
from agents.training_pages.training_rows import RunView
from agents.training_pages.training_views import find_run
from agents.training_pages.training_words import parameter_words

MOST_LINES = 600  # of the parallel picture; of more trials the best


def study(request: HttpRequest, run_id: int) -> HttpResponse:
    """The whole study of one run; ?sort= orders the table."""
    run = find_run(run_id)
    table = trial_table(run, request.GET.get("sort", "-score"))
    context = {
        "view": RunView(run), "run": run, "table": table, "lines": parallel(table), "importance": importance(run),
        **summary(run),
    }  # fmt: skip
    return render(request, "agents/study.html", context)


def study_table_panel(request: HttpRequest, run_id: int) -> HttpResponse:
    """The table alone, for a study that goes on."""
    run = find_run(run_id)
    table = trial_table(run, request.GET.get("sort", "-score"))
    return render(request, "agents/study/_table.html", {"run": run, "view": RunView(run), "table": table})


def study_csv(request: HttpRequest, run_id: int) -> HttpResponse:
    """Every trial with every parameter, in the order in which they began."""
    run = find_run(run_id)
    header, rows = csv_rows(trial_table(run, "trial"))
    return csv_response(f"run-{run.pk}-trials.csv", header, rows)


@vary_on_headers("HX-Request")
def trial_detail(request: HttpRequest, run_id: int, number: int) -> HttpResponse:
    """One trial: parameters, the result of every fold and seed, how long it took, the hash of its weights."""
    run = find_run(run_id)
    trial = get_object_or_404(Trial, run=run, number=number - 1)
    row = TrialRow(trial)
    largest = max((abs(part.get("score") or 0) for part in trial.parts), default=0) or 1
    context = {"run": run, "view": RunView(run), "trial": trial, "row": row, "parts": parts(trial), "largest": largest}
    by_script = getattr(request, "htmx", False)
    return render(request, "agents/study/_trial.html" if by_script else "agents/study_trial.html", context)


def parts(trial: Trial) -> list[dict[str, Any]]:
    """Results per fold and seed, folds and seeds counted from one; in order."""
    rows = sorted(trial.parts, key=lambda part: (part.get("fold") or 0, part.get("seed") or 0))
    return [{**part, "fold": (part.get("fold") or 0) + 1, "seed": (part.get("seed") or 0) + 1} for part in rows]


def summary(run: TrainingRun) -> dict[str, Any]:
    """How many trials of each state, the best, and how many it took to find it."""
    trials = list(run.trials.order_by("number"))
    scored = [trial for trial in trials if trial.value is not None]
    best = max(scored, key=lambda trial: trial.value or 0.0, default=None)
    seconds = [trial.duration_seconds for trial in trials if trial.duration_seconds]
    return {
        "best": TrialRow(best) if best else None, "n_trials": len(trials),
        "n_states": {state.value: sum(trial.state == state for trial in trials) for state in Trial.State},
        "mean_seconds": sum(seconds) / len(seconds) if seconds else None,
        "spread": _median([trial.value for trial in scored if trial.value is not None]),
    }  # fmt: skip


def parallel(table: TrialTable) -> dict[str, Any]:
    """Axes and lines of the parallel picture: the parameters that varied, then the score.

    An axis is {"name", "label", "choices"} or {…, "low", "high", "log"}; a line is a trial's number, values, state.
    """
    rows = sorted((row for row in table.rows if row.trial.value is not None), key=lambda row: -(row.trial.value or 0))
    rows = rows[:MOST_LINES]
    if not rows or not varying(rows):
        return {"axes": [], "trials": []}
    axes = [_axis(name, [row.trial.parameters.get(name) for row in rows]) for name in varying(rows)]
    scores = [float(row.trial.value or 0.0) for row in rows]
    axes.append({"name": "score", "label": "Score", "low": min(scores), "high": max(scores), "log": False})
    trials = [
        {
            "number": row.number, "best": row.trial.is_best, "score": row.trial.value,
            "values": [row.trial.value if axis["name"] == "score" else _plain(row, axis) for axis in axes],
        }
        for row in rows
    ]  # fmt: skip
    return {"axes": axes, "trials": trials}


def _axis(name: str, values: list[Any]) -> dict[str, Any]:
    label = parameter_words(name)
    numbers = [float(value) for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    distinct = {str(value) for value in values if value is not None}
    if len(numbers) < len(values) or len(distinct) <= 3:
        return {"name": name, "label": label, "choices": sorted(distinct, key=_order)}
    low, high = min(numbers), max(numbers)
    return {"name": name, "label": label, "low": low, "high": high, "log": logarithmic(numbers)}


def _plain(row: TrialRow, axis: dict[str, Any]) -> Any:
    value = row.trial.parameters.get(axis["name"])
    return str(value) if "choices" in axis and value is not None else value


def _order(text: str) -> tuple[int, float, str]:
    try:
        return (0, float(text), text)
    except ValueError:
        return (1, 0.0, text)


def _median(values: list[float]) -> float | None:
    ordered = sorted(values)
    return ordered[len(ordered) // 2] if ordered else None
