"""A Q network in two parts: how good it is to be here, and how much better than average each action is.

Source: Wang and others, "Dueling Network Architectures for Deep Reinforcement Learning", ICML 2016, equation 9.
"""

from typing import Any

import torch
from stable_baselines3.common.torch_layers import create_mlp
from stable_baselines3.common.type_aliases import PyTorchObs
from stable_baselines3.dqn.policies import DQNPolicy, QNetwork
from torch import Tensor, nn

from agents.networks.sb3 import Weights
from agents.networks.spec import MLP, HeadSpec, NetworkSpec


def combined(value: Tensor, advantages: Tensor) -> Tensor:
    """Q values (B, n) of a value (B, 1) and advantages (B, n); only their distance from the mean counts."""
    return value + advantages - advantages.mean(1, keepdim=True)


class DuelingQNetwork(QNetwork):
    """Stable-Baselines3's Q network with `body`, `value_head` and `head` (advantages)."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        del self.q_net
        assert self.net_arch is not None
        self.body = nn.Sequential(*create_mlp(self.features_dim, -1, self.net_arch, self.activation_fn))
        n_hidden = self.net_arch[-1] if self.net_arch else self.features_dim
        self.value_head, self.head = nn.Linear(n_hidden, 1), nn.Linear(n_hidden, int(self.action_space.n))

    def forward(self, obs: PyTorchObs) -> Tensor:
        """Q values (B, n)."""
        hidden = self.body(self.extract_features(obs, self.features_extractor))
        return combined(self.value_head(hidden), self.head(hidden))


class DuelingPolicy(DQNPolicy):
    """DQN's policy with dueling networks."""

    def make_q_net(self) -> DuelingQNetwork:
        """A network with a features extractor of its own."""
        return DuelingQNetwork(**self._update_features_extractor(self.net_args, features_extractor=None)).to(
            self.device
        )


def joined_gradient(by_q: Tensor) -> Tensor:
    """Gradient by (value, advantages), (B, 1 + n), from that by the Q values, (B, n)."""
    whole = by_q.sum(1, keepdim=True)
    return torch.cat([whole, by_q - whole / by_q.shape[1]], 1)


def dueling_weights(policy: Any, network: NetworkSpec, head: HeadSpec) -> Weights:
    """The learned network under the names of ServedNetwork, copied to the processor as float32."""
    found: Weights = {}
    net: DuelingQNetwork = policy.q_net
    linears = [layer for layer in net.body if isinstance(layer, nn.Linear)]
    named = {f"body.{number}": layer for number, layer in enumerate(linears)}
    for name, layer in (named | {"head": net.head, "value_head": net.value_head}).items():
        found |= {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}
    if network.kind != MLP:
        encoder: Any = net.features_extractor.encoder
        found |= {f"encoder.{name}": parameter for name, parameter in encoder.named_parameters()}
    return {name: tensor.detach().to("cpu", torch.float32).clone() for name, tensor in found.items()}
