"""A throw-away second server, started for real: killed, restarted, pushed off its port, moved."""

import os
import pwd
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest

from core import database
from core.database import processes
from core.database.locations import PROJECT_DIR, SYSTEM_DIR, locations, path_hash
from core.database.packages import bin_dir, unpacked_versions

pytestmark = pytest.mark.database_server


@pytest.fixture(scope="module")
def local_dir() -> Iterator[Path]:
    """A local folder every user can walk into (pytest's own are closed), sharing the project's unpacked programs."""
    binaries = locations().binaries
    if unpacked_versions(binaries) is None:
        pytest.skip("the embedded server is not unpacked: run `manage.py db up` once")
    folder = Path(tempfile.mkdtemp(prefix="desk-test-"))
    folder.chmod(0o755)
    with pytest.MonkeyPatch.context() as patch:
        patch.delenv("DATABASE_URL", raising=False)
        patch.setenv("DESK_LOCAL_DIR", str(folder))
        patch.setenv("DESK_DATABASE_BINARIES", str(binaries))
        patch.setenv("DESK_DATABASE_FSYNC", "off")
        yield folder
        database.stop(mode="immediate")
    shutil.rmtree(folder)


def _query(address: database.DatabaseAddress, sql: str) -> list:
    with psycopg.connect(address.conninfo, autocommit=True) as connection:
        cursor = connection.execute(sql)
        return cursor.fetchall() if cursor.description else []


def _pid() -> int:
    pid = database.status().pid
    assert pid is not None
    return pid


@pytest.fixture(scope="module")
def address(local_dir: Path) -> database.DatabaseAddress:
    """The running server with a hypertable of one row."""
    found = database.ensure_running()
    _query(found, "CREATE EXTENSION timescaledb")
    _query(found, "CREATE TABLE kept (time timestamptz NOT NULL, value int)")
    _query(found, "SELECT create_hypertable('kept', 'time')")
    _query(found, "INSERT INTO kept VALUES ('2026-01-02 03:04Z', 7)")
    # With fsync off only a checkpoint promises anything, as far as it goes without a power cut.
    _query(found, "CHECKPOINT")
    return found


def test_settings_are_those_of_a_private_server(address):
    expected = {
        "jit": "off",
        "listen_addresses": "127.0.0.1",
        "TimeZone": "UTC",
        "timescaledb.telemetry_level": "off",
        "password_encryption": "scram-sha-256",
        "server_encoding": "UTF8",
    }
    assert {name: _query(address, f"SHOW {name}")[0][0] for name in expected} == expected
    assert _query(address, "SELECT '2026-07-01 12:00 America/New_York'::timestamptz = '2026-07-01 16:00Z'") == [(True,)]


def test_a_wrong_password_is_refused(address):
    wrong = address.conninfo.replace(str(address.parts()["password"]), "wrong")
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(wrong)


def test_a_new_database_can_have_the_extension(address):
    _query(address, "CREATE DATABASE test_desk")
    _query(address.with_database("test_desk"), "CREATE EXTENSION timescaledb")
    _query(address, "DROP DATABASE test_desk WITH (FORCE)")


def test_a_second_up_finds_the_same_server(address):
    pid = _pid()
    assert database.ensure_running() == address and _pid() == pid
    assert database.status().state == "running" and database.database_url() == address.url


def test_psql_runs_with_the_instances_password(address):
    command = [*database.psql_command(), "-Atc", "SELECT value FROM kept"]
    result = subprocess.run(command, check=False, env=database.psql_environment(), capture_output=True, text=True)
    assert (result.stdout, result.returncode) == ("7\n", 0), result.stderr


def test_rows_survive_a_killed_server_and_its_port_is_kept(address):
    with psycopg.connect(address.conninfo):  # a client whose backend is orphaned by the kill
        os.kill(_pid(), signal.SIGKILL)
        again = database.ensure_running()
    assert again == address
    assert _query(again, "SELECT value FROM kept") == [(7,)]


