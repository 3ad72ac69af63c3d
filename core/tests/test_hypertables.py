"""The migrations of the hypertables, forwards and backwards with rows in the tables, on a database of their own."""

import json
import os
import subprocess
import sys

import psycopg
import pytest
from django.conf import settings
from django.db import connection

from core.tests.job_processes import test_database_url

HYPERTABLES = ["agents_decision", "core_equitysnapshot", "core_event", "core_fill", "marketdata_bar"]
NATURAL = ["marketdata_chartbar", "marketdata_tick"]  # keyed by what they hold, without a surrogate id

# Run in a process of its own with that database; prints one line of JSON a step.
SCRIPT = """
import json
from datetime import UTC, datetime
from django.core.management import call_command
from django.db import connection, transaction

TABLES = ["agents_decision", "core_equitysnapshot", "core_event", "core_fill", "marketdata_bar"]
NATURAL = ["marketdata_chartbar", "marketdata_tick"]

def query(sql, *values):
    with connection.cursor() as cursor:
        cursor.execute(sql, values)
        return cursor.fetchall()

def facts(table):
    constraints = query(
        "SELECT conname, contype::text, pg_get_constraintdef(oid) FROM pg_constraint"
        " WHERE conrelid = %s::regclass AND contype IN ('c', 'f', 'u', 'p') ORDER BY conname", table)
    indexes = query("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = %s AND schemaname = 'public'"
        " ORDER BY indexname", table)
    columns = query("SELECT column_name, data_type, is_nullable, is_identity FROM information_schema.columns"
        " WHERE table_name = %s ORDER BY ordinal_position", table)
    # A column that came later is gone in between.
    rows = query(f"SELECT count(*), md5(string_agg(row, '|' ORDER BY row)) FROM"
        f" (SELECT (to_jsonb(t) - 'outside_session')::text AS row FROM {table} t) AS rows")
    return {"constraints": constraints, "indexes": indexes, "columns": columns, "rows": rows[0]}

def say(step, tables=TABLES):
    there = query("SELECT 1 FROM pg_extension WHERE extname = 'timescaledb'")
    hyper = query("SELECT hypertable_name FROM timescaledb_information.hypertables ORDER BY 1") if there else []
    hyper = [row[0] for row in hyper]
    print(json.dumps({"step": step, "hypertables": hyper, "tables": {table: facts(table) for table in tables}}))

def migrate(*names):
    call_command("migrate", *names, verbosity=0, interactive=False)

migrate("core", "0001"), migrate("marketdata", "0001"), migrate("agents", "0001")
say("plain and empty")
migrate()
say("empty")
from tests.factories import desk
from core.models import Event
desk()
for year in range(2000, 2003):  # several chunks
    Event.objects.create(time=datetime(year, 1, 1, tzinfo=UTC), kind="test", message=f"It's {year}", data={"a": [1]})
say("filled")
migrate("core", "0001")
say("plain")
ids = [Event.objects.create(kind="test", message="after").pk for _ in range(2)]
assert Event.objects.filter(pk__in=ids).count() == 2, "the numbers go on where they were"
Event.objects.filter(pk__in=ids).delete()
migrate()
say("again")
Event.objects.create(kind="test", message="after")
migrate("core", "0001"), migrate()
from marketdata.models import ChartBar, Tick
for day in range(1, 4):
    when = dict(time=datetime(2020, 1, day, tzinfo=UTC), instrument_id=1)
    Tick.objects.create(**when, identity=day, kind=1, price=1.5, size=1, source="it's a test")
    ChartBar.objects.create(**when, interval_seconds=60, level_seconds=300, first_time=when["time"],
        open=1, high=1, low=1, close=1, volume=1, n_bars=5)
say("natural", NATURAL)
migrate("marketdata", "0003")
say("natural plain", NATURAL)
migrate()
say("natural again", NATURAL)
for app in ("alerts", "agents", "risk", "marketdata", "core"):
    from django.db.migrations.loader import MigrationLoader
    if app in MigrationLoader(connection).migrated_apps:
        migrate(app, "zero")
left = [row[0] for row in query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'")]
ours = [table for table in left if table.split("_")[0] in ("core", "agents", "marketdata", "risk")]
print(json.dumps({"step": "zero", "tables": ours}))
"""


@pytest.fixture(scope="module")
def steps(django_db_setup, django_db_blocker):
    """What the script said at each step, by name."""
    with django_db_blocker.unblock():
        address = test_database_url()
        connection.close()
    name = f"{address.rsplit('/', 1)[1]}_hyper"
    administration = address.rsplit("/", 1)[0] + "/postgres"
    with psycopg.connect(administration, autocommit=True) as server:
        server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
        server.execute(f'CREATE DATABASE "{name}"')
        try:
            done = subprocess.run(
                [sys.executable, "manage.py", "shell", "--no-imports", "-c", SCRIPT],
                cwd=settings.BASE_DIR,
                env={**os.environ, "DATABASE_URL": address.rsplit("/", 1)[0] + f"/{name}"},
                capture_output=True,
                text=True,
                timeout=120,
                check=False,
            )
        finally:
            server.execute(f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
    assert done.returncode == 0, done.stdout[-1000:] + done.stderr[-3000:]
    said = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("{")]
    return {step["step"]: step for step in said}


def test_all_seven_tables_are_hypertables(steps):
    assert steps["plain and empty"]["hypertables"] == []
    assert steps["filled"]["hypertables"] == sorted(HYPERTABLES + NATURAL)
    assert steps["plain"]["hypertables"] == []
    assert steps["again"]["hypertables"] == sorted(HYPERTABLES + NATURAL)
    assert not set(NATURAL) & set(steps["natural plain"]["hypertables"])


@pytest.mark.parametrize("table", NATURAL)
def test_a_table_with_a_natural_key_keeps_rows_and_key_both_ways(steps, table):
    before, plain, again = (steps[step]["tables"][table] for step in ("natural", "natural plain", "natural again"))
    assert before["rows"][0] >= 3
    assert plain["rows"] == again["rows"] == before["rows"]
    assert again["constraints"] == before["constraints"] and again["indexes"] == before["indexes"]
    keys = [next(text for _, kind, text in seen["constraints"] if kind == "p") for seen in (before, plain, again)]
    assert len(set(keys)) == 1 and keys[0].startswith("PRIMARY KEY (instrument_id, ")


@pytest.mark.parametrize("table", HYPERTABLES)
def test_every_row_survives_both_ways(steps, table):
    n_rows, digest = steps["filled"]["tables"][table]["rows"]
    assert n_rows > 0 and digest
    assert steps["plain"]["tables"][table]["rows"] == [n_rows, digest]
    assert steps["again"]["tables"][table]["rows"] == [n_rows, digest]


@pytest.mark.parametrize("table", HYPERTABLES)
def test_the_way_back_ends_at_the_table_django_made(steps, table):
    for what in ("constraints", "indexes", "columns"):
        assert steps["plain"]["tables"][table][what] == steps["plain and empty"]["tables"][table][what], what


@pytest.mark.parametrize("table", HYPERTABLES)
def test_the_way_forward_gives_the_same_table_with_rows_and_without(steps, table):
    for what in ("constraints", "indexes", "columns"):
        assert steps["again"]["tables"][table][what] == steps["empty"]["tables"][table][what], what
    key = next(text for name, kind, text in steps["again"]["tables"][table]["constraints"] if kind == "p")
    assert key == 'PRIMARY KEY (id, "time")'


def test_everything_can_be_unapplied(steps):
    assert steps["zero"]["tables"] == []
