"""The forms that start trainings. They offer only what fits, and say beside the field what is wrong."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from django import forms
from django.utils import timezone

from agents import algorithms
from agents.models import Agent
from agents.networks.spec import MLP
from agents.training_pages.training_backends import refused
from agents.training_pages.training_defaults import training_value
from agents.training_pages.training_estimate import Wish, estimate_seconds
from agents.training_pages.training_more import MoreSettings, usual_values, whole
from agents.training_pages.training_words import ACTIONS, BACKENDS, NETWORKS, SAMPLERS, name_of
from marketdata.forms import Dressed

MOST_TRIALS, MOST_PARTS, MOST_WORKERS = 1000, 20, 64
LONGEST_MINUTES = 7 * 24 * 60
WINDOWED, USUAL_WINDOW = ("lstm", "tcn", "ane"), 32  # networks that look at the last bars, and how many they get
NUMBERS = ("n_trials", "n_seeds", "n_folds", "n_workers")


def network_settings(kind: str, before: dict[str, Any]) -> dict[str, Any]:
    """Settings of another kind of network: its layers stay, what belongs to the old kind alone goes."""
    window = max(before.get("window", 1), USUAL_WINDOW) if kind in WINDOWED else 1
    kept: dict[str, Any] = {name: before[name] for name in ("hidden", "activation") if name in before}
    return {**kept, "kind": kind, "window": window}


class StartForm(Dressed, MoreSettings):
    """One training of one agent."""

    agent = forms.ModelChoiceField(
        Agent.objects.none(), label="Agent", empty_label=None, to_field_name="name",
        error_messages={
            "invalid_choice": "Agent: it is no longer here; choose another.", "required": "Agent: choose one.",
        },
    )  # fmt: skip
    algorithm = forms.ChoiceField(label="Algorithm")
    network = forms.ChoiceField(label="Network")
    actions = forms.ChoiceField(label="Actions")
    n_trials = whole("Trials", 1, MOST_TRIALS, "")
    n_seeds = whole("Seeds per trial", 1, MOST_PARTS, "")
    n_folds = whole("Folds", 1, MOST_PARTS, "")
    sampler = forms.ChoiceField(label="Search", choices=[(key, row[0]) for key, row in SAMPLERS.items()])
    backend = forms.ChoiceField(label="Runs on", choices=list(BACKENDS.items()))
    n_workers = whole("Workers", 0, MOST_WORKERS, "Processes side by side; 0 takes as many as fit.")
    max_minutes = whole(
        "Time limit, minutes", 1, LONGEST_MINUTES, "After it no new trial begins; the best is kept.", required=False
    )
    seed = whole("Seed", 0, 2**31 - 1, "The same seed gives the same weights again.")
    not_before = forms.DateTimeField(
        label="Not before, UTC", required=False, widget=forms.DateTimeInput(attrs={"type": "datetime-local"}),
        error_messages={"invalid": "Not before: give a date and a time, such as 2026-11-21T18:00."},
    )  # fmt: skip
    reason = forms.CharField(label="Reason", required=False, max_length=120, help_text="A few words for the journal.")
    test = forms.BooleanField(label="Test, takes seconds", required=False)
    queued = forms.BooleanField(label="Wait for a free place in the queue", required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        agents = Agent.objects.select_related("instrument").order_by("id")
        self.fields["agent"].queryset = agents  # type: ignore[attr-defined]
        self.chosen = agents.filter(name=self._given("agent")).first() or agents.first()
        configuration = self.chosen.configurations.order_by("-version").first() if self.chosen else None
        self.configuration: dict[str, Any] = configuration.data if configuration else {}
        table = algorithms.all_algorithms()
        default = self.chosen.algorithm if self.chosen else next(iter(table))
        self.bound_words = ""
        if self.chosen is not None and self.chosen.model_versions.exists():
            # A version can only be read with the algorithm that made it.
            table = {name: row for name, row in table.items() if name == default}
            self.bound_words = "Its versions are made with this algorithm; another needs a new agent."
        self.method = table.get(self._given("algorithm") or default) or table.get(default)
        self._offer({name: row.label for name, row in table.items()}, "algorithm")
        if self.method is not None:
            self._offer({name: name_of(NETWORKS, name) for name in self.method.networks}, "network")
            self._offer({name: name_of(ACTIONS, name) for name in self.method.actions}, "actions")
        self._preset()

    def clean_not_before(self) -> datetime | None:
        """A moment to come."""
        moment: datetime | None = self.cleaned_data["not_before"]
        if moment is not None and moment <= timezone.now():
            raise forms.ValidationError("Not before: that moment has passed; leave it empty to start at once.")
        return moment

    def clean(self) -> dict[str, Any]:
        """What does not go together is said at the field that must change."""
        given = super().clean() or {}
        if self.chosen is not None and not self.configuration:
            self.add_error("agent", f"{self.chosen.name} has no settings yet, so there is nothing to train with.")
        if self.method is not None and given.get("backend"):
            line = refused(given["backend"], self.method.name, given.get("network") or MLP)
            if line:
                self.add_error("backend", f"Runs on: {line}")
        if given.get("not_before"):
            given["queued"] = True
        self.check_reward(self.configuration)
        return given

    @property
    def wanted(self) -> dict[str, Any]:
        """The agent's newest settings with what is filled in; the number of trials is for one run only."""
        given, data = self.cleaned_data, self.configuration
        more = self.changes(data)
        training = more.pop("training", {}) | {
            name: given[name] for name in ("n_seeds", "n_folds", "sampler")
            if given[name] != training_value(data, name)
        }  # fmt: skip
        found = {**data, **more, "training": {**data["training"], **training}}
        if given["actions"] != self._usual_actions():
            found["actions"] = given["actions"]
        if given["network"] != self._usual_network():
            found["network"] = network_settings(given["network"], data.get("network", {}))
        return found

    @property
    def seconds(self) -> float | None:
        """How long it will take by what is filled in now; None when nothing like it has run yet."""
        if self.chosen is None or self.method is None:
            return None
        numbers = {name: self.number(name) for name in NUMBERS}
        limit = self.number("max_minutes") or None
        return estimate_seconds(
            Wish(
                agent=self.chosen, algorithm=self.method.name, backend=str(self["backend"].value() or "cpu"),
                test=bool(self["test"].value()), max_minutes=limit, **numbers,
            )
        )  # fmt: skip

    def _given(self, name: str) -> str:
        source = self.data if self.is_bound else self.initial
        return str(source.get(name) or "")

    def number(self, name: str) -> int:
        """A number as it is filled in now, its least if it is none."""
        text = str(self[name].value() or "")
        return int(text) if text.isdigit() else 0 if name in ("n_workers", "max_minutes") else 1

    def _offer(self, choices: dict[str, str], name: str) -> None:
        label = self.fields[name].label
        self.fields[name].choices = list(choices.items())  # type: ignore[attr-defined]
        method = f" with {self.method.label}" if name != "algorithm" and self.method else ""
        self.fields[name].error_messages["invalid_choice"] = (
            f"{label}: that does not go{method}; it can be {', '.join(choices.values())}."
        )
        self.fields[name].error_messages["required"] = f"{label}: choose one."

    def _preset(self) -> None:
        data = self.configuration
        preset = {name: training_value(data, name) for name in (*NUMBERS, "sampler", "backend", "max_minutes")}
        preset |= {"agent": self.chosen.name if self.chosen else "", "seed": 1}
        preset |= {"algorithm": self.method.name if self.method else ""}
        preset |= usual_values(data)
        preset |= {"network": self._usual_network(), "actions": self._usual_actions()}
        self.initial = {**preset, **{name: value for name, value in self.initial.items() if value not in (None, "")}}
        for name in ("network", "actions"):
            allowed = [key for key, _ in self.fields[name].choices]  # type: ignore[attr-defined]
            if self.initial[name] not in allowed and allowed:
                self.initial[name] = allowed[0]

    def _usual_network(self) -> str:
        kind = self.configuration.get("network", {}).get("kind")
        return kind or (self.method.networks[0] if self.method else "mlp")

    def _usual_actions(self) -> str:
        return self.configuration.get("actions") or (self.method.actions[0] if self.method else "choice")


