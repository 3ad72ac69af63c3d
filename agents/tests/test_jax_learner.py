"""Backend tpu on the processor: what sbx learns is served as sbx itself decides, and goes on bit for bit.

JAX compiles for some ten seconds the first time anything runs; later runs of the tests find it on disk.
"""

import importlib.util
import os
import subprocess
import sys
from dataclasses import replace
from functools import cache
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from agents import algorithms
from agents.learners.guard import TrainingDiverged
from agents.networks.spec import NetworkSpec
from agents.policies.policy import ServedPolicy
from agents.runs import backends, learning
from agents.runs.backends import BackendMissing
from agents.runs.learning import Lesson, TrainingPaused, learn
from agents.tests import test_off_policy, worlds

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in backends.TPU_PACKAGES),
    reason="JAX and sbx are not installed: pip install '.[tpu]' -c constraints.txt",
)
ON_TPU = ("dqn", "ppo", "sac")
# Every kind of action each can play, with layers of widths and activations of all sorts.
SHAPES = [
    ("ppo", "choice", (8, 8), "tanh"),
    ("ppo", "steps", (), "relu"),
    ("ppo", "target", (12,), "gelu"),
    ("sac", "target", (8, 12), "silu"),
    ("dqn", "choice", (8, 12, 4), "relu"),
    ("dqn", "steps", (12,), "gelu"),
]


def lesson(
    algorithm: str, seed: int = 1, *, actions: str = "", network: NetworkSpec | None = None, **parameters: Any
) -> Lesson:
    """A short lesson on `worlds.walk` with backend tpu: two rounds between evaluations."""
    n_steps = 8_192 if algorithm == "ppo" else 4_096
    network = network or NetworkSpec(hidden=(8, 8), activation="tanh" if algorithm == "ppo" else "relu")
    settings = replace(worlds.settings(algorithm, n_steps=n_steps), network=network)
    settings = replace(settings, actions=actions or settings.actions)
    data = worlds.dataset(settings)
    return Lesson(
        dataset=data, settings=settings, parameters={"learning_rate": 1e-3, "batch_size": 256} | parameters, seed=seed,
        training=data.training, validation=data.validation, n_steps=n_steps, backend="tpu",
    )  # fmt: skip


def make(algorithm: str, seed: int = 1, **given: Any) -> Any:
    """A learner as `learn` makes it."""
    backends.prepare("tpu")
    return learning.make_learner(lesson(algorithm, seed, **given))


@cache
def final_hash(algorithm: str, seed: int = 1) -> str:
    """Weights of a whole learning."""
    return learn(lesson(algorithm, seed)).weights_sha256


def drawn(policy: Any, seed: int = 0) -> None:
    """Fill the deciding part with weights at random: fresh ones have biases of 0 and hardly a preference."""
    import jax

    random = np.random.default_rng(seed)
    state = "qf_state" if hasattr(policy, "qf") and not hasattr(policy, "actor") else "actor_state"
    old = getattr(policy, state)
    params = jax.tree_util.tree_map(lambda value: np.float32(random.normal(0.0, 0.8, value.shape)), old.params)
    setattr(policy, state, old.replace(params=params))


@pytest.mark.parametrize(("algorithm", "actions", "hidden", "activation"), SHAPES)
def test_what_is_served_decides_as_sbx_does(algorithm, actions, hidden, activation):
    learner = make(algorithm, actions=actions, network=NetworkSpec(hidden=hidden, activation=activation, window=2))
    drawn(learner.model.policy)
    policy = ServedPolicy.from_bytes(learner.policy().to_bytes())
    rows = np.random.default_rng(1).normal(size=(200, policy.n_inputs)).astype(np.float32)
    theirs = learner.model.predict(rows, deterministic=True)[0].reshape(-1)
    ours = np.array([policy.decide(row).action for row in rows])
    np.testing.assert_allclose(ours, theirs, atol=1e-5)
    assert len(np.unique(theirs)) > 1, "the same action everywhere proves nothing"
    learner.close()


@pytest.mark.parametrize(("algorithm", "actions"), [("ppo", "target"), ("ppo", "choice"), ("sac", "target")])
def test_the_whole_distribution_is_served_too(algorithm, actions):
    learner = make(algorithm, actions=actions)
    drawn(learner.model.policy, seed=3)
    policy = learner.policy()
    rows = np.random.default_rng(2).normal(size=(5, policy.n_inputs)).astype(np.float32)
    actor = learner.model.policy.actor_state
    theirs = actor.apply_fn(actor.params, rows)
    outputs = [policy.decide(row) for row in rows]
    if actions == "choice":
        expected = np.exp(np.asarray(theirs.logits_parameter()))
        found = [[output.preferences[name] for name in ("hold", "buy", "sell")] for output in outputs]
        np.testing.assert_allclose(found, expected / expected.sum(1, keepdims=True), atol=1e-5)
    else:
        normal = theirs.distribution if algorithm == "sac" else theirs
        np.testing.assert_allclose([output.mean for output in outputs], normal.mean()[:, 0], atol=1e-5)
        np.testing.assert_allclose([output.deviation for output in outputs], normal.stddev()[:, 0], rtol=1e-5)
    learner.close()


