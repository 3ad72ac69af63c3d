from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from marketdata.tests.shared_data import need
from marketdata.ticks.file_times import NO_TIME, read_times
from marketdata.ticks.files import Problem, TickFileRefused, read_ticks
from marketdata.ticks.series import QUOTE, TRADE

NEW_YORK = ZoneInfo("America/New_York")
# 2018-01-02 14:30:00 UTC is 1,514,903,400 seconds after 1970: 17,533 days and 52,200 seconds
OPENING = 1_514_903_400_000_000


def csv(tmp_path: Path, text: str, name: str = "ticks.csv") -> Path:
    path = tmp_path / name
    path.write_text(text, encoding="utf-8")
    return path


def only(path: Path, **options):
    (chunk,) = read_ticks(path, **options)
    return chunk


def test_trades_of_a_csv_file(tmp_path):
    chunk = only(
        csv(
            tmp_path,
            "timestamp,symbol,exchange,cond,size,price,corr\n"
            "2018-01-02T14:30:00.043Z,ACME,K,F I,100,158.30,0\n"
            "2018-01-02 09:30:01.5-05:00,ACME,,,2,158.31,0\n",
        )
    )
    assert (chunk.n_rows, chunk.bad, chunk.problems) == (2, {}, [])
    batch = chunk.batch
    assert batch.time.tolist() == [OPENING + 43_000, OPENING + 1_500_000]
    assert batch.kind.tolist() == [TRADE, TRADE]
    assert (batch.price.tolist(), batch.size.tolist()) == ([158.30, 158.31], [100, 2])
    assert (batch.exchange.tolist(), batch.condition.tolist()) == ([b"K", b""], [b"F I", b""])
    assert np.isnan(batch.bid).all()


def test_quotes_under_other_names_in_another_zone_with_semicolons(tmp_path):
    path = csv(tmp_path, "Time;Best Bid;BidSize;OFR;OfrSiz;Ex\n2018-01-02 09:30:00.000001;9;1;11;2;P\n")
    batch = only(path, zone=NEW_YORK).batch
    assert (batch.time[0], batch.kind[0]) == (OPENING + 1, QUOTE)
    assert (batch.bid[0], batch.bid_size[0], batch.ask[0], batch.ask_size[0]) == (9, 1, 11, 2)
    assert batch.exchange[0] == b"P"


def test_both_kinds_in_one_file(tmp_path):
    path = csv(
        tmp_path,
        "timestamp,kind,price,size,bid,ask,seq\n"
        "1514903400,trade,10,5,,,7\n1514903400500,Quote,,,9,11,9007199254740993\n1514903401,order,1,1,,,8\n",
    )
    chunk = only(path)
    assert chunk.batch.kind.tolist() == [TRADE, QUOTE]
    assert chunk.batch.time.tolist() == [OPENING, OPENING + 500_000]
    assert chunk.batch.sequence.tolist() == [7, 9_007_199_254_740_993]  # no float between: 2^53 + 1
    assert chunk.problems == [Problem(4, "neither a trade nor a quote")]


def test_every_bad_row_is_named_with_its_line_and_spoils_no_other(tmp_path):
    path = csv(
        tmp_path,
        "timestamp,symbol,price,size,corr,exchange\n"
        "2018-01-02T14:30:00Z,A,10,1,0,N\n"
        "yesterday,A,10,1,0,N\n"
        "\n"
        "2018-01-02T14:30:00Z,A,ten,1,0,N\n"
        "2018-01-02T14:30:00Z,A,10,1,8,N\n"
        "2018-01-02T14:30:00Z,B,10,1,0,N\n"
        "2018-01-02T14:30:00Z,A,10,1\n"
        '2018-01-02T14:30:00Z,A,"10,1,0,N\n'
        "2018-01-02T14:30:00Z,A,-1,1,0,N\n"
        "2018-01-02T14:30:00Z,A,10,,0,N\n"
        "2018-01-02T14:30:00Z,A,10,1,0,NEW YORK STOCKS\n"
        "2018-01-02T14:30:00Z,A,10,1,0,Zürich\n"
        "2018-01-02T14:30:02Z,A,11,1,,N\n",
    )
    chunk = only(path)
    assert chunk.problems == [
        Problem(3, "time cannot be read"),
        Problem(5, "price is not a number"),
        Problem(6, "corrected by the exchange"),
        Problem(7, "of another symbol"),
        Problem(8, "not as many fields as the header"),
        Problem(9, "price is not a number"),  # the open quote is part of it
        Problem(10, "price is not above 0"),
        Problem(11, "size is not a number"),
        Problem(12, "exchange is longer than 8 letters"),
        Problem(13, "exchange is not plain text"),
    ]
    assert chunk.bad["price is not a number"] == 2
    assert sum(chunk.bad.values()) == 10
    assert chunk.n_rows == 12
    assert chunk.batch.price.tolist() == [10, 11]


