import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import safetensors.torch
from scipy.stats import norm

from agents.environment.own_state import ALL, OwnSpec
from agents.networks.spec import HeadSpec, NetworkSpec
from agents.policies import normalisers
from agents.policies.normaliser import Scale
from agents.policies.normalisers import NormaliserChoice
from agents.policies.outputs import CHOICES, choice_output, target_label, target_output
from agents.policies.policy import PolicyFileError, ServedPolicy
from agents.tests import networks, worlds
from core.simulation.rules import MarketRules

GAUSSIAN = HeadSpec("gaussian")
DATA = Path(__file__).parent / "data"


def moments(policy: ServedPolicy, n: int, seed: int = 0) -> np.ndarray:
    """Observations (n, n_inputs) as a network may see them."""
    return np.random.default_rng(seed).uniform(-2, 2, (n, policy.n_inputs)).astype(np.float32)


def any_mask(policy: ServedPolicy) -> np.ndarray | None:
    """A mask that forbids every second action, for a policy that needs one."""
    return np.arange(policy.head.n_actions) % 2 == 0 if policy.head.masked else None


def test_the_file_is_the_same_every_time_and_comes_back_whole():
    policy = worlds.policy("sac")
    data = policy.to_bytes()
    again = ServedPolicy.from_bytes(data)
    assert data == policy.to_bytes() == again.to_bytes()
    assert again.weights_sha256() == policy.weights_sha256() != worlds.policy("sac", seed=1).weights_sha256()
    assert (again.spec, again.rules, again.network) == (policy.spec, policy.rules, policy.network)


@pytest.mark.parametrize("kind", networks.NETWORKS)
@pytest.mark.parametrize("head", networks.HEADS)
def test_every_network_and_head_comes_back_from_its_file_and_decides_as_before(kind, head):
    policy = networks.policy(networks.NETWORKS[kind], networks.HEADS[head], own=OwnSpec(("weight", "own_return_1")))
    again = ServedPolicy.from_bytes(policy.to_bytes())
    assert again.to_bytes() == policy.to_bytes()
    assert again.weights_sha256() == policy.weights_sha256()
    assert (again.network, again.head, again.actions, again.own) == (
        policy.network, policy.head, policy.actions, policy.own,
    )  # fmt: skip
    memory = policy.start()
    for row in moments(policy, 5):
        one, two = policy.decide(row, memory, any_mask(policy)), again.decide(row, memory, any_mask(policy))
        assert one == two
        np.testing.assert_array_equal(one.memory, two.memory)
        memory = one.memory
        assert sum(one.preferences.values()) == pytest.approx(1.0)
        assert 0.0 <= one.confidence <= 1.0 + 1e-12


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_files_of_the_first_format_decide_exactly_as_they_always_did(algorithm):
    """Files and outputs were written by the code that knew only the first format."""
    policy = ServedPolicy.from_bytes((DATA / f"first_format_{algorithm}.safetensors").read_bytes())
    expected = json.loads((DATA / "first_format.json").read_text())[algorithm]
    assert policy.weights_sha256() == expected["weights_sha256"]
    for row, output in zip(expected["rows"], expected["outputs"], strict=True):
        found = policy.decide(np.array(row, dtype=np.float32))
        assert {name: getattr(found, name) for name in output} == output
    again = ServedPolicy.from_bytes(policy.to_bytes())
    assert (again.own, again.rules, again.weights_sha256()) == (policy.own, policy.rules, policy.weights_sha256())


@pytest.mark.parametrize("kind", normalisers.KINDS)
def test_own_values_and_normaliser_come_back_from_the_file(kind):
    settings = replace(worlds.settings(), normaliser=NormaliserChoice(kind), own_state=OwnSpec(ALL))
    data = worlds.dataset(settings)
    policy = worlds.policy(own=settings.own_state)
    policy = replace(policy, normaliser=data.normaliser)
    again = ServedPolicy.from_bytes(policy.to_bytes())
    assert again.own == settings.own_state
    assert again.to_bytes() == policy.to_bytes()
    scaled = again.normaliser.apply_series(data.raw, data.bars.time)
    assert scaled.tobytes() == data.market.features.tobytes()


