"""Made-up policies of every network and head, for the tests of this room."""

import torch

from agents.environment import own_state
from agents.environment.own_state import OwnSpec
from agents.networks.network import ServedNetwork
from agents.networks.spec import HeadSpec, NetworkSpec
from agents.policies.features import FeatureSpec
from agents.policies.normaliser import Normaliser
from agents.policies.policy import ServedPolicy
from agents.tests import worlds
from core.simulation.rules import MarketRules

ACTIONS = {1: "target", 3: "choice", 9: "steps"}
NETWORKS = {
    "mlp": NetworkSpec(hidden=(16, 16)),
    "lstm": NetworkSpec("lstm", (16,), "relu", 8, {"size": 12}),
    "tcn": NetworkSpec("tcn", (16,), "tanh", 8, {"channels": 12}),
    "ane": NetworkSpec("ane", (16,), "tanh", 8, {"size": 16, "heads": 4, "layers": 2}),
    "recurrent": NetworkSpec("recurrent", (16,), "tanh", 1, {"size": 12}),
}
HEADS = {
    "logits": HeadSpec("logits", 3),
    "steps": HeadSpec("logits", 9),
    "masked": HeadSpec("logits", 9, {"masked": True}),
    "q": HeadSpec("q", 3),
    "dueling": HeadSpec("dueling", 9, {"scale": 0.5}),
    "quantiles": HeadSpec("quantiles", 3, {"n_quantiles": 5}),
    "gaussian": HeadSpec("gaussian"),
    "gaussian_clipped": HeadSpec("gaussian_clipped"),
    "deterministic": HeadSpec("deterministic"),
}


def random_weights(network: NetworkSpec, head: HeadSpec, n_features: int, n_own: int, seed: int = 0, gain: float = 1.0):
    """Tensors by name: normal, scaled by the number of inputs; biases small, layer norms near one."""
    generator, weights = torch.Generator().manual_seed(seed), {}
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed + 1)  # what biases and norms lie near; not the seed of the noise
        layers = ServedNetwork(network, head, n_features, n_own)
    for name, parameter in layers.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        size = gain if name.startswith("head") else 1.0
        weights[name] = noise * size / parameter.shape[-1] ** 0.5 if parameter.ndim > 1 else parameter + 0.1 * noise
    return weights


def policy(
    network: NetworkSpec,
    head: HeadSpec,
    *,
    names: tuple[str, ...] = worlds.FEATURES,
    rules: MarketRules | None = None,
    own: OwnSpec = own_state.DEFAULT,
    seed: int = 0,
    gain: float = 1.0,
) -> ServedPolicy:
    """A policy with random weights on `worlds.walk`."""
    spec = FeatureSpec(names)
    return ServedPolicy.from_parts(
        algorithm="test",
        actions=ACTIONS[head.n_actions],
        spec=spec,
        normaliser=Normaliser.fit(spec.compute(worlds.walk())[spec.warm_up :]),
        rules=rules or MarketRules(no_trade_band=0.05),
        network=network,
        head=head,
        weights=random_weights(network, head, len(names), len(own), seed, gain),
        own=own,
    )
