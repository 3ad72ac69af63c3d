"""Any on-policy learner of Stable-Baselines3 or sb3-contrib as our Learner: one rollout and its update at a time."""

from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import Logger

from agents.algorithms.base import LearnerReport, LearnerRequest
from agents.learners import state
from agents.learners.arena import Arena
from agents.learners.guard import TrainingDiverged
from agents.learners.own_random import OwnRandom
from agents.learners.watch import listen
from agents.networks.sb3 import weights_of
from agents.networks.spec import HeadSpec
from agents.policies.policy import ServedPolicy

LOSSES = "train/"
# Told beside the losses; explained variance is rightly NaN where all returns are equal.
NOT_LOSSES = ("learning_rate", "n_updates", "clip_range", "explained_variance")


class OnPolicyLearner:
    """See agents/algorithms/base.Learner. model: made on the arena's environment; head: how its policy is served."""

    export = staticmethod(weights_of)  # the model's weights as served

    def __init__(self, request: LearnerRequest, arena: Arena, model: Any, head: HeadSpec) -> None:
        self.request, self.arena, self.model, self.head = request, arena, model, head
        model.set_logger(Logger(None, []))
        _, self._callback = model._setup_learn(request.n_steps, None)
        self.random = OwnRandom()  # as the model's seed left the process's
        self._listen()

    def _listen(self) -> None:
        listen([self.model.policy.optimizer], self.request.pulse)

    @property
    def steps_done(self) -> int:
        """Environment steps so far, of all copies together."""
        return int(self.model.num_timesteps)

    def advance(self) -> LearnerReport:
        """One rollout with its update. Raises: TrainingDiverged."""
        guard = self.arena.guard
        with self.random():
            self._round()
        losses = self._losses()
        guard.losses(losses, self.steps_done)
        self._check_weights()
        return LearnerReport(steps_done=self.steps_done, losses=losses, **self.arena.watch.report())

    def _round(self) -> None:
        model = self.model
        try:
            model.collect_rollouts(model.env, self._callback, model.rollout_buffer, model.n_steps)
        except ValueError:
            self._check_inputs()  # torch and the environment refuse NaN in other words
            raise
        self._check_inputs()
        self.arena.guard.rewards(model.rollout_buffer.rewards, self.steps_done)
        model._update_current_progress_remaining(min(self.steps_done, self.request.n_steps), self.request.n_steps)
        model.train()

    def _check_inputs(self) -> None:
        for rows in (self.model.rollout_buffer.observations, self.model._last_obs):
            self.arena.guard.observations(rows, self.steps_done)
        self._check_weights()

    def _check_weights(self) -> None:
        self.arena.guard.weights(self.model.policy, self.steps_done)

    def _losses(self) -> dict[str, float]:
        values = self.model.logger.name_to_value
        found = {name.removeprefix(LOSSES): float(value) for name, value in values.items() if name.startswith(LOSSES)}
        values.clear()
        return {name: value for name, value in found.items() if name not in NOT_LOSSES}

    def policy(self) -> ServedPolicy:
        """The weights as they are. Raises: TrainingDiverged if one is NaN or infinite."""
        weights = self.export(self.model.policy, self.request.network, self.head)
        for name, tensor in weights.items():
            if not torch.isfinite(tensor).all():
                raise TrainingDiverged(f"{name} became NaN or infinite after {self.steps_done} steps; lower the rate")
        return self.request.build(network=self.request.network, head=self.head, weights=weights)

    def snapshot(self) -> state.Arrays:
        """Everything the next rollout depends on."""
        model = self.model
        counters = {
            "steps": model.num_timesteps, "updates": model._n_updates, "remaining": model._current_progress_remaining,
        }  # fmt: skip
        found = {
            "counters": state.text_array(counters),
            "last_observations": np.array(model._last_obs),
            "last_over": np.array(model._last_episode_starts),
            **self._learned(),
            **state.under("random", self.random.arrays),
            **state.under("env", self.arena.batch.snapshot()),
        }
        for number, tensor in enumerate(_memory(model)):
            found[f"memory/{number}"] = tensor.detach().cpu().numpy().copy()
        for name, value in _own_state(model).items():
            found[f"own/{name}"] = value
        return found

    def restore(self, snapshot: state.Arrays) -> None:
        """Go on from a snapshot. Raises: ValueError if it belongs to another learner."""
        model = self.model
        try:
            counters = state.text_of(snapshot["counters"])
            self._restore_learned(snapshot)
            self.arena.batch.restore(state.part(snapshot, "env"))
            model._last_obs = snapshot["last_observations"].copy()
            model._last_episode_starts = snapshot["last_over"].copy()
            for number, tensor in enumerate(_memory(model)):
                tensor.copy_(torch.from_numpy(snapshot[f"memory/{number}"]))
            _restore_own(model, state.part(snapshot, "own"))
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"the snapshot is another learner's: {error}") from error
        model.num_timesteps, model._n_updates = counters["steps"], counters["updates"]
        model._current_progress_remaining = counters["remaining"]
        self.random.arrays = state.part(snapshot, "random")
        self.arena.watch.forget()

    def _learned(self) -> state.Arrays:
        """Weights and what the optimiser remembers of them."""
        policy = self.model.policy
        return {**state.module_arrays(policy, "weights"), **state.optimiser_arrays(policy.optimizer, "optimiser")}

    def _restore_learned(self, snapshot: state.Arrays) -> None:
        state.restore_module(self.model.policy, snapshot, "weights")
        state.restore_optimiser(self.model.policy.optimizer, snapshot, "optimiser")

    def close(self) -> None:
        """Release the environment."""
        self.model.env.close()


def _memory(model: Any) -> list[torch.Tensor]:
    """What a recurrent learner remembers of each copy: policy's and value's hidden and cell states."""
    states = getattr(model, "_last_lstm_states", None)
    return [] if states is None else [*states.pi, *states.vf]


def _own_state(model: Any) -> state.Arrays:
    """What FastPPO keeps besides."""
    found = {}
    if isinstance(random := getattr(model, "random", None), np.random.Generator):
        found["random"] = state.generator_array(random)
    scaler = getattr(getattr(model, "update", None), "scaler", None)
    if scaler is not None:
        found["scaler"] = state.text_array(scaler.state_dict())
    return found


def _restore_own(model: Any, found: state.Arrays) -> None:
    if "random" in found:
        state.restore_generator(model.random, found["random"])
    if "scaler" in found:
        model.update.scaler.load_state_dict(state.text_of(found["scaler"]))