def test_a_file_with_an_unknown_own_value_is_refused():
    data = worlds.policy(own=OwnSpec(("weight", "wanted_1"))).to_bytes()
    with pytest.raises(PolicyFileError, match="unknown own value 'wanted_x'"):
        ServedPolicy.from_bytes(data.replace(b"wanted_1", b"wanted_x"))


@pytest.mark.parametrize("data", [b"", b"x" * 100, worlds.policy().to_bytes()[:-5]])
def test_something_else_is_no_policy_file(data):
    with pytest.raises(PolicyFileError, match="not a policy file"):
        ServedPolicy.from_bytes(data)


def test_weights_that_are_nan_are_refused():
    policy = worlds.policy()
    weights = policy.weights()
    weights["head.bias"][0] = float("nan")
    with pytest.raises(PolicyFileError, match=r"head\.bias holds NaN"):
        ServedPolicy.from_weights("ppo", policy.spec, policy.normaliser, policy.rules, (16, 16), "tanh", weights)


def test_choice_preferences_are_the_softmax_of_the_logits():
    policy = worlds.policy("ppo")
    output = policy.decide(np.zeros(10, np.float32))
    assert sum(output.preferences.values()) == pytest.approx(1.0)
    assert output.confidence == max(output.preferences.values()) == output.preferences[output.label]


def test_target_confidence_is_the_chance_of_a_draw_nearby():
    # With short selling: P(|tanh(z) - tanh(0.3)| < 0.25), z ~ N(0.3, 0.4), from the normal distribution before tanh.
    rules = MarketRules(short_selling=True)
    output, centre = target_output(GAUSSIAN, 0.3, 0.4, 0.0, rules), np.tanh(0.3)
    ends = np.arctanh([centre - 0.25, centre + 0.25])
    assert output.confidence == pytest.approx(np.diff(norm.cdf(ends, 0.3, 0.4))[0])
    assert output.action == output.target == pytest.approx(centre)


# What a continuous head says and many draws around it: (head, head's number to draws).
DRAWS = {
    "gaussian": lambda mean, noise: np.tanh(mean + 0.5 * noise),
    "gaussian_clipped": lambda mean, noise: np.clip(mean + 0.5 * noise, -1, 1),
    "deterministic": lambda mean, noise: np.clip(np.tanh(mean) + 0.2 * noise, -1, 1),  # TD3's smoothing noise
}


@pytest.mark.parametrize("kind", DRAWS)
@pytest.mark.parametrize("short_selling", [False, True])
@pytest.mark.parametrize(("mean", "weight"), [(0.6, 0.0), (-0.7, 0.4), (0.1, 0.9), (2.5, 0.5), (-0.2, 0.0)])
def test_target_preferences_and_confidence_match_many_draws(kind, short_selling, mean, weight):
    rules = MarketRules(short_selling=short_selling, no_trade_band=0.1)
    output = target_output(HeadSpec(kind), mean, None if kind == "deterministic" else 0.5, weight, rules)
    draws = DRAWS[kind](mean, np.random.default_rng(0).normal(size=40_000))
    labels = np.array([target_label(draw, weight, rules) for draw in draws])
    for name, share in output.preferences.items():
        assert share == pytest.approx((labels == name).mean(), abs=0.01)
    meant = draws if short_selling else np.maximum(draws, 0.0)
    assert output.confidence == pytest.approx((np.abs(meant - output.target) < 0.25).mean(), abs=0.01)
    assert output.action == pytest.approx(float(DRAWS[kind](mean, 0.0)))


def test_the_nine_steps_share_their_label():
    """Logits are logs of shares by hand: hold 0.3, buy 0.1 0.1 0.1 0.25, sell 0.05 0.05 0.03 0.02."""
    parts = np.array([0.3, 0.1, 0.1, 0.1, 0.25, 0.05, 0.05, 0.03, 0.02])
    output = choice_output(np.log(parts), HeadSpec("logits", 9))
    assert (output.action, output.label) == (0.0, "hold")
    assert output.confidence == pytest.approx(0.3)
    assert [output.preferences[name] for name in CHOICES] == pytest.approx([0.3, 0.55, 0.15])
    parts[0], parts[4] = 0.25, 0.3
    output = choice_output(np.log(parts), HeadSpec("logits", 9))
    assert (output.action, output.label, output.confidence) == (4.0, "buy", pytest.approx(0.6))


