"""Accounting by hand: every number below is worked in the comment above it."""

from decimal import Decimal

import pytest

from core import ledger
from core.ledger import (
    ZERO,
    Execution,
    apply_dividend,
    apply_execution,
    apply_split,
    cancel_order,
    mark,
    to_money,
    value_book,
)
from core.models import Book, EquitySnapshot, Event, Fill, Instrument, Order, Position
from core.tests import rows
from core.tests.rows import day

pytestmark = pytest.mark.django_db


def trade(
    book: Book, instrument: Instrument, quantity: str, price: str, commission: str = "0", number: int = 2
) -> Position:
    """One order, filled whole in the bar of that day."""
    order = rows.order(book, instrument, quantity, decided=number - 1)
    apply_execution(order, execution(f"{order.client_order_id}/x", quantity, price, commission, number))
    book.refresh_from_db()
    return Position.objects.get(book=book, instrument=instrument)


def execution(name: str, quantity: str, price: str, commission: str = "0", number: int = 2) -> Execution:
    return Execution(name, day(number), Decimal(quantity), Decimal(price), Decimal(commission), Decimal(0))


def test_buy_add_partial_sell_reversal_and_close_by_hand():
    book, aapl = rows.book("10000"), rows.instrument()

    # buy 100 at 40: cash 10,000 − 4,000 − 1 = 5,999
    position = trade(book, aapl, "100", "40", "1")
    assert (book.cash, position.quantity, position.average_price) == (Decimal(5999), Decimal(100), Decimal(40))
    assert position.realised_result == Decimal(-1)
    assert position.opened_at == day(2)

    # add 50 at 46: average (100·40 + 50·46) / 150 = 6,300/150 = 42; cash 5,999 − 2,300 − 1 = 3,698
    position = trade(book, aapl, "50", "46", "1", number=3)
    assert (book.cash, position.quantity, position.average_price) == (Decimal(3698), Decimal(150), Decimal(42))
    assert position.opened_at == day(2), "an increase is the same position"

    # sell 60 at 45: realised 60·(45 − 42) = 180, −1 −1 −1 costs = 177; cash 3,698 + 2,700 − 1 = 6,397; average stays
    position = trade(book, aapl, "-60", "45", "1", number=4)
    assert (book.cash, position.quantity, position.average_price) == (Decimal(6397), Decimal(90), Decimal(42))
    assert position.realised_result == Decimal(177)

    # sell 140 at 44: closes 90·(44 − 42) = 180 → 177 + 180 − 1 = 356; short 50 at 44; cash 6,397 + 6,160 − 1 = 12,556
    position = trade(book, aapl, "-140", "44", "1", number=5)
    assert (book.cash, position.quantity, position.average_price) == (Decimal(12556), Decimal(-50), Decimal(44))
    assert position.realised_result == Decimal(356)
    assert position.opened_at == day(5), "a reversal opens a new position"

    # buy 50 at 40: closes −50·(40 − 44) = 200 → 356 + 200 − 1 = 555; cash 12,556 − 2,000 − 1 = 10,555 = start + result
    position = trade(book, aapl, "50", "40", "1", number=6)
    assert (book.cash, position.quantity, position.average_price) == (Decimal(10555), Decimal(0), Decimal(0))
    assert position.realised_result == Decimal(555)
    assert (position.opened_at, position.age_bars) == (None, 0)


def test_multiplier_counts_in_cash_result_and_value():
    book, nq = rows.book("100000"), rows.instrument("NQ", multiplier=20)

    # 2 contracts at 1,000 with multiplier 20: 40,000 and 4.50 commission
    trade(book, nq, "2", "1000", "4.50")
    assert book.cash == Decimal("59995.50")

    # close 1,010.25: 2·1,010.25·20 = 40,410; equity 59,995.50 + 40,410 = 100,405.50
    mark(book, nq, time=day(2), close=Decimal("1010.25"))
    assert value_book(book).equity == Decimal("100405.50")

    # sold 2 at 1,010.25: 2·10.25·20 = 410; 410 − 9 = 401
    assert trade(book, nq, "-2", "1010.25", "4.50", number=3).realised_result == Decimal(401)
    assert book.cash == Decimal(100401)


