"""Every off-policy learner: learns an easy market, goes on from a snapshot bit for bit, same seed same weights."""

from dataclasses import replace
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from agents import algorithms
from agents.algorithms.base import LearnerRequest
from agents.environment.env_config import EnvConfig
from agents.environment.market import Market
from agents.environment.own_state import OwnSpec
from agents.learners.guard import TrainingDiverged
from agents.learners.off_policy_setup import n_kept
from agents.networks.network import ServedNetwork
from agents.networks.spec import NetworkSpec
from agents.runs import learning
from agents.runs.learning import Lesson, TrainingPaused, learn
from agents.tests import worlds
from core.simulation.rules import MarketRules

OFF_POLICY = ("dqn", "qrdqn", "rainbow_dqn", "sac", "td3")
OWN = OwnSpec(("weight",))
N_BARS = 400


def easy_market():
    """One feature tells the next bar: +1 before a rise of 2 %, -1 before a fall of 2 %, at random."""
    signs = np.where(np.random.default_rng(1).random(N_BARS) < 0.5, -1.0, 1.0)
    close = 100.0 * np.cumprod(1.0 + 0.02 * np.concatenate([[0.0], signs[:-1]]))
    open_ = np.concatenate([[100.0], close[:-1]])
    return Market(signs[:, None], open_, close, np.full(N_BARS, 1e9), np.zeros((N_BARS, 3)))


def request(name, *, n_steps=512, seed=1, action=None, **parameters):
    algorithm = algorithms.get(name)
    rules = MarketRules(half_spread_bps=0.0, impact_bps=0.0, schedule="bps", commission_bps=0.0)
    network = NetworkSpec(hidden=(16, 16), activation="relu")
    return LearnerRequest(
        markets=(easy_market(),),
        config=EnvConfig(action=action or algorithm.actions[0], rules=rules, episode_length=100, own=OWN),
        network=network,
        settings=SimpleNamespace(features=SimpleNamespace(names=("sign",)), own_state=OWN),
        parameters={"learning_rate": 1e-3, "gamma": 0.5} | parameters,
        seed=seed,
        n_steps=n_steps,
        build=lambda **parts: SimpleNamespace(**parts),
    )


def learner(name, **settings):
    torch.set_num_threads(1)
    return algorithms.get(name).make(request(name, **settings))


def served(policy):
    """The network as it would be served, from what the learner hands over."""
    network = ServedNetwork(policy.network, policy.head, 1, len(OWN))
    network.load_state_dict(policy.weights)
    return network


def assert_equal_snapshots(ours, theirs):
    assert set(ours) == set(theirs)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


@pytest.mark.parametrize("name", OFF_POLICY)
def test_learns_to_hold_before_rises_only(name):
    found = learner(name, n_steps=6_000)
    while found.steps_done < 6_000:
        report = found.advance()
    assert set(report.losses) and np.isfinite(list(report.losses.values())).all()
    assert sum(report.actions.values()) == pytest.approx(1.0)
    # Seen flat and invested, before a rise and before a fall.
    seen = np.array([[sign, weight] for sign in (1.0, -1.0) for weight in (0.0, 1.0)], dtype=np.float32)
    with torch.no_grad():
        wanted = found.model.policy._predict(torch.from_numpy(seen), deterministic=True).numpy().reshape(4)
    if found.request.config.action == "target":
        assert (wanted[:2] > 0.5).all() and (wanted[2:] < 0.1).all(), wanted
    else:
        # Buying when flat and keeping what is there before a rise; selling before a fall.
        assert wanted[0] == 1 and wanted[1] in (0, 1) and wanted[2] in (0, 2) and wanted[3] == 2, wanted


