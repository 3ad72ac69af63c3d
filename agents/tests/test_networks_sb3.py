"""Networks built inside Stable-Baselines3 decide as the policies that are served from their weights."""

from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from gymnasium import spaces
from sb3_contrib import QRDQN, MaskablePPO, RecurrentPPO
from stable_baselines3 import A2C, DQN, PPO, SAC, TD3

from agents.networks.sb3 import policy_kwargs, weights_of
from agents.networks.spec import HeadSpec, NetworkSpec
from agents.policies.policy import ServedPolicy
from agents.tests import networks, worlds

N_FEATURES, N_OWN = 6, 4
ANY = ("mlp", "lstm", "tcn", "ane")


class Still(gymnasium.Env[np.ndarray, Any]):
    """An environment whose only use is its spaces."""

    def __init__(self, n_inputs: int, n_actions: int) -> None:
        self.observation_space = spaces.Box(-5, 5, (n_inputs,), np.float32)
        self.action_space = spaces.Discrete(n_actions) if n_actions > 1 else spaces.Box(-1, 1, (1,), np.float32)

    def reset(self, **_: Any) -> tuple[np.ndarray, dict[str, Any]]:
        return np.zeros(self.observation_space.shape, np.float32), {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        return self.reset()[0], 0.0, False, False, {}


# Each learner with the head that serves it.
LEARNERS = {
    "ppo choice": (PPO, HeadSpec("logits", 3)),
    "ppo steps": (PPO, HeadSpec("logits", 9)),
    "ppo target": (PPO, HeadSpec("gaussian_clipped")),
    "a2c steps": (A2C, HeadSpec("logits", 9)),
    "sac": (SAC, HeadSpec("gaussian")),
    "td3": (TD3, HeadSpec("deterministic")),
    "dqn": (DQN, HeadSpec("q", 9)),
    "qrdqn": (QRDQN, HeadSpec("quantiles", 3, {"n_quantiles": 7})),
}


def learner(kind: Any, network: NetworkSpec, head: HeadSpec, **more: Any) -> Any:
    """A learner with random weights, as large as learned ones."""
    arguments = policy_kwargs(network, N_FEATURES, N_OWN)
    if head.kind == "quantiles":
        arguments["n_quantiles"] = head.n_quantiles
    name = "MlpLstmPolicy" if network.has_memory else "MlpPolicy"
    env = Still(network.window * N_FEATURES + N_OWN, head.n_actions)
    if kind in (SAC, TD3, DQN, QRDQN):
        more["buffer_size"] = 10
    model = kind(name, env, policy_kwargs=arguments, seed=1, device="cpu", **more)
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.policy.parameters():
            noise = torch.randn(parameter.shape, generator=generator)
            parameter.copy_(noise / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else parameter + 0.1 * noise)
    return model


def served(model: Any, network: NetworkSpec, head: HeadSpec) -> ServedPolicy:
    """The policy made of a learner's weights, through its file."""
    plain = worlds.policy()
    policy = ServedPolicy.from_parts(
        algorithm="any", actions=networks.ACTIONS[head.n_actions], spec=plain.spec, normaliser=plain.normaliser,
        rules=plain.rules, network=network, head=head, weights=weights_of(model.policy, network, head),
    )  # fmt: skip
    return ServedPolicy.from_bytes(policy.to_bytes())


def rows(network: NetworkSpec, n: int = 40) -> np.ndarray:
    shape = (n, network.window * N_FEATURES + N_OWN)
    return np.random.default_rng(0).uniform(-2, 2, shape).astype(np.float32)


@pytest.mark.parametrize("kind", ANY)
@pytest.mark.parametrize("name", LEARNERS)
def test_it_decides_as_the_learner_it_was_copied_from(kind, name):
    network, (cls, head) = networks.NETWORKS[kind], LEARNERS[name]
    model = learner(cls, network, head)
    policy, inputs = served(model, network, head), rows(networks.NETWORKS[kind])
    expected, _ = model.predict(inputs, deterministic=True)
    found = np.array([policy.decide(row).action for row in inputs])
    np.testing.assert_allclose(found, expected.reshape(-1), atol=2e-6)
    assert len(set(np.round(found, 3))) > 1


@pytest.mark.parametrize("head", [HeadSpec("logits", 3), HeadSpec("gaussian_clipped")])
@pytest.mark.parametrize("n_layers", [1, 2])
def test_a_recurrent_policy_decides_as_its_learner_bar_after_bar(head, n_layers):
    network = NetworkSpec("recurrent", (16,), "tanh", 1, {"size": 12, "layers": n_layers})
    model = learner(RecurrentPPO, network, head, n_steps=8)
    policy, memory, state = served(model, network, head), None, None
    found, expected, starts = [], [], np.ones(1, bool)
    for row in rows(network):
        action, state = model.predict(row[None], state, starts, deterministic=True)
        starts = np.zeros(1, bool)
        output = policy.decide(row, memory)
        memory = output.memory
        found.append(output.action)
        expected.append(float(action.reshape(-1)[0]))
    np.testing.assert_allclose(found, expected, atol=5e-6)
    assert len(set(np.round(found, 3))) > 1
    # It does remember: begun anew at every bar it would decide otherwise.
    assert [policy.decide(row).action for row in rows(network)] != found


@pytest.mark.parametrize("kind", ["mlp", "ane"])
def test_a_masked_policy_decides_as_its_learner_under_the_same_masks(kind):
    network, head = networks.NETWORKS[kind], HeadSpec("logits", 9, {"masked": True})
    model = learner(MaskablePPO, network, head)
    policy, masks = served(model, network, head), np.random.default_rng(1).random((40, 9)) < 0.4
    masks[:, 0] = True
    for row, mask in zip(rows(network), masks, strict=True):
        action, _ = model.predict(row, action_masks=mask, deterministic=True)
        assert policy.decide(row, mask=mask).action == float(action)


def test_actor_and_critic_share_the_encoder_in_ppo_and_have_their_own_in_sac():
    network = networks.NETWORKS["tcn"]
    ppo = learner(PPO, network, HeadSpec("logits", 3)).policy
    assert ppo.pi_features_extractor is ppo.vf_features_extractor
    sac = learner(SAC, network, HeadSpec("gaussian")).policy
    assert sac.actor.features_extractor is not sac.critic.features_extractor


def test_a_dueling_head_is_its_own_learners_affair():
    with pytest.raises(ValueError, match="dueling"):
        weights_of(torch.nn.Linear(1, 1), networks.NETWORKS["mlp"], HeadSpec("dueling", 3))


def test_values_of_a_dueling_head_by_hand():
    network = NetworkSpec(hidden=())
    policy = networks.policy(network, HeadSpec("dueling", 3))
    weights = {name: tensor.double().numpy() for name, tensor in policy.weights().items()}
    row = rows(network, 1)
    head, value = (row @ weights[f"{n}.weight"].T + weights[f"{n}.bias"] for n in ("head", "value_head"))
    found = policy.layers(torch.as_tensor(row)).numpy()
    np.testing.assert_allclose(found, value + head - head.mean(), atol=1e-5)
