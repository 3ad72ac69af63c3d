"""Only one process ever runs a job, another takes over within seconds, and the row always says how it is."""

import os
import signal
import threading
import time
from datetime import timedelta

import psutil
import psycopg
import pytest
from django.apps import apps
from django.core.management import CommandError, call_command
from django.db import InterfaceError, OperationalError, close_old_connections, connection
from django.utils import timezone
from django_q.models import OrmQ

from core import processes
from core.job_kinds import all_kinds, find
from core.jobs import EXIT_TRY_AGAIN, Job, JobFailedError, LockLostError, claim, fail, hold, launch, request
from core.models import JobRow
from core.notices import notify
from core.processes import wait_until
from core.queries import end_backend, lock_holder
from core.tests.job_processes import reaches, run_stream, test_database_url, waiting_stream

pytestmark = pytest.mark.django_db(transaction=True)
STREAM = 2


@pytest.fixture
def stream():
    return waiting_stream()


@pytest.fixture
def children():
    """Started processes, ended whatever happens."""
    started: list = []
    yield started
    for child in started:
        if child.poll() is None:
            child.kill()
        child.communicate()


@pytest.fixture
def held(stream):
    """A job that this test itself holds."""
    job = Job(find("stream"), stream.pk)
    assert job._take_lock()
    yield job
    job._release()


def test_kinds_are_known_by_name():
    assert [kind.name for kind in all_kinds()] == ["agent", "stream", "training", "fetch"]
    with pytest.raises(KeyError, match="known: agent, fetch, stream, training"):
        find("robot")


def test_claim_is_compare_and_set(stream):
    kind = find("stream")
    assert claim(kind, stream.pk)
    stream.refresh_from_db()
    assert (stream.state, stream.n_restarts, stream.pid) == ("starting", 1, None)
    assert stream.lease_until > timezone.now()
    assert not claim(kind, stream.pk), "the lease is somebody's"
    type(stream).objects.update(lease_until=timezone.now() - timedelta(seconds=1))
    assert claim(kind, stream.pk), "the lease ran out"


