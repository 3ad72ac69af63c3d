"""What may happen within and between the rounds of a learning, for every algorithm there is."""

import errno
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from agents import algorithms
from agents.algorithms.base import Learner
from agents.environment.randomise import RandomiseSettings
from agents.learners import checkpoint as checkpoints
from agents.networks.spec import NetworkSpec
from agents.runs import learning
from agents.runs.learning import Lesson, Progress, TrainingPaused, TrainingStopped, learn, make_learner
from agents.tests import worlds
from agents.training_pages.training_settings import EpisodeSettings

ALL = algorithms.names()
QUICK = {"n_copies": 8, "n_epochs": 1, "batch_size": 128}


def lesson(name: str, *, n_steps: int = 2_048, **changes: object) -> Lesson:
    """A short lesson with windows, drawn costs, a made-up path and episodes in order."""
    usual = algorithms.get(name).networks[0]
    window = 1 if usual == "recurrent" else 3
    activation = "tanh" if algorithms.get(name).on_policy else "relu"
    network = NetworkSpec(usual, (8,), activation, window=window, options={"size": 4} if usual == "recurrent" else {})
    settings = replace(
        worlds.settings(name, n_steps=n_steps), network=network,
        episodes=EpisodeSettings(kind="chronological", length=37),
        randomise=RandomiseSettings(costs=0.5, paths=1, block=10),
    )  # fmt: skip
    data = worlds.dataset(settings)
    made = Lesson(
        dataset=data, settings=settings, parameters=QUICK | {"learning_rate": 1e-3}, seed=1, training=data.training,
        validation=data.validation, n_steps=n_steps,
    )  # fmt: skip
    return replace(made, **changes)  # type: ignore[arg-type]


def advance(learner: Learner, n: int) -> None:
    for _ in range(n):
        learner.advance()


@pytest.mark.parametrize("name", ALL)
def test_what_others_draw_between_two_rounds_changes_nothing(name):
    whole, disturbed = (make_learner(lesson(name)) for _ in range(2))
    advance(whole, 3)
    for _ in range(3):
        np.random.random(3)
        disturbed.policy()  # a network is made, with weights drawn at first
        torch.rand(5)
        disturbed.advance()
    assert disturbed.policy().weights_sha256() == whole.policy().weights_sha256()


@pytest.mark.parametrize("name", ALL)
def test_three_rounds_after_a_snapshot_are_the_same_in_another_learner(name):
    ours, theirs = (make_learner(lesson(name)) for _ in range(2))
    advance(ours, 1)
    taken = ours.snapshot()
    ours.policy()
    advance(ours, 3)
    advance(theirs, 2)
    theirs.restore(taken)
    advance(theirs, 3)
    expected, found = ours.snapshot(), theirs.snapshot()
    assert set(expected) == set(found)
    for path, array in expected.items():
        np.testing.assert_array_equal(found[path], array, err_msg=path)


@pytest.fixture
def asked_at_once(monkeypatch):
    """Rounds are asked for the operator's wish as often as they can be."""
    monkeypatch.setattr(learning, "SECONDS_OF_A_ROUND", 0.0)
    monkeypatch.setattr(learning, "SECONDS_BETWEEN_WISHES", 0.0)


@pytest.mark.usefixtures("asked_at_once")
@pytest.mark.parametrize("name", ALL)
def test_a_round_that_takes_long_is_left_when_a_stop_is_wished(name):
    asked = iter(["go"] * 4 + ["stop"])
    with pytest.raises(TrainingStopped, match="within a round"):
        learn(lesson(name), wish=lambda: next(asked))


@pytest.mark.usefixtures("asked_at_once")
@pytest.mark.parametrize("name", ["ppo", "masked_ppo", "sac"])
def test_paused_within_a_round_it_goes_on_from_its_checkpoint_to_the_same_weights(name, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(learning, "MOST_TIME_FOR_CHECKPOINTS", 1e9)
    path, n = tmp_path / "one.checkpoint", 0

    def wish() -> str:
        nonlocal n
        n += path.exists()
        return "pause" if n == 5 else "go"  # some steps into the round after the first checkpoint

    with pytest.raises(TrainingPaused, match="within a round"):
        learn(lesson(name), wish=wish, checkpoint=path)
    starts: list[int] = []
    result = learn(lesson(name), checkpoint=path, on_progress=lambda said: starts.append(said.steps_done))
    assert starts[0] > 0
    assert result.weights_sha256 == learn(lesson(name)).weights_sha256


def test_a_full_disk_ends_no_learning_and_is_said_once(tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)
    monkeypatch.setattr(learning, "MOST_TIME_FOR_CHECKPOINTS", 1e9)
    monkeypatch.setattr(learning, "SECONDS_BETWEEN_REPORTS", 0.0)

    def full(path: Path, data: bytes) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(checkpoints, "write_file", full)
    told: list[Progress] = []
    result = learn(lesson("ppo"), checkpoint=tmp_path / "one.checkpoint", on_progress=told.append)
    assert result.weights_sha256 == learn(lesson("ppo")).weights_sha256
    notes = [said.note for said in told if said.note]
    assert len(notes) == 1 and "No checkpoint can be written" in notes[0] and "No space left" in notes[0]


def test_a_checkpoint_or_log_that_is_something_else_ends_no_learning(tmp_path):
    told: list[Progress] = []
    (tmp_path / "file").write_text("")
    learn(lesson("ppo", n_steps=512), checkpoint=tmp_path, logs=tmp_path / "file", on_progress=told.append)
    assert "starts anew" in told[0].note and "TensorBoard's log cannot be written" in told[0].note
