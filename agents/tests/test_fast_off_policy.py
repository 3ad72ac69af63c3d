"""The gradient steps written by hand against Stable-Baselines3's own, from the same seed and the same buffer."""

from types import SimpleNamespace
from typing import Any

import gymnasium
import numpy as np
import pytest
import torch
from stable_baselines3 import DQN, SAC, TD3

from agents.learners import fast_dqn
from agents.learners.dense import DenseNetwork
from agents.learners.dueling import DuelingPolicy, combined
from agents.learners.fast_dqn import FastDQN
from agents.learners.fast_sac import FastSAC
from agents.learners.fast_td3 import FastTD3
from agents.learners.replay import PrioritisedReplay

N_INPUTS, N_STEPS = 7, 300


class Noise(gymnasium.Env):
    """Observations are noise; the reward is the action's own, less where the first number is negative."""

    observation_space = gymnasium.spaces.Box(-5, 5, (N_INPUTS,), np.float32)

    def __init__(self, discrete: bool) -> None:
        box = gymnasium.spaces.Box(-1, 1, (2,), np.float32)
        self.action_space = gymnasium.spaces.Discrete(3) if discrete else box

    def reset(self, *, seed: int | None = None, options: Any = None) -> tuple[np.ndarray, dict]:
        super().reset(seed=seed)
        self.last = self.np_random.standard_normal(N_INPUTS).astype(np.float32)
        return self.last, {}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict]:
        reward = float(np.sum(action)) * float(np.sign(self.last[0]))
        self.last = self.np_random.standard_normal(N_INPUTS).astype(np.float32)
        return self.last, reward, bool(self.np_random.random() < 0.05), False, {}


def filled(kind: type, *, discrete: bool = False, **settings: Any) -> Any:
    """A learner with the same networks and the same full buffer for the same kind of action."""
    model = kind(
        settings.pop("policy", "MlpPolicy"), Noise(discrete), seed=3, device="cpu", learning_starts=N_STEPS,
        buffer_size=N_STEPS, **settings,
    )  # fmt: skip
    model.learn(N_STEPS)
    return model


def trained(model: Any, n_steps: int = 10, batch_size: int = 64) -> Any:
    torch.manual_seed(5)
    np.random.seed(5)
    model.train(n_steps, batch_size)
    return model


def assert_same(ours: Any, theirs: Any, tolerance: float = 2e-5) -> None:
    for (name, mine), yours in zip(ours.policy.named_parameters(), theirs.policy.parameters(), strict=True):
        torch.testing.assert_close(mine, yours, rtol=0.0, atol=tolerance, msg=lambda text, name=name: f"{name}: {text}")


@pytest.mark.parametrize("activation", [torch.nn.ReLU, torch.nn.Tanh])
@pytest.mark.parametrize("width", [16, 128])  # the wider goes through oneDNN
def test_sac_learns_what_stable_baselines3_learns(activation, width):
    settings = {"policy_kwargs": {"net_arch": [width, width], "activation_fn": activation}}
    ours, theirs = filled(FastSAC, **settings), filled(SAC, **settings)
    assert ours.is_fast
    before = [parameter.clone() for parameter in ours.policy.parameters()]
    assert_same(trained(ours), trained(theirs))
    assert any((a != b).any() for a, b in zip(before, ours.policy.parameters(), strict=True))
    torch.testing.assert_close(ours.log_ent_coef, theirs.log_ent_coef, rtol=0.0, atol=1e-6)


def test_sac_with_a_fixed_entropy_coefficient_and_other_target_interval():
    settings = {"ent_coef": 0.1, "target_update_interval": 3, "policy_kwargs": {"net_arch": [16]}}
    assert_same(trained(filled(FastSAC, **settings)), trained(filled(SAC, **settings)))


@pytest.mark.parametrize("width", [16, 128])
def test_td3_learns_what_stable_baselines3_learns(width):
    settings = {"policy_kwargs": {"net_arch": [width, width]}}
    ours, theirs = filled(FastTD3, **settings), filled(TD3, **settings)
    assert ours.is_fast
    assert_same(trained(ours), trained(theirs))


@pytest.mark.parametrize("width", [16, 128])
def test_dqn_learns_what_stable_baselines3_learns(width):
    settings = {"discrete": True, "policy_kwargs": {"net_arch": [width, width]}, "max_grad_norm": 0.5}
    ours, theirs = filled(FastDQN, **settings), filled(DQN, **settings)
    # Both explored, each in its own way: give them the same memory.
    ours.replay_buffer = theirs.replay_buffer
    assert ours.is_fast
    assert_same(trained(ours), trained(theirs))


