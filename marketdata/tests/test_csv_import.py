import csv
import io
import time as clock
from zoneinfo import ZoneInfo

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from marketdata.csv_import import CsvRefused, parse_bars, read_file
from marketdata.row_order import longest_ascending

HEADER = "date,open,high,low,close,volume\n"
NEW_YORK = ZoneInfo("America/New_York")
DAY = 86_400


def parse(rows, header=HEADER, **options):
    return parse_bars((header + rows).encode(), **options)


def reasons(parsed):
    return {problem.row: problem.reason for problem in parsed.problems}


def test_a_clean_file_comes_through_whole():
    parsed = parse("2013-02-28,10,12,9,11,500\n2013-03-01,11,13,10.5,12.5,600\n")
    # 2013-02-28 is 15,764 days after 1970-01-01: 43 years of 365 days, 11 leap days, 58 days
    assert parsed.series.time.tolist() == [15_764 * 86_400, 15_765 * 86_400]
    assert parsed.series.high.tolist() == [12.0, 13.0]
    assert parsed.series.volume.tolist() == [500.0, 600.0]
    assert (parsed.n_rows, parsed.n_good, parsed.n_bad) == (2, 2, 0)
    assert parsed.interval_seconds == 86_400
    assert parsed.problems == [] and parsed.notes == []


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("2013-01-05,NaN,12,9,11,5", "open is not a number: 'NaN'"),
        ("2013-01-05,10,,9,11,5", "high is empty"),
        ("2013-01-05,10,inf,9,11,5", "high is not a number: 'inf'"),
        ("2013-01-05,10,12,abc,11,5", "low is not a number: 'abc'"),
        ("2013-01-05,1_0,12,9,11,5", "open is not a number: '1_0'"),
        ("2013-01-05,10,12,9,0,5", "close is 0: a price must be above 0"),
        ("2013-01-05,10,12,-9,11,5", "low is -9: a price must be above 0"),
        ("2013-01-05,10,8,9,9,5", "high 8 is below low 9"),
        ("2013-01-05,13,12,9,11,5", "open 13 is outside low 9 to high 12"),
        ("2013-01-05,10,12,9,8,5", "close 8 is outside low 9 to high 12"),
        ("2013-01-05,10,12,9,11,-5", "volume is -5: it cannot be negative"),
        ("2013-01-05,10,12,9,11,", "volume is empty"),
        ("2013-01-05,10,12,9,11", "5 fields, expected 6 as in the header"),
        ("2013-01-05,10,12,9,11,5,6", "7 fields, expected 6 as in the header"),
        ('2013-01-05,"10,12,9,11,5', None),
        (",10,12,9,11,5", "time is empty"),
        ("2013-02-30,10,12,9,11,5", "time cannot be read: '2013-02-30', expected such as"),
        ("1/5/2013,10,12,9,11,5", "time cannot be read: '1/5/2013', expected such as"),
        ("2013-01-05T10:00:00.5Z,10,12,9,11,5", "has a fraction of a second"),
    ],
)
def test_one_bad_row_is_named_and_the_others_stay(row, reason):
    parsed = parse(f"2013-01-04,10,12,9,11,5\n{row}\n2013-01-06,10,12,9,11,5\n")
    assert parsed.n_good == 2 and parsed.n_bad == 1 and parsed.n_rows == 3
    assert list(reasons(parsed)) == [3]
    if reason:
        assert reason in reasons(parsed)[3]


def test_a_repeated_time_keeps_the_first_row_and_says_whether_the_values_differ():
    parsed = parse(
        "2013-01-01,10,12,9,11,5\n2013-01-02,10,12,9,11,5\n2013-01-02,10,12,9,11,5\n2013-01-02,10,12,9,10,5\n"
    )
    assert reasons(parsed) == {
        4: "repeats row 3: same time, same values",
        5: "same time as row 3 with other values; row 3 is kept",
    }
    assert parsed.series.close.tolist() == [11.0, 11.0]


def test_a_row_out_of_order_is_bad_and_says_before_what():
    parsed = parse(
        "2013-01-03,10,12,9,11,5\n2013-01-04,10,12,9,11,5\n2013-01-01,10,12,9,11,5\n2013-01-05,10,12,9,11,5\n"
    )
    assert reasons(parsed) == {4: "out of order: precedes row 3 in time"}


