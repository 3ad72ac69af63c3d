"""Splits and dividends in the ledger, by hand: once, before anything trades, late ones only where it is certain."""

from datetime import date
from decimal import Decimal

import pytest
from django.core.management import CommandError, call_command

from core.closed_bar import ClosedBar
from core.ledger import mark
from core.models import Account, Book, EquitySnapshot, Event, Order, Position
from core.simulation.rules import MarketRules
from core.tests import rows
from core.tests.rows import day
from marketdata.corporate import store_actions
from marketdata.models import DAY, CorporateAction
from marketdata.sources.base import Action
from risk import kill_switch
from risk.execution import Execution, Wish
from risk.models import BookedAction, Limits

pytestmark = pytest.mark.django_db
FREE = MarketRules(half_spread_bps=0.0, schedule="none", short_selling=True)


def make(cash: str = "10000", rules: MarketRules = FREE, **instrument: object) -> Execution:
    account = Account.objects.create(name="main")
    Limits.objects.create(account=account, max_position_weight=5.0, max_gross_exposure=5.0)
    return Execution(rows.book(cash, account=account), rows.instrument(**instrument), rules, interval_seconds=DAY)


@pytest.fixture
def execution() -> Execution:
    return make()


def bar(number: int, price: float) -> ClosedBar:
    return ClosedBar(time=day(number), open=price, close=price, volume=1e6)


def order(execution: Execution, quantity: float, number: int, price: float) -> Order:
    """Judge, store and send a wish at the close of a day."""
    wish = Wish(f"agent-1-{number}", quantity, bar(number, price), 0)
    execution.store_intent(wish, execution.judge(wish), decision_id=None)
    made = Order.objects.latest("id")
    execution.send(made)
    made.refresh_from_db()
    return made


def live(execution: Execution, number: int, price: float) -> None:
    """One bar: fills, then the value at its close."""
    execution.on_bar(bar(number, price))
    mark(execution.book, execution.instrument, time=day(number), close=Decimal(str(price)))


def hold(execution: Execution, quantity: float, price: float) -> None:
    """Flat on day 1, holding so much after day 2, at that price."""
    live(execution, 1, price)
    order(execution, quantity, 1, price)
    live(execution, 2, price)
    assert execution.held() == quantity


def happens(execution: Execution, number: int, kind: str, value: float, **values: object) -> CorporateAction:
    store_actions(execution.instrument, [Action(date(2011, 6, number), kind, value)], "test", **values)
    return CorporateAction.objects.get(ex_date=date(2011, 6, number), kind=kind)


def cash(execution: Execution) -> Decimal:
    return Book.objects.get(pk=execution.book.pk).cash


def equity(number: int) -> Decimal:
    return EquitySnapshot.objects.get(time=day(number)).equity


def position() -> Position:
    return Position.objects.get()


def test_100_at_70_through_a_seven_for_one_split_and_a_dividend(execution):
    hold(execution, 100.0, 70.0)  # cash 3,000
    happens(execution, 3, "split", 7.0)
    happens(execution, 4, "dividend", 0.5)
    live(execution, 3, 10.0)
    found = position()
    assert (found.quantity, found.average_price, found.last_price) == (Decimal(700), Decimal(10), Decimal(10))
    assert (cash(execution), equity(3)) == (Decimal(3000), Decimal(10_000))
    live(execution, 4, 9.5)
    # 700 shares times 0.5 are 350, exactly what the price fell by.
    assert (cash(execution), equity(4)) == (Decimal(3350), Decimal(10_000))
    found = position()
    assert found.realised_result + found.open_result == 0
    assert EquitySnapshot.objects.filter(drawdown=0).count() == 4
    assert found.age_bars == 3
    lines = dict(Event.objects.filter(kind__startswith="position.").values_list("kind", "message"))
    assert lines == {
        "position.split": "AAPL split 7 for 1: 100 became 700",
        "position.dividend": "350.00 received: dividend of 0.5 on 700 AAPL",
    }
    booked = BookedAction.objects.order_by("time")
    assert list(booked.values_list("kind", "quantity_before", "quantity_after", "cash")) == [
        ("split", 100, 700, 0),
        ("dividend", 700, 700, 350),
    ]


def test_a_bar_dealt_with_again_books_nothing_twice(execution):
    hold(execution, 100.0, 70.0)
    happens(execution, 3, "dividend", 0.5)
    execution.on_bar(bar(3, 70.0))
    again = Execution(execution.book, execution.instrument, FREE, interval_seconds=DAY)
    again.on_bar(bar(3, 70.0))
    live(again, 3, 70.0)
    live(again, 4, 70.0)
    assert cash(execution) == Decimal(3050)
    assert BookedAction.objects.count() == 1


