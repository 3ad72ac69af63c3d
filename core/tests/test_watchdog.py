"""The watchdog keeps processes alive, gives up on what keeps crashing and ends what hangs; with real processes."""

import json
import os
import sys
import time
from datetime import timedelta

import pytest
from django.db import InterfaceError, OperationalError, connection
from django.utils import timezone
from django_q.models import OrmQ

from core import database, processes, watchdog
from core.job_kinds import find
from core.jobs import Job, claim, request
from core.models import Event, Heartbeat
from core.processes import ours, wait_until
from core.queries import lock_holder
from core.tests.job_processes import waiting_stream
from core.watchdog import Child, Watchdog

SLEEP = ["-c", "import time; time.sleep(60)"]
DIE = ["-c", "raise SystemExit(3)"]
STREAM = 2


@pytest.fixture(autouse=True)
def own_folder(settings, tmp_path, monkeypatch):
    """A local folder and mark of the test's own, a database that is never started or stopped, processes ended."""
    settings.LOCAL_DIR = tmp_path
    monkeypatch.setattr(database, "stop", lambda **_: True)
    yield
    processes.end(ours(), patience_seconds=0)


@pytest.fixture
def dog() -> Watchdog:
    """A watchdog that keeps only what a test gives it."""
    dog = Watchdog(port=1)
    dog.children = [Child("tasks", SLEEP)]
    return dog


def launches() -> list[tuple]:
    """What waits in the cluster's queue."""
    return [queued.task["args"] for queued in OrmQ.objects.order_by("id")]


@pytest.mark.django_db
class TestChild:
    def test_a_living_process_is_left_alone(self):
        child = Child("web", SLEEP)
        child.keep()
        pid = child.process.pid
        child.keep()
        assert (child.process.pid, child.n_starts) == (pid, 1)

    def test_a_killed_process_is_started_again_after_a_pause(self):
        child = Child("web", SLEEP, wait=0.2)
        child.keep()
        first = child.process
        first.kill()
        first.wait()
        child.keep()
        assert child.process is None, "not before the pause is over"
        assert wait_until(lambda: child.keep() or child.process is not None, seconds=3, every=0.02)
        assert child.process.pid != first.pid and child.process.poll() is None
        line = Event.objects.get(kind="component.restarted")
        assert (line.actor, line.message) == ("watchdog", "web ended with code -9 and is started again")

    def test_pauses_double_up_to_half_a_minute(self):
        child = Child("web", DIE)
        pauses = []
        for _ in range(7):
            child.start_at = 0.0
            child.keep()
            child.process.wait()
            pauses.append(child.wait)
            child.keep()
        assert pauses == [1, 2, 4, 8, 16, 30, 30]

    def test_a_minute_of_health_forgets_the_pauses(self):
        child = Child("web", SLEEP, wait=30)
        child.keep()
        child.keep()
        assert child.wait == 30
        child.started -= 61
        child.keep()
        assert child.wait == 1

    def test_restart_ends_it_with_its_workers_and_the_next_look_starts_it(self):
        workers = "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']); time.sleep(60)"  # fmt: skip  # noqa: E501
        child = Child("tasks", ["-c", workers])
        child.keep()
        assert wait_until(lambda: len(ours()) == 2, seconds=10)
        child.restart("test")
        assert wait_until(lambda: not ours(), seconds=5)
        child.keep()
        assert child.process.poll() is None and child.n_starts == 2


