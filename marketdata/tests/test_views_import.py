"""Bringing a file in through the page: looked at, agreed on, started; and what is refused."""

import pytest
from django.contrib.auth.models import User
from django.core.files.uploadedfile import SimpleUploadedFile

from core.models import Instrument
from marketdata import explorer_upload
from marketdata.models import Bar, Fetch

pytestmark = pytest.mark.django_db

GOOD = "time,open,high,low,close,volume\n" + "".join(
    f"2020-01-06T14:{minute}:00Z,100,102,99,101,{minute}\n" for minute in range(30, 50)
)
SCRIPT = {"HX-Request": "true"}


@pytest.fixture
def spy(settings, tmp_path):
    settings.LOCAL_DIR = tmp_path
    return Instrument.objects.create(symbol="SPY", name="SPDR", asset_class="etf")


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_user("olga", is_staff=True))
    return client


def send(client, instrument: Instrument, text: str | bytes = GOOD, name: str = "spy.csv"):
    data = text if isinstance(text, bytes) else text.encode()
    given = {"file": SimpleUploadedFile(name, data), "instrument": instrument.pk, "symbol": "SPY"}
    return client.post("/data/imports/new/", given, headers=SCRIPT)


def test_the_form_says_what_fits(operator, spy):
    text = operator.get("/data/imports/new/", {"symbol": "SPY"}).content.decode()
    assert "CSV or Parquet" in text and "Look into it" in text


def test_a_file_is_looked_at_before_anything_is_stored(operator, spy):
    response = send(operator, spy)
    text = response.content.decode()
    assert response.status_code == 200 and "spy.csv into SPY" in text and "20 rows" in text and "1 min bars" in text
    assert response.context["seen"].mapping["close"] == "close"
    assert not Bar.objects.exists() and not Fetch.objects.exists()


def test_rows_that_would_be_left_out_are_shown(operator, spy):
    text = send(operator, spy, GOOD + "2020-01-06T15:00:00Z,100,90,99,101,5\n").content.decode()
    assert "would be left out" in text and "high 90" in text


def test_what_was_agreed_on_is_started_once(operator, spy):
    token = send(operator, spy).context["upload"].token
    response = operator.post(f"/data/imports/{token}/start/", {"column-time": ""}, headers=SCRIPT)
    assert response["Desk-Done"] == "1" and "is being imported into SPY" in response.content.decode()
    fetch = Fetch.objects.get()
    assert (fetch.source, fetch.interval_seconds, fetch.requested_by) == ("file", 60, "olga")
    assert fetch.options["mapping"]["time"] == "time"
    # The looked-at copy is gone; the job has its own.
    assert operator.post(f"/data/imports/{token}/start/").status_code == 404


def test_columns_and_zone_can_be_said_otherwise(operator, spy):
    text = GOOD.replace("time,", "moment,").replace("Z,", ",")
    first = send(operator, spy, text)
    assert first.context["error"] and "disabled" in first.content.decode()
    token = first.context["upload"].token
    columns = {f"column-{name}": name for name in ("open", "high", "low", "close", "volume")}
    again = operator.post(
        f"/data/imports/{token}/look/",
        {**columns, "column-time": "moment", "zone": "America/New_York"},
        headers=SCRIPT,
    )
    assert not again.context["error"] and again.context["seen"].zone == "America/New_York"


def test_a_file_whose_days_and_months_look_alike_asks_which_is_which(operator, spy):
    text = "date,open,high,low,close\n" + "".join(f"0{n}/02/2020,1,2,1,2\n" for n in range(1, 9))
    first = send(operator, spy, text)
    forms = dict(first.context["forms"])
    assert forms["%m/%d/%Y"] == "month/day/year" and forms["%d/%m/%Y"] == "day/month/year" and first.context["error"]
    token = first.context["upload"].token
    columns = {"column-time": "date", **{f"column-{name}": name for name in ("open", "high", "low", "close")}}
    again = operator.post(f"/data/imports/{token}/look/", {**columns, "time_format": "%d/%m/%Y"}, headers=SCRIPT)
    assert not again.context["error"]


def test_a_zone_nobody_knows_and_a_file_that_is_no_table_are_refused(operator, spy):
    token = send(operator, spy).context["upload"].token
    response = operator.post(f"/data/imports/{token}/look/", {"zone": "Mars/Base"}, headers=SCRIPT)
    assert response.status_code == 422 and "no time zone called Mars/Base" in response.content.decode()
    response = send(operator, spy, b"\x00\x01\x02" * 100, "photo.csv")
    assert response.status_code == 422 and "cannot be read" in response.content.decode()
    assert not any(explorer_upload.previews_folder().iterdir())


def test_nothing_empty_or_too_large_is_taken(operator, spy, monkeypatch):
    assert "The file is empty" in send(operator, spy, b"").content.decode()
    monkeypatch.setattr("marketdata.forms.LARGEST_FILE", 100)
    response = send(operator, spy)
    assert response.status_code == 422 and "takes at most" in response.content.decode()
    missing = operator.post("/data/imports/new/", {"instrument": spy.pk})
    assert missing.status_code == 422 and "Choose a file" in missing.content.decode()


def test_a_file_belongs_to_who_sent_it(operator, spy, client):
    token = send(operator, spy).context["upload"].token
    client.force_login(User.objects.create_user("otto", is_staff=True))
    assert client.post(f"/data/imports/{token}/start/").status_code == 403
    assert client.post("/data/imports/..%2F..%2Fetc/start/").status_code == 404
    assert not Fetch.objects.exists()


def test_a_name_cannot_lead_out_of_the_folder(operator, spy):
    upload = send(operator, spy, name="../../evil.csv").context["upload"]
    assert upload.name == "evil.csv" and upload.folder.parent == explorer_upload.previews_folder()
