"""Splits and dividends: bars through the real order path give what the fast backtest gives, on raw prices."""

from dataclasses import dataclass, replace
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from agents.environment.own_state import ALL
from agents.loop import BarLoop
from agents.models import Decision
from agents.networks.spec import NetworkSpec
from agents.own_rows import OwnRows
from agents.policies.backtest import BacktestResult, run_backtest
from agents.policies.policy import ServedPolicy
from agents.runs.dataset import market_of
from agents.trades import recent_trades
from core.models import EquitySnapshot, Event, Fill, Position
from marketdata.adjusted import DIVIDEND, SPLIT, Mode, adjusted, per_bar
from marketdata.corporate import store_actions
from marketdata.models import DAY
from marketdata.queries import copy_bars
from marketdata.replay import publish
from marketdata.series import BarSeries
from marketdata.sources.base import Action
from risk.models import BookedAction
from tests.desk import N_HISTORY, RULES, SmallDesk, agent_settings, small_desk
from tests.seen import Seen, seen_by_the_environment
from tests.test_one_code_path import give_policy, replay

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def models_folder(settings, tmp_path):
    settings.MODELS_DIR = tmp_path


def day_of(bars: BarSeries, row: int) -> date:
    return datetime.fromtimestamp(int(bars.time[row]), UTC).date()


def as_traded(bars: BarSeries, splits: list[Action]) -> BarSeries:
    """Continuous bars as they would have traded with these splits: prices divided from the ex date on."""
    rows = per_bar(bars.time, splits, UTC)
    factor = np.cumprod(rows[:, 0])
    prices = {name: np.round(getattr(bars, name) / factor, 2) for name in ("open", "high", "low", "close")}
    return replace(bars, **prices, volume=np.round(bars.volume * factor))


@dataclass
class Setting:
    desk: SmallDesk
    policy: ServedPolicy
    actions: list[Action]

    def backtest(self, actions: list[Action] | None = None) -> BacktestResult:
        bars, found = self.desk.bars, self.actions if actions is None else actions
        seen = adjusted(bars, found, Mode.FORWARD)
        features = self.policy.normaliser.apply_series(self.policy.spec.compute(seen), bars.time)
        market = market_of(bars, features, per_bar(bars.time, found, UTC))
        reward = agent_settings(self.desk.agent.algorithm).reward
        return run_backtest(self.policy, market, bars.time, N_HISTORY, len(bars) - 1, reward=reward)

    def environment(self) -> Seen:
        """What the environment shows at every bar."""
        bars, policy = self.desk.bars, self.policy
        seen = adjusted(bars, self.actions, Mode.FORWARD)
        features = policy.normaliser.apply_series(policy.spec.compute(seen), bars.time)
        return seen_by_the_environment(
            policy, market_of(bars, features, per_bar(bars.time, self.actions, UTC)), N_HISTORY
        )


# A plain network sees one bar; this one's window reaches back over the splits.
WINDOW = NetworkSpec("lstm", (8,), "tanh", 6, {"size": 8})


def with_actions(algorithm: str, *, short: bool, n_bars: int = 80, network: NetworkSpec | None = None) -> Setting:
    """A desk whose stream holds a 7:1 and a 1:4 split, both while something is held, one at least while an order waits;
    dividends in between, one of them on a Saturday; and a dividend and a split that fall on one bar.
    """
    desk = small_desk(algorithm, n_bars=n_bars)
    policy = give_policy(desk, "zscore", replace(RULES[algorithm], short_selling=short), network)
    plain = Setting(desk, policy, []).backtest().track
    filled = {int(bar) for bar in plain.fills[:, 0]}
    held = [bar for bar in range(5, n_bars - 10) if plain.quantity[bar - 1] != 0]
    pairs = [(a, b) for a in held for b in held if b > a + 12]
    first, second = max(pairs, key=lambda pair: sum((bar in filled) + (plain.quantity[bar - 1] < 0) for bar in pair))
    monday_row = next(b for b in held if b > first + 1 and day_of(desk.bars, N_HISTORY + b).weekday() == 0)
    splits = [
        Action(day_of(desk.bars, N_HISTORY + first), SPLIT, 7.0),
        Action(day_of(desk.bars, N_HISTORY + second), SPLIT, 0.25),
    ]
    monday = day_of(desk.bars, N_HISTORY + monday_row)
    late = next(b for b in range(second + 5, n_bars) if day_of(desk.bars, N_HISTORY + b).weekday() == 0)
    weekend = day_of(desk.bars, N_HISTORY + late)
    actions = [
        *splits,
        Action(splits[0].ex_date, DIVIDEND, 0.02),
        Action(monday - timedelta(days=2), DIVIDEND, 0.05),
        Action(splits[1].ex_date + timedelta(days=1), DIVIDEND, 0.04),
        Action(weekend - timedelta(days=2), DIVIDEND, 0.03),
        Action(weekend - timedelta(days=1), SPLIT, 1.5),
    ]
    desk.bars = as_traded(desk.bars, [action for action in actions if action.kind == SPLIT])
    copy_bars(desk.agent.instrument_id, DAY, desk.bars, "test")
    store_actions(desk.agent.instrument, actions, "test")
    return Setting(desk, policy, actions)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
