import hashlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from urllib.parse import quote

import pytest
from django.db import connection

from core.models import Event, Instrument
from marketdata.csv_import import CsvRefused
from marketdata.ingest import import_file, prepare, store
from marketdata.models import Bar, CorporateAction, DataImport
from marketdata.queries import load_bars

DAY = 86_400
GOOD = """date,open,high,low,close,volume,mood
2013-01-02,10,12,9,11,5,x
2013-01-03,10,12,NaN,11,5,x
2013-01-04,11,12,9,12,6,x
"""


def instrument():
    return Instrument.objects.create(symbol="TEST", name="Test", asset_class="stock")


def write(tmp_path, text=GOOD):
    path = tmp_path / "bars.csv"
    path.write_text(text)
    return path


@pytest.mark.django_db
def test_good_rows_the_record_and_the_journal_line_arrive_together(tmp_path):
    record = import_file(write(tmp_path), instrument(), actor="anna")
    assert (record.n_rows, record.n_good, record.n_bad) == (3, 2, 1)
    assert record.problems == [{"row": 3, "reason": "low is not a number: 'NaN'"}]
    assert record.sha256 == hashlib.sha256(GOOD.encode()).hexdigest()
    assert record.interval_seconds == 2 * DAY  # the only distance there is
    assert f"{record.first_time:%Y-%m-%d} {record.last_time:%Y-%m-%d}" == "2013-01-02 2013-01-04"
    event = Event.objects.get(kind="data.imported")
    assert (event.actor, event.level, event.subject) == ("anna", "attention", f"import:{record.pk}")
    assert event.message == "TEST: 2 bars imported from bars.csv, 1 bad rows"
    assert event.data["notes"] == ["column ignored: mood"]


@pytest.mark.django_db
def test_the_interval_can_be_given(tmp_path):
    target = instrument()
    import_file(write(tmp_path), target, interval=DAY)
    assert len(load_bars(target.pk, DAY)) == 2
    with pytest.raises(ValueError, match="interval is 0 seconds"):
        store(prepare(GOOD.encode(), "x"), target, source="csv", interval=0)


@pytest.mark.django_db
def test_a_file_without_a_good_row_leaves_its_record(tmp_path):
    record = import_file(write(tmp_path, "date,open,high,low,close\nnever,1,1,1,1\n"), instrument())
    assert (record.n_good, record.n_bad, record.first_time) == (0, 1, None)
    assert Bar.objects.count() == 0


@pytest.mark.django_db
def test_adjusted_prices_are_stored_and_what_was_found_is_in_the_journal(tmp_path):
    target = instrument()
    text = "date,open,high,low,close,volume,adj_close\n2013-01-02,100,100,100,100,5,50\n2013-01-03,50,50,50,50,5,50\n"
    import_file(write(tmp_path, text), target, adjust=True)
    bars = load_bars(target.pk, DAY)
    assert bars.close.tolist() == [50.0, 50.0] and bars.volume.tolist() == [10.0, 5.0]
    assert Event.objects.get(kind="data.imported").data["adjusted_for"] == [
        {"date": "2013-01-03", "kind": "split", "ratio": 2.0, "amount": 0.0}
    ]
    row = CorporateAction.objects.get()  # and marked as done, so that nobody adjusts a second time
    assert (row.ex_date.isoformat(), row.kind, row.value, row.in_prices) == ("2013-01-03", "split", 2.0, True)


@pytest.mark.django_db
def test_a_refused_file_writes_nothing(tmp_path):
    with pytest.raises(CsvRefused):
        import_file(write(tmp_path, "a,b\n1,2\n"), instrument())
    assert DataImport.objects.count() == Event.objects.count() == 0


@pytest.mark.django_db
def test_when_the_journal_fails_no_bar_stays(tmp_path, monkeypatch):
    def broken(*args, **kwargs):
        raise RuntimeError("disk full")

    monkeypatch.setattr("core.journal.record", broken)
    with pytest.raises(RuntimeError):
        import_file(write(tmp_path), instrument())
    assert Bar.objects.count() == DataImport.objects.count() == 0


CHILD = """
import sys, time
import django; django.setup()
import psycopg
from core import journal
from core.models import Instrument
from marketdata.ingest import import_file
from pathlib import Path

def stall(*args, **kwargs):
    print("stalled", flush=True)
    time.sleep(60)

count = 0
write = psycopg.Copy.write
def slow_write(self, data):
    global count
    count += 1
    write(self, data)
    if count == 2:  # the rows, after the header
        stall()

if sys.argv[2] == "in the copy":
    psycopg.Copy.write = slow_write
else:
    journal.record = stall
import_file(Path(sys.argv[1]), Instrument.objects.get(symbol="TEST"))
"""


@pytest.mark.django_db(transaction=True)
@pytest.mark.parametrize("where", ["in the copy", "before the commit"])
def test_a_process_killed_in_the_middle_leaves_nothing_and_a_second_try_imports_all(tmp_path, where):
    target = instrument()
    rows = "".join(f"{1_000_000_000 + 60 * i},10,12,9,11,5\n" for i in range(20_000))
    path = write(tmp_path, "time,open,high,low,close,volume\n" + rows)
    child = subprocess.Popen(
        [sys.executable, "-c", CHILD, str(path), where],
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).resolve().parents[2],
        env={**os.environ, "DJANGO_SETTINGS_MODULE": "tradingsite.settings", "DATABASE_URL": _test_database_url()},
    )
    try:
        assert child.stdout is not None and child.stdout.readline().strip() == "stalled"
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    _wait_until_alone()
    assert Bar.objects.count() == DataImport.objects.count() == Event.objects.count() == 0
    import_file(path, target)
    assert len(load_bars(target.pk, 60)) == 20_000


def _test_database_url() -> str:
    options = connection.settings_dict
    user, password = quote(options["USER"], safe=""), quote(options["PASSWORD"], safe="")
    return f"postgres://{user}:{password}@{options['HOST']}:{options['PORT']}/{options['NAME']}"


def _wait_until_alone() -> None:
    """Until the server has noticed that the killed process is gone."""
    for _ in range(100):
        with connection.cursor() as cursor:
            cursor.execute(
                "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database()"
                " AND pid <> pg_backend_pid() AND backend_type = 'client backend'"
            )
            if cursor.fetchone()[0] == 0:
                return
        time.sleep(0.1)
    raise AssertionError("the killed process still has a session")
