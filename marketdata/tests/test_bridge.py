"""The bridge as a source, against a bridge on loopback that keeps the contract."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from core.bridge.client import Patience
from core.bridge.stream import StreamPatience
from core.tests import bridge_server as faults
from core.tests.bridge_answers import AAPL, NOW, Refusal, bars, problem
from core.tests.bridge_server import TOKEN, BridgeServer, Talk, bridge_server
from marketdata.sources.base import Asked, SourceRefusedError, SourceUnavailableError, Update
from marketdata.sources.bridge import BridgeSource, HistoryPatience
from marketdata.ticks.series import QUOTE, TRADE

START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
MINUTE = 60
N_MOST = 400  # updates: some twenty seconds end a test


@pytest.fixture
def server() -> Iterator[BridgeServer]:
    with bridge_server() as running:
        yield running


def source(server: BridgeServer, token: str = TOKEN) -> BridgeSource:
    return BridgeSource(
        server.address,
        token,
        patience=Patience(read=0.5, history_read=0.5, first_wait=0.01, longest_wait=0.02),
        stream_patience=StreamPatience(opening=2.0, poll=0.05, first_wait=0.02, longest_wait=0.1),
        history_patience=HistoryPatience(n_waits=2, fill_delay=0.05),
    )


def followed(server: BridgeServer, until: Callable[[list[Update]], bool], **options: Any) -> list[Update]:
    """Updates of a live feed of AAPL's minutes until there are enough."""
    found: list[Update] = []
    updates = source(server).live([Asked("AAPL", MINUTE, options=options)])
    for n, update in enumerate(updates):
        found.append(update)
        if until(found):
            break
        assert n < N_MOST, f"only {[u for u in found if u.bars or u.ticks or u.problem]} came"
    updates.close()
    return found


def bar_times(found: list[Update]) -> list[int]:
    return [int(at) for update in found if "AAPL" in update.bars for at in update.bars["AAPL"].time]


def problems(found: list[Update]) -> str:
    return " | ".join(update.problem for update in found if update.problem)


def coming_bars(n: int) -> list[dict[str, Any]]:
    """Bars of the minutes to come: later than all a feed takes for known, whenever in a minute the test runs."""
    now = int(time.time())
    return bars(datetime.fromtimestamp(now - now % MINUTE + MINUTE, UTC), n, MINUTE)


def seconds_of(bar: dict[str, Any]) -> int:
    return int(datetime.fromisoformat(bar["time"]).timestamp())


def test_a_search_spells_symbols_so_that_they_are_found_again(server: BridgeServer):
    found = source(server).search("aapl")
    assert [(one.symbol, one.currency, one.exchange, one.calendar) for one in found] == [
        ("AAPL", "USD", "NASDAQ", "XNYS"), ("AAPL@MEXI", "MXN", "MEXI", "XNYS"),
    ]  # fmt: skip
    [future] = source(server).search("NQ")
    assert (future.symbol, future.asset_class, future.calendar) == ("NQH6", "future", "CMES")


def test_history_comes_in_pages_with_its_progress(server: BridgeServer):
    server.desk.bars = bars(START, 2500, MINUTE)
    asked = Asked("AAPL", MINUTE, start=START, end=START + timedelta(minutes=2500))
    parts = list(source(server).history(asked))
    assert [len(part.series) for part in parts] == [1000, 1000, 500]
    # the last bars of the pages begin 999, 1999 and 2499 of 2500 minutes after the start; the last page is the whole
    np.testing.assert_allclose([part.done for part in parts], [999 / 2500, 1999 / 2500, 1.0])
    times = np.concatenate([part.series.time for part in parts])
    np.testing.assert_array_equal(times, int(START.timestamp()) + 60 * np.arange(2500))
    assert parts[0].series.open[2] == 102.0 and parts[0].series.volume[0] == 1000.0
    assert all(part.n_bad == 0 for part in parts)


