"""Uploaded files: what the preview says of them, for CSV and Parquet."""

import io
from datetime import UTC, datetime

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from core.jobs import JobFailedError
from core.models import Event, Instrument
from marketdata import file_import
from marketdata.csv_import import CsvRefused, parse_bars
from marketdata.file_import import preview
from marketdata.ingest import prepare
from marketdata.models import Fetch
from marketdata.parquet_text import to_csv
from marketdata.queries import load_bars
from marketdata.tests.shared_data import need

DAILY = b"Date,Open,High,Low,Close,Volume\n2013-01-02,10,12,9,11,500\n2013-01-03,11,13,10,12,600\n"


def table(**columns) -> bytes:
    out = io.BytesIO()
    pd.DataFrame(columns).to_parquet(out)
    return out.getvalue()


PRICES = {"open": [10.0, 11.0], "high": [12.0, 13.0], "low": [9.0, 10.0], "close": [11.0, 12.0], "volume": [1, 2]}


def test_a_daily_file_needs_no_help():
    seen = preview(DAILY, "a.csv")
    assert seen.mapping == {
        "time": "Date", "open": "Open", "high": "High", "low": "Low", "close": "Close", "volume": "Volume",
    }  # fmt: skip
    assert (seen.zone, seen.zone_matters, seen.interval_seconds, seen.n_rows) == ("UTC", False, 86_400, 2)
    assert seen.rows[0]["Open"] == "10" and not seen.error and not seen.problems


def test_minutes_in_new_york_time_are_noticed():
    rows = "".join(
        f"2019-07-0{day} {minute // 60:02d}:{minute % 60:02d},1,1,1,1,1\n"
        for day in (1, 2)
        for minute in range(570, 960)
    )
    seen = preview(f"time,open,high,low,close,volume\n{rows}".encode(), "m.csv", calendar="XNYS")
    assert (seen.zone, seen.zone_matters, seen.interval_seconds) == ("America/New_York", True, 60)
    assert seen.n_rows == 780


def test_day_and_month_are_not_guessed():
    text = DAILY.replace(b"2013-01-02", b"02/01/2013").replace(b"2013-01-03", b"03/01/2013")
    seen = preview(text, "a.csv")
    assert "day and month cannot be told apart" in seen.error
    assert not preview(text, "a.csv", time_format="%d/%m/%Y").error


def test_missing_columns_and_bad_rows_are_shown_before_anything_is_written():
    assert "missing columns: close" in preview(DAILY.replace(b"Close", b"Final"), "a.csv").error
    chosen = {"time": "Date", "open": "Open", "high": "High", "low": "Low", "close": "Final"}
    assert not preview(DAILY.replace(b"Close", b"Final"), "a.csv", mapping=chosen).error
    broken = preview(DAILY + b"2013-01-04,1,1,1,abc,1\n", "a.csv")
    assert broken.problems == [{"row": 4, "reason": "close is not a number: 'abc'"}]


def test_an_unknown_zone_or_calendar_is_no_crash():
    with pytest.raises(CsvRefused, match="'Mars/Olympus' is not a time zone"):
        preview(DAILY, "a.csv", zone="Mars/Olympus")
    assert preview(DAILY.replace(b"2013-01-02", b"2013-01-02 10:00"), "a.csv", calendar="MOON").zone == "UTC"


def test_symbols_of_a_file_are_listed():
    text = b"date,symbol,open,high,low,close\n2013-01-02,A,1,1,1,1\n2013-01-02,B,2,2,2,2\n"
    assert preview(text, "two.csv").symbols == ["A", "B"]


@pytest.mark.parametrize("data", [b"", b"\x89PNG\r\n\x1a\n\x00\x00", b"PAR1 but broken"])
def test_what_is_no_table_is_refused(data):
    with pytest.raises(CsvRefused):
        preview(data, "x")