def test_one_date_far_in_the_future_costs_one_row():
    parsed = parse(
        "2013-01-01,10,12,9,11,5\n2099-01-01,10,12,9,11,5\n2013-01-02,10,12,9,11,5\n2013-01-03,10,12,9,11,5\n"
    )
    assert reasons(parsed) == {3: "out of order: later in time than row 4, which follows it"}
    assert parsed.n_good == 3


def test_newest_first_is_read_from_the_bottom_up():
    parsed = parse(
        "2013-01-03,10,12,9,11,5\n2013-01-02,10,12,9,10,5\n2013-01-02,10,12,9,10,5\n2013-01-01,10,12,9,9,5\n"
    )
    assert parsed.series.close.tolist() == [9.0, 10.0, 11.0]
    assert parsed.notes == ["rows are newest first: read from the bottom up"]
    assert reasons(parsed) == {3: "repeats row 4: same time, same values"}


def test_unknown_columns_are_ignored_and_noted_once():
    parsed = parse("x,2013-01-01,10,12,9,11\n", header="Ticker,DateTime,Open,HIGH,low, Close \n")
    assert parsed.n_good == 1
    assert parsed.notes == ["column ignored: ticker", "no volume column: volume is 0"]


def test_missing_columns_name_what_was_found_and_what_was_expected():
    with pytest.raises(CsvRefused, match=r"missing columns: low, close\. Found: date, open, high, price\. Expected"):
        parse("", header="date,open,high,price\n")


def test_two_columns_for_one_thing_are_refused():
    with pytest.raises(CsvRefused, match="two columns for time: timestamp and date"):
        parse("", header="timestamp,date,open,high,low,close\n")
    with pytest.raises(CsvRefused, match="two columns for close: close and last"):
        parse("", header="date,open,high,low,close,last\n")


def test_date_and_time_of_day_may_have_a_column_each():
    parsed = parse("2013-01-02,09:30,10,12,9,11\n", header="Date,Time,Open,High,Low,Close\n", zone=NEW_YORK)
    # 9:30 in New York in winter is 14:30 UTC; 2013-01-02 is day 15,707
    assert parsed.series.time.tolist() == [15_707 * 86_400 + 14 * 3600 + 1800]


def test_a_file_of_prices_alone_has_flat_bars():
    parsed = parse("2013-01-02T14:30:00Z,10.5,7\n", header="timestamp,price,volume\n")
    bar = parsed.series
    assert (bar.open[0], bar.high[0], bar.low[0], bar.close[0], bar.volume[0]) == (10.5, 10.5, 10.5, 10.5, 7)
    assert parsed.notes == ["one price a row: open, high, low and close are that price"]


def test_columns_can_be_named_by_hand():
    parsed = parse(
        "x,1,2013-01-02,10,12,9,11\n",
        header="a,b,when,first,top,bottom,end\n",
        columns={"time": "when", "open": "first", "high": "top", "low": "bottom", "close": "end"},
    )
    assert parsed.series.high.tolist() == [12.0]
    with pytest.raises(CsvRefused, match="the file has no column nothing"):
        parse("", columns={"time": "date", "open": "nothing", "high": "high", "low": "low", "close": "close"})


def test_one_symbol_of_several_is_read():
    rows = "2013-01-02,A,1,1,1,1\n2013-01-02,B,2,2,2,2\n2013-01-03,A,3,3,3,3\n"
    header = "date,symbol,open,high,low,close\n"
    parsed = parse(rows, header=header, symbol="A")
    assert parsed.series.close.tolist() == [1.0, 3.0]
    assert "1 rows of other symbols left out" in parsed.notes
    with pytest.raises(CsvRefused, match="holds several symbols"):
        parse(rows, header=header)
    with pytest.raises(CsvRefused, match="no column says"):
        parse("", symbol="A")


def test_progress_is_reported_and_may_stop_the_reading():
    rows = "".join(f"{1_000_000_000 + 60 * i},1,1,1,1,1\n" for i in range(50_000))
    shares = []
    parse(rows, report=lambda share, n_bad: shares.append(share))
    assert len(shares) == 2 and 0.3 < shares[0] < shares[1] < 1

    def stop(share, n_bad):
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parse(rows, report=stop)


@pytest.mark.parametrize(
    ("data", "message"),
    [
        (b"", "the file is empty"),
        (b"\xef\xbb\xbf\n", "the file is empty"),
        (b"PK\x03\x04\x00\x00date", "not text: a zero byte at 4"),
        ("date,open,high,low,close,größe\n".encode("latin-1"), "not UTF-8 text: byte 27 cannot be read"),
    ],
)
def test_files_that_are_not_csv_text_are_refused(data, message):
    with pytest.raises(CsvRefused, match=message):
        parse_bars(data)


