import subprocess
import sys
from types import SimpleNamespace

import pytest

from agents.studies import machine, ray_workers, workforce
from agents.studies.ray_workers import RayMissing, RayWorkers
from agents.studies.workforce import LocalWorkers, WorkersFail, n_workers, workforce_for
from core.processes import wait_until


@pytest.mark.parametrize(
    ("asked", "useful", "n_trainings", "free_mb", "expected"),
    [
        (0, 10, 1, 64_000, 8),  # a worker for every core
        (0, 10, 2, 64_000, 4),  # two trainings share the cores
        (0, 3, 1, 64_000, 3),  # no more than there is to do
        (0, 10, 1, 2_000, 3),  # 2,000 MB hold three of 600 MB
        (0, 10, 1, 100, 1),  # one in any case
        (12, 20, 3, 64_000, 12),  # who asks for a number gets it
        (12, 20, 1, 3_000, 5),  # as far as memory goes
        (0, 0, 1, 64_000, 1),
        (100, 100, 1, 64_000, 16),  # two to a core at most
        (1, 10, 1, 64_000, 1),
        (100, 1, 1, 64_000, 1),
        (100, 100, 1, 0, 1),
        (0, 100, 20, 64_000, 1),  # more trainings than cores: one each
    ],
)
def test_workers_fit_cores_memory_and_what_there_is_to_do(monkeypatch, asked, useful, n_trainings, free_mb, expected):
    monkeypatch.setattr(workforce, "n_cores", lambda: 8)
    assert n_workers(asked, useful, n_trainings, free_mb=free_mb) == expected


def test_memory_that_workers_have_already_is_not_missing_to_them(monkeypatch):
    # 2,400 MB held four of 600 MB; with all four at work nothing is free, and yet it is four that fit.
    monkeypatch.setattr(workforce, "n_cores", lambda: 8)
    assert n_workers(0, 10, free_mb=2_400.0) == 4
    assert n_workers(0, 10, n_working=4, free_mb=100.0) == 4
    assert n_workers(0, 10, n_working=3, free_mb=700.0) == 4  # one has died, and is replaced


def test_a_container_s_limits_count(tmp_path):
    here, free = machine.n_cores(tmp_path), machine.free_memory_mb(tmp_path)  # no limits there
    assert here >= 1 and free > 0
    for text, cores in (("max 100000", here), ("50000 100000", 1), ("100000000 100000", here), ("nonsense", here)):
        (tmp_path / "cpu.max").write_text(text)
        assert machine.n_cores(tmp_path) == cores
    for name, text in {
        "memory.max": str(500 << 20), "memory.current": str(450 << 20),
        "memory.stat": f"anon 7\ninactive_file {20 << 20}\nactive_file 9\n",
    }.items():  # fmt: skip
        (tmp_path / name).write_text(text)
    # 500 MB allowed, 450 used, of which 20 can be given up: 70 are left.
    assert machine.free_memory_mb(tmp_path) == pytest.approx(min(70.0, free))
    (tmp_path / "memory.current").write_text(str(600 << 20))
    assert machine.free_memory_mb(tmp_path) == 0.0
    (tmp_path / "memory.max").write_text("max")
    assert machine.free_memory_mb(tmp_path) > 70.0


@pytest.fixture
def program(monkeypatch):
    """Workers run this instead of a worker."""
    code = ["import time; time.sleep(60)"]
    monkeypatch.setattr(
        workforce.processes, "start",
        lambda name, arguments: subprocess.Popen([sys.executable, "-c", code[0]], start_new_session=True),
    )  # fmt: skip
    return code


def test_who_is_missing_is_started_and_all_are_ended(program):
    workers = LocalWorkers(1)
    workers.keep(2, 0)
    first = workers.pids()
    assert len(first) == 2
    workers._working[0].kill()
    workers._working[0].wait()
    workers.keep(2, 0)  # after a crash it takes a moment
    assert wait_until(lambda: workers.keep(2, 0) or len(workers.pids()) == 2, seconds=5)
    assert len({*first, *workers.pids()}) == 3
    workers.end()
    assert workers.pids() == []


