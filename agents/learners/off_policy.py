"""A learner around Stable-Baselines3's off-policy algorithms: some steps of all copies, then some gradient steps.

The copies are stepped in one compiled call; what SB3's own collecting does copy by copy is done here for all at once.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.logger import Logger
from stable_baselines3.common.off_policy_algorithm import OffPolicyAlgorithm

from agents.algorithms.base import LearnerReport, LearnerRequest
from agents.learners import state
from agents.learners.arena import Arena
from agents.learners.exploring import Act
from agents.learners.fast_step import means
from agents.learners.own_random import OwnRandom
from agents.learners.replay_state import buffer_arrays, restore_buffer
from agents.learners.watch import listen
from agents.networks.sb3 import Weights, weights_of
from agents.networks.spec import HeadSpec, NetworkSpec
from agents.policies.policy import ServedPolicy

LOSSES = "train/"
NOT_LOSSES = ("learning_rate", "n_updates")  # told by every learner and no loss
STEPS_PER_ROUND = 1_024  # about so many a call of advance
# What the next round depends on besides weights; the last two are the DQN family's.
COUNTERS = ("num_timesteps", "_n_updates", "_current_progress_remaining", "_n_calls", "exploration_rate")

Export = Callable[[Any, NetworkSpec, HeadSpec], Weights]


@dataclass(frozen=True, kw_only=True)
class Pace:
    """How steps and gradient steps take turns."""

    batch_size: int  # steps drawn for one gradient step
    learning_starts: int  # steps at random before the first gradient step
    steps_per_update: int  # steps of all copies together for one gradient step


class OffPolicyLearner:
    """See agents/algorithms/base.Learner.

    model: made on the arena's environment, under `random`; act: how it explores; export: its weights as served.
    """

    def __init__(
        self,
        request: LearnerRequest,
        arena: Arena,
        model: OffPolicyAlgorithm,
        *,
        random: OwnRandom,
        pace: Pace,
        act: Act,
        head: HeadSpec,
        export: Export = weights_of,
    ) -> None:
        self.request, self.arena, self.model, self.random, self.pace = request, arena, model, random, pace
        self.act, self.head, self.export = act, head, export
        self.steps_per_turn = -(-pace.steps_per_update // arena.batch.n_copies)
        self.updates_per_turn = self.steps_per_turn * arena.batch.n_copies // pace.steps_per_update
        model.set_logger(Logger(None, []))
        self.last = arena.batch.reset().copy()
        self._listen()

    def _listen(self) -> None:
        listen(_optimisers(self.model).values(), self.request.pulse)

    @property
    def steps_done(self) -> int:
        """Environment steps so far, of all copies together."""
        return int(self.model.num_timesteps)

    def advance(self) -> LearnerReport:
        """Play and learn for about a thousand steps. Raises: TrainingDiverged."""
        guard, losses = self.arena.guard, list[dict[str, float]]()
        last = min(self.steps_done + STEPS_PER_ROUND, max(self.request.n_steps, self.steps_done + 1))
        with self.random():
            while self.steps_done < last:
                for _ in range(self.steps_per_turn):
                    self._step()
                if self.steps_done > self.pace.learning_starts:
                    self.model.train(gradient_steps=self.updates_per_turn, batch_size=self.pace.batch_size)
                    losses.append(_losses(self.model))
        found = means(losses)
        guard.losses(found, self.steps_done)
        self._check_weights()
        return LearnerReport(steps_done=self.steps_done, losses=found, **self.arena.watch.report())

    def _step(self) -> None:
        """One step of every copy, into the buffer."""
        model, batch, guard = self.model, self.arena.batch, self.arena.guard
        try:
            actions = self.act(model, self.last, model.num_timesteps < self.pace.learning_starts)
            seen, rewards, terminated, truncated = batch.step(actions)
        except ValueError:
            self._check_weights()  # torch and the environment refuse NaN in other words
            raise
        model.num_timesteps += batch.n_copies
        guard.observations(seen, self.steps_done)
        guard.rewards(rewards, self.steps_done)
        over = terminated | truncated
        self.arena.watch.saw(actions, rewards, over)
        after = np.where(over[:, None], batch.final_observations, seen) if over.any() else seen
        infos = [{"TimeLimit.truncated": bool(cut)} for cut in truncated]
        assert model.replay_buffer is not None
        model.replay_buffer.add(self.last, after, actions, rewards * self.arena.reward_scale, over, infos)
        self.last[:] = seen
        model._update_current_progress_remaining(min(self.steps_done, self.request.n_steps), self.request.n_steps)
        model._on_step()  # DQN's target network and exploration

    def _check_weights(self) -> None:
        self.arena.guard.weights(self.model.policy, self.steps_done)

    def policy(self) -> ServedPolicy:
        """The weights as they are, ready to serve. Raises: TrainingDiverged if one is NaN or infinite."""
        self._check_weights()
        network = self.request.network
        weights = self.export(self.model.policy, network, self.head)
        return self.request.build(network=network, head=self.head, weights=weights)

    def snapshot(self) -> state.Arrays:
        """Everything the next round depends on, by name."""
        model = self.model
        assert model.replay_buffer is not None
        found = self._learned()
        counters = {name: getattr(model, name) for name in COUNTERS if hasattr(model, name)}
        found |= {"counters": state.text_array(counters), "last_observations": self.last.copy()}
        found |= state.under("replay", buffer_arrays(model.replay_buffer))
        found |= state.under("env", self.arena.batch.snapshot())
        return found | state.under("random", self.random.arrays)

    def restore(self, snapshot: state.Arrays) -> None:
        """Go on from a snapshot as if nothing had happened. Raises: ValueError if it belongs to another learner."""
        try:
            self._restore(snapshot)
        except (KeyError, RuntimeError) as error:
            raise ValueError(f"the snapshot is another learner's: {error}") from error
        self.arena.watch.forget()

    def _restore(self, snapshot: state.Arrays) -> None:
        model = self.model
        assert model.replay_buffer is not None
        self._restore_learned(snapshot)
        for name, value in state.text_of(snapshot["counters"]).items():
            setattr(model, name, value)
        self.arena.batch.restore(state.part(snapshot, "env"))
        self.last[:] = snapshot["last_observations"]
        restore_buffer(model.replay_buffer, state.part(snapshot, "replay"))
        self.random.arrays = state.part(snapshot, "random")

    def _learned(self) -> state.Arrays:
        """Weights and what the optimisers remember of them."""
        found = state.module_arrays(self.model.policy, "weights")
        for name, optimiser in _optimisers(self.model).items():
            found |= state.optimiser_arrays(optimiser, name)
        if (coefficient := getattr(self.model, "log_ent_coef", None)) is not None:
            found["log_ent_coef"] = coefficient.detach().cpu().numpy().copy()
        return found

    def _restore_learned(self, snapshot: state.Arrays) -> None:
        state.restore_module(self.model.policy, snapshot, "weights")
        for name, optimiser in _optimisers(self.model).items():
            state.restore_optimiser(optimiser, snapshot, name)
        if (coefficient := getattr(self.model, "log_ent_coef", None)) is not None:
            coefficient.data.copy_(torch.from_numpy(snapshot["log_ent_coef"].copy()))

    def close(self) -> None:
        """Release the environment."""
        self.arena.env.close()


def _optimisers(model: Any) -> dict[str, torch.optim.Optimizer]:
    """Every optimiser of SAC, TD3 or the DQN family by name."""
    if not hasattr(model, "critic"):
        return {"optimiser": model.policy.optimizer}
    found = {"actor_optimiser": model.actor.optimizer, "critic_optimiser": model.critic.optimizer}
    entropy = getattr(model, "ent_coef_optimizer", None)
    return found if entropy is None else found | {"entropy_optimiser": entropy}


def _losses(model: Any) -> dict[str, float]:
    """What `train` wrote to the log."""
    values = model.logger.name_to_value
    found = {name.removeprefix(LOSSES): float(value) for name, value in values.items() if name.startswith(LOSSES)}
    values.clear()
    return {name: value for name, value in found.items() if name not in NOT_LOSSES}
