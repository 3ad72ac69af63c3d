"""The part of the start form that most leave as it is: episodes, costs that vary, early ends, bars left out."""

from __future__ import annotations

from typing import Any

from django import forms

from agents.training_defaults import training_value
from agents.training_settings import EpisodeSettings
from agents.training_words import EPISODES, PRUNERS

MORE = ("episodes", "costs", "pruner", "purge_bars")
MOST_COSTS_PERCENT, MOST_PURGED = 1000, 10_000


def whole(label: str, least: int, most: int, help_text: str, *, required: bool = True) -> forms.IntegerField:
    """A field for a whole number, with its limits in words."""
    return forms.IntegerField(
        label=label, min_value=least, max_value=most, help_text=help_text, required=required,
        error_messages={
            "required": f"{label}: give a whole number.", "invalid": f"{label}: that is not a whole number.",
            "min_value": f"{label}: at least {least}.", "max_value": f"{label}: at most {most:,}.",
        },
    )  # fmt: skip


class MoreSettings(forms.Form):
    """Fields that are part of the agent's settings; a field that is not sent leaves them as they are."""

    episodes = forms.ChoiceField(
        label="Episodes",
        error_messages={"invalid_choice": "Episodes: choose one of the list."},
        choices=[(key, row[0]) for key, row in EPISODES.items()], required=False,
        help_text=" ".join(row[1] for row in EPISODES.values()),
    )  # fmt: skip
    pruner = forms.ChoiceField(
        label="Early ends",
        error_messages={"invalid_choice": "Early ends: choose one of the list."},
        choices=[(key, row[0]) for key, row in PRUNERS.items()], required=False,
        help_text="Which trials are ended before their time; the genetic search ends none.",
    )  # fmt: skip
    costs = forms.FloatField(
        label="Costs vary by, %", min_value=0, max_value=MOST_COSTS_PERCENT, required=False,
        help_text="For every episode: with 50, from two thirds to one and a half of the usual. 0 keeps them.",
        error_messages={
            "invalid": "Costs vary by: that is not a number.", "min_value": "Costs vary by: at least 0.",
            "max_value": f"Costs vary by: at most {MOST_COSTS_PERCENT:,}.",
        },
    )  # fmt: skip
    purge_bars = whole(
        "Bars left out", 0, MOST_PURGED,
        "Between training and validation; empty takes the longest look-back of the inputs.", required=False,
    )  # fmt: skip

    @property
    def more_failed(self) -> bool:
        """Whether something is wrong in this part, which is closed otherwise."""
        return any(name in self.errors for name in MORE)

    def changes(self, data: dict[str, Any]) -> dict[str, Any]:
        """What is filled in otherwise than in the settings, as settings."""
        usual, given = usual_values(data), {**self.cleaned_data}
        given["costs"] = given.get("costs") or 0.0
        sent = [name for name in MORE if name in self.data and (given[name] or name in ("costs", "purge_bars"))]
        changed = {name: given[name] for name in sent if given[name] != usual[name]}
        found: dict[str, Any] = {}
        if "episodes" in changed:
            found["episodes"] = {**data.get("episodes", {}), "kind": changed["episodes"]}
        if "costs" in changed:
            found["randomise"] = {**data.get("randomise", {}), "costs": round(changed["costs"] / 100, 6)}
        training = {name: changed[name] for name in ("pruner", "purge_bars") if name in changed}
        return found | ({"training": training} if training else {})


def usual_values(data: dict[str, Any]) -> dict[str, Any]:
    """What the settings say, as the fields show it."""
    kind = data.get("episodes", {}).get("kind", EpisodeSettings().kind)
    costs = round(float(data.get("randomise", {}).get("costs", 0.0)) * 100, 4)
    training = {name: training_value(data, name) for name in ("pruner", "purge_bars")}
    return {"episodes": kind, "costs": costs, **training}
