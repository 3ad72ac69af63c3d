"""The bus between processes: PostgreSQL NOTIFY with ids only; the receiver reads the row."""

import json

from django.db import connection

CHANNEL = "desk"


def notify(kind: str, **ids: object) -> None:
    """Tell every listener that something of `kind` changed; delivered when the current transaction commits.

    ids: small values that name the rows, such as agent=3; never the content itself (8,000 bytes is the limit).
    """
    payload = json.dumps({"kind": kind, **ids}, separators=(",", ":"))
    with connection.cursor() as cursor:
        cursor.execute("SELECT pg_notify(%s, %s)", [CHANNEL, payload])
