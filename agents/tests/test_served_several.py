"""Policies that trade several instruments of one account: made, kept, shown, asked, and copied from their learners."""

import hashlib
import importlib.util
from typing import Any

import numpy as np
import pytest
import torch

from agents import algorithms
from agents.environment.env import EnvConfig, TradingEnv
from agents.environment.own_state import ALL, OwnSpec, own_states
from agents.learners.guard import input_names
from agents.networks.spec import HeadSpec, NetworkSpec
from agents.policies.explain import attribute
from agents.policies.features import FeatureSpec
from agents.policies.normaliser import Normaliser
from agents.policies.outputs import choice_output, target_output
from agents.policies.policy import PolicyFileError, ServedPolicy
from agents.runs import backends
from agents.tests import networks, several
from agents.tests.markets import random_actions
from core.simulation import kernel
from core.simulation.rules import MarketRules

ABLE = [
    (name, action) for name, found in algorithms.all_algorithms().items() if found.several for action in found.actions
]
HEADS = {
    "choice": HeadSpec("logits", 3, n_instruments=2),
    "steps": HeadSpec("logits", 9, n_instruments=3),
    "masked": HeadSpec("logits", 3, {"masked": True}, 2),
    "gaussian": HeadSpec("gaussian", n_instruments=2),
    "gaussian_clipped": HeadSpec("gaussian_clipped", n_instruments=3),
    "deterministic": HeadSpec("deterministic", n_instruments=2),
}
MASKED = HEADS["masked"]


def shaken(policy: torch.nn.Module) -> None:
    """What was learned in a few steps hardly prefers anything; noise makes it decide now this, now that."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in policy.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter += noise / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else 0.2 * noise


def met(learner: Any, n: int = 60) -> tuple[np.ndarray, np.ndarray | None]:
    """Observations and masks of one copy as it plays at random."""
    config = learner.request.config
    env = TradingEnv(learner.request.markets[0], config)
    actions = random_actions(config, n, (learner.request.n_instruments,), seed=3)
    rows, masks = [env.reset(seed=1)[0]], []
    for action in actions:
        if config.action != "target":
            masks.append(env.action_masks())
        row, _, terminated, truncated, _ = env.step(action)
        rows.append(env.reset()[0] if terminated or truncated else row)
    return np.array(rows[:n]), np.array(masks) if masks else None


def theirs(learner: Any, rows: np.ndarray, masks: np.ndarray | None) -> np.ndarray:
    """What the library's own learner decides on the rows, one after the other, without a draw."""
    found, memory, begins = [], None, np.ones(1, bool)
    for number, row in enumerate(rows):
        if learner.head.masked:
            action = learner.model.predict(row[None], action_masks=masks[number], deterministic=True)[0]
        elif learner.request.network.has_memory:
            action, memory = learner.model.predict(row[None], memory, begins, deterministic=True)
            begins = np.zeros(1, bool)
        else:
            action = learner.model.predict(row[None], deterministic=True)[0]
        found.append(action[0])
    return np.array(found, dtype=float)


def ours(policy: ServedPolicy, rows: np.ndarray, masks: np.ndarray | None) -> tuple[np.ndarray, list]:
    found, memory, outputs = [], policy.start(), []
    for number, row in enumerate(rows):
        outputs.append(policy.decide_all(row, memory, None if masks is None else masks[number]))
        memory = outputs[-1][0].memory
        found.append([output.action for output in outputs[-1]])
    return np.array(found), outputs


@pytest.mark.parametrize("n_instruments", [2, 3])
@pytest.mark.parametrize(("name", "action"), ABLE)
def test_what_was_learned_is_served_as_its_learner_decides(name, action, n_instruments):
    learner = several.learner(name, action, n_instruments)
    learner.advance()
    learned = learner.policy()
    assert (learned.n_instruments, learned.head.n_instruments) == (n_instruments, n_instruments)
    shaken(learner.model.policy)
    policy = ServedPolicy.from_bytes(learner.policy().to_bytes())
    assert policy.weights_sha256() == learner.policy().weights_sha256() != learned.weights_sha256()
    rows, masks = met(learner)
    expected = theirs(learner, rows, masks)
    found, outputs = ours(policy, rows, masks if learner.head.masked else None)
    assert found.shape == (len(rows), n_instruments)
    np.testing.assert_allclose(found, expected, atol=5e-6)
    for i in range(n_instruments):
        assert len(np.unique(found[:, i].round(3))) > 1, "the same action everywhere proves nothing"
    assert (found[:, 0] != found[:, 1]).any()
    if policy.head.kind in ("gaussian", "gaussian_clipped"):
        _check_distribution(learner, rows, outputs)
    learner.close()


