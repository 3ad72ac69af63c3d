"""History and search through the real yfinance client against a server on loopback that answers as Yahoo does."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
import yfinance
from hypothesis import given, settings
from hypothesis import strategies as st
from yfinance.config import YfConfig
from yfinance.data import SingletonMeta, YfData

from marketdata.adjusted import DIVIDEND, SPLIT, day_start
from marketdata.series import BarSeries
from marketdata.sources.base import Action, Asked, SourceRefusedError, SourceUnavailableError
from marketdata.sources.yahoo import YahooSource
from marketdata.sources.yahoo_bars import as_paid, in_prices, undo_splits
from marketdata.sources.yahoo_polling import Clock
from marketdata.tests import shared_data
from marketdata.tests.yahoo_server import Answer, Stock, YahooServer, error, moment, row, sessions

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # yfinance's own, under pandas 3.1

DAY = 86_400
NOW = datetime(2024, 6, 12, 21, 0, tzinfo=UTC)  # Wednesday, 17:00 in New York
SPLIT_DAY = date(2024, 6, 10)


@pytest.fixture
def server():
    with YahooServer() as running:
        yield running


class Waits:
    """A clock that stands still, and how long it was asked to wait."""

    def __init__(self, now=NOW):
        self.waited: list[float] = []
        self.clock = Clock(now=lambda: now, wait=self.waited.append, chance=lambda: 0.5)


def source(server, waits=None, timeout=3.0):
    return YahooSource(address=server.address, timeout_seconds=timeout, clock=(waits or Waits()).clock)


def split_stock():
    """Closes 1000, 1010 ... as traded, 10:1 on 10 June (115, 116, 117 from then on); Yahoo sends it all adjusted."""
    days = sessions(date(2024, 5, 20), date(2024, 6, 12))
    return Stock(
        daily=[row(moment(day), 100 + at) for at, day in enumerate(days)],
        splits=[(moment(SPLIT_DAY), 10.0, 1.0)],
        dividends=[(moment(date(2024, 5, 28)), 0.02), (moment(date(2024, 6, 11)), 0.01)],
    )


def whole(parts):
    parts = list(parts)
    return parts, [action for part in parts for action in part.actions]


def test_daily_bars_and_dividends_come_as_they_were_before_the_split(server):
    server.stocks["NVDA"] = split_stock()
    (part,), actions = whole(source(server).history(Asked("NVDA", DAY)))

    # Yahoo's 100 on 20 May was 1,000 a share, its volume of 1,000 was 100 old shares; its dividend of 0.02 was 0.20
    assert part.series.time[0] == datetime(2024, 5, 20, tzinfo=UTC).timestamp()
    np.testing.assert_array_equal(part.series.close[:2], [1000.0, 1010.0])
    np.testing.assert_array_equal(part.series.volume[:2], [100.0, 100.0])
    assert part.series.high[0] == 1010.0 and part.series.low[0] == 990.0
    np.testing.assert_array_equal(part.series.close[-3:], [115.0, 116.0, 117.0])
    np.testing.assert_array_equal(part.series.volume[-3:], 1000.0)
    assert actions == [
        Action(date(2024, 5, 28), "dividend", 0.2),
        Action(SPLIT_DAY, "split", 10.0),
        Action(date(2024, 6, 11), "dividend", 0.01),
    ]
    assert (part.in_prices, part.done, part.n_bad, part.problems) == (False, 1.0, 0, [])
    assert len(server.charts) == 1, "daily bars are asked for once"


def test_the_same_days_are_stored_alike_whether_asked_before_or_after_the_split(server):
    server.stocks["NVDA"] = split_stock()
    until = datetime(2024, 6, 7, tzinfo=UTC)
    (after,), actions = whole(source(server).history(Asked("NVDA", DAY, end=until)))
    assert SPLIT_DAY not in [action.ex_date for action in actions], "only what was asked for"

    days = sessions(date(2024, 5, 20), date(2024, 6, 7))
    before = Stock(daily=[row(moment(day), 1000 + 10 * at, 100) for at, day in enumerate(days)], session=days[-1])
    server.stocks["NVDA"] = before
    earlier = datetime(2024, 6, 7, 21, tzinfo=UTC)
    (then,), _ = whole(source(server, Waits(earlier)).history(Asked("NVDA", DAY)))
    assert after.series.fingerprint() == then.series.fingerprint()


def test_a_split_yahoo_has_listed_but_not_yet_adjusted_for_is_not_undone(server):
    server.stocks["NVDA"] = split_stock()
    days = sessions(date(2024, 6, 3), date(2024, 6, 12))
    server.stocks["NVDA"].daily = [row(moment(day), 1000 if day < SPLIT_DAY else 100) for day in days]
    (part,), actions = whole(source(server).history(Asked("NVDA", DAY)))
    np.testing.assert_array_equal(part.series.close, [1000.0] * 5 + [100.0] * 3)
    assert Action(SPLIT_DAY, "split", 10.0) in actions
    assert "has not adjusted" in part.problems[0]


def test_todays_daily_bar_waits_for_the_close(server):
    server.stocks["NVDA"] = split_stock()
    noon = datetime(2024, 6, 12, 16, 0, tzinfo=UTC)
    (part,), _ = whole(source(server, Waits(noon)).history(Asked("NVDA", DAY)))
    assert part.series.time[-1] == datetime(2024, 6, 11, tzinfo=UTC).timestamp()


def minutes(day, price=10.0, n=390):
    return [row(moment(day) + 60 * at, price) for at in range(n)]


def test_minute_bars_come_in_pieces_of_seven_days_oldest_first_with_splits_undone(server):
    days = sessions(date(2024, 5, 30), date(2024, 6, 12))
    server.stocks["NVDA"] = split_stock()
    server.stocks["NVDA"].intraday["1m"] = [bar for day in days for bar in minutes(day, n=30)]
    start, end = datetime(2024, 5, 30, tzinfo=UTC), datetime(2024, 6, 12, 13, 40, tzinfo=UTC)
    parts, actions = whole(source(server).history(Asked("NVDA", 60, start=start, end=end)))

    assert [round(part.done, 2) for part in parts] == [0.52, 1.0]
    first, second = parts[0].series, parts[1].series
    assert first.time[-1] < second.time[0]
    # 10 sessions of 30 minutes; the last up to 13:40 UTC, both ends included: 13:30 ... 13:40 are 11
    assert len(first) + len(second) == 9 * 30 + 11
    assert second.time[-1] == end.timestamp()
    splitting = moment(SPLIT_DAY)
    assert set(first.close) == {100.0} and set(first.volume) == {100.0}
    assert set(second.close[second.time < splitting]) <= {100.0}
    assert set(second.close[second.time >= splitting]) == {10.0}
    assert [action.ex_date for action in actions] == [SPLIT_DAY, date(2024, 6, 11)]
    spans = [int(query["period2"]) - int(query["period1"]) for _, query in server.charts if query["interval"] == "1m"]
    assert len(spans) == 2 and max(spans) <= 7 * DAY + 60


def test_the_forming_minute_the_last_trade_and_empty_minutes_are_no_bars(server):
    day = date(2024, 6, 12)
    now = datetime.fromtimestamp(moment(day, "09:35") + 20, UTC)
    bars = minutes(day, n=6)  # 09:30 ... 09:35; 09:35 is still forming
    bars[2] = (bars[2][0], None, None, None, None, None)  # nobody traded
    bars.append(row(moment(day, "09:35") + 17, 10.0))  # the last trade
    server.stocks["NVDA"] = split_stock()
    server.stocks["NVDA"].intraday["1m"] = bars
    begin = datetime.fromtimestamp(moment(day), UTC)
    (part,), _ = whole(source(server, Waits(now)).history(Asked("NVDA", 60, start=begin)))
    assert [(t - moment(day)) // 60 for t in part.series.time.tolist()] == [0, 1, 3, 4]
    assert part.n_bad == 0


def test_rows_with_missing_or_impossible_prices_are_counted_with_their_reason(server):
    days = sessions(date(2024, 6, 3), date(2024, 6, 12))
    rows = [row(moment(day), 100) for day in days]
    rows[1] = (rows[1][0], 100.0, 101.0, 99.0, None, 5)
    rows[2] = (rows[2][0], 100.0, 98.0, 99.0, 100.0, 5)
    rows[3] = (rows[3][0], 100.0, 99.9, 99.0, 99.5, 5)  # open a tenth of a percent above high: Yahoo's rounding
    rows[4] = (*rows[4][:5], None)
    server.stocks["KO"] = Stock(daily=rows)
    (part,), _ = whole(source(server).history(Asked("KO", DAY)))
    assert len(part.series) == len(days) - 2 and part.n_bad == 2
    assert part.problems[0].startswith("2024-06-04 00:00: a price is missing")
    assert "do not lie in low 99 to high 98" in part.problems[1]
    assert part.series.high[1] == 100.0
    assert part.series.volume[2] == 0.0


def test_what_yahoo_no_longer_has_is_said_and_the_rest_fetched(server):
    server.stocks["NVDA"] = split_stock()
    server.stocks["NVDA"].intraday["1m"] = minutes(date(2024, 6, 12), n=5)
    parts, _ = whole(source(server).history(Asked("NVDA", 60, start=NOW - timedelta(days=200))))
    assert "keeps 1m bars of NVDA for 30 days" in parts[0].problems[0]
    assert sum(len(part.series) for part in parts) == 5
    asked = [int(query["period1"]) for _, query in server.charts if query["interval"] == "1m"]
    assert min(asked) > (NOW - timedelta(days=30)).timestamp()


def test_no_bars_is_not_an_error_when_yahoo_answers_properly(server):
    server.stocks["NVDA"] = split_stock()
    weekend = datetime(2024, 6, 8, tzinfo=UTC)
    (part,), _ = whole(source(server).history(Asked("NVDA", 300, start=weekend, end=weekend + timedelta(days=1))))
    assert len(part.series) == 0 and part.done == 1.0

    server.unusual = [error(400, "Data doesn't exist for startDate = 1, endDate = 2", "Bad Request")] * 2
    (part,), _ = whole(source(server).history(Asked("NVDA", DAY, start=weekend)))
    assert len(part.series) == 0


def failing(server, answer, symbol="NVDA", waits=None, timeout=3.0):
    server.stocks["NVDA"] = split_stock()
    server.always = answer
    with pytest.raises((SourceUnavailableError, SourceRefusedError)) as caught:
        list(source(server, waits, timeout).history(Asked(symbol, DAY)))
    return caught.value


def test_an_unknown_symbol_is_refused_at_once(server):
    waits = Waits()
    server.stocks["NVDA"] = split_stock()
    with pytest.raises(SourceRefusedError, match="No data found, symbol may be delisted") as caught:
        list(source(server, waits).history(Asked("NOSUCH", DAY)))
    assert "NOSUCH" in str(caught.value) and "check symbol" in str(caught.value)
    assert waits.waited == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(200, "<html><body>Yahoo is busy</body></html>"), "cannot be read"),
        (Answer(200, '{"chart": {"result": ['), "cannot be read"),
        (Answer(200, '{"chart": {"result": null, "error": null}}'), "cannot be read"),
        (Answer(200, "null"), "cannot be read"),
        (Answer(200, ""), "cannot be read"),
        (Answer(200, "Will be right back"), "DOWN"),
        (Answer(503, "<html>unavailable</html>"), "HTTP 503"),
        (Answer(401, '{"finance": {"error": {"code": "Unauthorized"}}}'), "HTTP 401"),
        (Answer(200, '{"chart": {"result": null, "error": null}}' + " " * 5000, half=True), "connection failed"),
    ],
)
def test_garbage_and_half_answers_are_never_taken_for_no_bars(server, answer, words):
    caught = failing(server, answer)
    assert isinstance(caught, SourceUnavailableError)
    assert words in str(caught) and "1d bars of NVDA" in str(caught)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda result: result["indicators"]["quote"][0]["close"].pop(),  # lists of different lengths
        lambda result: result["timestamp"].pop(),
        lambda result: result.pop("timestamp"),
        lambda result: result["indicators"].pop("quote"),
        lambda result: result["meta"].pop("exchangeTimezoneName"),
        lambda result: result["indicators"]["quote"][0].update(close=["x"] * len(result["timestamp"])),
    ],
)
def test_charts_that_lack_a_piece_are_never_taken_for_no_bars(server, spoil):
    server.stocks["NVDA"] = split_stock()
    server.change = lambda chart: spoil(chart["chart"]["result"][0])
    with pytest.raises(SourceUnavailableError, match="cannot be read"):
        list(source(server).history(Asked("NVDA", DAY)))


def test_a_server_that_never_answers_is_given_up_after_the_time_out(server):
    caught = failing(server, Answer(hang=True), timeout=0.3)
    assert isinstance(caught, SourceUnavailableError)
    assert "did not answer within 0.3 s" in str(caught)


def test_a_server_that_is_not_there_is_said():
    with YahooServer() as gone:
        address = gone.address
    with pytest.raises(SourceUnavailableError, match="connection failed"):
        list(YahooSource(address=address, clock=Waits().clock).history(Asked("NVDA", DAY)))


def test_too_many_requests_waits_as_long_as_yahoo_asks_and_goes_on(server):
    server.stocks["NVDA"] = split_stock()
    server.unusual = [Answer(429, "Too Many Requests", {"Retry-After": "3"})]
    waits = Waits()
    parts, actions = whole(source(server, waits).history(Asked("NVDA", DAY)))
    assert [len(part.series) for part in parts] == [0, 0, 0, 18]
    assert "HTTP 429" in parts[0].problems[0] and "Asked again in 3 s" in parts[0].problems[0]
    assert parts[1].problems == [] and len(actions) == 3
    assert waits.waited == [1.0, 1.0, 1.0]
    assert len(server.charts) == 2, "at a 429 nothing is asked again before the wait"


def test_a_long_wait_is_left_to_the_caller(server):
    waits = Waits()
    caught = failing(server, Answer(429, "", {"Retry-After": "3600"}), waits=waits)
    assert isinstance(caught, SourceUnavailableError) and caught.retry_after_seconds == 3600.0
    assert waits.waited == []


def test_without_retry_after_the_waits_double_and_end(server):
    waits = Waits()
    caught = failing(server, Answer(429, ""), waits=waits)
    assert caught.retry_after_seconds is None
    assert sum(waits.waited) == 15 + 30 + 60


def test_a_crumb_that_is_refused_does_not_keep_bars_away(server):
    server.stocks["NVDA"] = split_stock()
    server.crumb = Answer(429, "Too Many Requests")
    (part,), _ = whole(source(server).history(Asked("NVDA", DAY)))
    assert len(part.series) == 18
    assert "crumb" not in server.charts[0][1]


def test_an_answer_about_the_past_is_not_remembered_when_it_was_bad(server):
    # yfinance keeps answers about the past, bad ones too
    server.stocks["NVDA"] = split_stock()
    server.unusual = [Answer(200, "garbage")]
    parts, _ = whole(source(server).history(Asked("NVDA", DAY, end=datetime(2024, 6, 1, tzinfo=UTC))))
    assert len(parts[-1].series) == 9 + 1  # 20 to 31 May


@pytest.mark.parametrize("asked", [Asked("NVDA", 7), Asked("../../etc", DAY), Asked("", DAY)])
def test_what_yahoo_cannot_have_is_refused_without_asking(server, asked):
    with pytest.raises(SourceRefusedError):
        list(source(server).history(asked))
    assert server.asked == []


@settings(max_examples=50, deadline=None)
@given(
    st.lists(st.floats(1, 900).map(lambda price: round(price, 2)), min_size=5, max_size=20),
    st.lists(
        st.tuples(st.integers(1, 19), st.sampled_from([2.0, 1.5, 7.0, 20.0, 0.1])), max_size=3, unique_by=lambda s: s[0]
    ),
)
def test_undoing_what_yahoo_does_gives_what_was_traded_and_paid(traded, splits):
    first, close = date(2024, 1, 1), np.array(traded)
    time = day_start(first, UTC) + np.arange(close.size) * DAY
    actions = [Action(first + timedelta(days=n), SPLIT, ratio) for n, ratio in splits]
    paid = Action(first + timedelta(days=2), DIVIDEND, 0.84)
    # Yahoo: everything before a split divided by it, as 32-bit floats; volume multiplied
    ratio = np.array([np.prod([r for n, r in splits if day < n]) for day in range(close.size)])
    sent, volume = (close / ratio).astype(np.float32).astype(np.float64), 4200.0 * ratio
    listed = Action(paid.ex_date, DIVIDEND, round(0.84 / float(ratio[2]), 6))
    undone = undo_splits(BarSeries(time, sent, sent, sent, sent, volume), actions, UTC)
    np.testing.assert_allclose(undone.close, close, rtol=2e-7)
    np.testing.assert_allclose(undone.volume, 4200.0)
    assert as_paid([listed], actions)[0].value == pytest.approx(0.84, rel=1e-3)


def test_apple_s_history_comes_out_as_it_was_traded():
    """The reference file has Yahoo's adjusted prices; what was traded is known from newspapers of the day."""
    bars = shared_data.bars(shared_data.daily("AAPL"))
    splits = [("1987-06-16", 2), ("2000-06-21", 2), ("2005-02-28", 2), ("2014-06-09", 7), ("2020-08-31", 4)]
    actions = [Action(date.fromisoformat(day), SPLIT, float(ratio)) for day, ratio in splits]
    assert in_prices(bars, actions, UTC) == (actions, [])
    undone = undo_splits(bars, actions, UTC)
    closes = {
        f"{datetime.fromtimestamp(t, UTC):%Y-%m-%d}": c for t, c in zip(undone.time.tolist(), undone.close, strict=True)
    }
    # First day of trading, the day after the warning of 2000, the first close above 700, the day before 7:1
    known = {"1980-12-12": 28.75, "2000-09-29": 25.75, "2012-09-18": 701.91, "2014-06-06": 645.57}
    assert {day: round(float(closes[day]), 2) for day in known} == known
    assert undone.volume[0] == 2_093_900


