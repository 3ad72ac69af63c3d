"""One minibatch of PPO: what the network answers, and the gradients of the loss. Written out, or by autograd. Pure."""

from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
import torch
from torch import Tensor

from agents.learners import ppo_kernels as kernels
from agents.learners.dense import DenseNetwork, in_order, plain_layers
from agents.learners.fast_step import Layers
from agents.learners.flat import FlatParameters
from agents.runs.backends import Precision


@dataclass(frozen=True, eq=False)
class Batch:
    """Rows to learn from, float32; advantages may be overwritten."""

    observations: np.ndarray  # (B, n)
    actions: np.ndarray  # (B, I): choice numbers, or target positions before they are limited
    log_probs: np.ndarray  # (B,) of these actions when they were drawn
    advantages: np.ndarray  # (B,)
    returns: np.ndarray  # (B,)


@dataclass(frozen=True)
class Loss:
    """What the loss is made of: clip range, and the weights of entropy and value loss."""

    clip: float
    entropy: float
    value: float

    def as_array(self) -> np.ndarray:
        """float32 (3,), as the kernels read it."""
        return np.array([self.clip, self.entropy, self.value], dtype=np.float32)


def plain_towers(policy: Any) -> list[Layers] | None:
    """Layers of policy and value of a Stable-Baselines3 ActorCriticPolicy; None where PlainUpdate does not fit."""
    extractor = getattr(policy, "mlp_extractor", None)
    if extractor is None or str(policy.device) != "cpu" or any(True for _ in policy.features_extractor.parameters()):
        return None
    layers = plain_layers(extractor.policy_net), plain_layers(extractor.value_net)
    if layers[0] is None or layers[1] is None or policy.activation_fn not in (torch.nn.ReLU, torch.nn.Tanh):
        return None
    return [[*layers[0], [policy.action_net]], [*layers[1], [policy.value_net]]]


