"""The client against a bridge on loopback that checks both sides against the contract."""

import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import pytest

from core.bridge.client import BridgeClient, Patience
from core.bridge.errors import (
    BridgeAnswerError,
    BridgeBusyError,
    BridgeConflictError,
    BridgeError,
    BridgeNotFoundError,
    BridgeRefusedError,
    BridgeSetupError,
    BridgeUnavailableError,
)
from core.bridge.messages import OrderRequest
from core.tests import bridge_server as faults
from core.tests.bridge_answers import Refusal, bars
from core.tests.bridge_server import TOKEN, BridgeServer, bridge_server

QUICK = Patience(connect=1.0, read=0.5, history_read=0.5, first_wait=0.01, longest_wait=0.02)
START = datetime(2026, 3, 2, 14, 30, tzinfo=UTC)
BUY = OrderRequest(con_id=265598, side="buy", quantity=Decimal(10), order_type="limit", limit_price=Decimal("101.50"))


@pytest.fixture
def server() -> Iterator[BridgeServer]:
    with bridge_server() as running:
        yield running


@pytest.fixture
def client(server: BridgeServer) -> Iterator[BridgeClient]:
    with BridgeClient(server.address, TOKEN, patience=QUICK) as open_client:
        yield open_client


def test_every_question_is_answered_in_types(client: BridgeClient):
    health = client.health()
    assert health.state == "ready" and health.farms[0].name == "usfarm" and health.gateway.accounts == ("DU1",)
    assert client.account("DU1").net_liquidation == Decimal("100000.25")
    assert client.account().realized_profit is None
    assert client.positions().items[0].quantity == Decimal(-3)
    assert [contract.currency for contract in client.search_contracts("AAPL", limit=2)] == ["USD", "MXN"]
    assert client.search_contracts("nothing like it") == ()
    details = client.contract(265598)
    assert details.tick_size == Decimal("0.01") and details.regular_hours[0].opens == START and details.symbol == "AAPL"


def test_history_is_read_page_by_page(server: BridgeServer, client: BridgeClient):
    server.desk.bars = bars(START, 5, 60)
    first = client.bars(265598, 60, start=START, limit=3)
    assert [bar.open for bar in first.items] == [100, 101, 102] and first.next_page is not None
    rest = client.bars(265598, 60, start=START, limit=3, page=first.next_page)
    assert [bar.open for bar in rest.items] == [103, 104] and rest.next_page is None


def test_an_order_put_twice_is_one_order(server: BridgeServer, client: BridgeClient):
    placed = client.put_order("agent-1-1", BUY)
    assert placed.status == "submitted" and placed.limit_price == Decimal("101.5") and not placed.ended
    assert client.put_order("agent-1-1", BUY) == placed
    assert client.orders() == (placed,) and client.order("agent-1-1") == placed


def test_another_order_under_the_same_id_is_a_conflict(server: BridgeServer, client: BridgeClient):
    client.put_order("agent-1-1", BUY)
    other = OrderRequest(con_id=265598, side="sell", quantity=Decimal(10))
    with pytest.raises(BridgeConflictError) as caught:
        client.put_order("agent-1-1", other)
    assert caught.value.code == "order_id_taken" and "Do otherwise." in str(caught.value)
    assert client.order("agent-1-1").side == "buy"


def test_a_cancel_is_asked_for_and_may_be_asked_again(server: BridgeServer, client: BridgeClient):
    client.put_order("agent-1-1", BUY)
    assert client.cancel_order("agent-1-1").status == "canceling"
    server.desk.fill("agent-1-1", "101.5", commission=None)  # it fills before the cancel arrives
    assert client.cancel_order("agent-1-1").ended
    assert client.orders() == () and len(client.orders(only_open=False)) == 1


def test_executions_are_read_on_from_a_cursor_and_come_again_with_their_commission(
    server: BridgeServer, client: BridgeClient
):
    assert client.executions().next_cursor is None
    client.put_order("agent-1-1", BUY)
    server.desk.fill("agent-1-1", "101.25", commission=None)
    first = client.executions()
    assert first.items[0].price == Decimal("101.25") and first.items[0].commission is None
    assert client.executions(after=first.next_cursor).items == ()
    server.desk.fill("agent-1-1", "101.25", commission="1.00")
    [again] = client.executions(after=first.next_cursor).items
    assert again.execution_id == first.items[0].execution_id and again.commission.amount == Decimal(1)
    with pytest.raises(BridgeRefusedError) as caught:
        client.executions(after="99")
    assert caught.value.code == "cursor_gone"


def test_what_does_not_exist_is_named_by_its_code(client: BridgeClient):
    for ask, code in (
        (lambda: client.order("never-sent"), "order_not_found"),
        (lambda: client.cancel_order("never-sent"), "order_not_found"),
        (lambda: client.contract(1), "contract_not_found"),
        (lambda: client.account("DU2"), "account_not_found"),
    ):
        with pytest.raises(BridgeNotFoundError) as caught:
            ask()
        assert caught.value.code == code


def test_the_404_of_another_program_does_not_mean_that_an_order_never_arrived(
    server: BridgeServer, client: BridgeClient
):
    server.faults.append(faults.foreign)
    with pytest.raises(BridgeAnswerError, match="check that the address is the bridge's") as caught:
        client.order("agent-1-1")
    assert caught.value.maybe_arrived


def test_an_order_whose_fields_do_not_fit_is_refused(client: BridgeClient):
    with pytest.raises(BridgeRefusedError) as caught:
        client.put_order("agent-1-1", OrderRequest(con_id=1, side="buy", quantity=Decimal(1), order_type="limit"))
    assert caught.value.code == "fields_do_not_fit"


