import json
import struct
from dataclasses import replace

import numpy as np
import pytest
from scipy.stats import norm

from agents import normalisers, own_state
from agents.learning import make_learner, served
from agents.normalisers import NormaliserChoice
from agents.own_state import ALL, OwnSpec
from agents.policy import PolicyFileError, ServedPolicy, target_label, target_output
from agents.tests import worlds
from core.simulation.rules import MarketRules

PARAMETERS = {"learning_rate": 1e-3, "width": 16, "gamma": 0.9, "ent_coef": 0.05}


@pytest.mark.parametrize(("algorithm", "n_steps"), [("ppo", 2048), ("sac", 1200)])
def test_it_acts_as_the_learner_it_was_copied_from(algorithm, n_steps):
    settings = worlds.settings(algorithm)
    data = worlds.dataset(settings)
    model = make_learner(data, settings, PARAMETERS, seed=3)
    model.learn(n_steps)
    policy = ServedPolicy.from_bytes(served(model, data, settings).to_bytes())
    rows = np.random.default_rng(0).uniform(-2, 2, (300, len(worlds.FEATURES) + 4)).astype(np.float32)
    expected, _ = model.predict(rows, deterministic=True)
    found = np.array([policy.decide(row).action for row in rows])
    np.testing.assert_allclose(found, expected.reshape(-1), atol=1e-6)
    assert len(set(np.round(found, 3))) > 1


def test_the_file_is_the_same_every_time_and_comes_back_whole():
    policy = worlds.policy("sac")
    data = policy.to_bytes()
    again = ServedPolicy.from_bytes(data)
    assert data == policy.to_bytes() == again.to_bytes()
    assert again.weights_sha256() == policy.weights_sha256() != worlds.policy("sac", seed=1).weights_sha256()
    assert (again.spec, again.rules, again.hidden) == (policy.spec, policy.rules, policy.hidden)


def test_a_policy_of_old_has_the_file_it_always_had():
    # As it was before own values and normalisers could be chosen: stored models stay what they are.
    data = worlds.policy().to_bytes()
    (length,) = struct.unpack("<Q", data[:8])
    about = json.loads(json.loads(data[8 : 8 + length])["__metadata__"]["policy"])
    old = {"format", "algorithm", "features", "normaliser", "rules", "hidden", "activation"}
    assert (set(about), set(about["normaliser"])) == (old, {"mean", "deviation"})
    again = ServedPolicy.from_bytes(data)
    assert (again.own, again.normaliser.kind) == (own_state.DEFAULT, "zscore")


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
        ServedPolicy.from_weights("ppo", policy.spec, policy.normaliser, policy.rules, policy.hidden, "tanh", weights)


def test_choice_preferences_are_the_softmax_of_the_logits():
    policy = worlds.policy("ppo")
    output = policy.decide(np.zeros(10, np.float32))
    assert sum(output.preferences.values()) == pytest.approx(1.0)
    assert output.confidence == max(output.preferences.values()) == output.preferences[output.label]


def test_target_confidence_is_the_chance_of_a_draw_nearby():
    # With short selling: P(|tanh(z) - tanh(0.3)| < 0.25), z ~ N(0.3, 0.4), from the normal distribution before tanh.
    rules = MarketRules(short_selling=True)
    output, centre = target_output(0.3, 0.4, 0.0, rules), np.tanh(0.3)
    ends = np.arctanh([centre - 0.25, centre + 0.25])
    assert output.confidence == pytest.approx(np.diff(norm.cdf(ends, 0.3, 0.4))[0])
    assert output.action == output.target == pytest.approx(centre)


@pytest.mark.parametrize("short_selling", [False, True])
@pytest.mark.parametrize(("mean", "weight"), [(0.6, 0.0), (-0.7, 0.4), (0.1, 0.9), (2.5, 0.5), (-0.2, 0.0)])
def test_target_preferences_and_confidence_match_many_draws(short_selling, mean, weight):
    rules = MarketRules(short_selling=short_selling, no_trade_band=0.1)
    output = target_output(mean, 0.5, weight, rules)
    draws = np.tanh(np.random.default_rng(0).normal(mean, 0.5, 40_000))
    labels = np.array([target_label(draw, weight, rules) for draw in draws])
    for name, share in output.preferences.items():
        assert share == pytest.approx((labels == name).mean(), abs=0.01)
    meant = draws if short_selling else np.maximum(draws, 0.0)
    assert output.confidence == pytest.approx((np.abs(meant - output.target) < 0.25).mean(), abs=0.01)


def test_a_negative_target_without_short_selling_means_flat():
    rules = MarketRules(no_trade_band=0.1)
    output = target_output(-1.0, 0.3, 0.5, rules)
    assert (output.target, output.label) == (0.0, "sell")
    assert target_output(-1.0, 0.3, 0.0, rules).label == "hold"
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
