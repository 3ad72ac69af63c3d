"""A book with several instruments goes through a bar as one account: shared cash, room and calls, worked by hand."""

from collections.abc import Mapping
from dataclasses import replace
from decimal import Decimal

import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from core.brokers import paper_booking
from core.brokers.paper import PaperBroker
from core.brokers.paper_bar import Overnight
from core.closed_bar import ClosedBar
from core.ledger import mark_all, to_money
from core.models import Book, EquitySnapshot, Event, Fill, Financing, Instrument, Order, Position
from core.simulation.rules import MarketRules
from core.tests import rows
from core.tests.rows import day

pytestmark = pytest.mark.django_db
FREE = MarketRules(half_spread_bps=0.0, schedule="none")
SHORT = replace(FREE, short_selling=True)
NQ_RULES = replace(FREE, multiplier=20.0, settled_daily=True, tick_size=0.25)


def bar(number: int, open_: float, close: float | None = None, *, high: float | None = None, low: float | None = None,
        volume: float = 1e6) -> ClosedBar:  # fmt: skip
    return ClosedBar(day(number), open_, open_ if close is None else close, volume, high, low)


def live(
    broker: PaperBroker, book: Book, bars: Mapping[Instrument, ClosedBar], *orders: Order, **given: object
) -> list[Fill]:
    """A bar of all instruments with its close."""
    fills = broker.on_bars(book, bars, {order.instrument: order for order in orders}, **given)
    mark_all(book, {each: to_money(now.close) for each, now in bars.items()}, time=next(iter(bars.values())).time)
    return fills


def pair() -> tuple[Instrument, Instrument]:
    return rows.instrument("AAA"), rows.instrument("BBB")


def future(symbol: str = "NQ") -> Instrument:
    return Instrument.objects.create(
        symbol=symbol, name=symbol, asset_class="future", multiplier=20, tick_size=Decimal("0.25")
    )


def held() -> dict[str, float]:
    return {row.instrument.symbol: float(row.quantity) for row in Position.objects.all()}


def cash_of(book: Book) -> Decimal:
    return Book.objects.get(pk=book.pk).cash


def test_orders_that_reduce_make_room_for_the_others_before_them() -> None:
    # 100 of B at 100 take all of 10,000. Then B sells 60, and A, the account's first, gets 6,000 / 50 = 120 of 150.
    (a, b), book, broker = pair(), rows.book(), PaperBroker(FREE)
    live(broker, book, {a: bar(2, 50.0), b: bar(2, 100.0)}, rows.order(book, b, "100"))
    bought, sold = rows.order(book, a, "150", decided=2), rows.order(book, b, "-60", decided=2)
    fills = live(broker, book, {a: bar(3, 50.0), b: bar(3, 100.0)}, bought, sold)
    assert [(fill.instrument, fill.quantity) for fill in fills] == [(a, 120), (b, -60)]
    bought.refresh_from_db()
    assert (bought.status, bought.reason) == ("canceled", "30 of it found no cash or volume at the open")
    assert cash_of(book) == 0


def test_instruments_share_the_room_in_the_order_of_the_brokers_rules() -> None:
    # 10,000: the first takes its 6,000, the other asks for 8,000 and gets 4,000; the rules say who is first.
    (a, b), book = pair(), rows.book()
    broker = PaperBroker({b: FREE, a: FREE})
    orders = rows.order(book, a, "120"), rows.order(book, b, "80")
    live(broker, book, {a: bar(2, 50.0), b: bar(2, 100.0)}, *orders)
    assert held() == {"AAA": 40, "BBB": 80}


def test_the_account_follows_the_first_instruments_rules() -> None:
    # Leverage 2 of A's rules holds for B too, though B's say 1, and also when only B has a bar: 20,000 / 100 = 200.
    (a, b), book = pair(), rows.book()
    broker = PaperBroker({a: replace(FREE, leverage=2.0), b: FREE})
    live(broker, book, {b: bar(2, 100.0)}, rows.order(book, b, "250"))
    assert held() == {"BBB": 200}


