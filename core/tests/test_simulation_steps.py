"""Whole bars and whole runs: marks, rewards, ruin, time order, and the kernel against the plain reference."""

import math
import os
import subprocess
import sys

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from core.simulation import kernel
from core.simulation.account import SimulatedAccount
from core.simulation.bars import bar_table
from core.simulation.fees import fees_for
from core.simulation.rules import MarketRules

FREE = {"half_spread_bps": 0.0, "schedule": "none"}
NAN = math.nan


def run_targets(open_, close, targets, *, cash=10_000.0, volume=None, **changes):
    """(equity, quantity, fills, out) of one instrument, quantity as (T,)."""
    bars = bar_table(open_, close, np.zeros(len(close)) if volume is None else volume)
    equity, quantity, fills, out = kernel.run_targets(
        bars, cash, np.array(targets, dtype=float), MarketRules(**changes).as_array()
    )
    return equity, quantity[:, 0], fills, out


def test_two_bars_with_every_number_by_hand():
    account = SimulatedAccount(10_000.0, MarketRules(half_spread_bps=2.0, volatility_half_life=1.0))
    # Bar 1: case 1 buys 196 at 51.02 for 1.00; close 50: equity -0.92 + 9,800 = 9,799.08
    first = account.step(51.0, 50.0, 1e6, target=200.0)
    assert account.equity == pytest.approx(9_799.08)
    assert first.traded == 196.0 and first.commission == 1.0
    assert first.slippage == pytest.approx(196 * 0.02)  # 3.92, the tick included
    assert first.rewards["net_return"] == pytest.approx(-0.020092)
    assert first.rewards["log_return"] == pytest.approx(math.log(0.979908))
    assert first.rewards["drawdown"] == pytest.approx(-0.020092)
    # half-life of one bar: v = 0.5*0 + 0.5*0.020092^2
    assert first.rewards["volatility"] == pytest.approx(-math.sqrt(0.5 * 0.020092**2))
    assert first.rewards["cost"] == pytest.approx(-4.92 / 10_000)
    assert first.exposure == pytest.approx(9_800 / 9_799.08)
    # Bar 2: no order, close 52: equity -0.92 + 10,192 = 10,191.08, a new peak
    second = account.step(50.0, 52.0, 1e6, target=196.0)
    earned = 10_191.08 / 9_799.08 - 1
    assert second.rewards["net_return"] == pytest.approx(earned)
    assert second.rewards["drawdown"] == 0.0 and account.drawdown == 0.0
    assert second.rewards["volatility"] == pytest.approx(-math.sqrt(0.25 * 0.020092**2 + 0.5 * earned**2))
    assert second.rewards["cost"] == 0.0 and second.traded == 0.0 and math.isnan(second.price)
    assert (account.age, account.average_price) == (2.0, pytest.approx(51.02))


def test_drawdown_reward_pays_only_for_what_is_new():
    # weight 1 at 100: equity 10,000, then 9,000 (drawdown 0.1), 9,500 (0.05), 8,500 (0.15, so 0.10 new)
    _, _, _, out = run_targets([100.0] * 4, [100.0, 90.0, 95.0, 85.0], [100.0, NAN, NAN, NAN], **FREE)
    np.testing.assert_allclose(out[:, kernel.OUT_DRAWDOWN], [0.0, -0.1, 0.0, -0.1], atol=1e-12)


def test_decision_at_a_close_trades_at_the_next_open_and_the_last_never():
    # decided 100 at close 0, bought at open 1 (60); the decision to sell at the last close is not carried out
    equity, quantity, fills, _ = run_targets([50.0, 60.0, 70.0], [55.0, 65.0, 75.0], [100.0, NAN, 0.0], **FREE)
    np.testing.assert_array_equal(quantity, [0.0, 100.0, 100.0])
    np.testing.assert_array_equal(fills[:, :4], [[1.0, 100.0, 60.0, 0.0]])
    np.testing.assert_allclose(equity, [10_000.0, 10_500.0, 11_500.0])


def test_buy_and_hold_decides_once():
    bars = bar_table([50.0, 51.0, 40.0], [50.0, 50.0, 45.0], np.zeros(3))
    weights, rules = np.array([1.0, NAN, NAN]), MarketRules().as_array()
    equity, _, fills, _ = kernel.run_weights(bars, 10_000.0, weights, rules)
    assert fills.shape == (1, kernel.N_RUN_FILL) and fills[0, kernel.RUN_TRADED] == 196.0
    np.testing.assert_allclose(equity, [10_000.0, 9_799.08, -0.92 + 196 * 45.0])


def test_age_counts_closes_and_starts_anew_on_reversal():
    account = SimulatedAccount(10_000.0, MarketRules(**FREE, short_selling=True))
    ages = []
    for target in (0.0, 10.0, 20.0, 5.0, -5.0, -5.0, 0.0):
        account.step(50.0, 50.0, 0.0, target)
        ages.append(account.age)
    assert ages == [0.0, 1.0, 2.0, 3.0, 1.0, 2.0, 0.0]