def _check_distribution(learner: Any, rows: np.ndarray, outputs: list) -> None:
    """Centre and deviation of every instrument as the library has them."""
    with torch.no_grad():
        inputs = torch.from_numpy(rows)
        if learner.head.kind == "gaussian":
            mean, log_deviation, _ = learner.model.actor.get_action_dist_params(inputs)
            deviation = log_deviation.exp()
        else:
            if learner.request.network.has_memory:
                return  # its centre is compared with the actions; the deviation is a parameter, see log_deviation
            normal = learner.model.policy.get_distribution(inputs).distribution
            mean, deviation = normal.mean, normal.stddev
    np.testing.assert_allclose([[one.mean for one in each] for each in outputs], mean, atol=1e-5)
    np.testing.assert_allclose([[one.deviation for one in each] for each in outputs], deviation, rtol=1e-5)


@pytest.mark.parametrize("kind", ["lstm", "tcn", "ane"])
def test_every_network_serves_several_as_its_learner_decides(kind):
    """The transformer measures turbulence and time by the first instrument's columns, in its learner as served."""
    network = networks.NETWORKS[kind].for_features(several.FEATURES)
    learner = several.learner("ppo", "choice", 2, network=network)
    assert network.options.get("return_column", 2) == 2
    shaken(learner.model.policy)
    policy = ServedPolicy.from_bytes(learner.policy().to_bytes())
    rows, _ = met(learner)
    np.testing.assert_array_equal(ours(policy, rows, None)[0], theirs(learner, rows, None))
    if kind == "ane":
        assert np.sum(policy.attention(rows[20])["bars"]) == pytest.approx(1.0)
    learner.close()


@pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in backends.TPU_PACKAGES),
    reason="JAX and sbx are not installed: pip install '.[tpu]' -c constraints.txt",
)
@pytest.mark.parametrize(("name", "action"), [("ppo", "steps"), ("ppo", "target"), ("sac", "target")])
def test_what_jax_learned_of_several_is_served_as_sbx_decides(name, action):
    import jax

    backends.prepare("tpu")
    learner = several.learner(name, action, 2, network=NetworkSpec(hidden=(8,), window=2), backend="tpu")
    learner.advance()
    random, actor = np.random.default_rng(0), learner.model.policy.actor_state
    params = jax.tree_util.tree_map(lambda value: np.float32(random.normal(0.0, 0.8, value.shape)), actor.params)
    learner.model.policy.actor_state = actor.replace(params=params)
    policy = ServedPolicy.from_bytes(learner.policy().to_bytes())
    rows, _ = met(learner)
    found, expected = ours(policy, rows, None)[0], theirs(learner, rows, None)
    np.testing.assert_allclose(found, expected, atol=1e-5)
    assert all(len(np.unique(found[:, i])) > 1 for i in range(2))
    learner.close()


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("kind", networks.NETWORKS)
def test_the_file_keeps_every_instrument(kind, name):
    head = HEADS[name]
    policy = several.policy(head, networks.NETWORKS[kind])
    again = ServedPolicy.from_bytes(policy.to_bytes())
    assert again.to_bytes() == policy.to_bytes()
    assert again.every_rules == several.RULES[: head.n_instruments] == (again.rules, *again.other_rules)
    assert (again.head, again.n_instruments) == (head, head.n_instruments)
    mask = np.ones(head.n_scores, bool) if head.masked else None
    row = np.random.default_rng(0).uniform(-2, 2, policy.n_inputs).astype(np.float32)
    assert again.decide_all(row, mask=mask) == policy.decide_all(row, mask=mask)


def test_each_output_is_made_of_its_own_scores_weight_mask_and_rules():
    """The same numbers through the functions for one instrument."""
    row = np.random.default_rng(1).uniform(-2, 2, several.policy(MASKED).n_inputs).astype(np.float32)
    mask = np.array([True, True, False, True, False, True])
    policy = several.policy(MASKED)
    scores = policy.layers(torch.from_numpy(row)[None])[0].double().numpy()
    found = policy.decide_all(row, mask=mask)
    assert found[0] == choice_output(scores[:3], HeadSpec("logits", 3, {"masked": True}), mask[:3])
    assert found[1] == choice_output(scores[3:], HeadSpec("logits", 3, {"masked": True}), mask[3:])
    assert (found[0].preferences["sell"], found[1].preferences["buy"]) == (0.0, 0.0)
    policy = several.policy(HEADS["gaussian"])
    rows = torch.from_numpy(row)[None]
    scores, log_deviation, _ = policy.layers.step(rows)
    at = policy.window * 2 * len(several.FEATURES)
    for i, output in enumerate(policy.decide_all(row)):
        deviation = float(np.exp(float(log_deviation[0, i])))
        weight = float(row[at + i * len(several.OWN)])  # first of its own values, whose scale is 1
        assert output == target_output(HeadSpec("gaussian"), float(scores[0, i]), deviation, weight, several.RULES[i])
    assert policy.decide_all(row)[0].target != policy.decide_all(row)[1].target