def test_when_memory_is_short_a_worker_is_sent_home(program, monkeypatch):
    workers = LocalWorkers(1)
    workers.keep(2, 0)
    monkeypatch.setattr(workforce, "free_memory_mb", lambda: 50.0)
    workers.keep(2, 0)
    assert wait_until(lambda: workers.keep(2, 0) or len(workers.pids()) == 1, seconds=5)
    workers.keep(2, 0)
    assert len(workers.pids()) == 1  # the last one stays, and nobody comes in its place
    workers.end()


def test_workers_that_end_with_an_error_again_and_again_are_given_up(program, monkeypatch):
    program[0] = "raise SystemExit(3)"
    workers = LocalWorkers(1)

    def keep(n_ended=0):
        workers._start_at = 0.0  # no pause between crashes
        workers.keep(1, n_ended)

    def fails():
        try:
            keep()
        except WorkersFail as error:
            return "5 workers in a row" in str(error)
        return False

    assert wait_until(fails, seconds=20, every=0.05)
    assert workers.pids() == []


def test_a_trial_that_ends_between_makes_up_for_crashes(program):
    program[0] = "raise SystemExit(3)"
    workers = LocalWorkers(1)
    for n_ended in range(8):
        for _ in range(2):  # the first look takes note of the crash, the second starts another
            workers._start_at = 0.0
            workers.keep(1, n_ended)
        workers._working[0].wait()
    workers.end()


class FakeRay:
    """As much of Ray as is used; it cannot say whether a real cluster behaves so."""

    def __init__(self, cores):
        self.cores, self.given, self.done, self.canceled, self.address = cores, [], [], [], ""

    def init(self, address, **options):
        self.address = address

    def remote(self, **options):
        def take(function):
            assert function is ray_workers.work_on_host
            return SimpleNamespace(remote=lambda *arguments: self.given.append(arguments) or len(self.given))

        return take

    def cluster_resources(self):
        return {"CPU": float(self.cores)}

    def wait(self, tasks, **options):
        return [task for task in tasks if task in self.done], [task for task in tasks if task not in self.done]

    def get(self, tasks):
        return tasks

    def cancel(self, task):
        self.canceled.append(task)


def test_ray_gets_a_task_per_worker_up_to_the_cluster_s_cores(monkeypatch, settings):
    ray = FakeRay(3)
    monkeypatch.setitem(sys.modules, "ray", ray)
    monkeypatch.setattr(ray_workers, "reach", lambda address: None)
    monkeypatch.setenv("RAY_ADDRESS", "ray://head:10001")
    monkeypatch.setenv("DATABASE_URL", "postgres://desk@db/desk")
    workers = workforce_for(5)
    assert isinstance(workers, RayWorkers)
    assert ray.address == "ray://head:10001"
    workers.keep(8, 0)
    assert len(ray.given) == 3
    run_pk, folder, environment = ray.given[0]
    assert (run_pk, folder, environment["DATABASE_URL"]) == (5, str(settings.BASE_DIR), "postgres://desk@db/desk")
    ray.done = [2]
    workers.keep(8, 0)
    assert len(ray.given) == 4  # the one that ended is replaced
    assert workers.pids() == []
    workers.end()
    assert ray.canceled == [1, 3, 4]


def test_without_ray_the_address_is_one_clear_line(monkeypatch):
    monkeypatch.setitem(sys.modules, "ray", None)
    monkeypatch.setenv("RAY_ADDRESS", "auto")
    with pytest.raises(RayMissing, match=r"Ray is not installed: pip install '\.\[cluster\]', or unset RAY_ADDRESS"):
        workforce_for(5)
    monkeypatch.delenv("RAY_ADDRESS")
    assert isinstance(workforce_for(5), LocalWorkers)
