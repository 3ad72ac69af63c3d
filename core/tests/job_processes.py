"""Real job processes for tests: a stream that waits for a listener who never comes, run against the test database."""

import os
import subprocess
import sys
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

from django.apps import apps
from django.conf import settings
from django.db import connection

from core.models import JobRow
from core.processes import wait_until


def waiting_stream() -> Any:
    """A wanted stream that waits as soon as it runs. The model is looked up: core's code knows no other room."""
    start = datetime(2011, 6, 1, tzinfo=UTC)
    stream = apps.get_model("marketdata", "Stream").objects.create(
        name="waiting", from_time=start, to_time=start, desired_state=JobRow.Desired.RUNNING
    )
    stream.subscriptions.create(subscriber="nobody", active=True)
    return stream


def test_database_url() -> str:
    """Address of the database the tests use, for a child process."""
    found = connection.settings_dict
    return f"postgres://{found['USER']}:{quote(found['PASSWORD'])}@{found['HOST']}:{found['PORT']}/{found['NAME']}"


test_database_url.__test__ = False  # type: ignore[attr-defined]


def run_stream(pk: object, **environment: str) -> "subprocess.Popen[str]":
    """`manage.py run_stream pk` as a process of its own."""
    return subprocess.Popen(
        [sys.executable, "manage.py", "run_stream", str(pk)],
        cwd=settings.BASE_DIR,
        env={**os.environ, "DATABASE_URL": test_database_url(), **environment},
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def reaches(row: JobRow, *, seconds: float = 20, **wanted: object) -> bool:
    """Whether the row's columns take the wanted values within so many seconds."""

    def there() -> bool:
        row.refresh_from_db()
        return all(getattr(row, name) == value for name, value in wanted.items())

    return wait_until(there, seconds=seconds, every=0.05)
