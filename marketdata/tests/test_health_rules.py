"""Every rule on series with faults counted by hand; the places are worked in the comments."""

from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata import calendars
from marketdata.health_finding import Accepted, Split, remaining
from marketdata.health_gaps import stale
from marketdata.health_prices import Extremes
from marketdata.health_rules import examine
from marketdata.series import BarSeries
from marketdata.tests.health_series import about, changed, days, minutes, scaled, times, walk, without

DAY = 86_400
pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")


def found(series: BarSeries, interval_seconds: int = 60, **values: object) -> dict:
    """Findings by kind; accepted=... goes to the rules, the rest describes the series."""
    accepted = values.pop("accepted", None)
    return {one.kind: one for one in examine(series, about(series, interval_seconds, **values), accepted)}


def only(findings: dict, kind: str):
    assert list(findings) == [kind], findings
    return findings[kind]


def when(series: BarSeries, at: int) -> str:
    return datetime.fromtimestamp(int(series.time[at]), UTC).isoformat()


@pytest.mark.parametrize("series", [minutes(), days()])
def test_sound_bars_have_no_finding(series):
    assert found(series, 60 if series.time[0] % DAY else DAY) == {}


def test_no_bars_no_finding():
    assert examine(BarSeries.empty(), about(minutes(), 60)) == []


def test_impossible_prices_block():
    series = minutes()
    bad = changed(
        series,
        high={10: series.low[10] * 0.9},  # high below low
        close={20: np.nan},
        low={30: 0.0},
        open={40: -1.0},
        volume={50: -5.0, 60: np.inf},
    )
    one = only(found(bad), "broken")
    assert (one.severity, one.n, one.first, one.last) == ("blocking", 6, int(series.time[10]), int(series.time[60]))
    assert [example["time"] for example in one.examples] == [when(series, at) for at in (10, 20, 30, 40, 50, 60)]
    assert "6 bars have numbers that contradict each other, 6 of them cannot be right" in one.detail


def test_an_open_a_hair_beyond_the_high_is_rounding_and_only_warns():
    series = minutes()
    one = only(found(changed(series, high={7: max(series.open[7], series.close[7]) * 0.9999})), "broken")
    assert (one.severity, one.n) == ("warning", 1)


def test_missing_minutes_here_and_there_are_no_finding_a_long_gap_is():
    series = minutes()
    # four in a row at 10:10 on the first day are tolerated: 240 s; 23 in a row from place 500 on are not
    assert found(without(series, slice(40, 44))) == {}
    one = only(found(without(series, slice(40, 44), slice(500, 523))), "gaps")
    assert (one.n, one.first, one.severity) == (1, int(series.time[500]), "warning")
    # 23 of 4,110 minutes of trading: 0.56 %
    assert one.detail == (
        "23 bars are missing in 1 long gap, 0.56% of trading time; the longest 23 minutes from 2019-12-17 11:20. "
        "4 bars more are absent here and there."
    ).replace("11:20", "16:20")
    assert one.examples == [{"time": when(series, 500), "found": "23 bars"}]


def test_gaps_at_the_open_and_the_close_count_but_not_before_the_first_and_after_the_last_bar():
    series = minutes()
    # first day from 11:30 on (places 0-119), its last 30 minutes (360-389), the second day's first 20 (390-409),
    # and the last day's last 100
    n = len(series)
    one = only(found(without(series, slice(0, 120), slice(360, 410), slice(n - 100, n))), "gaps")
    assert [example["found"] for example in one.examples] == ["30 bars", "20 bars"]


def test_over_half_a_session_lost_lately_blocks_long_ago_it_warns():
    series = minutes(date(2019, 9, 3), date(2019, 12, 31))
    n = len(series)
    assert only(found(without(series, slice(n - 390 - 300, n - 390 - 50))), "gaps").severity == "blocking"
    assert only(found(without(series, slice(400, 700))), "gaps").severity == "warning"


def test_a_half_day_is_complete_with_210_minutes():
    series = minutes(date(2019, 12, 23), date(2019, 12, 26))
    assert len(series) == 390 + 210 + 390
    assert found(series) == {}


def test_hourly_bars_aligned_to_the_clock_are_no_gap():
    # 14:00 to 20:00 UTC: the first begins before the open at 14:30
    day = calendars.sessions("XNYS", date(2019, 12, 2), date(2019, 12, 23)).day
    assert found(walk((day[:, None] + np.arange(14, 21) * 3600).ravel()), 3600) == {}


