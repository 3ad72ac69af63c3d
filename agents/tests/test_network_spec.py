import pickle

import pytest

from agents.networks.spec import KINDS, HeadSpec, NetworkSpec
from agents.tests.networks import HEADS, NETWORKS


@pytest.mark.parametrize("kind", KINDS)
def test_a_network_comes_back_from_its_dict_and_from_another_process(kind):
    spec = NETWORKS[kind]
    assert NetworkSpec.from_dict(spec.to_dict()) == spec == pickle.loads(pickle.dumps(spec))
    assert hash(spec) == hash(NetworkSpec.from_dict(spec.to_dict()))
    assert spec.has_memory == (kind == "recurrent")


@pytest.mark.parametrize("name", HEADS)
def test_a_head_comes_back_from_its_dict(name):
    assert HeadSpec.from_dict(HEADS[name].to_dict()) == HEADS[name]


def test_missing_options_get_their_default_and_missing_parts_too():
    assert NetworkSpec("tcn", options={"kernel": 2}).options == {"channels": 32, "kernel": 2}
    assert NetworkSpec.from_dict({"kind": "lstm"}) == NetworkSpec(
        "lstm", (64, 64), "tanh", 1, {"size": 32, "layers": 1}
    )


def test_columns_are_found_by_the_names_of_the_features():
    spec = NetworkSpec("ane", options={"size": 16}).for_features(("rsi_14", "bar_gap", "return_1"))
    assert (spec.options["return_column"], spec.options["elapsed_column"]) == (2, 1)
    again = spec.for_features(("return_1",))
    assert (again.options["return_column"], again.options["elapsed_column"]) == (0, -1)
    assert NETWORKS["mlp"].for_features(("return_1",)) == NETWORKS["mlp"]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "gru"}, "'gru' is unknown"),
        ({"activation": "sigmoid"}, "'sigmoid' is unknown"),
        ({"hidden": [0]}, "hidden must be"),
        ({"hidden": 64}, "hidden must be a list"),
        ({"hidden": [64.0]}, "hidden must be"),
        ({"window": 0}, "window must be"),
        ({"window": True}, "window must be"),
        ({"kind": "lstm", "options": {"size": 0}}, "size must be"),
        ({"kind": "lstm", "options": {"heads": 2}}, "has no option heads"),
        ({"kind": "ane", "options": {"size": 10, "heads": 4}}, "multiple of heads"),
        ({"kind": "ane", "options": {"size": 4, "heads": 4}}, "at least twice"),
        ({"options": [1]}, "values by name"),
        ({"depth": 3}, "described by"),
        ([], "described by"),
    ],
)
def test_a_network_that_makes_no_sense_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        NetworkSpec.from_dict(values)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "softmax", "n_actions": 3}, "'softmax' is unknown"),
        ({"kind": "logits", "n_actions": 4}, "3 or 9 actions, got 4"),
        ({"kind": "gaussian", "n_actions": 3}, "1 actions, got 3"),
        ({"kind": "quantiles", "n_actions": 3}, "n_quantiles must be"),
        ({"kind": "q", "n_actions": 3, "options": {"scale": 0}}, "scale must be"),
        ({"kind": "q", "n_actions": 3, "options": {"masked": True}}, "no option masked"),
        ({"kind": "logits", "n_actions": 3, "options": {"masked": 1}}, "masked must be"),
        ({"n_actions": 3}, "described by"),
    ],
)
def test_a_head_that_makes_no_sense_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        HeadSpec.from_dict(values)
