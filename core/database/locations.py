"""Where the embedded database keeps its files.

Everything of one operating-system user lies in one instance folder, normally `<project>/.local/database/uid-<uid>`.
A folder per user, because PostgreSQL insists on owning its data: root's run and a later ordinary user's must not meet.
"""

import hashlib
import os
import stat
from dataclasses import dataclass
from pathlib import Path

PROJECT_DIR = Path(__file__).resolve().parents[2]
SYSTEM_DIR = Path("/var/lib/rl-trading-desk")
# sun_path in sockaddr_un holds 108 bytes, the last one a NUL.
MAX_SOCKET_PATH_BYTES = 107


@dataclass(frozen=True)
class Locations:
    """The paths of one instance; none of them need exist."""

    root: Path

    @property
    def binaries(self) -> Path:
        """The unpacked packages; DESK_DATABASE_BINARIES shares one unpack between instances."""
        shared = os.environ.get("DESK_DATABASE_BINARIES", "").strip()
        return Path(shared).resolve() if shared else self.root / "binaries"

    @property
    def data(self) -> Path:
        return self.root / "data"

    @property
    def logs(self) -> Path:
        return self.root / "logs"

    @property
    def sockets(self) -> Path:
        """Folder of the unix socket: inside the instance unless the path would be too long for the kernel."""
        inside = self.root / "run"
        if len(os.fsencode(inside / ".s.PGSQL.65535")) <= MAX_SOCKET_PATH_BYTES:
            return inside
        return Path("/tmp") / f"rl-trading-desk-{os.geteuid()}-{path_hash(self.root)}"

    @property
    def password_file(self) -> Path:
        return self.root / "password"

    @property
    def runtime_file(self) -> Path:
        return self.root / "runtime.json"

    @property
    def lock_file(self) -> Path:
        return self.root / "lock"


def local_dir() -> Path:
    """The folder for what this copy of the project makes: `.local`, or DESK_LOCAL_DIR (relative to the project)."""
    value = os.environ.get("DESK_LOCAL_DIR", "").strip() or ".local"
    return (PROJECT_DIR / Path(value).expanduser()).resolve()


def path_hash(path: Path) -> str:
    """Twelve hex digits that tell one path from another."""
    return hashlib.sha256(os.fsencode(path)).hexdigest()[:12]


def locations() -> Locations:
    """The instance of the current user. An existing one wins, so that changed permissions never hide data."""
    uid = os.geteuid()
    inside = local_dir() / "database" / f"uid-{uid}"
    outside = _outside_dir(uid) / path_hash(local_dir())
    for root in (inside, outside):
        if exists(root / "data"):
            return Locations(root)
    usable = everyone_may_enter(inside.parent) if uid == 0 else _writable(inside)
    return Locations(inside if usable else outside)


def everyone_may_enter(path: Path) -> bool:
    """Whether a user without any rights can walk down to `path`; parts that do not exist yet will be made open."""
    parts = [path, *path.parents]
    return all(part.stat().st_mode & stat.S_IXOTH for part in parts if exists(part))


def _outside_dir(uid: int) -> Path:
    if uid == 0:
        return SYSTEM_DIR
    home = os.environ.get("XDG_DATA_HOME") or "~/.local/share"
    return Path(home).expanduser() / "rl-trading-desk"


def exists(path: Path) -> bool:
    # Not Path.exists(): inside a folder of another user it raises instead of answering.
    return os.path.exists(path)  # noqa: PTH110


def _writable(path: Path) -> bool:
    nearest = next(part for part in (path, *path.parents) if exists(part))
    return os.access(nearest, os.W_OK | os.X_OK)
