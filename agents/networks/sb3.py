"""Between our networks and Stable-Baselines3: policy_kwargs that build a network there, and its weights taken out."""

from typing import Any, cast

import gymnasium
import torch
from stable_baselines3.common.torch_layers import BaseFeaturesExtractor

from agents.networks.encoders import ACTIVATIONS, make_encoder
from agents.networks.spec import (
    DETERMINISTIC,
    DUELING,
    GAUSSIAN,
    GAUSSIAN_CLIPPED,
    LOGITS,
    MLP,
    QUANTILES,
    RECURRENT,
    HeadSpec,
    NetworkSpec,
)

Weights = dict[str, torch.Tensor]


class EncoderExtractor(BaseFeaturesExtractor):
    """An encoder over the window as Stable-Baselines3's features extractor."""

    def __init__(
        self, observation_space: gymnasium.Space[Any], network: NetworkSpec, n_features: int, n_own: int
    ) -> None:
        encoder = make_encoder(network, n_features, n_own)
        super().__init__(observation_space, cast(int, encoder.n_outputs))
        self.encoder = encoder

    def forward(self, observations: torch.Tensor) -> torch.Tensor:
        """(B, window * n_features + n_own) -> (B, features_dim)."""
        return cast(torch.Tensor, self.encoder(observations))


def policy_kwargs(network: NetworkSpec, n_features: int, n_own: int) -> dict[str, Any]:
    """What a Stable-Baselines3 learner is given as policy_kwargs to learn this network.

    Actor and critic have a body each. The encoder over the window is shared where Stable-Baselines3 shares features
    extractors by itself (PPO, A2C) and is each one's own where it does not (SAC, TD3). recurrent is for RecurrentPPO.
    """
    arguments: dict[str, Any] = {
        "net_arch": list(network.hidden),
        "activation_fn": ACTIVATIONS[network.activation],
    }
    if network.kind == RECURRENT:
        return arguments | {
            "lstm_hidden_size": network.options["size"],
            "n_lstm_layers": network.options["layers"],
        }
    if network.kind != MLP:
        arguments["features_extractor_class"] = EncoderExtractor
        arguments["features_extractor_kwargs"] = {"network": network, "n_features": n_features, "n_own": n_own}
    return arguments


def weights_of(policy: torch.nn.Module, network: NetworkSpec, head: HeadSpec) -> Weights:
    """The deciding part of a learner's policy under the names of ServedNetwork, copied to the CPU as float32.

    policy: of PPO, A2C, MaskablePPO, RecurrentPPO (logits, gaussian_clipped), SAC (gaussian), TD3 (deterministic), DQN
    (q) or QRDQN (quantiles). Raises: ValueError for a head those do not have.
    """
    part: Any = policy
    if head.kind in (LOGITS, GAUSSIAN_CLIPPED):
        found = _stack(part.mlp_extractor.policy_net) | _linear("head", part.action_net)
        extractor = part.pi_features_extractor
        if head.kind == GAUSSIAN_CLIPPED:
            found["log_deviation"] = part.log_std
    elif head.kind == GAUSSIAN:
        found = _stack(part.actor.latent_pi) | _linear("head", part.actor.mu)
        found |= _linear("deviation_head", part.actor.log_std)
        extractor = part.actor.features_extractor
    elif head.kind == DETERMINISTIC:
        found, extractor = _stack(part.actor.mu, has_head=True), part.actor.features_extractor
    elif head.kind == DUELING:
        raise ValueError("no Stable-Baselines3 policy has a dueling head; take the weights from its own learner")
    else:
        values = part.quantile_net if head.kind == QUANTILES else part.q_net
        stack = values.quantile_net if head.kind == QUANTILES else values.q_net
        found, extractor = _stack(stack, has_head=True), values.features_extractor
    if network.kind == RECURRENT:
        found |= _all("encoder.lstm", part.lstm_actor)
    elif network.kind != MLP:
        found |= _all("encoder", extractor.encoder)
    return {name: tensor.detach().to("cpu", torch.float32).clone() for name, tensor in found.items()}


def _stack(layers: torch.nn.Sequential, *, has_head: bool = False) -> Weights:
    """Linear layers of a sequence as body.0, body.1, ..., the last one as head if it has one."""
    linears = [layer for layer in layers if isinstance(layer, torch.nn.Linear)]
    found = _linear("head", linears.pop()) if has_head else {}
    for number, layer in enumerate(linears):
        found |= _linear(f"body.{number}", layer)
    return found


def _linear(name: str, layer: torch.nn.Linear) -> Weights:
    return {f"{name}.weight": layer.weight, f"{name}.bias": layer.bias}


def _all(name: str, module: torch.nn.Module) -> Weights:
    return {f"{name}.{part}": parameter for part, parameter in module.named_parameters()}
