"""The stream of the bridge: order, gaps, silence, reconnects and messages that break the contract."""

import json
from collections.abc import Callable, Iterator
from decimal import Decimal

import pytest

from core.bridge.errors import BridgeRefusedError, BridgeSetupError
from core.bridge.stream import BridgeStream, StreamPatience
from core.bridge.stream_messages import (
    Gap,
    Lost,
    QuoteTick,
    StreamEvent,
    StreamHeartbeat,
    StreamProblem,
    StreamStatus,
    Subscribed,
    Subscription,
    TradeTick,
    Welcome,
)
from core.tests.bridge_answers import NOW, problem
from core.tests.bridge_server import TOKEN, BridgeServer, Talk, bridge_server, quiet

QUICK = StreamPatience(opening=2.0, poll=0.05, first_wait=0.02, longest_wait=0.1)
AAPL = Subscription("a", 265598, ("trades", "quotes"))
N_MOST = 400  # polls: twenty seconds of silence end a test


@pytest.fixture
def server() -> Iterator[BridgeServer]:
    with bridge_server() as running:
        yield running


def heard(server: BridgeServer, until: Callable[[list[StreamEvent]], bool], token: str = TOKEN) -> list[StreamEvent]:
    """What the stream says until there is enough."""
    found: list[StreamEvent] = []
    events = BridgeStream(server.address, token, [AAPL], patience=QUICK).events()
    for n, event in enumerate(events):
        if event is not None:
            found.append(event)
        if until(found):
            break
        assert n < N_MOST, f"only {found} came"
    events.close()
    return found


def count(kind: type, n: int) -> Callable[[list[StreamEvent]], bool]:
    return lambda found: sum(isinstance(event, kind) for event in found) >= n


def test_trades_and_quotes_come_in_order(server: BridgeServer):
    async def script(talk: Talk) -> None:
        await talk.welcome()
        await talk.trade("a", 1, "101.25", "100")
        await talk.say("quote", id="a", con_id=265598, time=NOW, number=2, bid="101.24", bid_size="300", ask=None,
                       ask_size=None, exchange="")  # fmt: skip
        await talk.say(
            "status", state="degraded", reason="farm down", con_ids=[], data_lost=True, lost_since=NOW, time=NOW
        )
        await talk.say("heartbeat", time=NOW)
        await talk.until_gone()

    server.scripts.append(script)
    found = heard(server, count(StreamHeartbeat, 1))
    kinds = [type(event) for event in found]
    assert kinds == [Welcome, Subscribed, TradeTick, QuoteTick, StreamStatus, StreamHeartbeat]
    assert found[2].price == Decimal("101.25") and found[3].ask is None and found[4].data_lost
    assert server.subscriptions == [
        {"type": "subscribe", "id": "a", "con_id": 265598, "channels": ["trades", "quotes"], "bar_seconds": None}
    ]


def test_missing_numbers_are_a_gap_of_that_many(server: BridgeServer):
    async def script(talk: Talk) -> None:
        await talk.welcome()
        await talk.trade("a", 1, "101")
        talk.sequence += 3
        await talk.trade("a", 5, "102")
        await talk.until_gone()

    server.scripts.append(script)
    found = heard(server, count(TradeTick, 2))
    assert found[-2] == Gap(3) and isinstance(found[-1], TradeTick)


def test_after_a_closed_socket_it_connects_and_subscribes_again(server: BridgeServer):
    async def breaks(talk: Talk) -> None:
        await talk.welcome()
        await talk.trade("a", 1, "101")
        await talk.close(1011, "something failed")

    async def works(talk: Talk) -> None:
        await talk.welcome()
        await talk.trade("a", 2, "102")
        await talk.until_gone()

    server.scripts.extend([breaks, works])
    found = heard(server, count(TradeTick, 2))
    assert [type(event) for event in found] == [Welcome, Subscribed, TradeTick, Lost, Welcome, Subscribed, TradeTick]
    assert "something failed" in found[3].reason and len(server.subscriptions) == 2


