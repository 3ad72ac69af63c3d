"""The way from a wish to a fill: judged, stored, sent, filled; and nothing slips through when trading is stopped."""

from decimal import Decimal

import pytest

from core.closed_bar import ClosedBar
from core.jobs import JobFailedError
from core.ledger import Execution as LedgerExecution
from core.ledger import apply_execution, mark
from core.models import Account, Book, Event, Fill, Instrument, Order, Position
from core.simulation.rules import MarketRules
from core.tests import rows
from core.tests.rows import day
from marketdata import data_health
from marketdata.models import DAY, Bar, DataFault, Stream
from risk import kill_switch
from risk.execution import Execution, Wish
from risk.models import Limits

pytestmark = pytest.mark.django_db
FREE = MarketRules(half_spread_bps=0.0, schedule="none")


@pytest.fixture
def main() -> Account:
    account = Account.objects.create(name="main")
    Limits.objects.create(account=account)
    return account


@pytest.fixture
def execution(main: Account) -> Execution:
    return Execution(rows.book("10000", account=main), rows.instrument(), FREE, interval_seconds=DAY)


def bar(number: int, price: float = 50.0) -> ClosedBar:
    return ClosedBar(time=day(number), open=price, close=price, volume=1e6)


def wish(quantity: float, number: int = 1, **values: object) -> Wish:
    values = {"bars_behind": 0, **values}
    return Wish(f"agent-1-{number}", quantity, bar(number), **values)  # type: ignore[arg-type]


def stored(execution: Execution, wanted: Wish) -> Order:
    """Judge and store; the last order, also when it was denied."""
    verdict = execution.judge(wanted)
    execution.store_intent(wanted, verdict, decision_id=None)
    return Order.objects.latest("id")


def sent(execution: Execution, order: Order | None) -> Order:
    """The order as it is after sending."""
    assert order is not None
    execution.send(order)
    return Order.objects.get(pk=order.pk)


def hold(execution: Execution, quantity: float, number: int = 1) -> None:
    """Buy so much on the bar after that day, and value it there."""
    order = stored(execution, wish(quantity, number))
    execution.send(order)
    assert execution.on_bar(bar(number + 1))
    mark(execution.book, execution.instrument, time=day(number + 1), close=Decimal(50))


def test_wish_to_fill(execution):
    order = stored(execution, wish(100.0))
    assert (order.status, order.side, order.quantity, order.quantity_asked) == ("approved", "buy", 100, 100)
    assert execution.on_bar(bar(2)) == [], "not sent yet"
    order = sent(execution, order)
    assert order.status == "accepted"
    fills = execution.on_bar(bar(2))
    assert [fill.quantity for fill in fills] == [Decimal(100)]
    assert execution.held() == 100.0
    assert execution.on_bar(bar(3)) == []


def test_a_wish_for_what_is_held_stores_nothing(execution):
    verdict = execution.judge(wish(0.0))
    assert execution.store_intent(wish(0.0), verdict, decision_id=None) is None
    assert not Order.objects.exists()


def test_a_denied_order_is_stored_with_its_reason_and_never_sent(execution):
    asked = wish(100.0, bars_behind=None)
    assert execution.store_intent(asked, execution.judge(asked), decision_id=7) is None
    order = Order.objects.get()
    assert (order.status, order.reason_code, order.decision_id) == ("denied", "STALE_DATA", 7)
    assert (order.quantity_asked, order.quantity) == (Decimal(100), Decimal(0))
    assert "unknown" in order.reason
    assert Event.objects.get(kind="order.denied").level == "attention"
    assert execution.send_unsent() == 0
    execution.send(order)
    assert execution.on_bar(bar(2)) == []
    order.refresh_from_db()
    assert order.status == "denied"


def test_a_resized_order_says_what_was_asked_and_what_was_allowed(main, execution):
    Limits.objects.filter(account=main).update(max_position_weight=0.25)
    order = stored(execution, wish(-80.0))  # 0.25·10,000/50 = 50
    assert (order.side, order.quantity_asked, order.quantity) == ("sell", Decimal(80), Decimal(50))
    assert order.reason_code == "POSITION_LIMIT"


def test_without_limits_everything_is_denied(main, execution):
    Limits.objects.all().delete()
    assert stored(execution, wish(10.0)).reason_code == "NO_LIMITS"


def test_the_same_intent_is_stored_once(execution):
    first, again = stored(execution, wish(10.0)), stored(execution, wish(10.0))
    assert first.pk == again.pk
    assert Order.objects.count() == 1