def test_history_goes_on_when_the_bridge_has_forgotten_its_pages(server: BridgeServer):
    """A bridge that was started anew does not know the page; after the last bar there are 500 left of 1,500."""
    server.desk.bars = bars(START, 1500, MINUTE)
    usual, gone = server.desk.answer, [True]

    def forgetful(operation: str, given: dict[str, Any], body: Any) -> tuple[int, Any]:
        if "page" in given and gone and gone.pop():
            raise Refusal(410, "cursor_gone")
        return usual(operation, given, body)

    server.desk.answer = forgetful
    asked = Asked("AAPL", MINUTE, start=START, end=START + timedelta(minutes=1500))
    parts = list(source(server).history(asked))
    assert [len(part.series) for part in parts] == [1000, 500] and not any(part.n_bad for part in parts)

    gone.extend([True] * 5)  # gone again and again, without a bar between: no fetch that never ends
    server.desk.bars = bars(START, 1001, MINUTE)
    server.desk.answer = lambda operation, given, body: (
        (200, {"con_id": 1, "interval_seconds": MINUTE, "items": [], "next_page": "x"})
        if operation == "listBars" and "page" not in given
        else forgetful(operation, given, body)
    )
    with pytest.raises(SourceRefusedError, match="cursor_gone"):
        list(source(server).history(asked))


def test_bad_bars_are_counted_with_their_reasons(server: BridgeServer):
    rows = bars(START, 5, MINUTE)
    rows[1]["high"] = "1"  # below its low
    rows[2]["close"] = "-5"
    rows[4]["time"] = rows[3]["time"]
    server.desk.bars = rows
    [part] = source(server).history(Asked("AAPL", MINUTE, start=START))
    assert part.series.open.tolist() == [100.0, 103.0] and part.n_bad == 3
    assert part.problems[0].startswith("2026-03-02 14:31:00: high 1 is below low")
    assert "not above 0" in part.problems[1] and "does not come after" in part.problems[2]


def test_pacing_of_the_search_is_told_with_the_wait_asked_for(server: BridgeServer):
    server.faults.append(Refusal(429, "pacing", Retry_After="7"))
    with pytest.raises(SourceUnavailableError) as caught:
        source(server).search("AAPL")
    assert caught.value.retry_after_seconds == 7.0


def test_pacing_of_bars_is_waited_for_and_told(server: BridgeServer):
    server.desk.bars = bars(START, 3, MINUTE)
    parts = source(server).history(Asked("AAPL", MINUTE, start=START))
    search = server.desk.answer

    def paced_once(operation: str, given: dict[str, Any], body: Any) -> tuple[int, Any]:
        if operation == "listBars" and not waited:
            waited.append(True)
            raise Refusal(429, "pacing", Retry_After="1")
        return search(operation, given, body)

    waited: list[bool] = []
    server.desk.answer = paced_once
    found = list(parts)
    assert len(found[0].series) == 0 and "Waiting 1 s" in found[0].problems[0]
    assert len(found[-1].series) == 3 and found[-1].done == 1.0


def test_pacing_without_end_ends_the_fetch_with_the_wait_asked_for(server: BridgeServer):
    def paced(operation: str, given: dict[str, Any], body: Any) -> tuple[int, Any]:
        if operation == "listBars":
            raise Refusal(429, "pacing", Retry_After="1")
        return 200, {"items": [AAPL]}

    server.desk.answer = paced
    with pytest.raises(SourceUnavailableError) as caught:
        list(source(server).history(Asked("AAPL", MINUTE)))
    assert caught.value.retry_after_seconds == 1.0


@pytest.mark.parametrize("fault", [Refusal(500, "internal"), faults.half, faults.garbage, faults.silent(1.0)])
def test_answers_that_never_come_right_make_the_source_unavailable(server: BridgeServer, fault: Any):
    server.faults.extend([fault] * 3)
    with pytest.raises(SourceUnavailableError):
        source(server).search("AAPL")


