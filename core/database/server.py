"""Starts, stops and describes the embedded PostgreSQL server."""

import os
import shutil
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psycopg
from psycopg.conninfo import make_conninfo

from core.database import processes
from core.database.accounts import server_account
from core.database.addresses import (
    NAME,
    USER,
    DatabaseAddress,
    check_external,
    embedded_address,
    external_address,
)
from core.database.errors import DatabaseUnavailable
from core.database.instance import lock, prepare_folders, read_password, read_runtime, write_runtime
from core.database.locations import Locations, exists, locations
from core.database.packages import bin_dir, ensure_unpacked, unpacked_versions
from core.database.startup import initialise, log_tail, start

STOP_SECONDS = 60.0
STOP_SIGNALS = {"smart": signal.SIGTERM, "fast": signal.SIGINT, "immediate": signal.SIGQUIT}


@dataclass(frozen=True)
class DatabaseStatus:
    """What is known of the database without changing anything.

    state: "running", "stopped", "not installed" or "external"; url: password masked; version: PostgreSQL and
    TimescaleDB; detail: one sentence for people.
    """

    state: str
    url: str | None = None
    port: int | None = None
    pid: int | None = None
    version: str | None = None
    data_dir: str | None = None
    detail: str = ""


def ensure_running(*, log: Callable[[str], None] = print) -> DatabaseAddress:
    """Return the address of a database that answers; unpack, initialise and start the embedded one when needed.

    Safe to call at any time and by several processes at once. With DATABASE_URL set nothing is unpacked or started.
    Raises: DatabaseUnavailable, saying what to do.
    """
    external = external_address()
    if external:
        check_external(external)
        return external
    places = locations()
    address = _running_address(places)
    if address and _answers(address):
        return address
    account = server_account(places.data, log=log)
    prepare_folders(places, account)
    with lock(places, log=log):
        ensure_unpacked(places.binaries, log=log)
        if not places.data.exists():
            initialise(places, account, log=log)
        if processes.postmaster(places.data) is None:
            start(places, account, log=log)
        return _open(places)


def ensure_installed(*, log: Callable[[str], None] = print) -> Path:
    """Unpack the embedded server's programs when they are not there; nothing is initialised or started.

    Returns: their folder. Raises: DatabaseUnavailable, saying what to do.
    """
    places = locations()
    account = server_account(places.data, log=log)
    prepare_folders(places, account)
    with lock(places, log=log):
        ensure_unpacked(places.binaries, log=log)
    return places.binaries


def stop(*, mode: str = "fast", log: Callable[[str], None] = print) -> bool:
    """Stop the embedded server; True when one was running.

    mode: "smart" waits for clients to leave, "fast" sends them away, "immediate" ends at once (next start recovers).
    Raises: DatabaseUnavailable when the server has not ended after a minute.
    """
    if mode not in STOP_SIGNALS:
        raise ValueError(f"mode is {mode!r}, expected one of {', '.join(STOP_SIGNALS)}")
    places = locations()
    if external_address() or not places.data.exists():
        return False
    with lock(places, log=log):
        running = processes.postmaster(places.data) is not None
        if not processes.stop_postmaster(places.data, STOP_SIGNALS[mode], STOP_SECONDS):
            raise DatabaseUnavailable(
                f"the database has not stopped after {STOP_SECONDS:.0f} s in mode {mode}: use a stronger mode "
                "(smart < fast < immediate)"
            )
        processes.end_orphans(places.data)
        return running


def status() -> DatabaseStatus:
    """Describe the database; starts nothing."""
    external = external_address()
    if external:
        return _external_status(external)
    places = locations()
    versions = unpacked_versions(places.binaries)
    if not places.data.exists():
        state = "stopped" if versions else "not installed"
        return DatabaseStatus(state, data_dir=str(places.data), detail="Start it with `manage.py db up`.")
    version = f"PostgreSQL {versions['postgresql']}, TimescaleDB {versions['timescaledb']}" if versions else None
    pid = processes.postmaster(places.data)
    address = _running_address(places) if pid else _last_address(places)
    return DatabaseStatus(
        "running" if pid else "stopped",
        url=address.masked if address else None,
        port=address.port if address else None,
        pid=pid,
        version=version,
        data_dir=str(places.data),
        detail=f"Log files: {places.logs}",
    )


def database_url() -> str | None:
    """The URL to use, password included: DATABASE_URL, else the embedded server's last one, else None.

    Cheap, and free of side effects: meant for settings. It does not say that the server runs.
    """
    address = external_address() or _last_address(locations())
    return address.url if address else None


def psql_command() -> list[str]:
    """Command line of psql for the current database; needs `psql_environment()` for the password.

    Raises: DatabaseUnavailable when there is no database yet, or no psql.
    """
    address = external_address() or _last_address(locations())
    if address is None:
        raise DatabaseUnavailable("there is no database yet: start it with `manage.py db up`")
    unpacked = bin_dir(locations().binaries) / "psql"
    program = str(unpacked) if exists(unpacked) else shutil.which("psql")
    if program is None:
        raise DatabaseUnavailable("psql is not installed: install a PostgreSQL client (postgresql-client)")
    parts = address.parts()
    # The password goes by the environment: command lines can be read by every user of the machine.
    parts.pop("password", None)
    return [program, make_conninfo("", **parts)]


def psql_environment() -> dict[str, str]:
    """The environment for `psql_command()`."""
    address = external_address() or _last_address(locations())
    password = address.parts().get("password") if address else None
    return {**os.environ, **({"PGPASSWORD": str(password)} if password else {})}


def _open(places: Locations) -> DatabaseAddress:
    """Connect to the running server, make sure it is ours, and create the desk's database if it is missing."""
    address = _running_address(places)
    if address is None:
        raise DatabaseUnavailable(f"the database ended right after its start: {log_tail(places)}")
    try:
        with psycopg.connect(address.with_database("postgres").conninfo, autocommit=True, connect_timeout=30) as server:
            row = server.execute("SHOW data_directory").fetchone()
            if not row or Path(row[0]).resolve() != places.data.resolve():
                raise DatabaseUnavailable(f"another PostgreSQL server answers at {address.masked}")
            if not server.execute("SELECT 1 FROM pg_database WHERE datname = %s", [NAME]).fetchone():
                server.execute(f"CREATE DATABASE {NAME} OWNER {USER}")
    except psycopg.Error as error:
        raise DatabaseUnavailable(f"the embedded database does not answer at {address.masked}: {error}") from error
    pid = processes.postmaster(places.data)
    if pid:
        write_runtime(places, port=address.port, pid=pid)
    return address


def _running_address(places: Locations) -> DatabaseAddress | None:
    password = read_password(places)
    if password is None or processes.postmaster(places.data) is None:
        return None
    port = processes.postmaster_port(places.data)
    return embedded_address(port, password) if port else None


def _last_address(places: Locations) -> DatabaseAddress | None:
    password, runtime = read_password(places), read_runtime(places)
    return embedded_address(runtime["port"], password) if password and runtime else None


def _answers(address: DatabaseAddress) -> bool:
    try:
        psycopg.connect(address.conninfo, connect_timeout=5).close()
    except psycopg.Error:
        return False
    return True


def _external_status(address: DatabaseAddress) -> DatabaseStatus:
    try:
        check_external(address)
        detail = "DATABASE_URL is set and answers."
    except DatabaseUnavailable as error:
        detail = str(error)
    return DatabaseStatus("external", url=address.masked, port=address.port, detail=detail)
