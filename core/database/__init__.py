"""The database of the desk: the one DATABASE_URL names, or a private TimescaleDB server that needs no installation.

Nothing here imports Django, so that settings can ask for the address.
"""

from core.database.addresses import DatabaseAddress
from core.database.errors import DatabaseUnavailable
from core.database.server import (
    DatabaseStatus,
    database_url,
    ensure_installed,
    ensure_running,
    psql_command,
    psql_environment,
    status,
    stop,
)

__all__ = [
    "DatabaseAddress",
    "DatabaseStatus",
    "DatabaseUnavailable",
    "database_url",
    "ensure_installed",
    "ensure_running",
    "psql_command",
    "psql_environment",
    "status",
    "stop",
]
