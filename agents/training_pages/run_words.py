"""What a training is paid for, what differs between its episodes, and how its settings differ from others, in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from agents.studies.search import WEIGHT, reward_weights
from agents.training_pages.training_defaults import training_value
from agents.training_pages.training_more import PLACES, MoreSettings, usual_values
from agents.training_pages.training_words import EPISODES, REWARD_KINDS, REWARDS, name_of

USUAL = "usual"  # of a setting that is not given


def reward_words(values: Mapping[str, Any]) -> str:
    """Parts of the reward with their weights. values: by the names of the start form's fields."""
    words = list[str]()
    for part in reward_weights():
        weight = _number(values.get(WEIGHT + part))
        if weight:
            adjusted = part == "net_return" and values.get("reward_kind") == "risk_adjusted"
            name = name_of(REWARD_KINDS, "risk_adjusted") if adjusted else name_of(REWARDS, part)
            words.append(f"{name.lower() if words else name} {weight:g}")
    return ", ".join(words) or "no part has a weight"


def reward_of_run(data: Mapping[str, Any]) -> str:
    """The reward of settings; weights that the study varies are named after them."""
    searched = (data.get("training") or {}).get("search") or {}
    varied = [name_of(REWARDS, name.removeprefix(WEIGHT)).lower() for name in searched if name.startswith(WEIGHT)]
    words = reward_words(usual_values(dict(data)))
    return f"{words}; the study varies {', '.join(varied)}" if varied else words


def episode_words(data: Mapping[str, Any]) -> str:
    """Which stretches of bars are played."""
    values = usual_values(dict(data))
    length = values["episode_length"] or training_value(dict(data), "episode_length")
    return f"{name_of(EPISODES, values['episodes'])}, {length:,} bars each"


def variation_words(data: Mapping[str, Any]) -> str:
    """What is made different from episode to episode; empty for nothing."""
    values, words = usual_values(dict(data)), list[str]()
    if values["costs"]:
        words.append(f"costs by {values['costs']:g}\u202f%")
    if values["paths"]:
        plural = "s" * (values["paths"] != 1)
        words.append(f"{values['paths']} synthetic path{plural} in blocks of {values['block']} bars")
    return ", ".join(words)


def differences(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[tuple[str, str, str]]:
    """(setting, value before, value after) of everything that two settings say differently.

    What the start form has a field for is called and counted as there; anything else by its key in the settings.
    """
    one, other = (dict(_flat(_as_on_the_form(values))) for values in (before, after))
    names = [name for name in {**one, **other} if one.get(name, USUAL) != other.get(name, USUAL)]
    return [(name, _plain(one.get(name, USUAL)), _plain(other.get(name, USUAL))) for name in names]


def _as_on_the_form(values: Mapping[str, Any]) -> dict[str, Any]:
    shown = {
        str(MoreSettings.base_fields[name].label): USUAL if value is None else value
        for name, value in usual_values(dict(values)).items()
    }
    known = {(place.part, place.key) for place in PLACES.values()}
    rest = {
        part: {key: value for key, value in inner.items() if (part, key) not in known}
        if isinstance(inner, Mapping) else inner
        for part, inner in values.items()
    }  # fmt: skip
    return {**shown, **rest}


def _flat(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    for key, value in values.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield prefix + key, value


def _plain(value: Any) -> str:
    if isinstance(value, list):
        return ", ".join(map(str, value)) or "none"
    return {None: "none", True: "on", False: "off"}[value] if value is None or isinstance(value, bool) else str(value)


def _number(value: Any) -> float:
    try:
        return float(value or 0.0)
    except (TypeError, ValueError):
        return 0.0
