"""Live feeds through the real ccxt.pro, against WebSockets on loopback that speak like Kraken and Bitstamp."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pytest

from marketdata.sources.base import Asked, SourceRefusedError, Update
from marketdata.sources.ccxt_live import LivePatience, batch_of
from marketdata.sources.ccxt_source import CcxtSource, RestPatience
from marketdata.tests.ccxt_server import ExchangeServer, exchange_server, hear, rows, say, wait_for_end

MINUTE = 60
NOW = 1_772_461_800  # 2026-03-02 14:30:00 UTC: the minute in which every test happens
N_MOST = 300  # updates: some thirty seconds end a test


@pytest.fixture
def server() -> Iterator[ExchangeServer]:
    with exchange_server() as running:
        yield running


def followed(
    server: ExchangeServer,
    until: Callable[[list[Update]], bool],
    *,
    exchange: str = "kraken",
    symbol: str = "BTC/USD",
    interval: int = MINUTE,
    patience: LivePatience | None = None,
    second: float = 20.0,
    **options: Any,
) -> list[Update]:
    """Updates of a live feed that begins at this second of the minute, until there are enough."""
    began = time.monotonic()
    quick = patience or LivePatience(poll=0.1, grace=0.1, first_wait=0.05, longest_wait=0.1)
    rest = RestPatience(timeout=1.0, pause=0.001)
    source = CcxtSource(
        exchange,
        address=server.address,
        patience=rest,
        live_patience=quick,
        clock=lambda: NOW + second + time.monotonic() - began,
    )
    found: list[Update] = []
    updates = source.live([Asked(symbol, interval, options=options)])
    for n, update in enumerate(updates):
        found.append(update)
        if until(found):
            break
        assert n < N_MOST, f"only {[u for u in found if u.bars or u.ticks or u.problem][-5:]} came"
    updates.close()
    return found


def bars_of(found: list[Update]) -> list[tuple[int, float]]:
    return [
        (int(at), float(volume))
        for update in found if "BTC/USD" in update.bars
        for at, volume in zip(update.bars["BTC/USD"].time, update.bars["BTC/USD"].volume, strict=True)
    ]  # fmt: skip


def n_ticks(found: list[Update]) -> int:
    return sum(len(batch) for update in found for batch in update.ticks.values())


def problems(found: list[Update]) -> str:
    return " | ".join(update.problem for update in found if update.problem)


def kraken_bars(listed: list[Any]) -> dict[str, Any]:
    data = [
        {"symbol": "BTC/USD", "open": o, "high": h, "low": low, "close": c, "trades": 1, "volume": v, "vwap": c,
         "interval_begin": datetime.fromtimestamp(t, UTC).strftime("%Y-%m-%dT%H:%M:%S.000000000Z"), "interval": 1}
        for t, o, h, low, c, v in listed
    ]  # fmt: skip
    return {"channel": "ohlc", "type": "update", "data": data}


def kraken_trade(number: int, price: float) -> dict[str, Any]:
    trade = {"symbol": "BTC/USD", "side": "sell", "price": price, "qty": 0.25, "ord_type": "market", "trade_id": number,
             "timestamp": "2026-03-02T14:30:00.250000Z"}  # fmt: skip
    return {"channel": "trade", "type": "update", "data": [trade]}


def test_kraken_gives_trades_and_the_bars_that_have_closed(server: ExchangeServer):

    async def kraken(server: ExchangeServer, receive: Any, send: Any) -> None:
        for _ in range(2):
            await hear(server, receive)
        await say(send, kraken_trade(7, 101.5))
        await say(send, kraken_bars(rows(NOW - 120, 2)))  # the past, as Kraken's snapshot has it
        await say(send, kraken_bars(rows(NOW, 1)))
        await say(send, kraken_bars([(NOW, 100.0, 103.0, 99.0, 102.0, 9.5)]))  # the same bar has gone on
        await say(send, kraken_bars(rows(NOW + 60, 1)))  # the next one: the one before has closed
        await wait_for_end(server, receive, send)

    server.scripts.append(kraken)
    found = followed(server, lambda so_far: bool(bars_of(so_far)) and n_ticks(so_far) > 0)
    # Only the bar that was open when the feed began, as it stood last, and not the one that is still open.
    assert bars_of(found) == [(NOW, 9.5)]
    [batch] = [update.ticks["BTC/USD"] for update in found if update.ticks]
    moment = datetime(2026, 3, 2, 14, 30, tzinfo=UTC).timestamp()
    assert batch.time.tolist() == [int(moment) * 1_000_000 + 250_000]
    assert (batch.price[0], batch.size[0], batch.sequence[0], batch.condition[0]) == (101.5, 0.25, 7, b"sell")
    channels = sorted(message["params"]["channel"] for message in server.heard)
    assert channels == ["ohlc", "trade"] and not problems(found)


def test_ticks_can_be_left_out(server: ExchangeServer):
    async def kraken(server: ExchangeServer, receive: Any, send: Any) -> None:
        await hear(server, receive)
        await wait_for_end(server, receive, send)

    server.scripts.append(kraken)
    followed(server, lambda so_far: bool(server.heard) and len(so_far) > 5, ticks=False)
    assert {message["params"]["channel"] for message in server.heard} <= {"ohlc"}


def test_after_a_closed_socket_missed_bars_come_by_rest(server: ExchangeServer):
    server.bars[MINUTE] = rows(NOW, 3)

    async def breaks(server: ExchangeServer, receive: Any, send: Any) -> None:
        await hear(server, receive)
        await say(send, kraken_bars(rows(NOW, 1)))
        await send({"type": "websocket.close", "code": 1011})

    async def works(server: ExchangeServer, receive: Any, send: Any) -> None:
        await hear(server, receive)
        await say(send, kraken_bars(rows(NOW + 180, 1)))
        await wait_for_end(server, receive, send)

    server.scripts.extend([breaks, works])
    found = followed(server, lambda so_far: len(bars_of(so_far)) == 3, ticks=False)
    assert [at for at, _ in bars_of(found)] == [NOW, NOW + 60, NOW + 120] and server.asked


def test_trades_may_be_missing_after_a_closed_socket_and_it_says_so(server: ExchangeServer):
    def trading(number: int, *, break_off: bool) -> Any:
        async def script(server: ExchangeServer, receive: Any, send: Any) -> None:
            for _ in range(2):
                await hear(server, receive)
            await say(send, kraken_trade(number, 101.0))
            if break_off:
                await send({"type": "websocket.close", "code": 1011})
            else:
                await wait_for_end(server, receive, send)

        return script

    server.scripts.extend([trading(1, break_off=True), trading(2, break_off=False)])
    found = followed(server, lambda so_far: n_ticks(so_far) == 2)
    numbers = [int(number) for update in found for batch in update.ticks.values() for number in batch.sequence]
    assert numbers == [1, 2] and "trades of BTC/USD" in problems(found)


def test_a_socket_that_says_nothing_is_replaced_by_rest(server: ExchangeServer):
    server.bars[MINUTE] = rows(NOW, 2)
    patience = LivePatience(poll=0.1, grace=0.1, first_wait=0.05, longest_wait=0.1, silence=0.3)
    found = followed(server, lambda so_far: len(bars_of(so_far)) == 1, patience=patience, ticks=False)
    assert [at for at, _ in bars_of(found)] == [NOW]  # the second one is open


def test_bitstamp_has_no_bars_on_its_socket_and_is_asked_by_rest(server: ExchangeServer):
    server.bars[MINUTE] = rows(NOW, 2)
    began = time.monotonic()

    def clock() -> float:
        return NOW + 57.0 + time.monotonic() - began  # the bar ends in three seconds

    async def bitstamp(server: ExchangeServer, receive: Any, send: Any) -> None:
        await hear(server, receive)
        trade = {"id": 5, "amount": 0.5, "amount_str": "0.5", "price": 100.5, "price_str": "100.5", "type": 0}
        when = {"timestamp": "1772461800", "microtimestamp": "1772461800250000", "buy_order_id": 1, "sell_order_id": 2}
        await say(send, {"event": "trade", "channel": "live_trades_btcusd", "data": {**trade, **when}})
        await wait_for_end(server, receive, send)

    server.scripts.append(bitstamp)
    found = followed(
        server, lambda so_far: bool(bars_of(so_far)) and n_ticks(so_far) > 0, exchange="bitstamp", second=57.0
    )
    assert bars_of(found)[0] == (NOW, 0.5)
    assert server.heard == [{"event": "bts:subscribe", "data": {"channel": "live_trades_btcusd"}}]


@pytest.mark.parametrize("text", ["{half", '{"channel": "trade", "data": [{}]}', "[]"])
def test_garbage_on_the_socket_does_not_end_the_feed(server: ExchangeServer, text: str):
    async def garbled(server: ExchangeServer, receive: Any, send: Any) -> None:
        await hear(server, receive)
        await hear(server, receive)
        await say(send, text)
        await say(send, kraken_trade(8, 102.0))
        await wait_for_end(server, receive, send)

    async def works(server: ExchangeServer, receive: Any, send: Any) -> None:
        await hear(server, receive)
        await hear(server, receive)
        await say(send, kraken_trade(9, 102.0))
        await wait_for_end(server, receive, send)

    server.scripts.extend([garbled, works])
    found = followed(server, lambda so_far: n_ticks(so_far) > 0)
    assert n_ticks(found) >= 1  # over the same connection or the next


def test_a_market_that_is_not_there_ends_the_feed(server: ExchangeServer):
    with pytest.raises(SourceRefusedError, match="kraken has no market BTC/XYZ"):
        followed(server, lambda so_far: False, symbol="BTC/XYZ")
    with pytest.raises(SourceRefusedError, match="no bars of 180 s"):
        followed(server, lambda so_far: False, interval=180)


def test_one_stream_reads_one_exchange(server: ExchangeServer):
    asked = [Asked("BTC/USD", MINUTE), Asked("BTC/USD", MINUTE, options={"exchange": "kraken"})]
    with pytest.raises(SourceRefusedError, match="one exchange, not 2: bitstamp, kraken"):
        next(iter(CcxtSource(address=server.address).live(asked)))


def test_an_exchange_that_does_not_run_is_a_problem_that_may_pass():
    with exchange_server() as gone:
        pass
    found = followed(gone, lambda so_far: problems(so_far).count("markets:") >= 3)
    assert "cannot be reached" in problems(found) and all(not update.bars for update in found)


def test_trades_without_numbers_are_left_out():
    trades = [
        {"timestamp": 1000, "price": 2.0, "amount": 3.0, "id": "x-1", "side": None},
        {"timestamp": None, "price": 2.0, "amount": 3.0},
        {"timestamp": 1000, "price": None, "amount": 3.0},
    ]
    batch = batch_of(trades)
    assert len(batch) == 1 and batch.sequence[0] == 0 and batch.time[0] == 1_000_000
    np.testing.assert_array_equal(batch_of([]).price, [])
