"""What the gradient steps written by hand have in common."""

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from stable_baselines3.common.torch_layers import FlattenExtractor
from torch import Tensor, nn

from agents.learners.dense import DenseNetwork
from agents.learners.flat import FlatParameters

Layers = list[list[nn.Linear]]  # of one network, see DenseNetwork


def is_plain(model: Any, *networks: Any) -> bool:
    """Whether the networks read the observation as it is, on the processor, with Adam and ReLU or tanh."""
    return (
        model.device.type == "cpu"
        and model.policy.optimizer_class is torch.optim.Adam
        and len(model.observation_space.shape or ()) == 1
        and all(type(network.features_extractor) is FlattenExtractor for network in networks)
        and model.policy.activation_fn in (nn.ReLU, nn.Tanh)
    )


def fused_adam(flat: FlatParameters, like: torch.optim.Optimizer) -> torch.optim.Adam:
    """Adam over the flat vector in one call, with the rate and epsilon of another."""
    group = like.param_groups[0]
    return flat.adam(group["lr"], group["eps"])


def smallest_value(networks: Sequence[DenseNetwork], inputs: Tensor) -> Tensor:
    """The smallest of the networks' values, (B, 1)."""
    return torch.cat([network.forward(inputs)[-1] for network in networks], 1).min(1, keepdim=True).values


def means(rows: list[dict[str, float]]) -> dict[str, float]:
    """Mean of every name over the rows that have it."""
    names = {name for row in rows for name in row}
    return {name: float(np.mean([row[name] for row in rows if name in row])) for name in sorted(names)}
