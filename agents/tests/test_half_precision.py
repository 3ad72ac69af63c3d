"""16-bit arithmetic in every algorithm but PPO (test_fast_ppo.py), on the processor in place of a graphics card."""

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3.common.policies import ActorCriticPolicy
from torch.nn import functional

from agents import algorithms
from agents.algorithms.base import LearnerRequest
from agents.environment.env_config import EnvConfig
from agents.learners import half_precision, off_policy_setup, on_policy_makers
from agents.networks.sb3 import policy_kwargs
from agents.networks.spec import NetworkSpec
from agents.runs.backends import Precision
from agents.tests import worlds

SMALL = {
    "lstm": {"size": 8},
    "tcn": {"channels": 8},
    "ane": {"size": 8, "heads": 2},
    "recurrent": {"size": 8},
}
CASES = (
    ("sac", "ane"), ("td3", "tcn"), ("dqn", "lstm"), ("rainbow_dqn", "tcn"), ("qrdqn", "ane"), ("a2c", "lstm"),
    ("masked_ppo", "ane"), ("recurrent_ppo", "recurrent"),
)  # fmt: skip


def make(name, kind):
    algorithm, settings = algorithms.get(name), worlds.settings(name, n_steps=1_024)
    network = NetworkSpec(kind, (16,), window=1 if kind == "recurrent" else 4, options=SMALL[kind])
    return algorithm.make(
        LearnerRequest(
            markets=(worlds.market(n_features=len(worlds.FEATURES)),),
            config=EnvConfig(
                action=algorithm.actions[0], rules=settings.rules, episode_length=50, own=settings.own_state,
                window=network.window,
            ),
            network=network, settings=settings, seed=1, n_steps=1_024,
            parameters={"learning_rate": 1e-3, "batch_size": 64, "n_epochs": 1}
            | ({"n_copies": 4} if algorithm.on_policy else {}),
            build=lambda **parts: parts,
        )
    )  # fmt: skip


@pytest.mark.parametrize(("name", "kind"), CASES)
def test_learns_a_round_in_bfloat16_and_hands_over_float32(name, kind, monkeypatch):
    asked, seen = [], set()

    def precision(backend, network):
        asked.append((backend, network))
        return Precision("cpu", torch.bfloat16)

    for module in (off_policy_setup, on_policy_makers):
        monkeypatch.setattr(module, "precision_of", precision)
    learner = make(name, kind)
    assert asked == [("cpu", kind)]
    parts = half_precision.large_parts(learner.model.policy)
    for part in parts:
        for layer in part.modules():
            if isinstance(layer, torch.nn.Linear | torch.nn.Conv1d) and layer is not part:
                layer.register_forward_hook(lambda _, given, found: seen.add(found.dtype))
            elif isinstance(layer, torch.nn.LSTM) and layer is not part:
                layer.register_forward_hook(lambda _, given, found: seen.add(found[0].dtype))
    before = learner.policy()["weights"]
    report = learner.advance()
    assert report.losses and np.isfinite(list(report.losses.values())).all()
    assert seen <= {torch.bfloat16} and (seen or kind == "recurrent")
    policy = learner.model.policy
    assert all(parameter.dtype is torch.float32 for parameter in policy.parameters())
    after = learner.policy()["weights"]
    assert all(tensor.dtype is torch.float32 and torch.isfinite(tensor).all() for tensor in after.values())
    moved = {name for name in after if not torch.equal(before[name], after[name])}
    assert any(name.startswith("encoder") for name in moved) and any(name.startswith("head") for name in moved)


@pytest.mark.parametrize(("name", "kind"), [("a2c", "tcn"), ("sac", "ane"), ("recurrent_ppo", "recurrent")])
def test_on_the_processor_nothing_changes(name, kind):
    for part in half_precision.large_parts(make(name, kind).model.policy):
        assert "forward" not in vars(part)


def extractor(precision):
    """A small convolution's features extractor that calculates so; always the same weights."""
    torch.manual_seed(0)
    network = NetworkSpec("tcn", (8,), window=4, options=SMALL["tcn"])
    space = gymnasium.spaces.Box(-5, 5, (4 * 3 + 1,), np.float32)
    actions = gymnasium.spaces.Discrete(3)
    policy = ActorCriticPolicy(space, actions, lambda _: 1e-3, **policy_kwargs(network, 3, 1))
    half_precision.calculate_in(policy, precision)
    return policy.features_extractor


def gradients(precision, weight):
    """Of the sum of all features times a weight."""
    part = extractor(precision)
    rows = torch.randn(16, 13, generator=torch.Generator().manual_seed(1))
    (part(rows).sum() * weight).backward()
    return torch.cat([parameter.grad.reshape(-1) for parameter in part.parameters()])


def test_float16_keeps_gradients_that_alone_it_would_lose(monkeypatch):
    whole = gradients(Precision("cpu"), 1e-8)
    scaled = gradients(Precision("cpu", torch.float16), 1e-8)
    assert float((scaled - whole).norm() / whole.norm()) < 0.05
    # 1e-8 lies below float16's smallest number, 2^-24 = 6e-8: without the scale nothing would be left.
    monkeypatch.setattr(half_precision, "GRADIENT_SCALE", 1.0)
    assert not gradients(Precision("cpu", torch.float16), 1e-8).any()


def test_a_gradient_too_large_for_float16_moves_nothing():
    found = gradients(Precision("cpu", torch.float16), 1e6)
    assert torch.isfinite(found).all()


def test_a_memory_s_gradients_are_scaled_once_however_many_steps_it_goes_back():
    """Hidden states pass from call to call; each call takes its scale off what it hands further back."""

    class Memory(torch.nn.LSTM):
        """Torch has no float16 LSTM on the processor; this one only remembers, but passes states on alike."""

        def forward(self, rows, states):  # type: ignore[override]
            hidden = torch.tanh(functional.linear(rows, self.weight_ih_l0[:4]) + states[0] @ self.weight_hh_l0[:4])
            return hidden, (hidden, states[1])

    def found(precision):
        torch.manual_seed(0)
        policy = torch.nn.ModuleDict({"lstm": Memory(3, 4, bias=False)})
        half_precision.calculate_in(policy, precision)
        lstm, states = policy["lstm"], (torch.zeros(1, 2, 4), torch.zeros(1, 2, 4))
        rows = torch.randn(5, 1, 2, 3, generator=torch.Generator().manual_seed(1))
        for row in rows:
            output, states = lstm(row, states)
        output.sum().backward()
        return torch.cat([parameter.grad.reshape(-1) for parameter in lstm.parameters()])

    whole, scaled = found(Precision("cpu")), found(Precision("cpu", torch.float16))
    assert float((scaled - whole).norm() / whole.norm()) < 0.02
