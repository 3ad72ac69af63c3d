"""Explanations of every network and head: they add up, their counterfactuals hold, and they are quick."""

import numpy as np
import pytest
import torch

from agents.environment.own_state import OwnSpec, own_state
from agents.network import Goal, float_network
from agents.networks.spec import NetworkSpec
from agents.policies.explain import attribute, explain
from agents.policies.policy import ServedPolicy
from agents.tests import networks, worlds

BARS = worlds.walk()
PAIRS = [(kind, "logits") for kind in networks.NETWORKS] + [
    ("mlp", head) for head in networks.HEADS if head != "logits"
]
PAIRS += [("ane", "deterministic"), ("recurrent", "gaussian"), ("tcn", "steps"), ("lstm", "dueling")]


def moments(policy: ServedPolicy, n: int):
    """Raw rows of the window, own state, observation, memory, mask and output at n bars in a row."""
    raw, memory = policy.spec.compute(BARS), policy.start()
    for t in range(300, 300 + n):
        held = 100.0 if t % 2 else 0.0
        own = own_state(held, BARS.close[t] * 0.96, BARS.close[t], 20_000.0, 21_000.0, 9 if held else 0, policy.rules)
        rows = raw[t - policy.window + 1 : t + 1]
        mask = policy.mask(held, 20_000.0, BARS.close[t])
        seen = policy.observe(rows, own)
        output = policy.decide(seen, memory, mask)
        yield rows, own, seen, memory, mask, output
        memory = output.memory


@pytest.mark.parametrize(("kind", "head"), PAIRS)
def test_contributions_add_up_whatever_the_network_and_head(kind, head):
    policy = networks.policy(networks.NETWORKS[kind], networks.HEADS[head], gain=3.0)
    for _, _, seen, memory, mask, output in moments(policy, 8):
        found = attribute(policy, seen, output, memory, mask)
        assert found.contributions.shape == (len(policy.spec) + len(policy.own),)
        assert found.contributions.sum() == pytest.approx(found.value - found.baseline, rel=1e-6, abs=1e-9)
        assert np.isfinite(found.contributions).all()


@pytest.mark.parametrize(("kind", "head"), [("lstm", "logits"), ("ane", "gaussian"), ("recurrent", "steps")])
def test_contributions_are_the_integral_by_differences_summed_over_the_windows_bars(kind, head):
    policy = networks.policy(networks.NETWORKS[kind], networks.HEADS[head], gain=3.0)
    *_, (_, _, seen, memory, _, output) = moments(policy, 3)
    found, point = attribute(policy, seen, output, memory), seen.astype(float)
    network, goal = float_network(policy, memory), Goal.of(policy, output)
    expected, step = np.zeros(len(point)), 1e-5 * np.eye(len(point))
    for alpha in (np.arange(128) + 0.5) / 128:
        up, down = (goal.value(network.forward(alpha * point + side)) for side in (step, -step))
        expected += (up - down) / 2e-5 / 128 * point
    by_name = expected[: policy.window * 6].reshape(policy.window, 6).sum(axis=0)
    np.testing.assert_allclose(found.contributions, [*by_name, *expected[policy.window * 6 :]], rtol=0.02, atol=2e-3)


def test_the_plain_network_is_the_torch_one():
    for head in ("logits", "steps", "q", "gaussian", "gaussian_clipped", "deterministic"):
        policy = networks.policy(networks.NETWORKS["mlp"], networks.HEADS[head])
        rows, rng = np.random.default_rng(0).normal(size=(7, policy.n_inputs)), np.random.default_rng(1)
        slope = rng.normal(size=(7, policy.head.n_actions))
        plain, inputs = float_network(policy), torch.as_tensor(rows).requires_grad_()
        scores = policy.layers.double()(inputs)
        np.testing.assert_allclose(plain.forward(rows), scores.detach(), atol=1e-12)
        (expected,) = torch.autograd.grad(scores, inputs, torch.as_tensor(slope))
        np.testing.assert_allclose(plain.pull(rows, slope), expected, atol=1e-12)