def test_interest_is_the_books_and_booked_once_borrow_is_each_instruments() -> None:
    # 36,000 - 10,000 + 5,000 = 31,000 at 3.6 % for 2 days: 6.20. B is short for 5,000 at 3.6 %: 1.00.
    rules = replace(SHORT, interest_rate=0.036, borrow_rate=0.036)
    (a, b), book, broker = pair(), rows.book("36000"), PaperBroker(rules)
    live(broker, book, {a: bar(2, 100.0), b: bar(2, 100.0)}, rows.order(book, a, "100"), rows.order(book, b, "-50"))
    assert cash_of(book) == 31_000
    live(broker, book, {a: bar(3, 100.0), b: bar(3, 100.0)}, n_days={a: 2, b: 2})
    found = {(row.instrument, row.kind): (row.amount, row.n_days) for row in Financing.objects.all()}
    assert found == {(a, "interest"): (Decimal("6.2"), 2), (b, "borrow"): (Decimal(-1), 2)}
    assert cash_of(book) == Decimal("31005.2")


def test_one_instrument_after_the_other_pays_the_books_interest_once() -> None:
    (a, b), book, broker = pair(), rows.book("36000"), PaperBroker(replace(SHORT, interest_rate=0.036))
    for instrument in (a, b):
        broker.on_bar(book, instrument, bar(3, 100.0), None, n_days=2)
    assert Financing.objects.get().amount == Decimal("7.2")  # 36,000 at 3.6 % for 2 days
    assert cash_of(book) == Decimal("36007.2")


def test_the_fee_for_borrowed_shares_counts_each_before_its_split() -> None:
    # Short 105 of A at 50, split 1:10 since, and 50 of B at 100: 5,250 and 5,000 at 3.6 % for a day: 0.525 and 0.50.
    (a, b), book, broker = pair(), rows.book("100000"), PaperBroker(replace(SHORT, borrow_rate=0.036))
    orders = rows.order(book, a, "-105"), rows.order(book, b, "-50")
    live(broker, book, {a: bar(2, 50.0), b: bar(2, 100.0)}, *orders)
    Position.objects.filter(instrument=a).update(quantity=-10, average_price=500, last_price=500)
    live(broker, book, {a: bar(3, 500.0), b: bar(3, 100.0)}, n_days=1, overnight={a: Overnight(-105.0, 50.0)})
    fees = {row.instrument: row.amount for row in Financing.objects.all()}
    assert fees == {a: Decimal("-0.525"), b: Decimal("-0.5")}


def test_a_share_and_a_future_share_the_account() -> None:
    # Room 20,000. 100 shares at 50 take 5,000; an NQ at 500 counts 10,000 and costs no cash, a second finds no room.
    # Close 510: 10 points of 20 go to cash: 10,000 - 5,000 + 200; equity 10,200, exposure (5,000 + 10,200) / 10,200.
    share, nq, book = rows.instrument(), future(), rows.book()
    broker = PaperBroker({share: replace(FREE, leverage=2.0), nq: NQ_RULES})
    orders = rows.order(book, share, "100"), rows.order(book, nq, "2")
    live(broker, book, {share: bar(2, 50.0), nq: bar(2, 500.0, 510.0)}, *orders)
    assert held() == {"AAPL": 100, "NQ": 1}
    snapshot = EquitySnapshot.objects.get()
    assert (snapshot.cash, snapshot.equity) == (5_200, 10_200)
    assert snapshot.exposure == pytest.approx(15_200 / 10_200)


