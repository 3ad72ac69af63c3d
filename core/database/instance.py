"""The files of one instance: folders, lock, password, and the runtime file that remembers port and process."""

import contextlib
import fcntl
import json
import os
import secrets
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from core.database.accounts import ServerAccount, check_reach, give
from core.database.errors import DatabaseUnavailable
from core.database.locations import Locations

LOCK_SECONDS = 1200.0


def prepare_folders(places: Locations, account: ServerAccount | None) -> None:
    """Make the instance's folders: root's are open for walking through, an ordinary user's are closed."""
    try:
        make_open_folder(places.root)
        places.root.chmod(0o700 if account is None else 0o711)
        check_reach(places.root, account)
        for folder, mode in ((places.logs, 0o750), (places.sockets, 0o700)):
            folder.mkdir(mode=mode, exist_ok=True)
            if folder.parent == places.root:
                give(folder, account)
    except OSError as error:
        raise DatabaseUnavailable(
            f"cannot make the database's folder {places.root} ({error.strerror}): allow it, or set DESK_LOCAL_DIR"
        ) from error


def make_open_folder(folder: Path) -> None:
    """Make a folder and its parents whatever the umask; each belongs to the owner of the folder it lies in.

    So `.local` made by root in an ordinary user's checkout still lets that user add his own instance.
    """
    missing = [part for part in (folder, *folder.parents) if not part.exists()]
    for part in reversed(missing):
        part.mkdir(exist_ok=True)
        part.chmod(0o755)
        if os.geteuid() == 0 and part != folder:
            above = part.parent.stat()
            os.chown(part, above.st_uid, above.st_gid)


@contextlib.contextmanager
def lock(places: Locations, *, log: Callable[[str], None]) -> Iterator[None]:
    """Hold the instance's lock; the kernel drops it when the process dies, so it can never be left behind."""
    with places.lock_file.open("a") as handle:
        deadline = time.monotonic() + LOCK_SECONDS
        announced = False
        while True:
            try:
                fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if not announced:
                    log("Another process is setting up the database; waiting for it …")
                    announced = True
                if time.monotonic() > deadline:
                    raise DatabaseUnavailable(f"another process has held {places.lock_file} for 20 minutes") from None
                time.sleep(0.1)
        yield


def socket_folder(places: Locations, account: ServerAccount | None) -> Path | None:
    """The unix socket's folder if it is safe to use; in /tmp a stranger may have made it first: then None."""
    owner = account.uid if account else os.geteuid()
    folder = places.sockets
    if folder.parent != places.root and account is not None:
        with contextlib.suppress(OSError):
            if folder.lstat().st_uid == os.geteuid() and not folder.is_symlink():
                give(folder, account)
    found = folder.lstat()
    safe = not folder.is_symlink() and found.st_uid == owner and not found.st_mode & 0o022
    return folder if safe else None


def create_password(places: Locations) -> str:
    """Make and store the password of a new instance, readable by the current user only."""
    password = secrets.token_urlsafe(24)
    write_private(places.password_file, password)
    return password


def read_password(places: Locations) -> str | None:
    try:
        return places.password_file.read_text().strip() or None
    except OSError:
        return None


def read_runtime(places: Locations) -> dict[str, Any]:
    """What the last start wrote: "port" and "pid"; {} when there was none."""
    try:
        runtime = json.loads(places.runtime_file.read_text())
    except (OSError, ValueError):
        return {}
    return runtime if isinstance(runtime, dict) and isinstance(runtime.get("port"), int) else {}


def write_runtime(places: Locations, *, port: int, pid: int) -> None:
    write_private(places.runtime_file, json.dumps({"port": port, "pid": pid}))


def write_private(path: Path, text: str) -> None:
    """Replace a file at once, with mode 600."""
    temporary = path.with_name(path.name + ".new")
    temporary.unlink(missing_ok=True)
    with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as handle:
        handle.write(text)
    temporary.replace(path)
