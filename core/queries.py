"""SQL that has no place in the ORM: advisory locks and what the server says of itself."""

from django.db import connection


def ping() -> None:
    """Ask the server for a sign of life. Raises: OperationalError or InterfaceError if there is none."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT 1")


def lock_holder(kind_number: int, pk: int) -> int | None:
    """Backend pid of the session that holds the advisory lock of a job, or None if nobody runs it."""
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT pid FROM pg_locks WHERE locktype = 'advisory' AND classid = %s AND objid = %s AND objsubid = 2"
            " AND granted AND database = (SELECT oid FROM pg_database WHERE datname = current_database()) LIMIT 1",
            [kind_number, pk],
        )
        row = cursor.fetchone()
    return row[0] if row else None


def end_backend(backend_pid: int) -> None:
    """Close a database session, so that the lock of a hung process becomes free."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_terminate_backend(%s)", [backend_pid])
