"""The table of algorithms: a new one is one module, and what each says of itself is true."""

import sys
from types import SimpleNamespace

import numpy as np
import pytest

from agents import algorithms
from agents.algorithms import registry
from agents.algorithms.base import LearnerRequest
from agents.configuration import parse
from agents.environment.env_config import EnvConfig
from agents.environment.market import Market
from agents.environment.own_state import OwnSpec
from agents.networks.spec import NetworkSpec
from agents.studies.search import search_space
from agents.tests import worlds

NEW = '''
"""A made-up algorithm."""

from agents.algorithms.registry import Algorithm, register


def make(request):
    """A coin learns nothing: it is only ever listed."""
    raise ValueError(f"a coin cannot learn, asked to with seed {request.seed}")


register(
    Algorithm(
        name="coin", label="Coin", description="Throws a coin.", actions=("choice",), networks=("mlp",), make=make,
        space={"bias": {"low": 0.1, "high": 0.9}, "left_out": {"choices": [0, 2, 5]}},
    )
)
'''
OWN = OwnSpec(("weight",))


@pytest.fixture
def with_a_coin(tmp_path, monkeypatch):
    (tmp_path / "coin.py").write_text(NEW)
    monkeypatch.setattr(algorithms, "__path__", [*algorithms.__path__, str(tmp_path)])
    monkeypatch.setattr(registry, "_FOUND", dict(registry._FOUND))
    monkeypatch.delitem(sys.modules, "agents.algorithms.coin", raising=False)  # of another test
    registry._discover.cache_clear()
    yield
    registry._discover.cache_clear()


@pytest.mark.usefixtures("with_a_coin")
def test_a_new_algorithm_is_one_module():
    assert "coin" in algorithms.names()
    assert algorithms.label("coin") == "Coin"
    assert search_space("coin", {})["bias"] == {"low": 0.1, "high": 0.9}
    settings = parse("coin", worlds.configuration() | {"reward": {}})
    assert (settings.actions, settings.network.kind) == ("choice", "mlp")


@pytest.mark.usefixtures("with_a_coin")
def test_a_study_may_be_given_any_of_the_choices_an_algorithm_has():
    assert search_space("coin", {"left_out": {"choices": [0, 2]}})["left_out"] == {"choices": [0, 2]}
    assert search_space("coin", {"left_out": 0})["left_out"] == {"choices": [0]}
    with pytest.raises(ValueError, match="left_out"):
        search_space("coin", {"left_out": -1})


def request(name: str, action: str) -> LearnerRequest:
    """Two instruments of one account, six features."""
    algorithm = algorithms.get(name)
    usual = algorithm.networks[0]
    network = NetworkSpec(usual, (8,), "relu", options={"size": 4} if usual == "recurrent" else {})
    settings = SimpleNamespace(algorithm=name, features=SimpleNamespace(names=tuple("abcdef")), own_state=OWN)
    return LearnerRequest(
        markets=(Market.several([worlds.market(200, 3, 1), worlds.market(200, 3, 2)]),),
        config=EnvConfig(action=action, episode_length=50, own=OWN), network=network,
        settings=settings,  # type: ignore[arg-type]
        parameters={"n_copies": 8, "n_epochs": 1} if algorithm.on_policy else {}, seed=1, n_steps=1_024,
        build=lambda **parts: SimpleNamespace(**parts),
    )  # fmt: skip


@pytest.mark.parametrize("name", [name for name in algorithms.names() if algorithms.get(name).several])
def test_those_that_say_so_learn_several_instruments_at_once(name):
    for action in algorithms.get(name).actions:
        learner = algorithms.get(name).make(request(name, action))
        report = learner.advance()
        assert np.isfinite(list(report.losses.values())).all() and report.losses
        # One output per instrument and choice, or per instrument.
        n_each = {"choice": 3, "steps": 9, "target": 1}[action]
        assert len(learner.policy().weights["head.bias"]) == 2 * n_each


@pytest.mark.parametrize("name", [name for name in algorithms.names() if not algorithms.get(name).several])
def test_the_others_refuse_several_instruments_in_one_line(name):
    with pytest.raises(ValueError, match=r"trades one instrument at a time; for several choose one of A2C, "):
        algorithms.get(name).make(request(name, "choice"))


@pytest.mark.parametrize("name", algorithms.names())
def test_every_corner_of_a_space_can_be_learned_with(name):
    algorithm = algorithms.get(name)
    for which in (0, -1):
        drawn = {
            key: (span.get("choices") or [span["low"], span["high"]])[which] for key, span in algorithm.space.items()
        }
        asked = request(name, algorithm.actions[0])
        asked = LearnerRequest(
            **vars(asked) | {"markets": (worlds.market(200, 6),), "parameters": asked.parameters | drawn}
        )
        report = algorithm.make(asked).advance()
        assert np.isfinite(list(report.losses.values())).all() and report.losses
