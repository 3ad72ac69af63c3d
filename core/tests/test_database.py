"""Paths, addresses, ports, stale state and messages of the embedded database; no server is started here."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from core import database
from core.database import apt, configuration, instance, packages, processes, server, startup
from core.database.addresses import DatabaseAddress, check_external, embedded_address
from core.database.errors import DatabaseUnavailable
from core.database.locations import PROJECT_DIR, Locations, everyone_may_enter, local_dir, locations


@pytest.fixture(autouse=True)
def _no_outside_settings(monkeypatch):
    for name in ("DATABASE_URL", "DESK_LOCAL_DIR", "DESK_DATABASE_BINARIES", "DESK_DATABASE_FSYNC"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture
def places(tmp_path, monkeypatch):
    """An instance in a folder of the test, made to be chosen even though root's own folders are closed."""
    monkeypatch.setenv("DESK_LOCAL_DIR", str(tmp_path))
    monkeypatch.setattr("core.database.locations.everyone_may_enter", lambda path: True)
    found = locations()
    found.root.mkdir(parents=True)
    return found


def test_the_package_needs_no_django():
    code = "import sys, core.database; sys.exit('django' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, cwd=PROJECT_DIR).returncode == 0


def test_the_local_folder_is_the_projects_or_the_one_named(monkeypatch, tmp_path):
    assert local_dir() == PROJECT_DIR / ".local"
    monkeypatch.setenv("DESK_LOCAL_DIR", str(tmp_path))
    assert local_dir() == tmp_path


def test_users_do_not_share_an_instance(places, monkeypatch):
    assert places.root.name == f"uid-{os.geteuid()}"
    monkeypatch.setattr(os, "geteuid", lambda: 4321)
    assert locations().root == places.root.with_name("uid-4321")


def test_root_leaves_a_folder_that_others_cannot_enter(tmp_path, monkeypatch):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o700)
    assert not everyone_may_enter(closed / "project")
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setenv("DESK_LOCAL_DIR", str(closed))
    assert locations().root.parent == Path("/var/lib/rl-trading-desk")


def test_existing_data_stays_the_instance(places, monkeypatch):
    places.data.mkdir()
    monkeypatch.setattr("core.database.locations.everyone_may_enter", lambda path: False)
    assert locations() == places


def test_a_long_path_moves_the_socket_out_of_it():
    # /.s.PGSQL.65535 is 15 bytes and /run is 4: a root of 88 bytes fills the 107, one of 89 does not fit.
    assert Locations(Path("/" + "a" * 87)).sockets.name == "run"
    assert str(Locations(Path("/" + "a" * 88)).sockets).startswith("/tmp/rl-trading-desk-")


def test_the_address_quotes_the_password_and_masks_it():
    address = embedded_address(5434, "a/b@c")
    assert address.url == "postgres://desk:a%2Fb%40c@127.0.0.1:5434/desk"
    assert address.masked == "postgres://desk:***@127.0.0.1:5434/desk"
    assert address.parts()["password"] == "a/b@c"
    assert address.with_database("postgres").url.endswith(":5434/postgres")


def test_database_url_wins_and_otherwise_the_last_start_is_remembered(places, monkeypatch):
    assert database.database_url() is None
    instance.write_private(places.password_file, "secret")
    instance.write_runtime(places, port=5555, pid=1)
    assert database.database_url() == "postgres://desk:secret@127.0.0.1:5555/desk"
    assert places.password_file.stat().st_mode & 0o777 == 0o600
    monkeypatch.setenv("DATABASE_URL", "postgres://me@db.example/x")
    assert database.database_url() == "postgres://me@db.example/x"
    assert not database.stop()


def test_an_external_database_of_another_kind_or_out_of_reach_gets_a_clear_line():
    with pytest.raises(DatabaseUnavailable, match="TimescaleDB is required"):
        check_external(DatabaseAddress("sqlite:///x.db", external=True))
    with pytest.raises(DatabaseUnavailable, match=r"me:\*\*\*@127.0.0.1:1/x does not answer"):
        check_external(DatabaseAddress("postgres://me:pw@127.0.0.1:1/x", external=True))


