"""The whole desk as processes: each part is killed during a replay, and nothing is doubled or lost.

The tests of this file run in order on one desk; the last one compares everything with the fast backtest.
"""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator

import numpy as np
import pytest

from tests.running_desk import PROJECT, RunningDesk, own_environment, run, wait_for

N_BARS = 220
BARS_PER_SECOND = 3.0

pytestmark = [pytest.mark.desk]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    folder = tmp_path_factory.mktemp("desk")
    environment = own_environment(folder)
    run(environment, "manage.py", "db", "up")
    seeding = [str(folder / "expected.json"), str(N_BARS), str(BARS_PER_SECOND)]
    run(environment, "tests/seed_desk.py", *seeding)
    desk = RunningDesk(folder, environment, json.loads((folder / "expected.json").read_text()))
    desk.start("--no-demo")
    try:
        wait_for(lambda: desk.n_bars_done() >= 6, "both agents have decided on a few bars")
        yield desk
    finally:
        desk.stop()
        desk.manage("down")


def kill(desk: RunningDesk, word: str) -> int:
    """SIGKILL the oldest process with `word` in its command line. Returns: its pid."""
    found = sorted(desk.processes(word), key=lambda process: process.create_time())
    assert found, f"no process with {word!r}: {desk.log()[-3000:]}"
    found[0].send_signal(signal.SIGKILL)
    return found[0].pid


def goes_on(desk: RunningDesk) -> None:
    """The replay moves on by a few bars of both agents."""
    before = desk.n_bars_done()
    wait_for(lambda: desk.n_bars_done() >= before + 6, "the replay goes on")


@pytest.mark.parametrize("word", ["uvicorn", "qcluster", "run_agent 1", "run_agent 2", "run_stream 1"])
def test_a_killed_process_is_restored_and_trading_goes_on(desk: RunningDesk, word: str) -> None:
    killed = kill(desk, word)
    wait_for(lambda: any(p.pid != killed for p in desk.processes(word)), f"{word} is back")
    goes_on(desk)
    wait_for(desk.answers, "the pages answer")


def test_a_killed_database_is_restored_and_trading_goes_on(desk: RunningDesk) -> None:
    status = json.loads(desk.manage("db", "status", "--json"))
    os.kill(status["pid"], signal.SIGKILL)
    wait_for(lambda: desk.query("SELECT 1") == [(1,)], "the database is back")
    goes_on(desk)
    wait_for(desk.answers, "the pages answer")


def test_a_second_agent_process_waits_as_a_standby(desk: RunningDesk) -> None:
    standby = subprocess.Popen(
        [sys.executable, "manage.py", "run_agent", "1"], cwd=PROJECT, env=desk.environment, stderr=subprocess.PIPE
    )
    try:
        goes_on(desk)
        assert standby.poll() is None, "the standby must wait, not act or end"
    finally:
        standby.kill()
        standby.wait()


def test_a_stopped_desk_goes_on_where_it_was(desk: RunningDesk) -> None:
    desk.stop()
    assert not desk.processes("manage.py run_"), "jobs outlived the desk"
    assert desk.query("SELECT 1") == [], "the embedded database must be stopped too"
    desk.start("--no-demo")
    goes_on(desk)


def test_a_killed_watchdog_leaves_nothing_that_runs_twice(desk: RunningDesk) -> None:
    assert desk.foreground is not None
    desk.foreground.kill()
    desk.foreground.wait()
    desk.start("--no-demo")
    goes_on(desk)
    assert len(desk.processes("run_agent 1")) == 1


def test_nothing_was_doubled_or_lost(desk: RunningDesk) -> None:
    desk.query("SELECT 1")
    run(desk.environment, "-c", FASTER)
    wait_for(
        lambda: desk.query("SELECT count(*) FROM marketdata_stream WHERE state = 'finished'") == [(2,)],
        "both replays have ended",
        seconds=180,
    )
    wait_for(lambda: desk.n_bars_done() == 2 * N_BARS, "every bar has its decision")
    for name in ("ppo-agent", "sac-agent"):
        expected = desk.expected[name]
        equity = desk.query(
            f"SELECT e.equity FROM core_equitysnapshot e JOIN core_book b ON b.id = e.book_id"
            f" WHERE b.name = '{name}' ORDER BY e.time"
        )
        np.testing.assert_allclose([float(row[0]) for row in equity], expected["equity"], rtol=0, atol=1e-6)
        fills = desk.query(
            f"SELECT extract(epoch FROM f.time), f.quantity, f.price, f.commission FROM core_fill f"
            f" JOIN core_book b ON b.id = f.book_id WHERE b.name = '{name}' ORDER BY f.time"
        )
        assert len(fills) == len(expected["fills"]) > 10
        np.testing.assert_allclose(np.array(fills, dtype=float), expected["fills"], rtol=0, atol=1e-6)
    doubled = desk.query("SELECT client_order_id FROM core_order GROUP BY 1 HAVING count(*) > 1")
    assert doubled == []


FASTER = """
import os
os.environ["DJANGO_SETTINGS_MODULE"] = "tradingsite.settings"
import django
django.setup()
from marketdata.control import set_speed
from marketdata.models import Stream
for stream in Stream.objects.all():
    set_speed(stream, 0, actor="test")
"""
