"""What a finished run publishes: one version, proven by its one look at the unseen period, deployed if all is well."""

from django.db import transaction

from agents import evidence, registry
from agents.assignment import Assignment
from agents.backtest import BacktestResult, jsonable, run_backtest
from agents.final import Learned
from agents.models import Backtest, ModelVersion, TrainingRun, Trial
from agents.policy import ServedPolicy
from core.models import Account

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
            "study": {"trial": trial.number, "value": trial.value, "objectives": trial.objectives, **learned.how},
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
