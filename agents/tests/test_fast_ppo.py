import numpy as np
import pytest
import torch
from stable_baselines3 import PPO
from stable_baselines3.common.logger import configure
from torch import nn

from agents.learners import minibatch_kernels
from agents.learners import ppo_kernels as kernels
from agents.learners.fast_ppo import FastPPO, _taken
from agents.learners.ppo_updates import Batch, Loss, PlainUpdate, TorchUpdate
from agents.runs.backends import Precision
from agents.tests.copies import SignVecEnv

BASICS = {"n_steps": 16, "batch_size": 64, "n_epochs": 2, "learning_rate": 3e-3, "ent_coef": 0.01, "seed": 3}


def _fast(kind="choice", n_copies=16, **kwargs):
    policy = {"activation_fn": nn.Tanh, "net_arch": [16, 16]}
    model = FastPPO(
        "MlpPolicy", SignVecEnv(n_copies, kind), device="cpu", **{**BASICS, "policy_kwargs": policy} | kwargs
    )
    model._setup_learn(10_000, None)
    return model


def _round(model):
    model.collect_rollouts(model.env, None, model.rollout_buffer, model.n_steps)


def _batch(model):
    buffer = model.rollout_buffer
    n = buffer.buffer_size * buffer.n_envs
    return Batch(
        buffer.observations.reshape(n, -1), buffer.actions.reshape(n, -1), buffer.log_probs.reshape(n),
        buffer.advantages.reshape(n).copy(), buffer.returns.reshape(n),
    )  # fmt: skip


def _gradients(policy):
    return {name: tensor.grad.clone() for name, tensor in policy.named_parameters()}


@pytest.mark.parametrize("kind", ["choice", "target"])
@pytest.mark.parametrize("arch", [[16], [16, 16], {"pi": [8, 12, 4], "vf": [16, 4]}])
@pytest.mark.parametrize("activation", [nn.Tanh, nn.ReLU])
def test_the_written_out_gradients_are_those_of_autograd(kind, arch, activation):
    model = _fast(kind, policy_kwargs={"activation_fn": activation, "net_arch": arch})
    assert isinstance(model.update, PlainUpdate)
    _round(model)
    with torch.no_grad():  # away from the point where every ratio is 1
        for tensor in model.policy.parameters():
            tensor.add_(0.3 * torch.randn_like(tensor))
    batch, loss = _batch(model), Loss(0.2, 0.01, 0.5)
    told = model.update.gradients(batch, loss)
    written = _gradients(model.policy)
    by_torch = TorchUpdate(model.policy, model.n_choices, Precision()).gradients(batch, loss)
    np.testing.assert_allclose(told, by_torch, rtol=2e-4, atol=2e-6)
    assert told[kernels.CLIPPED] > 0  # both branches of the clipped loss were met
    for name, gradient in _gradients(model.policy).items():
        torch.testing.assert_close(written[name], gradient, rtol=1e-4, atol=3e-6, msg=name)


@pytest.mark.parametrize("kind", ["choice", "target"])
@pytest.mark.parametrize("target_kl", [None, 1e-4])
def test_one_update_equals_that_of_stable_baselines3(kind, target_kl, monkeypatch):
    ours = _fast(kind, target_kl=target_kl, n_epochs=3)
    policy = {"activation_fn": nn.Tanh, "net_arch": [16, 16]}
    theirs = PPO(
        "MlpPolicy", SignVecEnv(16, kind), device="cpu", **BASICS | {"n_epochs": 3}, policy_kwargs=policy,
        target_kl=target_kl,
    )  # fmt: skip
    theirs._setup_learn(10_000, None)
    theirs.set_logger(configure(None, []))
    theirs.policy.load_state_dict(ours.policy.state_dict())
    _round(ours)
    for name in ("observations", "actions", "rewards", "episode_starts", "values", "log_probs"):
        getattr(theirs.rollout_buffer, name)[:] = getattr(ours.rollout_buffer, name)
    theirs.rollout_buffer.full = True
    last = torch.from_numpy(ours._values(ours._last_obs))
    theirs.rollout_buffer.compute_returns_and_advantage(last, ours._last_episode_starts)
    np.testing.assert_allclose(ours.rollout_buffer.advantages, theirs.rollout_buffer.advantages, rtol=1e-5, atol=1e-6)
    np.testing.assert_allclose(ours.rollout_buffer.returns, theirs.rollout_buffer.returns, rtol=1e-5, atol=1e-6)
    # Their buffer lies copy by copy, ours step by step: the same shuffle of the same rows needs other numbers.
    orders = [np.random.default_rng(i).permutation(16 * 16) for i in range(3)]
    ours_drawn, theirs_drawn = iter(orders), iter(orders)
    place = np.arange(256).reshape(16, 16).T.ravel()  # where their row is in ours
    back = np.argsort(place)
    monkeypatch.setattr(ours, "random", type("", (), {"permutation": lambda self, n: next(ours_drawn)})())
    monkeypatch.setattr(np.random, "permutation", lambda n: back[next(theirs_drawn)])
    ours.train()
    theirs.train()
    assert ours._n_updates == theirs._n_updates
    assert (target_kl is None) == (ours._n_updates == 3)  # the early stop was met as well
    for (name, tensor), other in zip(ours.policy.named_parameters(), theirs.policy.parameters(), strict=True):
        torch.testing.assert_close(tensor.data, other.data, rtol=1e-4, atol=2e-6, msg=name)