def test_what_the_step_by_hand_cannot_do_goes_through_stable_baselines3():
    assert not FastSAC("MlpPolicy", Noise(False), use_sde=True, buffer_size=10).is_fast
    gelu = {"activation_fn": torch.nn.GELU}
    ours, theirs = (filled(kind, policy_kwargs=gelu) for kind in (FastSAC, SAC))
    assert not ours.is_fast
    assert_same(trained(ours, 2), trained(theirs, 2), 0.0)


RAINBOW = {
    "policy": DuelingPolicy,
    "discrete": True,
    "double": True,
    "replay_buffer_class": PrioritisedReplay,
    "replay_buffer_kwargs": {"n_steps": 3, "gamma": 0.9},
}


@pytest.mark.parametrize("width", [16, 128])
def test_rainbow_by_hand_learns_what_it_learns_by_autograd(width, monkeypatch):
    settings = RAINBOW | {"policy_kwargs": {"net_arch": [width, width]}, "max_grad_norm": 0.5}
    by_hand = filled(FastDQN, **settings)
    monkeypatch.setattr(fast_dqn, "is_plain", lambda *parts: False)
    by_autograd = filled(FastDQN, **settings)
    assert by_hand.is_fast and not by_autograd.is_fast
    assert_same(trained(by_hand), trained(by_autograd))
    np.testing.assert_allclose(by_hand.replay_buffer.tree, by_autograd.replay_buffer.tree, atol=1e-3)


def test_errors_become_priorities_and_weights_scale_the_loss_by_hand():
    model = filled(FastDQN, **RAINBOW | {"policy_kwargs": {"net_arch": [8]}})
    data = model.replay_buffer.returns(np.array([4, 9]))
    weights = torch.tensor([1.0, 0.25])
    with torch.no_grad():
        # Double: the learned network chooses, the target network values.
        best = model.q_net(data.next_observations).argmax(1)
        after = model.q_net_target(data.next_observations)[torch.arange(2), best]
        wanted = data.rewards[:, 0] + (1 - data.dones[:, 0]) * data.discounts[:, 0] * after
        errors = model.q_net(data.observations)[torch.arange(2), data.actions[:, 0].long()] - wanted
        huber = torch.where(errors.abs() < 1, 0.5 * errors**2, errors.abs() - 0.5)
    loss, told = model._step(data, weights)
    torch.testing.assert_close(told, errors)
    assert loss == pytest.approx(float((weights * huber).mean()), rel=1e-5)


def test_only_the_distance_of_an_advantage_from_their_mean_counts():
    # Value 2, advantages 1, 2, 6 with mean 3: 2 + (1 - 3), 2 + (2 - 3), 2 + (6 - 3)
    value, advantages = torch.tensor([[2.0]]), torch.tensor([[1.0, 2.0, 6.0]])
    assert combined(value, advantages).tolist() == [[0.0, 1.0, 5.0]]
    assert combined(value, advantages + 10.0).tolist() == [[0.0, 1.0, 5.0]]


def test_the_target_network_chooses_where_learning_is_not_double():
    data = SimpleNamespace(rewards=torch.tensor([[1.0]]), dones=torch.tensor([[0.0]]))
    targets, chooser = torch.tensor([[5.0, 8.0]]), torch.tensor([[3.0, 2.0]])
    # 1 + 0.5 * 8 by the target's own choice, 1 + 0.5 * 5 by the other's
    assert FastDQN._wanted(data, 0.5, targets, None).tolist() == [[5.0]]
    assert FastDQN._wanted(data, 0.5, targets, chooser).tolist() == [[3.5]]


def test_one_flat_vector_serves_all_layers():
    model = FastSAC("MlpPolicy", Noise(False), buffer_size=10, policy_kwargs={"net_arch": [4]})
    heads: list[Any] = [model.actor.mu, model.actor.log_std]
    hidden = [[layer] for layer in model.actor.latent_pi if isinstance(layer, torch.nn.Linear)]
    with pytest.raises(ValueError, match="next to each other"):
        DenseNetwork([*hidden, heads[::-1]], model.flat_actor, relu=True)
    state = {name: torch.full_like(value, 0.5) for name, value in model.actor.state_dict().items()}
    model.actor.load_state_dict(state)
    assert (model.flat_actor.flat == 0.5).all()