def test_what_the_bridge_refuses_is_refused(server: BridgeServer):
    with pytest.raises(SourceRefusedError, match="knows no contract NOPE"):
        list(source(server).history(Asked("NOPE", MINUTE)))
    with pytest.raises(SourceRefusedError, match="no bars of 7 s"):
        list(source(server).history(Asked("AAPL", 7)))
    with pytest.raises(SourceRefusedError, match="no bars of 86400 s here"):
        next(iter(source(server).live([Asked("AAPL", 86400)])))
    with pytest.raises(SourceRefusedError, match="this is unauthorized"):
        source(server, "another-token").search("AAPL")
    with pytest.raises(SourceRefusedError, match="the bridge is not set up: set DESK_BRIDGE_ADDRESS"):
        BridgeSource().search("AAPL")


def test_a_symbol_with_two_meanings_wants_a_con_id(server: BridgeServer):
    server.desk.contracts.append({**AAPL, "con_id": 5, "primary_exchange": "ARCA"})
    server.desk.bars = bars(START, 2, MINUTE)
    with pytest.raises(SourceRefusedError, match=r"265598 .APPLE INC, NASDAQ., 5 .APPLE INC, ARCA.; name one by"):
        list(source(server).history(Asked("AAPL", MINUTE)))
    [part] = source(server).history(Asked("AAPL", MINUTE, options={"con_id": 5}))
    assert len(part.series) == 2 and ("GET", "/v1/contracts/5/bars") in server.requests


def test_live_ticks_and_bars_come_as_arrays(server: BridgeServer):
    coming = coming_bars(2)

    async def script(talk: Talk) -> None:
        await talk.welcome()
        at = "2026-03-02T14:30:00.000250Z"
        await talk.trade("s0", 11, "101.25", "100", time=at)
        await talk.say("quote", id="s0", con_id=265598, time=at, number=12, bid="101.24", bid_size="300", ask=None,
                       ask_size=None, exchange="NASDAQ-LONG")  # fmt: skip
        for bar in coming:
            await talk.bar("s0", bar)
        await talk.until_gone()

    server.scripts.append(script)
    found = followed(server, lambda so_far: len(bar_times(so_far)) == 2)
    ticks = [update.ticks["AAPL"] for update in found if update.ticks]
    kinds = np.concatenate([batch.kind for batch in ticks])
    assert kinds.tolist() == [TRADE, QUOTE]
    trade, quote = ticks[0].take(slice(0, 1)), ticks[-1].take(slice(-1, None))
    assert trade.time[0] == int(START.timestamp()) * 1_000_000 + 250
    assert (trade.price[0], trade.size[0], trade.sequence[0], trade.exchange[0]) == (101.25, 100.0, 11, b"NASDAQ")
    assert (quote.bid[0], quote.sequence[0], quote.exchange[0]) == (101.24, 12, b"NASDAQ-L") and np.isnan(quote.ask[0])
    assert bar_times(found) == [seconds_of(bar) for bar in coming]
    assert server.subscriptions[0]["channels"] == ["trades", "quotes", "bars"]
    assert server.subscriptions[0]["bar_seconds"] == MINUTE and not problems(found)


def test_bars_alone_can_be_asked_for_and_seconds_come_as_ticks(server: BridgeServer):
    found = followed(server, lambda so_far: bool(server.subscriptions), ticks=False)
    assert server.subscriptions[0]["channels"] == ["bars"] and found
    server.subscriptions.clear()
    updates = source(server).live([Asked("AAPL", 1, options={"ticks": False})])
    while not server.subscriptions:
        next(updates)
    updates.close()
    assert server.subscriptions[0]["channels"] == ["trades", "quotes"]


def test_bars_missed_while_the_socket_was_closed_are_fetched_in_order(server: BridgeServer):
    coming = coming_bars(4)
    server.desk.bars = coming[:3]

    async def breaks(talk: Talk) -> None:
        await talk.welcome()
        await talk.bar("s0", coming[0])
        await talk.close()

    async def goes_on(talk: Talk) -> None:
        await talk.welcome()
        await talk.bar("s0", coming[3])  # before history has told of the second and third
        await talk.until_gone()

    server.scripts.extend([breaks, goes_on])
    found = followed(server, lambda so_far: len(bar_times(so_far)) == 4)
    assert bar_times(found) == [seconds_of(bar) for bar in coming]
    assert "the bridge's stream is down" in problems(found) and not found[-1].problem


