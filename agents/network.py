"""A served policy's network in float64, with gradients: exact and quick for the many batches an explanation needs.

A plain network is computed in numpy; the others by a float64 copy of their torch layers.
"""

import copy
from dataclasses import dataclass
from functools import lru_cache
from typing import Protocol

import numpy as np
import torch

from agents.networks.network import ServedNetwork
from agents.networks.spec import LOGITS, MLP, TARGET_HEADS, Q
from agents.policies.outputs import LABELS, PolicyOutput
from agents.policies.policy import ServedPolicy, aligned


class FloatNetwork(Protocol):
    """Scores of a policy's network, and how they hang on the inputs."""

    def forward(self, rows: np.ndarray) -> np.ndarray:
        """Scores (B, A), as ServedNetwork has them; rows: (B, inputs)."""

    def pull(self, rows: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """Derivative of the sum over A of slope * scores by every input, (B, inputs); slope: (B, A)."""


def float_network(policy: ServedPolicy, memory: np.ndarray | None = None) -> FloatNetwork:
    """The policy's network in float64; memory: what it remembered before the bar, where it has one."""
    kept = _kept(policy)
    return kept if isinstance(kept, PlainNetwork) else TorchNetwork(kept, memory)


@lru_cache(maxsize=16)
def _kept(policy: ServedPolicy) -> "PlainNetwork | ServedNetwork":
    """What stays the same from decision to decision."""
    plain = policy.network.activation in ("tanh", "relu") and policy.head.kind in (LOGITS, Q, *TARGET_HEADS)
    if policy.network.kind == MLP and plain:
        return PlainNetwork(policy)
    return copy.deepcopy(policy.layers).double()


class PlainNetwork:
    """Body and head of a network without an encoder, in numpy."""

    def __init__(self, policy: ServedPolicy) -> None:
        weights = {name: tensor.numpy().astype(float) for name, tensor in policy.weights().items()}
        n_layers = len(policy.network.hidden)
        self.layers = [(weights[f"body.{i}.weight"], weights[f"body.{i}.bias"]) for i in range(n_layers)]
        self.head = weights["head.weight"], weights["head.bias"]
        self.tanh = policy.network.activation == "tanh"

    def forward(self, rows: np.ndarray) -> np.ndarray:
        """See FloatNetwork."""
        return self._activations(rows)[-1] @ self.head[0].T + self.head[1]

    def _activations(self, rows: np.ndarray) -> list[np.ndarray]:
        found = [np.asarray(rows, dtype=float)]
        for weight, bias in self.layers:
            before = found[-1] @ weight.T + bias
            found.append(np.tanh(before) if self.tanh else np.maximum(before, 0.0))
        return found

    def pull(self, rows: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """See FloatNetwork."""
        found, back = self._activations(rows), slope @ self.head[0]
        for (weight, _), after in zip(reversed(self.layers), reversed(found[1:]), strict=True):
            back = (back * (1.0 - after**2 if self.tanh else after > 0.0)) @ weight
        return back


class TorchNetwork:
    """Any network, by torch; its memory stays as it was before the bar."""

    def __init__(self, layers: ServedNetwork, memory: np.ndarray | None) -> None:
        self.layers = layers
        self.memory = None if memory is None or not len(memory) else aligned(memory, torch.float64)

    def _scores(self, rows: torch.Tensor) -> torch.Tensor:
        return self.layers(rows, None if self.memory is None else self.memory.expand(len(rows), -1))

    def forward(self, rows: np.ndarray) -> np.ndarray:
        """See FloatNetwork."""
        with torch.inference_mode():
            return self._scores(aligned(rows, torch.float64)).numpy()

    def pull(self, rows: np.ndarray, slope: np.ndarray) -> np.ndarray:
        """See FloatNetwork."""
        inputs = aligned(rows, torch.float64).requires_grad_()
        scores = self._scores(inputs)
        (found,) = torch.autograd.grad(scores, inputs, aligned(slope, torch.float64))
        return found.numpy()


@dataclass(frozen=True)
class Goal:
    """The number that is explained, made of a row of scores.

    chosen, others: which scores speak for the decision and which against it, (A,) bool; empty where a continuous head
    has one score, which then is the number itself. odds: whether the scores are log-probabilities.
    """

    chosen: np.ndarray
    others: np.ndarray
    odds: bool

    @classmethod
    def of(cls, policy: ServedPolicy, output: PolicyOutput, mask: np.ndarray | None = None) -> "Goal":
        """What is explained of a decision.

        logits: the log-odds of the chosen label's actions against those of the other labels. Values of actions: by how
        much the chosen action's exceeds the mean of those with other labels. Continuous: the centre before squashing.
        Raises: ValueError for a policy of several instruments.
        """
        if policy.n_instruments > 1:
            raise ValueError(f"this policy trades {policy.n_instruments} instruments; only those of one are explained")
        if policy.head.is_continuous:
            return cls(np.zeros(1, bool), np.zeros(1, bool), odds=False)
        same = np.array([label == output.label for label in LABELS[policy.head.n_actions]])
        odds = policy.head.kind == LOGITS
        chosen = same if odds else np.arange(len(same)) == int(output.action)
        if mask is None or not policy.head.masked:
            return cls(chosen, ~same, odds)
        # Where nothing else was possible it is weighed against what was not.
        allowed = ~same & mask
        return cls(same & mask, allowed if allowed.any() else ~same, odds)

    def value(self, scores: np.ndarray) -> np.ndarray:
        """The number, (B,), of scores (B, A)."""
        if not self.chosen.any():
            return scores[:, 0]
        if not self.odds:
            return scores[:, self.chosen].mean(axis=1) - scores[:, self.others].mean(axis=1)
        return _log_sum(scores[:, self.chosen]) - _log_sum(scores[:, self.others])

    def slope(self, scores: np.ndarray) -> np.ndarray:
        """Its derivative by every score, (B, A)."""
        found = np.zeros_like(scores)
        if not self.chosen.any():
            found[:, 0] = 1.0
            return found
        for part, sign in ((self.chosen, 1.0), (self.others, -1.0)):
            found[:, part] = sign * (_softmax(scores[:, part]) if self.odds else 1.0 / part.sum())
        return found


def _log_sum(scores: np.ndarray) -> np.ndarray:
    most = scores.max(axis=1)
    return most + np.log(np.exp(scores - most[:, None]).sum(axis=1))


def _softmax(scores: np.ndarray) -> np.ndarray:
    found = np.exp(scores - scores.max(axis=1, keepdims=True))
    return found / found.sum(axis=1, keepdims=True)