class Update(Protocol):
    """Answers and learns with one network."""

    def outputs(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Logits or means (B, K) and values (B,) of observations (B, n)."""

    def gradients(self, batch: Batch, loss: Loss) -> np.ndarray:
        """Leave the loss's gradients at the parameters. Returns: (N_SUMS,) means over the batch."""

    def step(self, most_norm: float) -> None:
        """Clip the gradients' norm and let the optimiser act."""


class PlainUpdate:
    """For plain dense networks on the processor, by hand: autograd takes two to three times as long.

    towers: the layers of policy and value, see plain_towers. A test holds the gradients against autograd's.
    """

    def __init__(self, policy: Any, towers: list[Layers], n_choices: int) -> None:
        self.policy, self.n_choices = policy, n_choices
        deviations = [] if n_choices else [policy.log_std]
        self.flat = FlatParameters([*in_order(towers), *deviations])
        relu = issubclass(policy.activation_fn, torch.nn.ReLU)
        self.policy_tower, self.value_tower = (DenseNetwork(layers, self.flat, relu=relu) for layers in towers)
        defaults = policy.optimizer.defaults
        policy.optimizer = self.flat.adam(defaults["lr"], defaults["eps"])

    def outputs(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Update."""
        found = torch.from_numpy(rows)
        logits, values = self.policy_tower.forward(found)[-1], self.value_tower.forward(found)[-1]
        return logits.numpy(), values.numpy()[:, 0]

    def gradients(self, batch: Batch, loss: Loss) -> np.ndarray:
        """See Update."""
        observations, sums = torch.from_numpy(batch.observations), np.zeros(kernels.N_SUMS)
        # One tower after the other, so that what is calculated stays near the processor.
        self._value_gradients(observations, batch, loss.as_array(), sums)
        self._policy_gradients(observations, batch, loss.as_array(), sums)
        return sums / len(batch.returns)

    def _value_gradients(self, observations: Tensor, batch: Batch, loss: np.ndarray, sums: np.ndarray) -> None:
        passed = self.value_tower.forward(observations)
        slopes = torch.empty_like(passed[-1])
        kernels.value_losses(passed[-1].view(-1).numpy(), batch.returns, loss, slopes.view(-1).numpy(), sums)
        self.value_tower.backward(passed, slopes)

    def _policy_gradients(self, observations: Tensor, batch: Batch, loss: np.ndarray, sums: np.ndarray) -> None:
        passed = self.policy_tower.forward(observations)
        slopes = torch.empty_like(passed[-1])
        rows = (passed[-1].numpy(), batch.actions, batch.log_probs, batch.advantages)
        if self.n_choices:
            kernels.choice_losses(*rows, self.n_choices, loss, slopes.numpy(), sums)
        else:
            deviations = self.policy.log_std
            kernels.gaussian_losses(*rows, deviations.data.numpy(), loss, slopes.numpy(), deviations.grad.numpy(), sums)
        self.policy_tower.backward(passed, slopes)

    def step(self, most_norm: float) -> None:
        """See Update."""
        self.flat.clip(most_norm)
        self.policy.optimizer.step()


class TorchUpdate:
    """For every network Stable-Baselines3 can hold, on any device, by autograd."""

    def __init__(self, policy: Any, n_choices: int, precision: Precision) -> None:
        self.policy, self.n_choices, self.precision = policy, n_choices, precision
        self.scaler = precision.scaler()
        self.parameters = [parameter for parameter in policy.parameters() if parameter.requires_grad]

    def outputs(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """See Update."""
        with torch.inference_mode(), self.precision.autocast():
            logits, values = self._forward(self._tensor(rows))
        return logits.float().cpu().numpy(), values.float().cpu().numpy()

    def _forward(self, rows: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        features = self.policy.extract_features(rows)
        if self.policy.share_features_extractor:
            for_policy, for_value = self.policy.mlp_extractor(features)
        else:
            for_policy = self.policy.mlp_extractor.forward_actor(features[0])
            for_value = self.policy.mlp_extractor.forward_critic(features[1])
        return self.policy.action_net(for_policy), self.policy.value_net(for_value).squeeze(-1)

    def _tensor(self, array: np.ndarray) -> torch.Tensor:
        return torch.from_numpy(array).to(self.policy.device)

    def gradients(self, batch: Batch, loss: Loss) -> np.ndarray:
        """See Update."""
        actions, old = self._tensor(batch.actions), self._tensor(batch.log_probs)
        advantages, returns = self._tensor(batch.advantages), self._tensor(batch.returns)
        with self.precision.autocast():
            logits, values = self._forward(self._tensor(batch.observations))
        # Ratios and squares in float32: a 16-bit log probability is too coarse for a clip range of 0.2.
        log_probs, entropy = self._distribution(logits.float(), actions)
        ratio = torch.exp(log_probs - old)
        limited = torch.clamp(ratio, 1.0 - loss.clip, 1.0 + loss.clip)
        policy_loss = -torch.min(advantages * ratio, advantages * limited).mean()
        value_loss = torch.nn.functional.mse_loss(values.float(), returns)
        total = policy_loss - loss.entropy * entropy.mean() + loss.value * value_loss
        for parameter in self.parameters:
            parameter.grad = None
        self.scaler.scale(total).backward()
        with torch.no_grad():
            divergence = (ratio - 1.0 - (log_probs - old)).mean()
            clipped = ((ratio - 1.0).abs() > loss.clip).float().mean()
            told = torch.stack([policy_loss, value_loss, entropy.mean(), divergence, clipped])
        return told.cpu().double().numpy()

    def _distribution(self, outputs: torch.Tensor, actions: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Log probabilities of the actions (B,) and entropies (B,)."""
        if self.n_choices:
            shares = torch.log_softmax(outputs.view(*actions.shape, self.n_choices), dim=-1)
            taken = shares.gather(-1, actions.long().unsqueeze(-1)).squeeze(-1)
            return taken.sum(-1), -(shares.exp() * shares).sum((-1, -2))
        normal = torch.distributions.Normal(outputs, self.policy.log_std.exp(), validate_args=False)
        return normal.log_prob(actions).sum(-1), normal.entropy().sum(-1)

    def step(self, most_norm: float) -> None:
        """See Update."""
        optimiser = self.policy.optimizer
        self.scaler.unscale_(optimiser)
        torch.nn.utils.clip_grad_norm_(self.parameters, most_norm)
        self.scaler.step(optimiser)
        self.scaler.update()
