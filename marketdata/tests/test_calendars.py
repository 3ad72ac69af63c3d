"""Trading calendars against dates known by hand and pandas' own time zones."""

import subprocess
import sys
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest

from marketdata import calendars
from marketdata.calendars import MarketState

# The library itself uses names that pandas is retiring.
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
NEW_YORK = "America/New_York"
CHICAGO = "America/Chicago"


def at(text: str, zone: str = "UTC") -> int:
    """Epoch second of a wall time, by pandas."""
    return int(pd.Timestamp(text, tz=zone).timestamp())


def times(*texts: str, zone: str = "UTC") -> np.ndarray:
    return np.array([at(text, zone) for text in texts], dtype=np.int64)


@pytest.mark.parametrize(
    ("day", "close"),
    [("2019-12-24", "13:00"), ("2019-11-29", "13:00"), ("2018-07-03", "13:00"), ("2019-12-26", "16:00")],
)
def test_half_days_of_new_york(day, close):
    found = calendars.sessions("XNYS", date.fromisoformat(day), date.fromisoformat(day))
    assert found.day.tolist() == [at(day)]
    assert found.opens.tolist() == [at(f"{day} 09:30", NEW_YORK)]
    assert found.closes.tolist() == [at(f"{day} {close}", NEW_YORK)]
    assert found.half.tolist() == [close == "13:00"]


@pytest.mark.parametrize(
    "day",
    ["2019-12-25", "2020-01-01", "2019-11-28", "2020-04-10", "2018-12-05", "2001-09-11", "2012-10-29", "2019-12-21"],
)
def test_holidays_mourning_storms_and_weekends_have_no_session(day):
    assert len(calendars.sessions("XNYS", date.fromisoformat(day), date.fromisoformat(day))) == 0


def test_sessions_of_known_years():
    # the exchange's own counts: 2019 and 2018 (a day of mourning) had 252 and 251 trading days, 2020 had 253
    counts = [len(calendars.sessions("XNYS", date(y, 1, 1), date(y, 12, 31))) for y in (2018, 2019, 2020)]
    assert counts == [251, 252, 253]


@pytest.mark.parametrize(("before", "after"), [("2019-03-08", "2019-03-11"), ("2019-11-01", "2019-11-04")])
def test_clock_changes_move_the_open_in_utc(before, after):
    found = calendars.sessions("XNYS", date.fromisoformat(before), date.fromisoformat(after))
    assert found.opens.tolist() == times(f"{before} 09:30", f"{after} 09:30", zone=NEW_YORK).tolist()
    # Fri to Mon is 3 days, an hour less in March and an hour more in November
    moved = -3600 if "03" in before[5:7] else 3600
    assert int(np.diff(found.opens)[0]) == 3 * 86_400 + moved


def test_minutes_outside_the_session():
    minutes = times(
        "2019-12-24 09:29", "2019-12-24 09:30", "2019-12-24 12:59", "2019-12-24 13:00", "2019-12-25 10:00",
        "2019-12-26 15:59", "2019-12-26 16:00", zone=NEW_YORK,
    )  # fmt: skip
    assert calendars.outside("XNYS", minutes, 60).tolist() == [True, False, False, True, True, False, True]
    mixed = minutes[::-1]
    assert calendars.outside("XNYS", mixed, 60).tolist() == [True, False, True, True, False, False, True]


def test_daily_bars_and_their_closes():
    days = times("2019-12-24", "2019-12-25", "2019-12-26")
    assert calendars.outside("XNYS", days, 86_400).tolist() == [False, True, False]
    expected = [at("2019-12-24 13:00", NEW_YORK), at("2019-12-26"), at("2019-12-26 16:00", NEW_YORK)]
    assert calendars.closes_at("XNYS", days, 86_400).tolist() == expected


def test_a_weekly_bar_closes_with_its_last_session():
    # the week of Monday 6 April 2020 ended on Thursday, before Good Friday
    week = times("2020-04-06")
    assert calendars.closes_at("XNYS", week, 7 * 86_400).tolist() == [at("2020-04-09 16:00", NEW_YORK)]
    assert not calendars.outside("XNYS", week, 7 * 86_400).any()


def test_intraday_bars_close_when_they_end():
    bars = times("2019-12-24 12:30", "2019-12-24 20:00", zone=NEW_YORK)
    assert calendars.closes_at("XNYS", bars, 3600).tolist() == (bars + 3600).tolist()


def test_a_market_that_never_closes():
    found = calendars.sessions("24/7", date(2024, 2, 28), date(2024, 3, 1))
    assert found.day.tolist() == times("2024-02-28", "2024-02-29", "2024-03-01").tolist()
    assert (found.closes - found.opens).tolist() == [86_400] * 3
    assert not calendars.outside("24/7", times("1970-01-01", "2019-12-25 03:00"), 60).any()
    assert calendars.closes_at("24/7", times("2024-02-29"), 86_400).tolist() == [at("2024-03-01")]
    assert calendars.state("24/7", datetime(2024, 1, 1, tzinfo=UTC)) == MarketState(True, None)


