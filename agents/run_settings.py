"""The settings one training run follows: its configuration with what was asked for this run alone."""

from dataclasses import replace
from typing import Any

from agents.agent_settings import settings_of
from agents.configuration import AgentSettings
from agents.models import TrainingRun


def settings_of_run(run: TrainingRun) -> AgentSettings:
    """Settings of a run. Raises: ConfigurationError naming the setting that is wrong."""
    settings = settings_of(run.agent, run.configuration.data)
    training = settings.training
    if run.mode == TrainingRun.Mode.TEST:
        training = training.for_test()
    asked: dict[str, Any] = {"backend": run.backend}
    if run.n_trials:
        asked["n_trials"] = run.n_trials
    if run.n_workers:
        asked["n_workers"] = run.n_workers
    if run.max_minutes:
        asked["max_minutes"] = run.max_minutes
    return replace(settings, training=replace(training, **asked))