@pytest.mark.django_db
class TestLook:
    @pytest.mark.parametrize(
        "error",
        [
            OperationalError("no"),
            OperationalError(""),
            InterfaceError("closed"),
            database.DatabaseUnavailable("no way"),
        ],
    )
    def test_a_lost_database_ends_nothing_and_is_brought_back(self, dog, monkeypatch, error):
        def lost() -> None:
            raise error

        monkeypatch.setattr(connection, "close", lambda: None)
        with monkeypatch.context() as patch:
            patch.setattr(dog, "_look_at_database", lost)
            dog.look()
            dog.look()
        assert dog._database_down

        monkeypatch.setattr(database, "ensure_running", lambda **_: None)
        monkeypatch.setattr(watchdog, "use_address", lambda address: None)
        dog.look()
        assert not dog._database_down
        assert Event.objects.filter(kind="database.restarted").count() == 1
        assert dog.children[0].process.poll() is None
        assert Heartbeat.objects.get().component == "watchdog"

    def test_a_task_nobody_takes_restarts_the_cluster(self, dog):
        dog.look()
        cluster, first = dog.children[0], dog.children[0].process.pid
        OrmQ.objects.create(key="desk", payload="", lock=timezone.now() - timedelta(seconds=90))
        dog.look()
        assert cluster.process.pid == first, "it has only just been started"
        cluster.started -= 61
        dog.look()
        dog.look()
        assert cluster.process.pid != first and cluster.n_starts == 2

    def test_a_task_that_was_taken_restarts_nothing(self, dog):
        dog.look()
        dog.children[0].started -= 61
        OrmQ.objects.create(key="desk", payload="", lock=timezone.now() + timedelta(seconds=100))
        dog.look()
        dog.look()
        assert dog.children[0].n_starts == 1


@pytest.mark.django_db(transaction=True)
class TestJobs:
    @pytest.fixture
    def stream(self):
        return waiting_stream()

    def test_a_wanted_job_is_asked_for_and_not_again_at_once(self, dog, stream):
        dog._look_at_jobs()
        dog._look_at_jobs()
        assert launches() == [("stream", stream.pk)]

    @pytest.mark.parametrize("values", [{"desired_state": "stopped"}, {"state": "finished"}, {"state": "failed"}])
    def test_what_is_not_wanted_is_not_asked_for(self, dog, stream, values):
        type(stream).objects.update(**values)
        dog._look_at_jobs()
        assert launches() == []

    def test_a_lease_in_force_is_waited_for(self, dog, stream):
        claim(find("stream"), stream.pk)
        dog._look_at_jobs()
        assert launches() == []

    def test_a_process_that_died_before_its_lock_is_not_waited_for(self, dog, stream):
        claim(find("stream"), stream.pk)
        child = processes.start(f"stream:{stream.pk}", SLEEP)
        type(stream).objects.update(pid=child.pid)
        dog._look_at_jobs()
        assert launches() == [], "it is still starting"
        child.kill()
        child.wait()
        dog._asked[f"stream:{stream.pk}"] = time.monotonic() - 2
        dog._look_at_jobs()
        assert launches() == [("stream", stream.pk)]
        assert claim(find("stream"), stream.pk), "the lease of 20 s is gone"

    def test_five_quick_crashes_are_enough_even_without_any_heartbeat(self, dog, stream):
        # The last heartbeat is of yesterday: since then the process has died before its first.
        type(stream).objects.update(heartbeat_at=timezone.now() - timedelta(days=1))
        n_starts = 0
        for _ in range(10):
            dog._asked.clear()
            dog._look_at_jobs()
            type(stream).objects.update(lease_until=None)  # it ran out
            n_starts += claim(find("stream"), stream.pk)
            type(stream).objects.update(lease_until=None)
        assert n_starts == 5
        stream.refresh_from_db()
        assert (stream.state, stream.desired_state) == ("failed", "stopped")
        assert stream.state_reason.startswith("it ended 5 times right after its start")
        assert Event.objects.get(kind="job.failed").level == "critical"

        request("stream", stream.pk, "running")
        stream.refresh_from_db()
        assert (stream.n_restarts, stream.state) == (0, "stopped"), "a person's start counts anew"
        assert claim(find("stream"), stream.pk)

    def test_a_minute_of_life_forgets_crashes(self, dog, stream):
        type(stream).objects.update(n_restarts=4)
        job = Job(find("stream"), stream.pk)
        job._take_lock()
        try:
            job.beat("running")
            dog._look_at_jobs()
            stream.refresh_from_db()
            assert stream.n_restarts == 4
            aged(dog, stream, 61)
            dog._look_at_jobs()
            stream.refresh_from_db()
            assert stream.n_restarts == 0
        finally:
            job._release()

    def test_a_process_that_has_just_taken_its_lock_is_not_taken_for_hung(self, dog, stream):
        # After a night without a desk the heartbeat is old, and loading a model takes seconds.
        type(stream).objects.update(heartbeat_at=timezone.now() - timedelta(hours=9))
        job = Job(find("stream"), stream.pk)
        job._take_lock()
        try:
            dog._look_at_jobs()
            job._check_lock()
            aged(dog, stream, 10)
            dog._look_at_jobs()
            job._check_lock()
        finally:
            job._release()

    @pytest.mark.parametrize("beat", [timedelta(hours=9), None])
    @pytest.mark.parametrize("desired", ["running", "stopped"])
    def test_a_hung_job_is_ended_also_when_it_was_told_to_stop(self, dog, stream, beat, desired):
        child = processes.start(f"stream:{stream.pk}", SLEEP)
        other = processes.start("web", SLEEP)
        job = Job(find("stream"), stream.pk)
        job._take_lock()
        type(stream).objects.update(
            heartbeat_at=beat and timezone.now() - beat, pid=child.pid, host=os.uname().nodename, state="running",
            desired_state=desired,
        )  # fmt: skip
        dog._look_at_jobs()
        aged(dog, stream, 21)
        dog._look_at_jobs()
        assert child.wait(timeout=5) != 0
        assert other.poll() is None
        assert wait_until(lambda: lock_holder(STREAM, stream.pk) is None, seconds=5)
        dog._look_at_jobs()
        stream.refresh_from_db()
        if desired == "stopped":
            assert (stream.state, launches()) == ("stopped", [])
        else:
            assert launches() == [("stream", stream.pk)]
        job._release()

    def test_a_pid_that_is_somebody_elses_now_is_not_killed(self, dog, stream):
        web = processes.start("web", SLEEP)
        job = Job(find("stream"), stream.pk)
        job._take_lock()
        type(stream).objects.update(pid=web.pid, host=os.uname().nodename)
        dog._look_at_jobs()
        aged(dog, stream, 21)
        dog._look_at_jobs()
        assert wait_until(lambda: lock_holder(STREAM, stream.pk) is None, seconds=5)
        assert web.poll() is None
        job._release()

    def test_a_job_that_stopped_unexpectedly_is_journalled_once(self, dog, stream):
        type(stream).objects.update(state="running", heartbeat_at=timezone.now())
        dog._look_at_jobs()
        dog._look_at_jobs()
        assert Event.objects.filter(kind="job.restarted", subject=f"stream:{stream.pk}").count() == 1


