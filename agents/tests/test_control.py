"""Operators' wishes for agents: rows, journal lines, orders canceled, and no deadlock with the agent at work."""

import threading

import pytest
from django.db import close_old_connections, connection, transaction

from agents.models import Agent
from agents.runs import control
from core.models import Event, Order
from core.tests import rows
from marketdata.models import Subscription
from tests.factories import desk

pytestmark = pytest.mark.django_db


@pytest.fixture
def agent() -> Agent:
    """An agent that runs and whose stream waits for it."""
    found = desk().aapl
    Agent.objects.filter(pk=found.pk).update(desired_state="running", state="running")
    Subscription.objects.update_or_create(
        stream=found.stream, subscriber=found.name, defaults={"active": True, "acknowledged": None}
    )
    return Agent.objects.get(pk=found.pk)


def test_stop_cancels_open_orders_and_lets_the_stream_go_on(agent):
    order = rows.order(agent.book, agent.instrument, "10")
    control.stop(agent, actor="olga")
    order.refresh_from_db()
    agent.refresh_from_db()
    assert (order.status, order.reason_code, agent.desired_state) == ("canceled", "AGENT_STOPPED", "stopped")
    assert not Subscription.objects.get(subscriber=agent.name).active
    line = Event.objects.get(kind="agent.stopped", actor="olga")
    assert line.data == {"before": "running", "after": "stopped"}


def test_a_start_after_a_failure_cancels_what_was_left_open_and_begins_at_the_streams_bar(agent):
    # It failed with an order on its way; the bars since then are missed, so the order must not trade in a later one.
    order = rows.order(agent.book, agent.instrument, "10")
    Agent.objects.update(desired_state="stopped", state="failed", last_bar_time=None)
    control.start(agent, actor="olga")
    order.refresh_from_db()
    agent.refresh_from_db()
    assert order.status == "canceled"
    assert (agent.desired_state, agent.state, agent.last_bar_time) == ("running", "stopped", agent.stream.cursor)
    assert Subscription.objects.get(subscriber=agent.name).active


def test_a_stopped_agent_is_started_not_continued_or_paused(agent):
    control.stop(agent, actor="olga")
    for action in (control.pause, control.resume):
        with pytest.raises(ValueError, match="start it first"):
            action(agent, actor="olga")
    agent.refresh_from_db()
    assert agent.desired_state == "stopped"


@pytest.mark.django_db(transaction=True)
def test_stopping_waits_for_the_bar_at_work_without_a_deadlock(agent):
    held, tried = threading.Event(), threading.Event()
    errors: list[Exception] = []

    def bar() -> None:
        """What the agent's process does in one bar: its own row first, the subscription last."""
        try:
            with transaction.atomic():
                Agent.objects.select_for_update().get(pk=agent.pk)
                held.set()
                tried.wait(5)
                Subscription.objects.filter(subscriber=agent.name).update(acknowledged=None)
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    def stop() -> None:
        try:
            control.stop(agent, actor="olga")
        except Exception as error:
            errors.append(error)
        finally:
            connection.close()

    first, second = threading.Thread(target=bar), threading.Thread(target=stop)
    first.start()
    assert held.wait(5)
    second.start()
    second.join(0.3)  # it has come as far as it can
    tried.set()
    first.join(10)
    second.join(10)
    close_old_connections()
    assert errors == []
    assert Order.objects.filter(book=agent.book, status__in=Order.OPEN).count() == 0