def test_an_illiquid_series_is_measured_by_its_own_silences():
    series = minutes(date(2019, 10, 1), date(2019, 12, 31))
    rng = np.random.default_rng(3)
    rare = without(series, list(np.flatnonzero(rng.random(len(series)) < 0.6)))
    # two of five minutes trade: silences of more than 6 minutes are common, three times their 99th percentile is not
    assert "gaps" not in found(rare)


def test_missing_sessions_of_minutes_and_days():
    series = minutes()
    one = only(found(without(series, slice(390, 780))), "missing_sessions")  # the whole of Tuesday, 17 December
    assert (one.n, one.severity) == (1, "blocking"), "one of eleven sessions is more than a twentieth"
    assert one.examples == [{"time": "2019-12-17T00:00:00+00:00", "found": "Tuesday"}]
    daily = days()  # 1,006 sessions: 252 + 252 + 250 + 252
    assert len(daily) == 1006
    single = only(found(without(daily, [500]), DAY), "missing_sessions")
    assert (single.n, single.severity) == (1, "note")
    assert "0.10% of 1,006; at most 1 in a row" in single.detail
    assert only(found(without(daily, slice(500, 502)), DAY), "missing_sessions").severity == "warning"
    assert only(found(without(daily, slice(500, 506)), DAY), "missing_sessions").severity == "blocking"


def test_bars_outside_sessions():
    daily = walk(np.sort(np.append(times(date(2019, 12, 2), date(2020, 1, 31), DAY), 1577232000)))  # Christmas Day
    one = only(found(daily, DAY), "outside_session")
    assert (one.n, one.severity, one.first) == (1, "warning", 1577232000)
    minute = minutes()
    early = walk(np.append(int(minute.time[0]) - 3600 + np.arange(30) * 60, minute.time))
    assert (only(found(early), "outside_session").n, only(found(early), "outside_session").severity) == (30, "note")


def test_a_market_that_never_closes_has_only_gaps():
    series = walk(times(date(2024, 3, 1), date(2024, 3, 10), 60, "24/7"))
    assert found(series, calendar="24/7") == {}
    one = only(found(without(series, slice(5000, 5060)), calendar="24/7"), "gaps")
    assert (one.n, one.examples[0]["found"]) == (1, "60 bars")


def test_an_unknown_calendar_leaves_the_other_rules_at_work():
    series = changed(minutes(), volume={3: 0.0, 4: 0.0})
    findings = examine(series, replace(about(series, 60), sessions=None))
    assert [(one.kind, one.n) for one in findings] == [("zero_volume", 2)]


def test_zero_volume_is_a_note_and_a_warning_when_common():
    series = minutes()
    few = only(found(changed(series, volume=dict.fromkeys(range(10, 30), 0.0))), "zero_volume")
    assert (few.n, few.severity) == (20, "note")
    many = only(found(changed(series, volume=dict.fromkeys(range(1000), 0.0))), "zero_volume")
    assert (many.n, many.severity) == (1000, "warning")
    assert found(replace(series, volume=np.zeros(len(series))), has_volume=False) == {}


def test_a_low_that_came_back_at_once_is_an_outlier():
    series = minutes()
    one = only(found(changed(series, low={700: series.low[700] * 0.97})), "outliers")
    assert (one.n, one.severity, one.first) == (1, "warning", int(series.time[700]))
    assert "1 bar has a price far off that came back at once; largest 3.0%" in one.detail


def test_a_whole_bar_far_off_is_one_outlier_and_no_split():
    series = minutes()
    bad = changed(scaled(series, slice(700, 701), 2.0), open={701: series.open[701]})
    one = only(found(bad), "outliers")
    assert (one.n, one.first) == (1, int(series.time[700])), "not the bar that came back"


def test_a_crash_that_stayed_is_only_a_note():
    series = scaled(days(), slice(600, None), 0.7)  # −30 %: no simple fraction, 30 usual moves
    one = only(found(series, DAY), "outliers")
    assert (one.n, one.severity) == (1, "note")
    assert "stayed" in one.detail