def test_the_same_execution_is_booked_once():
    book, aapl = rows.book(), rows.instrument()
    order = rows.order(book, aapl, "10")
    first = apply_execution(order, execution("e1", "5", "100"))
    again = apply_execution(order, execution("e1", "5", "100", number=3))  # even under another time

    assert first is not None and again is None
    book.refresh_from_db()
    order.refresh_from_db()
    assert (book.cash, order.filled_quantity, order.status) == (Decimal(9500), Decimal(5), "partially_filled")
    assert Fill.objects.count() == 1
    assert Event.objects.filter(kind="order.filled").count() == 1


@pytest.mark.parametrize(
    ("quantity", "words"), [("11", "overfills"), ("-5", "does not fit a buy order"), ("0", "does not fit")]
)
def test_overfill_and_wrong_side_are_refused_and_leave_nothing(quantity, words):
    book, aapl = rows.book(), rows.instrument()
    order = rows.order(book, aapl, "10")
    with pytest.raises(ValueError, match=words):
        apply_execution(order, execution("e1", quantity, "100"))
    book.refresh_from_db()
    assert book.cash == Decimal(10000)
    assert not Fill.objects.exists() and not Position.objects.exists()


def test_a_fill_that_crossed_a_cancel_is_booked_but_the_order_stays_canceled():
    book, aapl = rows.book(), rows.instrument()
    order = rows.order(book, aapl, "10")
    assert cancel_order(order, code="KILL_SWITCH", reason="stopped")
    apply_execution(order, execution("e1", "4", "100"))
    order.refresh_from_db()
    assert (order.status, order.filled_quantity) == ("canceled", Decimal(4))
    apply_execution(order, execution("e2", "6", "100"))
    order.refresh_from_db()
    assert order.status == "filled"


def test_cancel_tells_whether_there_was_something_to_cancel():
    order = rows.order(rows.book(), rows.instrument(), "10")
    assert cancel_order(order, code="X", reason="because") is True
    assert cancel_order(order, code="Y", reason="again") is False
    order.refresh_from_db()
    assert (order.reason_code, order.reason) == ("X", "because")
    assert Event.objects.filter(kind="order.canceled").count() == 1


def test_mark_values_once_per_bar_and_keeps_peak_drawdown_exposure_and_age():
    book, aapl = rows.book("10000"), rows.instrument()
    trade(book, aapl, "100", "40")  # cash 6,000

    # close 44: 6,000 + 4,400 = 10,400, a new peak; exposure 4,400/10,400
    first = mark(book, aapl, time=day(2), close=Decimal(44))
    assert (first.cash, first.equity, first.drawdown) == (Decimal(6000), Decimal(10400), 0.0)
    assert first.exposure == pytest.approx(4400 / 10400)

    # the same bar again, with another close: the stored one counts
    again = mark(book, aapl, time=day(2), close=Decimal(99))
    assert again.pk == first.pk and again.equity == Decimal(10400)

    # close 33.6: 6,000 + 3,360 = 9,360; 10 % below 10,400
    second = mark(book, aapl, time=day(3), close=Decimal("33.6"))
    assert (second.equity, second.drawdown) == (Decimal(9360), pytest.approx(0.1))
    book.refresh_from_db()
    assert book.peak_equity == Decimal(10400)
    position = Position.objects.get()
    assert (position.age_bars, position.last_price, position.last_time) == (2, Decimal("33.6"), day(3))
    assert position.open_result == Decimal(-640)  # 100·(33.6 − 40)
    assert EquitySnapshot.objects.count() == 2


def test_a_reversal_is_one_bar_old_at_its_first_close():
    book, aapl = rows.book("10000"), rows.instrument()
    trade(book, aapl, "10", "40")
    mark(book, aapl, time=day(2), close=Decimal(40))
    trade(book, aapl, "-20", "40", number=3)
    mark(book, aapl, time=day(3), close=Decimal(40))
    assert Position.objects.get().age_bars == 1


def test_lost_equity_has_no_exposure_and_divides_nothing():
    book, aapl = rows.book("1000"), rows.instrument()
    trade(book, aapl, "-100", "10")  # cash 2,000, short 100
    snapshot = mark(book, aapl, time=day(2), close=Decimal(25))  # 2,000 − 2,500
    assert (snapshot.equity, snapshot.exposure) == (Decimal(-500), 0.0)
    assert snapshot.drawdown == pytest.approx(1.5)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), float("-inf")])
