"""Forward and backward pass of two plain tanh networks, policy and value, written out for large batches. Pure.

torch's own autograd takes two to three times as long: its tanh is slow on these processors, and it allocates anew for
every operation. The results equal autograd's to float32 rounding; a test holds them together.
"""

from typing import Any

import torch

from agents.learners import ppo_kernels as kernels

MOST_ROWS = 8_192


def fits(policy: Any) -> bool:
    """Whether a Stable-Baselines3 ActorCriticPolicy is what this module can do: no encoder, tanh layers, processor."""
    extractor = getattr(policy, "mlp_extractor", None)
    if extractor is None or str(policy.device) != "cpu" or any(True for _ in policy.features_extractor.parameters()):
        return False
    towers = (extractor.policy_net, extractor.value_net)
    layers = [list(tower) for tower in towers]
    plain = all(_is_plain(tower) for tower in layers)
    return plain and bool(layers[0]) and len(layers[0]) == len(layers[1])


def _is_plain(layers: list[torch.nn.Module]) -> bool:
    kinds = (torch.nn.Linear, torch.nn.Tanh)
    return all(isinstance(layer, kinds[number % 2]) for number, layer in enumerate(layers))


class PlainNetwork:
    """The policy's layers with memory for passes of up to `most_rows` rows."""

    def __init__(self, policy: Any, most_rows: int) -> None:
        towers = (policy.mlp_extractor.policy_net, policy.mlp_extractor.value_net)
        self.linears = [[layer for layer in tower if isinstance(layer, torch.nn.Linear)] for tower in towers]
        self.heads = (policy.action_net, policy.value_net)
        self.policy = policy
        self._reserve(most_rows)

    def ordered(self) -> list[torch.nn.Parameter]:
        """Parameters so that both towers' first layers lie side by side and work as one."""
        first = [towers[0] for towers in self.linears]
        found: list[Any] = [first[0].weight, first[1].weight, first[0].bias, first[1].bias]
        for tower, head in zip(self.linears, self.heads, strict=True):
            for layer in (*tower[1:], head):
                found += [layer.weight, layer.bias]
        deviation = getattr(self.policy, "log_std", None)
        return found if deviation is None else [*found, deviation]

    def bind(self, flat: torch.Tensor, gradient: torch.Tensor) -> None:
        """Look at the parameters where they lie now; both flat tensors are in the order of `ordered`."""
        (width_p, n), (width_v, _) = (tower[0].weight.shape for tower in self.linears)
        width = width_p + width_v
        self.first_weight = flat[: width * n].view(width, n)
        self.first_bias = flat[width * n : width * (n + 1)]
        self.by_first_weight = gradient[: width * n].view(width, n)
        self.by_first_bias = gradient[width * n : width * (n + 1)]
        self.split = width_p

    def _reserve(self, most_rows: int) -> None:
        widths = [[layer.out_features for layer in tower] for tower in self.linears]
        n_outputs = self.heads[0].out_features
        self.most_rows = most_rows
        first = (most_rows, widths[0][0] + widths[1][0])
        self.first, self.by_first = torch.empty(first), torch.empty(first)
        self.hidden = [[torch.empty(most_rows, width) for width in tower[1:]] for tower in widths]
        self.by_hidden = [[torch.empty(most_rows, width) for width in tower[1:]] for tower in widths]
        self.outputs, self.by_outputs = torch.empty(most_rows, n_outputs), torch.empty(most_rows, n_outputs)
        self.values, self.by_values = torch.empty(most_rows, 1), torch.empty(most_rows, 1)

    def forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Logits or means (B, K) and values (B,), overwritten by the next pass. rows: (B, n), B <= most_rows."""
        n = len(rows)
        self.rows = rows
        _layer(self.first_weight, self.first_bias, rows, self.first[:n])
        for tower in (0, 1):
            last = self._part(self.first, tower, n)
            for layer, found in zip(self.linears[tower][1:], self.hidden[tower], strict=True):
                _layer(layer.weight.data, layer.bias.data, last, found[:n])
                last = found[:n]
            head, out = self.heads[tower], (self.outputs, self.values)[tower][:n]
            torch.addmm(head.bias.data, last, head.weight.data.t(), out=out)
        return self.outputs[:n], self.values[:n, 0]

    def _part(self, both: torch.Tensor, tower: int, n: int) -> torch.Tensor:
        return both[:n, self.split :] if tower else both[:n, : self.split]

    def backward(self) -> None:
        """Write the gradients from by_outputs and by_values, of the rows of the last forward pass."""
        n = len(self.rows)
        for tower in (0, 1):
            self._back_through(tower, n)
        by_first = self.by_first[:n]
        _tanh_slope(by_first, self.first[:n])
        torch.mm(by_first.t(), self.rows, out=self.by_first_weight)
        torch.sum(by_first, 0, out=self.by_first_bias)

    def _back_through(self, tower: int, n: int) -> None:
        layers = [*self.linears[tower][1:], self.heads[tower]]
        inputs = [self._part(self.first, tower, n), *(found[:n] for found in self.hidden[tower])]
        slopes = [self._part(self.by_first, tower, n), *(found[:n] for found in self.by_hidden[tower])]
        after = (self.by_outputs, self.by_values)[tower][:n]
        for number in range(len(layers) - 1, -1, -1):
            layer = layers[number]
            torch.mm(after.t(), inputs[number], out=layer.weight.grad)
            torch.sum(after, 0, out=layer.bias.grad)
            torch.mm(after, layer.weight.data, out=slopes[number])
            if number:
                _tanh_slope(slopes[number], inputs[number])
                after = slopes[number]


def _layer(weight: torch.Tensor, bias: torch.Tensor, rows: torch.Tensor, out: torch.Tensor) -> None:
    torch.addmm(bias, rows, weight.t(), out=out)
    kernels.tanh(out.numpy().reshape(-1))


def _tanh_slope(slope: torch.Tensor, found: torch.Tensor) -> None:
    torch.ops.aten.tanh_backward.grad_input(slope, found, grad_input=slope)
