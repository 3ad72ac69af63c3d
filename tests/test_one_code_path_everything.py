"""Everything at once: protection, splits, dividends, nights and thin markets live, against the fast backtest."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.urls import reverse

from agents.environment.own_state import ALL
from agents.loop import BarLoop
from agents.models import Agent, Decision
from agents.policies.backtest import run_backtest
from agents.runs.dataset import market_of
from agents.trades import recent_trades
from core.models import EquitySnapshot, Event, Fill, Financing, Order
from core.simulation.kernel import REASON_FORCE as FORCE
from core.simulation.rules import MarketRules
from marketdata.adjusted import DIVIDEND, SPLIT
from marketdata.corporate import store_actions
from marketdata.models import DAY, Stream
from marketdata.queries import copy_bars
from marketdata.replay import publish
from marketdata.sources.base import Action
from risk import kill_switch
from risk.models import Limits
from tests import factories
from tests.desk import FIRST_DAY, N_HISTORY, SmallDesk, small_desk
from tests.test_one_code_path import give_policy, replay
from tests.test_one_code_path_actions import Setting, as_traded, day_of

pytestmark = pytest.mark.django_db
NIGHTS = {"interest_rate": 0.05, "credit_spread": 0.01, "debit_spread": 0.02, "borrow_rate": 0.03}
BASE = MarketRules(
    half_spread_bps=1.5, impact_bps=10.0, no_trade_band=0.05, leverage=2.0, max_weight=2.0, short_selling=True,
    ruin_fraction=0.0, sharpe_rate=0.05, **NIGHTS,
)  # fmt: skip
# Rules, and the purposes of orders that must occur under them.
CASES: dict[str, tuple[str, int, MarketRules, set[str]]] = {
    "trail in a thin market": ("sac", 12, replace(BASE, participation=0.0004, stop_loss=0.02, trail_atr=1.0), {"rest"}),
    "target and time stop": ("sac", 27, replace(BASE, take_profit=0.03, time_stop=4.0), {"target", "force"}),
    "stop and trail": (
        "ppo",
        3,
        replace(BASE, participation=0.05, stop_loss=0.02, take_profit=0.03, trail_fraction=0.02),
        {"stop", "target"},
    ),
}


@pytest.fixture(autouse=True)
def models_folder(settings, tmp_path):
    settings.MODELS_DIR = tmp_path


def eventful(algorithm: str, seed: int, rules: MarketRules) -> Setting:
    """A desk whose stream holds two splits and three dividends, a split and a dividend on one bar among them."""
    desk = small_desk(algorithm, n_bars=60, seed=seed + 1)
    Limits.objects.update(max_position_weight=10.0, max_gross_exposure=10.0)
    policy = give_policy(desk, "zscore", rules, seed=seed)
    days = [day_of(desk.bars, N_HISTORY + row) for row in (12, 21, 33, 44)]
    actions = [
        Action(days[0], DIVIDEND, 0.05), Action(days[1], SPLIT, 7.0), Action(days[2], DIVIDEND, 0.05),
        Action(days[3], SPLIT, 0.25), Action(days[3], DIVIDEND, 0.3),
    ]  # fmt: skip
    desk.bars = as_traded(desk.bars, [action for action in actions if action.kind == SPLIT])
    copy_bars(desk.agent.instrument_id, DAY, desk.bars, "test")
    store_actions(desk.agent.instrument, actions, "test")
    return Setting(desk, policy, actions)


@pytest.mark.parametrize("case", CASES)
def test_live_equals_the_backtest_with_everything_on(case: str) -> None:
    algorithm, seed, rules, purposes = CASES[case]
    setting = eventful(algorithm, seed, rules)
    result, seen = setting.backtest(), setting.environment()
    replay(setting.desk, restart_every=7)

    fills = [
        (fill.time.timestamp(), float(fill.quantity), float(fill.price), float(fill.commission))
        for fill in Fill.objects.order_by("time", "id")
    ]
    expected = [(result.time[int(bar)], *rest) for bar, *rest in result.track.fills[:, :4].tolist()]
    assert len(fills) >= 20
    np.testing.assert_allclose(fills, expected, rtol=0, atol=1e-6)
    equity = [float(row.equity) for row in EquitySnapshot.objects.order_by("time")]
    np.testing.assert_allclose(equity, result.track.equity, rtol=0, atol=1e-6)
    decisions = list(Decision.objects.order_by("time"))
    found = [[decision.observation[name] for name in ALL] for decision in decisions]
    np.testing.assert_allclose(found, seen.owns, rtol=0, atol=1e-8)
    for name in decisions[0].reward_components.keys() & result.track.reward_components.keys():
        total = sum(decision.reward_components[name] for decision in decisions[:-1])
        assert total == pytest.approx(result.track.reward_components[name], abs=1e-7), name
    booked = {
        kind: float(sum(row.amount for row in Financing.objects.filter(kind=kind))) for kind in ("interest", "borrow")
    }
    assert booked == pytest.approx({"interest": result.track.interest, "borrow": -result.track.borrow}, abs=1e-6)
    trades = recent_trades(setting.desk.account.pk)
    assert len(trades) == len(result.trades)
    total = sum(trade.trip.result for trade in trades)
    assert total == pytest.approx(sum(trip.result for trip in result.trades), abs=1e-5)
    assert purposes <= set(Order.objects.filter(status="filled").values_list("purpose", flat=True))
    unfilled = Order.objects.filter(purpose="force", status="canceled")
    assert not unfilled.exists(), "a forced close is one order, not one that is canceled beside one that is filled"


def holding(rules: MarketRules, n_bars: int = 40) -> tuple[SmallDesk, BarLoop, list]:
    """A desk whose agent has just bought; and the bars after that."""
    desk = small_desk("ppo", n_bars=n_bars)
    give_policy(desk, "zscore", rules)
    loop, times = BarLoop.load(desk.agent), desk.times()
    while loop.execution.held() == 0:
        step(desk, loop, times)
    return desk, loop, times


def step(desk: SmallDesk, loop: BarLoop, times: list, *, paused: bool = False) -> Decision | None:
    moment = times.pop(0)
    publish(desk.stream, moment)
    return loop.on_bar(moment, desk.stream, paused=paused)


def test_intraday_bars_pay_for_the_night_once_a_session() -> None:
    # Seven hourly bars a day: interest over the nights, three days over a weekend, and none between the bars of a day.
    rules = replace(BASE, stop_loss=0.02, margin_call=0.0)
    desk = small_desk("sac", n_bars=70)
    seconds = np.array([int(day_start(row // 7).timestamp()) + 3600 * (row % 7) for row in range(len(desk.bars))])
    desk.bars = replace(desk.bars, time=seconds)
    copy_bars(desk.agent.instrument_id, 3600, desk.bars, "test")
    first, last = (datetime.fromtimestamp(int(seconds[row]), UTC) for row in (N_HISTORY, -1))
    Stream.objects.update(from_time=first, to_time=last)
    Agent.objects.update(interval_seconds=3600)
    Limits.objects.update(max_position_weight=10.0, max_gross_exposure=10.0)
    desk.agent.refresh_from_db()
    policy = give_policy(desk, "zscore", rules)
    features = policy.normaliser.apply_series(policy.spec.compute(desk.bars, None, 3600), seconds)
    market = market_of(desk.bars, features, interval_seconds=3600, day=seconds // 86_400)
    result = run_backtest(policy, market, seconds, N_HISTORY, len(seconds) - 1)
    replay(desk, restart_every=5)
    equity = [float(row.equity) for row in EquitySnapshot.objects.order_by("time")]
    np.testing.assert_allclose(equity, result.track.equity, rtol=0, atol=1e-6)
    rows = list(Financing.objects.filter(kind="interest").order_by("time"))
    opens = [moment for moment in desk.times()[1:] if moment.hour == 15]
    assert [row.time for row in rows] == opens
    assert {row.n_days for row in rows if row.time.weekday() == 0} == {3}
    assert {row.n_days for row in rows if row.time.weekday() != 0} == {1}


def day_start(number: int) -> datetime:
    """15:00 UTC of a weekday of 2010, the first of which is 4 January."""
    return FIRST_DAY + timedelta(days=7 * (number // 5) + number % 5, hours=15)


@pytest.mark.parametrize(("ends", "market", "seed"), [({"margin_call": 2.02}, 3, 2), ({"ruin_fraction": 0.95}, 1, 7)])
def test_a_margin_call_and_ruin_close_live_what_they_close_in_the_environment(
    ends: dict[str, float], market: int, seed: int
) -> None:
    desk = small_desk("sac", n_bars=60, seed=market)
    Limits.objects.update(max_position_weight=10.0, max_gross_exposure=10.0)
    policy = give_policy(desk, "zscore", replace(BASE, **ends), seed=seed)
    result = Setting(desk, policy, []).backtest()
    bars = [
        int(bar) for bar, reason in zip(result.track.fills[:, 0], result.track.reasons, strict=True) if reason == FORCE
    ]
    assert len(bars) == 1, "the test needs an account that is closed by force"
    replay(desk, restart_every=7)
    equity = [float(row.equity) for row in EquitySnapshot.objects.order_by("time")][: bars[0] + 1]
    np.testing.assert_allclose(equity, result.track.equity[: bars[0] + 1], rtol=0, atol=1e-6)
    fill = Fill.objects.get(time=desk.times()[bars[0]])
    assert (fill.order.purpose, fill.order.decision_id is not None) == ("force", True)
    if "ruin_fraction" in ends:
        assert not Fill.objects.filter(time__gt=fill.time).exists(), "a ruined account buys nothing any more"


def test_pages_say_why_something_traded_and_what_moved_cash(client) -> None:
    desk = small_desk("sac", n_bars=30)
    Limits.objects.update(max_position_weight=10.0, max_gross_exposure=10.0)
    give_policy(desk, "zscore", replace(BASE, stop_loss=0.03, time_stop=3.0))
    replay(desk)
    assert {"stop", "force"} <= set(Order.objects.filter(status="filled").values_list("purpose", flat=True))
    client.force_login(factories.operator())
    orders = client.get(reverse("orders")).content.decode()
    assert "<span>stop-loss</span>" in orders and '<span class="sub">forced close</span>' in orders
    assert "the stop-loss was reached" in orders
    page = client.get(reverse("agent", args=[desk.agent.name])).content.decode()
    assert "Interest and borrow fees" in page and "Interest on cash" in page
    assert len(client.get(reverse("trades-csv")).content.decode().splitlines()) == 1 + len(
        recent_trades(desk.account.pk)
    )


def test_a_time_stop_does_not_trade_past_the_kill_switch() -> None:
    desk, loop, times = holding(MarketRules(time_stop=2.0))
    held = loop.execution.held()
    kill_switch.engage(desk.account, reason="test", actor="test")
    for _ in range(4):
        step(desk, loop, times)
        assert loop.execution.held() == held
    assert loop.execution.forced_flat()
    kill_switch.rearm(desk.account, reason="test", actor="test")
    step(desk, loop, times)
    assert loop.execution.held() == 0


def test_a_paused_agents_stop_acts_and_a_time_stop_says_that_it_had_to_close() -> None:
    desk, loop, times = holding(MarketRules(time_stop=2.0))
    decisions = [step(desk, loop, times, paused=True) for _ in range(2)]
    forced = next(decision for decision in decisions if decision is not None)
    assert forced.rationale["sentence"].startswith("Its position had to be closed, whatever it chose. ")
    order = Order.objects.get(decision_id=forced.pk)
    if order.status != Order.Status.FILLED:
        step(desk, loop, times, paused=True)
    order.refresh_from_db()
    assert (order.status, order.purpose, loop.execution.held()) == ("filled", "force", 0)


def test_a_crash_between_fills_and_value_leaves_nothing_and_the_bar_is_dealt_with_again(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rules = MarketRules(stop_loss=0.01, interest_rate=0.05)
    desk, tables = small_desk("ppo", n_bars=30, name="crashing"), (Fill, Financing, Order, EquitySnapshot, Event)
    give_policy(desk, "zscore", rules)

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("the power is gone")

    loop, times = BarLoop.load(desk.agent), desk.times()
    while times:
        before = [model.objects.count() for model in tables]
        with monkeypatch.context() as patch, pytest.raises(RuntimeError):
            patch.setattr("agents.loop.mark", broken)
            step(desk, loop, times[:1])
        assert [model.objects.count() for model in tables] == before
        step(desk, loop, times)
    steady = small_desk("ppo", n_bars=30, name="steady")
    give_policy(steady, "zscore", rules)
    replay(steady)
    assert Order.objects.filter(purpose="stop").count() >= 4, "the test needs a stop that is hit"
    curves = [
        list(EquitySnapshot.objects.filter(book=each.agent.book_id).order_by("time").values_list("time", "equity"))
        for each in (desk, steady)
    ]
    assert curves[0] == curves[1]
