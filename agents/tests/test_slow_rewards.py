"""A training whose reward has every part: each is written down for pages and TensorBoard, and they add up."""

import importlib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from agents.environment.rewards import COMPONENT_NAMES, RISK_ADJUSTED
from agents.models import TrainingPoint, TrainingRun, Trial
from agents.tests.desk import make_agent, make_run
from agents.tests.processes import Trainings, trainings_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
ACCUMULATOR = "tensorboard.backend.event_processing.event_accumulator"
WEIGHTS = {
    "net_return": 1.0, "log_return": 0.4, "drawdown": 0.3, "volatility": 0.05, "cost": 0.7,
    "differential_sharpe": 0.002, "differential_downside": 0.001, "holding": 0.0001, "consistency": 0.0005,
}  # fmt: skip
PENALTIES = ("drawdown", "volatility", "cost")
# A rollout is 64 steps of every copy, so each holds two whole episodes of every copy and nothing else.
LENGTH, STEPS_PER_ROLLOUT = 32, 64


@pytest.fixture
def trainings(settings, tmp_path) -> Iterator[Trainings]:
    with trainings_in(tmp_path, settings) as found:
        yield found


def scalars(folder: Path) -> dict[int, dict[str, float]]:
    """What TensorBoard's own reader finds in a folder: values by name, by step."""
    events = importlib.import_module(ACCUMULATOR).EventAccumulator(str(folder))
    events.Reload()
    found: dict[int, dict[str, float]] = {}
    for name in events.Tags()["scalars"]:
        for event in events.Scalars(name):
            found.setdefault(event.step, {})[name] = event.value
    return found


def reward_of(values: dict[str, float], weights: dict[str, float], kind: str) -> float:
    """Mean reward of a step from its parts, as the table of docs/training.md says; kind decides the first part."""
    first = "net_return" if kind == "net_return" else RISK_ADJUSTED
    others = sum(weight * values[f"reward/{name}"] for name, weight in weights.items() if name != "net_return")
    return weights["net_return"] * values[f"reward/{first}"] + others


def weights_of(trial: Trial) -> dict[str, float]:
    """The weights a trial learned with: one drawn for itself, the penalties multiplied together."""
    drawn = WEIGHTS | {"holding": trial.parameters["reward_holding"]}
    return {name: w * (trial.parameters["penalty"] if name in PENALTIES else 1.0) for name, w in drawn.items()}


def check_they_add_up(values: dict[str, float], weights: dict[str, float], kind: str) -> None:
    expected = LENGTH * reward_of(values, weights, kind)
    assert values["episode_return"] == pytest.approx(expected, rel=1e-4, abs=1e-6)


def check_a_trial(run: TrainingRun, trial: Trial, folder: Path, kind: str) -> np.ndarray:
    """TensorBoard's and the pages' rows of one trial. Returns: its components, one row per point."""
    weights, part = weights_of(trial), f"trial-{trial.number}/fold-0/seed-0"
    steps = scalars(folder / "tensorboard" / f"run-{run.pk}" / part)
    logged = [values for step, values in sorted(steps.items()) if "reward/cost" in values]
    assert len(logged) >= 5
    for values in logged:
        check_they_add_up(values, weights, kind)
    points = [point.values for point in TrainingPoint.objects.filter(run=run, part=part).order_by("id")]
    shown = [values for values in points if "reward/cost" in values]
    assert shown
    for values in shown:
        assert {f"reward/{name}" for name in COMPONENT_NAMES} <= set(values)
        check_they_add_up(values, weights, kind)
    assert any("score" in values for values in points)
    return np.array([[values[f"reward/{name}"] for name in COMPONENT_NAMES] for values in logged])


@pytest.mark.parametrize("kind", ["net_return", "risk_adjusted"])
def test_every_part_of_the_reward_is_written_down_and_they_add_up_to_it(trainings: Trainings, kind: str) -> None:
    settings: dict[str, Any] = {
        "actions": "target",
        "reward": {"kind": kind, **WEIGHTS},
        "rules": {"half_spread_bps": 3.0, "short_selling": True, "sharpe_rate": 0.02, "schedule": "ibkr_tiered"},
        "episodes": {"kind": "chronological", "length": LENGTH},
    }
    search = {"drop": "nothing", "width": 16, "reward_holding": {"low": 0.00005, "high": 0.0005}}
    agent = make_agent(settings=settings, n_trials=2, n_steps=16_384, n_evaluations=2, search=search)
    run = make_run(agent, 2)
    trainings.carry_out(run)
    trials = list(run.trials.order_by("number"))
    assert len({trial.parameters["reward_holding"] for trial in trials}) == len(trials) == 2
    for trial in trials:
        components = check_a_trial(run, trial, trainings.folder, kind)
        assert (np.abs(components).sum(axis=0) > 0).all(), "every part has something to say"
        never_above_0 = [COMPONENT_NAMES.index(name) for name in (*PENALTIES, "holding", "consistency")]
        assert (components[:, never_above_0] <= 0).all()
