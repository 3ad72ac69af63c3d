"""Which operating-system user runs the server: PostgreSQL refuses to run as root."""

import os
import pwd
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from core.database.errors import DatabaseUnavailable

ACCOUNT_NAME = "rldesk"


@dataclass(frozen=True)
class ServerAccount:
    """The unprivileged user root hands the server to."""

    name: str
    uid: int
    gid: int


def server_account(data: Path, *, log: Callable[[str], None]) -> ServerAccount | None:
    """None for an ordinary user, who runs the server as himself; for root the account to drop to.

    data: the data folder; when it exists its owner stays the server's user.
    """
    if os.geteuid() != 0:
        return None
    if data.exists() and data.stat().st_uid != 0:
        return _account(pwd.getpwuid(data.stat().st_uid))
    return _find_or_create(log)


def process_options(account: ServerAccount | None) -> dict[str, Any]:
    """Keyword arguments of subprocess calls that make the child run as `account`."""
    if account is None:
        return {}
    return {"user": account.uid, "group": account.gid, "extra_groups": []}


def give(path: Path, account: ServerAccount | None) -> None:
    """Hand a file or folder to the server's user; nothing to do for an ordinary user."""
    if account is not None:
        os.chown(path, account.uid, account.gid, follow_symlinks=False)


def check_reach(path: Path, account: ServerAccount | None) -> None:
    """Raise DatabaseUnavailable when the server's user cannot really enter `path` (mode bits can be overruled)."""
    if account is None:
        return
    try:
        reached = (
            subprocess.run(["test", "-x", str(path)], check=False, cwd="/", **process_options(account)).returncode == 0
        )
    except (OSError, subprocess.SubprocessError) as error:
        raise DatabaseUnavailable(
            f"PostgreSQL may not run as root and this root cannot become user {account.name} ({error}): "
            "run as an ordinary user, or set DATABASE_URL"
        ) from error
    if not reached:
        raise DatabaseUnavailable(
            f"user {account.name}, who runs the database for root, cannot enter {path}: allow it (chmod o+x on the "
            "folders above), or set DESK_LOCAL_DIR to a folder it can enter"
        )


def _find_or_create(log: Callable[[str], None]) -> ServerAccount:
    found = _by_name(ACCOUNT_NAME)
    if found:
        return found
    useradd = shutil.which("useradd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")
    if useradd:
        options = ["--system", "--user-group", "--no-create-home", "--home-dir", "/nonexistent"]
        subprocess.run(
            [useradd, *options, "--shell", "/usr/sbin/nologin", ACCOUNT_NAME], check=False, capture_output=True
        )
        # Looked up again rather than trusting the exit code: another `db up` may have added it meanwhile.
        found = _by_name(ACCOUNT_NAME)
        if found:
            log(f"Added the system user {ACCOUNT_NAME}: PostgreSQL refuses to run as root.")
            return found
    fallback = _by_name("nobody")
    if fallback is None:
        raise DatabaseUnavailable(f"PostgreSQL may not run as root: add a user named {ACCOUNT_NAME}, or run as a user")
    log(f"Could not add the system user {ACCOUNT_NAME}; the database runs as nobody.")
    return fallback


def _by_name(name: str) -> ServerAccount | None:
    try:
        return _account(pwd.getpwnam(name))
    except KeyError:
        return None


def _account(entry: pwd.struct_passwd) -> ServerAccount:
    return ServerAccount(entry.pw_name, entry.pw_uid, entry.pw_gid)
