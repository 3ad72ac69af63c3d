"""Stable-Baselines3's SAC with its gradient step written by hand: the same numbers, several times as fast.

What is saved: autograd's own work, gradients nobody uses (SB3 also carries the actor's loss into the critics'
weights), one call for all parameters of an optimiser or target network, one pass of the actor for both observations.
Networks that are not plain dense ones, and other devices than the processor, go through SB3's own step.
"""

import math
from typing import Any

import torch
from stable_baselines3 import SAC
from stable_baselines3.sac.policies import LOG_STD_MAX, LOG_STD_MIN
from torch import Tensor, nn

from agents.learners.dense import DenseNetwork, in_order, plain_layers
from agents.learners.fast_step import Layers, fused_adam, is_plain, means, smallest_value
from agents.learners.flat import FlatParameters

EPSILON = 1e-6  # keeps the logarithm finite where the action is at its limit, as in SB3
LOG_SQRT_2PI = 0.5 * math.log(2.0 * math.pi)


class FastSAC(SAC):
    """SAC whose `train` is written by hand where the networks allow it; `is_fast` says whether they do."""

    def _setup_model(self) -> None:
        super()._setup_model()
        layers = _layers(self)
        self.is_fast = layers is not None
        if layers is not None:
            self._flatten(*layers)

    def _flatten(self, actor: Layers, critics: list[Layers], targets: list[Layers], relu: bool) -> None:
        self.flat_actor = FlatParameters(in_order([actor]))
        self.flat_critic = FlatParameters(in_order(critics))
        self.flat_target = FlatParameters(in_order(targets))
        self.dense_actor = DenseNetwork(actor, self.flat_actor, relu=relu)
        self.dense_critics = [DenseNetwork(layers, self.flat_critic, relu=relu) for layers in critics]
        self.dense_targets = [DenseNetwork(layers, self.flat_target, relu=relu) for layers in targets]
        self.actor.optimizer = fused_adam(self.flat_actor, self.actor.optimizer)
        self.critic.optimizer = fused_adam(self.flat_critic, self.critic.optimizer)

    def train(self, gradient_steps: int, batch_size: int = 64) -> None:
        """As SAC.train."""
        if not self.is_fast:
            super().train(gradient_steps, batch_size)
            return
        optimizers = [self.actor.optimizer, self.critic.optimizer]
        if self.ent_coef_optimizer is not None:
            optimizers.append(self.ent_coef_optimizer)
        self._update_learning_rate(optimizers)
        losses: list[dict[str, float]] = []
        with torch.no_grad():
            for step in range(gradient_steps):
                losses.append(self._gradient_step(batch_size))
                if step % self.target_update_interval == 0:
                    self.flat_target.flat.lerp_(self.flat_critic.flat, self.tau)
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for name, value in means(losses).items():
            self.logger.record(f"train/{name}", value)

    def _gradient_step(self, batch_size: int) -> dict[str, float]:
        """One step of critics and actor, in SB3's order: the actor's loss sees the critics already improved."""
        assert self.replay_buffer is not None
        data = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
        discounts = self.gamma if data.discounts is None else data.discounts
        draw = _Draw(self.dense_actor, data.observations, data.next_observations)
        now, after = slice(0, batch_size), slice(batch_size, None)
        losses = {"ent_coef": self._entropy_coefficient()}
        coefficient = losses["ent_coef"]
        losses |= self._entropy_step(draw.log_prob[now])

        future = smallest_value(self.dense_targets, torch.cat([data.next_observations, draw.actions[after]], 1))
        future = future - coefficient * draw.log_prob[after]
        wanted = data.rewards + (1.0 - data.dones) * discounts * future
        losses["critic_loss"] = self._critic_step(torch.cat([data.observations, data.actions], 1), wanted)
        losses["actor_loss"] = self._actor_step(data.observations, draw, coefficient)
        return losses

    def _entropy_coefficient(self) -> float:
        return self.ent_coef_tensor.item() if self.log_ent_coef is None else self.log_ent_coef.exp().item()

    def _entropy_step(self, log_prob: Tensor) -> dict[str, float]:
        if self.ent_coef_optimizer is None or self.log_ent_coef is None:
            return {}
        # The loss is -log(coefficient) * (log_prob + wanted entropy), so this is also its gradient, up to the sign.
        surplus = -(log_prob.mean() + float(self.target_entropy))
        loss = (self.log_ent_coef * surplus).item()
        self.log_ent_coef.grad = surplus.reshape(1)
        self.ent_coef_optimizer.step()
        return {"ent_coef_loss": loss}

    def _critic_step(self, inputs: Tensor, wanted: Tensor) -> float:
        loss = 0.0
        for critic in self.dense_critics:
            passed = critic.forward(inputs)
            error = passed[-1] - wanted
            loss += 0.5 * (error * error).mean().item()
            critic.backward(passed, error.div_(len(inputs)))
        self.critic.optimizer.step()
        return loss

    def _actor_step(self, observations: Tensor, draw: "_Draw", coefficient: float) -> float:
        n, n_inputs = observations.shape
        inputs = torch.cat([observations, draw.actions[:n]], 1)
        passes = [critic.forward(inputs) for critic in self.dense_critics]
        smallest, which = torch.cat([passed[-1] for passed in passes], 1).min(1, keepdim=True)
        by_action = torch.zeros_like(draw.actions[:n])
        for number, (critic, passed) in enumerate(zip(self.dense_critics, passes, strict=True)):
            share = (which == number).float().div_(n)
            by_action += critic.input_gradient(passed, share, n_inputs)
        self.dense_actor.backward(*draw.gradient(n, by_action, coefficient))
        self.actor.optimizer.step()
        return (coefficient * draw.log_prob[:n] - smallest).mean().item()


