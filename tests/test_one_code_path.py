"""The promise the desk exists for: bars through the real order path give what the fast backtest gives."""

from decimal import Decimal

import numpy as np
import pytest
from django.db import connection

from agents.loop import BarLoop, StoppedMeanwhileError
from agents.models import Agent, Decision
from core.models import EquitySnapshot, Fill, Order
from marketdata.replay import publish
from risk import kill_switch
from tests.desk import SmallDesk, backtest_of, small_desk

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def models_folder(settings, tmp_path):
    settings.MODELS_DIR = tmp_path


def replay(desk: SmallDesk, *, restart_every: int | None = None) -> None:
    loop = BarLoop.load(desk.agent)
    for number, moment in enumerate(desk.times()):
        if restart_every and number % restart_every == 0:
            loop = BarLoop.load(Agent.objects.get(pk=desk.agent.pk))
        publish(desk.stream, moment)
        loop.on_bar(moment, desk.stream, paused=False)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
@pytest.mark.parametrize("restart_every", [None, 7])
def test_event_driven_run_equals_the_fast_backtest(algorithm: str, restart_every: int | None) -> None:
    desk = small_desk(algorithm)
    result = backtest_of(desk)
    assert len(result.track.fills) >= 5, "the test needs a policy that trades"
    replay(desk, restart_every=restart_every)

    equity = [float(s.equity) for s in EquitySnapshot.objects.filter(book=desk.agent.book_id).order_by("time")]
    np.testing.assert_allclose(equity, result.track.equity, rtol=0, atol=1e-6)
    fills = [
        (fill.time.timestamp(), float(fill.quantity), float(fill.price), float(fill.commission))
        for fill in Fill.objects.order_by("time")
    ]
    expected = [(result.time[int(bar)], *rest) for bar, *rest in result.track.fills.tolist()]
    np.testing.assert_allclose(fills, expected, rtol=0, atol=1e-6)
    decisions = list(Decision.objects.order_by("time"))
    assert len(decisions) == len(desk.times())
    np.testing.assert_allclose([d.action for d in decisions][:-1], result.track.actions[:-1], atol=1e-6)
    # Rewards and their parts add up to the backtest's; the last decision has not been paid yet.
    assert decisions[-1].reward is None
    paid = sum(d.reward for d in decisions[:-1] if d.reward is not None)
    assert paid == pytest.approx(result.track.reward_components["reward"], abs=1e-9)
    for name in ("net_return", "log_return", "drawdown", "volatility", "cost"):
        total = sum(d.reward_components[name] for d in decisions[:-1])
        assert total == pytest.approx(result.track.reward_components[name], abs=1e-8), name


def test_every_order_comes_from_a_decision_and_fills_one_bar_later() -> None:
    desk = small_desk("ppo")
    replay(desk)
    times = desk.times()
    for order in Order.objects.filter(status=Order.Status.FILLED):
        decision = Decision.objects.get(pk=order.decision_id)
        fill = Fill.objects.get(order=order)
        assert decision.time == order.decided_at
        assert times.index(fill.time) == times.index(order.decided_at) + 1


def test_a_bar_is_dealt_with_once() -> None:
    desk = small_desk("ppo", n_bars=5)
    first, second = desk.times()[:2]
    loop = BarLoop.load(desk.agent)
    publish(desk.stream, first)
    loop.on_bar(first, desk.stream, paused=False)
    with pytest.raises(StoppedMeanwhileError):
        BarLoop.load(desk.agent).on_bar(first, desk.stream, paused=False)
    publish(desk.stream, second)
    loop.on_bar(second, desk.stream, paused=False)
    assert Decision.objects.count() == 2


def test_future_bars_change_no_past_decision_or_fill() -> None:
    desk = small_desk("ppo", n_bars=40)
    replay(desk)
    seen = list(Decision.objects.order_by("time").values_list("time", "action", "quantity_allowed", "confidence"))
    fills = list(Fill.objects.order_by("time").values_list("time", "quantity", "price"))

    other = small_desk("ppo", n_bars=40, name="other")
    cut = other.times()[20]
    with connection.cursor() as cursor:
        cursor.execute(
            "UPDATE marketdata_bar SET open = open * 3, high = high * 9, low = low / 2, close = close * 5"
            " WHERE instrument_id = %s AND time > %s",
            [other.agent.instrument_id, cut],
        )
    replay(other)
    again = Decision.objects.filter(agent=other.agent).order_by("time")
    assert [row for row in again.values_list("time", "action", "quantity_allowed", "confidence") if row[0] <= cut] == [
        row for row in seen if row[0] <= cut
    ]
    later = Fill.objects.filter(book=other.agent.book_id).order_by("time").values_list("time", "quantity", "price")
    assert [row for row in later if row[0] <= cut] == [row for row in fills if row[0] <= cut]


def test_paused_agent_values_its_book_but_decides_nothing() -> None:
    desk = small_desk("ppo", n_bars=4)
    loop = BarLoop.load(desk.agent)
    for moment in desk.times():
        publish(desk.stream, moment)
        loop.on_bar(moment, desk.stream, paused=True)
    assert Decision.objects.count() == 0
    assert EquitySnapshot.objects.filter(equity=Decimal(50_000)).count() == 4


def test_close_all_positions_holds_for_a_paused_agent_too() -> None:
    desk = small_desk("ppo", n_bars=30)
    loop, times = BarLoop.load(desk.agent), iter(desk.times())
    while loop.execution.held() == 0:
        moment = next(times)
        publish(desk.stream, moment)
        loop.on_bar(moment, desk.stream, paused=False)
    kill_switch.engage(desk.account, reason="test", actor="test", close_positions=True)
    for _ in range(2):  # the order is made at the close of one bar and filled at the next one's open
        moment = next(times)
        publish(desk.stream, moment)
        loop.on_bar(moment, desk.stream, paused=True)
    assert loop.execution.held() == 0
    assert Fill.objects.order_by("time").last().time == moment
    n_decisions = Decision.objects.count()
    last = next(times)
    publish(desk.stream, last)
    assert loop.on_bar(last, desk.stream, paused=True) is None
    assert Decision.objects.count() == n_decisions, "once flat a paused agent decides nothing"
