"""Processes of this desk: started with a mark, found by it, ended politely and then for good."""

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from core import processes
from core.processes import Follower, alive, end, kill_group, living, ours, start, wait_until

SLEEP = ["-c", "import time; print('up', flush=True); time.sleep(60)"]
STUBBORN = [
    "-c",
    "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('up', flush=True); time.sleep(60)",
]
FAMILY = [
    "-c",
    "import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(60)']);"
    "print('up', flush=True); time.sleep(60)",
]


@pytest.fixture(autouse=True)
def own_folder(settings, tmp_path):
    """A local folder of the test's own, which is also the mark; what carries it is ended afterwards."""
    settings.LOCAL_DIR = tmp_path
    yield
    end(ours(), patience_seconds=0)


def started(name: str, arguments: list[str], n_up: int = 1) -> "subprocess.Popen[bytes]":
    """A process that has said it is up."""
    child = start(name, arguments)
    assert wait_until(lambda: processes.log_file().read_text().count("up") >= n_up, seconds=10, every=0.02)
    return child


def test_a_child_lives_in_its_own_session_with_mark_name_and_log():
    child = started("stream:1", SLEEP)
    assert os.getsid(child.pid) == child.pid
    environment = psutil.Process(child.pid).environ()
    assert environment["DESK_PROCESS"] == "stream:1"
    assert environment["OMP_NUM_THREADS"] == os.environ.get("OMP_NUM_THREADS", "1")
    assert [process.pid for process in ours()] == [child.pid]
    assert ours(but=[child.pid]) == []


def test_processes_of_another_desk_are_not_ours(settings, tmp_path):
    child = started("web", SLEEP)
    settings.LOCAL_DIR = tmp_path / "other"
    assert ours() == [] and living(child.pid, "web") is None
    settings.LOCAL_DIR = tmp_path
    assert [process.pid for process in ours()] == [child.pid]


def test_living_knows_name_and_end_of_a_process():
    child = started("stream:1", SLEEP)
    assert living(child.pid, "stream:1").pid == child.pid  # type: ignore[union-attr]
    assert living(child.pid, "stream:2") is None
    child.kill()
    assert wait_until(lambda: living(child.pid, "stream:1") is None, seconds=5), "a zombie does not live"
    child.wait()
    assert living(child.pid, "stream:1") is None


def test_end_asks_first_and_then_makes_them():
    polite, stubborn = started("a", SLEEP), started("b", STUBBORN, 2)
    found = ours()
    assert {process.pid for process in found} == {polite.pid, stubborn.pid}
    begin = time.monotonic()
    assert end(found, patience_seconds=0.5) == 1
    assert time.monotonic() - begin < 3
    assert not any(map(alive, found))
    assert (polite.wait(), stubborn.wait()) == (-signal.SIGTERM, -signal.SIGKILL)


def test_ending_what_has_ended_is_fine():
    child = started("a", SLEEP)
    found = ours()
    child.kill()
    child.wait()
    assert end(found, patience_seconds=1) == 0
    assert end([], patience_seconds=1) == 0


def test_a_killed_leader_takes_its_workers_with_it():
    child = started("tasks", FAMILY)
    assert wait_until(lambda: len(ours()) == 2, seconds=5)
    child.kill()
    child.wait()
    assert len(ours()) == 1, "the worker would live on"
    kill_group(child.pid)
    assert wait_until(lambda: not ours(), seconds=5)
    kill_group(child.pid)  # nobody is left


def test_the_follower_shows_what_is_new_and_follows_a_replaced_file(tmp_path, capfdbinary, monkeypatch):
    path = tmp_path / "desk.log"
    path.write_text("old\n")
    follower = Follower(path)
    shown: list[bytes] = []

    class Terminal:
        buffer = type("Buffer", (), {"write": staticmethod(shown.append)})()

        @staticmethod
        def flush() -> None: ...

    monkeypatch.setattr(sys, "stdout", Terminal())
    follower.pump()
    with path.open("a") as log:
        log.write("new line\n")
    follower.pump()
    path.write_text("short\n")  # replaced by a shorter one
    follower.pump()
    follower.pump()
    assert b"".join(shown) == b"new line\nshort\n"


def test_a_terminal_that_is_gone_stops_nothing(tmp_path, monkeypatch):
    follower = Follower(tmp_path / "desk.log")

    class Gone:
        class buffer:
            @staticmethod
            def write(data: bytes) -> None:
                raise BrokenPipeError

    monkeypatch.setattr(sys, "stdout", Gone())
    (tmp_path / "desk.log").write_text("line\n")
    follower.pump()


def test_wait_until_gives_the_last_answer():
    assert wait_until(lambda: True, seconds=0)
    assert not wait_until(lambda: False, seconds=0.05, every=0.01)