def test_of_two_launchers_at_once_one_claims(stream):
    answers: list[bool] = []
    gate = threading.Barrier(2)

    def launcher() -> None:
        connection.ensure_connection()
        gate.wait(5)
        answers.append(claim(find("stream"), stream.pk))
        connection.close()

    for _ in range(5):
        type(stream).objects.update(lease_until=None)
        answers.clear()
        threads = [threading.Thread(target=launcher) for _ in range(2)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(10)
        assert sorted(answers) == [False, True]
    close_old_connections()


@pytest.mark.parametrize(
    "values", [{"desired_state": "stopped"}, {"state": "finished"}, {"state": "failed", "desired_state": "stopped"}]
)
def test_what_is_not_wanted_or_has_ended_is_not_claimed(stream, values):
    type(stream).objects.update(**values)
    assert not claim(find("stream"), stream.pk)
    assert not claim(find("stream"), 999_999)


def test_a_held_job_is_not_claimed_and_its_holder_is_found(stream, held):
    assert lock_holder(STREAM, stream.pk) == held._session.info.backend_pid
    assert lock_holder(STREAM, stream.pk + 1) is None
    assert lock_holder(STREAM + 1, stream.pk) is None
    assert not claim(find("stream"), stream.pk)
    held._release()
    assert wait_until(lambda: lock_holder(STREAM, stream.pk) is None, seconds=5)
    assert claim(find("stream"), stream.pk)


def test_beats_say_how_it_is_and_free_the_lease(stream, held):
    type(stream).objects.update(lease_until=timezone.now() + timedelta(minutes=1))
    held.beat("running", "well")
    stream.refresh_from_db()
    assert (stream.state, stream.state_reason, stream.pid, stream.lease_until) == ("running", "well", os.getpid(), None)
    first = stream.heartbeat_at
    held.beat("running", "well")
    stream.refresh_from_db()
    assert stream.heartbeat_at == first, "unchanged within a second: nothing is written"
    held.beat("running", "well", applied_version=3)
    stream.refresh_from_db()
    assert (stream.applied_version, stream.heartbeat_at > first) == (3, True)


def test_notices_that_come_while_busy_are_not_lost(stream, held):
    for number in range(3):
        notify("bar", number=number)
    held.beat("running")  # speaks with the server in between, and sends a notice itself
    time.sleep(0.1)
    got: list[dict] = []
    start = time.monotonic()
    while len(got) < 4:
        got += held.wait(2.0)
    assert time.monotonic() - start < 1.0, "at once, not after the time is up"
    assert [notice.get("number") for notice in got if notice["kind"] == "bar"] == [0, 1, 2]


def test_wait_wakes_for_news_and_ends_without(held):
    start = time.monotonic()
    assert held.wait(0.2) == []
    assert 0.15 < time.monotonic() - start < 1.0

    def later() -> None:
        time.sleep(0.1)
        notify("stream", stream=1)
        connection.close()

    thread = threading.Thread(target=later)
    thread.start()
    start = time.monotonic()
    assert held.wait(5.0) == [{"kind": "stream", "stream": 1}]
    assert time.monotonic() - start < 2.0
    thread.join()


def test_a_strangers_notice_wakes_but_breaks_nothing(held):
    with connection.cursor() as cursor:
        for text in ("no json", "[1]", ""):
            cursor.execute("SELECT pg_notify('desk', %s)", [text])
    time.sleep(0.1)
    assert held.wait(1.0) == []


def test_a_busy_process_notices_at_its_next_beat_that_its_lock_is_gone(stream, held):
    held.beat("running")
    end_backend(lock_holder(STREAM, stream.pk))
    assert wait_until(lambda: lock_holder(STREAM, stream.pk) is None, seconds=5)
    with pytest.raises(LockLostError):
        held.beat("running")  # although it never waited


def test_waiting_without_a_lock_is_refused(stream):
    with pytest.raises(LockLostError):
        Job(find("stream"), stream.pk).wait(0.1)


def test_a_deleted_row_is_a_job_that_failed():
    with pytest.raises(JobFailedError, match="stream:999 no longer exists"):
        Job(find("stream"), 999).read()


@pytest.mark.parametrize(
    "error",
    [OperationalError("server closed the connection"), InterfaceError("closed"), psycopg.OperationalError("gone"),
     LockLostError("gone")],
)  # fmt: skip
def test_a_lost_database_exits_with_75_and_blames_nobody(stream, error):
    with pytest.raises(SystemExit) as ended, hold("stream", stream.pk):
        raise error
    assert ended.value.code == EXIT_TRY_AGAIN
    stream.refresh_from_db()
    assert (stream.state, stream.desired_state) == ("starting", "running")
    assert wait_until(lambda: lock_holder(STREAM, stream.pk) is None, seconds=5)


def test_a_job_that_failed_says_why_and_is_not_wanted_any_more(stream):
    with pytest.raises(SystemExit) as ended, hold("stream", stream.pk):
        raise JobFailedError("the model is missing; train one")
    assert ended.value.code == 1
    stream.refresh_from_db()
    assert (stream.state, stream.state_reason) == ("failed", "the model is missing; train one")
    assert stream.desired_state == "stopped"


def test_another_error_goes_on_to_the_log_and_frees_the_lock(stream):
    with pytest.raises(ZeroDivisionError), hold("stream", stream.pk):
        1 / 0  # noqa: B018
    assert wait_until(lambda: lock_holder(STREAM, stream.pk) is None, seconds=5)


def test_a_proper_end_forgets_earlier_crashes_and_gives_the_signals_back(stream):
    type(stream).objects.update(n_restarts=3)
    before = signal.getsignal(signal.SIGTERM)
    with hold("stream", stream.pk) as job:
        os.kill(os.getpid(), signal.SIGTERM)
        assert job.shutting_down
    assert signal.getsignal(signal.SIGTERM) is before
    stream.refresh_from_db()
    assert stream.n_restarts == 0


def test_options_of_the_database_url_reach_the_locks_session(stream, monkeypatch):
    parameters = {**connection.get_connection_params(), "sslmode": "disable"}
    monkeypatch.setattr(connection, "get_connection_params", lambda: parameters)
    job = Job(find("stream"), stream.pk)
    assert job._take_lock()
    assert job._session.info.get_parameters()["sslmode"] == "disable"
    job._release()


def test_a_request_writes_the_wish_and_asks_for_a_launch(stream):
    type(stream).objects.update(state="failed", state_reason="broken", n_restarts=5, desired_state="stopped")
    request("stream", stream.pk, "running")
    stream.refresh_from_db()
    assert (stream.desired_state, stream.state, stream.state_reason) == ("running", "stopped", "")
    assert (stream.n_restarts, stream.settings_version) == (0, 2)
    assert OrmQ.objects.get().task["args"] == ("stream", stream.pk)


def test_a_request_to_stop_what_nobody_runs_is_done_at_once(stream):
    type(stream).objects.update(state="running", lease_until=timezone.now() + timedelta(minutes=1))
    request("stream", stream.pk, "stopped")
    stream.refresh_from_db()
    assert (stream.desired_state, stream.state, stream.lease_until) == ("stopped", "stopped", None)
    assert not OrmQ.objects.exists()


def test_a_request_to_stop_is_left_to_the_process_that_runs(stream, held):
    held.beat("running")
    request("stream", stream.pk, "stopped")
    stream.refresh_from_db()
    assert (stream.desired_state, stream.state) == ("stopped", "running")


def test_what_has_finished_stays_finished_when_stopped(stream):
    type(stream).objects.update(state="finished")
    request("stream", stream.pk, "stopped")
    stream.refresh_from_db()
    assert stream.state == "finished"


def test_fail_takes_the_wish_back(stream):
    fail(find("stream"), stream.pk, "x" * 1000)
    stream.refresh_from_db()
    assert (stream.state, stream.desired_state, len(stream.state_reason)) == ("failed", "stopped", 400)


def test_a_standby_takes_over_within_seconds_after_a_kill(stream, children):
    first = run_stream(stream.pk)
    children.append(first)
    assert reaches(stream, state="waiting", pid=first.pid)
    second = run_stream(stream.pk)
    children.append(second)
    # Both are there, one works: the second says so and touches nothing.
    assert wait_until(lambda: n_sessions() == 2, seconds=20)
    time.sleep(0.7)
    stream.refresh_from_db()
    assert stream.pid == first.pid

    first.send_signal(signal.SIGKILL)
    assert reaches(stream, seconds=5, pid=second.pid, state="waiting")
    second.terminate()
    output, _ = second.communicate(timeout=15)
    assert "waiting as a standby" in output
    assert second.returncode == 0
    assert reaches(stream, seconds=1, state="stopped")
    assert (stream.desired_state, stream.state_reason) == ("running", "the desk was shut down")


def test_a_standby_that_is_told_to_end_leaves_the_row_alone(stream, held, children):
    held.beat("running", "at work")
    standby = run_stream(stream.pk)
    children.append(standby)
    assert wait_until(lambda: n_sessions() == 2, seconds=20)
    standby.terminate()
    standby.communicate(timeout=15)
    assert standby.returncode == 0
    stream.refresh_from_db()
    assert (stream.state, stream.state_reason, stream.pid) == ("running", "at work", os.getpid())


def test_a_process_whose_session_is_ended_exits_with_75(stream, children):
    child = run_stream(stream.pk)
    children.append(child)
    assert reaches(stream, state="waiting", pid=child.pid)
    end_backend(lock_holder(STREAM, stream.pk))
    output, _ = child.communicate(timeout=15)
    assert child.returncode == EXIT_TRY_AGAIN
    assert "Traceback" not in output
    stream.refresh_from_db()
    assert stream.desired_state == "running"


def test_a_process_that_loses_all_its_sessions_exits_with_75(stream, children):
    child = run_stream(stream.pk)
    children.append(child)
    assert reaches(stream, state="waiting", pid=child.pid)
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE datname = current_database()"
            " AND pid <> pg_backend_pid()"
        )
    output, _ = child.communicate(timeout=15)
    assert child.returncode == EXIT_TRY_AGAIN
    assert "Traceback" not in output


