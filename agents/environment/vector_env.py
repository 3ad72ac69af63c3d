"""The batch environment by Gymnasium's vector interface."""

from typing import Any

import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from agents.environment.actions import space_of
from agents.environment.batch_arrays import LIMIT
from agents.environment.batch_env import COMPONENT_NAMES, BatchEnv


class DeskVectorEnv(VectorEnv):
    """A BatchEnv behind gymnasium.vector.VectorEnv; ended episodes start again in the same step.

    infos: `components` by name, (n,) each; where episodes ended also `final_obs` as Gymnasium has it, `final_return`
    and `final_length`, each with its mask (`_final_obs` and so on). All arrays are copies. `episode` is left to
    Gymnasium's RecordEpisodeStatistics, which refuses an environment that says it already.
    """

    metadata = {"autoreset_mode": AutoresetMode.SAME_STEP, "render_modes": []}

    def __init__(self, batch: BatchEnv) -> None:
        """batch: one that starts ended episodes again. Raises: ValueError for another."""
        if not batch.autoreset:
            raise ValueError("this batch does not start ended episodes again; make it with autoreset=True")
        self.batch, self.num_envs = batch, batch.n_copies
        self.single_observation_space = spaces.Box(-LIMIT, LIMIT, (batch.n_inputs,), np.float32)
        self.single_action_space = space_of(batch.config.action, batch.n_instruments)
        self.observation_space = batch_space(self.single_observation_space, self.num_envs)
        self.action_space = batch_space(self.single_action_space, self.num_envs)
        self.closed = False

    def reset(
        self, *, seed: int | list[int | None] | None = None, options: dict[str, Any] | None = None
    ) -> tuple[np.ndarray, dict[str, Any]]:
        """New episodes everywhere. seed: one number for all. Raises: ValueError for a list of seeds."""
        if isinstance(seed, list):
            raise ValueError("the copies draw from one seed: pass a single number")
        return self.batch.reset(seed).copy(), {"row": self.batch.rows.copy()}

    def step(self, actions: Any) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]:
        """Carry out one decision of every copy through its next bar."""
        batch = self.batch
        observations, rewards, terminated, truncated = batch.step(np.asarray(actions))
        components = {name: batch.components[:, k].copy() for k, name in enumerate(COMPONENT_NAMES)}
        infos: dict[str, Any] = {"components": components}
        if batch.n_ended:
            ended = terminated | truncated
            final = np.full(self.num_envs, None, dtype=object)
            for copy in np.flatnonzero(ended):
                final[copy] = batch.final_observations[copy].copy()
            infos |= {
                "final_obs": final,
                "final_return": batch.final_returns.copy(),
                "final_length": batch.final_lengths.copy(),
                **{f"_final_{name}": ended for name in ("obs", "return", "length")},
            }
        return observations.copy(), rewards.copy(), terminated.copy(), truncated.copy(), infos

    def action_masks(self) -> np.ndarray:
        """Which actions make sense now, (n, I * n_actions) bool."""
        return self.batch.masks().copy()
