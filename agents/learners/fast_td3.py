"""Stable-Baselines3's TD3 with its gradient step written by hand, as fast_sac.py does for SAC."""

import torch
from stable_baselines3 import TD3
from torch import Tensor, nn

from agents.learners.dense import DenseNetwork, in_order, plain_layers
from agents.learners.fast_step import Layers, fused_adam, is_plain, means, smallest_value
from agents.learners.flat import FlatParameters


class FastTD3(TD3):
    """TD3 whose `train` is written by hand where the networks allow it; `is_fast` says whether they do."""

    def _setup_model(self) -> None:
        super()._setup_model()
        layers = _layers(self)
        self.is_fast = layers is not None
        if layers is not None:
            self._flatten(*layers)

    def _flatten(self, now: list[Layers], target: list[Layers]) -> None:
        """now, target: layers of the actor, then of each critic."""
        relu = issubclass(self.actor.activation_fn, nn.ReLU)
        self.flat_actor, self.flat_critic = FlatParameters(in_order(now[:1])), FlatParameters(in_order(now[1:]))
        self.flat_target_actor = FlatParameters(in_order(target[:1]))
        self.flat_target_critic = FlatParameters(in_order(target[1:]))
        self.dense_actor = DenseNetwork(now[0], self.flat_actor, relu=relu)
        self.dense_target_actor = DenseNetwork(target[0], self.flat_target_actor, relu=relu)
        self.dense_critics = [DenseNetwork(layers, self.flat_critic, relu=relu) for layers in now[1:]]
        self.dense_targets = [DenseNetwork(layers, self.flat_target_critic, relu=relu) for layers in target[1:]]
        self.actor.optimizer = fused_adam(self.flat_actor, self.actor.optimizer)
        self.critic.optimizer = fused_adam(self.flat_critic, self.critic.optimizer)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """As TD3.train."""
        if not self.is_fast:
            super().train(gradient_steps, batch_size)
            return
        self._update_learning_rate([self.actor.optimizer, self.critic.optimizer])
        losses: list[dict[str, float]] = []
        with torch.no_grad():
            for _ in range(gradient_steps):
                self._n_updates += 1
                losses.append(self._gradient_step(batch_size))
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        for name, value in means(losses).items():
            self.logger.record(f"train/{name}", value)

    def _gradient_step(self, batch_size: int) -> dict[str, float]:
        """One step of the critics and, every policy_delay-th time, of actor and target networks."""
        assert self.replay_buffer is not None
        data = self.replay_buffer.sample(batch_size, env=self._vec_normalize_env)
        discounts = self.gamma if data.discounts is None else data.discounts
        noise = data.actions.clone().normal_(0, self.target_policy_noise)
        noise.clamp_(-self.target_noise_clip, self.target_noise_clip)
        after = (self.dense_target_actor.forward(data.next_observations)[-1].tanh_() + noise).clamp_(-1, 1)
        future = smallest_value(self.dense_targets, torch.cat([data.next_observations, after], 1))
        wanted = data.rewards + (1.0 - data.dones) * discounts * future
        losses = {"critic_loss": self._critic_step(torch.cat([data.observations, data.actions], 1), wanted)}
        if self._n_updates % self.policy_delay == 0:
            losses["actor_loss"] = self._actor_step(data.observations)
            self.flat_target_critic.flat.lerp_(self.flat_critic.flat, self.tau)
            self.flat_target_actor.flat.lerp_(self.flat_actor.flat, self.tau)
        return losses

    def _critic_step(self, inputs: Tensor, wanted: Tensor) -> float:
        loss = 0.0
        for critic in self.dense_critics:
            passed = critic.forward(inputs)
            error = passed[-1] - wanted
            loss += (error * error).mean().item()
            critic.backward(passed, error.mul_(2.0 / len(inputs)))
        self.critic.optimizer.step()
        return loss

    def _actor_step(self, observations: Tensor) -> float:
        """The loss is the mean of -q of the first critic."""
        n, n_inputs = observations.shape
        passed = self.dense_actor.forward(observations)
        actions = passed[-1].tanh_()
        judged = self.dense_critics[0].forward(torch.cat([observations, actions], 1))
        by_action = self.dense_critics[0].input_gradient(judged, torch.full((n, 1), -1.0 / n), n_inputs)
        self.dense_actor.backward(passed, torch.ops.aten.tanh_backward(by_action, actions))
        self.actor.optimizer.step()
        return -judged[-1].mean().item()


def _layers(model: TD3) -> tuple[list[Layers], list[Layers]] | None:
    """Layers of actor and critics, now and of the target networks; None if the step by hand does not fit."""
    if not is_plain(model, model.actor, model.critic):
        return None
    found = []
    for actor, critic in ((model.actor, model.critic), (model.actor_target, model.critic_target)):
        # The actor's last activation is the tanh that keeps actions within their limits.
        modules = [nn.Sequential(*list(actor.mu)[:-1]), *critic.q_networks]
        layers = [plain_layers(module) for module in modules]
        found.append([part for part in layers if part is not None])
        if len(found[-1]) < len(modules):
            return None
    return found[0], found[1]