def test_every_future_settles_and_every_position_ages_at_a_close() -> None:
    # 1 NQ from 500 to 510: 200; 2 short ES from 100 to 103: -120; the flat share sees its close and does not age.
    nq, es, share, book = future(), future("ES"), rows.instrument(), rows.book("100000")
    futures = replace(NQ_RULES, short_selling=True, leverage=10.0)
    broker = PaperBroker({nq: futures, es: futures, share: FREE})
    bars = {nq: bar(2, 500.0), es: bar(2, 100.0), share: bar(2, 50.0)}
    live(broker, book, bars, *(rows.order(book, each, "1") for each in (nq, share)), rows.order(book, es, "-2"))
    bars = {nq: bar(3, 500.0, 510.0), es: bar(3, 100.0, 103.0), share: bar(3, 50.0, 51.0)}
    live(broker, book, bars, rows.order(book, share, "-1", decided=2))
    assert cash_of(book) == 100_000 + 200 - 120
    seen = {row.instrument: (row.last_price, row.age_bars, row.last_time) for row in Position.objects.all()}
    assert seen == {nq: (510, 2, day(3)), es: (103, 2, day(3)), share: (51, 0, day(3))}
    again = mark_all(book, {nq: Decimal(900)}, time=day(3))
    assert (again.equity, cash_of(book)) == (100_080, 100_080)


def test_levels_of_each_instrument_act_in_the_accounts_order() -> None:
    # Stops at 95 of A and 38 of B in one bar, and C's order at its open: that comes first.
    (a, b), c, book = pair(), rows.instrument("CCC"), rows.book("100000")
    broker = PaperBroker({a: replace(FREE, stop_loss=0.05), b: replace(FREE, stop_loss=0.05), c: FREE})
    bars = {a: bar(2, 100.0), b: bar(2, 40.0), c: bar(2, 10.0)}
    live(broker, book, bars, rows.order(book, a, "10"), rows.order(book, b, "20"))
    bars = {a: bar(3, 99.0, low=94.0), b: bar(3, 39.0, low=37.0), c: bar(3, 10.0)}
    fills = live(broker, book, bars, rows.order(book, c, "5", decided=2))
    found = [(fill.instrument.symbol, fill.quantity, fill.price, fill.order.purpose) for fill in fills]
    assert found == [("CCC", 5, 10, "decision"), ("AAA", -10, 95, "stop"), ("BBB", -20, 38, "stop")]


def test_protection_that_may_not_trade_is_withheld_of_the_whole_book() -> None:
    (a, b), book, broker = pair(), rows.book("100000"), PaperBroker(replace(FREE, stop_loss=0.05))
    orders = rows.order(book, a, "10"), rows.order(book, b, "20")
    live(broker, book, {a: bar(2, 100.0), b: bar(2, 40.0)}, *orders)
    below = {a: bar(3, 99.0, low=94.0), b: bar(3, 39.0, low=37.0)}
    assert live(broker, book, below, protect=False) == []
    told = Event.objects.filter(kind="protection.withheld").order_by("id")
    assert [event.data["instrument"] for event in told] == [a.pk, b.pk]
    fills = live(broker, book, {a: bar(4, 94.0), b: bar(4, 37.0)})
    assert [(fill.instrument, fill.order.purpose) for fill in fills] == [(a, "stop"), (b, "stop")]


# Leverage 2 of 10,000: 100 of A at 100 and 100 of B at 50. Closes of 80 and 45 leave 7,500 of equity and 12,500 held,
# 1.67 times as much; the call is at 1.6.
CALLED = replace(FREE, leverage=2.0, margin_call=1.6)


def called_book(rules: MarketRules = CALLED) -> tuple[PaperBroker, Book, Instrument, Instrument, Instrument]:
    """A and B held and called at the close of day 3; C was never held."""
    (a, b), c, book, broker = pair(), rows.instrument("CCC"), rows.book(), PaperBroker(rules)
    orders = rows.order(book, a, "100"), rows.order(book, b, "100")
    live(broker, book, {a: bar(2, 100.0), b: bar(2, 50.0), c: bar(2, 10.0)}, *orders)
    live(broker, book, {a: bar(3, 100.0, 80.0), b: bar(3, 50.0, 45.0), c: bar(3, 10.0)})
    return broker, book, a, b, c


