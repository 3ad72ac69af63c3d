"""Stable-Baselines3's DQN with its gradient step written by hand, and what makes it more than plain DQN.

Double: the network learned chooses the next action, the target network values it (van Hasselt and others, 2016).
Weights and priorities: where the replay buffer gives them (replay.py). Dueling: where the policy is (dueling.py).
"""

from typing import Any

import torch
from stable_baselines3 import DQN
from stable_baselines3.dqn.policies import QNetwork
from torch import Tensor, nn
from torch.nn import functional

from agents.learners.dense import DenseNetwork, in_order, plain_layers
from agents.learners.dueling import DuelingQNetwork, combined, joined_gradient
from agents.learners.fast_step import Layers, fused_adam, is_plain, means
from agents.learners.flat import FlatParameters
from agents.learners.replay import PrioritisedReplay


class FastDQN(DQN):
    """DQN whose `train` is written by hand where the network allows it; `is_fast` says whether it does.

    double: whether the learned network chooses the next action.
    """

    def __init__(self, *args: Any, double: bool = False, **kwargs: Any) -> None:
        self.double = double
        super().__init__(*args, **kwargs)

    def _setup_model(self) -> None:
        super()._setup_model()
        now, target = _layers(self.q_net), _layers(self.q_net_target)
        self.is_dueling = isinstance(self.q_net, DuelingQNetwork)
        self.is_fast = now is not None and target is not None and is_plain(self, self.q_net)
        if self.is_fast:
            assert now is not None and target is not None
            relu = issubclass(self.q_net.activation_fn, nn.ReLU)
            self.flat, self.flat_target = FlatParameters(in_order([now])), FlatParameters(in_order([target]))
            self.dense = DenseNetwork(now, self.flat, relu=relu)
            self.dense_target = DenseNetwork(target, self.flat_target, relu=relu)
            self.policy.optimizer = fused_adam(self.flat, self.policy.optimizer)

    def train(self, gradient_steps: int, batch_size: int = 100) -> None:
        """As DQN.train, with double learning, weights and priorities where they are wanted."""
        self.policy.set_training_mode(True)
        self._update_learning_rate(self.policy.optimizer)
        buffer = self.replay_buffer
        assert buffer is not None
        losses: list[dict[str, float]] = []
        for _ in range(gradient_steps):
            if isinstance(buffer, PrioritisedReplay):
                data, drawn = buffer.draw(batch_size, 1.0 - self._current_progress_remaining)
                loss, errors = self._step(data, torch.from_numpy(drawn.weights))
                buffer.set_errors(drawn.rows, errors.numpy())
            else:
                loss, _ = self._step(buffer.sample(batch_size, env=self._vec_normalize_env), None)
            losses.append({"loss": loss})
        self._n_updates += gradient_steps
        self.logger.record("train/n_updates", self._n_updates, exclude="tensorboard")
        self.logger.record("train/loss", means(losses).get("loss", 0.0))

    def _step(self, data: Any, weights: Tensor | None) -> tuple[float, Tensor]:
        """One gradient step. Returns: the loss, and how far each value was off, (B,)."""
        discounts = self.gamma if data.discounts is None else data.discounts
        step = self._step_by_hand if self.is_fast else self._step_by_autograd
        return step(data, discounts, weights)

    def _step_by_hand(self, data: Any, discounts: Any, weights: Tensor | None) -> tuple[float, Tensor]:
        with torch.no_grad():
            n = len(data.observations)
            if self.double:
                passed = self.dense.forward(torch.cat([data.observations, data.next_observations]))
                after = self._values(passed[-1][n:])
                passed = [part[:n] for part in passed]
            else:
                passed, after = self.dense.forward(data.observations), None
            targets = self._values(self.dense_target.forward(data.next_observations)[-1])
            wanted = self._wanted(data, discounts, targets, after)
            values, actions = self._values(passed[-1]), data.actions.long()
            errors = values.gather(1, actions) - wanted
            share = torch.full_like(errors, 1.0 / n) if weights is None else weights[:, None] / n
            loss = (functional.smooth_l1_loss(errors, torch.zeros_like(errors), reduction="none") * share).sum()
            # Huber's loss is quadratic up to an error of 1 and grows by 1 per unit beyond.
            by_q = torch.zeros_like(values).scatter_(1, actions, errors.clamp(-1.0, 1.0) * share)
            self.dense.backward(passed, joined_gradient(by_q) if self.is_dueling else by_q)
            self.flat.clip(self.max_grad_norm)
            self.policy.optimizer.step()
        return loss.item(), errors[:, 0]

    def _step_by_autograd(self, data: Any, discounts: Any, weights: Tensor | None) -> tuple[float, Tensor]:
        with torch.no_grad():
            after = self.q_net(data.next_observations) if self.double else None
            wanted = self._wanted(data, discounts, self.q_net_target(data.next_observations), after)
        values = self.q_net(data.observations).gather(1, data.actions.long())
        losses = functional.smooth_l1_loss(values, wanted, reduction="none")
        loss = losses.mean() if weights is None else (losses * weights.to(losses.device)[:, None]).mean()
        self.policy.optimizer.zero_grad()
        loss.backward()
        nn.utils.clip_grad_norm_(self.policy.parameters(), self.max_grad_norm)
        self.policy.optimizer.step()
        return loss.item(), (values - wanted).detach()[:, 0].cpu()

    @staticmethod
    def _wanted(data: Any, discounts: Any, targets: Tensor, chooser: Tensor | None) -> Tensor:
        """Reward plus the discounted value of the next action, which `chooser` chooses if given, (B, 1)."""
        which = (targets if chooser is None else chooser).argmax(1, keepdim=True)
        return data.rewards + (1.0 - data.dones) * discounts * targets.gather(1, which)

    def _values(self, output: Tensor) -> Tensor:
        return combined(output[:, :1], output[:, 1:]) if self.is_dueling else output


def _layers(network: QNetwork) -> Layers | None:
    if isinstance(network, DuelingQNetwork):
        body = plain_layers(network.body)
        return None if body is None else [*body, [network.value_head, network.head]]
    return plain_layers(network.q_net)
