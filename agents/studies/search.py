"""What a study may vary: the algorithm's own ranges, those all share, and how settings narrow them. Pure."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from agents import algorithms
from agents.algorithms.registry import NETWORKS_ON
from agents.environment.rewards import RewardSettings
from agents.networks.spec import MAX_LAYERS, MAX_WINDOW, MLP, RECURRENT, NetworkSpec
from agents.policies.features import CATALOGUE
from agents.setting_checks import is_number, is_whole

WIDTH, PENALTY = "width", "penalty"
# A range is {"low", "high"} with optional "log" and "whole", or {"choices"}. An algorithm's own come first.
COMMON: dict[str, dict[str, Any]] = {
    "learning_rate": {"low": 1e-4, "high": 1e-3, "log": True},
    WIDTH: {"choices": [16, 32, 64]},  # of every layer of the network's body
    PENALTY: {"low": 0.5, "high": 2.0, "log": True},  # multiplies the reward's weights of drawdown, volatility, cost
}
PENALTIES = ("drawdown", "volatility", "cost")
# Varied only where the settings give them a range: a weight of the reward itself, such as reward_holding; layers of
# the body; the network's kind and how many bars it looks at.
WEIGHT, DEPTH, NETWORK, WINDOW = "reward_", "depth", "network", "window"
# Which group of features the network does without.
DROP, NOTHING = "drop", "nothing"


def search_space(
    algorithm: str,
    replacements: dict[str, Any],
    features: Iterable[str] = (),
    reward: RewardSettings | None = None,
    network: NetworkSpec | None = None,
    backend: str = "cpu",
) -> dict[str, dict[str, Any]]:
    """The ranges of a study, with those of the settings in their place. A single value fixes a parameter.

    features: names of the agent's, whose groups may be dropped one at a time; reward: without any penalty there is
    nothing to multiply; network: widths that are not the usual ones are kept, unless `replacements` varies the width;
    backend: what it cannot do is left out, see left_out.
    Raises: ValueError naming a parameter that is unknown, whose range makes no sense, or that leaves the backend
    nothing to choose from.
    """
    usual, limits = COMMON | algorithms.get(algorithm).space, on_request(algorithm)
    space = dict(usual)
    if reward is not None and not any(getattr(reward, name) for name in PENALTIES):
        space.pop(PENALTY)
    if network is not None and network.hidden != NetworkSpec().hidden:
        space.pop(WIDTH)
    groups = groups_of(features)
    if len(groups) > 1:
        space[DROP] = usual[DROP] = {"choices": [NOTHING, *groups]}
    for name, wanted in replacements.items():
        if name == PENALTY and name not in space:
            continue  # nothing to multiply, so whatever is wished makes no difference
        if name not in usual and name not in limits:
            raise ValueError(f"unknown parameter {name!r}; known: {', '.join((*usual, *sorted(limits)))}")
        space[name] = _checked(name, wanted, usual.get(name, {}), limits.get(name, {}))
    _cut(algorithm, space, backend)
    _check_window(space, network or NetworkSpec())
    return space


def left_out(algorithm: str, replacements: dict[str, Any], backend: str) -> list[str]:
    """What settings wish to vary and the backend cannot, such as "network tcn"; empty for nothing."""
    wanted = replacements.get(NETWORK, {})
    kinds = wanted.get("choices", ()) if isinstance(wanted, dict) else [wanted]
    able = NETWORKS_ON.get(backend, kinds)
    lacking = [name for name in algorithms.get(algorithm).lacks.get(backend, ()) if name in replacements]
    return lacking + [f"{NETWORK} {kind}" for kind in kinds if kind not in able]


def _cut(algorithm: str, space: dict[str, dict[str, Any]], backend: str) -> None:
    """Take out what the backend cannot do. Raises: ValueError where that was all there is to choose from."""
    for name in algorithms.get(algorithm).lacks.get(backend, ()):
        found = space.pop(name, {})
        if len(found.get("choices", ())) == 1:
            raise ValueError(f"{name} cannot be had on backend {backend}; take it out, or choose another backend")
    kinds = space.get(NETWORK, {}).get("choices", ())
    able = NETWORKS_ON.get(backend, kinds)
    if kinds and not set(kinds) & set(able):
        raise ValueError(
            f"network: {', '.join(kinds)} cannot be learned on backend {backend}, which has {', '.join(able)}; "
            "choose that, or another backend"
        )
    if kinds:
        space[NETWORK] = {"choices": [kind for kind in kinds if kind in able]}


def on_request(algorithm: str) -> dict[str, dict[str, Any]]:
    """What a study varies only where the settings say so, each with its limits."""
    found = algorithms.get(algorithm)
    return {
        **found.optional,
        DEPTH: {"low": 1, "high": MAX_LAYERS, "whole": True},
        NETWORK: {"choices": list(found.networks)},
        WINDOW: {"low": 1, "high": MAX_WINDOW, "whole": True},
        **{WEIGHT + name: {} for name in reward_weights()},
    }


def groups_of(features: Iterable[str]) -> list[str]:
    """Groups the features belong to, in the order of their first."""
    return list(dict.fromkeys(CATALOGUE[name].group for name in features))


def reward_weights() -> list[str]:
    """Fields of RewardSettings that weigh a part of the reward."""
    return [item.name for item in fields(RewardSettings) if item.name not in ("kind", "volatility_floor")]


def suggest(trial: Any, space: dict[str, dict[str, Any]]) -> dict[str, Any]:
    """Draw one value per parameter. trial: an optuna.Trial, or anything with its suggest functions."""
    return {name: _draw(trial, name, span) for name, span in space.items()}


def _draw(trial: Any, name: str, span: dict[str, Any]) -> Any:
    if "choices" in span:
        return trial.suggest_categorical(name, span["choices"])
    draw = trial.suggest_int if span.get("whole") else trial.suggest_float
    return draw(name, span["low"], span["high"], log=bool(span.get("log", False)))


def _checked(name: str, wanted: Any, usual: dict[str, Any], limits: dict[str, Any]) -> dict[str, Any]:
    """The range that a setting asks for. usual: the range it replaces; limits: what its values must lie within."""
    words = {choice for choice in (usual | limits).get("choices", ()) if isinstance(choice, str)}
    also = limits.get("words", ())  # beside numbers
    offered = [choice for choice in usual.get("choices", ()) if is_number(choice)]  # 0 too, if the algorithm has it

    def good(value: Any) -> bool:
        if isinstance(value, str) or words:
            return value in words or value in also
        return _value(name, value, limits) or (is_number(value) and value in offered)

    if isinstance(wanted, str | int | float) and good(wanted):
        return {"choices": [wanted]}
    if isinstance(wanted, dict):
        choices, low, high = wanted.get("choices"), wanted.get("low"), wanted.get("high")
        if isinstance(choices, list) and choices and all(isinstance(x, str | int | float) and good(x) for x in choices):
            return {"choices": choices}
        log = bool(wanted.get("log", False))
        numbers = not words and not isinstance(low, str) and not isinstance(high, str) and good(low) and good(high)
        if numbers and float(low or 0) <= float(high or 0) and not (log and float(low or 0) <= 0):
            whole = bool(wanted.get("whole", (usual | limits).get("whole", False)))
            return {"low": low, "high": high, "log": log, "whole": whole}
    raise ValueError(f"{name}: got {wanted!r}, expected {_expected(words, limits)}")


def _expected(words: set[str], limits: dict[str, Any]) -> str:
    if words:
        return f"one of {', '.join(sorted(words))}, or choices of them"
    if "low" not in limits:
        return 'a number, {"low": 0.1, "high": 0.5} above 0, or {"choices": [...]}'
    kind = "a whole number" if limits.get("whole") else "a number"
    also = "".join(f"{word}, " for word in limits.get("words", ()))
    span = f"{also}{kind} from {limits['low']:g} to {limits['high']:g}"
    return f"{span}, a range of low and high within, or choices of them"


def _value(name: str, value: Any, limits: dict[str, Any]) -> bool:
    if not is_number(value) or (limits.get("whole") and not is_whole(value, 1)):
        return False
    if "low" in limits:
        return bool(limits["low"] <= value <= limits["high"])
    # Weights may be 0, which switches a part off; nothing else may.
    return bool(value > 0 or (value == 0 and name.startswith(WEIGHT)))


def _check_window(space: dict[str, dict[str, Any]], network: NetworkSpec) -> None:
    """Raises: ValueError where a network that reads the last bars would be given one bar."""
    reading = [kind for kind in space.get(NETWORK, {}).get("choices", ()) if kind not in (MLP, RECURRENT)]
    if reading and WINDOW not in space and network.window == 1:
        raise ValueError(
            f"network: {', '.join(reading)} reads the last bars, but network.window is 1; set it, such as to 32, or "
            'let the study vary it: "window": {"choices": [8, 16, 32]}'
        )
