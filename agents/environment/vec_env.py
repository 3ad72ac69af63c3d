"""The batch environment as Stable-Baselines3 wants it."""

from collections.abc import Sequence
from typing import Any

import gymnasium
import numpy as np
from gymnasium import spaces
from stable_baselines3.common.vec_env.base_vec_env import VecEnv, VecEnvIndices, VecEnvObs, VecEnvStepReturn

from agents.environment.actions import space_of
from agents.environment.batch_arrays import LIMIT
from agents.environment.batch_env import BatchEnv

ACTION_MASKS = "action_masks"


class DeskVecEnv(VecEnv):
    """A BatchEnv behind SB3's VecEnv.

    Observations and rewards are copies, for learners keep those of the step before. An info is an empty dict shared by
    all, except where an episode ended: its return and length as Monitor has them, and the observation it ended with.
    """

    def __init__(self, batch: BatchEnv) -> None:
        """batch: one that starts ended episodes again. Raises: ValueError for another."""
        if not batch.autoreset:
            raise ValueError("this batch does not start ended episodes again; make it with autoreset=True")
        self.batch = batch
        self._chosen: np.ndarray | None = None
        observation_space = spaces.Box(-LIMIT, LIMIT, (batch.n_inputs,), np.float32)
        super().__init__(batch.n_copies, observation_space, space_of(batch.config.action, batch.n_instruments))

    def reset(self) -> VecEnvObs:
        """New episodes everywhere; after `seed`, those of the seed."""
        seed, self.reset_infos = self._seeds[0], [{} for _ in range(self.num_envs)]
        observations = self.batch.reset(seed).copy()
        self._reset_seeds()
        self._reset_options()
        return observations

    def seed(self, seed: int | None = None) -> Sequence[int | None]:
        """Let the next reset draw everything from this seed, None for going on as it is."""
        self._seeds = [seed] * self.num_envs
        return self._seeds

    def step_async(self, actions: np.ndarray) -> None:
        """Take the actions; step_wait carries them out."""
        self._chosen = np.asarray(actions)

    def step_wait(self) -> VecEnvStepReturn:
        """Observations, rewards, whether episodes ended, and infos of the step."""
        if self._chosen is None:
            raise ValueError("no actions have been handed over: call step_async first")
        batch = self.batch
        observations, rewards, terminated, truncated = batch.step(self._chosen)
        self._chosen = None
        nothing: dict[str, Any] = {}
        infos = [nothing] * self.num_envs
        ended = terminated | truncated
        for copy in np.flatnonzero(ended) if batch.n_ended else ():
            infos[copy] = self._ending(int(copy))
        return observations.copy(), rewards.astype(np.float32), ended, infos

    def _ending(self, copy: int) -> dict[str, Any]:
        batch = self.batch
        return {
            "episode": {"r": float(batch.final_returns[copy]), "l": int(batch.final_lengths[copy]), "t": 0.0},
            "terminal_observation": batch.final_observations[copy].copy(),
            "TimeLimit.truncated": bool(batch.truncated[copy]),
        }

    def close(self) -> None:
        """Nothing to release: helpers go when the batch does."""

    def get_attr(self, attr_name: str, indices: VecEnvIndices = None) -> list[Any]:
        """An attribute of the batch, once per copy. Raises: AttributeError if it has none of that name."""
        if attr_name == "render_mode":
            return [None for _ in self._get_indices(indices)]
        return [getattr(self.batch, attr_name) for _ in self._get_indices(indices)]

    def set_attr(self, attr_name: str, value: Any, indices: VecEnvIndices = None) -> None:
        """Raises: AttributeError; the copies have no attributes of their own."""
        raise AttributeError(f"{attr_name} cannot be set, the copies of a batch share everything: make another batch")

    def env_method(
        self, method_name: str, *method_args: Any, indices: VecEnvIndices = None, **method_kwargs: Any
    ) -> list[Any]:
        """`action_masks` per copy, which sb3-contrib asks for. Raises: AttributeError for any other."""
        if method_name != ACTION_MASKS:
            raise AttributeError(f"copies of a batch have no method {method_name!r}, only {ACTION_MASKS!r}")
        masks = self.batch.masks()
        return [masks[copy].copy() for copy in self._get_indices(indices)]

    def has_attr(self, attr_name: str) -> bool:
        """Whether get_attr or env_method know the name; masks exist for choices only."""
        if attr_name == ACTION_MASKS:
            return self.batch.n_actions > 0
        return hasattr(self.batch, attr_name)

    def env_is_wrapped(self, wrapper_class: type[gymnasium.Wrapper], indices: VecEnvIndices = None) -> list[bool]:
        """Never; episodes are counted here, as Monitor would."""
        return [False for _ in self._get_indices(indices)]

    def get_images(self) -> Sequence[np.ndarray | None]:
        """There is nothing to see."""
        return [None] * self.num_envs