def test_a_daily_low_below_every_minute_of_its_session():
    daily = days()
    low, high, close = (float(values[100]) for values in (daily.low, daily.high, daily.close))
    at = int(daily.time[100])
    assert found(daily, DAY, shorter={at: Extremes(low, high, close)}) == {}
    one = only(found(daily, DAY, shorter={at: Extremes(low * 1.005, high, close)}), "outliers")
    assert (one.n, one.severity, one.first) == (1, "warning", at)
    # 1 − 1/1.005 = 0.4975 %
    assert one.detail == "1 daily bar reaches beyond all shorter bars of the day; largest 0.5% at 2010-05-27."
    # minutes as traded beside adjusted days say nothing
    assert found(daily, DAY, shorter={at: Extremes(low * 2.5, high * 2.5, close * 2.5)}) == {}


@pytest.mark.parametrize(("factor", "words"), [(1 / 2, "2 for 1"), (1 / 7, "7 for 1"), (4.0, "1 for 4")])
def test_a_jump_like_a_split_blocks_until_the_split_is_stored(factor, words):
    series = scaled(days(), slice(600, None), factor)
    findings = found(series, DAY)
    one = findings["split_like"]
    assert (one.severity, one.n, one.first) == ("blocking", 1, int(series.time[600]))
    assert words in one.examples[0]["found"]
    split = Split(int(series.time[600]), 1 / factor, in_prices=False)
    assert "split_like" not in found(series, DAY, splits=[split])
    near = replace(split, day=split.day - DAY)  # a vendor's ex-date may be a day off
    assert "split_like" not in found(series, DAY, splits=[near])
    assert "split_like" in found(series, DAY, splits=[replace(split, day=split.day - 20 * DAY)])
    assert "split_like" in found(series, DAY, splits=[replace(split, ratio=1.25)])


def test_a_jump_where_the_split_is_said_to_be_in_the_prices_blocks():
    series = scaled(days(), slice(600, None), 0.5)
    wrong = Split(int(series.time[600]), 2.0, in_prices=True)
    assert "said to be in the prices" in found(series, DAY, splits=[wrong])["split_like"].detail


def test_adjusted_bars_of_a_split_said_not_to_be_in_them_block():
    series = days()
    split = Split(int(series.time[600]), 2.0, in_prices=False)
    one = only(found(series, DAY, splits=[split]), "split_like")
    assert (one.severity, one.first) == ("blocking", int(series.time[600]))
    assert found(series, DAY, splits=[replace(split, in_prices=True)]) == {}
    assert found(series, DAY, splits=[replace(split, day=int(series.time[-1]) + 9 * DAY)]) == {}, "not there yet"
    assert found(series, DAY, splits=[replace(split, ratio=1.05)]) == {}, "too small to tell"


def test_three_for_two_only_warns_and_indexes_do_not_split():
    series = scaled(days(), slice(600, None), 2 / 3)
    assert found(series, DAY)["split_like"].severity == "warning"
    assert "split_like" not in found(scaled(days(), slice(600, None), 0.5), DAY, can_split=False)


def test_copied_blocks_and_bars():
    series = minutes()
    copied = changed(
        series,
        **{
            name: {2000 + i: getattr(series, name)[1000 + i] for i in range(6)} | {3000: getattr(series, name)[2999]}
            for name in ("open", "high", "low", "close", "volume")
        },
    )
    findings = found(copied)
    one = findings["duplicates"]
    assert (one.n, one.severity) == (7, "warning")  # six of the block and one bar equal to the one before
    assert [example["time"] for example in one.examples] == [when(series, at) for at in (*range(2000, 2006), 3000)]


def test_a_price_that_stands_still():
    series = minutes()
    price = float(series.close[999])
    flat = dict.fromkeys(range(1000, 1061), price)
    still = changed(series, open=flat, high=flat, low=flat, close=flat)
    # the 61 bars are one run; the bar before has a range, so it does not belong to it
    one = found(still)["duplicates"]
    assert (one.n, one.first, one.examples[0]["found"]) == (1, int(series.time[1000]), f"{price:g} for 61 bars")
    short = dict.fromkeys(range(1000, 1059), price)
    assert "duplicates" not in found(changed(series, open=short, high=short, low=short, close=short))


OPEN = int(datetime(2019, 12, 24, 14, 30, tzinfo=UTC).timestamp())  # a half day, 9:30 to 13:00 in New York


