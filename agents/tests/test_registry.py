import hashlib

import numpy as np
import pytest

from agents import evidence, registry
from agents.models import Backtest, ModelVersion
from agents.policies.backtest import run_backtest
from agents.registry import ModelRefused, Provenance
from agents.tests import worlds
from agents.tests.desk import make_agent, make_run
from core.models import Event

pytestmark = pytest.mark.django_db

PROVENANCE = Provenance(seed=1, data_fingerprint="f" * 64, parameters={"width": 16}, metrics={}, study_name="study")


@pytest.fixture(autouse=True)
def models_folder(settings, tmp_path):
    settings.MODELS_DIR = tmp_path / "models"
    return settings.MODELS_DIR


@pytest.fixture
def agent():
    return make_agent()


def _version(agent, seed=0) -> ModelVersion:
    return registry.register(make_run(agent), worlds.policy(seed=seed, gain=3.0), PROVENANCE)


def _backtest(model, period="unseen") -> Backtest:
    data = worlds.dataset(worlds.settings())
    rows = data.unseen
    policy = registry.load(model)
    return evidence.store(model, period, run_backtest(policy, data.market, data.bars.time, rows.first, rows.last))


def test_a_version_keeps_its_file_and_where_it_comes_from(agent, models_folder):
    model = _version(agent)
    data = (models_folder / model.file).read_bytes()
    assert hashlib.sha256(data).hexdigest() == model.sha256
    assert model.file == f"walker-v1-{model.sha256[:8]}.safetensors"
    assert (model.version, model.state, model.study_name) == (1, "registered", "study")
    assert model.features == list(worlds.FEATURES)
    assert model.weights_sha256 == worlds.policy(gain=3.0).weights_sha256()
    assert {"torch", "stable_baselines3", "sb3-contrib", "python"} <= set(model.library_versions)
    assert "jax" not in model.library_versions
    assert model.code_version
    policy = registry.load(model)
    row = np.linspace(-1, 1, 10, dtype=np.float32)
    assert policy.decide(row) == worlds.policy(gain=3.0).decide(row)
    assert not list(models_folder.glob("*.part"))


def test_a_version_names_the_libraries_of_its_backend(agent):
    run = make_run(agent)
    run.backend = "tpu"
    versions = registry.register(run, worlds.policy(), PROVENANCE).library_versions
    assert {"jax", "flax", "optax", "sbx-rl", "torch"} <= set(versions)
    assert "unknown" not in versions.values()


def test_a_run_makes_one_version_however_often_it_asks(agent):
    run = make_run(agent)
    first = registry.register(run, worlds.policy(), PROVENANCE)
    assert registry.register(run, worlds.policy(seed=9), PROVENANCE) == first
    assert _version(agent).version == 2


def test_without_a_study_there_is_no_version(agent):
    with pytest.raises(ModelRefused, match="no study"):
        registry.register(make_run(agent), worlds.policy(), Provenance(1, "f" * 64, {}, {}, study_name=""))
    assert not ModelVersion.objects.exists()


def test_one_changed_byte_and_a_missing_file_are_refused_by_name(agent, models_folder):
    model = _version(agent)
    path = models_folder / model.file
    data = bytearray(path.read_bytes())
    data[-1] ^= 1
    path.write_bytes(data)
    with pytest.raises(ModelRefused, match=rf"walker v1: {model.file} has been changed"):
        registry.load(model)
    path.unlink()
    with pytest.raises(ModelRefused, match=rf"{model.file} cannot be read"):
        registry.load(model)
    model.file = "../secret_key"
    with pytest.raises(ModelRefused, match="leads out"):
        registry.load(model)


def test_only_a_proven_version_is_deployed_and_it_replaces_the_one_before(agent):
    first, second = _version(agent), _version(agent, seed=5)
    with pytest.raises(ModelRefused, match="only a version that passed"):
        registry.deploy(first, actor="ann")
    for model in (first, second):
        assert registry.prove(model, _backtest(model))
        assert model.state == "proven"
        registry.deploy(model, actor="ann")
    agent.refresh_from_db()
    first.refresh_from_db()
    assert (agent.deployed_version, first.state) == (second, "archived")
    event = Event.objects.filter(kind="model.deployed").latest("id")
    assert (event.actor, event.data) == ("ann", {"before": 1, "after": 2})
    registry.deploy(first, actor="ann")  # back again
    agent.refresh_from_db()
    assert agent.deployed_version == first


def test_a_version_that_fails_its_checks_is_refused(agent):
    data = worlds.configuration()
    data["deploy_checks"] = {"min_return": 100.0}
    agent.configurations.create(version=2, data=data)
    model = _version(agent)
    proof = _backtest(model)
    assert not registry.prove(model, proof)
    assert (model.state, proof.passed) == ("refused", False)
    assert [check["name"] for check in proof.checks if not check["passed"]] == ["Total return"]
    with pytest.raises(ModelRefused, match="failed its backtest"):
        registry.deploy(model, actor="ann")


def test_a_state_written_by_hand_is_no_proof(agent):
    model = _version(agent)
    ModelVersion.objects.filter(pk=model.pk).update(state="proven")
    with pytest.raises(ModelRefused):
        registry.deploy(model, actor="ann")


def test_a_changed_file_is_not_deployed(agent, models_folder):
    model = _version(agent)
    registry.prove(model, _backtest(model))
    (models_folder / model.file).write_bytes(b"something else")
    with pytest.raises(ModelRefused, match="has been changed"):
        registry.deploy(model, actor="ann")


def test_only_its_own_unseen_backtest_proves_a_version(agent):
    model, other = _version(agent), _version(agent)
    for proof in (_backtest(other), _backtest(model, "validation")):
        with pytest.raises(ModelRefused, match="its own backtest on the unseen period"):
            registry.prove(model, proof)
