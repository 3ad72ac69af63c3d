"""A study is cut to what its backend can do; what cannot be done at all is refused once, before anything is queued."""

from math import log

import pytest
import torch

from agents import algorithms
from agents.configuration import ConfigurationError, parse
from agents.learners.parameters import entropy_target
from agents.models import TrainingRun
from agents.networks.spec import MLP, NetworkSpec
from agents.runs import control
from agents.studies.search import left_out, search_space, suggest
from agents.tests.test_configuration import configuration
from agents.tests.test_off_policy import learner
from agents.tests.test_queue import make_agent


@pytest.fixture(autouse=True)
def tpu_is_there(monkeypatch):
    """The extra may be missing on this machine."""
    monkeypatch.setattr("agents.training_pages.training_backends.find_spec", lambda name: True)


SEARCH = {
    "target_kl": {"low": 0.01, "high": 0.1}, "network": {"choices": ["tcn", "mlp", "lstm"]}, "window": {"choices": [8]},
}  # fmt: skip


class First:
    """Draws the first of everything."""

    def suggest_float(self, name, low, high, log):
        return low

    def suggest_int(self, name, low, high, log):
        return low

    def suggest_categorical(self, name, choices):
        return choices[0]


def test_what_a_backend_cannot_do_is_left_out_of_the_study():
    here, there = search_space("ppo", SEARCH), search_space("ppo", SEARCH, backend="tpu")
    assert "target_kl" in here and here["network"]["choices"] == ["tcn", "mlp", "lstm"]
    assert "target_kl" not in there and there["network"] == {"choices": ["mlp"]}
    assert suggest(First(), there)["network"] == MLP
    assert search_space("ppo", SEARCH, backend="cuda") == here
    assert left_out("ppo", SEARCH, "tpu") == ["target_kl", "network tcn", "network lstm"]
    assert left_out("ppo", SEARCH, "cuda") == left_out("ppo", {"network": "mlp"}, "tpu") == []


@pytest.mark.parametrize(
    ("search", "message"),
    [
        ({"target_kl": 0.02}, "target_kl cannot be had on backend tpu; take it out, or choose another backend"),
        ({"network": "tcn", "window": 8}, "network: tcn cannot be learned on backend tpu, which has mlp"),
        ({"network": {"choices": ["ane", "lstm"]}, "window": 8}, "network: ane, lstm cannot be learned on backend tpu"),
    ],
)
def test_what_leaves_nothing_to_choose_from_is_refused_in_one_line(search, message):
    with pytest.raises(ValueError, match=message) as caught:
        search_space("ppo", search, network=NetworkSpec(), backend="tpu")
    assert "\n" not in str(caught.value)
    data = configuration()
    data["training"] = data["training"] | {"backend": "tpu", "search": search}
    with pytest.raises(ConfigurationError, match=f"training.search: {message}"):
        parse("ppo", data)


@pytest.mark.django_db
def test_a_run_on_another_backend_than_its_settings_name_is_refused_before_it_is_queued():
    agent = make_agent()
    changes = {"training": {"search": {"target_kl": 0.02}}}
    with pytest.raises(ValueError, match=r"training\.search: target_kl cannot be had on backend tpu"):
        control.start_training(agent, actor="ann", backend="tpu", changes=changes)
    assert not TrainingRun.objects.exists() and agent.configurations.count() == 1
    assert control.start_training(agent, actor="ann", backend="cpu", changes=changes).backend == "cpu"


@pytest.mark.django_db
def test_the_page_of_a_run_says_what_its_backend_does_not_vary(client):
    from tests import factories

    client.force_login(factories.operator())
    run = control.start_training(make_agent(), actor="ann", backend="tpu", changes={"training": {"search": SEARCH}})
    page = client.get(f"/training/{run.pk}/").content.decode()
    assert "Not varied there" in page and "target_kl, network tcn, network lstm" in page


def test_every_algorithm_lacks_only_what_it_otherwise_has():
    for found in algorithms.all_algorithms().values():
        for backend, names in found.lacks.items():
            assert backend in found.backends and set(names) <= set(found.space) | set(found.optional)


@pytest.mark.parametrize("backend", ["cpu", "tpu"])
def test_the_chance_that_sac_keeps_is_fixed_or_varied_on_request(backend):
    assert "target_entropy" not in search_space("sac", {}, backend=backend)
    assert search_space("sac", {"target_entropy": "auto"})["target_entropy"] == {"choices": ["auto"]}
    mixed = {"choices": ["auto", -0.5, -3.0]}
    assert search_space("sac", {"target_entropy": mixed})["target_entropy"] == mixed
    span = search_space("sac", {"target_entropy": {"low": -3.0, "high": -0.5}})["target_entropy"]
    assert (span["low"], span["high"], span["log"]) == (-3.0, -0.5, False)
    for wrong in (5.0, "much", {"low": -3.0, "high": -0.5, "log": True}, {"low": "auto", "high": 0.0}):
        with pytest.raises(ValueError, match=r"target_entropy: got .*, expected auto, a number from -20 to 0\.69"):
            search_space("sac", {"target_entropy": wrong})


def test_sac_keeps_as_much_chance_as_it_is_asked_to():
    # Stable-Baselines3: auto is minus the number of actions, of which there is one.
    assert entropy_target({}) == "auto"
    usual = learner("sac")
    assert usual.model.target_entropy == -1.0
    usual.close()
    weights = {}
    for target in (0.6, -10.0):
        each = learner("sac", n_steps=2_048, target_entropy=target)
        assert each.model.target_entropy == target
        while each.steps_done < 2_048:
            each.advance()
        weights[target] = float(torch.exp(each.model.log_ent_coef.detach()))
        each.close()
    # A position within -1 to 1 never has more than ln 2 nats, nor, so early, fewer than -10: the weight of chance,
    # 0.1 at first, falls for the second and for the first is above that.
    assert log(2) > 0.6 and weights[-10.0] < 0.1 and weights[-10.0] < weights[0.6]


def test_sac_on_jax_is_told_the_same():
    pytest.importorskip("sbx", reason="sbx is not installed: pip install '.[tpu]' -c constraints.txt")
    from agents.tests.test_jax_learner import make

    assert [make("sac", **given).model.target_entropy for given in ({}, {"target_entropy": -2.5})] == [-1.0, -2.5]
