"""A live stream's process with the real client of the bridge, and of a crypto exchange, against servers on loopback.

The stream's clock is the test's: the server's script moves it on. The feed of the bridge has the computer's clock and
leaves out what closed before it began, so minute 0 of a test is the computer's next one.
"""

import asyncio
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.bridge.client import Patience
from core.bridge.stream import StreamPatience
from core.models import Event
from core.notices import notify
from core.tests.bridge_answers import bars
from core.tests.bridge_server import TOKEN, BridgeServer, Talk, bridge_server
from marketdata import fetch_job, replay
from marketdata.live import Live
from marketdata.models import Bar, Stream, Tick
from marketdata.queries import load_bars
from marketdata.sources.base import Source
from marketdata.sources.bridge import BridgeSource, HistoryPatience
from marketdata.sources.ccxt_live import LivePatience
from marketdata.sources.ccxt_source import CcxtSource, RestPatience
from marketdata.tests.ccxt_server import ExchangeServer, exchange_server, hear, rows, say, wait_for_end
from marketdata.tests.stream_world import FakeJob, make_instrument
from marketdata.tests.test_ccxt_live import kraken_bars, kraken_trade

pytestmark = pytest.mark.django_db

MINUTE = timedelta(minutes=1)


class Market:
    """The stream's clock in minutes after `zero`, and what the stream has told."""

    def __init__(self, zero: datetime) -> None:
        self.zero, self.now = zero, zero
        self.told: list[int] = []  # minutes whose bar was announced, in order
        self.problem = ""  # the last one that stood on the row

    def at(self, minute: int, second: float = 0.0) -> None:
        """Move the clock on."""
        self.now = self.zero + minute * MINUTE + timedelta(seconds=second)

    def moment(self, minute: int) -> datetime:
        return self.zero + minute * MINUTE

    def note(self, kind: str, **ids: Any) -> None:
        """Instead of the notice of a bar: by then the bar is stored and the cursor stands on it."""
        notify(kind, **ids)
        cursor = Stream.objects.get(pk=ids["stream"]).cursor
        assert kind == "bar" and cursor is not None
        assert Bar.objects.filter(instrument=ids["instrument"], interval_seconds=60, time=cursor).exists()
        self.told.append(int((cursor - self.zero) / MINUTE))

    async def until(self, is_so: Callable[[], bool]) -> None:
        """Wait in a server's script; a stream that never gets there ends by FakeJob's time."""
        for _ in range(2000):
            if is_so():
                return
            await asyncio.sleep(0.01)


@pytest.fixture
def market(monkeypatch: pytest.MonkeyPatch) -> Market:
    now = int(time.time())
    made = Market(datetime.fromtimestamp(now - now % 60 + 60, UTC))
    monkeypatch.setattr(replay, "notify", made.note)
    monkeypatch.setattr(fetch_job, "FIRST_WAIT_SECONDS", 0.02)
    return made


@pytest.fixture
def server() -> Iterator[BridgeServer]:
    with bridge_server() as running:
        yield running


def bridge(server: BridgeServer) -> BridgeSource:
    return BridgeSource(
        server.address,
        TOKEN,
        patience=Patience(read=2.0, history_read=2.0, first_wait=0.01, longest_wait=0.02),
        stream_patience=StreamPatience(opening=10.0, poll=0.05, first_wait=0.02, longest_wait=0.1),
        history_patience=HistoryPatience(n_waits=2, fill_delay=0.05),
    )


def make_stream(market: Market, symbol: str, source: str, *, cursor: int) -> Stream:
    stream = Stream.objects.create(
        name="live", source=source, interval_seconds=60, desired_state="running",
        from_time=market.moment(cursor), cursor=market.moment(cursor),
    )  # fmt: skip
    stream.instruments.add(make_instrument(symbol))
    return stream


def run(market: Market, stream: Stream, source: Source, *, last: int) -> FakeJob:
    """Until the bar of minute `last` is announced."""

    def is_over() -> bool:
        market.problem = Stream.objects.get(pk=stream.pk).progress.get("problem") or market.problem
        return last in market.told

    job = FakeJob(stream, is_over)
    Live(job, source=source, now=lambda: market.now).run()  # type: ignore[arg-type]
    stream.refresh_from_db()
    return job


def history(market: Market, first: int, last: int) -> list[dict[str, Any]]:
    """The bridge's bars of these minutes: each closes at 101 for minute `first`, and 1 more for every one after."""
    return bars(market.moment(first), last - first + 1, 60)


def live(market: Market, minute: int, close: str = "500") -> dict[str, Any]:
    """The bridge's bar of a minute with a close that tells it from history's."""
    [bar] = bars(market.moment(minute), 1, 60)
    return bar | {"close": close, "high": close}


def closes(market: Market, stream: Stream) -> dict[int, float]:
    [instrument] = stream.instruments.all()
    series = load_bars(instrument.pk, 60)
    minutes = (series.time - int(market.zero.timestamp())) // 60
    return dict(zip(minutes.tolist(), series.close.tolist(), strict=True))