def test_search_gives_what_the_desk_can_trade(server):
    server.quotes = [
        {"symbol": "AAPL", "longname": "Apple Inc.", "quoteType": "EQUITY", "exchange": "NMS", "exchDisp": "NASDAQ"},
        {"symbol": "^VIX", "shortname": "CBOE Volatility Index", "quoteType": "INDEX", "exchange": "WCB"},
        {"symbol": "BTC-EUR", "shortname": "Bitcoin EUR", "quoteType": "CRYPTOCURRENCY", "exchange": "CCC"},
        {"symbol": "HSBA.L", "longname": "HSBC", "quoteType": "EQUITY", "exchange": "LSE"},
        {"symbol": "AAPL250117C00200000", "quoteType": "OPTION", "exchange": "OPR"},
        {"symbol": "XX.YY", "quoteType": "EQUITY", "exchange": "???"},
        {"name": "a company without a symbol"},
    ]
    found = source(server).search("apple", 10)
    assert [(f.symbol, f.asset_class, f.calendar, f.currency) for f in found] == [
        ("AAPL", "stock", "XNYS", "USD"),
        ("^VIX", "index", "XNYS", "USD"),
        ("BTC-EUR", "crypto", "24/7", "EUR"),
        ("HSBA.L", "stock", "XLON", "GBp"),
    ]
    assert found[0].name == "Apple Inc." and found[0].exchange == "NASDAQ"
    assert server.asked[-1][1]["q"] == "apple" and server.asked[-1][1]["newsCount"] == "0"
    assert source(server).search("  ") == []


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (Answer(500, '{"finance": {"result": null, "error": {"code": "internal"}}}'), "HTTP 500"),
        (Answer(200, "<html>"), "cannot be read"),
        (Answer(200, "{}"), "cannot be read"),
        (Answer(429, ""), "HTTP 429"),
    ],
)
def test_a_search_that_failed_is_not_nothing_found(server, answer, words):
    server.always = answer
    with pytest.raises(SourceUnavailableError, match=words):
        source(server).search("apple")


def test_nothing_of_ours_stays_in_yfinance(server, tmp_path):
    server.stocks["NVDA"] = split_stock()
    shared, hidden = SingletonMeta._instances.get(YfData), YfConfig.debug.hide_exceptions
    ours = YahooSource(address=server.address, folder=tmp_path / "yahoo", clock=Waits().clock)
    list(ours.history(Asked("NVDA", DAY)))
    with pytest.raises(SourceRefusedError):
        list(ours.history(Asked("NOSUCH", DAY)))
    assert SingletonMeta._instances.get(YfData) is shared
    assert YfConfig.debug.hide_exceptions is hidden
    assert YfData.cache_get.cache_info().currsize == 0
    assert (tmp_path / "yahoo").is_dir()
    # Without an address the library's own addresses are asked.
    session = YahooSource().client
    with session.using() as data:
        assert (
            data._session._sent_to(f"{yfinance.const._BASE_URL_}/v8/x?a=1") == f"{yfinance.const._BASE_URL_}/v8/x?a=1"
        )