@pytest.mark.parametrize("short", [False, True])
@pytest.mark.parametrize(
    ("restart_every", "network"), [(None, None), (1, None), (7, None), (None, WINDOW), (7, WINDOW)]
)
def test_live_equals_the_backtest_through_splits_and_dividends(
    algorithm: str,
    short: bool,
    restart_every: int | None,
    network: NetworkSpec | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    setting = with_actions(algorithm, short=short, network=network)
    result, seen = setting.backtest(), setting.environment()
    live, observe = [], ServedPolicy.observe_scaled
    monkeypatch.setattr(ServedPolicy, "observe_scaled", lambda *args: live.append(observe(*args)) or live[-1])
    replay(setting.desk, restart_every=restart_every)

    equity = [float(s.equity) for s in EquitySnapshot.objects.order_by("time")]
    np.testing.assert_allclose(equity, result.track.equity, rtol=0, atol=1e-6)
    fills = [
        (f.time.timestamp(), float(f.quantity), float(f.price), float(f.commission))
        for f in Fill.objects.order_by("time")
    ]
    expected = [(result.time[int(bar)], *rest) for bar, *rest in result.track.fills.tolist()]
    np.testing.assert_allclose(fills, expected, rtol=0, atol=1e-6)
    decisions = list(Decision.objects.order_by("time"))
    found = [[d.observation[name] for name in ALL] for d in decisions]
    np.testing.assert_allclose(found, seen.owns, rtol=0, atol=1e-9)
    np.testing.assert_allclose(live, seen.observations, rtol=0, atol=1e-6)
    assert float(Position.objects.get().average_price) == pytest.approx(seen.averages[-1], abs=1e-9)
    paid = sum(d.reward for d in decisions[:-1])
    assert paid == pytest.approx(result.track.reward_components["reward"], abs=1e-8)

    booked = list(BookedAction.objects.order_by("id"))
    assert len(booked) == len(setting.actions), "each once, also after restarts"
    seven, quarter = (next(row for row in booked if row.value == value) for value in (7.0, 0.25))
    assert seven.quantity_before != 0 and seven.quantity_after == seven.quantity_before * 7
    assert quarter.quantity_before != 0 and abs(quarter.quantity_after) <= abs(quarter.quantity_before) / 4
    assert any(row.cash != 0 for row in booked if row.kind == DIVIDEND)
    if short:
        assert any(row.quantity_before < 0 for row in booked)
    n_lines = len({(r.time, r.kind) if r.kind == SPLIT else r.pk for r in booked if r.quantity_before != 0})
    assert Event.objects.filter(kind__startswith="position.").count() == n_lines
    trades = recent_trades(setting.desk.account.pk)
    assert len(trades) == len(result.trades)
    total = sum(trade.trip.result for trade in trades)
    assert total == pytest.approx(sum(trip.result for trip in result.trades), abs=1e-5)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_restart_remembers_as_much_through_splits(algorithm: str) -> None:
    desk = with_actions(algorithm, short=True).desk
    loop = BarLoop.load(desk.agent)
    for moment in desk.times():
        publish(desk.stream, moment)
        loop.on_bar(moment, desk.stream, paused=False)
        bar = loop.view.look(moment)
        whole = OwnRows(desk.agent)
        whole._begin = lambda until: None  # type: ignore[method-assign]
        expected = loop.own_rows.memory(bar)
        np.testing.assert_array_equal(OwnRows(desk.agent).memory(bar), expected)
        np.testing.assert_array_equal(whole.memory(bar), expected)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_split_alone_leaves_the_curve_what_it_was(algorithm: str) -> None:
    """Without costs, ticks and lots a 7:1 split is only another unit: equity and weights are those without it."""
    free = replace(RULES[algorithm], half_spread_bps=0.0, impact_bps=0.0, participation=0.0, tick_size=0.0, lot=1e-9)
    free = replace(free, schedule="none", commission_bps=0.0)
    desk = small_desk(algorithm)
    policy = give_policy(desk, "zscore", free)
    plain = Setting(desk, policy, [])
    without = plain.backtest()
    held = np.flatnonzero(without.track.quantity)
    split = Action(day_of(desk.bars, N_HISTORY + int(held[len(held) // 2]) + 1), SPLIT, 7.0)
    factor = np.cumprod(per_bar(desk.bars.time, [split], UTC)[:, 0])
    raw = {name: getattr(desk.bars, name) / factor for name in ("open", "high", "low", "close")}
    desk.bars = replace(desk.bars, **raw, volume=desk.bars.volume * factor)
    through = plain.backtest([split])
    assert len(without.track.fills) >= 2
    np.testing.assert_allclose(through.track.equity, without.track.equity, rtol=1e-9)
    np.testing.assert_allclose(through.baseline.equity, without.baseline.equity, rtol=1e-9)
    np.testing.assert_allclose(through.track.exposure, without.track.exposure, atol=1e-9)
    assert len(through.trades) == len(without.trades)
    results = [trip.result for trip in without.trades]
    np.testing.assert_allclose([trip.result for trip in through.trades], results, rtol=1e-6, atol=1e-6)
