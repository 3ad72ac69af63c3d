"""How each off-policy algorithm tries things out: what every copy of the environment does next. Pure."""

from collections.abc import Callable
from typing import Any

import numpy as np
import torch

NOISE = 0.1  # standard deviation of what TD3 adds to its actions, as in its paper

# (model, observations (N, n) float32, deterministic) -> what the policy does, (N,) or (N, I)
Ask = Callable[[Any, np.ndarray, bool], np.ndarray]
# (model, observations (N, n) float32, whether to ignore the policy) -> actions (N, I), float32 or int64
Act = Callable[[Any, np.ndarray, bool], np.ndarray]


def asked(model: Any, observations: np.ndarray, deterministic: bool) -> np.ndarray:
    """What a policy in torch does."""
    rows = torch.as_tensor(observations, device=model.device)
    with torch.no_grad():
        model.policy.set_training_mode(False)
        actions: np.ndarray = model.policy._predict(rows, deterministic=deterministic).cpu().numpy()
    return actions


def draw(model: Any, observations: np.ndarray, at_random: bool, ask: Ask = asked) -> np.ndarray:
    """SAC: a draw from the policy's own distribution."""
    if at_random:
        return _anywhere(model, len(observations))
    return ask(model, observations, False)


def with_noise(model: Any, observations: np.ndarray, at_random: bool) -> np.ndarray:
    """TD3: the policy's action with a little noise."""
    if at_random:
        return _anywhere(model, len(observations))
    actions = asked(model, observations, True)
    noise = np.random.standard_normal(actions.shape).astype(np.float32)
    return np.clip(actions + np.float32(NOISE) * noise, -1.0, 1.0)


def now_and_then(model: Any, observations: np.ndarray, at_random: bool, ask: Ask = asked) -> np.ndarray:
    """The DQN family: any action with the chance exploration_rate, each copy by itself; else the best one."""
    n = len(observations)
    rate = 1.0 if at_random else model.exploration_rate
    explores = np.random.random_sample(n) < rate
    tried = np.random.randint(model.action_space.n, size=n)
    return np.where(explores, tried, ask(model, observations, True))[:, None]


def _anywhere(model: Any, n: int) -> np.ndarray:
    return np.random.uniform(-1.0, 1.0, (n, *model.action_space.shape)).astype(np.float32)
