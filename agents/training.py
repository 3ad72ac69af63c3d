"""One training run: a study, the best trial, one look at the unseen period, one model version.

A run that died goes on where it was: finished trials stay, the lost one is repeated with the same parameters and seed.
"""

import logging
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import optuna
from django.conf import settings as django_settings
from django.db import transaction
from django.utils import timezone

from agents import evidence, learning, registry, tuning
from agents.agent_settings import settings_of
from agents.backtest import BacktestResult, jsonable, run_backtest
from agents.configuration import AgentSettings
from agents.dataset import Dataset, prepare
from agents.learning import Progress, TrainingDiverged, TrainingStopped
from agents.market_view import load_inputs
from agents.models import Backtest, ModelVersion, TrainingRun, Trial
from agents.policy import PolicyFileError, ServedPolicy
from agents.search import search_space, suggest
from core.journal import record
from core.models import Account, Instrument
from core.notices import notify
from marketdata.corporate import load_per_bar
from marketdata.features.store import FeatureStore
from marketdata.queries import load_bars

logger = logging.getLogger(__name__)

# Share of the progress bar that the study takes; loading and the last backtest are quick.
STUDY_SHARE = 0.96
SEEDS_PER_RUN = 1_000


class TrainingFailed(RuntimeError):
    """The run cannot make a version; the message says what a person should change."""


