"""Pseudo-live polling: through the real yfinance client with a clock that jumps, and its rules by themselves."""

import threading
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from marketdata.series import BarSeries
from marketdata.sources.base import Asked, SourceRefusedError
from marketdata.sources.yahoo import YahooSource
from marketdata.sources.yahoo_polling import BackOff, Clock, Seen, Watched, next_due
from marketdata.tests.yahoo_server import GONE, NEW_YORK, Answer, Stock, YahooServer, error, moment, row

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # yfinance's own, under pandas 3.1

DAY = date(2024, 6, 12)


def at(clock):
    """A time of the day in New York; seconds are optional."""
    hour, minute, *second = (int(part) for part in clock.split(":"))
    return datetime(2024, 6, 12, hour, minute, *second, tzinfo=NEW_YORK).astimezone(UTC)


class Time:
    """A clock that only waiting moves."""

    def __init__(self, begin):
        self.now = at(begin)
        self.longest = 0.0
        self.clock = Clock(now=lambda: self.now, wait=self.wait, chance=lambda: 0.5)

    def wait(self, seconds):
        self.longest = max(self.longest, seconds)
        self.now += timedelta(seconds=max(seconds, 0.001))


@pytest.fixture
def server():
    with YahooServer() as running:
        running.stocks["KO"] = stock()
        yield running