def test_a_mask_leaves_impossible_actions_nothing():
    parts = np.array([0.2, 0.5, 0.3])
    output = choice_output(np.log(parts), HeadSpec("logits", 3, {"masked": True}), np.array([True, False, True]))
    assert (output.label, output.confidence) == ("sell", pytest.approx(0.6))
    assert output.preferences["buy"] == 0.0


def test_values_of_actions_become_shares_by_how_far_they_usually_lie_apart():
    # exp(-0.2/0.1) = 0.135, exp(-0.4/0.1) = 0.018: shares 1, 0.135, 0.018 of 1.154.
    output = choice_output(np.array([1.0, 1.4, 1.2]), HeadSpec("q", 3, {"scale": 0.1}))
    expected = np.exp([-4.0, 0.0, -2.0]) / np.exp([-4.0, 0.0, -2.0]).sum()
    assert (output.action, output.label) == (1.0, "buy")
    assert [output.preferences[name] for name in CHOICES] == pytest.approx(expected)
    # Without a scale: their standard deviation here, 0.163, so values a thousand times as large say the same.
    one, other = (choice_output(np.array([1.0, 1.4, 1.2]) * size, HeadSpec("q", 3)) for size in (1.0, 1000.0))
    assert one.confidence == pytest.approx(other.confidence)
    apart = np.exp(np.array([0.0, 0.4, 0.2]) / np.std([1.0, 1.4, 1.2]))
    assert one.confidence == pytest.approx((apart / apart.sum())[1])
    assert choice_output(np.ones(3), HeadSpec("q", 3)).confidence == pytest.approx(1 / 3)


def test_a_negative_target_without_short_selling_means_flat():
    rules = MarketRules(no_trade_band=0.1)
    output = target_output(GAUSSIAN, -1.0, 0.3, 0.5, rules)
    assert (output.target, output.label) == (0.0, "sell")
    assert target_output(GAUSSIAN, -1.0, 0.3, 0.0, rules).label == "hold"
    policy = worlds.policy("sac", rules=rules)
    assert policy.target_quantity(-0.8, 100.0, 10_000.0, 50.0) == 0.0


def test_small_changes_inside_the_band_are_holding_but_going_flat_is_not():
    rules = MarketRules(no_trade_band=0.1)
    assert target_label(0.55, 0.5, rules) == "hold"
    assert target_label(0.65, 0.5, rules) == "buy"
    assert target_label(-0.3, 0.05, rules) == "sell"


def test_an_observation_of_another_shape_or_with_nan_is_refused():
    policy = worlds.policy()
    for bad in (np.zeros(3, np.float32), np.full(10, np.nan, np.float32)):
        with pytest.raises(ValueError, match="observation"):
            policy.decide(bad)


def test_a_memory_of_another_shape_or_with_nan_is_refused():
    policy = networks.policy(networks.NETWORKS["recurrent"], networks.HEADS["logits"])
    row = np.zeros(policy.n_inputs, np.float32)
    assert policy.start().shape == (24,)  # hidden and cell of 12 each
    for bad in (np.zeros(3, np.float32), np.full(24, np.nan, np.float32)):
        with pytest.raises(ValueError, match="memory"):
            policy.decide(row, bad)
    assert worlds.policy().start().shape == (0,)


def test_a_policy_that_learned_with_masks_needs_one():
    policy = networks.policy(networks.NETWORKS["mlp"], networks.HEADS["masked"])
    row = np.zeros(policy.n_inputs, np.float32)
    for mask in (None, np.ones(3, bool), np.zeros(9, bool)):
        with pytest.raises(ValueError, match="needs one of 9"):
            policy.decide(row, mask=mask)


