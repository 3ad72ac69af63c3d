"""A study whose workers are tasks of a real Ray cluster, started for this test on this machine."""

import os
import shutil
import socket
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from agents.models import ModelVersion, Trial
from agents.runs.training import train
from agents.tests.desk import make_agent, make_run
from core.processes import wait_until
from core.tests.job_processes import test_database_url
from tests.running_desk import free_port

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
if find_spec("ray") is None:  # not imported here: Ray reads its settings when it is
    pytest.skip("Ray is an optional group: pip install '.[cluster]'", allow_module_level=True)
RAY = Path(sys.executable).with_name("ray")
QUIET = {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DISABLE_IMPORT_WARNING": "1", "RAY_AUTH_MODE": "disabled"}


def answers(port: int) -> bool:
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.fixture
def cluster(settings, tmp_path, monkeypatch):
    """A head with two cores on loopback; its address stands in RAY_ADDRESS."""
    settings.MODELS_DIR, settings.LOCAL_DIR = tmp_path / "models", tmp_path
    port, folder = free_port(), Path("/tmp") / f"ray-test-{os.getpid()}"  # its sockets need a short path
    command = [str(RAY), "start", "--head", f"--port={port}", "--node-ip-address=127.0.0.1", "--num-cpus=2",
        "--include-dashboard=false", "--object-store-memory=100000000", "--disable-usage-stats",
        f"--temp-dir={folder}", "--block"]  # fmt: skip
    head = subprocess.Popen(command, env={**os.environ, **QUIET}, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    assert wait_until(lambda: answers(port), seconds=60)
    for name, value in {
        "RAY_ADDRESS": f"127.0.0.1:{port}", "DATABASE_URL": test_database_url(), "DESK_LOCAL_DIR": str(tmp_path),
        "DESK_MODELS_DIR": str(tmp_path / "models"), **QUIET,
    }.items():  # fmt: skip
        monkeypatch.setenv(name, value)
    yield
    import ray

    ray.shutdown()
    head.terminate()
    head.wait(60)
    shutil.rmtree(folder, ignore_errors=True)


def test_workers_on_a_cluster_give_the_weights_of_a_training_alone(cluster, monkeypatch):
    agent = make_agent(n_trials=4, n_folds=1, n_seeds=1, n_steps=4_000, n_evaluations=2, n_final_seeds=1, n_workers=2)
    there = train(make_run(agent, 5))
    workers = set(there.run.trials.values_list("worker", flat=True))
    assert there.run.trials.filter(state__in=[Trial.State.DONE, Trial.State.PRUNED]).count() == 4
    assert not any(worker.endswith(f":{os.getpid()}") for worker in workers), "this process must not have helped"
    monkeypatch.delenv("RAY_ADDRESS")
    here = train(make_run(agent, 5))
    assert there.weights_sha256 == here.weights_sha256
    assert ModelVersion.objects.count() == 2
