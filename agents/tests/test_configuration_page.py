"""docs/configuration.md names every setting with the default that the code has."""

import re
from dataclasses import fields
from pathlib import Path

import pytest

from agents import algorithms
from agents.algorithms.registry import NETWORKS_ON, TPU
from agents.environment.rewards import RewardSettings
from agents.networks.spec import ANE, OPTIONS, NetworkSpec
from agents.runs.run_files import KEPT_FOR
from agents.studies.workforce import MEMORY_PER_WORKER_MB, MOST_PER_CORE
from agents.training_pages.training_settings import TrainingSettings
from core.simulation.rules import SCHEDULES, MarketRules

PAGE = (Path(__file__).resolve().parents[2] / "docs" / "configuration.md").read_text(encoding="utf-8")


def section(name):
    """Text of a setting, up to the next one."""
    found = re.search(rf"^\*\*{name}\*\*:.*?(?=^\*\*\w+\*\*:|\Z)", PAGE, re.MULTILINE | re.DOTALL)
    assert found, f"docs/configuration.md has no paragraph **{name}**"
    return found.group(0)


def table(text):
    """Defaults by key, as written, of a table whose rows are | keys | defaults | meaning |."""
    found: dict[str, str] = {}
    for keys, defaults in re.findall(r"^\| (`[^|]*`) \| ([^|]*) \|", text, re.MULTILINE):
        names, values = re.findall(r"`(\w+)`", keys), [value.strip(" `") for value in defaults.split(", ")]
        assert len(names) == len(values), f"{keys}: {len(names)} keys, {len(values)} defaults"
        found |= dict(zip(names, values, strict=True))
    return found


def written(value):
    """A default as the page writes it."""
    return f"{value:g}" if isinstance(value, float) else str(value).lower() if isinstance(value, bool) else str(value)


@pytest.mark.parametrize(("name", "kind"), [("rules", MarketRules), ("reward", RewardSettings)])
def test_every_setting_is_there_with_its_default(name, kind):
    expected = {field.name: written(field.default) for field in fields(kind)}
    assert table(section(name)) == expected


def test_every_training_setting_is_named_and_numbers_are_right():
    text = section("training").split("A trial learns its parameters")[0]
    found = table(text)
    names = {field.name for field in fields(TrainingSettings)} - {"validation", "unseen"}
    assert set(found) == names | {"periods"}
    for field in fields(TrainingSettings):
        if isinstance(field.default, int):
            assert found[field.name] == str(field.default), field.name


def test_every_commission_and_every_network_option_is_named():
    rules, network = section("rules"), " ".join(section("network").split())
    assert all(f"`{name}`" in rules for name in SCHEDULES)
    usual = NetworkSpec().to_dict()
    assert '{"kind": "mlp", "hidden": [64, 64], "activation": "tanh", "window": 1, "options": {}}' in network
    assert usual == {"kind": "mlp", "hidden": [64, 64], "activation": "tanh", "window": 1, "options": {}}
    for kind, options in OPTIONS.items():
        # Columns are filled in from the features' names, nobody sets them.
        own = {name: limits[0] for name, limits in options.items() if kind != ANE or not name.endswith("_column")}
        if own:
            inner = ", ".join(f'"{name}": {value}' for name, value in own.items())
            assert f"`{kind}` `{{{inner}}}`" in network, kind


def test_every_parameter_that_can_be_searched_is_named_with_its_algorithms_and_what_a_backend_lacks():
    rows = re.findall(r"^\| ([^|]*) \| on request \| ([^|]*) \|$", PAGE, re.MULTILINE)
    for name in {name for row in algorithms.all_algorithms().values() for name in row.optional}:
        found = [words for names, words in rows if f"`{name}`" in names]
        assert len(found) == 1, name
        able = {row.name for row in algorithms.all_algorithms().values() if name in row.optional}
        assert all(f"`{each}`" in found[0] for each in able), (name, able)
    limits = algorithms.get("sac").optional["target_entropy"]
    assert f"from {limits['low']:g} to {limits['high']:g}" in PAGE and all(f'`"{w}"`' in PAGE for w in limits["words"])
    text = " ".join(PAGE.split())
    lacking = [name for row in algorithms.all_algorithms().values() for name in row.lacks.get(TPU, ())]
    assert NETWORKS_ON == {TPU: ("mlp",)} and "on `tpu` every network but `mlp`, and `target_kl`" in text
    assert lacking == ["target_kl"]


def test_what_training_md_says_of_files_and_workers_is_so():
    page = " ".join((Path(__file__).resolve().parents[2] / "docs" / "training.md").read_text(encoding="utf-8").split())
    assert f"those of a failed run for {KEPT_FOR.days} days" in page and MOST_PER_CORE == 2
    assert f"per {MEMORY_PER_WORKER_MB:g} MB of free memory" in page and "may go to two per core" in page


def test_every_variable_of_the_environment_that_workers_read_is_named():
    assert "| `RAY_ADDRESS` |" in PAGE