@pytest.mark.parametrize("kind", ["choice", "target"])
def test_the_rollout_says_what_the_policy_would(kind):
    model = _fast(kind)
    _round(model)
    batch = _batch(model)
    with torch.no_grad():
        values, log_probs, _ = model.policy.evaluate_actions(
            torch.from_numpy(batch.observations),
            torch.from_numpy(batch.actions).long().flatten() if kind == "choice" else torch.from_numpy(batch.actions),
        )
    np.testing.assert_allclose(model.rollout_buffer.values.reshape(-1), values.flatten(), rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(batch.log_probs, log_probs, rtol=1e-4, atol=1e-5)


def test_a_window_that_ends_is_worth_what_would_have_followed():
    # Rewards of 1 or -1; where a window of 20 steps ends, gamma times the network's value is added.
    model = _fast(gamma=0.5)
    _round(model)
    added = np.abs(np.abs(model.rollout_buffer.rewards) - 1.0) > 1e-6
    assert added.any()
    # Copy i starts at age i: its 20th step is number 19 - i.
    assert {(int(t), int(copy)) for t, copy in np.argwhere(added)} <= {(19 - copy, copy) for copy in range(4, 16)}


@pytest.mark.parametrize("policy", [{"net_arch": []}, {"activation_fn": nn.ELU}])
def test_other_networks_are_left_to_autograd(policy):
    assert isinstance(_fast(policy_kwargs=policy).update, TorchUpdate)


def test_a_minibatch_is_the_rows_asked_for():
    model = _fast()
    _round(model)
    whole, rows = _batch(model), np.array([200, 3, 77])
    taken = _taken(whole, rows, model.batch)
    for name, array in vars(whole).items():
        np.testing.assert_array_equal(getattr(taken, name), array[rows])
    # Mean of 1, 2 and 6 is 3, their deviation the root of (4 + 1 + 9) / 2.
    values = np.array([1.0, 2.0, 6.0], np.float32)
    minibatch_kernels.standardise(values)
    np.testing.assert_allclose(values, np.array([-2.0, -1.0, 3.0]) / np.sqrt(7.0), rtol=1e-6)


def test_advantages_by_hand():
    # One copy, three steps, gamma 0.5, lambda 0.5; an episode begins at the last step.
    rewards, values = np.array([[1.0], [2.0], [3.0]], np.float32), np.array([[0.5], [1.0], [2.0]], np.float32)
    starts = np.array([[0.0], [0.0], [1.0]], np.float32)
    advantages, returns = np.zeros((3, 1), np.float32), np.zeros((3, 1), np.float32)
    last, over = np.array([4.0], np.float32), np.zeros(1, np.float32)
    half = np.float32(0.5)
    kernels.gae(rewards, values, starts, last, over, half, half, advantages, returns)
    # t=2: 3 + 0.5*4 - 2 = 3;  t=1: 2 - 1 = 1 (nothing follows);  t=0: 1 + 0.5*1 - 0.5 + 0.25*1 = 1.25
    np.testing.assert_allclose(advantages[:, 0], [1.25, 1.0, 3.0])
    np.testing.assert_allclose(returns[:, 0], [1.75, 2.0, 5.0])


def test_choices_are_drawn_as_often_as_the_softmax_says():
    logits = np.tile(np.log(np.array([0.2, 0.5, 0.3], np.float32)), (100_000, 1))
    uniforms = np.random.default_rng(0).random((100_000, 1), np.float32)
    actions, log_probs = np.empty((100_000, 1), np.float32), np.empty(100_000, np.float32)
    kernels.draw_choices(logits, uniforms, 3, actions, log_probs)
    shares = np.bincount(actions[:, 0].astype(int)) / 100_000
    np.testing.assert_allclose(shares, [0.2, 0.5, 0.3], atol=5e-3)  # three standard deviations
    np.testing.assert_allclose(np.exp(log_probs), np.array([0.2, 0.5, 0.3])[actions[:, 0].astype(int)], rtol=1e-5)


@pytest.mark.parametrize("kind", ["choice", "target"])
def test_it_learns_and_the_same_seed_gives_the_same_weights(kind):
    found = []
    for _ in range(2):
        model = _fast(kind, n_copies=32, gamma=0.5)
        model.learn(20_000)
        found.append(torch.cat([tensor.detach().reshape(-1) for tensor in model.policy.parameters()]))
    assert torch.equal(found[0], found[1])
    _round(model)
    # Whoever plays the right side always earns 1 per step.
    assert np.mean(np.clip(model.rollout_buffer.rewards, -1, 1)) > (0.8 if kind == "choice" else 0.4)


def test_mixed_precision_learns_about_the_same():
    model = _fast()
    _round(model)
    batch, loss = _batch(model), Loss(0.2, 0.01, 0.5)
    exact = TorchUpdate(model.policy, 3, Precision()).gradients(batch, loss)
    full = _gradients(model.policy)
    mixed = TorchUpdate(model.policy, 3, Precision("cpu", torch.bfloat16)).gradients(batch, loss)
    np.testing.assert_allclose(mixed, exact, atol=0.02)
    for name, gradient in _gradients(model.policy).items():
        assert torch.nn.functional.cosine_similarity(gradient.ravel(), full[name].ravel(), dim=0) > 0.98