def test_parquet_is_read_like_a_csv():
    stamps = pd.to_datetime(["2019-12-24 14:30", "2019-12-24 14:31"]).tz_localize("UTC")
    parsed = prepare(table(timestamp=stamps, **PRICES), "a.parquet").parsed
    first = int(datetime(2019, 12, 24, 14, 30, tzinfo=UTC).timestamp())
    assert parsed.series.time.tolist() == [first, first + 60]
    assert parsed.series.close.tolist() == [11.0, 12.0]
    seen = preview(table(timestamp=stamps, **PRICES), "a.parquet")
    assert (seen.n_rows, seen.zone_matters, seen.interval_seconds) == (2, False, 60)


def test_parquet_moments_without_a_zone_take_the_one_given():
    stamps = pd.to_datetime(["2019-12-24 09:30", "2019-12-24 09:31"])
    text = to_csv(table(timestamp=stamps, **PRICES))
    from zoneinfo import ZoneInfo

    parsed = parse_bars(text, zone=ZoneInfo("America/New_York"))
    assert parsed.series.time[0] == int(datetime(2019, 12, 24, 14, 30, tzinfo=UTC).timestamp())


def test_parquet_keeps_every_digit_and_refuses_half_seconds():
    stamps = pd.to_datetime(["2019-12-24 14:30:00", "2019-12-24 14:31:00.5"], format="ISO8601").tz_localize("UTC")
    parsed = prepare(table(timestamp=stamps, **{**PRICES, "close": [10.1234567890123, 12.0]}), "a.parquet").parsed
    assert parsed.series.close.tolist() == [10.1234567890123]
    assert "fraction of a second" in parsed.problems[0].reason


def test_a_real_minute_file_comes_through_whole():
    path = need("minute/etf_1min_201912_202001.parquet")
    parsed = prepare(path.read_bytes(), path.name, symbol="TQQQ").parsed
    assert (parsed.n_good, parsed.n_bad, parsed.interval_seconds) == (1936, 0, 60)  # as data/README.md counts them
    frame = pd.read_parquet(path)
    mine = frame[frame["symbol"] == "TQQQ"]
    assert parsed.series.close.tolist() == mine["close"].tolist()


class UploadJob:
    """A job without process and lock; `when` is called at every look at the row."""

    def __init__(self, fetch, when=lambda: None) -> None:
        self.pk, self.shutting_down, self.when = fetch.pk, False, when
        self.beats: list[tuple[str, str]] = []

    def read(self):
        self.when()
        return Fetch.objects.get(pk=self.pk)

    def beat(self, state, reason="", *, applied_version=None) -> None:
        self.beats.append((state, reason))


@pytest.fixture
def uploads(db, settings, tmp_path):
    settings.LOCAL_DIR = tmp_path
    return tmp_path / "uploads"


@pytest.fixture
def instrument(db):
    return Instrument.objects.create(symbol="UPL", name="upload", asset_class="stock")


def test_an_upload_becomes_bars_a_record_and_a_finished_job(uploads, instrument):
    data = DAILY + b"2013-01-04,1,1,1,abc,1\n"
    fetch = file_import.start(data, "a.csv", instrument, actor="ann")
    assert len(list(uploads.iterdir())) == 1
    file_import.run(fetch, UploadJob(fetch))
    fetch.refresh_from_db()
    assert (fetch.n_rows, fetch.n_stored, fetch.n_bad, fetch.done) == (3, 2, 1, 1.0)
    assert fetch.data_import.problems == [{"row": 4, "reason": "close is not a number: 'abc'"}]
    assert len(load_bars(instrument.pk, 86_400)) == 2
    assert list(uploads.iterdir()) == []
    assert Event.objects.filter(kind="data.import_started", actor="ann").exists()
    assert Event.objects.filter(kind="data.imported", actor="ann").exists()


def test_what_was_chosen_in_the_preview_holds(uploads, instrument):
    text = b"when;who;p\n02/01/2019 09:30;A;10\n02/01/2019 09:31;B;11\n02/01/2019 09:31;A;12\n"
    fetch = file_import.start(
        text, "b.csv", instrument, actor="ann", zone="America/New_York", time_format="%d/%m/%Y %H:%M", symbol="A",
        mapping={"time": "when", "symbol": "who", "open": "p", "high": "p", "low": "p", "close": "p"},
        interval_seconds=60,
    )  # fmt: skip
    file_import.run(fetch, UploadJob(fetch))
    first = int(datetime(2019, 1, 2, 14, 30, tzinfo=UTC).timestamp())  # 9:30 in New York, in winter
    assert load_bars(instrument.pk, 60).time.tolist() == [first, first + 60]


