"""Backtests of several instruments in one account, against the plain reference of simulation.md."""

from dataclasses import fields, replace

import numpy as np
import pytest
import torch

from agents.environment.env import EnvConfig, Market, TradingEnv
from agents.environment.own_state import OwnSpec
from agents.networks.spec import HeadSpec, NetworkSpec
from agents.policies.backtest import BacktestResult, run_backtest
from agents.policies.policy import ServedPolicy
from agents.tests import networks, several
from core.simulation import kernel
from core.simulation.rules import MarketRules
from core.simulation.trades import RoundTrip
from core.tests.reference.play import FILL, REASONS, SLOTS, columns, on_reference
from core.tests.reference.random_cases import Case
from core.tests.reference.state import Bar, Rules

FIRST, LAST, CASH = 30, 255, 60_000.0
KINDS = {"choice": "choice", "steps": "steps", "target": "continuous"}
HEADS = {
    "choice": HeadSpec("logits", 3, n_instruments=2),
    "steps": HeadSpec("logits", 9, n_instruments=2),
    "masked": HeadSpec("logits", 9, {"masked": True}, 2),
    "gaussian": HeadSpec("gaussian", n_instruments=2),
    "gaussian_clipped": HeadSpec("gaussian_clipped", n_instruments=3),
    "deterministic": HeadSpec("deterministic", n_instruments=2),
}
# With a stop, a target and a trail, so that orders and protective closes of both happen in the same bars.
PROTECTED = tuple(
    replace(rules, stop_loss=0.04, take_profit=0.06, trail_atr=trail, borrow_rate=0.02)
    for rules, trail in zip(several.RULES, (2.0, 0.0, 1.5), strict=True)
)


def played(policy: ServedPolicy, market: Market, **given) -> BacktestResult:
    time = 86_400 * market.bars[:, 0, kernel.BAR_DAY].astype(np.int64)
    return run_backtest(policy, market, time, FIRST, LAST, start_cash=CASH, **given)


def by_the_reference(market: Market, kind: str, rules: tuple[MarketRules, ...], actions: np.ndarray) -> np.ndarray:
    """The reference's table, one row for each bar from the second on; actions: (T, I) decided at each close."""
    case = Case(
        kind=kind, start_cash=CASH,
        rules=[Rules(**{field.name: getattr(one, field.name) for field in fields(Rules)}) for one in rules],
        bars=[[Bar(*row.tolist()) for row in rows] for rows in market.bars[FIRST : LAST + 1]],
        actions=actions.tolist(),
    )  # fmt: skip
    return on_reference(case)


def reference_fills(table: np.ndarray, n: int) -> list[tuple[float, ...]]:
    """Bar, instrument, traded, price, commission and reason: of each bar all orders at the open first."""
    names = columns(n)
    at = {(i, slot): [names.index(f"{i}.{slot}.{name}") for name in FILL] for i in range(n) for slot in SLOTS}
    found: list[tuple[float, ...]] = []
    for bar, row in enumerate(table, start=1):
        for slot in SLOTS:
            for i in range(n):
                traded, price, commission, _, reason = row[at[i, slot]]
                if traded:
                    found.append((bar, i, traded, price, commission, reason))
    return found


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("rules", [several.RULES, PROTECTED])
def test_it_equals_the_plain_reference_of_the_same_decisions(name, rules):
    head, n = HEADS[name], HEADS[name].n_instruments
    policy, market = several.policy(head, networks.NETWORKS["lstm"], seed=6, gain=5.0), several.market(n)
    result = played(policy, market, rules=rules[:n])
    track = result.track
    assert track.quantity.shape == track.actions.shape == (LAST - FIRST + 1, n)
    assert np.isnan(track.actions[-1]).all() and np.isfinite(track.actions[:-1]).all()
    table = by_the_reference(market, KINDS[policy.actions], rules[:n], track.actions)
    names = columns(n)
    assert not table[:, names.index("terminated")].any()
    np.testing.assert_allclose(track.equity[1:], table[:, names.index("equity")], rtol=0, atol=1e-9 * CASH)
    held = table[:, [names.index(f"{i}.quantity") for i in range(n)]]
    np.testing.assert_allclose(track.quantity[1:], held, rtol=1e-12)
    expected = np.array(reference_fills(table, n))
    np.testing.assert_array_equal(track.instruments, expected[:, 1])
    np.testing.assert_allclose(track.fills, expected[:, [0, 2, 3, 4]], rtol=1e-9)
    np.testing.assert_array_equal(track.reasons, expected[:, 5])
    assert {REASONS[int(reason)] for reason in expected[:, 5]} >= {"decision"} | (
        {"stop", "target"} if rules is PROTECTED else set()
    )
    assert all((track.instruments == i).sum() > 5 for i in range(n))
    for total, column in (("slippage", "slippage"), ("commission", "commission"), ("interest", "interest")):
        assert result.metrics[total] == pytest.approx(table[:, names.index(column)].sum(), rel=1e-9)
    # Value of what is held at the closes, by the money per point of each.
    worth = track.quantity * market.close[FIRST : LAST + 1] * [one.multiplier for one in rules[:n]]
    np.testing.assert_allclose(track.exposure, worth.sum(axis=1) / track.equity, rtol=1e-9, atol=1e-12)


