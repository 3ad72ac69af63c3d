"""Wrong input to the training room's commands: one clear line and an exit code that says so, never a traceback."""

import os
import subprocess
import sys

import pytest
from django.core.management import CommandError, call_command
from django.db import connection

from agents.models import TrainingRun
from agents.runs.training import TrainingFailed, train
from agents.studies import ray_workers, workforce
from agents.studies.ray_workers import RayMissing, RayWorkers
from agents.studies.workforce import MOST_CRASHES, WorkersFail
from agents.tests.desk import make_agent, make_run
from agents.tests.worlds import configuration

HUGE = "100000000000000000000"


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["train", "nobody"], "there is no agent nobody; there are: walker"),
        (["train", "walker", "--trials", "-3"], "n_trials: got -3, expected 1 to 100,000"),
        (["train", "walker", "--trials", HUGE], f"n_trials: got {HUGE}, expected 1 to 100,000"),
        (["train", "walker", "--workers", HUGE], f"n_workers: got {HUGE}, expected 0 to 1,024"),
        (["train", "walker", "--minutes", HUGE], f"max_minutes: got {HUGE}, expected at least 1 and at most"),
        (["train", "walker", "--minutes-each", HUGE], f"max_minutes: got {HUGE}, expected at least 1 and at most"),
        (["train", "walker", "--seed", HUGE], f"seed: got {HUGE}, expected"),
        (["train", "walker", "--backend", "mars"], "invalid choice: 'mars'"),
        (["train", "walker", "--backend", "cuda"], "backend: No GPU was found on this machine."),
        (["training", "pause", HUGE], f"there is no training run {HUGE}"),
        (["training", "dance", "1"], "invalid choice: 'dance'"),
        (["run_study_worker", HUGE], f"there is no training run {HUGE}"),
        (["run_training", HUGE], f"there is no training run {HUGE}"),
        (["bench", "nothing"], "there is no bench 'nothing'; there are bars, env"),
    ],
)
def test_wrong_words_are_one_clear_line(words, message, monkeypatch, tmp_path):
    monkeypatch.setattr("agents.training_pages.training_backends.DEVICES", tmp_path)
    make_agent()
    with pytest.raises(CommandError) as caught:
        call_command(*words)
    assert message in str(caught.value) and "\n" not in str(caught.value)
    assert not TrainingRun.objects.exists()


@pytest.mark.django_db
@pytest.mark.parametrize(
    ("values", "state"),
    [
        ({"state": "finished"}, "finished"), ({"state": "failed", "desired_state": "stopped"}, "failed"),
        ({"state": "paused", "desired_state": "paused"}, "paused"),
        ({"state": "stopped", "desired_state": "stopped"}, "stopped"),
    ],
)  # fmt: skip
def test_a_worker_is_refused_where_there_is_nothing_to_do(values, state):
    run = make_run(make_agent())
    TrainingRun.objects.filter(pk=run.pk).update(**{"study_name": "x", "desired_state": "running", **values})
    with pytest.raises(CommandError, match=f"training run {run.pk} is {state}, so it has no trials to carry out"):
        call_command("run_study_worker", str(run.pk))


@pytest.mark.parametrize("words", [["train", "walker"], ["run_study_worker", "1"], ["training", "pause", "1"]])
def test_without_a_database_there_is_one_line_too(words):
    environment = {**os.environ, "DATABASE_URL": "postgres://desk:x@127.0.0.1:9/none"}
    done = subprocess.run(
        [sys.executable, "manage.py", *words], env=environment, capture_output=True, text=True, timeout=120
    )
    assert done.returncode == 1 and done.stdout == ""
    assert done.stderr.startswith("The database does not answer (") and done.stderr.count("\n") == 1


class DeadRay:
    """A Ray whose cluster is not there, or whose workers all fail."""

    class exceptions:  # as Ray calls it
        RayError = RuntimeError

    def __init__(self, reachable: bool) -> None:
        self.reachable = reachable

    def init(self, **others):
        if not self.reachable:
            raise ConnectionError("ray client connection timeout")

    def remote(self, **others):
        return lambda function: self

    def cluster_resources(self):
        return {"CPU": 1.0}

    def wait(self, tasks, **others):
        return tasks, []

    def get(self, task):
        raise RuntimeError("ray::work_on_host()\n  File x\nModuleNotFoundError: No module named 'agents'")

    def cancel(self, task):
        pass


@pytest.mark.parametrize("address", ["auto", "ray://somewhere"])
def test_what_ray_itself_says_of_an_address_is_told(monkeypatch, address):
    monkeypatch.setattr(ray_workers, "_ray", lambda: DeadRay(reachable=False))
    with pytest.raises(RayMissing, match=rf"RAY_ADDRESS is {address}, .* \(ray client connection timeout\)"):
        RayWorkers(1, address)


@pytest.mark.django_db
def test_a_ray_cluster_that_does_not_answer_ends_the_run_with_one_line(monkeypatch):
    monkeypatch.setattr(ray_workers, "_ray", lambda: DeadRay(reachable=False))
    monkeypatch.setenv("RAY_ADDRESS", "ray://127.0.0.1:9")
    line = r"RAY_ADDRESS is ray://127.0.0.1:9, but no Ray cluster can be used there \(.*Connection refused\)"
    with pytest.raises(RayMissing, match=line):
        workforce.workforce_for(1)
    with pytest.raises(TrainingFailed, match=line) as caught:
        train(make_run(make_agent()))
    assert "\n" not in str(caught.value)


def test_workers_that_fail_on_the_cluster_again_and_again_end_the_run(monkeypatch, settings):
    ray = DeadRay(reachable=True)
    monkeypatch.setattr(ray_workers, "reach", lambda address: None)
    monkeypatch.setattr(ray_workers, "_ray", lambda: ray)
    workers = RayWorkers(1, "ray://head:10001")
    monkeypatch.setattr(workers, "_task", type("Task", (), {"remote": lambda *given: object()}))
    for _ in range(MOST_CRASHES):
        workers.keep(1, 0)
    with pytest.raises(
        WorkersFail, match="5 workers in a row failed on the Ray cluster: ModuleNotFoundError"
    ) as caught:
        workers.keep(1, 0)
    assert "\n" not in str(caught.value)
    workers.end()


@pytest.mark.parametrize(
    ("name", "value"), [("n_trials", 10**20), ("n_workers", 10**20), ("max_minutes", 10**20), ("n_steps", 10**9 + 1)]
)
def test_settings_too_large_to_store_are_refused_by_name(name, value):
    from agents.configuration import ConfigurationError, parse

    data = configuration()
    data["training"] = data["training"] | {name: value}
    with pytest.raises(ConfigurationError, match=f"training.{name}: got {value}"):
        parse("ppo", data)
    many = {"n_trials": 10**9, "n_steps": 10**9, "n_folds": 10}
    data["training"] = data["training"] | {name: 1} | many
    with pytest.raises(ConfigurationError, match="lower n_trials, n_folds, n_seeds or n_steps"):
        parse("ppo", data)
    assert connection.vendor == "postgresql"  # whose integers end at 2**31 and 2**63
