"""16-bit arithmetic for the large part of a learner's network, whichever library's `train` uses it. Pure.

What reads the window or remembers (LSTM, convolutions, attention) is where the time goes and is calculated in 16 bits.
Body, heads, log probabilities and losses stay float32, and so do weights, gradients and optimisers.
"""

from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn

from agents.networks.sb3 import EncoderExtractor
from agents.runs.backends import Precision

# float16 loses what is below 6e-8; within the large part gradients are larger by this. bfloat16 needs no such help.
# It is torch's GradScaler for one part of a network, of a fixed scale, so that there is no state to be kept.
GRADIENT_SCALE = 1_024.0


def calculate_in(policy: nn.Module, precision: Precision) -> None:
    """Let every large part of a policy calculate in the precision from now on; float32 changes nothing."""
    if precision.dtype is None:
        return
    scale = GRADIENT_SCALE if precision.dtype is torch.float16 else 1.0
    for part in large_parts(policy):
        part.forward = _within(part.forward, precision, scale)  # type: ignore[method-assign]
        if scale != 1.0:
            for parameter in part.parameters():
                parameter.register_hook(lambda gradient: _finite(gradient / scale))


def large_parts(policy: nn.Module) -> list[nn.Module]:
    """Encoders over a window, target networks' too; else the LSTMs that remember from bar to bar."""
    encoders: list[nn.Module] = [part for part in policy.modules() if isinstance(part, EncoderExtractor)]
    return encoders or [part for part in policy.modules() if isinstance(part, nn.LSTM)]


def _within(forward: Callable[..., Any], precision: Precision, scale: float) -> Callable[..., Any]:
    """The same in another precision: float32 tensors go in and come out."""

    def run(*given: Any) -> Any:
        with precision.autocast():
            found = forward(*_each(given, lambda tensor: _Scaled.apply(tensor, 1.0 / scale)))
        return _each(found, lambda tensor: _Scaled.apply(tensor.float(), scale))

    return run


def _each(value: Any, change: Callable[[Tensor], Any]) -> Any:
    """Every tensor of a tensor or of nested tuples."""
    return change(value) if isinstance(value, Tensor) else tuple(_each(part, change) for part in value)


def _finite(gradient: Tensor) -> Tensor:
    """A gradient too large for float16 moves nothing, as a GradScaler leaves its step out."""
    return torch.nan_to_num(gradient, nan=0.0, posinf=0.0, neginf=0.0)


class _Scaled(torch.autograd.Function):
    """A tensor as it is, whose gradient is multiplied."""

    @staticmethod
    def forward(context: Any, tensor: Tensor, scale: float) -> Tensor:
        context.scale = scale
        return tensor.view_as(tensor)

    @staticmethod
    def backward(context: Any, *gradients: Tensor) -> tuple[Tensor, None]:
        return gradients[0] * context.scale, None
