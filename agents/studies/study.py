"""One study: what trial n tries and when it ends early, from nothing but the seed and earlier trials' results. Pure.

Workers finish in any order, yet the same seed must give the same study. So trial n may look only at the trials up to
n - lag, all of which must have ended; they are put into a study in memory that draws trial n and judges it. A number
in between stands there as failed: Optuna's samplers and pruners pass over it.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

import numpy as np
import optuna
from optuna.trial import FrozenTrial, TrialState

from agents.studies.search import suggest
from agents.training_pages.training_settings import HYPERBAND, MEDIAN, NSGA2

SMALLEST_LAG, LARGEST_LAG = 2, 16  # workers that can be busy at once; more trials allow more
TRIALS_PER_LAG = 4
RANDOM_TRIALS = 10  # before the sampler has anything to learn from; fewer in small studies
USUAL_POPULATION, LARGEST_POPULATION = 4, 50
REDUCTION = 3  # of Hyperband: a third goes on
RUNGS = 9  # Hyperband's first look at a trial comes after a ninth of it
# Hyperband shares its trials out among three brackets that learn nothing of each other. In a smaller study that would
# leave each too few to learn from, so it has one: trials are looked at after a third.
TRIALS_FOR_BRACKETS = 27
DRAW = 1_000_001  # apart from the seeds of learnings
# The aims of a study of several, and whether more is better.
AIMS: dict[str, Literal["maximize", "minimize"]] = {
    "sharpe": "maximize",
    "drawdown": "minimize",
    "turnover": "minimize",
}


@dataclass(frozen=True, kw_only=True)
class StudyPlan:
    """All that decides a study besides the trials' results."""

    seed: int
    n_trials: int
    n_resources: int  # evaluations of a whole trial, all folds and seeds together
    space: dict[str, dict[str, Any]] = field(default_factory=dict)  # of search.search_space
    sampler: str = "tpe"
    pruner: str = HYPERBAND

    @property
    def lag(self) -> int:
        """How many trials before n trial n does not look at; as many can run at once."""
        return min(max(self.n_trials // TRIALS_PER_LAG, SMALLEST_LAG), LARGEST_LAG)

    @property
    def directions(self) -> list[Literal["maximize", "minimize"]]:
        """Of the objective, or of each aim."""
        return list(AIMS.values()) if self.sampler == NSGA2 else ["maximize"]

    def n_settled(self, number: int) -> int:
        """How many trials, from the first on, must have ended before this one begins."""
        return max(number - self.lag + 1, 0)


def seed_for(*path: int) -> int:
    """A seed below 2**31 from whole numbers, such as the run's seed, the trial, the repetition."""
    # With its length, or paths that end in noughts would be the same.
    return int(np.random.SeedSequence([len(path), *path]).generate_state(1)[0] >> 1)


class Drawn:
    """A trial in memory: its parameters, and whether what it reports is enough to end it."""

    def __init__(self, plan: StudyPlan, number: int, settled: Sequence[FrozenTrial]) -> None:
        if len(settled) < plan.n_settled(number):
            raise ValueError(f"trial {number} needs {plan.n_settled(number)} ended trials, got {len(settled)}")
        self.plan, self.number = plan, number
        # Hyperband shares trials out by the study's name, so the name must not differ between equal studies.
        study = optuna.create_study(
            study_name=f"study-{plan.seed}",
            storage=optuna.storages.InMemoryStorage(),
            sampler=_sampler(plan, number),
            pruner=_pruner(plan),
            directions=plan.directions,
        )
        study.add_trials(settled[: plan.n_settled(number)])
        for _ in range(number - plan.n_settled(number)):
            study.add_trial(optuna.trial.create_trial(state=TrialState.FAIL))
        self._study = study
        self._trial = study.ask()
        self.parameters = suggest(self._trial, plan.space)

    def report(self, step: int, value: float) -> bool:
        """Note the value after `step` evaluations, from 1. Returns: whether to end the trial."""
        if self.plan.sampler == NSGA2:
            return False  # several aims have no order in which one could be behind
        if step in self._frozen.intermediate_values:
            return False  # seen before, and it went on
        self._trial.report(value, step)
        # Asked even of the last evaluation, for later trials are held against the answer; but then it is done anyway.
        return self._trial.should_prune() and step < self.plan.n_resources

    def ended(self, state: TrialState, values: Sequence[float] | None, about: dict[str, Any]) -> FrozenTrial:
        """The trial as the study keeps it. values: the objective or the aims, None unless complete."""
        frozen = self._frozen
        return optuna.trial.create_trial(
            state=state,
            values=list(values) if values is not None else None,
            params=frozen.params,
            distributions=frozen.distributions,
            intermediate_values=frozen.intermediate_values,
            user_attrs=about,
            system_attrs=frozen.system_attrs,
        )

    @property
    def _frozen(self) -> FrozenTrial:
        return self._study.get_trials(deepcopy=False)[-1]


def _sampler(plan: StudyPlan, number: int) -> optuna.samplers.BaseSampler:
    seed = seed_for(plan.seed, DRAW, number)
    if plan.sampler == NSGA2:
        return optuna.samplers.NSGAIISampler(population_size=population(plan.n_trials), seed=seed)
    n_random = min(RANDOM_TRIALS, max(plan.n_trials // 4, 2))
    return optuna.samplers.TPESampler(seed=seed, n_startup_trials=n_random)


def population(n_trials: int) -> int:
    """Trials of a generation of NSGA-II: a quarter of all, in a small study fewer, so that there is a second one."""
    return min(max(n_trials // 4, min(USUAL_POPULATION, n_trials // 2), 2), LARGEST_POPULATION)


def _pruner(plan: StudyPlan) -> optuna.pruners.BasePruner:
    if plan.pruner == HYPERBAND and plan.n_trials < TRIALS_FOR_BRACKETS:
        least = max(plan.n_resources // REDUCTION, 1)
        return optuna.pruners.SuccessiveHalvingPruner(min_resource=least, reduction_factor=REDUCTION)
    if plan.pruner == HYPERBAND:
        least = max(plan.n_resources // RUNGS, 1)
        return optuna.pruners.HyperbandPruner(least, plan.n_resources, REDUCTION)
    if plan.pruner == MEDIAN:
        return optuna.pruners.MedianPruner(n_startup_trials=2, n_warmup_steps=1)
    return optuna.pruners.NopPruner()


def knee(aims: Sequence[Sequence[float]]) -> int:
    """Which of several trials to take when there are several aims. aims: per trial Sharpe, drawdown, turnover.

    Of those that no other beats in every aim (the Pareto front), the one nearest to the best of each aim: every aim is
    brought to 0 (best on the front) to 1 (worst), and the smallest distance from all zeros wins; a tie, the earlier.
    Raises: ValueError without trials.
    """
    if not aims:
        raise ValueError("no trial has all its aims: nothing to choose from")
    costs = np.array([[-sharpe, drawdown, turnover] for sharpe, drawdown, turnover in aims])
    front = [row for row in range(len(costs)) if not _beaten(costs, row)]
    chosen = costs[front]
    spread = np.ptp(chosen, axis=0)
    scaled = (chosen - chosen.min(axis=0)) / np.where(spread > 0, spread, 1.0)
    return front[int(np.argmin(np.sqrt((scaled**2).sum(axis=1))))]


def _beaten(costs: np.ndarray, row: int) -> bool:
    return bool(((costs <= costs[row]).all(axis=1) & (costs < costs[row]).any(axis=1)).any())


def middle(scores: Sequence[float]) -> int:
    """Which of several equal learnings to publish: the one with the median score, of two in the middle the lower.

    Never the best one, whose lead over the others is luck. Raises: ValueError without scores.
    """
    if not scores:
        raise ValueError("no score: nothing to choose from")
    order = sorted(range(len(scores)), key=lambda place: (scores[place], place))
    return order[(len(scores) - 1) // 2]


def part_score(evaluations: Sequence[float]) -> float:
    """What one learning is worth: the median of the later half of its evaluations, finite. NaN for none.

    Not the best one: that is the luckiest look, and on noise it would grow with every further look.
    """
    later = list(evaluations)[len(evaluations) // 2 :]
    return float(np.median(later)) if later else math.nan
