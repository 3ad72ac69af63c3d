"""sbx's learners as ours: they play, tell and are stopped as those in torch; what they learned is kept by JAX.

The environment runs on the processor, in compiled code; JAX gets whole batches.
"""

from dataclasses import replace

from agents.algorithms.base import LearnerReport
from agents.learners import jax_state, jax_weights, state
from agents.learners.off_policy import OffPolicyLearner
from agents.learners.on_policy import OnPolicyLearner

NO_LOSSES = ("learning_rate_actor", "learning_rate_critic")  # sbx's SAC tells them among its losses


class JaxOnPolicyLearner(OnPolicyLearner):
    """sbx's PPO; see agents/algorithms/base.Learner."""

    export = staticmethod(jax_weights.weights_of)

    def _listen(self) -> None:
        """Its updates are single calls of JAX; the steps of the environment are heard."""

    def _check_weights(self) -> None:
        jax_state.check_weights(self.model, self.steps_done)

    def _learned(self) -> state.Arrays:
        return jax_state.learned_arrays(self.model)

    def _restore_learned(self, snapshot: state.Arrays) -> None:
        jax_state.restore_learned(self.model, snapshot)


class JaxOffPolicyLearner(OffPolicyLearner):
    """sbx's SAC or DQN; see agents/algorithms/base.Learner."""

    def advance(self) -> LearnerReport:
        """Play and learn for about a thousand steps. Raises: TrainingDiverged."""
        report = super().advance()
        losses = {name: value for name, value in report.losses.items() if name not in NO_LOSSES}
        return replace(report, losses=losses)

    def _listen(self) -> None:
        """Its updates are single calls of JAX; the steps of the environment are heard."""

    def _check_weights(self) -> None:
        jax_state.check_weights(self.model, self.steps_done)

    def _learned(self) -> state.Arrays:
        return jax_state.learned_arrays(self.model)

    def _restore_learned(self, snapshot: state.Arrays) -> None:
        jax_state.restore_learned(self.model, snapshot)
