"""The algorithm that docs/training.md adds in one module: found, tuned, trained, published, and better than chance."""

import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from django.conf import settings as django_settings
from django.core.management import call_command

from agents import algorithms, registry
from agents.algorithms import registry as table
from agents.models import Agent, ModelVersion, TrainingRun
from agents.runs.training import train
from agents.tests.desk import make_agent, make_run
from agents.tests.test_every_algorithm_learns import WANTED_SHARE, share
from core.models import Instrument

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
PAGE = Path(django_settings.BASE_DIR) / "docs" / "training.md"


@pytest.fixture
def with_tqc(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, settings) -> Iterator[None]:
    """The page's own text as a module among the algorithms."""
    settings.MODELS_DIR, settings.LOCAL_DIR = tmp_path / "models", tmp_path
    (code,) = re.findall(r"```python\n(\"\"\"TQC.*?)```", PAGE.read_text(), re.DOTALL)
    (tmp_path / "tqc.py").write_text(code)
    assert "tqc" not in algorithms.names(), "the others are known already"
    monkeypatch.setattr(algorithms, "__path__", [*algorithms.__path__, str(tmp_path)])
    monkeypatch.setattr(table, "_FOUND", dict(table._FOUND))
    table._discover.cache_clear()
    yield
    sys.modules.pop("agents.algorithms.tqc", None)
    table._discover.cache_clear()


@pytest.mark.usefixtures("with_tqc")
def test_the_pages_module_is_all_that_a_new_algorithm_needs() -> None:
    make_agent("sac", name="other")
    symbol = Instrument.objects.get().symbol
    call_command("add_agent", "cautious", "--symbol", symbol, "--algorithm", "tqc", verbosity=0)
    assert Agent.objects.get(name="cautious").algorithm_label == "TQC"

    search = {"drop": "nothing", "dropped": {"choices": [0, 2]}}
    agent = make_agent("tqc", name="tuned", n_steps=1_024, n_trials=2, n_evaluations=1, search=search)
    model = train(make_run(agent))
    assert model.state == "deployed" and registry.load(model).algorithm == "tqc"
    rows = TrainingRun.objects.get(agent=agent).trials.all()
    assert {row.parameters["dropped"] for row in rows} <= {0, 2}
    assert all(0.0003 <= row.parameters["learning_rate"] <= 0.003 for row in rows)
    assert ModelVersion.objects.get() == model


@pytest.mark.usefixtures("with_tqc")
def test_it_learns_the_sine() -> None:
    assert share("tqc", 10_000, {"gamma": 0.95}, None, "cpu") >= WANTED_SHARE
