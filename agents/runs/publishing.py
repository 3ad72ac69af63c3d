"""What a finished run publishes: one version, proven by its one look at the unseen period, deployed if all is well."""

from typing import Any

from django.db import transaction

from agents import evidence, registry
from agents.assignment import Assignment
from agents.models import Backtest, ModelVersion, TrainingRun, Trial
from agents.policies.backtest import PERIODS_PER_YEAR, BacktestResult, jsonable, run_backtest
from agents.policies.policy import ServedPolicy
from agents.runs.final import Learned
from agents.studies.skill import judge_sharpes
from agents.training_pages.skill_words import skill_words
from core.models import Account
from core.simulation.fees import load_fees

PERIODS = (Backtest.Period.VALIDATION, Backtest.Period.UNSEEN)


def backtest(assignment: Assignment, policy: ServedPolicy, period: str) -> BacktestResult:
    """The policy over the validation or the unseen period."""
    fold = len(assignment.folds) - 1
    data = assignment.data(fold, policy.spec)
    rows = data.unseen if period == Backtest.Period.UNSEEN else data.validation
    return run_backtest(
        policy, data.market, data.bars.time, rows.first, rows.last,
        reward=assignment.settings.reward, start_cash=assignment.start_cash,
    )  # fmt: skip


def skill_of(run: TrainingRun, assignment: Assignment, best: Trial) -> dict[str, Any]:
    """What the best of a study's trials is worth against luck, with `words`, one sentence.

    Trials that ended early were tries as well. A trial's value is the median over folds and seeds of yearly Sharpe
    ratios after costs.
    """
    per_bar = PERIODS_PER_YEAR**-0.5
    values = [float(value) * per_bar for value in run.trials.values_list("value", flat=True) if value is not None]
    n_bars = sum(len(fold.validation) for fold in assignment.folds)
    found = judge_sharpes(float(best.value or 0.0) * per_bar, values, n_bars).to_dict()
    return {**found, "words": skill_words(found, PERIODS_PER_YEAR)}


@transaction.atomic
def publish(run: TrainingRun, assignment: Assignment, trial: Trial, learned: Learned) -> ModelVersion:
    """Register, prove and, if all is well and only paper is at stake, deploy: all or nothing."""
    run.trials.update(is_best=False)
    run.trials.filter(pk=trial.pk).update(is_best=True)
    validation, unseen = (backtest(assignment, learned.policy, period) for period in PERIODS)
    provenance = registry.Provenance(
        seed=learned.seed,
        data_fingerprint=assignment.dataset.fingerprint,
        parameters=trial.parameters,
        metrics={
            "validation": jsonable(validation.metrics), "unseen": jsonable(unseen.metrics),
            "study": {
                "trial": trial.number, "value": trial.value, "objectives": trial.objectives, **learned.how,
                "skill": skill_of(run, assignment, trial),
            },
            "fees_version": load_fees().version,
        },
        study_name=run.study_name,
    )  # fmt: skip
    model = registry.register(run, learned.policy, provenance)
    TrainingRun.objects.filter(pk=run.pk).update(weights_sha256=model.weights_sha256)
    if not model.backtests.filter(period=Backtest.Period.UNSEEN).exists():
        evidence.store(model, Backtest.Period.VALIDATION, validation)
        proof = evidence.store(model, Backtest.Period.UNSEEN, unseen)
        if registry.prove(model, proof) and _may_deploy(run):
            registry.deploy(model, actor=f"training:{run.pk}")
    return model


def _may_deploy(run: TrainingRun) -> bool:
    """A version that was learned in seconds to try things out never trades by itself."""
    agent = run.agent
    paper = agent.book.account.mode == Account.Mode.PAPER
    return agent.deploy_when_proven and paper and run.mode == TrainingRun.Mode.FULL
