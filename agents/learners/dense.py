"""Dense networks with forward and backward pass written by hand, over one flat vector of parameters.

Autograd's own cost is a third of a gradient step on one processor core, and torch's usual matrix multiplication uses
half of what some processors can do. Here the larger products go through oneDNN, which picks its instructions by what
the processor can do, and bias and ReLU ride along. A test holds both passes against autograd.
"""

from collections.abc import Iterable, Sequence
from typing import Any

import torch
from torch import Tensor, nn

from agents.learners.flat import FlatParameters
from agents.learners.vector_math import tanh

# Below this many multiplications oneDNN's own preparation costs more than it saves; where it must turn both sides
# around first, as for the weights' gradients, below LARGER.
LARGE, LARGER = 1 << 20, 1 << 22
_HAS_ONEDNN = torch.backends.mkldnn.is_available() and hasattr(torch.ops.mkldnn, "_linear_pointwise")


def linear(x: Tensor, weight: Tensor, bias: Tensor | None = None, *, relu: bool = False) -> Tensor:
    """x (B, K) times weight (N, K) transposed, plus bias (N,), with ReLU if wanted. Returns: (B, N), no gradient."""
    if _HAS_ONEDNN and x.shape[0] * weight.numel() >= LARGE:
        return torch.ops.mkldnn._linear_pointwise(x, weight, bias, "relu" if relu else "none", [], "")
    found = torch.mm(x, weight.t()) if bias is None else torch.addmm(bias, x, weight.t())
    return found.relu_() if relu else found


class DenseNetwork:
    """Linear layers with one activation between them; the last layer may be several heads side by side.

    layers: each a group of one or more nn.Linear with the same input, whose outputs are put side by side; only the
    last may have more than one. flat: holds their parameters, a group's weights and biases next to each other.
    """

    def __init__(self, layers: Sequence[Sequence[nn.Linear]], flat: FlatParameters, *, relu: bool) -> None:
        self.relu = relu
        weights, biases = ([[getattr(part, name) for part in group] for group in layers] for name in ("weight", "bias"))
        self.weights, self.biases = ([_joined(group, flat.flat) for group in groups] for groups in (weights, biases))
        self.weight_gradients = [_joined(group, flat.gradient) for group in weights]
        self.bias_gradients = [_joined(group, flat.gradient) for group in biases]

    def forward(self, x: Tensor) -> list[Tensor]:
        """Returns: the input (B, K), what each hidden layer gives after its activation, and the output (B, N)."""
        passed = [x]
        for weight, bias in zip(self.weights[:-1], self.biases[:-1], strict=True):
            passed.append(linear(passed[-1], weight, bias, relu=self.relu))
            if not self.relu:
                tanh(passed[-1].view(-1).numpy())
        passed.append(linear(passed[-1], self.weights[-1], self.biases[-1]))
        return passed

    def backward(self, passed: Sequence[Tensor], gradient: Tensor) -> None:
        """Write the parameters' gradients into the flat vector.

        passed: of forward; gradient: of the loss by the output, (B, N).
        """
        for number in range(len(self.weights) - 1, -1, -1):
            before = passed[number]
            _weight_gradient(gradient, before, self.weight_gradients[number])
            torch.sum(gradient, 0, out=self.bias_gradients[number])
            if number:
                gradient = self._back_through(number, gradient, before)

    def input_gradient(self, passed: Sequence[Tensor], gradient: Tensor, first: int) -> Tensor:
        """Gradient of the loss by the input's columns from `first` on, (B, K - first); parameters get none."""
        for number in range(len(self.weights) - 1, 0, -1):
            gradient = self._back_through(number, gradient, passed[number])
        return torch.mm(gradient, self.weights[0][:, first:])

    def _back_through(self, number: int, gradient: Tensor, before: Tensor) -> Tensor:
        gradient = linear(gradient, self.weights[number].t())
        if self.relu:
            return torch.ops.aten.threshold_backward.grad_input(gradient, before, 0.0, grad_input=gradient)
        return torch.ops.aten.tanh_backward.grad_input(gradient, before, grad_input=gradient)


def _weight_gradient(gradient: Tensor, before: Tensor, out: Tensor) -> None:
    """gradient (B, N) transposed times before (B, K), into out (N, K)."""
    if len(gradient) * out.numel() >= LARGER:
        out.copy_(linear(gradient.t(), before.t()))
    elif out.shape[1] < out.shape[0]:
        # The usual multiplication is many times slower for few columns than for few rows.
        out.copy_(torch.mm(before.t(), gradient).t())
    else:
        torch.mm(gradient.t(), before, out=out)


def in_order(networks: Iterable[Sequence[Sequence[nn.Linear]]]) -> list[nn.Parameter]:
    """The parameters of networks in the order that DenseNetwork needs: a group's weights, then its biases."""
    found: list[Any] = []
    for layers in networks:
        for group in layers:
            found += [layer.weight for layer in group]
            found += [layer.bias for layer in group]
    return found


def _joined(members: Sequence[nn.Parameter], vector: Tensor) -> Tensor:
    """One view over members that lie next to each other in the vector."""
    first, n = members[0].storage_offset(), sum(member.numel() for member in members)
    if members[-1].storage_offset() + members[-1].numel() != first + n:
        raise ValueError("parameters of one layer must lie next to each other: order them with in_order")
    return vector[first : first + n].view(-1, *members[0].shape[1:])


def plain_layers(module: Any) -> list[list[nn.Linear]] | None:
    """The linear layers of an nn.Sequential, one to a group; None if it is more than them and one activation."""
    parts = list(module)
    layers = [[part] for part in parts if isinstance(part, nn.Linear)]
    others = {type(part) for part in parts if not isinstance(part, nn.Linear)}
    return layers if layers and len(others) <= 1 and others <= {nn.ReLU, nn.Tanh} else None