@pytest.mark.parametrize("name", OFF_POLICY)
def test_goes_on_from_a_snapshot_as_if_nothing_had_happened(name):
    whole = learner(name, n_steps=4_096)
    for _ in range(2):
        whole.advance()
    taken = whole.snapshot()
    whole.advance()
    torch.manual_seed(99)  # draws of others in between change nothing
    np.random.seed(99)
    resumed = learner(name, n_steps=4_096, seed=7)
    resumed.restore(taken)
    assert_equal_snapshots(resumed.snapshot(), taken)
    resumed.advance()
    assert_equal_snapshots(resumed.snapshot(), whole.snapshot())
    assert not np.array_equal(taken["last_observations"], whole.snapshot()["last_observations"])


@pytest.mark.parametrize("name", OFF_POLICY)
def test_same_seed_same_weights_and_another_seed_others(name):
    weights = []
    for seed in (3, 3, 4):
        found = learner(name, n_steps=1_024, seed=seed)
        found.advance()
        weights.append(torch.cat([tensor.reshape(-1) for tensor in found.policy().weights.values()]))
    assert torch.equal(weights[0], weights[1]) and not torch.equal(weights[0], weights[2])


@pytest.mark.parametrize("name", OFF_POLICY)
def test_what_is_served_decides_as_what_was_learned(name):
    found = learner(name)
    found.advance()
    rows = torch.randn(5, 2)
    network = served(found.policy())
    with torch.no_grad():
        theirs = found.model.policy._predict(rows, deterministic=True).numpy().reshape(5)
        ours = network(rows)
    ours = ours[0] if isinstance(ours, tuple) else ours
    if found.request.config.action == "target":
        np.testing.assert_allclose(torch.tanh(ours).numpy().reshape(5), theirs, atol=1e-6)
    else:
        assert ours.numpy().argmax(1).tolist() == theirs.tolist()


@pytest.mark.parametrize("name", ["dqn", "rainbow_dqn", "qrdqn"])
def test_the_nine_steps_are_played_too(name):
    found = learner(name, action="steps", n_steps=1_024)
    report = found.advance()
    assert len(report.actions) == 9 and found.policy().head.n_actions == 9


def test_a_snapshot_of_another_learner_is_refused():
    with pytest.raises(ValueError, match=r"another|expected"):
        learner("dqn").restore(learner("sac").snapshot())


def test_weights_that_diverge_are_named():
    found = learner("sac")
    found.advance()
    found.model.actor.mu.weight.data[:] = np.nan
    with pytest.raises(TrainingDiverged, match="weight"):
        found.policy()
    with pytest.raises(TrainingDiverged):
        found.advance()


def lesson(name, network, n_steps=3_072):
    settings = replace(worlds.settings(name, n_steps=n_steps), network=network)
    data = worlds.dataset(settings)
    return Lesson(
        dataset=data, settings=settings, parameters={}, seed=1, training=data.training, validation=data.validation,
        n_steps=n_steps,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("name", "network"),
    [
        ("sac", NetworkSpec(hidden=(8,), activation="relu")),
        ("rainbow_dqn", NetworkSpec("tcn", (8,), "relu", window=4, options={"channels": 4})),
    ],
)
def test_a_paused_lesson_ends_with_the_weights_of_one_that_was_not(name, network, tmp_path, monkeypatch):
    monkeypatch.setattr(learning, "SECONDS_OF_A_ROUND", 1e9)  # asked between rounds alone
    whole = learn(lesson(name, network))
    wishes = iter(["go", "pause"])
    with pytest.raises(TrainingPaused):
        learn(lesson(name, network), wish=lambda: next(wishes), checkpoint=tmp_path / "checkpoint")
    resumed = learn(lesson(name, network), checkpoint=tmp_path / "checkpoint")
    assert resumed.weights_sha256 == whole.weights_sha256
    assert resumed.evaluations == whole.evaluations


def test_a_long_window_keeps_fewer_steps_in_memory():
    assert n_kept(10_000, 20) == 10_016
    # 2^28 bytes over 8 bytes an input of 1,000 inputs
    assert n_kept(1_000_000, 1_000) == 33_554
    assert n_kept(1_000_000, 20) == 200_000
