"""Which parameters mattered in a study: PED-ANOVA over its finished trials, by Optuna."""

from __future__ import annotations

from dataclasses import dataclass
from math import log
from statistics import median
from typing import Any

from django.core.cache import cache

from agents.models import TrainingRun, Trial

FEWEST_TRIALS = 15  # below that the answer is mostly luck
# Optuna's own default, a tenth, names the wrong parameter in half of 40-trial studies where a choice of three decides
# the score under noise; a third names the right one in all of them.
BEST_SHARE = 1 / 3
FEW_VALUES = 6  # a number that took at most so many values, all often, is a choice
LOG_RATIO = 4.0  # a narrower range looks the same on either scale
KEPT_SECONDS = 3600


@dataclass(frozen=True)
class Importance:
    """Shares of the parameters, the most important first; empty with a reason when nothing honest can be said."""

    rows: list[tuple[str, float]]  # name, share of all, 0 to 1
    n_trials: int
    reason: str = ""


def importance(run: TrainingRun) -> Importance:
    """The shares for a run, computed once for every number of finished trials."""
    n_done = run.trials.filter(state=Trial.State.DONE, value__isnull=False).count()
    key = f"importance-{run.pk}-{n_done}-{run.trials.count()}"
    found = cache.get(key)
    if found is None:
        rows = run.trials.filter(state=Trial.State.DONE, value__isnull=False).order_by("number")
        found = measure([(trial.parameters, float(trial.value or 0.0)) for trial in rows])
        cache.set(key, found, KEPT_SECONDS)
    return found


def measure(trials: list[tuple[dict[str, Any], float]]) -> Importance:
    """How much each parameter decides whether a trial belongs to the best third.

    trials: parameters and score of finished trials, higher scores are better.
    Parameters that never changed or that some trial lacks are left out. Shares sum to 1.
    Source: Watanabe, Bansal and Hutter, "PED-ANOVA", IJCAI 2023, as in optuna.importance.
    """
    n = len(trials)
    if n < FEWEST_TRIALS:
        return Importance([], n, f"Too few trials to tell: {n} have finished, {FEWEST_TRIALS} are needed.")
    if len({score for _, score in trials}) == 1:
        return Importance([], n, "All trials scored the same, so no parameter made a difference.")
    names = [name for name in trials[0][0] if all(name in parameters for parameters, _ in trials)]
    spans = {name: _span([parameters[name] for parameters, _ in trials]) for name in names}
    spans = {name: span for name, span in spans.items() if span is not None}
    if not spans:
        return Importance([], n, "No parameter took more than one value, so there is nothing to compare.")
    if len(spans) == 1:
        return Importance([(next(iter(spans)), 1.0)], n, "Only one parameter was varied.")
    return Importance(_shares(trials, spans), n)


def _shares(trials: list[tuple[dict[str, Any], float]], spans: dict[str, Any]) -> list[tuple[str, float]]:
    import optuna  # takes a second to import, and most pages need none of it

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    study = optuna.create_study(direction="maximize")
    for parameters, score in trials:
        drawn = {name: _as_drawn(parameters[name], spans[name]) for name in spans}
        study.add_trial(optuna.trial.create_trial(params=drawn, distributions=spans, value=score))
    evaluator = optuna.importance.PedAnovaImportanceEvaluator(target_quantile=BEST_SHARE)
    found = optuna.importance.get_param_importances(study, evaluator=evaluator)
    return sorted(((name, float(share)) for name, share in found.items()), key=lambda row: -row[1])


def _span(values: list[Any]) -> Any:
    """The range a parameter was drawn from, as far as its values tell; None if it never changed."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    distinct = sorted({str(value) for value in values})
    if len(distinct) < 2:
        return None
    numbers = all(isinstance(value, int | float) and not isinstance(value, bool) for value in values)
    if not numbers or len(distinct) <= FEW_VALUES:
        return CategoricalDistribution(distinct)
    return FloatDistribution(float(min(values)), float(max(values)), log=logarithmic(values))


def logarithmic(values: list[float]) -> bool:
    """Whether values look drawn on a logarithmic scale: their median lies nearer to that scale's middle."""
    low, high, middle = min(values), max(values), median(values)
    if low <= 0 or high / low < LOG_RATIO:
        return False
    linear = abs((middle - low) / (high - low) - 0.5)
    return abs(log(middle / low) / log(high / low) - 0.5) < linear


def _as_drawn(value: Any, span: Any) -> Any:
    return str(value) if hasattr(span, "choices") else float(value)