def test_a_margin_call_closes_everything_and_opens_nothing() -> None:
    broker, book, a, b, c = called_book()
    wishes = rows.order(book, a, "50", decided=3), rows.order(book, c, "10", decided=3)
    fills = live(broker, book, {a: bar(4, 80.0), b: bar(4, 45.0), c: bar(4, 10.0)}, *wishes)
    assert [(fill.instrument, fill.quantity, fill.order.purpose) for fill in fills] == [
        (a, -100, "force"), (b, -100, "force"),
    ]  # fmt: skip
    for wish, code in zip(wishes, ("PROTECTIVE_CLOSE", "BOOK_CALLED"), strict=True):
        wish.refresh_from_db()
        assert (wish.status, wish.reason_code) == ("canceled", code)
    # 10,000 - 20·100 - 5·100, and the book may trade again.
    assert cash_of(book) == 7_500 and not Position.objects.filter(forced_flat=True).exists()
    fills = live(
        broker, book, {a: bar(5, 80.0), b: bar(5, 45.0), c: bar(5, 10.0)}, rows.order(book, c, "10", decided=4)
    )
    assert [fill.quantity for fill in fills] == [10]


def test_a_margin_call_lasts_until_the_last_position_is_closed() -> None:
    # A tenth of 600 in a bar: 60 of B go, 40 wait, and C is not bought meanwhile.
    broker, book, a, b, c = called_book(replace(CALLED, participation=0.1))
    for number, volume in ((4, 600.0), (5, 1e6)):
        bars = {a: bar(number, 80.0), b: bar(number, 45.0, volume=volume), c: bar(number, 10.0)}
        live(broker, book, bars, rows.order(book, c, "10", decided=number - 1))
    assert [float(q) for q in Fill.objects.filter(instrument=b).order_by("id").values_list("quantity", flat=True)] == [
        100, -60, -40,
    ]  # fmt: skip
    assert not Fill.objects.filter(instrument=c).exists()
    live(broker, book, {a: bar(6, 80.0), b: bar(6, 45.0), c: bar(6, 10.0)}, rows.order(book, c, "10", decided=5))
    assert held() == {"AAA": 0, "BBB": 0, "CCC": 10}


def test_a_margin_call_that_may_not_trade_opens_nothing_either() -> None:
    broker, book, a, b, c = called_book()
    wishes = rows.order(book, c, "10", decided=3), rows.order(book, a, "-100", decided=3)
    bars = {a: bar(4, 100.0), b: bar(4, 50.0), c: bar(4, 10.0)}
    (fill,) = live(broker, book, bars, *wishes, protect=False)  # a person's order that closes still trades
    assert (fill.instrument, fill.quantity) == (a, -100)
    (fill,) = live(broker, book, {a: bar(5, 100.0), b: bar(5, 50.0), c: bar(5, 10.0)})
    assert (fill.instrument, fill.order.purpose) == (b, "force")


def test_a_ruined_book_buys_nothing_any_more() -> None:
    # 100 of A at 100, all of it; at 9 the book has 900 of 10,000.
    (a, b), book, broker = pair(), rows.book(), PaperBroker(FREE)
    live(broker, book, {a: bar(2, 100.0), b: bar(2, 5.0)}, rows.order(book, a, "100"))
    live(broker, book, {a: bar(3, 100.0, 9.0), b: bar(3, 5.0)})
    for number in (4, 5, 6):
        live(broker, book, {a: bar(number, 9.0), b: bar(number, 5.0)}, rows.order(book, b, "10", decided=number - 1))
    assert [fill.order.purpose for fill in Fill.objects.order_by("id")] == ["decision", "force"]
    assert cash_of(book) == 900


def test_a_time_stop_closes_its_own_position_alone() -> None:
    (a, b), c, book = pair(), rows.instrument("CCC"), rows.book()
    broker = PaperBroker({a: replace(FREE, time_stop=1.0), b: FREE, c: FREE})
    bars = {a: bar(2, 10.0), b: bar(2, 10.0), c: bar(2, 10.0)}
    live(broker, book, bars, rows.order(book, a, "10"), rows.order(book, b, "10"))
    bars = {a: bar(3, 10.0), b: bar(3, 10.0), c: bar(3, 10.0)}
    live(broker, book, bars, rows.order(book, c, "10", decided=2))
    assert held() == {"AAA": 0, "BBB": 10, "CCC": 10}


