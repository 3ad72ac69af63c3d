"""Protective levels, interest and futures through the real ledger: the worked cases of the simulation, in Decimal."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import numpy as np
import pytest

from core.brokers.paper import PaperBroker
from core.brokers.paper_bar import Overnight
from core.closed_bar import ClosedBar
from core.ledger import mark, value_book
from core.models import Book, EquitySnapshot, Event, Fill, Financing, Instrument, Order, Position
from core.simulation import kernel
from core.simulation.bars import bar_table
from core.simulation.rules import MarketRules
from core.tests import rows
from core.tests.rows import day

pytestmark = pytest.mark.django_db
# Half spread 2 bps, tick one cent, no commission: the page's cases two to four.
RULES = MarketRules(schedule="none", stop_loss=0.05, take_profit=0.10)


def bar(number: int, open_: float, high: float, low: float, close: float, volume: float = 1e6) -> ClosedBar:
    return ClosedBar(time=day(number), open=open_, high=high, low=low, close=close, volume=volume)


def flat_bar(number: int, price: float) -> ClosedBar:
    return bar(number, price, price, price, price)


def live(
    broker: PaperBroker, book: Book, instrument: Instrument, now: ClosedBar, order: Order | None = None, **given: object
) -> list[Fill]:
    """A bar with its close: what the loop does."""
    fills = broker.on_bar(book, instrument, now, order, **given)
    mark(book, instrument, time=now.time, close=Decimal(str(now.close)))
    return fills


def long_100(rules: MarketRules, price: float = 40.0) -> tuple[PaperBroker, Book, Instrument]:
    """A hundred bought at exactly this price, without spread, then the rules as they are."""
    book, aapl = rows.book("100000"), rows.instrument()
    order = rows.order(book, aapl, "100")
    live(PaperBroker(replace(rules, half_spread_bps=0.0)), book, aapl, flat_bar(2, price), order)
    return PaperBroker(rules), book, aapl


def test_levels_follow_the_average_price() -> None:
    long_100(RULES)
    position = Position.objects.get()
    assert (position.stop_price, position.target_price, position.best_price) == (38, 44, 40)


def test_both_levels_touched_the_stop_comes_first() -> None:
    # Case 2: stop 38.00 and target 44.00 in one bar: 38 · 0.9998 = 37.9924 → 37.99.
    broker, book, aapl = long_100(RULES)
    (fill,) = live(broker, book, aapl, bar(3, 39.0, 45.0, 37.5, 40.0))
    assert (fill.quantity, fill.price) == (-100, Decimal("37.99"))
    assert fill.slippage == Decimal("1.00")  # 100 · 0.01 beside the level
    order = fill.order
    assert (order.purpose, order.status, order.reason) == ("stop", "filled", "the stop-loss was reached")
    assert Event.objects.filter(message__startswith="Stop-loss: sold 100 AAPL at 37.99").exists()
    position = Position.objects.get()
    assert (position.quantity, position.stop_price, position.target_price, position.best_price) == (0, None, None, None)


@pytest.mark.parametrize(
    ("open_", "price", "purpose"), [(36.0, Decimal("35.99"), "stop"), (45.0, Decimal(45), "target")]
)
def test_a_gap_closes_at_the_open(open_: float, price: Decimal, purpose: str) -> None:
    # Case 3: 36 · 0.9998 = 35.9928 → 35.99; a target is a limit order and gets the better open.
    broker, book, aapl = long_100(RULES)
    (fill,) = live(broker, book, aapl, bar(3, open_, open_ + 1, open_ - 1, open_))
    assert (fill.price, fill.order.purpose) == (price, purpose)


def test_a_trail_knows_only_bars_before() -> None:
    # Case 4: bought at 100, high 110 → level 99; the next bar's 120 does not help, 99 · 0.9998 = 98.9802 → 98.98.
    broker, book, aapl = long_100(MarketRules(schedule="none", trail_fraction=0.1), 100.0)
    assert live(broker, book, aapl, bar(3, 105.0, 110.0, 101.0, 108.0)) == []
    assert Position.objects.get().best_price == 110
    (fill,) = live(broker, book, aapl, bar(4, 109.0, 120.0, 98.0, 119.0))
    assert (fill.price, fill.order.purpose) == (Decimal("98.98"), "trail")


def test_what_finds_no_volume_waits_for_the_next_open_and_decisions_wait_for_it() -> None:
    # A tenth of 600 is 60 of the 100; the other 40 go at the next open, whatever was decided.
    broker, book, aapl = long_100(replace(RULES, participation=0.1))
    (first,) = live(broker, book, aapl, bar(3, 39.0, 39.5, 37.0, 38.5, volume=600.0))
    assert first.quantity == -60
    assert Position.objects.get().closing
    wish = rows.order(book, aapl, "500", decided=3)
    (rest,) = live(broker, book, aapl, flat_bar(4, 39.0), wish)
    assert (rest.quantity, rest.order.purpose) == (-40, "rest")
    wish.refresh_from_db()
    assert (wish.status, wish.reason_code) == ("canceled", "PROTECTIVE_CLOSE")
    assert not Position.objects.get().closing


def test_protection_that_may_not_trade_keeps_its_levels_and_says_so() -> None:
    broker, book, aapl = long_100(RULES)
    assert live(broker, book, aapl, bar(3, 39.0, 39.5, 37.0, 38.5), protect=False) == []
    position = Position.objects.get()
    assert (position.quantity, position.stop_price, position.best_price) == (100, 38, 40)
    assert Event.objects.get(kind="protection.withheld").level == "attention"
    # Allowed again, the price below the stop closes it at the open.
    (fill,) = live(broker, book, aapl, flat_bar(4, 37.0))
    assert fill.order.purpose == "stop"


def test_the_time_stop_asks_for_a_close_at_the_next_open() -> None:
    broker, book, aapl = long_100(MarketRules(schedule="none", time_stop=2.0))
    assert not Position.objects.get().forced_flat
    live(broker, book, aapl, flat_bar(3, 41.0))
    assert Position.objects.get().forced_flat
    (fill,) = live(broker, book, aapl, flat_bar(4, 41.0))
    assert (fill.quantity, fill.order.purpose) == (-100, "force")


def test_interest_and_borrow_fee_over_a_weekend_are_booked_once() -> None:
    # Case 6: short 100 over 3 days, close 50, borrow 2 %: 100 · 50 · 0.02 · 3 / 360 = 0.8333…
    # Cash 105,000 at 4 % less 1 %: 105,000 · 0.03 · 3 / 360 = 26.25.
    rules = MarketRules(
        schedule="none", half_spread_bps=0.0, short_selling=True, borrow_rate=0.02, interest_rate=0.04,
        credit_spread=0.01,
    )  # fmt: skip
    book, aapl = rows.book("100000"), rows.instrument()
    broker = PaperBroker(rules)
    live(broker, book, aapl, flat_bar(3, 50.0), rows.order(book, aapl, "-100"))
    live(broker, book, aapl, flat_bar(6, 50.0), n_days=3)
    amounts = dict(Financing.objects.values_list("kind", "amount"))
    assert float(amounts["borrow"]) == pytest.approx(-100 * 50 * 0.02 * 3 / 360, abs=1e-9)
    assert float(amounts["interest"]) == pytest.approx(105_000 * 0.03 * 3 / 360, abs=1e-9)
    book.refresh_from_db()
    assert book.cash == 105_000 + sum(amounts.values())


def test_a_futures_gain_goes_to_cash_at_every_close() -> None:
    # Case 5: long 2 NQ, 20 USD a point, previous close 15,000.00, close 15,010.25: 2 · 20 · 10.25 = 410.00.
    rules = MarketRules(
        schedule="none", half_spread_bps=0.0, tick_size=0.25, multiplier=20.0, settled_daily=True, leverage=10.0
    )
    book = rows.book("100000")
    nq = Instrument.objects.create(symbol="NQ", name="NQ", asset_class="future", multiplier=20, tick_size="0.25")
    broker = PaperBroker(rules)
    live(broker, book, nq, bar(2, 14_990.0, 15_010.0, 14_980.0, 15_000.0), rows.order(book, nq, "2"))
    book.refresh_from_db()
    assert book.cash == 100_000 + 2 * 20 * 10, "from the fill at 14,990 to the close"
    live(broker, book, nq, bar(3, 15_000.0, 15_020.0, 14_990.0, 15_010.25))
    book.refresh_from_db()
    assert book.cash == 100_400 + 410
    worth = value_book(book)
    assert (worth.equity, worth.gross) == (book.cash, Decimal("600410.00"))
    (sale,) = live(broker, book, nq, flat_bar(4, 15_000.25), rows.order(book, nq, "-2", decided=3))
    assert sale.price == Decimal("15000.25")
    book.refresh_from_db()
    assert book.cash == 100_810 - 400
    assert Position.objects.get().realised_result == 2 * 20 * Decimal("10.25")


def test_a_forced_close_waits_while_nothing_may_trade() -> None:
    # A time stop is no less a trade than a stop: trading that was stopped by a person stops it, too.
    broker, book, aapl = long_100(MarketRules(schedule="none", time_stop=1.0))
    for number in (3, 4):
        assert live(broker, book, aapl, flat_bar(number, 41.0), protect=False) == []
        assert Position.objects.get().forced_flat
    (fill,) = live(broker, book, aapl, flat_bar(6, 41.0))
    assert (fill.quantity, fill.order.purpose) == (-100, "force")


def test_a_margin_call_is_not_forgotten_while_nothing_may_trade() -> None:
    # 5,000 in cash and 200 at 40.00: at 30.00 the position is worth 6,000 of 2,998 equity, more than 1.8 times.
    rules = MarketRules(schedule="none", half_spread_bps=0.0, leverage=2.0, margin_call=1.8)
    book, aapl = rows.book("5000"), rows.instrument()
    broker = PaperBroker(rules)
    live(broker, book, aapl, flat_bar(2, 40.0), rows.order(book, aapl, "200"))
    live(broker, book, aapl, bar(3, 40.0, 40.0, 30.0, 30.0))
    assert Position.objects.get().forced_flat
    # At 40.00 again it is 8,000 of 5,000 and would be no call, but one has been made.
    live(broker, book, aapl, flat_bar(4, 40.0), protect=False)
    assert Position.objects.get().forced_flat
    (fill,) = live(broker, book, aapl, flat_bar(5, 40.0))
    assert (fill.quantity, fill.order.purpose) == (-200, "force")


def test_the_order_for_a_forced_close_is_the_one_that_is_filled() -> None:
    broker, book, aapl = long_100(MarketRules(schedule="none", time_stop=1.0))
    order = rows.order(book, aapl, "-100", decided=2)
    Order.objects.filter(pk=order.pk).update(purpose=Order.Purpose.FORCE)
    (fill,) = live(broker, book, aapl, flat_bar(3, 41.0), order)
    order.refresh_from_db()
    assert (fill.order_id, order.status, Order.objects.count()) == (order.pk, "filled", 2)


def test_a_forced_close_larger_than_the_order_for_it_goes_as_one_of_its_own() -> None:
    broker, book, aapl = long_100(MarketRules(schedule="none", time_stop=1.0))
    order = rows.order(book, aapl, "-60", decided=2)
    Order.objects.filter(pk=order.pk).update(purpose=Order.Purpose.FORCE)
    (fill,) = live(broker, book, aapl, flat_bar(3, 41.0), order)
    order.refresh_from_db()
    assert (fill.quantity, order.status) == (-100, "canceled")


@pytest.mark.parametrize("price", [0.60, 8.20, 11.60, 33.40, 57.20])
@pytest.mark.parametrize("low", [-0.01, 0.0, 0.01])
def test_a_level_on_the_edge_is_touched_by_the_bars_that_touch_the_kernels(price: float, low: float) -> None:
    # A stop of 5 % on a price of whole 20 cents lies on a whole cent, give or take the hair of a float.
    rules = MarketRules(schedule="none", half_spread_bps=0.0, stop_loss=0.05)
    lowest = round(price * 0.95 + low, 2)
    columns = {"open_": [price] * 3, "high": [price] * 3, "low": [price, price, lowest], "close": [price] * 3}
    bars = bar_table(**{name: np.array(values) for name, values in columns.items()}, volume=np.full(3, 1e6))
    targets = np.array([[100.0], [np.nan], [np.nan]])
    _, quantity, *_ = kernel.run_targets(bars, 100_000.0, targets, rules.as_array()[None])
    broker, book, aapl = long_100(rules, price)
    live(broker, book, aapl, bar(3, price, price, lowest, price))
    assert float(Position.objects.get().quantity) == quantity[-1, 0]


def test_levels_follow_rules_that_are_changed_while_something_is_held() -> None:
    _, book, aapl = long_100(RULES)
    # Without its rule a level is gone; a stop of 2 % lies at 39.20 at once.
    assert live(PaperBroker(MarketRules(schedule="none")), book, aapl, bar(3, 40.0, 50.0, 30.0, 40.0)) == []
    assert Position.objects.get().stop_price is None
    (fill,) = live(PaperBroker(replace(RULES, stop_loss=0.02)), book, aapl, bar(4, 40.0, 40.5, 39.2, 40.0))
    assert fill.order.purpose == "stop"


def test_a_level_that_cannot_trade_is_told_once_a_day() -> None:
    broker, book, aapl = long_100(RULES)
    for minutes in range(3):
        now = replace(bar(3, 39.0, 39.5, 37.0, 38.5), time=day(3) + timedelta(minutes=minutes))
        assert live(broker, book, aapl, now, protect=False) == []
    live(broker, book, aapl, bar(4, 39.0, 39.5, 37.0, 38.5), protect=False)
    assert Event.objects.filter(kind="protection.withheld").count() == 2


def test_the_fee_for_borrowed_shares_counts_what_was_short_before_a_split() -> None:
    # Short 105 at 50, split 1:10 with 0.5 paid out: 105 · 50 · 0.02 · 1 / 360, not 10 · 500 · 0.02 / 360.
    rules = MarketRules(schedule="none", half_spread_bps=0.0, short_selling=True, borrow_rate=0.02)
    book, aapl = rows.book("100000"), rows.instrument()
    broker = PaperBroker(rules)
    live(broker, book, aapl, flat_bar(2, 50.0), rows.order(book, aapl, "-105"))
    Position.objects.update(quantity=-10, average_price=500, last_price=500)  # what booking the split leaves
    live(broker, book, aapl, flat_bar(3, 500.0), n_days=1, overnight=Overnight(-105.0, 50.0))
    assert float(Financing.objects.get().amount) == pytest.approx(-105 * 50 * 0.02 / 360, abs=1e-9)


def test_an_order_at_the_open_and_its_stop_in_one_bar_are_two_fills_in_that_order() -> None:
    broker, book, aapl = PaperBroker(replace(RULES, half_spread_bps=0.0)), rows.book("100000"), rows.instrument()
    fills = live(broker, book, aapl, bar(2, 40.0, 41.0, 37.0, 38.5), rows.order(book, aapl, "100"))
    assert [(fill.quantity, fill.price) for fill in fills] == [(100, 40), (-100, 38)]
    position, snapshot = Position.objects.get(), EquitySnapshot.objects.get()
    assert (position.quantity, position.age_bars, position.opened_at) == (0, 0, None)
    assert (position.realised_result, snapshot.equity) == (-200, 99_800)


def test_a_reversal_of_a_future_settles_the_old_side_and_begins_the_new() -> None:
    # Long 2 from 15,000 at a close of 15,010; at 15,020 to short 1; the close is 15,005:
    # 2 · 10 · 20 + 2 · 10 · 20 + 1 · 15 · 20 = 400 + 400 + 300.
    rules = MarketRules(
        schedule="none", half_spread_bps=0.0, tick_size=0.25, multiplier=20.0, settled_daily=True, leverage=10.0,
        short_selling=True,
    )  # fmt: skip
    book = rows.book("100000")
    nq = Instrument.objects.create(symbol="NQ", name="NQ", asset_class="future", multiplier=20, tick_size="0.25")
    broker = PaperBroker(rules)
    live(broker, book, nq, bar(2, 15_000.0, 15_010.0, 15_000.0, 15_010.0), rows.order(book, nq, "2"))
    live(broker, book, nq, bar(3, 15_020.0, 15_020.0, 15_005.0, 15_005.0), rows.order(book, nq, "-3", decided=2))
    book.refresh_from_db()
    position = Position.objects.get()
    assert (book.cash, position.quantity, position.age_bars) == (101_100, -1, 1)
    assert position.realised_result == 2 * 20 * 20