def test_the_values_of_actions_are_served_as_learned():
    learner = make("dqn", actions="steps")
    drawn(learner.model.policy, seed=3)
    policy, state = learner.policy(), learner.model.policy.qf_state
    rows = np.random.default_rng(2).normal(size=(5, policy.n_inputs)).astype(np.float32)
    with torch.no_grad():
        ours = policy.layers(torch.from_numpy(rows)).numpy()
    np.testing.assert_allclose(ours, np.asarray(state.apply_fn(state.params, rows)), atol=1e-5)
    learner.close()


def test_the_deviation_of_sac_stays_within_its_limits():
    """A bias of 50 asks for exp(50); both libraries cut the logarithm at 2."""
    learner = make("sac")
    state = learner.model.policy.actor_state
    params = {name: dict(part) for name, part in state.params["params"].items()}
    params["Dense_3"]["bias"] = params["Dense_3"]["bias"] + 50.0
    learner.model.policy.actor_state = state.replace(params={"params": params})
    policy = learner.policy()
    assert policy.decide(np.zeros(policy.n_inputs, np.float32)).deviation == pytest.approx(np.exp(2.0))
    learner.close()


@pytest.mark.parametrize("algorithm", ON_TPU)
def test_it_learns_to_hold_before_rises_only(algorithm):
    """The market of the off-policy tests: its one feature tells whether the next bar rises or falls by 2 %."""
    n_steps = 24_576 if algorithm == "ppo" else 6_144
    asked = replace(test_off_policy.request(algorithm, n_steps=n_steps), backend="tpu")
    asked.settings.training = SimpleNamespace(n_evaluations=1)
    backends.prepare("tpu")
    learner = algorithms.get(algorithm).make(asked)
    while learner.steps_done < n_steps:
        learner.advance()
    # Flat and invested before a rise, then flat and invested before a fall.
    seen = np.array([[sign, weight] for sign in (1.0, -1.0) for weight in (0.0, 1.0)], dtype=np.float32)
    with torch.no_grad():
        found = test_off_policy.served(learner.policy())(torch.from_numpy(seen)).numpy()
    if algorithm == "sac":
        wanted = np.tanh(found[:, 0])
        assert (wanted[:2] > 0.5).all() and (wanted[2:] < 0.1).all(), wanted
    else:
        hold, buy, sell = range(3)
        best = found.argmax(1)
        assert best[0] == buy and best[1] in (hold, buy) and best[2] in (hold, sell) and best[3] == sell, best


@pytest.mark.parametrize("algorithm", ON_TPU)
def test_it_goes_on_from_a_snapshot_as_if_nothing_had_happened(algorithm):
    whole = make(algorithm)
    reports = [whole.advance(), whole.advance()]
    taken = {name: array.copy() for name, array in whole.snapshot().items()}
    reports.append(whole.advance())
    wanted = whole.snapshot()
    torch.manual_seed(99)
    np.random.seed(99)
    resumed = make(algorithm, seed=7)
    resumed.restore(taken)
    assert_equal(resumed.snapshot(), taken)
    assert resumed.advance().losses == reports[-1].losses
    assert_equal(resumed.snapshot(), wanted)
    assert not np.array_equal(taken["last_observations"], wanted["last_observations"])
    assert all(np.isfinite(list(report.losses.values())).all() and report.losses for report in reports)
    assert not any(name.startswith("learning_rate") for name in reports[-1].losses)
    assert sum(reports[-1].actions.values()) == pytest.approx(1.0)


def assert_equal(ours: dict[str, np.ndarray], theirs: dict[str, np.ndarray]) -> None:
    assert set(ours) == set(theirs)
    for name, array in ours.items():
        np.testing.assert_array_equal(array, theirs[name], err_msg=name)


def test_a_snapshot_of_another_learner_is_refused():
    taken = make("sac").snapshot()
    with pytest.raises(ValueError, match="another learner"):
        make("dqn").restore(taken)
    with pytest.raises(ValueError, match=r"Dense_0/\w+ has shape"):
        make("sac", network=NetworkSpec(hidden=(4, 4), activation="relu")).restore(taken)


