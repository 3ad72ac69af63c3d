"""Creates the data folder of the embedded server and starts it: the steps that run PostgreSQL's own programs."""

import os
import re
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

from core.database import configuration, processes
from core.database.accounts import ServerAccount, give, process_options
from core.database.addresses import HOST, USER
from core.database.errors import DatabaseUnavailable
from core.database.instance import (
    create_password,
    read_password,
    read_runtime,
    socket_folder,
    write_private,
    write_runtime,
)
from core.database.locations import Locations
from core.database.packages import ZONEINFO_LINK, bin_dir

FIRST_PORT = 5433
N_PORTS = 200
# Replaying the log after a crash may take a while.
START_SECONDS = 300


def initialise(places: Locations, account: ServerAccount | None, *, log: Callable[[str], None]) -> None:
    """Create the data folder: built beside its place and renamed, so that it is there entirely or not at all."""
    log("Creating the database's data folder …")
    password = create_password(places)
    new, password_file = places.root / "data.new", places.root / "password.initdb"
    shutil.rmtree(new, ignore_errors=True)
    new.mkdir(mode=0o700)
    give(new, account)
    write_private(password_file, password)
    give(password_file, account)
    # The role is superuser of this private server, because every new test database must be able to create the
    # extension. Having it in template1 instead would make each CREATE DATABASE wait for TimescaleDB's workers there.
    options = ["--username", USER, "--pwfile", str(password_file), "--auth", "scram-sha-256", "--data-checksums"]
    # The built-in C.UTF-8 needs no locale of the host, which could change under the indexes.
    options += ["--encoding", "UTF8", "--locale", "C", "--locale-provider", "builtin", "--builtin-locale", "C.UTF-8"]
    if not configuration.fsync_wanted():
        options.append("--no-sync")
    try:
        result = run_program("initdb", ["-D", str(new), *options], places, account, cwd=new)
    finally:
        password_file.unlink(missing_ok=True)
    if result.returncode:
        shutil.rmtree(new, ignore_errors=True)
        raise DatabaseUnavailable(f"initdb failed: {(result.stderr or result.stdout).strip()[-600:]}")
    with (new / "postgresql.conf").open("a") as handle:
        handle.write(f"\ninclude_if_exists = '{configuration.FILE_NAME}'\n")
    new.rename(places.data)


def start(places: Locations, account: ServerAccount | None, *, log: Callable[[str], None]) -> None:
    """Start the server on a free port; tries another when somebody takes the port in between."""
    if read_password(places) is None:
        raise DatabaseUnavailable(
            f"{places.password_file} is missing, so the database in {places.data} cannot be opened: put it back, or "
            f"move {places.data} away to begin with an empty database"
        )
    processes.clear_stale_state(places.data, places.sockets, log=log)
    zoneinfo = places.data / ZONEINFO_LINK
    zoneinfo.unlink(missing_ok=True)
    zoneinfo.symlink_to(places.binaries / "usr/share/zoneinfo")
    for port in choose_port(read_runtime(places).get("port")):
        log(f"Starting the database on {HOST}:{port} …")
        failure = _start_on(port, places, account)
        pid = processes.postmaster(places.data)
        if not failure and pid:
            write_runtime(places, port=port, pid=pid)
            return
        if port_is_free(port):
            raise DatabaseUnavailable(f"the database did not start: {log_tail(places) or failure}")
    raise DatabaseUnavailable(f"no free port on {HOST} between {FIRST_PORT} and {FIRST_PORT + N_PORTS - 1}")


def _start_on(port: int, places: Locations, account: ServerAccount | None) -> str:
    """Run pg_ctl, which puts the server into a session of its own; returns its complaint, "" for none."""
    fsync = configuration.fsync_wanted()
    sockets = socket_folder(places, account)
    settings = configuration.server_settings(port=port, sockets=sockets, logs=places.logs, fsync=fsync)
    path = places.data / configuration.FILE_NAME
    # Replaced, never written through: for root the folder belongs to another user, who could plant a link.
    write_private(path, configuration.render(settings))
    give(path, account)
    startup_log = places.logs / "startup.log"
    startup_log.unlink(missing_ok=True)
    arguments = ["start", "-D", str(places.data), "-l", str(startup_log), "-w", "-t", str(START_SECONDS), "-s"]
    result = run_program("pg_ctl", arguments, places, account, cwd=places.data)
    return (result.stderr or result.stdout).strip() or "pg_ctl failed" if result.returncode else ""


def run_program(
    name: str, arguments: list[str], places: Locations, account: ServerAccount | None, *, cwd: Path
) -> subprocess.CompletedProcess[str]:
    """Run a server program as the server's user, untouched by the caller's PG… and loader variables."""
    clean = {key: value for key, value in os.environ.items() if not re.match(r"PG|LD_|LC_|LANG|TZ|MALLOC_", key)}
    return subprocess.run(
        [str(bin_dir(places.binaries) / name), *arguments],
        check=False,
        cwd=cwd,
        env={**clean, "LC_ALL": "C", "TZ": "GMT"},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        start_new_session=True,
        umask=0o077,
        **process_options(account),
    )


def choose_port(last: int | None) -> Iterator[int]:
    """Free loopback ports: the last one used first, so that addresses stay the same, then from 5433 upward."""
    for port in dict.fromkeys([last or FIRST_PORT, *range(FIRST_PORT, FIRST_PORT + N_PORTS)]):
        if port_is_free(port):
            yield port


def port_is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        # As PostgreSQL does: a port whose last connections only linger is free.
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def log_tail(places: Locations) -> str:
    """The last complaints in the newest log file."""
    files = sorted(places.logs.glob("*.log"), key=lambda path: path.stat().st_mtime)
    lines = [line for file in files[-2:] for line in file.read_text(errors="replace").splitlines()[-20:]]
    serious = [line for line in lines if re.search(r"(FATAL|PANIC|ERROR|could not)", line)] or lines
    return " / ".join(serious[-3:])[:800]