def test_a_reverse_split_pays_fractions_out_at_the_raw_open(execution):
    hold(execution, 102.0, 10.0)  # cash 8,980
    happens(execution, 3, "split", 0.25)
    live(execution, 3, 41.0)
    # 25.5 shares at 40: the half is 20.50 in cash, 0.50 gained on it.
    assert (position().quantity, position().average_price, cash(execution)) == (25, 40, Decimal("9000.5"))
    assert position().realised_result == Decimal("0.5")
    assert position().realised_result + position().open_result == equity(3) - 10_000
    assert "20.50 in cash for the rest" in Event.objects.get(kind="position.split").message


def test_less_than_a_lot_is_paid_out_whole_and_the_position_ends(execution):
    hold(execution, 3.0, 10.0)
    happens(execution, 3, "split", 0.25)
    live(execution, 3, 40.0)
    assert (position().quantity, position().average_price, position().opened_at, position().age_bars) == (0, 0, None, 0)
    assert cash(execution) == Decimal(10_000)


def test_who_is_short_pays(execution):
    hold(execution, -10.0, 50.0)  # cash 10,500
    happens(execution, 3, "split", 2.0)
    happens(execution, 3, "dividend", 0.5)
    live(execution, 3, 24.5)
    # 20 short, 20 * 0.5 = 10: the dividend of the split's day is per new share.
    assert (position().quantity, cash(execution), equity(3)) == (-20, Decimal(10_490), Decimal(10_000))
    assert "10.00 paid, being short" in Event.objects.get(kind="position.dividend").message


def test_a_multiplier_counts():
    execution = make(multiplier=Decimal(2), rules=MarketRules(half_spread_bps=0.0, schedule="none", multiplier=2.0))
    hold(execution, 10.0, 50.0)
    happens(execution, 3, "dividend", 0.25)
    live(execution, 3, 50.0)
    assert cash(execution) == Decimal(10_000) - 10 * 50 * 2 + 5


def test_an_ex_date_without_a_bar_is_booked_at_the_next(execution):
    hold(execution, 100.0, 70.0)
    happens(execution, 4, "dividend", 0.7)  # on old shares: 0.1 on new ones
    happens(execution, 5, "split", 7.0)
    live(execution, 7, 10.0)
    assert (position().quantity, cash(execution)) == (700, Decimal(3070))
    assert not Event.objects.filter(level=Event.Level.ATTENTION).exists()


def test_an_order_that_waits_leads_to_the_same_exposure(execution):
    hold(execution, 100.0, 50.0)  # cash 5,000
    made = order(execution, 151.0, 2, 50.0)
    happens(execution, 3, "split", 0.5)
    live(execution, 3, 100.0)
    # To 151 old shares, that is 75.5 and so 75 new ones, from 50: 25 are bought instead of 51.
    made.refresh_from_db()
    assert (made.status, made.quantity, made.filled_quantity) == ("filled", 25, 25)
    assert made.quantity_asked == Decimal("25.5")
    assert (position().quantity, cash(execution)) == (75, Decimal(2500))


def test_an_order_to_get_out_still_gets_out_whole(execution):
    hold(execution, 103.0, 50.0)
    made = order(execution, 0.0, 2, 50.0)
    happens(execution, 3, "split", 0.1)
    live(execution, 3, 500.0)
    made.refresh_from_db()
    assert (made.quantity, position().quantity) == (10, 0)
    assert cash(execution) == Decimal(10_000)  # 0.3 of a share in cash, 10 sold


def test_an_order_of_less_than_a_lot_is_canceled(execution):
    hold(execution, 100.0, 50.0)
    made = order(execution, 101.0, 2, 50.0)
    happens(execution, 3, "split", 0.1)
    live(execution, 3, 500.0)
    made.refresh_from_db()
    assert (made.status, made.reason_code, position().quantity) == ("canceled", "SPLIT", 10)


def test_what_the_prices_contain_or_was_before_the_book_concerns_nobody(execution):
    happens(execution, 1, "split", 2.0)
    hold(execution, 100.0, 70.0)
    happens(execution, 3, "split", 7.0, in_prices=True)
    live(execution, 3, 70.0)
    assert position().quantity == 100
    assert not BookedAction.objects.exists()
    assert execution.actions.fault(day(3)) == ""


def test_a_book_that_holds_nothing_books_without_a_word(execution):
    live(execution, 1, 70.0)
    happens(execution, 2, "dividend", 1.0)
    live(execution, 2, 70.0)
    live(execution, 3, 70.0)
    assert BookedAction.objects.get().cash == 0
    assert not Event.objects.filter(kind__startswith="position.").exists()


def test_a_late_action_is_booked_at_the_next_bar_where_nothing_has_traded_since(execution):
    hold(execution, 100.0, 70.0)
    live(execution, 3, 10.0)  # the split of this day is not known yet
    made = order(execution, 400.0, 3, 10.0)
    happens(execution, 3, "split", 7.0)
    assert "split of 2011-06-03 (7) was stored after" in execution.actions.fault(day(3))
    live(execution, 4, 10.0)
    made.refresh_from_db()
    assert (made.status, made.reason_code) == ("canceled", "SPLIT")
    assert (position().quantity, position().average_price, equity(4)) == (700, 10, Decimal(10_000))
    line = Event.objects.get(kind="position.split")
    assert line.level == Event.Level.ATTENTION and "stored late and booked now" in line.message
    assert execution.actions.fault(day(4)) == ""