def test_a_busy_orphan_is_ended_before_the_next_start(address):
    script = "import sys, psycopg; psycopg.connect(sys.argv[1]).execute('SELECT count(*) FROM generate_series(1,1e12)')"
    client = subprocess.Popen([sys.executable, "-c", script, address.conninfo], stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 10
    while not _query(address, "SELECT 1 FROM pg_stat_activity WHERE query LIKE '%%1e12)' AND pid <> pg_backend_pid()"):
        assert time.monotonic() < deadline, "the busy query did not start"
        time.sleep(0.1)
    # A backend that computes notices only much later that its postmaster is gone.
    os.kill(_pid(), signal.SIGKILL)
    again = database.ensure_running()
    client.wait(timeout=10)
    assert _query(again, "SELECT value FROM kept") == [(7,)]


def test_a_taken_port_is_left_and_the_new_one_remembered(address):
    assert database.stop() and database.status().state == "stopped"
    assert not database.stop()
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(("127.0.0.1", address.port))
        taken.listen()
        moved = database.ensure_running()
    assert moved.port != address.port
    assert _query(moved, "SELECT value FROM kept") == [(7,)]
    database.stop()
    assert database.ensure_running() == moved and database.database_url() == moved.url


def test_two_starts_at_once_share_one_server(address):
    database.stop()
    script = "from core import database; print(database.ensure_running(log=lambda line: None).url)"
    commands = [[sys.executable, "-c", script]] * 2
    started = [subprocess.Popen(each, cwd=PROJECT_DIR, stdout=subprocess.PIPE, text=True) for each in commands]
    answers = [process.communicate(timeout=60)[0] for process in started]
    assert answers[0] == answers[1] == f"{database.database_url()}\n"


def test_a_pid_file_naming_a_stranger_does_not_stop_the_start(address):
    port = database.ensure_running().port
    database.stop()
    data = locations().data
    (data / "postmaster.pid").write_text(f"{os.getppid()}\n{data}\n1\n{port}\n\n127.0.0.1\n\nready\n")
    assert database.status().state == "stopped"
    assert database.ensure_running().port == port


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_the_server_of_root_runs_as_an_unprivileged_user(address):
    data = locations().data
    assert data.stat().st_uid != 0
    processes_of_server = Path(f"/proc/{_pid()}").stat().st_uid
    assert processes_of_server == data.stat().st_uid


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, to become another user")
def test_an_ordinary_user_gets_his_own_server_beside_roots(address):
    nobody = pwd.getpwnam("nobody")
    folder = Path(os.environ["DESK_LOCAL_DIR"])
    # As if the user owned the checkout: what root has made below it must not be in his way.
    for path in (folder, folder / "database"):
        os.chown(path, nobody.pw_uid, nobody.pw_gid)
    if not _as_user(nobody, lambda: os.access(bin_dir(locations().binaries) / "postgres", os.X_OK)):
        pytest.skip("the unpacked server lies where user nobody cannot read it")

    def start_and_stop() -> bool:
        theirs = database.ensure_running()
        tables = _query(theirs, "SELECT count(*) FROM pg_tables WHERE tablename = 'kept'")
        return theirs.url != address.url and tables == [(0,)] and database.stop()

    assert _as_user(nobody, start_and_stop)
    assert database.status().state == "running"


def _as_user(user: pwd.struct_passwd, check: Callable[[], bool]) -> bool:
    """Run `check` in a forked child that has become `user`: his Python need not be allowed to read ours."""
    child = os.fork()
    if child == 0:
        try:
            os.setgroups([])
            os.setgid(user.pw_gid)
            os.setuid(user.pw_uid)
            os._exit(0 if check() else 1)
        except BaseException:  # the child must end here, whatever happened
            traceback.print_exc()
            os._exit(2)
    return os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root, whose server must not lie in a closed folder")
def test_root_in_a_closed_folder_uses_the_system_folder(local_dir, tmp_path, monkeypatch):
    tmp_path.chmod(0o700)
    monkeypatch.setenv("DESK_LOCAL_DIR", str(tmp_path))
    try:
        found = database.ensure_running()
        assert _query(found, "SELECT 1") == [(1,)]
        assert locations().root == SYSTEM_DIR / path_hash(tmp_path)
    finally:
        database.stop(mode="immediate")
        assert processes.postmaster(locations().data) is None
        shutil.rmtree(SYSTEM_DIR / path_hash(tmp_path), ignore_errors=True)
