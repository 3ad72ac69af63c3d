"""Trainings as the desk carries them out: processes that share a study, are paused, and are killed."""

import os
import signal
import subprocess
import sys

import psutil
import pytest
from django.conf import settings as django_settings

from agents.models import ModelVersion, TrainingRun, Trial
from agents.runs import control
from agents.runs.training import train
from agents.tests.desk import make_agent, make_run
from core.models import JobRow
from core.processes import wait_until
from core.tests.job_processes import reaches, test_database_url

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
SIZE = {"n_trials": 5, "n_folds": 2, "n_seeds": 1, "n_steps": 20_000, "n_evaluations": 4, "n_final_seeds": 2}


@pytest.fixture
def folder(settings, tmp_path):
    settings.MODELS_DIR, settings.LOCAL_DIR = tmp_path / "models", tmp_path
    return tmp_path


@pytest.fixture
def start(folder):
    """Starts `manage.py run_training`; ends what is left of it and its workers."""
    started: list[subprocess.Popen] = []
    environment = {
        "DATABASE_URL": test_database_url(), "DESK_LOCAL_DIR": str(folder), "DESK_MODELS_DIR": str(folder / "models"),
        "OMP_NUM_THREADS": "1",
    }  # fmt: skip

    def run(pk: int) -> subprocess.Popen:
        log = (folder / "training.log").open("ab")
        process = subprocess.Popen(
            [sys.executable, "manage.py", "run_training", str(pk)], cwd=django_settings.BASE_DIR,
            env={**os.environ, **environment}, stdout=log, stderr=log,
        )  # fmt: skip
        started.append(process)
        return process

    yield run
    for process in started:
        kill(process)


def kill(process: subprocess.Popen) -> int:
    """kill -9 for a training and every worker of it at once. Returns: how many workers there were."""
    try:
        family = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return 0
    for one in (process.pid, *(worker.pid for worker in family)):
        if psutil.pid_exists(one):
            os.kill(one, signal.SIGKILL)
    process.wait()
    return len(family)


def evaluations(run: TrainingRun) -> int:
    return run.points.filter(values__has_key="score").count()


def test_killed_with_its_workers_it_ends_with_the_weights_of_one_that_was_not(start):
    agent = make_agent(**SIZE)
    undisturbed = train(make_run(agent, 7))  # alone, in this process
    run = make_run(agent, 7)
    TrainingRun.objects.filter(pk=run.pk).update(n_workers=2)
    marks = [3, 9, evaluations(undisturbed.run) - 2]
    n_workers = 0
    for mark in marks:
        process = start(run.pk)
        assert wait_until(lambda mark=mark: evaluations(run) >= mark, seconds=90)
        n_workers = max(n_workers, kill(process))
        assert not ModelVersion.objects.filter(run=run).exists()
    process = start(run.pk)
    assert process.wait(120) == 0
    model = ModelVersion.objects.get(run=run)
    assert n_workers == 2
    assert model.weights_sha256 == undisturbed.weights_sha256
    assert (model.parameters, model.seed) == (undisturbed.parameters, undisturbed.seed)
    told = [list(one.run.trials.order_by("number").values_list("parameters", "value", "state"))
        for one in (model, undisturbed)]  # fmt: skip
    assert told[0] == told[1]
    assert {row.state for row in run.trials.all()} <= {Trial.State.DONE, Trial.State.PRUNED}


def test_a_pause_ends_the_workers_and_a_resume_goes_on(start):
    run = make_run(make_agent(**SIZE), 3)
    TrainingRun.objects.filter(pk=run.pk).update(n_workers=2)
    process = start(run.pk)
    assert wait_until(lambda: evaluations(run) >= 2, seconds=60)
    control.pause_training(run, actor="test")
    assert reaches(run, state=JobRow.State.PAUSED, seconds=40)
    assert wait_until(lambda: not psutil.Process(process.pid).children(), seconds=10)
    assert not run.trials.filter(state=Trial.State.RUNNING).exclude(worker="").exists()
    control.resume_training(run, actor="test")
    assert reaches(run, state=JobRow.State.FINISHED, seconds=120)
    assert ModelVersion.objects.filter(run=run).exists()
