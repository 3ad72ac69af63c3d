"""The trials of a run as a table: parameters, score, worst fold, turnover, time, state; sortable, and as CSV."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from statistics import median
from typing import Any

from agents.models import TrainingRun, Trial
from agents.training_pages.training_words import parameter_words

N_FEW, N_AT_WORK, N_FEW_PARAMETERS = 8, 3, 4
FIXED = ("trial", "score", "worst", "turnover", "drawdown", "time", "state")
LABELS = {
    "trial": "Trial", "score": "Score, median", "worst": "Worst fold", "turnover": "Turnover",
    "drawdown": "Below the peak", "time": "Time", "state": "State",
}  # fmt: skip
ORDER = {Trial.State.RUNNING: 0, Trial.State.DONE: 1, Trial.State.PRUNED: 2, Trial.State.FAILED: 3}


@dataclass(frozen=True)
class TrialRow:
    """One trial, ready to be shown."""

    trial: Trial

    @property
    def number(self) -> int:
        """As people count, from one."""
        return self.trial.number + 1

    @property
    def worst(self) -> float | None:
        """The lowest of the folds, each by the median of its seeds; None before two folds are known."""
        folds: dict[Any, list[float]] = {}
        for part in self.trial.parts:
            if part.get("score") is not None:
                folds.setdefault(part.get("fold"), []).append(part["score"])
        return min(map(median, folds.values())) if len(folds) > 1 else None

    def measure(self, name: str) -> float | None:
        """An aim by name, such as turnover; from the study's aims, else from the validation metrics."""
        found = self.trial.objectives.get(name, self.trial.metrics.get({"drawdown": "max_drawdown"}.get(name, name)))
        return float(found) if isinstance(found, int | float) else None

    @property
    def turnover(self) -> float | None:
        return self.measure("turnover")

    @property
    def drawdown(self) -> float | None:
        return self.measure("drawdown")

    def key(self, name: str) -> Any:
        """What a column sorts by."""
        trial = self.trial
        known = {
            "trial": trial.number, "score": trial.value, "worst": self.worst, "turnover": self.turnover,
            "drawdown": self.drawdown, "time": trial.duration_seconds, "state": ORDER.get(trial.state, 9),  # type: ignore[call-overload]
        }  # fmt: skip
        return known[name] if name in known else trial.parameters.get(name)


@dataclass(frozen=True)
class TrialTable:
    """Rows and columns of a study."""

    rows: list[TrialRow]
    names: list[str]  # parameters that have a column
    n_all: int  # trials there are
    sort: str = "-score"

    @property
    def columns(self) -> list[dict[str, Any]]:
        """The header: name, label, whether it is a number, and what a click sorts by."""
        wanted = [*FIXED[:5], *self.names, *FIXED[5:]]
        here, down = self.sort.lstrip("-"), self.sort.startswith("-")
        return [
            {
                "name": name, "label": LABELS.get(name) or parameter_words(name),
                "number": name not in ("trial", "state"),
                "order": ("descending" if down else "ascending") if name == here else "",
                "next": name if name == here and down else f"-{name}",
            }
            for name in wanted
        ]  # fmt: skip


def few_trials(run: TrainingRun) -> TrialTable:
    """The best few and those at work, with the parameters in which they differ; for a page that has more to show."""
    whole = trial_table(run)
    at_work = [row for row in whole.rows if row.trial.state == Trial.State.RUNNING and row.trial.value is None][
        :N_AT_WORK
    ]
    best = [row for row in whole.rows if row not in at_work][: N_FEW - len(at_work)]
    return TrialTable([*best, *at_work], varying(whole.rows)[:N_FEW_PARAMETERS], whole.n_all)


def trial_table(run: TrainingRun, sort: str = "-score") -> TrialTable:
    """Every trial in the wanted order; what has no value comes last."""
    rows = [TrialRow(trial) for trial in run.trials.order_by("number")]
    names = sorted({name for row in rows for name in row.trial.parameters})
    name = sort.lstrip("-")
    if name not in (*FIXED, *names):
        name, sort = "score", "-score"
    rows.sort(key=lambda row: _sortable(row.key(name)), reverse=sort.startswith("-"))
    rows.sort(key=lambda row: row.key(name) is None)
    return TrialTable(rows, names, len(rows), sort)


def varying(rows: list[TrialRow]) -> list[str]:
    """Parameters that take more than one value, by name; if none does, all of them."""
    values: dict[str, set[str]] = {}
    for row in rows:
        for name, value in row.trial.parameters.items():
            values.setdefault(name, set()).add(str(value))
    return sorted(name for name, found in values.items() if len(found) > 1) or sorted(values)


def csv_rows(table: TrialTable) -> tuple[list[str], Iterable[list[Any]]]:
    """Header and rows for CSV: technical names, plain numbers."""
    header = ["number", "state", "value", "worst_fold", "turnover", "max_drawdown", "seed", "seconds", "is_best"]
    return [*header, *table.names], (_csv_row(row, table.names) for row in table.rows)


def _csv_row(row: TrialRow, names: list[str]) -> list[Any]:
    trial = row.trial
    fixed = [trial.number, trial.state, trial.value, row.worst, row.turnover, row.drawdown]
    return [*fixed, trial.seed, trial.duration_seconds, trial.is_best, *(trial.parameters.get(name) for name in names)]


def _sortable(value: Any) -> tuple[int, Any]:
    """Numbers by size, everything else by its words."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return (1, str(value))
    return (0, value)