def test_what_is_explained_by_hand():
    """Three logits 1, 2, 0 choosing buy: 2 - log(e^1 + e^0); nine values choosing step 2 of buying."""
    policy = networks.policy(networks.NETWORKS["mlp"], networks.HEADS["logits"])
    output = next(moments(policy, 1))[-1]
    goal = Goal.of(policy, type(output)(1.0, "buy", 0.5, {}))
    assert goal.value(np.array([[1.0, 2.0, 0.0]]))[0] == pytest.approx(2.0 - np.log(np.e + 1.0))
    rated = networks.policy(networks.NETWORKS["mlp"], networks.HEADS["dueling"])
    goal = Goal.of(rated, type(output)(2.0, "buy", 0.5, {}))
    # The others are hold (1) and the four sales (0, 1, 2, 7): their mean is 2.2.
    values = np.array([[1.0, 3.0, 6.0, 4.0, 5.0, 0.0, 1.0, 2.0, 7.0]])
    assert goal.value(values)[0] == pytest.approx(6.0 - 2.2)
    # Several steps of one label speak together, and what is masked says nothing.
    steps = networks.policy(networks.NETWORKS["mlp"], networks.HEADS["masked"])
    mask = np.array([True, True, True, False, False, False, False, False, True])
    goal = Goal.of(steps, type(output)(2.0, "buy", 0.5, {}), mask)
    assert goal.value(values)[0] == pytest.approx(np.log(np.exp(3.0) + np.exp(6.0)) - np.log(np.exp(1.0) + np.exp(7.0)))


@pytest.mark.parametrize(("kind", "head"), PAIRS)
def test_a_counterfactual_of_the_newest_bar_changes_the_decision_as_it_says(kind, head):
    policy, n_found = networks.policy(networks.NETWORKS[kind], networks.HEADS[head], seed=3, gain=6.0), 0
    for rows, own, seen, memory, mask, output in moments(policy, 25):
        found = explain(policy, rows[-1], own, output, observation=seen, memory=memory, mask=mask)
        assert found["sentence"].endswith(".")
        for change in found["counterfactuals"]:
            other = rows.copy()
            other[-1, policy.spec.names.index(change["feature"])] = change["value"]
            assert policy.decide(policy.observe(other, own), memory, mask).label == change["would"] != output.label
            n_found += 1
    assert n_found > 3


def test_a_transformers_rationale_says_which_bars_it_looked_at_most():
    policy = networks.policy(networks.NETWORKS["ane"], networks.HEADS["logits"])
    rows, own, seen, memory, _, output = next(moments(policy, 1))
    looked = explain(policy, rows[-1], own, output, observation=seen, memory=memory)["attention"]
    shares = policy.attention(seen)["bars"]
    assert len(looked) == 5
    assert [part["share"] for part in looked] == sorted(shares, reverse=True)[:5]
    assert all(shares[policy.window - 1 - part["bars_ago"]] == part["share"] for part in looked)
    other = networks.policy(networks.NETWORKS["lstm"], networks.HEADS["logits"])
    rows, own, seen, memory, _, output = next(moments(other, 1))
    assert "attention" not in explain(other, rows[-1], own, output, observation=seen)


@pytest.mark.parametrize("kind", ["lstm", "tcn", "ane", "recurrent"])
def test_an_explanation_of_a_large_network_asks_it_a_bounded_number_of_times(kind):
    window = 1 if kind == "recurrent" else 32
    network = NetworkSpec(kind, (64, 64), "tanh", window)
    policy, rows = networks.policy(network, networks.HEADS["logits"], own=OwnSpec(("weight",))), list[int]()
    seen = np.random.default_rng(0).normal(size=policy.n_inputs).astype(np.float32)
    output = policy.decide(seen)
    policy.layers.head.register_forward_hook(lambda module, inputs, scores: rows.append(len(scores)))
    explain(policy, np.ones(6), np.zeros(1), output, observation=seen)
    # Not one pass for each of its 193 inputs: what it costs must not grow with the window.
    assert 0 < len(rows) <= 30
    assert sum(rows) <= 400


def shifted(values: np.ndarray, n_bytes: int) -> np.ndarray:
    """The same values in memory that begins `n_bytes` after a multiple of 64."""
    room = np.empty(values.nbytes + 128, np.uint8)
    start = -room.ctypes.data % 64 + n_bytes
    found = room[start : start + values.nbytes].view(values.dtype).reshape(values.shape)
    found[...] = values
    return found


@pytest.mark.parametrize("kind", networks.NETWORKS)
def test_numbers_do_not_hang_on_where_an_array_lies_in_memory(kind):
    policy = networks.policy(networks.NETWORKS[kind], networks.HEADS["steps"], gain=3.0)
    rng, found = np.random.default_rng(0), set()
    rows, slope, memory = rng.normal(size=(3, policy.n_inputs)), rng.normal(size=(3, 9)), policy.start()
    for n_bytes in (0, 8, 16, 32, 48):
        network = float_network(policy, shifted(memory, n_bytes))
        scores, back = (network.forward(shifted(rows, n_bytes)), network.pull(shifted(rows, n_bytes), slope))
        output = policy.decide(shifted(rows[0].astype(np.float32), n_bytes), shifted(memory, n_bytes))
        found.add((scores.tobytes(), back.tobytes(), output.confidence, output.memory.tobytes()))
    assert len(found) == 1
