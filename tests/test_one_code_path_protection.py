"""Protective levels, nights and futures: bars through the real order path give what the fast backtest gives."""

from dataclasses import replace

import numpy as np
import pytest

from agents.loop import BarLoop
from agents.models import Agent, AgentConfiguration
from agents.policies.backtest import BacktestResult, run_backtest
from agents.runs.dataset import market_of
from core.models import EquitySnapshot, Fill, Financing, Instrument, Order
from core.simulation.rules import MarketRules
from marketdata.replay import publish
from risk.models import Limits
from tests.desk import N_HISTORY, SmallDesk, agent_settings, small_desk, stored_version

pytestmark = pytest.mark.django_db
PLAIN = MarketRules(half_spread_bps=1.5, impact_bps=10.0, participation=0.05)
BANDED = replace(PLAIN, no_trade_band=0.05)
# Rules, and the purposes of orders that must occur under them, or the test would prove nothing.
CASES: dict[str, tuple[MarketRules, set[str]]] = {
    "stop and target": (replace(BANDED, stop_loss=0.02, take_profit=0.03), {"stop", "target"}),
    "trail": (replace(BANDED, trail_fraction=0.02), {"trail"}),
    "trail in true ranges": (replace(BANDED, trail_atr=1.0), {"trail"}),
    "time stop": (replace(BANDED, time_stop=4.0), {"force"}),
    "little volume": (replace(BANDED, participation=0.0004, stop_loss=0.02), {"stop", "rest"}),
    "short, interest and borrow": (
        replace(
            BANDED,
            short_selling=True,
            stop_loss=0.03,
            interest_rate=0.05,
            credit_spread=0.01,
            debit_spread=0.02,
            borrow_rate=0.03,
        ),
        {"stop"},
    ),
    "tiered commission": (replace(BANDED, schedule="ibkr_tiered", take_profit=0.02), {"target"}),
    "futures": (
        replace(
            BANDED,
            multiplier=20.0,
            tick_size=0.25,
            settled_daily=True,
            schedule="ibkr_futures",
            participation=0.0,
            stop_loss=0.02,
            interest_rate=0.05,
        ),
        {"stop"},
    ),
}


@pytest.fixture(autouse=True)
def models_folder(settings, tmp_path):
    settings.MODELS_DIR = tmp_path


def desk_with(rules: MarketRules, algorithm: str) -> SmallDesk:
    """The small desk with other rules, for its agent, its policy and its instrument."""
    desk = small_desk(algorithm)
    Instrument.objects.filter(pk=desk.agent.instrument_id).update(
        asset_class="future" if rules.settled_daily else "stock", multiplier=rules.multiplier, tick_size=rules.tick_size
    )
    Limits.objects.update(max_position_weight=10.0, max_gross_exposure=10.0)
    policy = replace(desk.policy, rules=rules)
    data = replace(agent_settings(algorithm), rules=rules).to_dict()
    AgentConfiguration.objects.create(agent=desk.agent, version=2, data=data)
    version = stored_version(desk.agent, policy, 2)
    Agent.objects.filter(pk=desk.agent.pk).update(deployed_version=version)
    return replace(desk, agent=Agent.objects.get(pk=desk.agent.pk), policy=policy, version=version)


def backtest(desk: SmallDesk) -> BacktestResult:
    market = market_of(desk.bars, desk.policy.normaliser.apply(desk.policy.spec.compute(desk.bars, None)))
    reward = agent_settings(desk.agent.algorithm).reward
    return run_backtest(desk.policy, market, desk.bars.time, N_HISTORY, len(desk.bars) - 1, reward=reward)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
@pytest.mark.parametrize("case", CASES)
def test_event_driven_run_equals_the_fast_backtest(case: str, algorithm: str) -> None:
    rules, purposes = CASES[case]
    desk = desk_with(rules, algorithm)
    result = backtest(desk)
    for number, moment in enumerate(desk.times()):
        if number % 11 == 0:  # a new process now and then
            loop = BarLoop.load(Agent.objects.get(pk=desk.agent.pk))
        publish(desk.stream, moment)
        loop.on_bar(moment, desk.stream, paused=False)

    fills = [
        (fill.time.timestamp(), float(fill.quantity), float(fill.price), float(fill.commission))
        for fill in Fill.objects.order_by("time", "id")
    ]
    expected = [(result.time[int(bar)], *rest) for bar, *rest in result.track.fills[:, :4].tolist()]
    assert len(fills) >= 5, "the test needs a policy that trades"
    np.testing.assert_allclose(fills, expected, rtol=0, atol=1e-6)
    equity = [float(s.equity) for s in EquitySnapshot.objects.filter(book=desk.agent.book_id).order_by("time")]
    np.testing.assert_allclose(equity, result.track.equity, rtol=0, atol=1e-5)
    found = set(Order.objects.filter(status="filled").values_list("purpose", flat=True))
    if algorithm == "ppo":  # the random SAC policy need not meet every rule
        assert purposes <= found, f"only {found} occurred"
    assert Financing.objects.exists() == (rules.interest_rate > 0)
