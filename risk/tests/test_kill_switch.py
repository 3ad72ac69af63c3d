"""Stored, latched, with a reason; nothing trades after it, whatever was on its way."""

import threading

import pytest
from django.contrib.auth.models import User
from django.core.management import CommandError, call_command
from django.db import close_old_connections, connection, transaction

from core.models import Account, Event, Order
from core.tests import rows
from risk import kill_switch
from risk.kill_switch import NoReasonError, engage, is_engaged, rearm, state
from risk.models import KillSwitchState

pytestmark = pytest.mark.django_db


def account() -> Account:
    return Account.objects.create(name="main")


def test_an_unused_switch_lets_trade():
    main = account()
    assert state(main) is None and not is_engaged(main)


def test_engaging_stores_cancels_and_journals_before_and_after():
    main = account()
    book, aapl = rows.book(account=main), rows.instrument()
    waiting = [rows.order(book, aapl, "10", status=status) for status in Order.OPEN]
    done = rows.order(book, aapl, "10", status="filled")
    elsewhere = rows.order(rows.book(account=Account.objects.create(name="other")), aapl, "10")

    stopped = engage(main, reason="  the feed\n looks wrong ", actor="olga")

    assert (stopped.engaged, stopped.reason, stopped.n_canceled_orders) == (True, "the feed looks wrong", 4)
    assert stopped.took_ms > 0
    for order in waiting:
        order.refresh_from_db()
        assert (order.status, order.reason_code) == ("canceled", "KILL_SWITCH")
    done.refresh_from_db()
    elsewhere.refresh_from_db()
    assert (done.status, elsewhere.status) == ("filled", "accepted")
    line = Event.objects.get(kind="kill_switch.engaged")
    assert (line.actor, line.level, line.subject) == ("olga", "critical", f"account:{main.pk}")
    assert line.data["before"] == {"engaged": False}
    assert line.data["after"] == {"engaged": True, "close_positions": False}
    assert Event.objects.filter(kind="order.canceled", actor="olga").count() == 4


def test_it_stays_engaged_until_a_person_rearms_it_with_a_reason():
    main = account()
    engage(main, reason="first", actor="olga")
    assert is_engaged(Account.objects.get(pk=main.pk)), "a row, so a restart changes nothing"
    engage(main, reason="second", actor="system")
    assert state(main).reason == "second"
    for empty in ("", " ", "\n\t"):
        with pytest.raises(NoReasonError):
            rearm(main, reason=empty, actor="olga")
    assert is_engaged(main)

    rearm(main, reason="checked the feed", actor="olga")
    assert not is_engaged(main)
    line = Event.objects.get(kind="kill_switch.rearmed")
    assert line.data == {"before": {"engaged": True}, "after": {"engaged": False}}
    assert KillSwitchState.objects.count() == 3, "history is kept"
    with pytest.raises(ValueError, match="not stopped"):
        rearm(main, reason="again", actor="olga")


def test_a_second_plain_stop_does_not_take_back_the_wish_to_close_positions():
    main = account()
    engage(main, reason="close all", actor="olga", close_positions=True)
    assert engage(main, reason="drawdown", actor="system").close_positions
    rearm(main, reason="fine again", actor="olga")
    assert not engage(main, reason="new day", actor="olga").close_positions


def test_stopping_without_a_reason_is_refused_and_leaves_no_trace():
    main = account()
    with pytest.raises(NoReasonError):
        engage(main, reason="  ", actor="olga")
    assert not is_engaged(main) and not Event.objects.exists()


@pytest.mark.parametrize("reason", ["stop\x00 it", "stop \udcff it", "s" * 5000])
def test_what_a_database_cannot_store_does_not_keep_anybody_from_stopping(reason):
    main = account()
    engage(main, reason=reason, actor="a" * 150)  # a user's name may be that long
    assert is_engaged(main)
    rearm(main, reason=reason, actor="a" * 150)
    assert not is_engaged(main)


@pytest.mark.django_db(transaction=True)
def test_it_is_in_force_before_it_waits_for_an_order_an_agent_is_working_on():
    main = account()
    order = rows.order(rows.book(account=main), rows.instrument(), "10")
    pk = main.pk
    held, go_on = threading.Event(), threading.Event()

    def agent() -> None:
        """Holds its order's row in the middle of a bar."""
        with transaction.atomic():
            Order.objects.select_for_update().get(pk=order.pk)
            held.set()
            go_on.wait(10)
        connection.close()

    def operator() -> None:
        engage(Account.objects.get(pk=pk), reason="now", actor="olga")
        connection.close()

    first, second = threading.Thread(target=agent), threading.Thread(target=operator)
    first.start()
    assert held.wait(5)
    second.start()
    try:
        for _ in range(100):
            if is_engaged(main):
                break
            go_on.wait(0.05)
        assert is_engaged(main), "seen by everybody while the agent still holds its row"
    finally:
        go_on.set()
        first.join(10)
        second.join(10)
        close_old_connections()
    order.refresh_from_db()
    assert order.status == "canceled"


def test_command_stops_and_rearms_with_one_line_each(capsys):
    main = account()
    call_command("kill", "wrong prices", "--close-positions")
    assert "Trading on account main is stopped: 0 open orders canceled" in capsys.readouterr().out
    assert state(main).close_positions and state(main).actor.endswith("(terminal)")
    call_command("rearm", "prices are right", "--account", "main")
    assert capsys.readouterr().out.strip() == "Trading on account main is allowed again."
    assert not is_engaged(main)


@pytest.mark.parametrize(
    ("command", "words"),
    [
        (("kill", "  "), "a reason is needed"),
        (("kill", "x", "--account", "nobody"), "there is no account 'nobody'; known accounts: main"),
        (("kill",), "reason"),
        (("rearm", "x"), "trading is not stopped on any account"),
        (("rearm", "x", "--account", "main"), "trading on account main is not stopped"),
        (("rearm",), "reason"),
    ],
)
def test_wrong_arguments_give_one_clear_line(command, words):
    account()
    with pytest.raises(CommandError) as error:
        call_command(*command)
    assert words in str(error.value)
    assert "\n" not in str(error.value)


def test_kill_without_any_account_says_what_to_do():
    with pytest.raises(CommandError, match="make up"):
        call_command("kill", "x")


def test_the_switch_never_needs_a_user_row():
    # From a terminal on a desk whose users are gone.
    User.objects.all().delete()
    main = account()
    call_command("kill", "no users")
    assert kill_switch.is_engaged(main)
