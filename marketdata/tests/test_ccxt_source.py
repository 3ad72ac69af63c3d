"""History and search through the real ccxt, against exchanges on loopback."""

import sys
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from core.tests.bridge_server import garbage, half, respond, silent
from marketdata.sources.base import Asked, SourceError, SourceRefusedError, SourceUnavailableError
from marketdata.sources.ccxt_source import CcxtSource, RestPatience
from marketdata.tests.ccxt_server import ExchangeServer, exchange_server, rows
from marketdata.tests.raw_server import RawServer, http

START = datetime(2024, 3, 4, tzinfo=UTC)
T0 = int(START.timestamp())
MINUTE, DAY = 60, 86_400


@pytest.fixture
def server() -> Iterator[ExchangeServer]:
    with exchange_server() as running:
        yield running


def source(server: ExchangeServer, exchange: str = "bitstamp") -> CcxtSource:
    return CcxtSource(
        exchange,
        address=server.address,
        patience=RestPatience(timeout=0.5, pause=0.001, first_wait=0.01, longest_wait=0.02),
    )


def too_many(send: Any) -> Any:
    return respond(send, 429, b'{"slow": "down"}', {"Content-Type": "application/json", "Retry-After": "30"})


def not_found(send: Any) -> Any:
    return respond(send, 404, b"not here", {"Content-Type": "text/plain"})


def kraken_error(words: str) -> Any:
    def answer(send: Any) -> Any:
        return respond(send, 200, b'{"error": ["' + words.encode() + b'"]}', {"Content-Type": "application/json"})

    return answer


def test_history_comes_page_by_page_in_seconds_and_coins(server: ExchangeServer):
    server.bars[MINUTE] = rows(T0, 2500)
    asked = Asked("BTC/USD", MINUTE, start=START, end=START + timedelta(minutes=2500))
    parts = list(source(server).history(asked))
    assert [len(part.series) for part in parts] == [1000, 1000, 500]
    # after the pages the next bar asked for is 1000, 2000 and 2500 minutes from the start
    np.testing.assert_allclose([part.done for part in parts], [0.4, 0.8, 1.0])
    times = np.concatenate([part.series.time for part in parts])
    np.testing.assert_array_equal(times, T0 + 60 * np.arange(2500))
    assert parts[0].series.volume[3] == 3.5 and parts[0].series.high[0] == 101.5
    assert [query["start"] for query in server.asked] == [str(T0), str(T0 + 60_000), str(T0 + 120_000)]


def test_the_bar_that_has_not_closed_is_left_out(server: ExchangeServer):
    first = int(time.time()) // DAY * DAY - 2 * DAY
    server.bars[DAY] = rows(first, 3, DAY)  # two days that have ended, and today
    [part] = source(server).history(Asked("BTC/USD", DAY, start=datetime.fromtimestamp(first, UTC)))
    assert part.series.time.tolist() == [first, first + DAY] and part.done == 1.0


def test_without_a_start_history_begins_where_the_exchange_begins(server: ExchangeServer):
    server.bars[DAY] = rows(T0, 2, DAY)
    server.bars[3600] = rows(T0 + 7200, 10, 3600)
    parts = list(source(server).history(Asked("BTC/USD", 3600, end=START + timedelta(days=1))))
    assert np.concatenate([part.series.time for part in parts]).tolist() == [T0 + 7200 + 3600 * k for k in range(10)]
    assert len(server.asked) < 10  # thirteen years of hours would be more than a hundred empty pages


def test_years_before_a_listing_are_passed_over(server: ExchangeServer):
    server.bars[DAY] = rows(T0, 2, DAY)
    server.bars[MINUTE] = rows(T0, 10)
    long_ago = START - timedelta(days=3000)
    parts = list(source(server).history(Asked("BTC/USD", MINUTE, start=long_ago, end=START + timedelta(minutes=10))))
    assert sum(len(part.series) for part in parts) == 10 and len(server.asked) < 10
    assert "only from 2024-03-04 00:00:00 UTC on" in parts[-1].problems[0]


