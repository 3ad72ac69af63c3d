"""All parameters of a network in one piece of memory, so that clipping and Adam are a handful of calls. Pure."""

from collections.abc import Iterable

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
        return torch.optim.Adam([self.parameter], lr=learning_rate, eps=epsilon, fused=True)

    def clip(self, most: float) -> None:
        """Shorten the gradient to a norm of at most `most`, as torch.nn.utils.clip_grad_norm_ does."""
        norm = torch.linalg.vector_norm(self.gradient)
        self.gradient.mul_(torch.clamp(most / (norm + CLIP_EPSILON), max=1.0))
