"""All parameters of a network in one piece of memory, so that clipping and Adam are a handful of calls. Pure."""

from collections.abc import Iterable
from typing import Any

import torch

# A norm of exactly 0 must not divide; the figure is torch.nn.utils.clip_grad_norm_'s own.
CLIP_EPSILON = 1e-6


class FlatParameters:
    """Moves parameters and their gradients into two flat tensors; the network's own tensors become views of them.

    ordered: the parameters in the order they shall lie in memory, all of one device and float32.
    """

    def __init__(self, ordered: Iterable[torch.nn.Parameter]) -> None:
        parameters = list(ordered)
        flat = torch.cat([parameter.detach().reshape(-1) for parameter in parameters])
        self.parameter = torch.nn.Parameter(flat)
        self.gradient = torch.zeros_like(flat)
        self.parameter.grad = self.gradient
        start = 0
        for parameter in parameters:
            part = slice(start, start + parameter.numel())
            parameter.data = flat[part].view_as(parameter)
            parameter.grad = self.gradient[part].view_as(parameter)
            start += parameter.numel()
        self.flat = flat

    def adam(self, learning_rate: float, epsilon: float) -> torch.optim.Adam:
        """Adam over everything at once; the same formula as parameter by parameter."""
        return FlatAdam([self.parameter], lr=learning_rate, eps=epsilon, fused=True)

    def clip(self, most: float) -> None:
        """Shorten the gradient to a norm of at most `most`, as torch.nn.utils.clip_grad_norm_ does."""
        norm = torch.linalg.vector_norm(self.gradient)
        self.gradient.mul_(torch.clamp(most / (norm + CLIP_EPSILON), max=1.0))


class FlatAdam(torch.optim.Adam):
    """torch's fused Adam for one parameter: the same numbers and state, without the search for what is to be done.

    That search takes longer than the step of a small network.
    """

    def step(self, closure: Any = None) -> None:  # type: ignore[override]  # narrower on purpose
        """As Adam.step. Raises: ValueError for a closure, which nothing here has."""
        if closure is not None:
            raise ValueError("a closure arrived, expected none: calculate the gradient before the step")
        group = self.param_groups[0]
        parameter = group["params"][0]
        if not (state := self.state[parameter]):
            state["step"] = torch.zeros((), device=parameter.device)
            state["exp_avg"], state["exp_avg_sq"] = torch.zeros_like(parameter.data), torch.zeros_like(parameter.data)
        state["step"] += 1
        beta1, beta2 = group["betas"]
        torch._fused_adam_(
            [parameter.data], [parameter.grad], [state["exp_avg"]], [state["exp_avg_sq"]], [], [state["step"]],
            lr=group["lr"], beta1=beta1, beta2=beta2, weight_decay=0.0, eps=group["eps"], amsgrad=False, maximize=False,
        )  # fmt: skip