@pytest.mark.parametrize(
    ("data", "reason"),
    [(b"nonsense", "missing columns"), (DAILY[:36] + b"x,1,1,1,1,1\n", "no good row among 1; row 2")],
)
def test_a_file_that_cannot_be_imported_fails_with_the_reason(uploads, instrument, data, reason):
    fetch = file_import.start(data, "c.csv", instrument, actor="ann")
    with pytest.raises(JobFailedError, match=reason):
        file_import.run(fetch, UploadJob(fetch))
    assert list(uploads.iterdir()) == []


def test_cancelling_leaves_no_bars_and_no_file(uploads, instrument, monkeypatch):
    monkeypatch.setattr(file_import, "SECONDS_BETWEEN_REPORTS", 0)
    rows = b"".join(b"%d,1,1,1,1,1\n" % (1_000_000_000 + 60 * n) for n in range(45_000))
    fetch = file_import.start(b"time,open,high,low,close,volume\n" + rows, "d.csv", instrument, actor="ann")
    looks = []

    def cancel_at_the_second_look():
        looks.append(Fetch.objects.get(pk=fetch.pk).done)
        if len(looks) == 2:
            Fetch.objects.filter(pk=fetch.pk).update(desired_state="stopped")

    with pytest.raises(file_import.ImportCancelled):
        file_import.run(fetch, UploadJob(fetch, cancel_at_the_second_look))
    assert looks[1] > 0.3  # progress was written before
    assert len(load_bars(instrument.pk, 60)) == 0 and list(uploads.iterdir()) == []


def test_a_lost_upload_says_what_to_do(uploads, instrument):
    fetch = file_import.start(DAILY, "e.csv", instrument, actor="ann")
    next(uploads.iterdir()).unlink()
    with pytest.raises(JobFailedError, match="upload it again"):
        file_import.run(fetch, UploadJob(fetch))


def test_a_file_that_is_too_large_is_refused_before_it_is_kept(uploads, instrument, monkeypatch):
    monkeypatch.setattr(file_import, "SIZE_LIMIT_BYTES", 10)
    with pytest.raises(CsvRefused, match="the limit is 10"):
        file_import.start(DAILY, "f.csv", instrument, actor="ann")
    with pytest.raises(CsvRefused, match="the limit is 10"):
        preview(DAILY, "f.csv")


def test_parquet_days_of_another_zone_are_kept_under_their_dates():
    days = pd.to_datetime(["2024-01-02", "2024-01-03"]).tz_localize("Asia/Tokyo")
    parsed = prepare(table(date=days, **PRICES), "a.parquet").parsed
    assert [f"{datetime.fromtimestamp(time, UTC):%Y-%m-%d %H}" for time in parsed.series.time] == [
        "2024-01-02 00",
        "2024-01-03 00",
    ]


def test_parquet_texts_with_line_ends_stay_in_their_row():
    prices = {name: values[:1] for name, values in PRICES.items()}
    parsed = prepare(table(date=["2024-01-02"], **prices, note=['one\ntwo, "three"\r\n']), "a.parquet").parsed
    assert (parsed.n_good, parsed.n_bad) == (1, 0)


def test_parquet_columns_of_bytes_are_left_out_and_doubles_refused():
    prices = {name: values[:1] for name, values in PRICES.items()}
    data = table(date=["2024-01-02"], **prices, raw=pd.Categorical([b"\xff"]))
    assert prepare(data, "a.parquet").parsed.n_good == 1
    out = io.BytesIO()
    pq.write_table(pa.table([pa.array([1.0]), pa.array([2.0])], names=["close", "close"]), out)
    with pytest.raises(CsvRefused, match="two columns are called close"):
        prepare(out.getvalue(), "a.parquet")
