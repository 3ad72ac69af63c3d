"""What a learner tells of its playing: actions, reward components, returns of episodes. Pure."""

from collections.abc import Callable, Iterable
from typing import Any, Protocol

import numpy as np
import torch
from stable_baselines3.common.vec_env import VecEnv, VecEnvWrapper
from stable_baselines3.common.vec_env.base_vec_env import VecEnvObs, VecEnvStepReturn

from agents.environment import actions as kinds
from agents.environment.rewards import COMPONENT_NAMES

POSITIONS = ("short", "flat", "long")
NEARLY_FLAT = 0.05  # a target position below this share counts as none


class Played(Protocol):
    """What is read of agents/batch_env.BatchEnv after every step."""

    components: np.ndarray
    final_returns: np.ndarray


class Watch:
    """Counts over all copies since the last report.

    action: choice, steps or target; pulse: called with every step, may raise to end the round.
    """

    def __init__(self, batch: Played, action: str, pulse: Callable[[], None] = lambda: None) -> None:
        self.pulse = pulse
        self.batch, self.labels = batch, kinds.LABELS[action] or POSITIONS
        self.is_choice = bool(kinds.LABELS[action])
        self.forget()

    def forget(self) -> None:
        """Start counting anew."""
        self.n_steps, self.n_episodes, self.returns = 0, 0, 0.0
        self.counts = np.zeros(len(self.labels))
        self.components = np.zeros(len(COMPONENT_NAMES))

    def saw(self, actions: np.ndarray, rewards: np.ndarray, over: np.ndarray) -> None:
        """One step: actions (N,) or (N, I), rewards (N,), ends of episodes (N,) bool."""
        self.pulse()
        self.n_steps += len(rewards)
        self.counts += np.bincount(self._numbers(actions.reshape(-1)), minlength=len(self.labels))
        self.components += self.batch.components.sum(axis=0)
        if over.any():
            self.n_episodes += int(over.sum())
            self.returns += float(self.batch.final_returns[over].sum())

    def _numbers(self, actions: np.ndarray) -> np.ndarray:
        if self.is_choice:
            return actions.astype(np.int64)
        return 1 + (actions > NEARLY_FLAT).astype(np.int64) - (actions < -NEARLY_FLAT)

    def report(self) -> dict[str, Any]:
        """Fields of a LearnerReport; counting starts anew."""
        n = max(self.n_steps, 1)
        shares = self.counts / max(self.counts.sum(), 1.0)
        found = {
            "reward_components": dict(zip(COMPONENT_NAMES, (self.components / n).tolist(), strict=True)),
            "actions": dict(zip(self.labels, shares.tolist(), strict=True)),
            "episode_return": self.returns / self.n_episodes if self.n_episodes else None,
        }
        self.forget()
        return found


def listen(optimisers: Iterable[torch.optim.Optimizer], pulse: Callable[[], None]) -> None:
    """Call pulse after every gradient step, whoever's loop it is taken in."""
    for optimiser in optimisers:
        optimiser.register_step_post_hook(lambda *ignored: pulse())


class WatchedVecEnv(VecEnvWrapper):
    """Tells a Watch of every step and multiplies rewards so that their size suits the learner."""

    def __init__(self, venv: VecEnv, watch: Watch, reward_scale: float) -> None:
        super().__init__(venv)
        self.watch, self.reward_scale = watch, reward_scale
        self.actions = np.empty(0)

    def reset(self) -> VecEnvObs:
        """First observations."""
        return self.venv.reset()

    def has_attr(self, attr_name: str) -> bool:
        """Whether the environment below knows the name, masks among them."""
        return self.venv.has_attr(attr_name)

    def step_async(self, actions: np.ndarray) -> None:
        """Hand actions over."""
        self.actions = actions
        self.venv.step_async(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Carry them out."""
        observations, rewards, dones, infos = self.venv.step_wait()
        self.watch.saw(self.actions, rewards, dones)
        return observations, rewards * self.reward_scale, dones, infos