def test_its_mask_forbids_what_changes_nothing():
    """Money 10,000 at 100: all of it is 100 shares. Flat: nothing to sell. Fully invested: nothing to buy."""
    policy = networks.policy(networks.NETWORKS["mlp"], networks.HEADS["masked"], rules=MarketRules())
    assert policy.mask(0.0, 10_000.0, 100.0).tolist() == [True] * 5 + [False] * 4
    assert policy.mask(100.0, 10_000.0, 100.0).tolist() == [True] + [False] * 4 + [True] * 4
    # One share of three: 25 and 50 % of one share are none.
    assert policy.mask(1.0, 300.0, 100.0).tolist() == [True, False, True, True, True, False, False, False, True]
    assert networks.policy(networks.NETWORKS["mlp"], networks.HEADS["steps"]).mask(0.0, 1e4, 100.0) is None


def test_steps_aim_at_a_part_of_the_way():
    policy = networks.policy(networks.NETWORKS["mlp"], networks.HEADS["steps"], rules=MarketRules())
    wanted = [policy.target_quantity(step, 20.0, 10_000.0, 100.0) for step in range(9)]
    # From 20 to 100 shares: 80 more; to none: 20 less.
    assert wanted == [20.0, 40.0, 60.0, 80.0, 100.0, 15.0, 10.0, 5.0, 0.0]


def test_a_window_is_seen_oldest_bar_first_with_zeros_before_the_first():
    policy = networks.policy(NetworkSpec("lstm", (8,), "tanh", 4), networks.HEADS["logits"])
    raw = policy.spec.compute(worlds.walk())[300:303]  # three bars of four
    own = np.array([0.5, 0.0, 0.0, 0.0])
    found = policy.observe(raw, own)
    expected = [np.zeros(6), *policy.normaliser.apply(raw), [0.5, 0.0, 0.0, 0.0]]
    np.testing.assert_array_equal(found, np.concatenate(expected).astype(np.float32))
    assert policy.current_weight(found) == 0.5
    # Each row by the scale of its own bar.
    scales = [Scale(np.full(6, float(i)), np.full(6, 1.0 + i)) for i in range(3)]
    mixed = policy.observe(raw, own, scales)[6:24].reshape(3, 6)
    np.testing.assert_array_equal(mixed, np.array([s.apply(r) for s, r in zip(scales, raw, strict=True)], np.float32))
    with pytest.raises(ValueError, match="5 rows arrived, the window is 4"):
        policy.observe(np.zeros((5, 6)), own)


@pytest.mark.parametrize("kind", networks.NETWORKS)
def test_a_damaged_file_is_refused(kind):
    data = networks.policy(networks.NETWORKS[kind], networks.HEADS["logits"]).to_bytes()
    with pytest.raises(PolicyFileError, match="not a policy file"):
        ServedPolicy.from_bytes(data[:-5])
    with pytest.raises(PolicyFileError, match="'gru' is unknown"):
        ServedPolicy.from_bytes(_renamed(data, lambda about: about["network"].update(kind="gru")))
    with pytest.raises(PolicyFileError, match="3 or 9 actions, got 7"):
        ServedPolicy.from_bytes(_renamed(data, lambda about: about["head"].update(n_actions=7)))
    with pytest.raises(PolicyFileError, match="expected one of choice, steps, target"):
        ServedPolicy.from_bytes(_renamed(data, lambda about: about.update(actions="steps")))
    with pytest.raises(PolicyFileError, match=r"body\.0\.weight has shape"):
        ServedPolicy.from_bytes(
            _renamed(data, lambda about: about["network"].update(hidden=[17] * len(about["network"]["hidden"])))
        )
    with pytest.raises(PolicyFileError, match="tensors"):
        ServedPolicy.from_bytes(_renamed(data, lambda about: about["network"].update(hidden=[16, 16, 16])))
    with pytest.raises(PolicyFileError, match="format 'desk-policy-3'"):
        ServedPolicy.from_bytes(_renamed(data, lambda about: about.update(format="desk-policy-3")))


def _renamed(data: bytes, change) -> bytes:
    """The same tensors under other words."""
    length = int.from_bytes(data[:8], "little")
    about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["policy"])
    change(about)
    return safetensors.torch.save(safetensors.torch.load(data), {"policy": json.dumps(about)})


def test_a_network_that_uses_a_column_beyond_the_features_is_refused():
    network = NetworkSpec("ane", (8,), "tanh", 4, {"return_column": 6})
    with pytest.raises(PolicyFileError, match="column 6 of 6"):
        networks.policy(network, networks.HEADS["logits"])