def test_round_trips_are_matched_instrument_by_instrument():
    """Bought and sold by the fills of one instrument alone, in its own money per point; splits are its own."""
    policy, market = several.policy(HEADS["steps"], seed=4), several.market()
    result = played(policy, market)
    assert {trip.instrument for trip in result.trades} == {0, 1}
    exits = [trip.exit_time for trip in result.trades]
    assert exits == sorted(exits)
    fills, times = result.track.fills, result.time
    for trip in result.trades:
        mine = fills[result.track.instruments == trip.instrument]
        closing = mine[times[mine[:, 0].astype(int)] == trip.exit_time]
        assert trip.exit_price in closing[:, 2]
        gained = trip.side * trip.quantity * (trip.exit_price - trip.entry_price)
        assert trip.result == pytest.approx(gained * several.RULES[trip.instrument].multiplier - trip.costs)
    # What the account gained is what the trips gained, what is still open, and what came and went without a fill.
    open_ = 0.0
    for i, rules in enumerate(several.RULES[:2]):
        mine = fills[result.track.instruments == i]
        paid = (mine[:, 1] * mine[:, 2]).sum() * rules.multiplier + mine[:, 3].sum()
        open_ += result.track.quantity[-1, i] * market.close[LAST, i] * rules.multiplier - paid
    # Fractions of lots that splits paid out are all that is missing.
    total = result.track.equity[-1] - CASH - result.track.interest - result.track.dividends + result.track.borrow
    assert total == pytest.approx(open_, abs=200.0)
    metrics = result.metrics
    assert metrics["n_trades"] == len(result.trades)
    assert metrics["exposure_share"] == pytest.approx((result.track.quantity != 0).any(axis=1).mean())
    traded = np.abs(fills[:, 1] * fills[:, 2]) * np.array([1.0, 2.0])[result.track.instruments]
    assert metrics["n_turns"] == pytest.approx(traded.sum() / result.track.equity.mean() / 2)


def test_the_baseline_buys_equal_parts_at_the_first_open_and_holds():
    """A third of the money each, of the third instrument a third of its largest weight of 0.7."""
    policy, market = several.policy(HEADS["gaussian_clipped"]), several.market(3, 80)
    time = 86_400 * market.bars[:, 0, kernel.BAR_DAY].astype(np.int64)
    # A band of a half would let nobody who decides in steps of a third begin; the baseline is not held back by it.
    rules = tuple(replace(rules, no_trade_band=0.5, stop_loss=0.01) for rules in several.RULES)
    result = run_backtest(policy, market, time, 2, 20, start_cash=CASH, rules=rules)
    track = result.baseline
    assert (track.fills[:, 0] == 1).all() and track.instruments.tolist() == [0, 1, 2]
    # Whole lots of what 20,000 (of the third 14,000) buy at the deciding close.
    close, money = market.close[2], np.array([20_000.0, 20_000.0, 14_000.0])
    lots, points = np.array([1.0, 0.5, 1.0]), np.array([1.0, 2.0, 1.0])
    np.testing.assert_allclose(track.fills[:, 1], np.floor(money / close / points / lots) * lots)
    np.testing.assert_array_equal(track.quantity[1:], np.tile(track.fills[:, 1], (18, 1)))
    paid = (track.fills[:, 1] * track.fills[:, 2] * points).sum() + track.fills[:, 3].sum()
    worth = (track.quantity[-1] * market.close[20] * points).sum()
    assert track.equity[-1] == pytest.approx(CASH - paid + worth + track.interest)
    assert result.curve()["baseline"] == track.equity.tolist()
    assert result.baseline_metrics["n_trades"] == 0