def test_psql_gets_the_password_by_the_environment_only(places, monkeypatch):
    monkeypatch.setenv("DATABASE_URL", "postgres://me:pw@db.example:6000/x?sslmode=require")
    monkeypatch.setattr(server.shutil, "which", lambda name: f"/bin/{name}")
    command = database.psql_command()
    assert command[0] == "/bin/psql" and "pw" not in command[1] and "sslmode=require" in command[1]
    assert database.psql_environment()["PGPASSWORD"] == "pw"


def test_the_last_port_is_preferred_and_a_taken_one_skipped():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert not startup.port_is_free(port)
        assert next(startup.choose_port(port)) in range(startup.FIRST_PORT, startup.FIRST_PORT + startup.N_PORTS)
    assert next(startup.choose_port(port)) == port


def test_a_stale_or_foreign_pid_file_is_not_a_server_and_is_cleared(tmp_path):
    data, sockets = tmp_path / "data", tmp_path / "run"
    data.mkdir()
    sockets.mkdir()
    (sockets / ".s.PGSQL.5433.lock").write_text("1\n")
    # This test's own process lives, but it is not PostgreSQL and does not work in the folder.
    for content in ("", "nonsense\n", "999999999\n", f"{os.getpid()}\n{data}\n1\n5433\n"):
        (data / "postmaster.pid").write_text(content)
        assert processes.postmaster(data) is None
    assert processes.postmaster_port(data) == 5433
    processes.clear_stale_state(data, sockets, log=print)
    assert list(data.iterdir()) == [] and list(sockets.iterdir()) == []


def test_an_unfinished_unpack_does_not_count(tmp_path):
    (tmp_path / "usr/lib/postgresql/17/bin").mkdir(parents=True)
    (tmp_path / "usr/lib/postgresql/17/bin/postgres").touch()
    assert packages.unpacked_versions(tmp_path) is None
    marker = {"root": str(tmp_path), "postgresql": "17.1", "timescaledb": "2.19.3"}
    (tmp_path / packages.MARKER).write_text(json.dumps(marker))
    assert packages.unpacked_versions(tmp_path) == {"postgresql": "17.1", "timescaledb": "2.19.3"}


def test_only_programs_libraries_and_time_zones_are_unpacked():
    needed = ["postgresql-17", "postgresql-17-timescaledb", "tzdata", "libc6", "libicu76", "libpam0g", "libssl3t64"]
    not_needed = ["perl-base", "libperl5.40", "libjson-perl", "libllvm19", "libz3-4", "locales", "passwd", "debconf"]
    assert all(packages.is_needed(name) for name in needed)
    assert not any(packages.is_needed(name) for name in not_needed)


def test_a_host_without_apt_is_told_both_ways_out(places, monkeypatch):
    monkeypatch.setattr(apt.shutil, "which", lambda name: None)
    with pytest.raises(DatabaseUnavailable) as caught:
        apt.require_tools()
    message = str(caught.value)
    assert "docker compose up" in message and "DATABASE_URL" in message and "\n" not in message


def test_a_host_without_debian_sources_is_told_both_ways_out(tmp_path, monkeypatch):
    monkeypatch.setattr(apt, "require_tools", lambda: None)
    monkeypatch.setattr(apt, "host_architecture", lambda: "amd64")
    monkeypatch.setattr(apt, "debian_keyring", lambda: Path("/k.gpg"))
    monkeypatch.setattr(apt, "debian_mirrors", list)
    with pytest.raises(DatabaseUnavailable, match=r"name no Debian archive.*docker compose up.*DATABASE_URL"):
        apt.PrivateApt(tmp_path, log=print).update()


def test_apts_complaints_are_shortened_to_one_line():
    assert apt.error_lines("Hit:1\nE: Failed to fetch\nW: careful\nE: Try again\n") == "Failed to fetch; Try again"


def test_the_servers_settings_are_private_and_quoted():
    settings = configuration.server_settings(port=5433, sockets=Path("/a b/it's"), logs=Path("/l"), fsync=True)
    text = configuration.render(settings)
    assert "unix_socket_directories = '\"/a b/it''s\"'" in text
    for line in (
        "listen_addresses = '127.0.0.1'",
        "jit = 'off'",
        "fsync = 'on'",
        "timescaledb.telemetry_level = 'off'",
    ):
        assert line in text.splitlines()


def test_a_mistyped_fsync_is_refused(monkeypatch):
    monkeypatch.setenv("DESK_DATABASE_FSYNC", "offf")
    with pytest.raises(ValueError, match="expected on or off"):
        configuration.fsync_wanted()
