from dataclasses import replace

import numpy as np
import pytest

from agents.environment.own_state import ALL, CATALOGUE, OwnSpec, own_state
from agents.network import Goal, float_network
from agents.policies import normalisers
from agents.policies.counterfactuals import changeable
from agents.policies.explain import attribute, explain
from agents.policies.features import CATALOGUE as FEATURES
from agents.policies.normalisers import LiveScale, NormaliserChoice
from agents.policies.outputs import PolicyOutput
from agents.policies.sentence import Manner, Position, Reason, sentence
from agents.tests import worlds
from agents.wording import phrase, shown

BARS = worlds.walk()


def _moments(policy, n):
    """Raw values, own state and output at n days."""
    rows = policy.spec.compute(BARS)
    for t in np.linspace(60, 690, n).astype(int):
        held = 100.0 if t % 2 else 0.0
        own = own_state(held, BARS.close[t] * 0.96, BARS.close[t], 20_000.0, 21_000.0, 9 if held else 0, policy.rules)
        output = policy.decide(policy.observe(rows[t], own))
        yield rows[t], rows[t - 1], own, held, output


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_contributions_add_up_to_what_the_day_makes_different(algorithm):
    policy = worlds.policy(algorithm, gain=3.0)
    for values, _, own, _, output in _moments(policy, 40):
        found = attribute(policy, policy.observe(values, own), output)
        assert found.contributions.sum() == pytest.approx(found.value - found.baseline, rel=0.01, abs=1e-9)


def test_contributions_match_a_plain_integral_and_the_value_the_torch_layers():
    policy = worlds.policy("ppo", gain=3.0)
    values, _, own, _, output = next(_moments(policy, 1))
    point = policy.observe(values, own).astype(float)
    found = attribute(policy, point, output)
    share = np.log(output.confidence / (1 - output.confidence))  # log-odds of the chosen share
    assert found.value == pytest.approx(share, abs=1e-4)
    # Derivatives by differences at 400 places between the average day and this one.
    network, goal, expected = float_network(policy), Goal.of(policy, output), np.zeros(len(point))
    for alpha in (np.arange(400) + 0.5) / 400:
        up = alpha * point + 1e-6 * np.eye(len(point))
        down = alpha * point - 1e-6 * np.eye(len(point))
        expected += (goal.value(network.forward(up)) - goal.value(network.forward(down))) / 2e-6
    np.testing.assert_allclose(found.contributions, expected / 400 * point, rtol=0.02, atol=1e-3)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_counterfactual_changes_the_decision_as_it_says(algorithm):
    policy, n_found = worlds.policy(algorithm, seed=2, gain=4.0), 0
    for values, _, own, held, output in _moments(policy, 30):
        rationale = explain(policy, values, own, output, held=held, wanted=held)
        for change in rationale["counterfactuals"]:
            other = values.copy()
            column = policy.spec.names.index(change["feature"])
            other[column] = change["value"]
            assert (change["value"] > values[column]) == (change["direction"] == "above")
            assert policy.decide(policy.observe(other, own)).label == change["would"] != output.label
            # Nearest: half the way there nothing has changed yet.
            other[column] = (change["value"] + values[column]) / 2
            assert policy.decide(policy.observe(other, own)).label == output.label
            n_found += 1
    assert n_found > 10


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
@pytest.mark.parametrize("kind", normalisers.KINDS)
def test_own_history_and_every_normaliser_are_explained_and_changed_in_raw_values(algorithm, kind):
    """A counterfactual holds when the whole way from raw values is gone again, at the scale of its bar."""
    data = worlds.dataset(replace(worlds.settings(algorithm), normaliser=NormaliserChoice(kind)))
    policy = replace(worlds.policy(algorithm, seed=2, gain=4.0, own=OwnSpec(ALL)), normaliser=data.normaliser)
    live, rng, shown = LiveScale(policy.normaliser), np.random.default_rng(1), []
    for t in range(600, 640):
        scale = live.at(data.bars.time[: t + 1], data.raw[t - 1], lambda end=t + 1: data.raw[:end])
        own = policy.own.usual + rng.normal(0, 1, len(ALL)) / policy.own.scale
        output = policy.decide(policy.observe(data.raw[t], own, scale))
        found = explain(policy, data.raw[t], own, output, scale=scale)
        assert found["sentence"].endswith(".")
        shown += [part["label"] for part in found["contributions"]]
        for change in found["counterfactuals"]:
            values, mine = data.raw[t].copy(), own.copy()
            if change["feature"] in ALL:
                assert CATALOGUE[change["feature"]].alone
                mine[ALL.index(change["feature"])] = change["value"]
            else:
                values[policy.spec.names.index(change["feature"])] = change["value"]
            assert policy.decide(policy.observe(values, mine, scale)).label == change["would"] != output.label
            shown.append(change["feature"])
    assert set(shown) & set(ALL), "no own value was ever among the changes"
    assert set(shown) & set(worlds.FEATURES), "no feature was ever among the changes"
    assert len(set(shown) & {CATALOGUE[name].label for name in ALL}) > 10


def test_what_hangs_on_the_position_is_never_asked_to_be_another():
    changing = {name for name in ALL if changeable(worlds.policy(), name)}
    lasting = {"last_trade_result", "own_return_mean_20", "own_volatility_20"}
    assert changing == {f"{what}_{n}" for what in ("wanted", "own_return") for n in range(1, 6)} | lasting
    policy = worlds.policy(names=("rsi_14", "half_day", "supertrend_side", "week_sin", "streak"))
    assert [changeable(policy, name) for name in policy.spec.names] == [True, False, False, False, True]