def test_a_gap_in_the_numbers_is_told_and_filled(server: BridgeServer):
    coming = coming_bars(3)
    server.desk.bars = coming

    async def script(talk: Talk) -> None:
        await talk.welcome()
        await talk.bar("s0", coming[0])
        talk.sequence += 2
        await talk.bar("s0", coming[2])
        await talk.until_gone()

    server.scripts.append(script)
    found = followed(server, lambda so_far: len(bar_times(so_far)) == 3)
    assert bar_times(found) == [seconds_of(bar) for bar in coming]
    assert "2 messages of the bridge were lost" in problems(found)


def test_a_bar_with_a_part_missing_is_replaced_by_history(server: BridgeServer):
    coming = coming_bars(1)
    server.desk.bars = coming

    async def script(talk: Talk) -> None:
        await talk.welcome()
        await talk.bar("s0", {**coming[0], "volume": "1"}, complete=False)
        await talk.until_gone()

    server.scripts.append(script)
    found = followed(server, lambda so_far: len(bar_times(so_far)) == 1)
    [series] = [update.bars["AAPL"] for update in found if update.bars]
    assert series.volume[0] == 1000.0  # history's, not the 1 that came live


def test_lost_data_of_the_gateway_is_filled_and_a_hole_history_cannot_fill_is_told(server: BridgeServer):
    coming = coming_bars(2)
    server.desk.bars = coming[:1]

    async def script(talk: Talk) -> None:
        await talk.welcome()
        await talk.say("status", state="degraded", reason="farm down", con_ids=[265598], data_lost=True, lost_since=NOW,
                       time=NOW)  # fmt: skip
        await talk.bar("s0", coming[1], complete=False)
        await talk.until_gone()

    server.scripts.append(script)
    found = followed(server, lambda so_far: len(bar_times(so_far)) == 2)
    assert bar_times(found) == [seconds_of(bar) for bar in coming]
    assert "the gateway is degraded: farm down" in problems(found) and "has a part missing" in problems(found)


def test_history_that_does_not_answer_does_not_stop_the_ticks(server: BridgeServer):
    coming = coming_bars(2)
    server.desk.bars = coming
    answer = server.desk.answer

    def no_bars(operation: str, given: dict[str, Any], body: Any) -> tuple[int, Any]:
        if operation == "listBars" and len(tries) < 4:
            tries.append(operation)
            raise Refusal(503, "gateway_down", Retry_After="1") if len(tries) > 1 else Refusal(500, "internal")
        return answer(operation, given, body)

    async def script(talk: Talk) -> None:
        await talk.welcome()
        await talk.bar("s0", coming[1], complete=False)
        for number in range(1, 60):
            await talk.trade("s0", number, "101")
            await talk.until_gone(0.1)

    tries: list[str] = []
    server.desk.answer = no_bars
    server.scripts.append(script)
    found = followed(server, lambda so_far: len(bar_times(so_far)) == 2)
    ticks_before = sum(len(update.ticks["AAPL"]) for update in found[:-1] if update.ticks)
    assert ticks_before > 5 and "are missing" in problems(found)
    assert bar_times(found) == [seconds_of(bar) for bar in coming]


def test_a_subscription_the_bridge_ends_ends_the_feed(server: BridgeServer):
    async def refuses(talk: Talk) -> None:
        await talk.welcome(n_subscriptions=0)
        asked = await talk.hear()
        await talk.say("error", id=asked["id"], problem=problem(403, "no_market_data_permission"), ended=True)
        await talk.until_gone()

    server.scripts.append(refuses)
    with pytest.raises(SourceRefusedError, match="ended the data of AAPL: this is no_market_data_permission"):
        followed(server, lambda so_far: False)


def test_a_silent_bridge_still_gives_updates_every_second(server: BridgeServer):
    began = time.monotonic()
    found = followed(server, lambda so_far: len(so_far) == 10)
    assert all(not update.bars and not update.ticks for update in found)
    assert time.monotonic() - began < 10  # ten updates in ten seconds or less is the interface's promise