def test_part_of_an_order_beyond_the_volume_limit_is_cancelled():
    # 5 % of 1,000 is 50 a bar; no new decision, no second part
    _, quantity, _, _ = run_targets(
        [50.0] * 4, [50.0] * 4, [100.0, NAN, 100.0, NAN], volume=[1000.0] * 4, participation=0.05, **FREE
    )
    np.testing.assert_array_equal(quantity, [0.0, 50.0, 50.0, 100.0])


def test_ruin_sells_everything_at_the_next_open_and_ends_the_episode():
    account = SimulatedAccount(10_000.0, MarketRules(**FREE, ruin_fraction=0.5))
    account.step(100.0, 51.0, 0.0, target=100.0)  # equity 5,100
    assert not account.terminated and not account.forced
    result = account.step(51.0, 50.0, 0.0, target=100.0)  # exactly half of the start is ruin
    assert account.forced and not result.terminated
    result = account.step(55.0, 60.0, 0.0, target=100.0)  # the decision to stay is overruled
    assert (result.traded, result.price, result.terminated) == (-100.0, 55.0, True)
    assert (account.quantity, account.equity) == (0.0, 5_500.0)
    assert account.step(55.0, 60.0, 0.0, target=90.0).traded == 0.0


def test_account_worth_less_than_nothing_still_gives_finite_rewards():
    # short 100 at 100, close 250: equity 20,000 - 25,000 = -5,000; covered at 260: -6,000
    equity, quantity, _, out = run_targets(
        [100.0, 100.0, 260.0], [100.0, 250.0, 260.0], [-100.0, NAN, NAN], short_selling=True, **FREE
    )
    np.testing.assert_allclose(equity, [10_000.0, -5_000.0, -6_000.0])
    assert quantity[-1] == 0.0
    rewards = out[:, list(kernel.REWARD_COMPONENTS.values())]
    assert np.isfinite(rewards).all()
    assert out[1, kernel.OUT_NET_RETURN] == pytest.approx(-1.5)
    assert out[1, kernel.OUT_LOG_RETURN] == pytest.approx(math.log(1e-6))
    assert out[2, kernel.OUT_NET_RETURN] == 0.0


def test_bad_calls_are_refused():
    with pytest.raises(ValueError, match="start_cash"):
        SimulatedAccount(0.0, MarketRules())
    with pytest.raises(ValueError, match="target is NaN"):
        SimulatedAccount(1.0, MarketRules()).step(1.0, 1.0, 1.0, NAN)
    with pytest.raises(ValueError, match="fees has shape"):
        SimulatedAccount(1.0, MarketRules()).step(1.0, 1.0, 1.0, 0.0, fees=np.zeros((1, 3)))
    with pytest.raises(ValueError, match="decisions have shape"):
        run_targets([1.0, 1.0], [1.0, 1.0], [0.0])
    with pytest.raises(ValueError, match="bars has shape"):
        kernel.run_targets(np.zeros((3, 2)), 1.0, np.zeros(3), MarketRules().as_array())
    with pytest.raises(ValueError, match="rules has shape"):
        kernel.run_targets(bar_table([1.0], [1.0], [1.0]), 1.0, np.zeros(1), np.zeros((2, kernel.N_RULES)))


def test_account_decides_like_the_kernel():
    account = SimulatedAccount(10_000.0, MarketRules(max_weight=0.5))
    assert account.target_for_choice(1, 50.0) == 100.0
    assert account.target_for_weight(0.5, 50.0) == 50.0
    assert account.cash == 10_000.0