def test_other_positions_and_open_orders_of_the_account_count(main, execution):
    # 0.6·20,000 = 12,000 for all. Another book holds 100·50 = 5,000 and has sent an order for 60 more: 8,000 elsewhere.
    # 12,000 − 8,000 = 4,000: 80 shares.
    Limits.objects.filter(account=main).update(max_gross_exposure=0.6)
    other = Execution(rows.book("10000", "other", main), rows.instrument("MSFT"), FREE, interval_seconds=DAY)
    hold(other, 100.0)
    later = wish(160.0, 2)
    other.send(other.store_intent(Wish("agent-2-2", 160.0, later.bar, 0), other.judge(later), decision_id=None))
    order = stored(execution, wish(200.0, 2))
    assert (order.quantity, order.reason_code) == (Decimal(80), "EXPOSURE_LIMIT")


def test_a_first_order_elsewhere_counts_at_the_close_it_was_decided_on(main, execution):
    # No position there yet: 120 at the close of 50 = 6,000 of 0.5·20,000 = 10,000, leaving 4,000: 80 shares.
    Limits.objects.filter(account=main).update(max_gross_exposure=0.5)
    msft, other = rows.instrument("MSFT"), rows.book("10000", "other", main)
    rows.order(other, msft, "120", status="approved")
    assert stored(execution, wish(100.0, 1)).reason_code == "BAD_INPUT", "a price nobody knows denies"
    Bar.objects.create(time=day(1), instrument=msft, open=50, high=50, low=50, close=50, volume=1, source="test")
    assert stored(execution, wish(100.0, 2)).quantity == Decimal(80)


def test_an_order_approved_before_the_kill_is_not_sent_after_it(main, execution):
    order = stored(execution, wish(100.0))
    kill_switch.engage(main, reason="stop", actor="olga")
    order = sent(execution, order)
    assert (order.status, order.reason_code) == ("canceled", "KILL_SWITCH")
    assert execution.on_bar(bar(2)) == []


def test_an_order_the_kill_could_not_see_yet_is_canceled_instead_of_sent(main, execution):
    # The agent asked the gate, then the switch was engaged, then the agent's transaction was committed.
    asked = wish(100.0)
    verdict = execution.judge(asked)
    kill_switch.engage(main, reason="stop", actor="olga")
    order = execution.store_intent(asked, verdict, decision_id=None)
    assert order is not None and order.status == "approved"
    order = sent(execution, order)
    assert (order.status, order.reason_code) == ("canceled", "KILL_SWITCH")
    assert execution.on_bar(bar(2)) == [] and not Fill.objects.exists()


def test_a_restart_after_a_crash_sends_once_and_nothing_that_was_stopped(main, execution):
    order = stored(execution, wish(100.0))
    assert execution.send_unsent() == 1
    assert execution.send_unsent() == 0
    assert len(execution.on_bar(bar(2))) == 1
    assert execution.send_unsent() == 0

    asked = wish(50.0, 2)
    verdict = execution.judge(asked)
    kill_switch.engage(main, reason="stop", actor="olga")
    execution.store_intent(asked, verdict, decision_id=None)  # then the process dies
    again = Execution(Book.objects.get(), Instrument.objects.get(), FREE, interval_seconds=DAY)
    again.send_unsent()
    assert Order.objects.latest("id").status == "canceled"
    assert again.on_bar(bar(3)) == []
    order.refresh_from_db()
    assert order.status == "filled"


def test_even_an_accepted_order_does_not_trade_after_the_kill(main, execution):
    order = stored(execution, wish(100.0))
    execution.send(order)
    kill_switch.engage(main, reason="stop", actor="olga")
    Order.objects.filter(pk=order.pk).update(status="accepted")  # as if the cancel had been lost
    assert execution.on_bar(bar(2)) == []
    order.refresh_from_db()
    assert order.status == "canceled"


def test_after_the_kill_new_orders_are_denied_until_rearmed(main, execution):
    kill_switch.engage(main, reason="stop", actor="olga")
    assert stored(execution, wish(10.0, 1)).reason_code == "KILL_SWITCH"
    kill_switch.rearm(main, reason="fine", actor="olga")
    assert stored(execution, wish(10.0, 2)).status == "approved"


def test_closing_on_kill_goes_all_the_way_while_engaged(main, execution):
    hold(execution, 100.0)
    kill_switch.engage(main, reason="stop", actor="olga", close_positions=True)
    order = stored(execution, wish(0.0, 2, closing_on_kill=True, bars_behind=None))
    assert (order.status, order.side, order.quantity) == ("approved", "sell", Decimal(100))
    order = sent(execution, order)
    assert order.status == "accepted"
    assert [fill.quantity for fill in execution.on_bar(bar(3))] == [Decimal(-100)]
    assert execution.held() == 0.0
    assert Book.objects.get().cash == Decimal(10000)
    assert kill_switch.is_engaged(main)


