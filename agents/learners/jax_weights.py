"""An sbx policy's weights under the names and in the shapes of our own network in torch. Pure."""

from typing import Any

import numpy as np
import torch

from agents.networks.sb3 import Weights
from agents.networks.spec import GAUSSIAN, GAUSSIAN_CLIPPED, HeadSpec, NetworkSpec, Q


def weights_of(policy: Any, network: NetworkSpec, head: HeadSpec) -> Weights:
    """The deciding part, copied as float32: of PPO (logits, gaussian_clipped), SAC (gaussian) or DQN (q).

    flax numbers its layers in the order they are called, Dense_0 first, and keeps a layer's kernel as (inputs,
    outputs) where torch keeps its weight as (outputs, inputs).
    """
    found: Weights = {}
    layers = (policy.qf_state if head.kind == Q else policy.actor_state).params["params"]
    names = [f"body.{number}" for number in range(len(network.hidden))] + ["head"]
    for number, name in enumerate([*names, "deviation_head"] if head.kind == GAUSSIAN else names):
        dense = layers[f"Dense_{number}"]
        found[f"{name}.weight"] = _tensor(dense["kernel"]).T.contiguous()
        found[f"{name}.bias"] = _tensor(dense["bias"])
    if head.kind == GAUSSIAN_CLIPPED:
        found["log_deviation"] = _tensor(layers["log_std"])
    return found


def _tensor(array: Any) -> torch.Tensor:
    return torch.from_numpy(np.array(array, dtype=np.float32))