def test_an_exchange_that_keeps_only_the_last_bars_says_so(server: ExchangeServer):
    # Kraken gives the last 720 bars, so 280 of 1000 are missing and the first is 280 minutes late.
    server.bars[MINUTE] = rows(T0, 1000)
    asked = Asked("BTC/USD", MINUTE, start=START - timedelta(days=1), end=START + timedelta(minutes=1000))
    parts = list(source(server).history(Asked(**{**vars(asked), "options": {"exchange": "kraken"}})))
    assert sum(len(part.series) for part in parts) == 720
    assert parts[0].series.time[0] == T0 + 280 * 60
    assert "kraken gives bars of this length only from 2024-03-04 04:40:00 UTC on" in parts[0].problems


def test_bad_bars_are_counted_with_their_reasons(server: ExchangeServer):
    listed: list[Any] = rows(T0, 4)
    listed[1] = (*listed[1][:4], -1.0, 1.0)
    listed[2] = (*listed[2][:5], "nan")
    server.bars[MINUTE] = listed
    [part] = source(server).history(Asked("BTC/USD", MINUTE, start=START, end=START + timedelta(minutes=4)))
    assert part.series.time.tolist() == [T0, T0 + 180] and part.n_bad == 2
    assert part.problems == ["2024-03-04 00:01:00: a price is not above 0", "2024-03-04 00:02:00: a number is missing"]


def test_a_time_without_bars_says_so(server: ExchangeServer):
    *_, part = source(server).history(Asked("BTC/USD", MINUTE, start=START, end=START + timedelta(minutes=4)))
    assert len(part.series) == 0 and part.done == 1.0
    assert part.problems == ["bitstamp has no closed bars of BTC/USD in this time"]


@pytest.mark.parametrize(
    ("exchange", "fault", "kind", "words"),
    [
        ("bitstamp", too_many, SourceUnavailableError, "asks us to slow down"),
        ("bitstamp", not_found, SourceUnavailableError, "404"),
        ("bitstamp", garbage, SourceUnavailableError, "not JSON"),
        ("bitstamp", half, SourceUnavailableError, "does not answer"),
        ("bitstamp", silent(1.0), SourceUnavailableError, "did not answer in time"),
        ("kraken", garbage, SourceUnavailableError, "kraken answered something that cannot be read|not JSON"),
        ("kraken", kraken_error("EQuery:Invalid asset pair"), SourceRefusedError, "does not know this market"),
        ("kraken", kraken_error("EAPI:Rate limit exceeded"), SourceUnavailableError, "slow down"),
        ("kraken", kraken_error("EGeneral:Invalid arguments"), SourceRefusedError, "kraken refuses"),
        ("kraken", kraken_error("EOther:something new"), SourceUnavailableError, "something new"),
    ],
)
def test_answers_that_never_come_right_are_classed_by_remedy(
    server: ExchangeServer, exchange: str, fault: Any, kind: type[SourceError], words: str
):
    server.bars[MINUTE] = rows(T0, 3)
    server.faults.extend([fault] * 3)
    with pytest.raises(kind, match=words) as caught:
        list(source(server, exchange).history(Asked("BTC/USD", MINUTE, start=START)))
    if fault is too_many:
        assert caught.value.retry_after_seconds == 30.0 and len(server.asked) == 1  # longer than we wait ourselves
    elif kind is SourceUnavailableError:
        assert len(server.asked) == 3
    else:
        assert len(server.asked) == 1


@pytest.mark.parametrize("fault", [not_found, garbage, half, silent(1.0)])
def test_a_failure_that_passes_costs_nothing(server: ExchangeServer, fault: Any):
    server.bars[MINUTE] = rows(T0, 3)
    server.faults.append(fault)
    asked = Asked("BTC/USD", MINUTE, start=START, end=START + timedelta(minutes=3))
    [part] = source(server).history(asked)
    assert len(part.series) == 3 and len(server.asked) == 2


