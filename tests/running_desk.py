"""A whole desk as processes, with a folder, a database and ports of its own."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.request import urlopen

import psutil
import psycopg

from core.database.locations import locations

PROJECT = Path(__file__).resolve().parents[1]
PATIENCE_SECONDS = 90


def own_environment(folder: Path) -> dict[str, str]:
    """Environment of a desk that lives in `folder` and shares nothing with others but unpacked programs."""
    for parent in (folder, *folder.parents):
        # The database runs as an unprivileged user when we are root and must reach its folder.
        if os.geteuid() == 0 and parent.stat().st_uid == 0:
            parent.chmod(parent.stat().st_mode | 0o011)
    kept = {name: value for name, value in os.environ.items() if name not in ("DATABASE_URL", "DESK_LOCAL_DIR")}
    return kept | {
        "DESK_LOCAL_DIR": str(folder),
        "DESK_DATABASE_BINARIES": os.environ.get("DESK_DATABASE_BINARIES", str(locations().binaries)),
        "DESK_DATABASE_FSYNC": "on",
        "DESK_WEB_PORT": str(free_port()),
    }


@dataclass
class RunningDesk:
    """A desk of its own: folder, database, ports."""

    folder: Path
    environment: dict[str, str]
    expected: dict[str, Any] = field(default_factory=dict)
    foreground: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        return f"http://127.0.0.1:{self.environment['DESK_WEB_PORT']}"

    def manage(self, *arguments: str) -> str:
        return run(self.environment, "manage.py", *arguments)

    def start(self, *options: str) -> None:
        with (self.folder / "up.log").open("ab") as log:
            self.foreground = subprocess.Popen(
                [sys.executable, "manage.py", "up", *options],
                cwd=PROJECT,
                env=self.environment,
                stdout=log,
                stderr=log,
            )
        wait_for(self.answers, "the login page answers")

    def stop(self) -> None:
        if self.foreground is not None:
            self.foreground.terminate()
            self.foreground.wait(timeout=60)

    def answers(self) -> bool:
        try:
            with urlopen(f"{self.address}/login/", timeout=2) as page:
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
        return (self.folder / "up.log").read_text()


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


def wait_for(check: Callable[[], bool], what: str, seconds: float = PATIENCE_SECONDS) -> None:
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
