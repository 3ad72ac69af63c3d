"""The paper broker carries orders out by the kernel and books them in the real ledger."""

from decimal import Decimal

import pytest

from core.brokers.paper import PaperBroker
from core.closed_bar import ClosedBar
from core.ledger import mark
from core.models import Event, Fill, Order, Position
from core.simulation.rules import MarketRules
from core.tests import rows
from core.tests.rows import day

pytestmark = pytest.mark.django_db
FREE = MarketRules(half_spread_bps=0.0, schedule="none")


def bar(number: int, open_: float, close: float | None = None, volume: float = 1e6) -> ClosedBar:
    return ClosedBar(time=day(number), open=open_, close=close or open_, volume=volume)


def carry(broker: PaperBroker, order: Order, bar: ClosedBar) -> Fill | None:
    """Take the order's book through a bar; the first fill."""
    return next(iter(broker.on_bar(order.book, order.instrument, bar, order)), None)


def test_worked_case_one_of_the_simulation_through_the_ledger():
    # Flat, cash 10,000, close 50, weight 1: 200 wanted. Open 51: ⌊10,000/(51·1.0002)⌋ = 196 allowed.
    # Fill 51·1.0002 = 51.0102 → 51.02; commission 1.00; cash 10,000 − 196·51.02 − 1.00 = −0.92.
    book, aapl = rows.book("10000"), rows.instrument()
    order = rows.order(book, aapl, "200", status="approved")
    broker = PaperBroker(MarketRules())
    broker.submit(order)
    fill = carry(broker, order, bar(2, 51.0))

    assert fill is not None
    assert (fill.quantity, fill.price, fill.commission) == (Decimal(196), Decimal("51.02"), Decimal(1))
    assert fill.slippage == Decimal("3.92")  # 196·0.02
    book.refresh_from_db()
    order.refresh_from_db()
    assert book.cash == Decimal("-0.92")
    # What found no cash is canceled: 200 − 196 = 4
    assert (order.status, order.filled_quantity, order.reason_code) == ("canceled", Decimal(196), "PARTIAL_FILL")
    assert order.reason.startswith("4 of it")
    # At a close of 52: −0.92 + 196·52 = 10,191.08
    assert mark(book, aapl, time=day(2), close=Decimal(52)).equity == Decimal("10191.08")


def test_an_order_fills_only_in_a_bar_after_its_decision_and_only_once():
    book, aapl = rows.book(), rows.instrument()
    order = rows.order(book, aapl, "10", decided=2)
    broker = PaperBroker(FREE)

    assert carry(broker, order, bar(1, 50.0)) is None
    assert carry(broker, order, bar(2, 50.0)) is None, "the bar it was decided on has already been seen"
    assert carry(broker, order, bar(3, 50.0)) is not None
    assert carry(broker, order, bar(3, 50.0)) is None
    assert carry(broker, order, bar(4, 50.0)) is None
    order.refresh_from_db()
    assert order.status == Order.Status.FILLED
    assert Fill.objects.get().quantity == Decimal(10)


@pytest.mark.parametrize("status", ["approved", "denied", "canceled", "filled", "rejected", "expired"])
def test_only_an_accepted_order_fills(status):
    order = rows.order(rows.book(), rows.instrument(), "10", status=status)
    assert carry(PaperBroker(FREE), order, bar(2, 50.0)) is None
    assert not Fill.objects.exists()


def test_no_cash_cancels_the_order_with_a_reason():
    order = rows.order(rows.book("40"), rows.instrument(), "10")
    assert carry(PaperBroker(FREE), order, bar(2, 50.0)) is None
    order.refresh_from_db()
    assert (order.status, order.reason_code) == ("canceled", "NO_ROOM")
    assert Event.objects.get(kind="order.canceled").subject == f"order:{order.pk}"
    assert not Position.objects.exists()


def test_volume_limits_what_trades_and_the_rest_is_canceled():
    # A tenth of 550 is 55 of the 100 asked for.
    order = rows.order(rows.book(), rows.instrument(), "100")
    rules = MarketRules(half_spread_bps=0.0, schedule="none", participation=0.1)
    fill = carry(PaperBroker(rules), order, bar(2, 50.0, volume=550.0))
    order.refresh_from_db()
    assert fill is not None and fill.quantity == Decimal(55)
    assert (order.status, order.filled_quantity) == ("canceled", Decimal(55))


def test_a_sale_pays_the_regulatory_fees_too():
    # 100 at 50 without spread: 1.00 + 23.10/10⁶·5,000 = 0.1155 + 0.000119·100 = 0.0119 → 1.1274
    book, aapl = rows.book(), rows.instrument()
    broker = PaperBroker(MarketRules(half_spread_bps=0.0))
    carry(broker, rows.order(book, aapl, "100"), bar(2, 50.0))
    sale = carry(broker, rows.order(book, aapl, "-100", decided=2), bar(3, 50.0))
    assert sale is not None
    assert sale.commission == Decimal("1.1274")
    book.refresh_from_db()
    assert book.cash == Decimal(10000) - Decimal("1.00") - Decimal("1.1274")


def test_without_short_selling_a_sale_ends_flat():
    book, aapl = rows.book(), rows.instrument()
    broker = PaperBroker(FREE)
    carry(broker, rows.order(book, aapl, "10"), bar(2, 50.0))
    sale = carry(broker, rows.order(book, aapl, "-30", decided=2), bar(3, 50.0))
    assert sale is not None and sale.quantity == Decimal(-10)
    assert Position.objects.get().quantity == 0


def test_submitting_twice_is_one_order():
    order = rows.order(rows.book(), rows.instrument(), "10", status="approved")
    broker = PaperBroker(FREE)
    broker.submit(order)
    order.refresh_from_db()
    first = order.submitted_at
    broker.submit(order)
    order.refresh_from_db()
    assert (order.status, order.submitted_at) == (Order.Status.ACCEPTED, first)
    assert carry(broker, order, bar(2, 50.0)) is not None
    broker.submit(order)  # after the fill
    assert carry(broker, order, bar(3, 50.0)) is None
    assert Fill.objects.count() == 1


def test_submitting_a_canceled_order_does_nothing():
    order = rows.order(rows.book(), rows.instrument(), "10", status="canceled")
    PaperBroker(FREE).submit(order)
    order.refresh_from_db()
    assert order.status == "canceled"