def test_a_wish_to_stop_ends_the_process_at_once(stream, children):
    child = run_stream(stream.pk)
    children.append(child)
    assert reaches(stream, state="waiting", pid=child.pid)
    start = time.monotonic()
    request("stream", stream.pk, "stopped")
    child.communicate(timeout=15)
    assert child.returncode == 0
    assert time.monotonic() - start < 5
    assert reaches(stream, seconds=1, state="stopped")
    assert stream.applied_version == stream.settings_version


def test_launch_starts_one_marked_process_and_leaves_no_zombie(stream, settings, tmp_path, monkeypatch):
    settings.LOCAL_DIR = tmp_path
    monkeypatch.setenv("DATABASE_URL", test_database_url())
    assert launch("stream", stream.pk)
    assert not launch("stream", stream.pk)
    stream.refresh_from_db()
    pid = stream.pid
    assert processes.living(pid, f"stream:{stream.pk}") is not None
    assert processes.living(pid, "stream:0") is None
    try:
        assert reaches(stream, state="waiting", pid=pid)
    finally:
        os.kill(pid, signal.SIGTERM)
    assert wait_until(lambda: not psutil.pid_exists(pid), seconds=15), "its end was taken note of"


def n_sessions() -> int:
    """Sessions of job processes on the test database."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
            " AND application_name LIKE 'stream:%%'"
        )
        return cursor.fetchone()[0]


@pytest.mark.parametrize("command", ["run_stream"])
def test_a_wrong_number_gives_one_clear_line(command):
    with pytest.raises(CommandError, match="there is no stream 999"):
        call_command(command, "999")
    with pytest.raises(CommandError, match="invalid int value: 'x'"):
        call_command(command, "x")
    with pytest.raises(CommandError, match="required"):
        call_command(command)


def test_every_job_model_is_a_job_row():
    assert all(issubclass(kind.model, JobRow) for kind in all_kinds())
    assert apps.get_model("marketdata", "Stream") is find("stream").model
