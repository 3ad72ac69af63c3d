"""Guessing what a file's columns mean."""

import pytest

from marketdata.file_columns import guess, names_zone, time_formats, zone_of

PRICES = {"open": "Open", "high": "High", "low": "Low", "close": "Close"}


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        (["Date", "Open", "High", "Low", "Close", "Volume"], {"time": "Date", **PRICES, "volume": "Volume"}),
        (["<DATE>", "<TIME>", "Open", "High", "Low", "Close"], {"time": "<DATE>", "clock": "<TIME>", **PRICES}),
        (["timestamp", "price", "rsi"], {"time": "timestamp", **dict.fromkeys(PRICES, "price")}),
        (["date", "close"], {"time": "date", **dict.fromkeys(PRICES, "close")}),
        (["Ticker", "when"], {"symbol": "Ticker"}),
    ],
)
def test_columns_are_known_by_their_names(names, expected):
    assert guess(names) == expected


@pytest.mark.parametrize(
    ("samples", "expected"),
    [
        (["2013-02-28", "2013-03-01"], [None]),
        (["2013-02-28 14:30:00", "2013-03-01T09:00:00Z"], [None]),
        (["1361975400"], [None]),
        (["02/28/2013", "03/01/2013"], ["%m/%d/%Y"]),
        (["28/02/2013", "01/03/2013"], ["%d/%m/%Y"]),
        (["02/03/2013"], ["%m/%d/%Y", "%d/%m/%Y"]),  # nobody can tell
        (["12/31/2013 04:30 PM"], ["%m/%d/%Y %I:%M %p"]),
        (["31.12.2013 16:30"], ["%d.%m.%Y %H:%M"]),
        (["20110103 143000"], [None]),  # short ISO 8601
        (["2011.01.03 14:30"], ["%Y.%m.%d %H:%M"]),
        (["yesterday"], []),
        ([*["28/02/2013"] * 9, "garbage"], ["%d/%m/%Y"]),  # one broken row
        ([*["28/02/2013"] * 8, "garbage", "more"], []),
        ([""], []),
    ],
)
def test_the_form_of_the_times_is_found_by_trying(samples, expected):
    assert time_formats(samples)[:2] == expected


def test_the_zone_is_the_one_in_which_the_market_is_open():
    wall = [f"2019-07-0{day} {hour:02d}:{minute}" for day in (1, 2, 3) for hour in range(10, 16) for minute in (15, 45)]
    assert zone_of([*wall, "2019-07-01 09:30", "2019-07-02 12:59"], None, "XNYS") == "America/New_York"
    in_utc = [f"2019-07-0{day} {hour:02d}:35" for day in (1, 2) for hour in range(13, 20)]
    assert zone_of(in_utc, None, "XNYS") == "UTC"
    assert zone_of(["2019-07-01", "2019-07-02"], None, "XNYS") == "UTC"
    assert zone_of(wall, None, "24/7") == "UTC"


def test_times_that_say_their_zone_need_none():
    assert names_zone("2019-07-01T13:30:00Z", None)
    assert names_zone("1561987800", None)
    assert names_zone("2019-07-01", None)
    assert not names_zone("2019-07-01 13:30", None)