def aged(dog: Watchdog, stream, seconds: float) -> None:
    """As if the lock had been held for so many seconds."""
    name = f"stream:{stream.pk}"
    backend, since = dog._holders[name]
    dog._holders[name] = (backend, since - seconds)


@pytest.mark.django_db
def test_stop_everything_ends_jobs_and_leaders_but_not_our_own_family():
    jobs = [processes.start("agent:1", SLEEP), processes.start("web", SLEEP)]
    watchdog.stop_everything()
    assert all(job.wait(timeout=5) != 0 for job in jobs)
    assert not ours()


def test_only_a_living_watchdog_counts_as_running():
    assert watchdog.running() is None
    watchdog.pid_file().write_text("broken")
    assert watchdog.running() is None
    # Some other process has got the pid of a crashed one.
    watchdog.pid_file().write_text(json.dumps({"pid": os.getppid(), "url": "http://x/"}))
    assert watchdog.running() is None
    watchdog.pid_file().write_text(json.dumps({"pid": 2**22 - 1, "url": "http://x/"}))
    assert watchdog.running() is None
    mine = processes.start("x", ["-c", "import time; time.sleep(60)", "manage.py", "up"])
    watchdog.pid_file().write_text(json.dumps({"pid": mine.pid, "url": "http://x/"}))
    assert watchdog.running()["pid"] == mine.pid
    # A stream's process is a manage.py of ours too, but no watchdog.
    other = processes.start("x", ["-c", "import time; time.sleep(60)", "manage.py", "run_stream", "1"])
    watchdog.pid_file().write_text(json.dumps({"pid": other.pid, "url": "http://x/"}))
    assert watchdog.running() is None
    assert sys.executable in " ".join(ours()[0].cmdline())
