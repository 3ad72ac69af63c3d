"""A database of its own for a bench: the desk's rows are neither seen nor touched, and nothing stays behind."""

import os
from collections.abc import Iterator
from contextlib import contextmanager

from django.core.management import call_command
from django.db import connection


@contextmanager
def scratch_database() -> Iterator[str]:
    """Point Django's default connection at a new, migrated database on the same server; drop it at the end.

    Yields: the database's name. Not inside a transaction.
    """
    usual = connection.settings_dict["NAME"]
    name = f"desk_bench_{os.getpid()}"
    _on_server(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)', f'CREATE DATABASE "{name}"')
    try:
        _use(name)
        call_command("migrate", verbosity=0)
        yield name
    finally:
        _use(usual)
        _on_server(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _use(name: str) -> None:
    connection.close()
    connection.settings_dict["NAME"] = name


def _on_server(*statements: str) -> None:
    with connection.cursor() as cursor:
        for statement in statements:
            cursor.execute(statement)