def test_money_must_be_finite(value):
    with pytest.raises(ValueError, match="finite"):
        to_money(value)


def test_money_is_the_shortest_spelling_of_a_float_at_ten_places():
    assert to_money(0.1) == Decimal("0.1000000000")
    assert to_money(51.02) == Decimal("51.0200000000")
    assert to_money(1 / 3) == Decimal("0.3333333333")
    assert to_money(-0.92) == Decimal("-0.9200000000")


def test_a_crash_inside_an_execution_leaves_nothing(monkeypatch):
    book, aapl = rows.book(), rows.instrument()
    order = rows.order(book, aapl, "10")

    def crash(*_: object) -> None:
        raise RuntimeError("power cut")

    monkeypatch.setattr(ledger, "_tell", crash)  # the very last step
    with pytest.raises(RuntimeError):
        apply_execution(order, execution("e1", "10", "100", "1"))
    book.refresh_from_db()
    order.refresh_from_db()
    assert (book.cash, order.status, order.filled_quantity) == (Decimal(10000), Order.Status.ACCEPTED, Decimal(0))
    assert not Fill.objects.exists() and not Position.objects.exists()


@pytest.mark.parametrize(("tick", "places"), [("0.01", 2), ("0.25", 2), ("1", 0), ("10", 0), ("0", None)])
def test_prices_are_shown_with_the_decimals_of_their_step(tick: str, places: int | None) -> None:
    assert Instrument(symbol="X", tick_size=Decimal(tick)).price_places == places


@pytest.mark.parametrize(
    ("quantity", "average", "ratio", "after"),
    [
        ("100", "90", "2", ("200", "45", "0")),  # 2:1: 100·2, 90/2; worth 9,000 before and after
        ("-30", "12", "1.5", ("-45", "8", "0")),  # 3:2 of a short position
        ("15", "4", "0.1", ("1", "40", "0.5")),  # 1:10: 1.5 units, half a unit is paid out
        ("-15", "4", "0.1", ("-1", "40", "-0.5")),
        ("9", "4", "0.1", ("0", "0", "0.9")),
        ("30", "1", "0.3333333333", ("10", "3.0000000003", "0")),  # 1:3 as a float says it
        ("0", "0", "4", ("0", "0", "0")),
    ],
)
def test_a_split_changes_quantity_and_price_but_not_the_worth(quantity, average, ratio, after):
    split = apply_split(Decimal(quantity), Decimal(average), Decimal(ratio))
    assert (split.quantity, split.average_price, split.fraction) == tuple(Decimal(value) for value in after)


def test_a_split_keeps_fractions_that_the_lot_allows():
    # 0.15 coins 1:10 are 0.015; with lots of 0.01 one lot and half of one
    split = apply_split(Decimal("0.15"), Decimal(40), Decimal("0.1"), lot_size=Decimal("0.01"))
    assert (split.quantity, split.average_price, split.fraction) == (Decimal("0.01"), Decimal(400), Decimal("0.005"))


def test_a_dividend_is_paid_to_holders_and_by_those_who_are_short():
    assert apply_dividend(Decimal(200), Decimal("0.25")) == Decimal(50)
    assert apply_dividend(Decimal(-40), Decimal("0.73")) == Decimal("-29.20")
    assert apply_dividend(Decimal(2), Decimal("1.5"), multiplier=Decimal(100)) == Decimal(300)
    assert apply_dividend(ZERO, Decimal("0.25")) == ZERO


def test_equity_over_a_split_and_a_dividend_is_what_it_was():
    # 100 at 50 and cash 1,000: 6,000. 2:1 night: 200 at 25. Dividend 0.50: price 24.50, cash 1,000 + 100: 6,000
    split = apply_split(Decimal(100), Decimal(50), Decimal(2))
    assert Decimal(1000) + split.quantity * Decimal(25) == Decimal(6000)
    cash = Decimal(1000) + apply_dividend(split.quantity, Decimal("0.5"))
    assert cash + split.quantity * Decimal("24.5") == Decimal(6000)


@pytest.mark.parametrize("ratio", ["0", "-2"])
def test_impossible_actions_are_refused(ratio):
    with pytest.raises(ValueError, match="above 0"):
        apply_split(Decimal(1), Decimal(1), Decimal(ratio))
    with pytest.raises(ValueError, match="above 0"):
        apply_dividend(Decimal(1), Decimal(ratio))
