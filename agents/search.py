"""What a study may vary: the algorithm's own ranges, those all share, and how settings narrow them. Pure."""

from collections.abc import Iterable
from dataclasses import fields
from typing import Any

from agents import algorithms
from agents.features import CATALOGUE
from agents.rewards import RewardSettings
from agents.setting_checks import is_number

# A range is {"low", "high"} with optional "log" and "whole", or {"choices"}. An algorithm's own come first.
COMMON: dict[str, dict[str, Any]] = {
    "learning_rate": {"low": 1e-4, "high": 1e-3, "log": True},
    "width": {"choices": [16, 32, 64]},  # of every layer of the network's body
    "penalty": {"low": 0.5, "high": 2.0, "log": True},  # multiplies the reward's weights of drawdown, volatility, cost
}
PENALTIES = ("drawdown", "volatility", "cost")
# A weight of the reward itself, such as reward_holding: varied only where the settings give it a range.
WEIGHT = "reward_"
DEPTH = "depth"  # layers of the body: varied only where the settings give it a range
# Which group of features the network does without.
DROP, NOTHING = "drop", "nothing"


def search_space(
    algorithm: str,
    replacements: dict[str, Any],
    features: Iterable[str] = (),
    reward: RewardSettings | None = None,
) -> dict[str, dict[str, Any]]:
    """The ranges of a study, with those of the settings in their place. A single value fixes a parameter.

    features: names of the agent's, whose groups may be dropped one at a time; reward: without any penalty there is
    nothing to multiply. Raises: ValueError naming a parameter that is unknown or whose range makes no sense.
    """
    space = COMMON | algorithms.get(algorithm).space
    if reward is not None and not any(getattr(reward, name) for name in PENALTIES):
        space.pop("penalty")
    groups = groups_of(features)
    if len(groups) > 1:
        space[DROP] = {"choices": [NOTHING, *groups]}
    on_request = {DEPTH, *(WEIGHT + name for name in reward_weights())}
    for name, wanted in replacements.items():
        if name == "penalty" and name not in space:
            continue  # nothing to multiply, so whatever is wished makes no difference
        if name not in space and name not in on_request:
            raise ValueError(f"unknown parameter {name!r}; known: {', '.join((*space, *sorted(on_request)))}")
        space[name] = _checked(name, wanted, space.get(name, {}))
    return space


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


def _checked(name: str, wanted: Any, usual: dict[str, Any]) -> dict[str, Any]:
    """The range that a setting asks for. usual: the range it replaces."""
    words = {choice for choice in usual.get("choices", ()) if isinstance(choice, str)}
    if wanted in words if isinstance(wanted, str) else _value(name, wanted):
        return {"choices": [wanted]}
    if isinstance(wanted, dict):
        choices, low, high = wanted.get("choices"), wanted.get("low"), wanted.get("high")
        if isinstance(choices, list) and choices:
            good = [choice in words if isinstance(choice, str) else _value(name, choice) for choice in choices]
            if all(good):
                return {"choices": choices}
        log = bool(wanted.get("log", False))
        ends = _value(name, low) and _value(name, high)
        if ends and 0 <= float(low or 0) <= float(high or 0) and not (log and not low):
            whole = bool(wanted.get("whole", usual.get("whole", False)))
            return {"low": low, "high": high, "log": log, "whole": whole}
    expected = f"one of {', '.join(sorted(words))}, or choices of them" if words else _RANGE
    raise ValueError(f"{name}: got {wanted!r}, expected {expected}")


_RANGE = 'a number, {"low": 0.1, "high": 0.5} above 0, or {"choices": [...]}'


def _value(name: str, value: Any) -> bool:
    # Weights may be 0, which switches a part off; nothing else may.
    return is_number(value) and (value > 0 or (value == 0 and name.startswith(WEIGHT)))