def test_a_late_dividend_is_paid_on_what_was_held_then(execution):
    hold(execution, 100.0, 70.0)  # cash 3,000
    order(execution, 40.0, 2, 70.0)
    live(execution, 3, 70.0)  # 60 sold on the ex date: still entitled on 100
    happens(execution, 3, "dividend", 0.5)
    live(execution, 4, 70.0)
    assert cash(execution) == Decimal(3000) + 60 * 70 + 50
    assert Event.objects.get(kind="position.dividend").level == Event.Level.ATTENTION
    assert execution.actions.fault(day(4)) == ""


def test_a_late_dividend_before_a_split_is_paid_on_old_shares(execution):
    hold(execution, 100.0, 70.0)
    happens(execution, 4, "split", 7.0)
    live(execution, 3, 70.0)
    live(execution, 4, 10.0)
    happens(execution, 3, "dividend", 0.5)
    live(execution, 5, 10.0)
    assert cash(execution) == Decimal(3050)


def test_a_late_split_after_trades_denies_until_a_person_settles_it(execution):
    hold(execution, 100.0, 70.0)
    order(execution, 50.0, 2, 70.0)
    live(execution, 3, 10.0)  # 50 sold at the new price
    happens(execution, 3, "split", 7.0)
    happens(execution, 5, "dividend", 0.5)
    for number in (4, 5):
        live(execution, number, 10.0)
        denied = order(execution, 0.0, number, 10.0)
        assert (denied.status, denied.reason_code) == ("denied", "DATA_FAULT")
        assert "the split of 2011-06-03 (7)" in denied.reason
    assert not BookedAction.objects.exists(), "the dividend after it waits as well"
    arguments = ("book", "AAPL", "2011-06-03", "split")
    with pytest.raises(CommandError, match="say why"):
        call_command("settle_action", *arguments, " ")
    call_command("settle_action", *arguments, "already corrected")
    with pytest.raises(CommandError, match="booked in book already"):
        call_command("settle_action", *arguments, "again")
    live(execution, 6, 10.0)
    assert BookedAction.objects.get(kind="dividend").cash == 25  # on the 50 that are left
    assert position().quantity == 50
    assert order(execution, 0.0, 6, 10.0).status == "accepted"
    line = Event.objects.get(kind="position.action_settled")
    assert "already corrected" in line.message and line.level == Event.Level.ATTENTION


def test_a_late_split_from_before_anything_was_held_changes_nothing(execution):
    live(execution, 1, 70.0)
    live(execution, 2, 10.0)
    order(execution, 100.0, 2, 10.0)
    live(execution, 3, 10.0)
    happens(execution, 2, "split", 7.0)
    live(execution, 4, 10.0)
    assert (position().quantity, BookedAction.objects.get().applied) == (100, False)
    assert execution.actions.fault(day(4)) == ""
    order(execution, 0.0, 4, 10.0)
    live(execution, 5, 10.0)
    happens(execution, 4, "dividend", 0.5)  # late too, and the 100 held then are sold
    live(execution, 6, 10.0)
    assert cash(execution) == Decimal(9000) + 50 + 1000


def test_the_kill_switch_may_close_a_book_with_an_unbooked_split(execution):
    hold(execution, 100.0, 70.0)
    order(execution, 50.0, 2, 70.0)
    live(execution, 3, 10.0)
    happens(execution, 3, "split", 7.0)
    live(execution, 4, 10.0)
    kill_switch.engage(execution.account, reason="test", actor="test", close_positions=True)
    wish = Wish("agent-1-4", 0.0, bar(4, 10.0), 0, closing_on_kill=True)
    assert execution.judge(wish).verdict == "approved"


def test_settling_refuses_what_is_not_there_or_not_yet_due(execution):
    hold(execution, 100.0, 70.0)
    with pytest.raises(CommandError, match="no split of AAPL on 2011-06-05 is stored"):
        call_command("settle_action", "book", "AAPL", "2011-06-05", "split", "why")
    happens(execution, 5, "split", 7.0)
    with pytest.raises(CommandError, match="has not traded 2011-06-05 yet"):
        call_command("settle_action", "book", "AAPL", "2011-06-05", "split", "why")
    with pytest.raises(CommandError, match="0 books are called 'nobody'"):
        call_command("settle_action", "nobody", "AAPL", "2011-06-05", "split", "why")
    with pytest.raises(CommandError, match="is no date"):
        call_command("settle_action", "book", "AAPL", "June", "split", "why")


def test_without_stored_actions_a_bar_costs_one_query_more_and_no_lock(execution, django_assert_num_queries):
    live(execution, 1, 70.0)
    with django_assert_num_queries(3):  # savepoint, the actions, release
        assert execution.actions.book_due(bar(2, 70.0), 1.0) == []
