"""Stable-Baselines3's PPO for hundreds of compiled environment copies: the same formulas without Python per copy. Pure.

Rollouts and updates are taken over; losses, minibatches, clipping and the early stop are those of PPO.train. Source:
Schulman et al., "Proximal Policy Optimization Algorithms", 2017.
"""

from typing import Any, Protocol

import numpy as np
import torch
from gymnasium import spaces
from stable_baselines3 import PPO
from stable_baselines3.common.buffers import RolloutBuffer
from stable_baselines3.common.callbacks import BaseCallback
from stable_baselines3.common.vec_env import VecEnv

from agents.learners import minibatch_kernels
from agents.learners import ppo_kernels as kernels
from agents.learners.ppo_updates import Batch, Loss, PlainUpdate, TorchUpdate, Update, plain_towers
from agents.runs.backends import Precision

MOST_ROWS = 8_192  # values of many rows are asked for in such pieces


class Copies(Protocol):
    """Many environments stepped in one call, see environment/batch_env.py. Their arrays change with the next step."""

    final_observations: np.ndarray

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """Observations, rewards, terminated, truncated; a copy that ended begins anew at once."""


class Watcher(Protocol):
    """Sees every step of all copies."""

    def saw(self, actions: np.ndarray, rewards: np.ndarray, over: np.ndarray) -> None:
        """Actions (N, I), rewards (N,) as the environment gave them, ends of episodes (N,) bool."""


class Rollout(RolloutBuffer):
    """Stable-Baselines3's buffer with compiled advantages; its arrays are made once."""

    def reset(self) -> None:
        """Start to fill anew."""
        if not hasattr(self, "advantages"):
            super().reset()
            self.actions = self.actions.astype(np.float32)  # choices too: one compiled version serves all
        self.pos, self.full = 0, False

    def finish(self, last_values: np.ndarray, last_over: np.ndarray) -> None:
        """Advantages and returns of a full rollout."""
        kernels.gae(
            self.rewards, self.values, self.episode_starts, last_values, last_over, np.float32(self.gamma),
            np.float32(self.gae_lambda), self.advantages, self.returns,
        )  # fmt: skip
        self.full = True


