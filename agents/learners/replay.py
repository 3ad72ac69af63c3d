"""A replay buffer that draws surprising steps more often, with returns over several steps.

Source: Schaul and others, "Prioritized Experience Replay", ICLR 2016: P(i) = p_i^alpha / sum of all, p_i the size of
the last error plus a little; weights (N P(i))^-beta over their largest undo the bias, beta growing to 1.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
from stable_baselines3.common.buffers import ReplayBuffer
from stable_baselines3.common.type_aliases import ReplayBufferSamples

from agents.learners.replay_tree import find_leaves, new_tree, set_leaves
from core.simulation.compiled import compiled

LEAST_ERROR = 1e-3  # added to every error, so that no step is lost for good


@dataclass(frozen=True)
class Drawn:
    """Which steps were drawn."""

    rows: np.ndarray  # (B,) int64: position * copies + copy
    weights: np.ndarray  # (B,) float32, above 0, the largest 1


class PrioritisedReplay(ReplayBuffer):
    """Stable-Baselines3's buffer with priorities and n-step returns.

    n_steps: length of a return; it ends early where the episode does. gamma: discount a step. alpha: 0 draws evenly,
    1 in proportion to the error. beta: share of the bias undone at the start of the learning; all of it at the end.
    """

    def __init__(
        self, *args: Any, n_steps: int = 1, gamma: float = 0.99, alpha: float = 0.6, beta: float = 0.4, **kwargs: Any
    ) -> None:
        super().__init__(*args, **kwargs)
        self.n_steps, self.gamma, self.alpha, self.beta = n_steps, gamma, alpha, beta
        self.tree = new_tree(self.buffer_size * self.n_envs)
        self.largest = 1.0  # priority of a step whose error is not known yet

    def add(self, *args: Any, **kwargs: Any) -> None:
        """As ReplayBuffer.add; new steps have the largest priority so far, so that each is soon drawn."""
        rows = self.pos * self.n_envs + np.arange(self.n_envs)
        super().add(*args, **kwargs)
        set_leaves(self.tree, rows, np.full(self.n_envs, self.largest))

    def draw(self, batch_size: int, progress: float) -> tuple[ReplayBufferSamples, Drawn]:
        """Steps with their returns, and which they were. progress: of the learning, 0 to 1."""
        rows = np.empty(batch_size, dtype=np.int64)
        find_leaves(self.tree, np.random.random_sample(batch_size), rows)
        shares = self.tree[len(self.tree) // 2 + rows] / self.tree[1]
        exponent = self.beta + (1.0 - self.beta) * min(max(progress, 0.0), 1.0)
        weights = (self.size() * self.n_envs * shares) ** -exponent
        return self.returns(rows), Drawn(rows, (weights / weights.max()).astype(np.float32))

    def set_errors(self, rows: np.ndarray, errors: np.ndarray) -> None:
        """Tell how far off the values of steps drawn were, (B,)."""
        priorities = (np.abs(errors).astype(float) + LEAST_ERROR) ** self.alpha
        self.largest = max(self.largest, float(priorities.max()))
        set_leaves(self.tree, rows, priorities)

    def returns(self, rows: np.ndarray) -> ReplayBufferSamples:
        """The steps with the discounted sum of rewards, the observation after, and the discount of its value."""
        positions, copies = np.divmod(rows, self.n_envs)
        sums, discounts = np.empty((len(rows), 1), np.float32), np.empty((len(rows), 1), np.float32)
        dones, last = np.empty((len(rows), 1), np.float32), np.empty(len(rows), np.int64)
        _add_up(
            positions, copies, self.rewards, self.dones, self.timeouts, self.pos - 1, self.n_steps, self.gamma, sums,
            discounts, dones, last,
        )  # fmt: skip
        return ReplayBufferSamples(
            observations=self.to_torch(self.observations[positions, copies]),
            actions=self.to_torch(self.actions[positions, copies]),
            next_observations=self.to_torch(self.next_observations[last, copies]),
            dones=self.to_torch(dones),
            rewards=self.to_torch(sums),
            discounts=self.to_torch(discounts),
        )


@compiled
def _add_up(
    positions: np.ndarray,
    copies: np.ndarray,
    rewards: np.ndarray,
    dones: np.ndarray,
    timeouts: np.ndarray,
    newest: int,
    n_steps: int,
    gamma: float,
    sums: np.ndarray,
    discounts: np.ndarray,
    ended: np.ndarray,
    last: np.ndarray,
) -> None:
    """Walk at most n_steps ahead, not beyond an episode's end nor the newest step.

    newest: position written last, -1 for the buffer's end. An episode cut off by time counts as going on.
    """
    size = len(rewards)
    newest = newest % size
    for i in range(len(positions)):
        at, copy = positions[i], copies[i]
        total, factor, steps = 0.0, 1.0, 0
        while True:
            total += factor * rewards[at, copy]
            factor *= gamma
            steps += 1
            if steps == n_steps or at == newest or dones[at, copy] != 0.0:
                break
            at = (at + 1) % size
        sums[i, 0], discounts[i, 0], last[i] = total, factor, at
        ended[i, 0] = dones[at, copy] * (1.0 - timeouts[at, copy])