def test_overnight_sessions_belong_to_the_next_day():
    monday = calendars.sessions("CMES", date(2024, 6, 3), date(2024, 6, 3))
    assert monday.opens.tolist() == [at("2024-06-02 17:00", CHICAGO)]
    assert monday.closes.tolist() == [at("2024-06-03 17:00", CHICAGO)]
    # Sunday 16:59 is closed, 17:00 open; Friday 16:59 open, 17:00 closed; Wednesday 03:00 open
    texts = ("2024-06-02 16:59", "2024-06-02 17:00", "2024-06-07 16:59", "2024-06-07 17:00", "2024-06-05 03:00")
    assert calendars.outside("CMES", times(*texts, zone=CHICAGO), 60).tolist() == [True, False, False, True, False]
    assert calendars.closes_at("CMES", times("2024-06-03"), 86_400).tolist() == monday.closes.tolist()


def test_the_lunch_break_is_outside():
    texts = ("2024-06-03 11:59", "2024-06-03 12:00", "2024-06-03 12:59", "2024-06-03 13:00")
    found = calendars.outside("XHKG", times(*texts, zone="Asia/Hong_Kong"), 60)
    assert found.tolist() == [False, True, True, False]
    noon = datetime(2024, 6, 3, 4, 30, tzinfo=UTC)  # 12:30 in Hong Kong
    assert calendars.state("XHKG", noon) == MarketState(False, datetime(2024, 6, 3, 5, tzinfo=UTC))


@pytest.mark.parametrize(
    ("now", "is_open", "change"),
    [
        ("2019-12-24 09:29:59", False, "2019-12-24 09:30"),
        ("2019-12-24 09:30", True, "2019-12-24 13:00"),
        ("2019-12-24 13:00", False, "2019-12-26 09:30"),  # Christmas between
        ("2019-03-09 12:00", False, "2019-03-11 09:30"),  # the weekend the clocks go forward
        ("2001-09-12 12:00", False, "2001-09-17 09:30"),
    ],
)
def test_state_of_new_york(now, is_open, change):
    found = calendars.state("XNYS", datetime.fromtimestamp(at(now, NEW_YORK), UTC))
    assert found == MarketState(is_open, datetime.fromtimestamp(at(change, NEW_YORK), UTC))


def test_sessions_without_a_pause_between_them_count_as_one_opening():
    # Globex as the library has it: Sunday 17:00 to Friday 17:00 in Chicago
    found = calendars.state("CMES", datetime.fromtimestamp(at("2024-06-04 03:00", CHICAGO), UTC))
    assert found == MarketState(True, datetime.fromtimestamp(at("2024-06-07 17:00", CHICAGO), UTC))


def test_dates_long_ago_and_far_ahead_are_known_without_a_restart():
    assert calendars.outside("XNYS", times("1962-01-02", "1962-01-06"), 86_400).tolist() == [False, True]
    ahead = datetime.now(UTC) + timedelta(days=5 * 366)
    assert 250 <= len(calendars.sessions("XNYS", date(ahead.year, 1, 1), date(ahead.year, 12, 31))) <= 253
    assert calendars.outside("XNYS", times("1962-01-02", "1962-01-06"), 86_400).tolist() == [False, True]


def test_beyond_a_calendars_own_bounds_nothing_is_outside():
    # Hong Kong's holidays are known from 1960 to 2049
    days = times("1959-06-06", "2050-06-05", "2024-06-01")  # a Saturday, a Sunday, a Saturday
    assert calendars.outside("XHKG", days, 86_400).tolist() == [False, False, True]
    assert calendars.outside("XHKG", days, 60).tolist() == [False, False, True]
    assert calendars.closes_at("XHKG", days, 86_400).tolist() == (days + 86_400).tolist()
    assert len(calendars.sessions("XHKG", date(2050, 1, 1), date(2050, 12, 31))) == 0
    assert calendars.state("XHKG", datetime(2051, 1, 3, 4, tzinfo=UTC)) == MarketState(False, None)


def test_times_beyond_every_calendar_do_not_raise():
    far = np.array([-(10**11), 10**12], dtype=np.int64)
    assert not calendars.outside("XNYS", far, 60).any()
    assert calendars.closes_at("XNYS", far, 86_400).tolist() == (far + 86_400).tolist()


def test_an_unknown_calendar_is_named():
    for call in (
        lambda: calendars.sessions("XNOPE", date(2020, 1, 1), date(2020, 1, 2)),
        lambda: calendars.outside("XNOPE", times("2020-01-01"), 60),
        lambda: calendars.closes_at("XNOPE", times("2020-01-01"), 86_400),
        lambda: calendars.state("XNOPE", datetime(2020, 1, 1, tzinfo=UTC)),
    ):
        with pytest.raises(ValueError, match="no trading calendar 'XNOPE'"):
            call()


def test_a_range_that_ends_before_it_begins_is_refused():
    with pytest.raises(ValueError, match="swap"):
        calendars.sessions("XNYS", date(2020, 1, 2), date(2020, 1, 1))


def test_no_bars_give_no_answers():
    assert calendars.outside("XNYS", np.empty(0, np.int64), 60).shape == (0,)
    assert calendars.closes_at("XNYS", np.empty(0, np.int64), 86_400).shape == (0,)


def test_the_module_loads_without_the_library():
    code = "import sys, marketdata.calendars as c; c.state('24/7', None); print('pandas' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "False"
