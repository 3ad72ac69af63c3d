"""The server's settings, written anew at every start into `desk.conf` of the data folder."""

import os
from pathlib import Path

FILE_NAME = "desk.conf"


def server_settings(*, port: int, sockets: Path | None, logs: Path, fsync: bool) -> dict[str, str]:
    """PostgreSQL settings of the private server; sockets: folder of the unix socket, None for none."""
    return {
        "listen_addresses": "127.0.0.1",
        "port": str(port),
        "unix_socket_directories": f'"{sockets}"' if sockets else "",
        "unix_socket_permissions": "0700",
        "shared_preload_libraries": "timescaledb",
        "timescaledb.telemetry_level": "off",
        "timescaledb.max_background_workers": "4",
        # TimescaleDB's workers and launcher, parallel queries and replication all come out of this number.
        "max_worker_processes": "16",
        "max_parallel_workers": "4",
        "max_connections": "100",
        "shared_buffers": "256MB",
        "work_mem": "16MB",
        "maintenance_work_mem": "128MB",
        "effective_cache_size": "1GB",
        "max_wal_size": "2GB",
        "password_encryption": "scram-sha-256",
        # LLVM, 26 MB, is not unpacked.
        "jit": "off",
        # Files in the data folder: /dev/shm is small in containers, and logind empties it when its user logs out.
        "dynamic_shared_memory_type": "mmap",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "fsync": "on" if fsync else "off",
        "full_page_writes": "on" if fsync else "off",
        "synchronous_commit": "on" if fsync else "off",
        # One file per weekday, overwritten a week later: the log stays bounded without a log daemon.
        "logging_collector": "on",
        "log_directory": str(logs),
        "log_filename": "postgresql-%a.log",
        "log_rotation_age": "1d",
        "log_rotation_size": "0",
        "log_truncate_on_rotation": "on",
        "log_file_mode": "0640",
        "log_line_prefix": "%m [%p] %q%u@%d ",
    }


def fsync_wanted() -> bool:
    """False only for throw-away servers of tests (DESK_DATABASE_FSYNC=off); any other value is refused as a typo."""
    value = os.environ.get("DESK_DATABASE_FSYNC", "").strip().lower()
    if value not in ("", "on", "off"):
        raise ValueError(f"DESK_DATABASE_FSYNC is {value!r}, expected on or off")
    return value != "off"


def render(settings: dict[str, str]) -> str:
    """The text of the file: one `name = 'value'` per line, quotes doubled as PostgreSQL wants them."""
    lines = [f"{name} = '{value.replace(chr(39), chr(39) * 2)}'" for name, value in settings.items()]
    header = "# Written anew at every start: put your own changes into postgresql.auto.conf (ALTER SYSTEM)."
    return "\n".join([header, *lines, ""])
