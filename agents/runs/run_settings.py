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
    asked: dict[str, Any] = {"backend": run.backend}
    if run.n_trials:
        asked["n_trials"] = run.n_trials
    if run.n_workers:
        asked["n_workers"] = run.n_workers
    if run.max_minutes:
        asked["max_minutes"] = run.max_minutes
    training = replace(training, **asked)
    if run.mode == TrainingRun.Mode.TEST:
        training = training.for_test()  # last, so that nothing asked for makes a test long
    return replace(settings, training=training)