class _Draw:
    """Actions drawn for two batches of observations in one pass: (2B, A), with their log probabilities (2B, 1)."""

    def __init__(self, actor: DenseNetwork, observations: Tensor, next_observations: Tensor) -> None:
        self.passed = actor.forward(torch.cat([observations, next_observations]))
        mean, self.raw = self.passed[-1].chunk(2, 1)
        log_deviation = self.raw.clamp(LOG_STD_MIN, LOG_STD_MAX)
        self.deviation = log_deviation.exp()
        # Two draws, so that SB3's step with the same generator draws the same numbers.
        n = len(observations)
        self.noise = torch.cat([torch.normal(torch.zeros_like(part), 1.0) for part in (mean[:n], mean[n:])])
        self.actions = torch.tanh(mean + self.deviation * self.noise)
        self.slack = 1.0 - self.actions * self.actions
        log_prob = -0.5 * self.noise * self.noise - log_deviation - LOG_SQRT_2PI - torch.log(self.slack + EPSILON)
        self.log_prob = log_prob.sum(1, keepdim=True)

    def gradient(self, n: int, by_action: Tensor, coefficient: float) -> tuple[list[Tensor], Tensor]:
        """What the actor's backward pass needs of the first n rows.

        The loss is mean(coefficient * log_prob - q); by_action: q's mean by the action, (n, A).
        With u = mean + deviation * noise, a = tanh(u): log_prob falls with log(deviation) by 1 and with
        log(1 - a^2 + epsilon); da/du = 1 - a^2.
        """
        actions, slack, deviation, raw = (part[:n] for part in (self.actions, self.slack, self.deviation, self.raw))
        share = coefficient / n
        by_u = (share * 2.0 * actions / (slack + EPSILON) - by_action) * slack
        by_log_deviation = by_u * deviation * self.noise[:n] - share
        inside = (raw >= LOG_STD_MIN) & (raw <= LOG_STD_MAX)
        return [part[:n] for part in self.passed], torch.cat([by_u, by_log_deviation * inside], 1)


def _layers(model: SAC) -> tuple[Layers, list[Layers], list[Layers], bool] | None:
    """Layers of actor, critics, target critics and whether they use ReLU; None if the step by hand does not fit."""
    if model.use_sde or not is_plain(model, model.actor, model.critic):
        return None
    heads: list[Any] = [model.actor.mu, model.actor.log_std]
    modules = [model.actor.latent_pi, *model.critic.q_networks, *model.critic_target.q_networks]
    layers = [part for module in modules if (part := plain_layers(module)) is not None]
    if len(layers) < len(modules) or not all(isinstance(head, nn.Linear) for head in heads):
        return None
    n_critics = len(model.critic.q_networks)
    relu = issubclass(model.actor.activation_fn, nn.ReLU)
    return [*layers[0], heads], layers[1 : 1 + n_critics], layers[1 + n_critics :], relu