@pytest.mark.parametrize("names", [ALL, several.OWN.names])
def test_what_it_sees_is_bit_for_bit_the_environments(names):
    """Own values from position and account of each instrument; what is cash is what no instrument is worth."""
    head, own = HeadSpec("logits", 9, n_instruments=3), OwnSpec(names)
    network = NetworkSpec("lstm", (8,), "tanh", 4, {"size": 6})
    policy, played = several.policy(head, network, own=own), several.market(3)
    config = EnvConfig(action="steps", rules=several.RULES, own=own, window=4)
    env = TradingEnv(played, config)
    observation, _ = env.reset()
    for actions in random_actions(config, 120, (3,), seed=5):
        held, t = env.positions, env.t
        values = own_states(
            held[:, kernel.QUANTITY], held[:, kernel.AVERAGE_PRICE], played.close[t], env.account[kernel.EQUITY],
            env.account[kernel.PEAK], held[:, kernel.AGE], several.RULES, memories=env.memories, spec=own,
        )  # fmt: skip
        np.testing.assert_array_equal(policy.observe(played.features[max(t - 3, 0) : t + 1], values), observation)
        for i in range(3):
            assert policy.current_weight(observation, i) == pytest.approx(
                values[i * len(own) + names.index("weight")], abs=1e-6
            )
        observation, *_ = env.step(actions)
    assert np.abs(values).sum() > 0


def test_its_masks_are_the_environments():
    """Without protective rules, whose waiting rests a policy cannot see."""
    policy = several.policy(HeadSpec("logits", 9, {"masked": True}, 2))
    config = EnvConfig(action="steps", rules=several.RULES[:2], own=several.OWN)
    env = TradingEnv(several.market(2), config)
    env.reset()
    for actions in random_actions(config, 150, (2,), seed=4):
        found = policy.masks(env.positions[:, kernel.QUANTITY], env.account[kernel.EQUITY], env.market.close[env.t])
        np.testing.assert_array_equal(found, env.action_masks())
        env.step(actions)
    assert several.policy(HEADS["choice"]).masks([0.0, 0.0], 1e4, [100.0, 100.0]) is None


def test_one_instrument_is_asked_as_before():
    policy = networks.policy(networks.NETWORKS["mlp"], networks.HEADS["gaussian"])
    row = np.zeros(policy.n_inputs, np.float32)
    assert policy.decide_all(row) == (policy.decide(row),)
    assert (policy.n_instruments, policy.every_rules, policy.other_rules) == (1, (policy.rules,), ())


def test_what_is_for_one_instrument_is_refused_for_several():
    policy = several.policy(MASKED)
    row = np.zeros(policy.n_inputs, np.float32)
    with pytest.raises(ValueError, match="2 instruments at once; use decide_all"):
        policy.decide(row)
    with pytest.raises(ValueError, match="use masks"):
        policy.mask(0.0, 1e4, 100.0)
    for mask in (None, np.ones(3, bool), np.array([True] * 3 + [False] * 3), np.ones((2, 3), bool)):
        with pytest.raises(ValueError, match="needs one of 6"):
            policy.decide_all(row, mask=mask)
    with pytest.raises(ValueError, match="observation has shape"):
        policy.decide_all(row[:-1], mask=np.ones(6, bool))
    with pytest.raises(ValueError, match="3 rules for 2 instruments"):
        policy.masks([0.0, 0.0], 1e4, [1.0, 1.0], several.RULES)
    with pytest.raises(ValueError, match=r"expected \(6,\) with 8"):
        policy.observe_scaled(np.zeros((1, 3)), np.zeros(8))
    with pytest.raises(ValueError, match=r"expected \(6,\) with 8"):
        policy.observe(np.zeros(6), np.zeros(4))
    with pytest.raises(ValueError, match="only those of one are explained"):
        attribute(policy, row, policy.decide_all(row, mask=np.ones(6, bool))[0])
    with pytest.raises(ValueError, match="1 rules arrived for 2 instruments"):
        own_states(np.zeros(2), np.zeros(2), np.ones(2), 1e4, 1e4, np.zeros(2), several.RULES[:1])