@pytest.mark.parametrize(
    "algorithm", ["dqn", pytest.param("ppo", marks=pytest.mark.slow), pytest.param("sac", marks=pytest.mark.slow)]
)
def test_a_paused_lesson_ends_with_the_weights_of_one_that_was_not(algorithm, tmp_path):
    path = tmp_path / "one.checkpoint"
    with pytest.raises(TrainingPaused):  # after its first evaluation, however long JAX compiles before
        learn(lesson(algorithm), wish=lambda: "pause" if path.exists() else "go", checkpoint=path)
    starts: list[int] = []
    result = learn(lesson(algorithm), checkpoint=path, on_progress=lambda said: starts.append(said.steps_done))
    assert starts[0] > 0
    assert result.weights_sha256 == final_hash(algorithm)
    assert len(result.evaluations) == 2 and np.isfinite(result.validation.track.equity).all()
    assert result.policy.algorithm == algorithm


@pytest.mark.slow
@pytest.mark.parametrize("algorithm", ON_TPU)
def test_the_same_seed_gives_the_same_weights_in_another_process(algorithm):
    code = f"from agents.tests.test_jax_learner import final_hash; print(final_hash({algorithm!r}))"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=240,
        env={**os.environ, "PYTHONHASHSEED": "7", "JAX_ENABLE_COMPILATION_CACHE": "false"},
    )  # fmt: skip
    # Nothing else is on stdout: neither JAX nor its compiler may write there.
    assert done.stdout == f"{final_hash(algorithm)}\n"
    assert final_hash(algorithm) != final_hash(algorithm, seed=2)


@pytest.mark.parametrize("algorithm", ON_TPU)
def test_a_weight_that_becomes_nan_is_named(algorithm):
    learner = make(algorithm)
    name = "qf_state" if algorithm == "dqn" else "actor_state"
    state = getattr(learner.model.policy, name)
    params = {key: dict(part) for key, part in state.params["params"].items()}
    params["Dense_1"]["bias"] = params["Dense_1"]["bias"].at[0].set(np.nan)
    setattr(learner.model.policy, name, state.replace(params={"params": params}))
    with pytest.raises(TrainingDiverged, match=rf"({name}/params/Dense_1/|body\.1\.)bias became NaN"):
        learner.policy()
    with pytest.raises(TrainingDiverged, match=r"weight|loss"):
        for _ in range(2):
            learner.advance()


def test_an_input_that_becomes_nan_is_named():
    learner = make("ppo")
    learner.model._last_obs[0, 2] = np.nan
    with pytest.raises(TrainingDiverged, match=f"observation {worlds.FEATURES[2]} became NaN"):
        learner.advance()


def test_only_plain_networks_learn_there():
    network = NetworkSpec("lstm", (8,), window=4, options={"size": 4})
    words = r"^backend tpu learns mlp networks only, not lstm; choose cpu or cuda"
    for wrong in (lambda: learn(lesson("ppo", network=network)), lambda: make("ppo", network=network)):
        with pytest.raises(BackendMissing, match=words):
            wrong()


def test_a_parameter_that_means_something_else_there_is_refused():
    with pytest.raises(ValueError, match="target_kl ends an update early in torch"):
        make("ppo", target_kl=0.01)


def test_the_device_that_was_found_is_named():
    backends.prepare("tpu")
    import jax

    platform = jax.devices()[0].platform
    assert backends.jax_device().startswith(f"JAX runs on the {platform.upper()}")


def test_who_can_run_there():
    able = [name for name, algorithm in algorithms.all_algorithms().items() if "tpu" in algorithm.backends]
    assert able == list(ON_TPU)
    for name in able:
        backends.check("tpu", name)
    with pytest.raises(BackendMissing, match=r"^TD3 cannot run on tpu; it runs on cpu, cuda$"):
        backends.check("tpu", "td3")


def test_reading_the_table_of_algorithms_imports_no_jax():
    code = "import sys; from agents import algorithms; algorithms.names(); from agents.runs import backends, learning\n"
    code += "backends.check('tpu', 'ppo'); print('jax' in sys.modules, 'sbx' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60)
    assert done.stdout.split() == ["False", "False"]


def test_what_the_user_set_for_jax_stays(monkeypatch, tmp_path):
    for name in ("XLA_FLAGS", "JAX_COMPILATION_CACHE_DIR", "TF_CPP_MIN_LOG_LEVEL"):
        monkeypatch.setenv(name, "as it was")
    monkeypatch.setenv("DESK_LOCAL_DIR", str(tmp_path))
    backends.prepare("tpu")
    assert os.environ["XLA_FLAGS"] == os.environ["JAX_COMPILATION_CACHE_DIR"] == "as it was"
    monkeypatch.delenv("XLA_FLAGS")
    monkeypatch.delenv("JAX_COMPILATION_CACHE_DIR")
    backends.prepare("tpu")
    assert os.environ["XLA_FLAGS"] == "--xla_cpu_multi_thread_eigen=false"
    assert os.environ["JAX_COMPILATION_CACHE_DIR"] == str(tmp_path / "jax")
