"""What drawn parameters mean for an agent's settings: features, network and reward of one trial. Pure."""

from dataclasses import replace
from typing import Any

from agents.configuration import AgentSettings
from agents.environment.rewards import RewardSettings
from agents.networks.spec import NetworkSpec
from agents.policies.features import CATALOGUE, FeatureSpec
from agents.studies.search import DEPTH, DROP, NETWORK, NOTHING, PENALTIES, PENALTY, WEIGHT, WIDTH, WINDOW

APPLIED = (WIDTH, DEPTH, NETWORK, WINDOW, PENALTY, DROP)


def applied(settings: AgentSettings, parameters: dict[str, Any]) -> tuple[AgentSettings, dict[str, Any]]:
    """The settings as a trial with these parameters has them, and the parameters that are left to its algorithm."""
    settings = replace(
        settings,
        features=_without(settings.features, str(parameters.get(DROP, NOTHING))),
        network=_network(settings.network, parameters),
        reward=_reward(settings.reward, parameters),
    )
    rest = {name: value for name, value in parameters.items() if name not in APPLIED and not name.startswith(WEIGHT)}
    return settings, rest


def _without(features: FeatureSpec, group: str) -> FeatureSpec:
    names = tuple(name for name in features.names if CATALOGUE[name].group != group)
    return FeatureSpec(names) if names else features


def _network(network: NetworkSpec, parameters: dict[str, Any]) -> NetworkSpec:
    kind = str(parameters.get(NETWORK, network.kind))
    return replace(
        network,
        kind=kind,
        hidden=_hidden(network.hidden, parameters),
        window=int(parameters.get(WINDOW, network.window)),
        options=network.options if kind == network.kind else {},  # another kind has others
    )


def _hidden(hidden: tuple[int, ...], parameters: dict[str, Any]) -> tuple[int, ...]:
    """Widths of the body: all layers as wide as drawn, as many as drawn."""
    depth = int(parameters.get(DEPTH, len(hidden)))
    width = int(parameters.get(WIDTH, 0))
    return tuple(width or hidden[min(layer, len(hidden) - 1)] for layer in range(depth))


def _reward(reward: RewardSettings, parameters: dict[str, Any]) -> RewardSettings:
    values = reward.to_dict()
    values |= {name.removeprefix(WEIGHT): value for name, value in parameters.items() if name.startswith(WEIGHT)}
    for name in PENALTIES:
        values[name] *= float(parameters.get(PENALTY, 1.0))
    return RewardSettings(**values)