def test_silence_of_three_heartbeats_ends_the_connection(server: BridgeServer):
    async def mute(talk: Talk) -> None:
        await talk.welcome(heartbeat_seconds=0.1)
        await talk.until_gone()

    server.scripts.extend([mute, quiet])
    found = heard(server, count(Subscribed, 2))
    assert found[2].reason == "nothing came for 0.3 s"


def test_slow_heartbeats_in_time_keep_the_connection(server: BridgeServer):
    async def slow(talk: Talk) -> None:
        await talk.welcome(heartbeat_seconds=1.0)
        for _ in range(3):
            await talk.until_gone(0.4)
            await talk.say("heartbeat", time=NOW)
        await talk.until_gone()

    server.scripts.append(slow)
    found = heard(server, count(StreamHeartbeat, 3))
    assert not count(Lost, 1)(found) and server.n_connections == 1


def test_a_bridge_that_never_says_welcome_is_left(server: BridgeServer):
    async def mute(talk: Talk) -> None:
        await talk.until_gone()

    server.scripts.extend([mute, quiet])
    found = heard(server, count(Subscribed, 1))
    assert isinstance(found[0], Lost) and found[0].reason == "nothing came for 2 s"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{half", "not a JSON object"),
        ("[1]", "not a JSON object"),
        ('{"type": "heartbeat"}', "sequence None after 2"),
        ('{"type": "heartbeat", "sequence": 2, "time": "x"}', "sequence 2 after 2"),
        ('{"type": "heartbeat", "sequence": 3, "time": "x"}', "StreamHeartbeat.time is 'x'"),
        ('{"type": "trade", "sequence": 3}', "TradeTick has no id"),
    ],
)
def test_a_message_that_breaks_the_contract_ends_the_connection(server: BridgeServer, text: str, words: str):
    async def garbled(talk: Talk) -> None:
        await talk.welcome()
        await talk.say_raw(text)
        await talk.until_gone()

    server.scripts.extend([garbled, quiet])
    found = heard(server, count(Subscribed, 2))
    assert words in found[2].reason


def test_a_kind_of_message_we_do_not_know_is_passed_over_but_counted(server: BridgeServer):
    async def newer(talk: Talk) -> None:
        await talk.welcome()
        talk.sequence += 1
        await talk.say_raw(json.dumps({"type": "news", "sequence": talk.sequence, "text": "new"}))
        await talk.trade("a", 1, "101")
        await talk.until_gone()

    server.scripts.append(newer)
    assert [type(event) for event in heard(server, count(TradeTick, 1))] == [Welcome, Subscribed, TradeTick]


def test_an_error_of_one_subscription_is_told(server: BridgeServer):
    async def refuses(talk: Talk) -> None:
        await talk.welcome(n_subscriptions=0)
        asked = await talk.hear()
        await talk.say("error", id=asked["id"], problem=problem(404, "contract_not_found"), ended=True)
        await talk.until_gone()

    server.scripts.append(refuses)
    told = heard(server, count(StreamProblem, 1))[-1]
    assert told.ended and told.id == "a" and told.problem.code == "contract_not_found"


def test_a_wrong_token_ends_the_stream_with_a_reason(server: BridgeServer):
    with pytest.raises(BridgeRefusedError, match="the token is wrong") as caught:
        heard(server, count(Welcome, 1), token="another-token")
    assert caught.value.code == "unauthorized" and "another-token" not in str(caught.value)


def test_without_a_bridge_it_keeps_trying_and_stays_stoppable():
    with bridge_server() as gone:
        pass
    found = heard(gone, count(Lost, 3))
    assert [type(event) for event in found] == [Lost, Lost, Lost]
    assert all("cannot be reached" in event.reason for event in found)


def test_a_stream_that_is_not_set_up_says_so():
    with pytest.raises(BridgeSetupError, match="set DESK_BRIDGE_TOKEN"):
        BridgeStream("http://127.0.0.1:1", "", [])