@pytest.mark.parametrize("rules", [replace(FREE, trail_fraction=0.1), replace(FREE, stop_loss=0.05, participation=0.1)])
def test_a_second_call_for_a_bar_does_nothing(rules: MarketRules) -> None:
    # A trail would act on what the bar has just taught it, and the rest of a close would find the volume again.
    rules = replace(rules, interest_rate=0.036)
    (a, b), book, broker = pair(), rows.book("100000"), PaperBroker(rules)
    bars = {a: bar(2, 100.0), b: bar(2, 40.0)}
    live(broker, book, bars, rows.order(book, a, "100"), rows.order(book, b, "20"))
    bars = {a: bar(3, 99.0, 101.0, high=112.0, low=94.0, volume=600.0), b: bar(3, 41.0)}
    orders = {b: rows.order(book, b, "-20", decided=2)}
    broker.on_bars(book, bars, orders, n_days=1)
    tables = (Fill, Order, Position, Financing, Book)
    before = [list(table.objects.order_by("pk").values()) for table in tables]
    assert broker.on_bars(book, bars, orders, n_days=1) == []
    assert broker.on_bar(book, a, bars[a], None, n_days=1) == []
    assert [list(table.objects.order_by("pk").values()) for table in tables] == before


def test_one_instruments_order_finds_the_room_the_others_of_the_book_leave() -> None:
    # Short 80 of B at 100 of 10,000: room for A is 10,000 - 8,000, 40 at 50; its cash alone, 18,000, would buy 200.
    (a, b), book, broker = pair(), rows.book(), PaperBroker(SHORT)
    live(broker, book, {b: bar(2, 100.0)}, rows.order(book, b, "-80"))
    (fill,) = broker.on_bar(book, a, bar(3, 50.0), rows.order(book, a, "200", decided=2))
    assert fill.quantity == 40


def test_a_future_without_a_bar_takes_room_by_its_multiplier() -> None:
    # One NQ at 400 counts 8,000 of 10,000 and costs no cash: 2,000 / 50 = 40.
    share, nq, book = rows.instrument(), future(), rows.book()
    live(PaperBroker(NQ_RULES), book, {nq: bar(2, 400.0)}, rows.order(book, nq, "1"))
    (fill,) = PaperBroker(FREE).on_bar(book, share, bar(3, 50.0), rows.order(book, share, "200", decided=2))
    assert fill.quantity == 40


def test_a_book_is_not_ruined_by_what_it_holds_in_another_instrument() -> None:
    # 9,500 of 10,000 lie in B: A's bar alone must not take the 500 that are left for all there is.
    (a, b), book, broker = pair(), rows.book(), PaperBroker(FREE)
    live(broker, book, {b: bar(2, 95.0)}, rows.order(book, b, "100"))
    live(broker, book, {a: bar(3, 50.0)}, rows.order(book, a, "5", decided=2))
    live(broker, book, {a: bar(4, 50.0)})
    assert held() == {"AAA": 5, "BBB": 100} and not Position.objects.filter(forced_flat=True).exists()


def test_a_margin_call_counts_and_closes_what_has_no_bar() -> None:
    # Leverage 2 of 10,000: 15,000 in B, 5,000 in A. A at 40 leaves 9,000 of equity and 19,000 held: 2.1 times.
    (a, b), book, broker = pair(), rows.book(), PaperBroker(replace(FREE, leverage=2.0, margin_call=2.05))
    live(broker, book, {a: bar(2, 50.0), b: bar(2, 100.0)}, rows.order(book, b, "150"), rows.order(book, a, "100"))
    broker.on_bar(book, a, bar(3, 50.0, 40.0), None)
    assert set(Position.objects.values_list("instrument__symbol", "forced_flat")) == {("AAA", True), ("BBB", True)}
    fills = live(broker, book, {b: bar(4, 100.0)})
    assert [(fill.instrument, fill.quantity) for fill in fills] == [(b, -150)]
    fills = live(broker, book, {a: bar(5, 40.0)}, rows.order(book, a, "10", decided=4))
    assert [(fill.instrument, fill.quantity) for fill in fills] == [(a, -100)]


