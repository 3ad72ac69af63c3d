"""The learning curves of a run as pages draw and export them: one part at a time, thinned, patched by id."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

import numpy as np
from django.db.models import Max

from agents.models import TrainingPoint, TrainingRun, Trial
from agents.training_pages.thinning import MOST_POINTS, thin
from agents.training_pages.training_words import part_words, series_words

MOST_PARTS = 60  # offered in the list of parts, the newest first
# More new rows than this and the whole curve is cheaper.
MOST_NEW = 200
CHARTS = {
    "return": ("episode_return", "score"), "losses": ("loss/",), "actions": ("action/",), "rewards": ("reward/",),
    "speed": ("steps_per_second", "cpu", "memory_mb"),
}  # fmt: skip


@dataclass(frozen=True)
class Curve:
    """The points of one part of a run, in order of steps."""

    part: str
    last: int  # id of its newest point
    steps: np.ndarray  # shape (T,), ascending
    columns: dict[str, np.ndarray]  # shape (T,) each, NaN where nothing was recorded


def read(run: TrainingRun, part: str) -> Curve:
    """All points of a part, one row per step."""
    rows = list(TrainingPoint.objects.filter(run=run, part=part).order_by("id").values_list("id", "step", "values"))
    steps, columns = _columns(rows)
    return Curve(part, rows[-1][0] if rows else 0, steps, columns)


def parts(run: TrainingRun) -> list[str]:
    """What has learned so far, the newest first."""
    rows = TrainingPoint.objects.filter(run=run).values("part").annotate(last=Max("id")).order_by("-last")
    return [row["part"] for row in rows[:MOST_PARTS]]


def followed(run: TrainingRun, known: list[str]) -> str:
    """The part to show when nobody has chosen one: of the first trial at work, else the newest of all.

    With several workers the newest point belongs to another trial every moment; the curve must not flicker.
    """
    at_work = run.trials.filter(state=Trial.State.RUNNING).order_by("number").values_list("number", flat=True)
    for number in at_work:
        mine = next((part for part in known if part.startswith(f"trial-{number}/")), None)
        if mine:
            return mine
    return known[0] if known else ""


def answer(run: TrainingRun, part: str = "", since: int = 0, shown: str = "") -> dict[str, Any]:
    """What the page's charts need now.

    part: the chosen one, empty to follow what is learning. since: id of the newest point the page has of `shown`.
    Returns: only the new points ("whole": False) if the page shows that part already and they are few.
    """
    known = parts(run)
    wanted = part if part in known else followed(run, known)
    found: dict[str, Any] = {"part": wanted, "words": part_words(wanted) if wanted else "", "trials": trial_bars(run)}
    found["parts"] = [[name, part_words(name)] for name in known]
    if since and wanted and wanted == shown:
        rows = list(
            TrainingPoint.objects.filter(run=run, part=wanted, id__gt=since)
            .order_by("id").values_list("id", "step", "values")[: MOST_NEW + 1]
        )  # fmt: skip
        if len(rows) <= MOST_NEW:
            return {**found, "whole": False, "last": rows[-1][0] if rows else since, **_new(rows)}
    curve = read(run, wanted)
    steps, columns = thin(curve.steps, curve.columns)
    return {
        **found, "whole": True, "last": curve.last, "n": int(curve.steps.size), "most": MOST_POINTS,
        "steps": steps.tolist(), "values": {name: _listed(column) for name, column in columns.items()},
        "labels": {name: series_words(name) for name in columns}, "other": _comparison(run, wanted),
        "counted": counted(run),
    }  # fmt: skip


def counted(run: TrainingRun) -> list[str]:
    """The parts of the reward that have a weight in the run's settings; the others are measured but teach nothing."""
    found = run.configuration.data.get("reward", {})
    first = "risk_adjusted_return" if found.get("kind") == "risk_adjusted" else "net_return"
    weighted = [name for name, weight in found.items() if isinstance(weight, int | float) and weight]
    return [f"reward/{name}" for name in dict.fromkeys([first, *weighted]) if name != "net_return" or first == name]


def trial_bars(run: TrainingRun) -> list[list[Any]]:
    """Number from one, score and best score so far of every trial, in order; a score is None while there is none."""
    rows, best = [], None
    for number, value in run.trials.order_by("number").values_list("number", "value"):
        best = value if best is None or (value is not None and value > best) else best
        rows.append([number + 1, value, best])
    return rows


def table(run: TrainingRun, chart: str, part: str) -> tuple[list[str], Iterable[list[Any]]]:
    """Header and rows of what a chart draws, nothing thinned. Raises: KeyError for an unknown chart."""
    if chart == "trials":
        return ["trial", "score", "best_so_far"], trial_bars(run)
    wanted = CHARTS[chart]
    curve = read(run, part or followed(run, parts(run)))
    names = [name for name in curve.columns if any(name == one or name.startswith(one) for one in wanted)]
    columns = [_listed(curve.columns[name]) for name in names]
    header = ["part", "step", *names]
    return header, ([curve.part, *row] for row in zip(curve.steps.tolist(), *columns, strict=True))


def _comparison(run: TrainingRun, part: str) -> dict[str, Any] | None:
    """The return per episode of the best trial so far on the same fold and seed, to be drawn behind."""
    best = run.trials.exclude(value=None).order_by("-value").values_list("number", flat=True).first()
    head, _, rest = part.partition("/")
    if best is None or head == f"trial-{best}" or not head.startswith("trial-"):
        return None
    curve = read(run, f"trial-{best}/{rest}" if rest else f"trial-{best}")
    if "episode_return" not in curve.columns:
        return None
    steps, columns = thin(curve.steps, {"episode_return": curve.columns["episode_return"]})
    words = f"best so far, trial {best + 1}"
    return {"words": words, "steps": steps.tolist(), "values": _listed(columns["episode_return"])}


def _new(rows: list[tuple[int, int, dict[str, Any]]]) -> dict[str, Any]:
    steps, columns = _columns(rows)
    return {"steps": steps.tolist(), "values": {name: _listed(column) for name, column in columns.items()}}


def _columns(rows: list[tuple[int, int, dict[str, Any]]]) -> tuple[np.ndarray, dict[str, np.ndarray]]:
    """Rows of (id, step, values) as columns. A step may have several rows: losses in one, its score in another."""
    at_step: dict[int, dict[str, Any]] = {}
    for _, step, values in rows:
        at_step[step] = at_step.get(step, {}) | values
    steps = sorted(at_step)
    names = sorted({name for values in at_step.values() for name in values})
    columns = {name: _column((at_step[step] for step in steps), name) for name in names}
    return np.array(steps, dtype=np.int64), columns


def _column(rows: Iterable[dict[str, Any]], name: str) -> np.ndarray:
    values = [row.get(name) for row in rows]
    numbers = [np.nan if value is None or isinstance(value, str) else float(value) for value in values]
    return np.array(numbers, dtype=np.float64)


def _listed(column: np.ndarray) -> list[float | None]:
    """For JSON, which has neither NaN nor infinity; six digits are more than a screen shows."""
    return [float(f"{value:.6g}") if np.isfinite(value) else None for value in column.tolist()]
