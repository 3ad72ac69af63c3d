"""What every learner can do, whatever library it comes from. Pure."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, Protocol

import numpy as np

from agents.configuration import AgentSettings
from agents.environment.env_config import EnvConfig
from agents.environment.market import Market
from agents.networks.spec import NetworkSpec
from agents.policies.policy import ServedPolicy


@dataclass(frozen=True, kw_only=True)
class LearnerRequest:
    """What a learner is made for."""

    markets: tuple[Market, ...]  # the first is the real one; more are synthetic paths for training
    config: EnvConfig  # how the environment plays, first and last row included
    network: NetworkSpec  # of the policy, with the columns it uses by name filled in
    settings: AgentSettings
    parameters: dict[str, Any]  # drawn by the study
    seed: int
    n_steps: int  # environment steps the whole learning will take
    backend: str = "cpu"
    pulse: Callable[[], None] = lambda: None  # called many times within a round; may raise to end it
    # build(network=NetworkSpec, head=HeadSpec, weights=dict) turns exported weights into a policy.
    build: Callable[..., ServedPolicy]

    @property
    def n_instruments(self) -> int:
        """Instruments of one account that it learns to trade at once."""
        return self.markets[0].n_instruments


@dataclass(frozen=True)
class LearnerReport:
    """What a learner knows of itself since the last report; means over that time."""

    steps_done: int
    losses: dict[str, float] = field(default_factory=dict)
    reward_components: dict[str, float] = field(default_factory=dict)  # per step
    actions: dict[str, float] = field(default_factory=dict)  # share of steps by label
    episode_return: float | None = None


class Learner(Protocol):
    """Learns step by step; its whole state can be taken and given back bit for bit."""

    @property
    def steps_done(self) -> int:
        """Environment steps so far, of all copies together."""

    def advance(self) -> LearnerReport:
        """Learn one round: a rollout with its updates, or some hundred steps. Raises: TrainingDiverged."""

    def policy(self) -> ServedPolicy:
        """The weights as they are, ready to serve. Raises: TrainingDiverged if one is NaN or infinite."""

    def snapshot(self) -> dict[str, np.ndarray]:
        """Everything the next round depends on, by name: weights, optimiser, random states, environment, buffer."""

    def restore(self, snapshot: dict[str, np.ndarray]) -> None:
        """Go on from a snapshot as if nothing had happened. Raises: ValueError if it belongs to another learner."""

    def close(self) -> None:
        """Release what was taken."""
