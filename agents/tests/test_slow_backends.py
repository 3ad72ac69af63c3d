"""Backends from beginning to end: what is not here is one line for a person; what is here learns."""

from collections.abc import Iterator
from typing import Any

import pytest
import torch
from django.test import Client
from django.urls import reverse

from agents.models import ModelVersion
from agents.tests.desk import make_agent, make_run
from agents.tests.processes import Trainings, trainings_in
from agents.tests.test_every_algorithm_learns import WANTED_SHARE, share
from tests import factories

pytestmark = pytest.mark.slow
HAS_GPU = torch.cuda.is_available()
# One of each kind that calculates differently: networks in 16 bit, networks in float32, a memory, values.
ON_A_GPU: dict[str, tuple[str, int, dict[str, Any] | None]] = {
    "ppo": ("ppo", 150_000, None),
    "ppo with ane": ("ppo", 80_000, {"kind": "ane", "hidden": [32], "window": 8}),
    "ppo with lstm": ("ppo", 80_000, {"kind": "lstm", "hidden": [32], "window": 8}),
    "recurrent_ppo": ("recurrent_ppo", 60_000, {"kind": "recurrent", "hidden": [32]}),
    "sac": ("sac", 60_000, None),
    "dqn": ("dqn", 80_000, None),
}


@pytest.fixture
def trainings(settings, tmp_path) -> Iterator[Trainings]:
    with trainings_in(tmp_path, settings) as found:
        yield found


@pytest.mark.django_db(transaction=True)
@pytest.mark.skipif(HAS_GPU, reason="there is an NVIDIA GPU here, so nothing is missing")
def test_a_training_on_a_gpu_that_is_not_there_ends_with_one_line(trainings: Trainings) -> None:
    agent = make_agent()
    run = make_run(agent)
    type(run).objects.filter(pk=run.pk).update(backend="cuda")
    assert trainings.start(run.pk).wait(60) is not None
    run.refresh_from_db()
    assert (run.state, run.phase, run.trials.count()) == ("failed", "Failed", 0)
    assert "backend cuda" in run.state_reason and "no NVIDIA GPU" in run.state_reason
    assert "\n" not in run.state_reason and "Traceback" not in trainings.log()
    assert not ModelVersion.objects.exists()
    client = Client()
    client.force_login(factories.operator())
    page = client.get(reverse("training-run", args=[run.pk])).content.decode()
    assert "no NVIDIA GPU" in page and "Start again" in page
    # Nothing stands in the way of the same agent on what is here.
    agent.refresh_from_db()
    again = make_run(agent)
    assert trainings.carry_out(again, mode="test").run == again


@pytest.mark.skipif(not HAS_GPU, reason="no NVIDIA GPU here")
@pytest.mark.parametrize("case", ON_A_GPU)
def test_it_learns_the_sine_on_a_gpu_and_is_served_by_the_processor(case: str) -> None:
    algorithm, n_steps, network = ON_A_GPU[case]
    assert share(algorithm, n_steps, {"gamma": 0.95}, network, "cuda") >= WANTED_SHARE
