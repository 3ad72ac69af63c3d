"""A served policy's layers in float64 numpy: exact and quick for the many small batches an explanation needs."""

import numpy as np

from agents.policy import ServedPolicy


class FloatNetwork:
    """The same function as the policy's torch layers, with its gradient."""

    def __init__(self, policy: ServedPolicy) -> None:
        weights = {name: tensor.numpy().astype(float) for name, tensor in policy.weights().items()}
        self.layers = [(weights[f"body.{i}.weight"], weights[f"body.{i}.bias"]) for i in range(len(policy.hidden))]
        self.head = weights["head.weight"], weights["head.bias"]
        self.tanh = policy.activation == "tanh"

    def forward(self, rows: np.ndarray) -> np.ndarray:
        """Logits (B, 3) for ppo, centre before tanh (B, 1) for sac; rows: (B, inputs)."""
        return self._activations(rows)[-1] @ self.head[0].T + self.head[1]

    def _activations(self, rows: np.ndarray) -> list[np.ndarray]:
        found = [np.asarray(rows, dtype=float)]
        for weight, bias in self.layers:
            before = found[-1] @ weight.T + bias
            found.append(np.tanh(before) if self.tanh else np.maximum(before, 0.0))
        return found

    def explained(self, rows: np.ndarray, choice: int | None) -> np.ndarray:
        """The number that is explained, (B,): log-odds of `choice` against the others, or the centre before tanh."""
        head = self.forward(rows)
        if choice is None:
            return head[:, 0]
        others = np.delete(head, choice, axis=1)
        most = others.max(axis=1)
        return head[:, choice] - (most + np.log(np.exp(others - most[:, None]).sum(axis=1)))

    def gradient(self, rows: np.ndarray, choice: int | None) -> np.ndarray:
        """Derivative of `explained` by every input, (B, inputs)."""
        found = self._activations(rows)
        head = found[-1] @ self.head[0].T + self.head[1]
        slope = np.ones_like(head)
        if choice is not None:
            # d/dlogits of logit(choice) - logsumexp(others): 1 at the choice, minus the others' softmax elsewhere.
            others = head.copy()
            others[:, choice] = -np.inf
            shares = np.exp(others - others.max(axis=1, keepdims=True))
            slope = -shares / shares.sum(axis=1, keepdims=True)
            slope[:, choice] = 1.0
        back = slope @ self.head[0]
        for (weight, _), after in zip(reversed(self.layers), reversed(found[1:]), strict=True):
            back = (back * (1.0 - after**2 if self.tanh else after > 0.0)) @ weight
        return back