def test_the_gap_comes_from_the_bridges_history_and_then_what_its_socket_brings(server: BridgeServer, market: Market):
    server.desk.bars = history(market, -4, -1)

    async def script(talk: Talk) -> None:
        await talk.welcome()
        await talk.bar("s0", live(market, 0, "500"))  # at once: it must not overtake the gap
        at = (market.moment(1) + timedelta(seconds=5)).strftime("%Y-%m-%dT%H:%M:%S.000250Z")
        await talk.trade("s0", 11, "101.25", "100", time=at)
        await talk.say("quote", id="s0", con_id=265598, time=at, number=12, bid="101.24", bid_size="300",
                       ask="101.26", ask_size="200", exchange="NASDAQ")  # fmt: skip
        await market.until(lambda: 0 in market.told)
        market.at(2, 3)
        await talk.bar("s0", live(market, 1, "501"))
        await talk.until_gone()

    server.scripts.append(script)
    market.at(1, 10)
    stream = make_stream(market, "AAPL", "bridge", cursor=-4)
    job = run(market, stream, bridge(server), last=1)
    assert market.told == [-3, -2, -1, 0, 1], "every minute, once, in order"
    assert closes(market, stream) == {-3: 102.0, -2: 103.0, -1: 104.0, 0: 500.0, 1: 501.0}
    assert set(Bar.objects.values_list("source", flat=True)) == {"bridge"}
    assert list(Tick.objects.order_by("sequence").values_list("sequence", "price")) == [(11, 101.25), (12, None)]
    assert (stream.progress["n_bars"], stream.progress["n_ticks"], stream.progress["problem"]) == (5, 2, "")
    assert stream.cursor == market.moment(1) and job.beats[-1] == ("stopped", "the desk was shut down")
    assert not Event.objects.exists(), "nothing went wrong, so nothing is told"


def test_a_socket_that_closes_is_told_on_the_row_and_loses_no_bar(server: BridgeServer, market: Market):
    async def breaks(talk: Talk) -> None:
        await talk.welcome()
        await talk.bar("s0", live(market, 0, "500"))
        await market.until(lambda: 0 in market.told)
        server.desk.bars = history(market, 0, 2)
        market.at(3, 30)  # minutes 1 and 2 close while nobody listens
        await talk.close()

    async def goes_on(talk: Talk) -> None:
        await market.until(lambda: bool(market.problem))
        await talk.welcome()
        market.at(4, 3)
        await talk.bar("s0", live(market, 3, "503"))
        await talk.until_gone()

    server.scripts.extend([breaks, goes_on])
    market.at(1, 3)
    stream = make_stream(market, "AAPL", "bridge", cursor=-1)
    job = run(market, stream, bridge(server), last=3)
    assert market.told == [0, 1, 2, 3], "every minute, once, in order"
    assert closes(market, stream) == {0: 500.0, 1: 102.0, 2: 103.0, 3: 503.0}
    lost = "the bridge's stream is down: the connection was closed (failed)"
    assert market.problem.startswith(lost) and stream.progress["problem"] == ""
    assert [state for state, reason in job.beats if reason.startswith(lost)] == ["waiting"]
    told = Event.objects.order_by("id").values_list("kind", "level")
    assert list(told) == [("stream.trouble", Event.Level.ATTENTION), ("stream.recovered", Event.Level.INFO)]
    assert server.n_connections == 2, "the source connects again itself; the stream keeps it"


def test_a_bar_that_history_does_not_know_yet_is_asked_for_again(server: BridgeServer, market: Market):
    """Started half a second after minute -1 has closed: the gateway's history has it only a few seconds later."""
    server.desk.bars = history(market, -3, -2)

    def n_asked() -> int:
        return sum("/bars" in path for _, path in server.requests)

    async def script(talk: Talk) -> None:
        await talk.welcome()
        await market.until(lambda: -2 in market.told)
        server.desk.bars = history(market, -3, -1)
        market.at(1, 3)
        await talk.bar("s0", live(market, 0))  # it must not overtake the one before
        await talk.until_gone()

    server.scripts.append(script)
    market.at(0, 0.5)
    stream = make_stream(market, "AAPL", "bridge", cursor=-3)
    run(market, stream, bridge(server), last=0)
    assert market.told == [-2, -1, 0]
    assert closes(market, stream) == {-2: 102.0, -1: 103.0, 0: 500.0} and n_asked() == 2


def test_a_crypto_exchange_fills_the_gap_and_then_brings_trades_and_bars(market: Market):
    zero = market.zero = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)  # kraken_trade is a quarter of a second later
    market.at(0, 20)
    start = int(zero.timestamp())

    async def kraken(server: ExchangeServer, receive: Any, send: Any) -> None:
        for _ in range(2):
            await hear(server, receive)
        await say(send, kraken_trade(7, 101.5))
        await say(send, kraken_bars(rows(start, 1)))
        await market.until(lambda: -1 in market.told)
        market.at(1, 20)
        await say(send, kraken_bars(rows(start + 60, 1)))  # the next one has begun: minute 0 has closed
        await wait_for_end(server, receive, send)

    with exchange_server() as exchange:
        exchange.bars[60] = rows(start - 180, 3)  # minutes -3 to -1, closing at 101, 102 and 103
        exchange.scripts.append(kraken)
        source = CcxtSource(
            "kraken",
            address=exchange.address,
            patience=RestPatience(timeout=2.0, pause=0.001),
            live_patience=LivePatience(poll=0.1, grace=0.1, first_wait=0.05, longest_wait=0.1),
            clock=lambda: market.now.timestamp(),
        )
        stream = make_stream(market, "BTC/USD", "ccxt", cursor=-3)
        run(market, stream, source, last=0)
    assert market.told == [-2, -1, 0]
    assert closes(market, stream) == {-2: 102.0, -1: 103.0, 0: 101.0}
    assert list(Tick.objects.values_list("sequence", "price", "size")) == [(7, 101.5, 0.25)]
    assert (stream.progress["n_bars"], stream.progress["problem"]) == (3, "")