def test_a_sale_is_not_sent_after_a_kill_that_keeps_positions(main, execution):
    hold(execution, 100.0)
    asked = wish(0.0, 2)
    verdict = execution.judge(asked)
    kill_switch.engage(main, reason="stop", actor="olga")
    order = execution.store_intent(asked, verdict, decision_id=None)
    order = sent(execution, order)
    assert order.status == "canceled"
    assert execution.held() == 100.0


def test_a_part_sale_is_not_sent_after_a_kill_that_closes(main, execution):
    hold(execution, 100.0)
    asked = wish(40.0, 2)
    verdict = execution.judge(asked)
    kill_switch.engage(main, reason="stop", actor="olga", close_positions=True)
    order = execution.store_intent(asked, verdict, decision_id=None)
    order = sent(execution, order)
    assert order.status == "canceled"


def test_a_live_account_has_no_way_to_the_market(main):
    Account.objects.update(mode="live")
    with pytest.raises(JobFailedError, match="set it back to paper"):
        Execution(rows.book(account=main), rows.instrument(), FREE, interval_seconds=DAY)


def test_floats_of_the_policy_become_exact_quantities(main):
    # 0.3 − 0.1 is 0.19999999999999998 in binary; the order is for 0.2.
    coin = rows.instrument("BTC", lot_size=Decimal("0.1"))
    execution = Execution(
        rows.book("10000", account=main),
        coin,
        MarketRules(schedule="none", lot=0.1, tick_size=0.0),
        interval_seconds=DAY,
    )
    order = rows.order(execution.book, coin, "0.1", status="accepted")
    bought = LedgerExecution("x", day(1), Decimal("0.1"), Decimal(50), Decimal(0), Decimal(0))
    apply_execution(order, bought)
    assert Position.objects.get().quantity == Decimal("0.1")
    assert stored(execution, wish(0.3)).quantity == Decimal("0.2")


def fault(instrument: Instrument, **values: object) -> DataFault:
    values = {"kind": "broken", "severity": "blocking", "detail": "3 bars have impossible prices.", **values}
    return DataFault.objects.create(instrument=instrument, **values)


def test_an_open_data_fault_denies_until_a_person_clears_it(execution):
    found = fault(execution.instrument)
    denied = stored(execution, wish(100.0))
    assert (denied.status, denied.reason_code, denied.reason) == ("denied", "DATA_FAULT", found.detail)
    data_health.clear(found, actor="anna", reason="compared with the exchange's own file")
    order = sent(execution, stored(execution, wish(100.0, 2)))
    assert order.status == "accepted"
    assert [fill.quantity for fill in execution.on_bar(bar(3))] == [Decimal(100)]


def test_a_data_fault_stops_sales_too_but_not_the_kill_switch_closing_positions(main, execution):
    hold(execution, 100.0)
    fault(execution.instrument)
    assert stored(execution, wish(0.0, 3)).reason_code == "DATA_FAULT"
    kill_switch.engage(main, reason="test", actor="anna", close_positions=True)
    assert execution.judge(wish(0.0, 4, closing_on_kill=True)).verdict == "approved"


@pytest.mark.parametrize(
    "harmless", [{"severity": "warning"}, {"interval_seconds": 60}, {"cleared_at": day(1), "cleared_by": "anna"}]
)
def test_warnings_other_series_and_cleared_faults_deny_nothing(execution, harmless):
    fault(execution.instrument, **harmless)
    fault(rows.instrument("MSFT"))
    assert stored(execution, wish(100.0)).status == "approved"


def test_denials_for_one_lasting_fault_are_one_line_in_the_journal(execution):
    fault(execution.instrument)
    for number in (1, 2, 3):
        stored(execution, wish(100.0, number))
    assert Order.objects.filter(reason_code="DATA_FAULT").count() == 3
    assert Event.objects.filter(kind="order.denied").count() == 1


def test_a_live_feed_of_an_unknown_calendar_denies(execution):
    Instrument.objects.update(calendar="XNOPE")
    feed = Stream.objects.create(name="live", source="yahoo", from_time=day(1), desired_state="running")
    feed.instruments.add(execution.instrument)
    assert stored(execution, wish(100.0)).reason_code == "DATA_FAULT"
    assert "no trading calendar 'XNOPE'" in execution.judge(wish(100.0, 2)).reason