def test_parts_of_another_number_of_instruments_are_refused():
    policy = several.policy(HEADS["choice"])
    parts: dict[str, Any] = {
        "algorithm": "test", "actions": "choice", "spec": policy.spec, "normaliser": policy.normaliser,
        "rules": policy.rules, "other_rules": policy.other_rules, "network": policy.network, "head": policy.head,
        "own": policy.own, "weights": policy.weights(),
    }  # fmt: skip
    assert ServedPolicy.from_parts(**parts).to_bytes() == policy.to_bytes()
    with pytest.raises(PolicyFileError, match="rules of 1 instruments with a head for 2"):
        ServedPolicy.from_parts(**parts | {"other_rules": ()})
    with pytest.raises(PolicyFileError, match="rules of 3 instruments with a head for 2"):
        ServedPolicy.from_parts(**parts | {"other_rules": several.RULES[1:]})
    with pytest.raises(PolicyFileError, match="3 features of 2 instruments but a normaliser for 3"):
        ServedPolicy.from_parts(**parts | {"normaliser": several.as_they_are(1)})
    with pytest.raises(PolicyFileError, match=r"head\.bias has shape \(6,\), not \(9,\)"):
        ServedPolicy.from_parts(
            **parts
            | {
                "head": HeadSpec("logits", 3, n_instruments=3), "other_rules": several.RULES[1:],
                "normaliser": several.as_they_are(3), "network": NetworkSpec(hidden=()),
                "weights": {"head.weight": torch.zeros(9, 21), "head.bias": torch.zeros(6)},
            }
        )  # fmt: skip
    with pytest.raises(PolicyFileError, match="column 3 of 3"):  # the first instrument's columns are the choice
        ServedPolicy.from_parts(**parts | {"network": NetworkSpec("ane", (8,), "tanh", 4, {"return_column": 3})})
    for kind, options in (("q", {}), ("dueling", {}), ("quantiles", {"n_quantiles": 5})):
        with pytest.raises(ValueError, match=f"a {kind} head has 1 instrument, got 2"):
            HeadSpec(kind, 3, options, 2)
    for wrong in (0, 65, True, 1.0):
        with pytest.raises(ValueError, match="a logits head has 1 to 64 instruments"):
            HeadSpec("logits", 3, n_instruments=wrong)  # type: ignore[arg-type]


def test_the_guard_names_whose_column_it_is():
    assert input_names(("rsi_14",), ("weight",), 2, 2) == (
        "rsi_14 of instrument 1 1 bar before", "rsi_14 of instrument 2 1 bar before", "rsi_14 of instrument 1",
        "rsi_14 of instrument 2", "weight of instrument 1", "weight of instrument 2",
    )  # fmt: skip


# SHA-256 of the files of `plain`, by the code that knew one instrument only.
GOLDEN = {
    "logits": "1e40c43356e7dda2d0a17d3ca2591646923559decc0fe76aeb16087fe0c520fb",
    "gaussian": "f48e6f4a3c19f94570a0c5a2c19d50591efcf471a165db605637627b79fa64df",
    "gaussian_clipped": "d7d950a28bc69302ac2d40e46b640e83611a12411c43f30515b8f6ae832abb91",
    "quantiles": "b08de028907487961a00ec60e9dfc0cec6ed076798617da2d1215d33bf70b5d6",
}


def plain(head: HeadSpec) -> ServedPolicy:
    """A policy without anything random: every weight is k / 8."""
    names = ("rsi_14", "macd")
    shapes: dict[str, tuple[int, ...]] = {"body.0.weight": (2, 6), "body.0.bias": (2,)}
    n = head.n_actions * head.n_quantiles
    shapes |= {"head.weight": (n, 2), "head.bias": (n,)}
    if head.kind == "gaussian":
        shapes |= {"deviation_head.weight": (1, 2), "deviation_head.bias": (1,)}
    if head.kind == "gaussian_clipped":
        shapes["log_deviation"] = (1,)
    weights = {
        name: torch.arange(np.prod(shape), dtype=torch.float32).reshape(shape) / 8 for name, shape in shapes.items()
    }
    return ServedPolicy.from_parts(
        algorithm="any", actions=networks.ACTIONS[head.n_actions], spec=FeatureSpec(names),
        normaliser=Normaliser(np.array([0.5, 1.5]), np.array([2.0, 4.0])), rules=MarketRules(),
        network=NetworkSpec(hidden=(2,)), head=head, weights=weights,
    )  # fmt: skip


@pytest.mark.parametrize("kind", GOLDEN)
def test_files_of_one_instrument_are_byte_for_byte_what_they_were(kind):
    """A new field of MarketRules changes them rightly; then note the new hashes here."""
    data = plain(networks.HEADS[kind]).to_bytes()
    assert hashlib.sha256(data).hexdigest() == GOLDEN[kind]
    assert b"n_instruments" not in data and b"other_rules" not in data
