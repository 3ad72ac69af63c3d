"""The whole desk as processes: each part is killed during a replay, and nothing is doubled or lost.

The tests of this file run in order on one desk; the last ones compare everything with the fast backtest.
"""

import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import numpy as np
import psutil
import psycopg
import pytest

from core.database.locations import locations

PROJECT = Path(__file__).resolve().parents[1]
N_BARS = 220
BARS_PER_SECOND = 3.0
PATIENCE_SECONDS = 90

pytestmark = [pytest.mark.desk, pytest.mark.xdist_group("desk")]


@dataclass
class RunningDesk:
    """A desk of its own: folder, database, ports."""

    folder: Path
    environment: dict[str, str]
    expected: dict[str, Any]
    foreground: subprocess.Popen[bytes] | None = None

    def manage(self, *arguments: str) -> str:
        return run(self.environment, "manage.py", *arguments)

    def start(self) -> None:
        with (self.folder / "up.log").open("ab") as log:
            self.foreground = subprocess.Popen(
                [sys.executable, "manage.py", "up", "--no-demo"],
                cwd=PROJECT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        wait_for(lambda: self.answers(), "the login page answers")

    def stop(self) -> None:
        if self.foreground is not None:
            self.foreground.terminate()
            self.foreground.wait(timeout=60)

    def answers(self) -> bool:
        try:
            with urlopen(f"http://127.0.0.1:{self.environment['DESK_WEB_PORT']}/login/", timeout=2) as page:
                return page.status == 200
        except OSError:
            return False

    def query(self, sql: str) -> list[tuple]:
        """Rows, or nothing while the database is away."""
        code = "from core.database import database_url; print(database_url() or '')"
        url = run(self.environment, "-c", code).strip()
        try:
            with psycopg.connect(url, connect_timeout=3) as connection:
                return connection.execute(sql).fetchall()
        except psycopg.Error:
            return []

    def n_bars_done(self) -> int:
        rows = self.query("SELECT count(*) FROM agents_decision")
        return rows[0][0] if rows else -1

    def processes(self, word: str) -> list[psutil.Process]:
        """Living processes of this desk whose command line holds `word`."""
        found = []
        for process in psutil.process_iter():
            try:
                ours = process.environ().get("DESK_LOCAL_DIR") == str(self.folder)
                if ours and word in " ".join(process.cmdline()) and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
            except psutil.Error:
                continue
        return found

    def log(self) -> str:
        return (self.folder / "up.log").read_text()[-3000:]


def run(environment: dict[str, str], *arguments: str) -> str:
    done = subprocess.run(
        [sys.executable, *arguments],
        cwd=PROJECT,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-2000:]
    return done.stdout


def wait_for(check: Any, what: str, seconds: float = PATIENCE_SECONDS) -> None:
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if check():
            return
        time.sleep(0.5)
    raise AssertionError(f"waited {seconds:.0f} s in vain until {what}")


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


@pytest.fixture(scope="module")
def desk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningDesk]:
    folder = tmp_path_factory.mktemp("desk")
    for parent in (folder, *folder.parents):
        # The database runs as an unprivileged user when we are root and must reach its folder.
        if os.geteuid() == 0 and parent.stat().st_uid == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    environment = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "DESK_LOCAL_DIR")}
    environment |= {
        "DESK_LOCAL_DIR": str(folder),
        "DESK_DATABASE_BINARIES": os.environ.get("DESK_DATABASE_BINARIES", str(locations().binaries)),
        "DESK_DATABASE_FSYNC": "on",
        "DESK_WEB_PORT": str(free_port()),
    }
    run(environment, "manage.py", "db", "up")
    seeding = [str(folder / "expected.json"), str(N_BARS), str(BARS_PER_SECOND)]
    run(environment, "tests/seed_desk.py", *seeding)
    desk = RunningDesk(folder, environment, json.loads((folder / "expected.json").read_text()))
    desk.start()
    try:
        wait_for(lambda: desk.n_bars_done() >= 6, "both agents have decided on a few bars")
        yield desk
    finally:
        desk.stop()
        desk.manage("down")


def kill(desk: RunningDesk, word: str) -> int:
    """SIGKILL the oldest process with `word` in its command line. Returns: its pid."""
    found = sorted(desk.processes(word), key=lambda process: process.create_time())
    assert found, f"no process with {word!r}: {desk.log()}"
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
    desk.start()
    goes_on(desk)


def test_a_killed_watchdog_leaves_nothing_that_runs_twice(desk: RunningDesk) -> None:
    assert desk.foreground is not None
    desk.foreground.kill()
    desk.foreground.wait()
    desk.start()
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