@dataclass
class Training:
    """A run being carried out."""

    run: TrainingRun
    settings: AgentSettings
    dataset: Dataset
    should_stop: Callable[[], bool]
    on_progress: Callable[[str], None]

    @property
    def start_cash(self) -> float:
        """What the agent's book began with, so that sizes and costs are those of live trading."""
        return float(self.run.agent.book.start_cash)

    def say(self, phase: str, n_done: int, progress: Progress | None = None) -> None:
        """Write where the run stands and tell the pages. n_done: finished trials."""
        n_steps = self.settings.training.n_steps
        done = n_done * n_steps + (progress.steps_done if progress else 0)
        total = self.settings.training.n_trials * n_steps
        values: dict[str, Any] = {"phase": phase, "n_steps_done": done, "n_steps_total": total}
        values["progress"] = min(done / total, 1.0) * STUDY_SHARE
        if progress:
            values["steps_per_second"] = progress.steps_per_second
        TrainingRun.objects.filter(pk=self.run.pk).update(**values)
        notify("training", run=self.run.pk)
        self.on_progress(phase)

    def study(self) -> None:
        """Carry out the trials that are still missing. Raises: TrainingStopped, TrainingFailed."""
        with tuning.open_storage() as storage:
            study = tuning.open_study(storage, self.run.study_name)
            self._recover(study)
            while (n_done := self._done().count()) < self.settings.training.n_trials:
                if self.should_stop():
                    raise TrainingStopped
                self._one_trial(study, n_done)

    def _done(self) -> Any:
        """Trials that count: finished, stopped early or diverged, but not lost with their process."""
        return self.run.trials.exclude(state=Trial.State.RUNNING).exclude(metrics__has_key="lost")

    def _recover(self, study: optuna.Study) -> None:
        """Bring study and rows together after a process died between them."""
        for frozen in tuning.unfinished(study):
            row = self.run.trials.filter(number=frozen.number).first()
            if row is not None and row.state == Trial.State.DONE:
                study.tell(frozen.number, row.value)
            elif row is not None and row.state == Trial.State.PRUNED:
                study.tell(frozen.number, state=optuna.trial.TrialState.PRUNED)
            else:
                # Without a row it was lost before its first step; its draws come again by themselves.
                tuning.give_up(study, frozen.number, parameters=row.parameters if row else None)
        lost = self.run.trials.filter(state=Trial.State.RUNNING)
        lost.update(state=Trial.State.FAILED, metrics={"lost": "its process ended; repeated"})

    def _one_trial(self, study: optuna.Study, n_done: int) -> None:
        seed = self.run.seed * SEEDS_PER_RUN + n_done
        asked = tuning.ask(study, seed)
        parameters = suggest(asked, search_space(self.settings.algorithm, self.settings.training.search))
        row = Trial.objects.create(run=self.run, number=asked.number, seed=seed, parameters=parameters)
        phase = f"Trial {n_done + 1} of {self.settings.training.n_trials}"
        self.say(phase, n_done)
        logger.info("%s: %s", self.run, phase)
        best = float("-inf")

        def judge(number: int, score: float) -> bool:
            nonlocal best
            best = max(best, score)
            asked.report(best, number)
            return asked.should_prune()

        trial = learning.Trial(
            self.dataset, self.settings, parameters, seed, start_cash=self.start_cash,
            report=lambda progress: self.say(phase, n_done, progress), judge=judge, should_stop=self.should_stop,
        )  # fmt: skip
        started = time.monotonic()
        try:
            result = trial.run()
        except TrainingDiverged as error:
            logger.warning("%s trial %s: %s", self.run, asked.number, error)
            self._close(row, Trial.State.FAILED, started, metrics={"problem": str(error)})
            tuning.give_up(study, asked.number)
            return
        except TrainingStopped:
            self._close(row, Trial.State.FAILED, started, metrics={"lost": "stopped before its end"})
            tuning.give_up(study, asked.number, parameters=parameters)
            raise
        # The row first: after a crash it tells the study, while the study could not fill the row.
        metrics = jsonable(result.validation.metrics) | {"evaluations": result.evaluations}
        if trial.pruned:
            self._close(row, Trial.State.PRUNED, started, value=result.score, metrics=metrics)
            study.tell(asked, state=optuna.trial.TrialState.PRUNED)
            return
        registry.write_file(self._file(asked.number), result.policy.to_bytes())
        self._close(row, Trial.State.DONE, started, value=result.score, metrics=metrics)
        study.tell(asked, result.score)

    def _close(self, row: Trial, state: str, started: float, *, metrics: dict, value: float | None = None) -> None:
        row.state, row.metrics, row.value = state, metrics, value
        row.duration_seconds = time.monotonic() - started
        row.save()
        notify("training", run=self.run.pk)

    def _file(self, number: int) -> Path:
        return registry.models_dir() / "trials" / f"run-{self.run.pk}-trial-{number}.safetensors"

    def best(self) -> tuple[Trial, ServedPolicy]:
        """The finished trial with the highest score and the weights it had then. Raises: TrainingFailed."""
        for row in self.run.trials.filter(state=Trial.State.DONE).order_by("-value", "number"):
            try:
                return row, ServedPolicy.from_bytes(self._file(row.number).read_bytes())
            except (OSError, PolicyFileError) as error:
                logger.warning("%s: the weights of trial %s are lost: %s", self.run, row.number, error)
        problems = {row.metrics.get("problem", "") for row in self.run.trials.filter(state=Trial.State.FAILED)}
        raise TrainingFailed(f"no trial finished: {'; '.join(filter(None, problems)) or 'their files are gone'}")

    def backtest(self, policy: ServedPolicy, period: str) -> BacktestResult:
        """The policy over the validation or the unseen period."""
        rows = self.dataset.unseen if period == Backtest.Period.UNSEEN else self.dataset.validation
        return run_backtest(
            policy, self.dataset.market, self.dataset.bars.time, rows.first, rows.last,
            reward=self.settings.reward, start_cash=self.start_cash,
        )  # fmt: skip

    @transaction.atomic
    def publish(self, trial: Trial, policy: ServedPolicy, unseen: BacktestResult) -> ModelVersion:
        """Register, prove and, if all is well and only paper is at stake, deploy: all or nothing."""
        self.run.trials.update(is_best=False)
        self.run.trials.filter(pk=trial.pk).update(is_best=True)
        validation = self.backtest(policy, Backtest.Period.VALIDATION)
        provenance = registry.Provenance(
            seed=trial.seed,
            data_fingerprint=self.dataset.fingerprint,
            parameters=trial.parameters,
            metrics={"validation": jsonable(validation.metrics), "unseen": jsonable(unseen.metrics)},
            study_name=self.run.study_name,
        )
        model = registry.register(self.run, policy, provenance)
        if not model.backtests.filter(period=Backtest.Period.UNSEEN).exists():
            evidence.store(model, Backtest.Period.VALIDATION, validation)
            proof = evidence.store(model, Backtest.Period.UNSEEN, unseen)
            passed = registry.prove(model, proof)
            agent = self.run.agent
            if passed and agent.deploy_when_proven and agent.book.account.mode == Account.Mode.PAPER:
                registry.deploy(model, actor=f"training:{self.run.pk}")
        return model

    def forget_trial_files(self) -> None:
        """Remove the weights of trials; the version has its own file."""
        for path in self._file(0).parent.glob(f"run-{self.run.pk}-trial-*.safetensors"):
            path.unlink(missing_ok=True)