def test_what_is_held_without_a_price_is_refused() -> None:
    (a, b), book = pair(), rows.book()
    Position.objects.create(book=book, instrument=b, quantity=10)
    with pytest.raises(ValueError, match=r"holds 10 BBB, without a bar here and with 0 as its last price"):
        PaperBroker(FREE).on_bar(book, a, bar(2, 50.0), None)


def test_calls_that_cannot_be_meant_are_refused_and_book_nothing() -> None:
    (a, b), nq, book, other = pair(), future(), rows.book(), rows.book(name="other")
    broker, order = PaperBroker({a: FREE, b: FREE}), rows.order(other, a, "10")
    bars = {a: bar(2, 50.0), b: bar(2, 50.0)}
    mine = rows.order(book, b, "10")
    cases = [
        (broker, {a: bar(2, 50.0), b: bar(3, 50.0)}, {}, "expected one moment"),
        (broker, {}, {}, "expected one moment"),
        (broker, bars, {a: order}, "is not one of main/book for AAA"),
        (broker, bars, {a: mine}, "is not one of main/book for AAA"),
        (broker, {a: bar(2, 50.0)}, {b: mine}, "an order for BBB arrived without its bar"),
        (broker, bars | {nq: bar(2, 50.0)}, {}, "no rules for NQ"),
        (PaperBroker(FREE), bars | {nq: bar(2, 50.0)}, {}, "rules of NQ say multiplier 1 and settled daily False"),
    ]
    for each, given, orders, words in cases:
        with pytest.raises(ValueError, match=words):
            each.on_bars(book, given, orders)
    with pytest.raises(ValueError, match="n_days lacks BBB"):
        broker.on_bars(book, bars, {}, n_days={a: 1})
    assert not Fill.objects.exists() and not Financing.objects.exists()


def test_locks_are_taken_in_the_ledgers_order() -> None:
    (a, b), book, broker = pair(), rows.book(), PaperBroker(FREE)
    live(broker, book, {a: bar(2, 50.0), b: bar(2, 50.0)}, rows.order(book, a, "10"), rows.order(book, b, "10"))
    orders = {b: rows.order(book, b, "1", decided=2), a: rows.order(book, a, "1", decided=2)}
    with CaptureQueriesContext(
        connection,
    ) as captured:
        broker.on_bars(book, {b: bar(3, 50.0), a: bar(3, 50.0)}, orders)
    locks = [query["sql"] for query in captured if "FOR UPDATE" in query["sql"]][:3]
    for sql, table in zip(locks, ("core_book", "core_position", "core_order"), strict=True):
        assert f'FROM "{table}"' in sql
    assert "ORDER BY" in locks[1] and "ORDER BY" in locks[2]


def test_a_crash_half_way_leaves_nothing_and_the_bar_can_be_lived_again(monkeypatch: pytest.MonkeyPatch) -> None:
    rules = replace(FREE, interest_rate=0.036, stop_loss=0.05)
    (a, b), book, broker = pair(), rows.book(), PaperBroker(rules)
    live(broker, book, {a: bar(2, 50.0), b: bar(2, 50.0)}, rows.order(book, a, "10"))
    order = rows.order(book, b, "10", decided=2)
    bars = {a: bar(3, 50.0, low=40.0), b: bar(3, 50.0)}
    tables = (Book, Position, Order, Fill, Financing, Event)
    before = [list(table.objects.order_by("pk").values()) for table in tables]

    def broken(*_: object) -> None:
        raise RuntimeError("the power is gone")

    with monkeypatch.context() as patch, pytest.raises(RuntimeError):
        patch.setattr(paper_booking, "_book_protective", broken)  # interest and the order at the open are booked
        broker.on_bars(book, bars, {b: order}, n_days=1)
    assert [list(table.objects.order_by("pk").values()) for table in tables] == before
    fills = broker.on_bars(book, bars, {b: order}, n_days=1)
    assert [(fill.instrument, fill.quantity) for fill in fills] == [(b, 10), (a, -10)]
    # 9,500 + 0.95 of interest - 500 + 10 · 47.50
    assert cash_of(book) == Decimal("9475.95")