prices = st.floats(0.5, 400.0).map(lambda price: round(price, 2))
weights = st.one_of(st.just(NAN), st.just(0.0), st.floats(-1.5, 1.5))
bar = st.tuples(prices, prices, st.one_of(st.just(0.0), st.integers(1, 100_000).map(float)), weights)
market_rules = st.builds(
    MarketRules,
    half_spread_bps=st.sampled_from([0.0, 1.0, 2.0, 25.0]),
    impact_bps=st.sampled_from([0.0, 10.0, 500.0]),
    impact_exponent=st.sampled_from([2.0, 0.5]),
    tick_size=st.sampled_from([0.0, 0.01, 0.25]),
    lot=st.sampled_from([1.0, 100.0, 0.125]),
    multiplier=st.sampled_from([1.0, 20.0]),
    leverage=st.sampled_from([1.0, 2.0, 0.5]),
    schedule=st.sampled_from(["ibkr_fixed", "bps", "none"]),
    commission_bps=st.just(10.0),
    participation=st.sampled_from([0.0, 0.05, 1.0]),
    max_weight=st.sampled_from([1.0, 0.7, 2.0]),
    short_selling=st.booleans(),
    no_trade_band=st.sampled_from([0.0, 0.1]),
    ruin_fraction=st.sampled_from([0.0, 0.1, 0.6]),
    volatility_half_life=st.sampled_from([1.0, 20.0]),
)


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.lists(bar, min_size=1, max_size=25), market_rules, st.integers(0, 4000))
def test_an_account_led_bar_by_bar_equals_the_kernel_s_run(bars, rules, first_day):
    # What the run itself must give, the reference of test_kernel_against_reference says.
    open_, close, volume, decisions = (np.array(column) for column in zip(*bars, strict=True))
    fees = fees_for(np.datetime64("2017-01-01") + first_day + np.arange(len(bars)))
    table = bar_table(open_, close, volume, fees)
    equity, quantity, fills, out = kernel.run_weights(table, 50_000.0, decisions, rules.as_array())
    account, target = SimulatedAccount(50_000.0, rules), 0.0
    traded = np.zeros(len(bars))
    traded[fills[:, kernel.RUN_BAR].astype(int)] = fills[:, kernel.RUN_TRADED]
    for t, decided in enumerate(decisions):
        step = account.step(open_[t], close[t], volume[t], target, fees[t])
        assert (account.equity, account.quantity, step.traded) == (equity[t], quantity[t, 0], traded[t])
        assert (step.commission, step.slippage) == (out[t, kernel.OUT_COMMISSION], out[t, kernel.OUT_SLIPPAGE])
        # Money and goods make the equity.
        worth = account.cash + account.quantity * close[t] * rules.multiplier
        assert worth == pytest.approx(account.equity, rel=1e-9, abs=1e-7)
        target = account.quantity if math.isnan(decided) else account.target_for_weight(decided, close[t])


@settings(max_examples=60, deadline=None, derandomize=True)
@given(st.lists(bar, min_size=2, max_size=25), market_rules, st.data())
def test_later_bars_and_decisions_change_nothing_earlier(bars, rules, data):
    known = data.draw(st.integers(1, len(bars) - 1))
    columns = [np.array(column) for column in zip(*bars, strict=True)]
    changed = [column.copy() for column in columns]
    for column, value in zip(changed, (1.23, 321.0, 7.0, 0.5), strict=True):
        column[known:] = value
    results = []
    for open_, close, volume, decisions in (columns, changed):
        table = bar_table(open_, close, volume)
        results.append(kernel.run_weights(table, 50_000.0, decisions, rules.as_array()))
    for index in (0, 1, 3):  # equity, quantity, out
        np.testing.assert_array_equal(results[0][index][:known], results[1][index][:known])


SAMPLE_RUN = """
import numpy as np
from core.simulation import kernel
from core.simulation.bars import bar_table, side_by_side
from core.simulation.rules import MarketRules, rules_table
rng, n = np.random.default_rng(5), 400
def table():
    close = np.round(100 * np.exp(np.cumsum(rng.normal(0, 0.02, n))), 2)
    open_ = np.round(close * np.exp(rng.normal(0, 0.01, n)), 2)
    high, low = np.maximum(open_, close) * 1.01, np.minimum(open_, close) / 1.01
    actions = np.column_stack([np.where(np.arange(n) % 97 == 50, 2.0, 1.0), np.where(np.arange(n) % 61 == 30, 0.4, 0)])
    return bar_table(open_, close, rng.integers(0, 50_000, n), np.tile([27.8e-6, 0.000166, 8.3], (n, 1)), high=high,
        low=low, day=np.arange(n) // 2 * 3, atr=close * 0.03, actions=actions * (np.arange(n) % 2 == 0)[:, None]
        + np.array([1.0, 0.0]) * (np.arange(n) % 2 == 1)[:, None])
every = dict(impact_bps=100.0, participation=0.05, short_selling=True, no_trade_band=0.1, stop_loss=0.04,
    take_profit=0.06, time_stop=30, interest_rate=0.05, credit_spread=0.005, debit_spread=0.015, borrow_rate=0.02,
    sharpe_rate=0.05, leverage=1.5, margin_call=3.0)
rules = rules_table(
    MarketRules(**every, impact_exponent=0.5, trail_fraction=0.05, schedule="ibkr_tiered"),
    MarketRules(**every, impact_exponent=1.5, trail_atr=1.5, schedule="ibkr_futures", settled_daily=True),
)
result = kernel.run_weights(side_by_side(table(), table()), 1e6, rng.uniform(-1, 1, (n, 2)), rules)
for array in result:
    print(" ".join(repr(float(number)) for number in array.ravel()))
"""


def test_compiled_kernel_equals_plain_python():
    outputs = []
    for disabled in ("0", "1"):
        environment = os.environ | {"NUMBA_DISABLE_JIT": disabled}
        done = subprocess.run(
            [sys.executable, "-c", SAMPLE_RUN], env=environment, capture_output=True, text=True, check=True
        )
        outputs.append([np.array(line.split(), dtype=float) for line in done.stdout.splitlines()])
    for compiled, plain in zip(*outputs, strict=True):
        assert compiled.size > 100
        np.testing.assert_allclose(compiled, plain, rtol=1e-12, atol=1e-15)