@pytest.mark.parametrize("encoding", ["utf-8", "utf-8-sig", "utf-16"])
@pytest.mark.parametrize("line_end", ["\n", "\r\n", "\r"])
@pytest.mark.parametrize("delimiter", [",", ";", "\t"])
def test_encodings_line_ends_and_delimiters_give_the_same_rows(encoding, line_end, delimiter):
    text = (HEADER + "2013-01-01,10,12,9,11,5\n\n2013-01-02,10,12,9,x,5\n").replace(",", delimiter)
    parsed = parse_bars(text.replace("\n", line_end).encode(encoding))
    assert parsed.n_good == 1
    assert reasons(parsed) == {4: "close is not a number: 'x'"}  # the blank line 3 is counted as a line, not as a row


def test_a_header_alone_is_no_row():
    parsed = parse("")
    assert (parsed.n_rows, len(parsed.series)) == (0, 0)


def test_problems_are_capped_at_a_thousand_and_all_are_counted():
    parsed = parse("".join(f"bad{i},1,1,1,1,1\n" for i in range(1500)))
    assert parsed.n_bad == 1500 and len(parsed.problems) == 1000
    assert parsed.problems[-1].row == 1001


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        # 2013-01-02 is 15,707 days after 1970; 14:30 UTC is 52,200 seconds into the day
        ("2013-01-02T14:30:00Z", 15_707 * 86_400 + 52_200),
        ("2013-01-02 09:30:00-05:00", 15_707 * 86_400 + 52_200),
        ("2013-01-02 09:30", 15_707 * 86_400 + 52_200),  # New York winter time
        ("2013-01-02", 15_707 * 86_400),  # a date is a label at 00:00 UTC in every zone
        ("20130102", 15_707 * 86_400),
        (str(15_707 * 86_400), 15_707 * 86_400),
        (str(15_707 * 86_400_000), 15_707 * 86_400),
        (str(15_707 * 86_400_000_000), 15_707 * 86_400),
        (str(15_707 * 86_400_000_000_000), 15_707 * 86_400),
    ],
)
def test_times_with_a_zone_without_one_and_as_numbers(text, expected):
    assert parse(f"{text},10,12,9,11,5\n", zone=NEW_YORK).series.time.tolist() == [expected]


@pytest.mark.parametrize("text", ["2013-03-10 02:30", "2013-11-03 01:30"])  # skipped, and twice, when clocks change
def test_an_hour_that_is_missing_or_doubled_is_refused(text):
    assert "happens twice or not at all" in reasons(parse(f"{text},10,12,9,11,5\n", zone=NEW_YORK))[2]


def test_a_time_format_reads_american_dates():
    parsed = parse("1/2/2013,10,12,9,11,5\n", time_format="%m/%d/%Y", zone=NEW_YORK)
    assert parsed.series.time.tolist() == [15_707 * 86_400]


def test_adjusted_close_is_read_only_when_asked_for():
    header, row = "date,open,high,low,close,Adj Close\n", "2013-01-01,10,12,9,11,5.5\n2013-01-02,10,12,9,11,0\n"
    plain = parse(row, header)
    assert plain.n_good == 2 and plain.adj_close is None
    assert "adjusted close is not used: prices are imported as they are" in plain.notes
    adjusted = parse(row, header, with_adjusted=True)
    assert adjusted.adj_close is not None and adjusted.adj_close.tolist() == [5.5]
    assert reasons(adjusted) == {3: "adj_close is 0: a price must be above 0"}
    with pytest.raises(CsvRefused, match="missing columns: adj_close"):
        parse("", with_adjusted=True)


def test_minute_bars_are_recognised_across_nights():
    minutes = "".join(f"2013-01-0{d}T14:{m}:00Z,10,12,9,11,5\n" for d in (2, 3) for m in range(30, 50))
    assert parse(minutes).interval_seconds == 60


def test_files_that_are_missing_or_too_large_are_refused(tmp_path):
    with pytest.raises(CsvRefused, match="no such file"):
        read_file(tmp_path / "none.csv")
    with pytest.raises(CsvRefused, match="no such file"):
        read_file(tmp_path)
    path = tmp_path / "big.csv"
    path.write_bytes(b"x" * 11)
    with pytest.raises(CsvRefused, match=r"big\.csv has 11 bytes, the limit is 10: split it"):
        read_file(path, size_limit_bytes=10)