def train(
    run: TrainingRun,
    *,
    should_stop: Callable[[], bool] = lambda: False,
    on_progress: Callable[[str], None] = lambda phase: None,
) -> ModelVersion:
    """Carry out a run from wherever it stands. Returns: its one model version.

    on_progress: called at most about twice a second with the phase. Raises: TrainingStopped when should_stop said so,
    TrainingFailed or ConfigurationError when a person must change something.
    """
    existing = ModelVersion.objects.filter(run=run).first()
    if existing is not None:
        _finished(run, existing)
        return existing
    training = begin(run, should_stop, on_progress)
    training.study()
    trial, policy = training.best()
    training.say("Testing on bars it has never seen", training.settings.training.n_trials)
    model = training.publish(trial, policy, training.backtest(policy, Backtest.Period.UNSEEN))
    training.forget_trial_files()
    _finished(run, model)
    return model


def begin(run: TrainingRun, should_stop: Callable[[], bool], on_progress: Callable[[str], None]) -> Training:
    """Load bars and settings. Raises: TrainingFailed or ConfigurationError."""
    run = TrainingRun.objects.select_related("agent__instrument", "agent__book__account", "configuration").get(
        pk=run.pk
    )
    settings = settings_of(run.agent, run.configuration.data)
    values: dict[str, Any] = {"phase": "Loading bars", "n_trials": settings.training.n_trials}
    values["study_name"] = run.study_name or f"{run.agent.name}-run-{run.pk}"
    values["started_at"] = run.started_at or timezone.now()
    values["finished_at"] = None
    TrainingRun.objects.filter(pk=run.pk).update(**values)
    run.refresh_from_db()
    on_progress(run.phase)
    return Training(run, settings, load_dataset(run, settings), should_stop, on_progress)


def load_dataset(run: TrainingRun, settings: AgentSettings) -> Dataset:
    """The agent's bars, cut and scaled. Raises: TrainingFailed if bars are missing."""
    agent, training = run.agent, settings.training
    vix_id = None
    if "vix" in settings.features.needs and training.vix:
        source = Instrument.objects.filter(symbol=training.vix).first()
        if source is None:
            raise TrainingFailed(
                f"training.vix: there is no instrument {training.vix}; import its bars or drop the feature"
            )
        vix_id = source.pk
    try:
        inputs = load_inputs(agent.instrument, vix_id, agent.interval_seconds, settings.features)
        traded = load_bars(agent.instrument_id, agent.interval_seconds)
        return prepare(
            inputs.bars, inputs.vix, settings.features, training.validation, training.unseen, agent.interval_seconds,
            settings.normaliser, underlying=inputs.underlying, scores=inputs.scores, sessions=inputs.sessions,
            store=FeatureStore(django_settings.LOCAL_DIR / "features"), traded=traded,
            actions=load_per_bar(agent.instrument, agent.interval_seconds, traded.time),
        )  # fmt: skip
    except ValueError as error:
        raise TrainingFailed(f"{agent.instrument.symbol}: {error}") from error


@transaction.atomic
def _finished(run: TrainingRun, model: ModelVersion) -> None:
    fields: dict[str, Any] = {"phase": "Finished", "progress": 1.0, "finished_at": timezone.now()}
    if not TrainingRun.objects.filter(pk=run.pk).exclude(phase="Finished").update(**fields):
        return  # said already, before the process died
    record(
        "training.finished", f"Training of {model.agent.name} finished: {model} is {model.get_state_display()}",
        subject=f"training:{run.pk}", data={"version": model.pk},
    )  # fmt: skip
    notify("training", run=run.pk)
