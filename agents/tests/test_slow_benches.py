"""The benches of the training room run to their end and leave nothing behind. What they measure is not judged here."""

import json
from pathlib import Path

import pytest
from django.conf import LazySettings

from agents.models import Agent, TrainingRun
from agents.tests.processes import trainings_in
from core.models import Account, Instrument

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]


def test_the_bench_of_two_workers_measures_and_tidies_up(tmp_path: Path, settings: LazySettings) -> None:
    with trainings_in(tmp_path, settings) as trainings:
        said = trainings.manage("bench", "tune", seconds=300.0)
    found = json.loads(said.strip().splitlines()[-1])
    assert found["bench"] == "tune" and found["unit"] == "trials/min"
    assert found["ratio"] == pytest.approx(found["value"] / found["baseline"], rel=0.01)
    assert not TrainingRun.objects.exists() and not Agent.objects.exists()
    assert not Account.objects.exists() and not Instrument.objects.filter(symbol="BENCH-TUNE").exists()
