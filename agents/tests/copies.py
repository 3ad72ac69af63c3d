"""A small made-up environment in many copies, for tests of learners: whoever plays the sign of the last input earns."""

from typing import Any

import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env import VecEnv

N_INPUTS, LENGTH = 5, 20


class SignCopies:
    """Pays 1 for the right action, else -1; inputs are drawn anew each step; windows of LENGTH steps."""

    def __init__(self, n_copies: int, kind: str = "choice", seed: int = 0) -> None:
        self.n_copies, self.kind = n_copies, kind
        self.random = np.random.default_rng(seed)
        self.rows = np.zeros((n_copies, N_INPUTS), np.float32)
        self.final_observations = np.zeros_like(self.rows)
        self.age = np.zeros(n_copies, np.int64)

    def reset(self) -> np.ndarray:
        """First observations."""
        self.age[:] = np.arange(self.n_copies) % LENGTH
        self._draw()
        return self.rows

    def step(self, actions: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
        """As BatchEnv.step."""
        played = actions.reshape(self.n_copies, -1)[:, 0]
        wanted = np.where(self.rows[:, -1] > 0, 1.0, 2.0 if self.kind == "choice" else -1.0)
        rewards = np.where(played == wanted, 1.0, -1.0) if self.kind == "choice" else wanted * played
        self.age += 1
        terminated = (self.age % 7 == 0) & (self.rows[:, 0] > 2.0)
        truncated = (self.age >= LENGTH) & ~terminated
        self._draw()
        over = terminated | truncated
        self.final_observations[over] = self.rows[over]
        self.age[over] = 0
        self._draw()
        return self.rows, rewards, terminated, truncated

    def _draw(self) -> None:
        self.rows[:] = self.random.standard_normal(self.rows.shape)


class SignVecEnv(VecEnv):
    """The same for Stable-Baselines3."""

    def __init__(self, n_copies: int, kind: str = "choice", seed: int = 0) -> None:
        self.batch = SignCopies(n_copies, kind, seed)
        space = spaces.Discrete(3) if kind == "choice" else spaces.Box(-1.0, 1.0, (1,), np.float32)
        super().__init__(n_copies, spaces.Box(-np.inf, np.inf, (N_INPUTS,), np.float32), space)

    def reset(self) -> Any:
        """First observations."""
        return self.batch.reset().copy()

    def step_async(self, actions: np.ndarray) -> None:
        """Keep the actions."""
        self.actions = actions

    def step_wait(self) -> Any:
        """Carry them out."""
        rows, rewards, terminated, truncated = self.batch.step(self.actions)
        infos: list[dict[str, Any]] = [{} for _ in range(self.num_envs)]
        for copy in np.flatnonzero(terminated | truncated):
            infos[copy] = {
                "terminal_observation": self.batch.final_observations[copy].copy(),
                "TimeLimit.truncated": bool(truncated[copy]),
            }
        return rows.copy(), rewards.astype(np.float32), terminated | truncated, infos

    def close(self) -> None:
        """Nothing."""

    def get_attr(self, attr_name: str, indices: Any = None) -> list[Any]:
        """One answer per copy."""
        return [None] * self.num_envs

    def set_attr(self, attr_name: str, value: Any, indices: Any = None) -> None:
        """Nothing."""

    def env_method(self, method_name: str, *args: Any, indices: Any = None, **kwargs: Any) -> list[Any]:
        """Nothing."""
        return [None] * self.num_envs

    def env_is_wrapped(self, wrapper_class: Any, indices: Any = None) -> list[bool]:
        """Never."""
        return [False] * self.num_envs