@pytest.mark.parametrize("kind", ["logits", "steps", "masked", "gaussian"])
def test_a_second_instrument_that_is_never_traded_changes_nothing(kind):
    """The first one's network, blind to the second, whose own head always wants to hold, or 0."""
    own, head, n = OwnSpec(("weight", "open_return")), networks.HEADS[kind], len(several.FEATURES)
    alone = several.policy(head, NetworkSpec(hidden=(16,)), own=own, seed=3)
    weights = alone.weights()
    seen = weights["body.0.weight"]
    blind = torch.zeros(16, 2 * (n + len(own)))
    blind[:, :n], blind[:, 2 * n : 2 * n + len(own)] = seen[:, :n], seen[:, n:]
    for name in [name for name in weights if "head" in name]:
        weights[name] = torch.cat([weights[name], torch.zeros_like(weights[name])])
    if not head.is_continuous:
        weights["head.bias"][head.n_actions] = 1.0  # hold
    rules = PROTECTED[0]
    pair = ServedPolicy.from_parts(
        algorithm="test", actions=alone.actions, spec=alone.spec, normaliser=several.as_they_are(2), rules=rules,
        other_rules=several.RULES[1:2], network=alone.network, head=replace(head, n_instruments=2),
        weights=weights | {"body.0.weight": blind}, own=own,
    )  # fmt: skip
    both = several.market()
    first = Market.several([both])
    first._fill(both.features[:, :n], both.bars[:, :1].copy())
    one, two = played(alone, first, rules=rules), played(pair, both)
    assert not two.track.quantity[:, 1].any() and not two.track.instruments.any()
    np.testing.assert_array_equal(two.track.quantity[:, 0], one.track.quantity)
    np.testing.assert_allclose(two.track.equity, one.track.equity, rtol=1e-12)
    np.testing.assert_array_equal(two.track.fills, one.track.fills)
    np.testing.assert_array_equal(two.track.reasons, one.track.reasons)
    assert two.trades == one.trades and len(one.trades) > 3
    assert two.metrics == pytest.approx(one.metrics, nan_ok=True)
    assert (one.track.quantity.shape, one.track.instruments.any()) == (one.track.equity.shape, False)


def test_a_network_with_a_memory_carries_it_from_bar_to_bar():
    policy, market = several.policy(HEADS["choice"], networks.NETWORKS["recurrent"], seed=2), several.market()
    track = played(policy, market).track
    config = EnvConfig(rules=policy.every_rules, own=policy.own, start_cash=CASH, first=FIRST, last=LAST)
    env = TradingEnv(market, config)
    observation, memory, forgetful = env.reset()[0], policy.start(), []
    for actions in track.actions[:-1]:
        outputs = policy.decide_all(observation, memory)
        assert [output.action for output in outputs] == actions.tolist()
        forgetful.append([output.action for output in policy.decide_all(observation)])
        memory, (observation, *_) = outputs[0].memory, env.step(actions)
    assert forgetful != track.actions[:-1].tolist()


def test_ruin_leaves_the_account_flat():
    """Prices of the second fall to nothing while all is invested in it with three times the money."""
    market = several.market()
    fall = np.where(np.arange(260) < 60, 1.0, 0.3)
    market.bars[:, 1, : kernel.BAR_CLOSE + 1] *= fall[:, None]
    policy = several.policy(HEADS["choice"], NetworkSpec(hidden=()))
    weights = {name: torch.zeros_like(tensor) for name, tensor in policy.weights().items()}
    weights["head.bias"][0], weights["head.bias"][4] = 1.0, 1.0  # hold the first, buy the second
    ruined = ServedPolicy.from_parts(
        algorithm="test", actions="choice", spec=policy.spec, normaliser=policy.normaliser,
        rules=replace(policy.rules, leverage=3.0), other_rules=(replace(several.RULES[1], max_weight=3.0),),
        network=policy.network, head=policy.head, weights=weights, own=policy.own,
    )  # fmt: skip
    track = played(ruined, market).track
    over = int(np.flatnonzero(np.isnan(track.actions[:, 0]))[0])
    assert over < 60 and not track.quantity[over:].any()
    assert (track.equity[over:] == track.equity[over]).all()


def test_what_does_not_fit_is_refused():
    policy = several.policy(HEADS["choice"])
    with pytest.raises(ValueError, match="trades 2 instruments, got a market of 3 instruments"):
        played(policy, several.market(3))
    with pytest.raises(ValueError, match="trades 2 instruments, got a market of one instrument"):
        played(policy, several.market(1))
    with pytest.raises(ValueError, match="3 rules for 2 instruments"):
        played(policy, several.market(), rules=several.RULES)
    one = played(policy, several.market(), rules=several.RULES[0])
    same = played(policy, several.market(), rules=(several.RULES[0], several.RULES[0]))
    np.testing.assert_array_equal(one.track.equity, same.track.equity)
    assert isinstance(one.trades[0], RoundTrip)