class FastPPO(PPO):
    """PPO whose environment is a DeskVecEnv.

    reward_scale: what rewards are multiplied by before they are learned from; precision: for other than plain networks
    on the processor; watcher: sees every step.
    """

    def __init__(
        self,
        policy: str,
        env: VecEnv,
        reward_scale: float = 1.0,
        precision: Precision | None = None,
        watcher: Watcher | None = None,
        **kwargs: Any,
    ) -> None:
        self.reward_scale, self.precision, self.watcher = reward_scale, precision or Precision(), watcher
        super().__init__(policy, env, rollout_buffer_class=Rollout, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        self.random = np.random.default_rng(self.seed)
        space = self.action_space
        self.n_choices = _n_choices(space)
        self.n_groups = 1 if isinstance(space, spaces.Discrete) else int(np.prod(space.shape or (1,)))
        self.update = self._make_update()
        n, size = self.n_envs, self.n_steps * self.n_envs
        self.noise = np.empty((self.n_steps, n, self.n_groups), np.float32)
        self.over = np.zeros(n, np.float32)
        self.batch = _empty_batch(min(self.batch_size, size), int(np.prod(self.observation_space.shape or (1,))), self)

    def _make_update(self) -> Update:
        if self.precision.dtype is None and (towers := plain_towers(self.policy)):
            return PlainUpdate(self.policy, towers, self.n_choices)
        return TorchUpdate(self.policy, self.n_choices, self.precision)

    def _maybe_recommend_cpu(self, mlp_class_name: str = "ActorCriticPolicy") -> None:
        """Nothing: the backend was chosen on purpose."""

    def collect_rollouts(
        self, env: VecEnv, callback: BaseCallback | None, rollout_buffer: RolloutBuffer, n_rollout_steps: int
    ) -> bool:
        """Play n_rollout_steps steps in every copy. Returns: False if the callback wants to end."""
        buffer: Any = rollout_buffer
        copies: Copies = env.batch  # type: ignore[attr-defined]
        self._draw_noise()
        final = _FinalRows()
        row = np.asarray(self._last_obs, np.float32)
        self.over[:] = self._last_episode_starts
        for t in range(n_rollout_steps):
            buffer.observations[t], buffer.episode_starts[t] = row, self.over
            actions = self._act(t, buffer)
            row, rewards, terminated, truncated = copies.step(actions)
            over = terminated | truncated
            np.multiply(rewards, self.reward_scale, out=buffer.rewards[t], casting="same_kind")
            self.over[:] = over
            if truncated.any():
                final.keep(t, truncated & ~terminated, copies.final_observations)
            if self.watcher is not None:
                self.watcher.saw(actions, rewards, over)
            self.num_timesteps += self.n_envs
            if callback is not None and not callback.on_step():
                return False
        self._last_obs, self._last_episode_starts = row.copy(), self.over.astype(bool)
        # A window that ends is not the account's end: what would have followed is worth what the network says.
        final.add_values(buffer.rewards, self.gamma, self._values)
        buffer.finish(self._values(self._last_obs), self.over)
        return True

    def _draw_noise(self) -> None:
        if self.n_choices:
            self.random.random(out=self.noise, dtype=np.float32)
        else:
            self.random.standard_normal(out=self.noise, dtype=np.float32)

    def _act(self, t: int, buffer: Any) -> np.ndarray:
        """Draw actions for the observations of step t; returns those the environment takes."""
        logits, buffer.values[t] = self.update.outputs(buffer.observations[t])
        actions, log_probs = buffer.actions[t], buffer.log_probs[t]
        if self.n_choices:
            kernels.draw_choices(logits, self.noise[t], self.n_choices, actions, log_probs)
            return actions
        deviations = self.policy.log_std.detach().cpu().numpy()
        kernels.draw_gaussian(logits, deviations, self.noise[t], actions, log_probs)
        return np.clip(actions, -1.0, 1.0)

    def _values(self, rows: np.ndarray) -> np.ndarray:
        pieces = [self.update.outputs(rows[i : i + MOST_ROWS])[1] for i in range(0, len(rows), MOST_ROWS)]
        return np.concatenate(pieces)

    def train(self) -> None:
        """Learn from the rollout, n_epochs times in shuffled minibatches; ends early where PPO.train would."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        clip = float(self.clip_range(self._current_progress_remaining))  # type: ignore[operator]
        loss = Loss(clip, self.ent_coef, self.vf_coef)
        told: list[np.ndarray] = []
        goes_on = True
        for _ in range(self.n_epochs):
            goes_on = self._epoch(loss, told)
            self._n_updates += 1
            if not goes_on:
                break
        self._record(np.array(told))

    def _epoch(self, loss: Loss, told: list[np.ndarray]) -> bool:
        flat = _flattened(self.rollout_buffer)
        order = self.random.permutation(len(flat.returns))
        for first in range(0, len(order), self.batch_size):
            batch = _taken(flat, order[first : first + self.batch_size], self.batch)
            if self.normalize_advantage and len(batch.advantages) > 1:
                minibatch_kernels.standardise(batch.advantages)
            means = self.update.gradients(batch, loss)
            told.append(means)
            if self.target_kl is not None and means[kernels.KL] > 1.5 * self.target_kl:
                return False
            self.update.step(self.max_grad_norm)
        return True

    def _record(self, told: np.ndarray) -> None:
        means = told.mean(axis=0)
        names = ("policy_gradient_loss", "value_loss", "entropy", "approx_kl", "clip_fraction")
        for name, value in zip(names, means, strict=True):
            self.logger.record(f"train/{name}", float(value))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        if not self.n_choices:
            self.logger.record("train/std", float(torch.exp(self.policy.log_std.detach()).mean()))


class _FinalRows:
    """Last observations of episodes that ended with their window."""

    def __init__(self) -> None:
        self.steps: list[np.ndarray] = []
        self.copies: list[np.ndarray] = []
        self.rows: list[np.ndarray] = []

    def keep(self, t: int, which: np.ndarray, rows: np.ndarray) -> None:
        copies = np.flatnonzero(which)
        self.steps.append(np.full(len(copies), t))
        self.copies.append(copies)
        self.rows.append(np.array(rows[copies], dtype=np.float32))

    def add_values(self, rewards: np.ndarray, gamma: float, values: Any) -> None:
        if self.rows and len(rows := np.concatenate(self.rows)):
            rewards[np.concatenate(self.steps), np.concatenate(self.copies)] += np.float32(gamma) * values(rows)


def _n_choices(space: spaces.Space) -> int:
    """Choices per instrument; 0 where actions are positions."""
    if isinstance(space, spaces.Discrete):
        return int(space.n)
    return int(space.nvec[0]) if isinstance(space, spaces.MultiDiscrete) else 0


def _empty_batch(n_rows: int, n_inputs: int, model: FastPPO) -> Batch:
    def empty(*shape: int) -> np.ndarray:
        return np.empty(shape, np.float32)

    return Batch(empty(n_rows, n_inputs), empty(n_rows, model.n_groups), empty(n_rows), empty(n_rows), empty(n_rows))


def _flattened(buffer: Any) -> Batch:
    """The whole rollout, time by time; the same memory."""
    n = buffer.buffer_size * buffer.n_envs
    return Batch(
        buffer.observations.reshape(n, -1), buffer.actions.reshape(n, -1), buffer.log_probs.reshape(n),
        buffer.advantages.reshape(n), buffer.returns.reshape(n),
    )  # fmt: skip


def _taken(flat: Batch, rows: np.ndarray, memory: Batch) -> Batch:
    """Copies of some rows in the memory of another batch."""
    into = {name: array[: len(rows)] for name, array in vars(memory).items()}
    minibatch_kernels.take(rows, *vars(flat).values(), *into.values())
    return Batch(**into)
