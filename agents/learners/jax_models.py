"""sbx's learners with the layers a NetworkSpec asks for. Needs the extra [tpu]: imported for that backend only."""

from collections.abc import Callable
from functools import partial
from typing import Any, ClassVar

import flax.linen as nn
import jax
import jax.numpy as jnp
import numpy as np
import optax
import sbx
from sbx.common.type_aliases import RLTrainState
from sbx.dqn.policies import DQNPolicy

from agents.networks.spec import NetworkSpec

# As torch calculates them: its gelu is the exact one.
ACTIVATIONS: dict[str, Callable[[Any], Any]] = {
    "tanh": nn.tanh,
    "relu": nn.relu,
    "gelu": partial(nn.gelu, approximate=False),
    "silu": nn.silu,
}
LARGEST_GRADIENT = 10.0  # of DQN, as in Stable-Baselines3; sbx has no limit of its own


def policy_kwargs(network: NetworkSpec) -> dict[str, Any]:
    """What an sbx learner is given as policy_kwargs to learn this network."""
    return {"net_arch": list(network.hidden), "activation_fn": ACTIVATIONS[network.activation]}


class QNetwork(nn.Module):
    """Values of all actions, (B, n_actions), by layers of any widths."""

    n_actions: int
    hidden: tuple[int, ...]
    activation: Callable[[Any], Any]

    @nn.compact
    def __call__(self, rows: Any) -> Any:
        """rows: observations (B, n)."""
        for width in self.hidden:
            rows = self.activation(nn.Dense(width)(rows))
        return nn.Dense(self.n_actions)(rows)


class LayeredDQNPolicy(DQNPolicy):
    """sbx's, whose network has two layers of the same width only, with layers of any widths."""

    def __init__(self, *args: Any, net_arch: list[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.hidden = tuple(net_arch)

    def build(self, key: Any, lr_schedule: Any) -> Any:
        """Make network, target network and optimiser. Returns: the key to go on with."""
        key, own_key = jax.random.split(key, 2)
        self.qf = QNetwork(int(self.action_space.n), self.hidden, self.activation_fn)
        params = self.qf.init(own_key, jnp.zeros((1, *(self.observation_space.shape or ()))))
        make_optimiser: Any = self.optimizer_class
        adam = make_optimiser(learning_rate=lr_schedule(1), **self.optimizer_kwargs)
        self.qf_state = RLTrainState.create(
            apply_fn=self.qf.apply,
            params=params,
            target_params=jax.tree_util.tree_map(jnp.copy, params),
            tx=optax.chain(optax.clip_by_global_norm(LARGEST_GRADIENT), adam),
        )
        return key


class LayeredDQN(sbx.DQN):
    """sbx's DQN on LayeredDQNPolicy."""

    policy_aliases: ClassVar[dict[str, Any]] = {"MlpPolicy": LayeredDQNPolicy}

    def train(self, batch_size: int, gradient_steps: int) -> None:  # type: ignore[override]  # as sbx has it
        """Some gradient steps; the loss told is their mean, where sbx tells their sum."""
        super().train(batch_size, gradient_steps)
        values = self.logger.name_to_value
        values["train/critic_loss"] /= gradient_steps


def actions_of(model: Any, observations: np.ndarray, deterministic: bool) -> np.ndarray:
    """What an sbx learner's policy does, (N,) or (N, 1)."""
    actions: np.ndarray = model.policy.predict(observations, deterministic=deterministic)[0]
    return actions