@given(st.lists(st.integers(0, 30), max_size=40))
def test_kept_rows_strictly_ascend_and_no_more_could_be_kept(times):
    array = np.array(times, dtype=np.int64)
    kept = longest_ascending(array)
    assert (np.diff(array[kept]) > 0).all()
    best = [1] * len(times)  # the plain quadratic way, as an oracle
    for i in range(len(times)):
        best[i] = 1 + max([best[j] for j in range(i) if times[j] < times[i]], default=0)
    assert kept.size == max(best, default=0)


@given(st.binary(max_size=200))
def test_no_bytes_at_all_raise_anything_but_a_refusal(data):
    try:
        parse_bars(data)
        parse_bars(HEADER.encode() + data)
    except CsvRefused:
        pass


@given(st.lists(st.tuples(*[st.text(max_size=6)] * 6), max_size=8))
def test_every_line_is_either_good_or_bad(rows):
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    parsed = parse(text.getvalue().replace("\r", "").replace("\0", ""))
    assert parsed.n_good + parsed.n_bad == parsed.n_rows
    assert len(parsed.problems) == parsed.n_bad


def test_a_hundred_thousand_rows_take_a_few_seconds_at_most():
    rows = "".join(f"{1_000_000_000 + 60 * i},10.25,12.5,9.75,11.5,500\n" for i in range(100_000))
    start = clock.process_time()
    parsed = parse(rows)
    assert parsed.n_good == 100_000 and parsed.interval_seconds == 60
    assert clock.process_time() - start < 5.0


def test_days_that_begin_at_midnight_of_their_own_zone_are_kept_under_their_dates():
    # as yfinance writes them; New York's clocks went forward on 10 March 2024. 8 March is 19,790 days after 1970.
    data = HEADER + "".join(
        f"2024-03-{day:02d} 00:00:00-0{5 if day < 10 else 4}:00,1,2,0.5,1.5,9\n" for day in (7, 8, 11, 12)
    )
    parsed = parse_bars(data.encode())
    assert (parsed.series.time // DAY - 19_790).tolist() == [-1, 0, 3, 4]
    assert (parsed.series.time % DAY).tolist() == [0] * 4
    assert parsed.interval_seconds == DAY
    tokyo = parse_bars((HEADER + "2024-03-08,1,2,0.5,1.5,9\n").encode(), zone=ZoneInfo("Asia/Tokyo"))
    assert tokyo.series.time.tolist() == [19_790 * DAY]


def test_hours_that_include_a_midnight_stay_moments():
    rows = "".join(f"2024-03-08 0{hour}:00:00+09:00,1,2,0.5,1.5,9\n" for hour in range(4))
    parsed = parse_bars((HEADER + rows).encode())
    assert parsed.series.time[0] == 19_790 * DAY - 9 * 3600


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ("9999-12-31,1,2,0.5,1.5,9", "time '9999-12-31' is not in the years 1800 to 2199"),
        ("0001-01-01,1,2,0.5,1.5,9", "time '0001-01-01' is not in the years 1800 to 2199"),
        ("2024-03-08,1,1e308,0.5,1.5,9", "high is 1e+308: larger than 1e+18 is garbage"),
        ("2024-03-08,1,2,0.5,1.5,1e300", "volume is 1e+300: larger than 1e+18 is garbage"),
    ],
)
def test_years_and_numbers_nobody_can_use_are_bad_rows(row, reason):
    parsed = parse_bars(f"{HEADER}2024-03-07,1,2,0.5,1.5,9\n{row}\n".encode())
    assert (parsed.n_good, [problem.reason for problem in parsed.problems]) == (1, [reason])


def test_the_interval_is_a_distance_that_occurs():
    # Friday, Monday, Tuesday: three days and one day, whose mean of two would be no distance at all
    rows = "".join(f"2024-03-{day:02d},1,2,0.5,1.5,9\n" for day in (8, 11, 12))
    assert parse_bars((HEADER + rows).encode()).interval_seconds == DAY


def test_a_fraction_of_a_nanosecond_epoch_is_seen_and_dollars_are_no_obstacle():
    # one nanosecond past 2013-01-02, which a float of seconds could not tell
    parsed = parse(f"{15_707 * 86_400_000_000_000 + 1},1,1,1,1,1\n2013-01-03,$10.5,$12,$9,$11,5\n")
    assert "has a fraction of a second" in reasons(parsed)[2]
    assert (parsed.series.open.tolist(), parsed.series.close.tolist()) == ([10.5], [11.0])