def stock(price=60.0, minutes=390):
    bars = {"1m": [row(moment(DAY) + 60 * n, price + n) for n in range(minutes)]}
    bars["5m"] = [row(moment(DAY) + 300 * n, price + n) for n in range(minutes // 5)]
    return Stock(intraday=bars)


def run(server, time, until, *asked, timeout=3.0, each=lambda update: None):
    """Updates with the time of each, up to a time of the day."""
    source = YahooSource(address=server.address, timeout_seconds=timeout, clock=time.clock)
    updates = source.live(list(asked))
    seen = []
    for update in updates:
        if time.now >= at(until):
            break
        seen.append((time.now.astimezone(NEW_YORK), update))
        each(update)
    updates.close()
    return seen


def given(seen, symbol="KO"):
    """(time it came, times of its bars) of every update with bars."""
    return [
        (
            f"{when:%H:%M:%S}",
            [f"{datetime.fromtimestamp(t, NEW_YORK):%H:%M}" for t in update.bars[symbol].time.tolist()],
        )
        for when, update in seen
        if symbol in update.bars
    ]


def test_each_closed_minute_comes_once_shortly_after_its_end(server):
    time = Time("09:33:20")
    seen = run(server, time, "09:36:30", Asked("KO", 60, start=at("09:31")))
    # The minute that forms (09:33 at first) never comes; each next one 5 s after its end.
    assert given(seen) == [
        ("09:33:20", ["09:31", "09:32"]),
        ("09:34:05", ["09:33"]),
        ("09:35:05", ["09:34"]),
        ("09:36:05", ["09:35"]),
    ]
    (first,) = (update.bars["KO"] for when, update in seen if when == at("09:33:20") and update.bars)
    np.testing.assert_array_equal(first.close, [61.0, 62.0])
    assert time.longest <= 1.0, "an update at least once a second"
    waiting = [update for _, update in seen if not update.bars and update.next_look]
    assert waiting[0].next_look == at("09:34:05") and waiting[0].problem == ""


def test_without_a_start_only_the_last_bars_come_first(server):
    seen = run(server, Time("10:30:00"), "10:30:30", Asked("KO", 300))
    assert given(seen)[0] == ("10:30:00", ["10:00", "10:05", "10:10", "10:15", "10:20", "10:25"])


def test_several_instruments_are_asked_one_after_the_other(server):
    server.stocks["PEP"] = stock(170.0)
    asked = [Asked("KO", 60, start=at("09:40")), Asked("PEP", 60, start=at("09:40"))]
    seen = run(server, Time("09:41:10"), "09:42:30", *asked)
    assert [bars for _, bars in given(seen)] == [["09:40"], ["09:41"]] == [bars for _, bars in given(seen, "PEP")]
    (ko, _), (pep, _) = given(seen)[1], given(seen, "PEP")[1]
    assert (ko, pep) == ("09:42:05", "09:42:05")


def test_a_bar_that_is_revised_or_late_comes_when_it_comes(server):
    bars = server.stocks["KO"].intraday["1m"]
    late = bars.pop(5)  # 09:35 is missing at first

    def later(update):
        if "KO" in update.bars and update.bars["KO"].time[-1] == moment(DAY, "09:36"):
            bars.insert(5, late)
            bars[4] = row(bars[4][0], 99.0)  # 09:34 is corrected
            bars[3] = (*bars[3][:5], 0)  # the volume of 09:33 disappears: Yahoo's gap, no revision

    seen = run(server, Time("09:35:10"), "09:39:00", Asked("KO", 60, start=at("09:33")), each=later)
    assert given(seen) == [
        ("09:35:10", ["09:33", "09:34"]),
        ("09:37:05", ["09:36"]),
        ("09:38:05", ["09:34", "09:35", "09:37"]),
    ]
    revised = next(update.bars["KO"] for when, update in seen if when == at("09:38:05") and update.bars)
    assert revised.close[0] == 99.0
    looks = [when for when, update in seen if not update.bars and update.next_look and at("09:36") < when < at("09:37")]
    assert looks, "a minute without its bar does not stop the feed"


def test_a_pause_yahoo_asks_for_is_kept_and_said(server):
    server.unusual = [None, Answer(429, "Too Many Requests", {"Retry-After": "90"})]
    seen = run(server, Time("09:41:30"), "09:45:00", Asked("KO", 60, start=at("09:40")))
    # 429 at 09:42:05; 90 s later 09:43:35: both minutes missed come then
    assert given(seen) == [
        ("09:41:30", ["09:40"]),
        ("09:43:35", ["09:41", "09:42"]),
        ("09:44:05", ["09:43"]),
    ]
    paused = [update for when, update in seen if at("09:42:06") <= when < at("09:43:35")]
    assert len(paused) >= 89
    assert all("HTTP 429" in update.problem and "Next look at 13:43:35 UTC" in update.problem for update in paused)
    assert seen[-1][1].problem == ""


@pytest.mark.parametrize("answer", [Answer(200, "<html>"), Answer(503, ""), error(404, GONE)])
def test_a_bad_answer_in_between_is_a_problem_that_passes(server, answer):
    server.unusual = [None, answer, answer]  # yfinance asks twice at 404 and 503
    seen = run(server, Time("09:41:30"), "09:44:00", Asked("KO", 60, start=at("09:40")))
    assert given(seen)[0][1] == ["09:40"]
    assert [t for _, bars in given(seen)[1:] for t in bars] == ["09:41", "09:42"]
    assert any(update.problem for _, update in seen)


def test_an_unknown_symbol_needs_a_person(server):
    with pytest.raises(SourceRefusedError, match="NOSUCH"):
        run(server, Time("09:41:30"), "09:44:00", Asked("NOSUCH", 60))


@pytest.mark.parametrize("seconds", [3600, 86_400, 7])
def test_only_short_intervals_are_polled(server, seconds):
    with pytest.raises(SourceRefusedError, match="use one of 60, 300, 900 s"):
        next(YahooSource(address=server.address).live([Asked("KO", seconds)]))
    with pytest.raises(SourceRefusedError, match="no instrument"):
        next(YahooSource(address=server.address).live([]))


def test_updates_go_on_while_yahoo_keeps_silent_and_closing_does_not_wait_for_it(server):
    server.unusual = [Answer(hang=True)]
    time = Time("09:41:30")
    source = YahooSource(address=server.address, timeout_seconds=30.0, clock=time.clock)
    updates = source.live([Asked("KO", 60)])
    assert [next(updates).bars for _ in range(2)] == [{}, {}]  # each after half a second
    updates.close()
    server._stop.set()
    for thread in threading.enumerate():
        if thread.name.startswith("yahoo"):
            thread.join(5)


def test_after_the_close_yahoo_is_asked_four_times_an_hour(server):
    seen = run(server, Time("15:58:30"), "17:00:00", Asked("KO", 60, start=at("15:57")))
    assert [t for _, bars in given(seen) for t in bars] == ["15:57", "15:58", "15:59"]
    asked = [int(query["period2"]) for _, query in server.charts]
    after_close = [moment_ for moment_ in asked if moment_ > moment(DAY, "16:05")]
    assert len(after_close) == 3  # about 16:16, 16:31, 16:46
    assert np.diff(after_close).min() >= 900


def test_on_a_day_without_trading_yahoo_is_asked_four_times_an_hour(server):
    server.stocks["KO"].intraday = {}  # a proper answer without a bar
    server.unusual = [None, error(400, "Data doesn't exist for startDate = 1, endDate = 2", "Bad Request")] * 2
    run(server, Time("07:00:00"), "07:40:00", Asked("KO", 60))
    assert len({query["period2"] for _, query in server.charts}) == 3
    assert {update.problem for _, update in run(server, Time("20:00:00"), "20:01:00", Asked("KO", 60))} == {""}


# The rules by themselves


def watched(known=(), interval=900):
    return Watched("KO", interval, 0, at("09:30"), dict.fromkeys((moment(DAY, clock) for clock in known), ()))


def seen(opens="09:30", closes="16:00"):
    return Seen(BarSeries.empty(), at(opens), at(closes))


def test_a_late_quarter_hour_is_looked_for_twice_more_and_then_at_the_next_end():
    one = watched(known=["09:30"])
    assert next_due(one, seen(), at("10:00:05")) == at("10:00:20")  # 09:45 is missing
    assert next_due(one, seen(), at("10:00:20")) == at("10:00:35")
    assert next_due(one, seen(), at("10:00:35")) == at("10:15:05")
    assert next_due(watched(known=["09:45"]), seen(), at("10:00:05")) == at("10:15:05")


def test_before_the_open_the_first_bar_s_end_is_waited_for():
    assert next_due(watched(), seen(), at("09:29:00")) == at("09:45:05") - timedelta(seconds=65)  # at most 15 minutes
    assert next_due(watched(interval=60), seen(), at("09:29:00")) == at("09:31:05")


def test_the_close_s_own_bar_is_still_looked_for():
    assert next_due(watched(interval=60), seen(), at("15:59:05")) <= at("16:00:05")
    assert next_due(watched(known=["15:59"], interval=60), seen(), at("16:00:05")) == at("16:01:05")
    assert next_due(watched(interval=60), seen(), at("16:01:05")) == at("16:16:05")


def test_waits_double_up_to_a_quarter_of_an_hour_and_vary_by_a_quarter():
    middle = BackOff(lambda: 0.5)
    assert [middle.seconds(None) for _ in range(8)] == [15, 30, 60, 120, 240, 480, 900, 900]
    assert middle.seconds(7.0) == 7.0
    middle.worked()
    assert middle.seconds(None) == 15
    assert (BackOff(lambda: 0.0).seconds(None), BackOff(lambda: 1.0).seconds(None)) == (11.25, 18.75)
