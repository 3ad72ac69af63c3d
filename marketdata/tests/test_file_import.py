"""Uploaded files: what the preview says of them, for CSV and Parquet."""

import io
from datetime import UTC, datetime

import pandas as pd
import pytest

from marketdata.csv_import import CsvRefused, parse_bars
from marketdata.file_import import preview
from marketdata.ingest import prepare
from marketdata.parquet_text import to_csv
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