def test_a_wrong_token_is_refused_at_once_and_not_told(server: BridgeServer):
    with (
        BridgeClient(server.address, "wrong-token", patience=QUICK) as stranger,
        pytest.raises(BridgeRefusedError) as caught,
    ):
        stranger.health()
    assert caught.value.code == "unauthorized" and "wrong-token" not in str(caught.value)
    assert len(server.requests) == 1


def test_pacing_says_how_long_to_wait_and_is_not_asked_again(server: BridgeServer, client: BridgeClient):
    server.faults.append(Refusal(429, "pacing", Retry_After="12"))
    with pytest.raises(BridgeBusyError, match="gateway code 162") as caught:
        client.bars(265598, 60)
    assert caught.value.retry_after_seconds == 12.0 and len(server.requests) == 1


def test_a_gateway_that_is_down_is_not_asked_again(server: BridgeServer, client: BridgeClient):
    server.faults.append(Refusal(503, "gateway_down", Retry_After="10"))
    with pytest.raises(BridgeUnavailableError) as caught:
        client.put_order("agent-1-1", BUY)
    assert caught.value.code == "gateway_down" and caught.value.retry_after_seconds == 10.0
    assert not caught.value.maybe_arrived  # the contract: a refused order is not journalled
    assert len(server.requests) == 1


@pytest.mark.parametrize("fault", [Refusal(500, "internal"), faults.half, faults.garbage, faults.silent(1.0)])
def test_a_lost_answer_is_asked_for_again(server: BridgeServer, client: BridgeClient, fault: Any):
    server.faults.append(fault)
    assert client.put_order("agent-1-1", BUY).status == "submitted"
    assert [method for method, _ in server.requests] == ["PUT", "PUT"] and len(server.desk.orders) == 1


@pytest.mark.parametrize(
    ("fault", "kind", "words"),
    [
        (Refusal(500, "internal"), BridgeUnavailableError, "this is internal"),
        (faults.half, BridgeUnavailableError, "broke off its answer"),
        (faults.garbage, BridgeAnswerError, "not JSON"),
        (faults.silent(1.0), BridgeUnavailableError, "did not answer in time"),
    ],
)
def test_after_three_lost_answers_an_order_counts_as_perhaps_arrived(
    server: BridgeServer, client: BridgeClient, fault: Any, kind: type[BridgeUnavailableError], words: str
):
    server.faults.extend([fault] * 3)
    with pytest.raises(kind, match=words) as caught:
        client.put_order("agent-1-1", BUY)
    assert caught.value.maybe_arrived and len(server.requests) == 3


def test_an_answer_lost_first_still_counts_when_the_bridge_then_stops(server: BridgeServer, client: BridgeClient):
    server.faults.extend([faults.half, Refusal(503, "gateway_down", Retry_After="10")])
    with pytest.raises(BridgeUnavailableError) as caught:
        client.put_order("agent-1-1", BUY)
    assert caught.value.maybe_arrived


def test_a_bridge_that_does_not_run_got_nothing(server: BridgeServer):
    with bridge_server() as gone:
        address = gone.address
    began = time.monotonic()
    with BridgeClient(address, TOKEN, patience=QUICK) as client, pytest.raises(BridgeUnavailableError) as caught:
        client.put_order("agent-1-1", BUY)
    assert not caught.value.maybe_arrived and "cannot be reached" in str(caught.value)
    assert time.monotonic() - began < 30  # bounded, whatever the machine


@pytest.mark.parametrize(
    ("address", "token", "words"),
    [
        ("", "", "DESK_BRIDGE_ADDRESS and DESK_BRIDGE_TOKEN"),
        ("http://127.0.0.1:1", "", "set DESK_BRIDGE_TOKEN"),
        ("127.0.0.1:8790", TOKEN, "expected such as http"),
        ("http://127.0.0.1:port", TOKEN, "expected such as http"),
        ("http://127.0.0.1:8790", "two words", "no header can carry"),
    ],
)
def test_a_bridge_that_is_not_set_up_says_what_is_missing(address: str, token: str, words: str):
    with pytest.raises(BridgeSetupError, match="the bridge is not set up: ") as caught:
        BridgeClient(address, token)
    assert words in str(caught.value) and isinstance(caught.value, BridgeError)


def test_an_answer_that_drips_is_given_up_in_time(server: BridgeServer, client: BridgeClient):
    """It would take 3 s, and no byte of it is late; QUICK waits 0.5 s, three times."""
    server.faults.extend([faults.drip] * 3)
    began = time.monotonic()
    with pytest.raises(BridgeUnavailableError, match="did not answer in time") as caught:
        client.put_order("agent-1-1", BUY)
    assert time.monotonic() - began < 2.9 and caught.value.maybe_arrived


def test_pages_that_lead_back_to_themselves_are_not_read_for_ever(server: BridgeServer, client: BridgeClient):
    page = {"con_id": 265598, "interval_seconds": 60, "items": [], "next_page": "7"}
    log = {"items": [], "next_cursor": "7", "more": True}
    server.desk.answer = lambda operation, given, body: (200, page if operation == "listBars" else log)
    assert client.bars(265598, 60).next_page == "7"
    with pytest.raises(BridgeAnswerError, match="'7', as the next one"):
        client.bars(265598, 60, page="7")
    with pytest.raises(BridgeAnswerError, match="'7', as the next one"):
        client.executions(after="7")


def test_a_wait_of_ages_is_not_believed(server: BridgeServer, client: BridgeClient):
    server.faults.append(Refusal(429, "pacing", Retry_After="9" * 400))
    with pytest.raises(BridgeBusyError) as caught:
        client.search_contracts("AAPL")
    assert caught.value.retry_after_seconds == 86_400.0