class PlanForm(Dressed, forms.Form):
    """Several agents, trained one after the other."""

    name = forms.CharField(
        label="Name", max_length=80, error_messages={"required": "Name: say what this plan is for, in a few words."}
    )
    max_minutes = whole(
        "Time limit, minutes", 1, LONGEST_MINUTES, "For all together; what has not begun by then is left out.",
        required=False,
    )  # fmt: skip
    test = forms.BooleanField(label="Test, takes seconds for each", required=False)

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs, auto_id="plan_%s")  # the start form is on the same page
        self.agents = list(Agent.objects.filter(configurations__isnull=False).distinct().order_by("id"))
        for place, agent in enumerate(self.agents, start=1):
            field = whole(agent.name, 1, 999, "", required=False)
            field.widget.attrs["class"] = "input"
            self.fields[f"place_{agent.pk}"] = field
            self.initial.setdefault(f"place_{agent.pk}", place)

    @property
    def places(self) -> list[Any]:
        """The fields that say which agent comes when."""
        return [self[f"place_{agent.pk}"] for agent in self.agents]

    def clean(self) -> dict[str, Any]:
        """At least one agent has a place."""
        given = super().clean() or {}
        if not self.errors and not self.chosen(given):
            raise forms.ValidationError("Give at least one agent a place, such as 1.")
        return given

    def chosen(self, given: dict[str, Any]) -> list[Agent]:
        """The agents that have a place, in order of places."""
        placed = [(given.get(f"place_{agent.pk}"), agent) for agent in self.agents]
        with_place = [(place, agent) for place, agent in placed if place is not None]
        return [agent for _, agent in sorted(with_place, key=lambda pair: (pair[0], pair[1].pk))]