def test_a_search_finds_spot_markets_with_the_best_first(server: ExchangeServer):
    found = source(server).search("btc")
    # the base asked for, in dollars, then the rest; WBTC/BTC is priced in a coin, the perpetual is no spot market
    assert [(one.symbol, one.currency) for one in found] == [
        ("BTC/USD", "USD"),
        ("BTC/EUR", "EUR"),
        ("BTC/USDT", "USD"),
    ]
    assert found[0].asset_class == "crypto" and found[0].calendar == "24/7" and found[0].exchange == "bitstamp"
    assert "priced in USDT" in found[2].name
    assert source(server).search("btc", limit=1) == found[:1] and source(server).search(" ") == []
    assert [one.symbol for one in source(server, "kraken").search("BTC/USD")] == ["BTC/USD"]


def test_markets_that_do_not_come_make_the_search_unavailable(server: ExchangeServer):
    server.market_faults.extend([not_found] * 3)
    with pytest.raises(SourceUnavailableError, match="bitstamp cannot be reached or does not answer"):
        source(server).search("BTC")


def test_what_can_never_work_is_refused(server: ExchangeServer):
    for asked, words in (
        (Asked("BTC/XYZ", MINUTE), "bitstamp has no market BTC/XYZ"),
        (Asked("BTC/USD:USD", MINUTE), "only spot markets"),
        (Asked("BTC/USD", 7), "no bars of 7 s, expected one of 60, 180, 300"),
        (Asked("BTC/USD", 180, options={"exchange": "kraken"}), "no bars of 180 s, expected one of 60, 300, 900"),
        (Asked("BTC/USD", MINUTE, options={"exchange": "mtgox"}), "no exchange 'mtgox'"),
    ):
        with pytest.raises(SourceRefusedError, match=words):
            list(source(server).history(asked))


def test_without_the_package_the_refusal_says_how_to_install_it(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setitem(sys.modules, "ccxt", None)
    with pytest.raises(SourceRefusedError, match=r"pip install -c constraints\.txt ccxt"):
        CcxtSource().search("BTC")


def test_an_answer_that_drips_is_given_up_in_time():
    """A byte in 20 ms: the 200 bytes of the body take 4 s, and none of them is late."""
    with RawServer(lambda path: http("[" + " " * 200 + "]"), pause=0.02) as server:
        began = time.monotonic()
        with pytest.raises(SourceUnavailableError, match="did not answer in time"):
            CcxtSource(address=server.address, patience=RestPatience(timeout=0.5, pause=0.001, n_tries=1)).search("BTC")
        assert time.monotonic() - began < 4.0  # the head takes 2 s


def test_a_bar_of_a_far_year_does_not_end_the_fetch(server: ExchangeServer, monkeypatch: pytest.MonkeyPatch):
    """Page one of two ends with a bar of the year 2340: what is after the page is asked for all the same."""
    server.bars[MINUTE] = rows(T0, 1500)
    usual = CcxtSource.fetch

    def odd(*given: Any) -> Any:
        found = usual(*given)
        return [*found, (T0 + 10**10, *found[0][1:])] if len(found) == 1000 else found

    monkeypatch.setattr(CcxtSource, "fetch", odd)
    parts = list(source(server).history(Asked("BTC/USD", MINUTE, start=START, end=START + timedelta(minutes=1500))))
    assert [len(part.series) for part in parts] == [1000, 500]


def test_a_wait_of_ages_is_not_believed(server: ExchangeServer):
    server.market_faults.append(respond_with("9" * 400))
    with pytest.raises(SourceUnavailableError) as caught:
        source(server).search("BTC")
    assert caught.value.retry_after_seconds == 86_400.0


def respond_with(retry_after: str) -> Any:
    def answer(send: Any) -> Any:
        return respond(send, 429, b"{}", {"Content-Type": "application/json", "Retry-After": retry_after})

    return answer
