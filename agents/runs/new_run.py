"""A new training run: what was asked for, checked before anything is queued."""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from django.db import transaction

from agents import algorithms
from agents.configuration import ConfigurationError, space_of
from agents.models import Agent, AgentConfiguration, TrainingRun
from agents.reconfigure import add_configuration
from agents.runs.run_settings import settings_of_run
from agents.setting_checks import part
from agents.training_pages.training_backends import refused, unfit
from agents.training_pages.training_settings import BACKENDS

LARGEST_SEED = 2**31 - 1
MOST_TRIALS, MOST_WORKERS, MOST_MINUTES = 100_000, 1_024, 366 * 24 * 60
MINUTES_WANTED = f"at least 1 and at most {MOST_MINUTES:,}, or none for no limit"


@dataclass(frozen=True, kw_only=True)
class RunWish:
    """What an operator may ask of one training; None and 0 leave it to the agent's settings."""

    seed: int = 1
    mode: str = TrainingRun.Mode.FULL
    backend: str | None = None
    n_workers: int = 0
    n_trials: int = 0
    max_minutes: int | None = None
    not_before: datetime | None = None
    reason: str = ""
    changes: dict[str, Any] = field(default_factory=dict)  # of the settings, kept as a new version of them


@transaction.atomic
def new_run(agent: Agent, wish: RunWish, *, actor: str) -> TrainingRun:
    """The row of a run that nobody carries out yet. Raises: ValueError naming what makes no sense."""
    _check(wish)
    configuration = _configuration(agent, wish.changes, actor)
    usual = configuration.data["training"]
    run = TrainingRun(
        agent=agent, configuration=configuration, seed=wish.seed, mode=wish.mode,
        backend=wish.backend or usual.get("backend", "cpu"), n_workers=wish.n_workers, n_trials=wish.n_trials,
        max_minutes=wish.max_minutes, not_before=wish.not_before, reason=wish.reason[:120], created_by=actor[:80],
    )  # fmt: skip
    settings = settings_of_run(run)
    able = algorithms.get(settings.algorithm)
    if run.backend not in able.backends:
        raise ConfigurationError(f"backend: {able.label} runs on {', '.join(able.backends)}, not on {run.backend}")
    line = unfit(run.backend, settings.network.kind)
    if line:
        raise ConfigurationError(f"backend: {line.rstrip('.')}; the network is {settings.network.kind}")
    line = refused(run.backend, settings.algorithm, settings.network.kind)
    if line:
        raise ConfigurationError(f"backend: {line}")
    part("training.search", lambda: space_of(settings))  # the backend may be another than the settings'
    run.save()
    return run


def merged(data: dict[str, Any], changes: dict[str, Any]) -> dict[str, Any]:
    """Settings with changes, objects merged key by key."""
    found = dict(data)
    for key, value in changes.items():
        inner = found.get(key)
        found[key] = merged(inner, value) if isinstance(inner, dict) and isinstance(value, dict) else value
    return found


def minutes_make_sense(minutes: int | None) -> bool:
    """Whether it is a limit on time, or none."""
    return minutes is None or 1 <= minutes <= MOST_MINUTES


def _configuration(agent: Agent, changes: dict[str, Any], actor: str) -> AgentConfiguration:
    newest = agent.configuration
    data = merged(newest.data, changes)
    return newest if data == newest.data else add_configuration(agent, data, actor=actor)


def _check(wish: RunWish) -> None:
    expected = {
        "seed": (0 <= wish.seed <= LARGEST_SEED, f"a whole number from 0 to {LARGEST_SEED}"),
        "mode": (wish.mode in TrainingRun.Mode.values, f"one of {', '.join(TrainingRun.Mode.values)}"),
        "backend": (wish.backend is None or wish.backend in BACKENDS, f"one of {', '.join(BACKENDS)}"),
        "n_workers": (0 <= wish.n_workers <= MOST_WORKERS, f"0 to {MOST_WORKERS:,}, where 0 chooses"),
        "n_trials": (0 <= wish.n_trials <= MOST_TRIALS, f"1 to {MOST_TRIALS:,}, or 0 for the settings' number"),
        "max_minutes": (minutes_make_sense(wish.max_minutes), MINUTES_WANTED),
    }
    for name, (good, words) in expected.items():
        if not good:
            raise ValueError(f"{name}: got {getattr(wish, name)!r}, expected {words}")