def test_pieces_of_a_file_are_the_file(tmp_path):
    lines = [f"{1_514_903_400 + k}.25,{100 + k},1" for k in range(10)]
    lines[4] = "broken"
    path = csv(tmp_path, "\n".join(["time,price,size", *lines]))
    chunks = list(read_ticks(path, chunk_rows=3))
    assert [chunk.n_rows for chunk in chunks] == [3, 3, 3, 1]
    assert chunks[1].problems == [Problem(6, "not as many fields as the header")]
    times = np.concatenate([chunk.batch.time for chunk in chunks])
    assert times.tolist() == [OPENING + k * 1_000_000 + 250_000 for k in range(10) if k != 4]


def test_a_piece_without_one_whole_row_and_a_missing_number_of_a_print(tmp_path):
    path = csv(tmp_path, "time,symbol,price,size,seq\nbroken\n1514903400,A,1,1,\n1514903401,A,1,1,2.5\n")
    first, second = read_ticks(path, chunk_rows=1), list(read_ticks(path, chunk_rows=2))
    assert next(first).bad == {"not as many fields as the header": 1}
    assert second[0].batch.sequence.tolist() == [0]
    assert second[1].problems == [Problem(4, "sequence is not a whole number")]


def test_numbers_of_a_decimal_type_are_numbers(tmp_path):
    frame = pd.DataFrame({"time": [1_514_903_400, 1_514_903_401], "price": [Decimal("10.25"), None], "size": [1, 1]})
    frame.to_parquet(path := tmp_path / "a.parquet")
    chunk = only(path)
    assert (chunk.batch.price.tolist(), chunk.bad) == ([10.25], {"price is not a number": 1})


def test_one_symbol_can_be_chosen(tmp_path):
    path = csv(tmp_path, "time,symbol,price,size\n1514903400,A,1,1\n1514903400,B,2,1\n")
    assert only(path, symbol="B").batch.price.tolist() == [2]
    assert only(path).batch.price.tolist() == [1]


def test_parquet_with_empty_values_and_plain_times(tmp_path):
    frame = pd.DataFrame(
        {
            "timestamp": pd.to_datetime(["2018-01-02 09:30:00", None, "2018-01-02 09:30:02"]),
            "price": [10.0, 11.0, None],
            "size": pd.array([1, 2, 3], dtype="Int32"),
            "cond": ["F", None, ""],
        }
    )
    frame.to_parquet(path := tmp_path / "a.parquet")
    chunk = only(path, zone=NEW_YORK)
    assert chunk.batch.time.tolist() == [OPENING]
    assert chunk.problems == [Problem(2, "time cannot be read"), Problem(3, "price is not a number")]


def test_real_files_are_read_whole():
    trades = list(read_ticks(need("tick/XXX_trades_20180102.parquet"), chunk_rows=20_000))
    assert [chunk.n_rows for chunk in trades] == [20_000, 19_470]
    assert not any(chunk.bad for chunk in trades)
    quotes = only(path := need("tick/XXX_quotes_20180102.parquet"))
    frame = pd.read_parquet(path)
    n_empty = int(((frame["bid"] == 0) & (frame["ask"] == 0)).sum())
    assert (len(quotes.batch), quotes.bad) == (66_695 - n_empty, {"neither bid nor ask": n_empty})
    # 2018-01-02 09:04:13.125 UTC is 5 h 25 min 46.875 s before the opening
    assert quotes.batch.time[0] == OPENING - 19_546_875_000
    assert len(only(need("tick/AAA_trades_20140917.parquet")).batch) == 7_848


@pytest.mark.parametrize(
    ("name", "text", "words"),
    [
        ("a.csv", "", "empty"),
        ("a.csv", "time,open,high\n1,2,3\n", "expected timestamp with price and size"),
        ("a.csv", "time,price,last,size\n1,2,3,4\n", "two columns for price"),
        ("a.csv", "time,price,size,bid,ask\n1,2,3,4,5\n", "no column kind"),
        ("a.parquet", "not parquet", "not a Parquet file"),
    ],
)
def test_a_file_that_is_not_ticks_is_refused_in_one_line(tmp_path, name, text, words):
    with pytest.raises(TickFileRefused, match=words) as caught:
        list(read_ticks(csv(tmp_path, text, name)))
    assert "\n" not in str(caught.value)


