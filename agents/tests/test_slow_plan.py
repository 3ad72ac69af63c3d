"""Lists of agents trained in order by processes, cut by the clock; and a test that is over in seconds."""

from collections.abc import Iterator
from datetime import timedelta

import pytest
from django.db.models import F
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from agents.models import ModelVersion, TrainingPlan, TrainingRun, Trial
from agents.tests.desk import make_agent
from agents.tests.processes import Trainings, trainings_in
from core.models import Event
from tests import factories

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
LONG = {"n_trials": 1_000, "n_steps": 8_192, "n_evaluations": 1, "pruner": "none"}  # many minutes
SECONDS_LEFT = 7.0


@pytest.fixture
def trainings(settings, tmp_path) -> Iterator[Trainings]:
    with trainings_in(tmp_path, settings) as found:
        yield found


def test_a_plan_trains_in_order_and_the_clock_cuts_each_run_and_the_plan(trainings: Trainings) -> None:
    for name in ("one", "two", "three"):
        make_agent(name=name, **LONG)
    said = trainings.manage("train", "two", "one", "three", "--plan", "nightly", "--minutes", "1",
        "--minutes-each", "1", "--workers", "1")  # fmt: skip
    assert [line.split(": ")[1] for line in said.splitlines()] == ["two begins", "one waits", "three waits"]
    plan = TrainingPlan.objects.get()
    assert (plan.name, plan.max_minutes) == ("nightly", 1)
    two, one, three = plan.runs.order_by("position", "id")
    assert [run.agent.name for run in (two, one, three)] == ["two", "one", "three"]
    # All but the last seconds of each run's minute are behind it, as after a restart of the desk.
    plan.runs.update(worked_seconds=60.0 - SECONDS_LEFT)

    trainings.wait(lambda: TrainingRun.objects.get(pk=one.pk).started_at is not None, "the second begins")
    two.refresh_from_db()
    assert two.state == "finished", "one after the other"
    plan.runs.filter(pk=two.pk).update(started_at=F("started_at") - timedelta(minutes=1))  # the plan's minute is over
    trainings.wait(lambda: not plan.runs.exclude(finished_at__isnull=False).exists(), "all have ended")
    for run in (two, one):
        run.refresh_from_db()
        check_it_was_cut(run)
    three.refresh_from_db()
    assert (three.phase, three.state, three.trials.count()) == ("Left out, the plan's time is over", "stopped", 0)
    assert three.started_at is None
    assert Event.objects.filter(kind="training.left_out", subject=f"training:{three.pk}").exists()
    assert set(ModelVersion.objects.values_list("agent__name", flat=True)) == {"one", "two"}


def check_it_was_cut(run: TrainingRun) -> None:
    """Far from done, and none of its trials began after its minute; the best of those before it is what trades."""
    trials = list(run.trials.order_by("number"))
    assert 1 <= len(trials) < LONG["n_trials"] / 2
    assert {trial.state for trial in trials} == {Trial.State.DONE}
    assert 60.0 <= run.worked_seconds < 90.0
    began = run.finished_at - timedelta(seconds=run.worked_seconds - (60.0 - SECONDS_LEFT))
    assert all(trial.started_at < began + timedelta(seconds=SECONDS_LEFT + 2.0) for trial in trials)
    best = max(trials, key=lambda trial: (trial.value, -trial.number))
    model = ModelVersion.objects.get(run=run)
    assert model.metrics["study"]["from_trial"] == best.number, "nothing was learned anew when time was over"
    assert model.weights_sha256 == best.parts[0]["weights_sha256"]
    assert run.agent.__class__.objects.get(pk=run.agent_id).deployed_version == model


def test_a_test_goes_through_everything_in_seconds_and_never_trades(trainings: Trainings) -> None:
    agent = make_agent(n_trials=500, n_folds=3, n_seeds=3, n_steps=5_000_000)
    began = timezone.now()
    assert "begins" in trainings.manage("train", agent.name, "--test")
    run = TrainingRun.objects.get()
    model = trainings.carry_out(run, seconds=60)
    assert (timezone.now() - began).total_seconds() < 60
    assert run.worked_seconds < 20
    assert (run.trials.count(), run.n_steps_total) == (2, 3 * 2_048)
    assert all(len(trial.parts) == 1 for trial in run.trials.all())
    agent.refresh_from_db()
    assert (model.state, agent.deployed_version) == ("proven", None)
    client = Client()
    client.force_login(factories.operator())
    assert 'badge warn">test' in client.get(reverse("training-run", args=[run.pk])).content.decode()
