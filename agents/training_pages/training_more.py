"""The parts of the start form that most leave as they are: reward, episodes, what varies, early ends, bars left out."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django import forms

from agents.environment.actions import TARGET
from agents.environment.randomise import RandomiseSettings
from agents.environment.rewards import NEED_RATE, RewardSettings
from agents.studies.search import WEIGHT, reward_weights
from agents.training_pages.training_defaults import training_value
from agents.training_pages.training_settings import EpisodeSettings
from agents.training_pages.training_words import EPISODES, PRUNERS, REWARD_KINDS, REWARDS
from core.simulation.rules import MarketRules

MOST_PERCENT, MOST_BARS, MOST_PATHS = 1_000, 10_000, 100
LARGEST_WEIGHT = 1_000_000
CONSISTENCY = WEIGHT + "consistency"


@dataclass(frozen=True)
class Place:
    """Where the value of a field stands in the settings."""

    part: str
    key: str
    usual: Any  # where the settings say nothing
    factor: int = 1  # the field shows so many times the value
    may_be_empty: bool = False  # empty is a value of its own; otherwise it is the usual one


REWARD_PLACES = {
    "reward_kind": Place("reward", "kind", RewardSettings().kind),
    **{WEIGHT + name: Place("reward", name, getattr(RewardSettings(), name)) for name in reward_weights()},
    "sharpe_rate": Place("rules", "sharpe_rate", MarketRules().sharpe_rate),
}
MORE_PLACES = {
    "episodes": Place("episodes", "kind", EpisodeSettings().kind),
    "episode_length": Place("episodes", "length", EpisodeSettings().length, may_be_empty=True),
    "costs": Place("randomise", "costs", RandomiseSettings().costs, 100),
    "paths": Place("randomise", "paths", RandomiseSettings().paths),
    "block": Place("randomise", "block", RandomiseSettings().block),
    "pruner": Place("training", "pruner", training_value({}, "pruner")),
    "purge_bars": Place("training", "purge_bars", training_value({}, "purge_bars"), may_be_empty=True),
}
PLACES = REWARD_PLACES | MORE_PLACES


def whole(label: str, least: int, most: int, help_text: str, *, required: bool = True) -> forms.IntegerField:
    """A field for a whole number, with its limits in words."""
    return forms.IntegerField(
        label=label, min_value=least, max_value=most, help_text=help_text, required=required,
        error_messages={"invalid": f"{label}: that is not a whole number.", **_limits(label, least, most)},
    )  # fmt: skip


def decimal(label: str, most: float, help_text: str) -> forms.FloatField:
    """A field that may stay empty, for a number from 0 on."""
    name = label.removesuffix(", %")  # the messages are templates, in which a percent sign would begin a place
    return forms.FloatField(
        label=label, min_value=0, max_value=most, help_text=help_text, required=False,
        widget=forms.NumberInput(attrs={"step": "any"}),
        error_messages={"invalid": f"{name}: that is not a number.", **_limits(name, 0, most)},
    )  # fmt: skip


def _limits(label: str, least: float, most: float) -> dict[str, str]:
    return {
        "required": f"{label}: give a whole number.", "min_value": f"{label}: at least {least}.",
        "max_value": f"{label}: at most {most:,}.",
    }  # fmt: skip


def chosen(label: str, table: dict[str, tuple[str, str]], help_text: str) -> forms.ChoiceField:
    """A field to choose from a table of names with their sentences."""
    return forms.ChoiceField(
        label=label, choices=[(key, row[0]) for key, row in table.items()], required=False, help_text=help_text,
        error_messages={"invalid_choice": f"{label}: choose one of the list."},
    )  # fmt: skip


def weight(part: str) -> forms.FloatField:
    """A field for the weight of a part of the reward."""
    label, words = REWARDS[part]
    return decimal(label, LARGEST_WEIGHT, words)


class RewardFields(forms.Form):
    """What the policy is paid for; one weight for every part that environment/rewards.py knows."""

    reward_kind = chosen("First part", REWARD_KINDS, "By volatility, a calm bar's gain counts for more.")
    reward_net_return = weight("net_return")
    reward_log_return = weight("log_return")
    reward_drawdown = weight("drawdown")
    reward_volatility = weight("volatility")
    reward_cost = weight("cost")
    reward_holding = weight("holding")
    reward_consistency = weight("consistency")
    reward_differential_sharpe = weight("differential_sharpe")
    reward_differential_downside = weight("differential_downside")
    sharpe_rate = decimal("Newest bar in the ratios", 1, "Its share, such as 0.01; both ratios need it.")


class MoreSettings(RewardFields):
    """Fields that are part of the agent's settings; a field that is not sent leaves them as they are."""

    episodes = chosen("Episodes", EPISODES, " ".join(row[1] for row in EPISODES.values()))
    episode_length = whole("Bars of an episode", 2, MOST_BARS, "Empty takes the usual number.", required=False)
    costs = decimal(
        "Costs vary by, %", MOST_PERCENT,
        "For every episode: with 50, from two thirds to one and a half of the usual. 0 keeps them.",
    )  # fmt: skip
    paths = whole(
        "Synthetic paths", 0, MOST_PATHS, "Made-up price histories to learn from beside the real one; 0 for none.",
        required=False,
    )  # fmt: skip
    block = whole(
        "Bars of a block", 1, MOST_BARS, "A path strings blocks of so many real bars together.", required=False
    )
    pruner = chosen("Early ends", PRUNERS, "Which trials are ended before their time; the genetic search ends none.")
    purge_bars = whole(
        "Bars left out", 0, MOST_BARS,
        "Between training and validation; empty takes the longest look-back of the inputs.", required=False,
    )  # fmt: skip

    @property
    def more_failed(self) -> bool:
        """Whether something is wrong in the part about episodes, which is closed otherwise."""
        return any(name in self.errors for name in MORE_PLACES)

    @property
    def reward_failed(self) -> bool:
        """Whether something is wrong in the part about the reward."""
        return any(name in self.errors for name in REWARD_PLACES)

    @property
    def reward_fields(self) -> list[forms.BoundField]:
        """Fields of the reward; a weight that does nothing with these actions is not offered."""
        useless = str(self["actions"].value()) != TARGET and str(self[CONSISTENCY].value()) in ("None", "", "0")
        return [self[name] for name in REWARD_PLACES if not (useless and name == CONSISTENCY)]

    @property
    def more_fields(self) -> list[forms.BoundField]:
        """The other fields of this part."""
        return [self[name] for name in MORE_PLACES]

    def changes(self, data: dict[str, Any]) -> dict[str, Any]:
        """What is filled in otherwise than in the settings, as settings."""
        found: dict[str, Any] = {}
        for name, value in self._filled_in().items():
            if value == usual_values(data)[name]:
                continue
            place = PLACES[name]
            part = found.setdefault(place.part, {} if place.part == "training" else {**data.get(place.part, {})})
            part[place.key] = value if place.factor == 1 else round(value / place.factor, 6)
        return found

    def check_reward(self, data: dict[str, Any]) -> None:
        """Say at their fields which weights come to nothing."""
        if self.reward_failed:
            return
        values = usual_values(data) | self._filled_in()
        varied = any(name.startswith(WEIGHT) for name in data.get("training", {}).get("search") or {})
        if not varied and not any(values[WEIGHT + part] for part in reward_weights()):
            self.add_error(WEIGHT + "net_return", "Net return: with every weight at 0 there is nothing to learn for.")
        rate = self.fields["sharpe_rate"].label
        for name in (WEIGHT + part for part in NEED_RATE):
            if values[name] and not values["sharpe_rate"]:
                label = self.fields[name].label
                self.add_error(name, f"{label}: it does nothing while “{rate}” is 0; give that 0.01, for instance.")

    def _filled_in(self) -> dict[str, Any]:
        """What was sent, by field. An emptied number is the usual one; a choice that is empty was not made."""
        found: dict[str, Any] = {}
        for name, place in PLACES.items():
            value = self.cleaned_data.get(name)
            if name in self.data and value != "":
                found[name] = place.usual if value is None and not place.may_be_empty else value
        return found


def usual_values(data: dict[str, Any]) -> dict[str, Any]:
    """What the settings say, as the fields show it."""
    found = {}
    for name, place in PLACES.items():
        value = (data.get(place.part) or {}).get(place.key, place.usual)
        if isinstance(value, float):
            value = round(value * place.factor, 4 if place.factor > 1 else 12)
            value = int(value) if value.is_integer() else value
        elif place.factor > 1 and isinstance(value, int):
            value *= place.factor
        found[name] = value
    return found