def test_a_missing_file_and_another_encoding_are_refused(tmp_path):
    with pytest.raises(TickFileRefused, match="no such file"):
        list(read_ticks(tmp_path / "none.csv"))
    path = tmp_path / "latin.csv"
    path.write_bytes("time,price,size,exchange\n1514903400,1,1,Zürich\n".encode("latin-1"))
    with pytest.raises(TickFileRefused, match="not UTF-8"):
        list(read_ticks(path))


@pytest.mark.parametrize(
    ("text", "microseconds"),
    [
        ("2018-01-02T14:30:00Z", OPENING),
        ("2018-01-02T14:30:00.123456789Z", OPENING + 123_456),
        ("2018-01-02 15:30:00+01:00", OPENING),
        ("2018-01-02 15:30:00+0100", OPENING),
        ("2018-01-02 09:30", OPENING),  # New York
        ("20180102 09:30:00", OPENING),
        ("1514903400", OPENING),
        ("1514903400.000001", OPENING + 1),
        ("1514903400000", OPENING),
        ("1514903400000001", OPENING + 1),
        ("1514903400000001999", OPENING + 1),
        ("2018-03-11 02:30:00", NO_TIME),  # skipped when clocks went forward
        ("2018-11-04 01:30:00", NO_TIME),  # twice when they went back
        ("02/01/2018 14:30", NO_TIME),
        ("151490", NO_TIME),
        ("", NO_TIME),
        ("NaT", NO_TIME),
    ],
)
def test_moments(text, microseconds):
    other = "2018-01-02T14:30:00Z"
    assert read_times(pd.Series([other, text], dtype="str"), NEW_YORK).tolist() == [OPENING, microseconds]


def test_moments_of_a_files_own_types():
    assert read_times(pd.Series([1_514_903_400]), NEW_YORK).tolist() == [OPENING]
    assert read_times(pd.Series([1_514_903_400.5, np.nan]), NEW_YORK).tolist() == [OPENING + 500_000, NO_TIME]
    zoned = pd.Series(pd.to_datetime(["2018-01-02 09:30"])).dt.tz_localize(NEW_YORK)
    for unit in ("s", "ms", "us", "ns"):
        assert read_times(zoned.dt.as_unit(unit), NEW_YORK).tolist() == [OPENING]


def test_a_column_there_twice_is_refused_not_chosen_from(tmp_path):
    with pytest.raises(TickFileRefused, match="two columns for price"):
        only(csv(tmp_path, "time,price,price,size\n1514903400,1,2,3\n"))
    path = tmp_path / "ticks.parquet"
    columns = [pa.array([1_514_903_400]), pa.array([1.0]), pa.array([2.0]), pa.array([3.0])]
    pq.write_table(pa.table(columns, names=["time", "price", "price", "size"]), path)
    with pytest.raises(TickFileRefused, match="two columns for price"):
        only(path)
    pq.write_table(pa.table(columns + columns[:1], names=["time", "price", "size", "x", "x"]), path)
    assert only(path).batch.size.tolist() == [2.0]


def test_bytes_of_a_parquet_file_are_read_as_text(tmp_path):
    path = tmp_path / "ticks.parquet"
    exchanges = pa.array([b"N", b"\xff", None], pa.binary())
    table = {"time": [1_514_903_400] * 3, "price": [1.0] * 3, "size": [1.0] * 3, "exchange": exchanges}
    pq.write_table(pa.table(table), path)
    chunk = only(path)
    assert chunk.batch.exchange.tolist() == [b"N", b""]
    assert chunk.bad == {"exchange is not plain text": 1}


def test_letters_beyond_ascii_are_refused_however_short_the_text(tmp_path):
    chunk = only(csv(tmp_path, "time,price,size,ex,cond\n1514903400,1,1,é,\n1514903400,1,1,N,ü\n1514903400,1,1,N,\n"))
    assert chunk.bad == {"exchange is not plain text": 1, "condition is not plain text": 1}
    assert chunk.batch.exchange.tolist() == [b"N"]


def test_a_print_number_beyond_64_bits_is_refused(tmp_path):
    # 2 ** 63 would wrap around to the lowest number
    chunk = only(csv(tmp_path, "time,price,size,seq\n1514903400,1,1,9223372036854775808\n1514903400,1,1,5\n"))
    assert chunk.batch.sequence.tolist() == [5]
    assert chunk.bad == {"sequence is above 9223372036854775807": 1}


@pytest.mark.parametrize(
    "text", ["now", "today", "2018", "2018-01", "2018-01-02T14:30:00+5", "2018-W01-2", "1e9", "-5"]
)
def test_what_names_no_moment_is_not_guessed_at(tmp_path, text):
    chunk = only(csv(tmp_path, f"time,price,size\n{text},1,1\n1514903400,1,1\n"))
    assert chunk.bad == {"time cannot be read": 1}
    assert chunk.batch.time.tolist() == [OPENING]