@pytest.mark.parametrize("name", FEATURES)
def test_every_feature_of_the_catalogue_has_words_and_a_value_to_show(name):
    for value in (0.0, 1.0, -0.5):
        assert phrase(name, value, 0.25, "day")
        assert shown(name, value)


def test_a_feature_without_words_of_its_own_goes_by_its_name():
    assert phrase("adx_14", 30.1, 28.0) == "“Strength of the trend, ADX 14” rose to 30.1"
    assert phrase("half_day", 1.0, 0.0) == "“Session that closes early” is yes"


def test_the_rationale_has_what_pages_show():
    policy = worlds.policy("sac", gain=2.0)
    for values, before, own, held, output in _moments(policy, 30):
        found = explain(policy, values, own, output, held=held, wanted=held, previous=before)
        sizes = [abs(part["contribution"]) for part in found["contributions"]]
        assert sizes == sorted(sizes, reverse=True)
        assert len(sizes) == 6
        assert sum(part["share"] for part in found["preferences"]) == pytest.approx(1.0)
        assert found["target"] == output.target
        assert found["sentence"].endswith(".")


def test_a_missing_input_is_said_to_be_missing():
    policy = worlds.policy(names=("rsi_14", "vix"))
    values, own = np.array([30.0, np.nan]), np.zeros(4)
    output = policy.decide(policy.observe(values, own))
    parts = {part["feature"]: part for part in explain(policy, values, own, output)["contributions"]}
    assert (parts["vix"]["value"], parts["vix"]["display"], parts["vix"]["contribution"]) == (None, "not known", 0.0)


BUY = PolicyOutput(1.0, "buy", 0.71, {"hold": 0.26, "buy": 0.71, "sell": 0.03})
RSI = Reason("rsi_14", 28.4, 31.0, 0.8)
EMA = Reason("ema_50", 0.03, 0.03, 0.5)


def test_a_purchase_in_words():
    assert sentence(Manner(), BUY, [RSI, EMA], Position(0, 100)) == (
        "It chose to buy because RSI 14 fell to 28.4 and the close is 3.0 % above its 50-day average. "
        "It was 71 % sure; holding came second with 26 %."
    )


def test_what_speaks_against_is_named():
    against = Reason("ema_50", -0.03, None, -0.5)
    words = sentence(Manner(), BUY, [RSI, against], Position(0, 100))
    assert "although the close is 3.0 % below its 50-day average" in words


def test_nothing_stands_out_is_said_so():
    many = [Reason("rsi_14", 50.0, None, 0.01) for _ in range(10)]
    assert sentence(Manner(), BUY, many, Position(0, 100)).startswith("It chose to buy; no single input stands out.")


def test_nothing_stands_out_after_a_but_has_one_punctuation_mark():
    many = [Reason("rsi_14", 50.0, None, 0.01) for _ in range(10)]
    output = PolicyOutput(2.0, "sell", 0.6, {"hold": 0.4, "buy": 0.0, "sell": 0.6})
    words = sentence(Manner(), output, many, Position(0, 0))
    assert words.startswith("It stays out: it would sell, but holds nothing; no single input stands out.")


def test_among_many_inputs_a_smaller_share_stands_out():
    # RSI's 0.05 of 1.05 is less than 0.15, but among 161 inputs more than 0.15 * 16 / 161 = 0.0149.
    many = [Reason("ema_50", 0.03, None, 1 / 160) for _ in range(160)]
    words = sentence(Manner(), BUY, [Reason("rsi_14", 28.4, 31.0, 0.05), *many], Position(0, 100))
    assert words.startswith("It chose to buy because RSI 14 fell to 28.4. ")


@pytest.mark.parametrize(
    ("label", "held", "wanted", "begin"),
    [
        ("buy", 100, 100, "It keeps what it holds: it would buy, but cannot hold more, because"),
        ("sell", 0, 0, "It stays out: it would sell, but holds nothing, because"),
        ("hold", 100, 100, "It keeps what it holds because"),
        ("hold", 0, 0, "It stays out of the market because"),
        ("sell", 100, 0, "It chose to sell everything because"),
        ("buy", 100, 99, "It wants to stay fully invested and only gives back what its money does not carry, because"),
        ("buy", 50, 100, "It chose to buy more because"),
    ],
)
def test_words_follow_what_really_changes(label, held, wanted, begin):
    output = PolicyOutput(0.0, label, 0.6, {"hold": 0.4, "buy": 0.2, "sell": 0.1, label: 0.6})
    assert sentence(Manner(), output, [RSI], Position(held, wanted)).startswith(begin)


def test_a_sale_of_a_target_policy_names_what_pushed_it_down():
    output = PolicyOutput(-0.4, "sell", 0.8, {"sell": 0.8, "hold": 0.1, "buy": 0.1}, 0.0, -0.42, 0.2)
    down = Reason("return_5", -0.08, None, -0.9)
    assert sentence(Manner("target"), output, [down, RSI], Position(10, 0)) == (
        "It chose to sell everything because the price fell 8.0 % over 5 days, although RSI 14 fell to 28.4. "
        "It wants no position and was 80 % sure of that, give or take a quarter."
    )