@pytest.mark.parametrize(
    ("last_bar", "now", "late"),
    [
        (OPEN + 1800, OPEN + 1800 + 60 + 900, False),  # exactly fifteen minutes of silence are allowed
        (OPEN + 1800, OPEN + 1800 + 60 + 901, True),
        (OPEN - 3600, OPEN + 900, False),  # a bar before the open: the silence begins at the open
        (OPEN - 3600, OPEN + 901, True),
        (OPEN + 210 * 60 - 60, OPEN + 2 * DAY - 1, False),  # the close at 13:00, then Christmas
        (OPEN + 210 * 60 - 60, OPEN + 2 * DAY + 901, True),  # 26 December, quarter of an hour after the open
        (OPEN + 100 * 60, OPEN + 300 * 60, True),  # died before the close: also late when the market is shut
    ],
)
def test_a_live_feed_is_late_by_trading_time_only(last_bar, now, late):
    around = calendars.sessions("XNYS", date(2019, 12, 20), date(2019, 12, 31))
    one = stale(last_bar, OPEN - 10 * DAY, now, around, 60, ())
    assert (one is not None) == late
    if one is not None:
        assert (one.severity, one.n, one.first) == ("blocking", 1, last_bar)


def test_a_feed_owes_nothing_from_before_it_was_started():
    around = calendars.sessions("XNYS", date(2019, 12, 20), date(2019, 12, 31))
    started = OPEN + 7200
    assert stale(OPEN - 30 * DAY, started, started + 900, around, 60, ()) is None
    assert stale(OPEN - 30 * DAY, started, started + 901, around, 60, ()) is not None


def test_a_daily_feed_owes_a_bar_six_hours_after_the_close():
    around = calendars.sessions("XNYS", date(2019, 12, 20), date(2019, 12, 31))
    monday, close = 1577059200, OPEN + 210 * 60  # 23 December; 24 December 18:00 UTC
    assert stale(monday, monday - DAY, close + 6 * 3600 - 1, around, DAY, ()) is None
    assert stale(monday, monday - DAY, close + 6 * 3600, around, DAY, ()) is not None
    assert stale(monday + DAY, monday - DAY, close + DAY, around, DAY, ()) is None


def test_accepted_places_are_not_reported_again_new_ones_are():
    series = minutes()
    bad = changed(series, low={10: 0.0, 20: 0.0})
    known = Accepted(int(series.time[10]), int(series.time[20]), 2, frozenset(map(int, series.time[[10, 20]])))
    assert found(bad, accepted={"broken": [known]}) == {}
    worse = changed(bad, low={15: 0.0})
    one = only(found(worse, accepted={"broken": [known]}), "broken")
    assert (one.n, one.first) == (1, int(series.time[15]))


def test_too_many_accepted_places_are_known_by_range_and_number():
    at = np.arange(100, 200)
    known = Accepted(100, 199, 100, None)
    assert not remaining(at, [known]).any()
    assert remaining(np.append(at, 250), [known]).tolist() == [False] * 100 + [True]
    assert remaining(at, [replace(known, n=99)]).all(), "one more than was accepted"


SOUND = minutes()


@settings(max_examples=40, deadline=None)
@given(
    kind=st.sampled_from(["broken", "gaps", "outliers", "split_like", "duplicates", "zero_volume"]),
    at=st.integers(60, len(SOUND) - 460),
    seed=st.integers(0, 1000),
    size=st.integers(1, 5),
)
def test_an_injected_fault_is_found_where_it_was_put_and_nothing_blocks_without_it(kind, at, seed, size):
    series = walk(SOUND.time, seed)
    assert found(series) == {}
    if kind == "broken":
        bad = changed(series, low={at: -float(size)})
    elif kind == "gaps":
        # within one session: a gap over the night would be seen as two
        if np.any(np.diff(series.time[at : at + 10 * size + 10]) > 60):
            return
        bad = without(series, slice(at, at + 10 * size))
    elif kind == "outliers":
        bad = changed(series, high={at: series.high[at] * (1 + 0.02 * size)})
    elif kind == "split_like":
        bad = scaled(series, slice(at, None), 1.0 / (size + 1))
    elif kind == "duplicates":
        names = ("open", "high", "low", "close", "volume")
        bad = changed(series, **{n: {at + i: getattr(series, n)[i] for i in range(size + 4)} for n in names})
    else:
        bad = changed(series, volume=dict.fromkeys(range(at, at + size), 0.0))
    one = found(bad)[kind]
    assert one.first == int(series.time[at])
    assert one.examples[0]["time"] == when(series, at)
