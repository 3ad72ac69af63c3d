"""Stops, targets, trails, time stops and forced closes, every number by hand."""

import math

import numpy as np
import pytest

from core.simulation import kernel
from core.simulation.account import BarFill, SimulatedAccount
from core.simulation.rules import MarketRules

FREE = {"half_spread_bps": 0.0, "schedule": "none"}
SPREAD = {"half_spread_bps": 2.0, "schedule": "none"}
NAN = math.nan


def holding(quantity: float, price: float, cash: float = 100_000.0, **rules) -> SimulatedAccount:
    """An account that has just bought or sold at a price, at which its first bar stayed.

    The spread is paid like everywhere, so levels are set from the position's average price as if it were ``price``.
    """
    made = SimulatedAccount(cash, MarketRules(**{"short_selling": True, "leverage": 5.0} | rules))
    made.step(price, price, 1e6, quantity)
    side = 1.0 if quantity > 0 else -1.0
    position = made.positions[0]
    position[kernel.AVERAGE_PRICE] = position[kernel.BEST] = price
    if made.rules.stop_loss:
        position[kernel.STOP] = price * (1 - side * made.rules.stop_loss)
    if made.rules.take_profit:
        position[kernel.TARGET] = price * (1 + side * made.rules.take_profit)
    return made


def step(account, open_, high, low, close, target=None, volume=1e6, **more):
    aim = account.quantity if target is None else target
    return account.step(open_, close, volume, aim, high=high, low=low, **more)


def test_worked_case_two_the_stop_goes_before_the_target():
    # Long 100 at 40: stop 38, target 44. The bar sees 37.5 and 45: 38*0.9998 = 37.9924 -> 37.99
    account = holding(100.0, 40.0, **SPREAD, stop_loss=0.05, take_profit=0.10)
    result = step(account, 39.0, 45.0, 37.5, 44.0)
    assert [(fill.traded, fill.reason) for fill in result.fills] == [(-100.0, "stop")]
    assert result.price == pytest.approx(37.99, abs=1e-12)
    assert result.slippage == pytest.approx(100 * 0.01)  # beside the level of 38.00
    assert (account.quantity, account.age) == (0.0, 0.0) and math.isnan(account.stop)


def test_worked_case_three_a_gap_is_closed_at_the_open():
    rules = SPREAD | {"stop_loss": 0.05, "take_profit": 0.10}
    result = step(holding(100.0, 40.0, **rules), 36.0, 37.0, 35.0, 36.5)
    assert result.price == pytest.approx(35.99, abs=1e-12) and result.fills[0].reason == "stop"  # 35.9928
    result = step(holding(100.0, 40.0, **rules), 45.0, 46.0, 37.0, 40.0)
    # A limit order does better than its price, without slip; what the bar does later no longer matters.
    assert result.fills == (BarFill(-100.0, 45.0, 0.0, 0.0, "target"),)


def test_worked_case_four_a_trail_knows_earlier_bars_only():
    account = holding(10.0, 100.0, **SPREAD, trail_fraction=0.10)
    assert step(account, 100.0, 110.0, 95.0, 105.0).fills == () and account.best == 110.0
    # The level is 99, and the 120 of the same bar does not lift it: 99*0.9998 = 98.9802 -> 98.98
    result = step(account, 105.0, 120.0, 98.0, 119.0)
    assert result.price == pytest.approx(98.98, abs=1e-12) and result.fills[0].reason == "trail"


def test_short_positions_are_protected_mirrored():
    rules = SPREAD | {"stop_loss": 0.05, "take_profit": 0.10}
    # Short 100 at 40: stop 42, target 36. Both seen: bought at 42*1.0002 = 42.0084 -> 42.01
    result = step(holding(-100.0, 40.0, **rules), 41.0, 42.5, 35.0, 36.0)
    assert (result.traded, result.fills[0].reason) == (100.0, "stop")
    assert result.price == pytest.approx(42.01, abs=1e-12)
    assert step(holding(-100.0, 40.0, **rules), 41.0, 41.5, 35.0, 36.0).price == pytest.approx(36.0)
    assert step(holding(-100.0, 40.0, **rules), 43.0, 43.5, 42.5, 43.0).price == pytest.approx(43.01)  # gap: 43.0086
    assert step(holding(-100.0, 40.0, **rules), 35.0, 36.5, 34.0, 36.0).price == 35.0  # a better open
    trailing = holding(-10.0, 100.0, **SPREAD, trail_fraction=0.10)
    step(trailing, 95.0, 99.0, 90.0, 95.0)
    assert trailing.best == 90.0  # level 99: 99*1.0002 = 99.0198 -> 99.02
    assert step(trailing, 95.0, 99.5, 80.0, 95.0).price == pytest.approx(99.02, abs=1e-12)


def test_the_nearer_of_stop_and_trail_counts():
    # Bought at 100: stop 92, trail 5 % below the best. Best 100: level 95 is nearer than 92.
    account = holding(10.0, 100.0, **FREE, stop_loss=0.08, trail_fraction=0.05)
    result = step(account, 99.0, 100.0, 90.0, 91.0)
    assert (result.price, result.fills[0].reason) == (95.0, "trail")
    account = holding(10.0, 100.0, **FREE, stop_loss=0.02, trail_fraction=0.05)
    result = step(account, 99.0, 100.0, 90.0, 91.0)
    assert (result.price, result.fills[0].reason) == (98.0, "stop")


def test_a_trail_by_atr_waits_until_atr_is_known():
    account = holding(10.0, 100.0, **FREE, trail_atr=2.0)  # its first bar knows no range
    assert step(account, 100.0, 100.0, 80.0, 95.0, atr=4.0).fills == ()
    # Best 100 less 2*4 is 92; the range of this bar itself counts from the next on.
    assert step(account, 95.0, 103.0, 92.5, 100.0, atr=1.0).fills == ()
    result = step(account, 102.0, 102.0, 100.5, 101.0)  # best 103 less 2*1 is 101
    assert (result.price, result.fills[0].reason) == (101.0, "trail")


def test_a_targets_price_is_rounded_against_the_trader_and_pays_no_slip():
    # 33.33*1.05 = 34.9965: sold at 34.99, which costs 10*0.0065 beside the level
    result = step(holding(10.0, 33.33, **SPREAD, take_profit=0.05), 34.0, 35.0, 33.5, 34.0)
    assert result.price == pytest.approx(34.99, abs=1e-12)
    assert result.slippage == pytest.approx(0.065)


def test_protection_works_in_the_bar_of_the_entry():
    # Bought at the open of 100, stop 95: the same bar's low of 94 closes it, and it stays flat until a decision.
    account = SimulatedAccount(10_000.0, MarketRules(**FREE, stop_loss=0.05))
    result = step(account, 100.0, 101.0, 94.0, 100.0, target=50.0)
    assert [(fill.traded, fill.price, fill.reason) for fill in result.fills] == [
        (50.0, 100.0, "decision"),
        (-50.0, 95.0, "stop"),
    ]
    assert (account.quantity, account.cash, account.age) == (0.0, 9_750.0, 0.0)
    assert step(account, 100.0, 101.0, 94.0, 100.0).fills == ()


def test_levels_follow_opening_increase_reduction_and_reversal():
    account = SimulatedAccount(1e5, MarketRules(**FREE, short_selling=True, stop_loss=0.1, take_profit=0.2))
    step(account, 100.0, 105.0, 99.0, 104.0, target=100.0)
    assert (account.stop, account.target, account.best) == (90.0, 120.0, 105.0)
    step(account, 110.0, 111.0, 108.0, 110.0, target=200.0)  # average 105: 94.5 and 126; the best price is kept
    assert (account.stop, account.target, account.best) == (pytest.approx(94.5), pytest.approx(126.0), 111.0)
    step(account, 108.0, 109.0, 107.0, 108.0, target=50.0)  # a reduction keeps all levels
    assert (account.stop, account.target, account.best) == (pytest.approx(94.5), pytest.approx(126.0), 111.0)
    step(account, 100.0, 101.0, 98.0, 100.0, target=-50.0)  # short from 100
    assert (account.stop, account.target, account.best) == (pytest.approx(110.0), 80.0, 98.0)
    step(account, 100.0, 101.0, 98.0, 100.0, target=0.0)
    assert np.isnan([account.stop, account.target, account.best]).all()


def test_a_split_moves_the_levels():
    account = holding(100.0, 70.0, **FREE, stop_loss=0.1, take_profit=0.4, trail_fraction=0.05)
    step(account, 10.0, 10.5, 9.8, 10.0, target=100.0, split=7.0)
    assert (account.quantity, account.average_price) == (700.0, 10.0)
    # 63/7 and 98/7; the best price of 70 is 10, and then this bar's 10.5. Trail in this bar: 9.5, not 66.5.
    assert (account.stop, account.target, account.best) == (pytest.approx(9.0), pytest.approx(14.0), 10.5)


def test_the_range_of_the_bar_before_a_split_is_in_old_units():
    account = holding(100.0, 70.0, **FREE, trail_atr=1.0)
    step(account, 70.0, 70.0, 70.0, 70.0, atr=7.0)
    # Best 70/7 = 10 less 7/7: the level is 9.
    result = step(account, 10.0, 10.0, 8.9, 9.5, target=100.0, split=7.0)
    assert (result.traded, result.price) == (-700.0, pytest.approx(9.0))


def test_the_rest_of_a_protective_close_trades_at_the_next_opens_before_any_decision():
    account = holding(100.0, 50.0, **SPREAD, participation=0.05, stop_loss=0.1)
    # The stop of 45 is touched, but 5 % of 800 is 40: 45*0.9998 = 44.991 -> 44.99
    result = step(account, 47.0, 47.0, 44.0, 46.0, volume=800.0)
    assert [(fill.traded, fill.reason) for fill in result.fills] == [(-40.0, "stop")] and account.quantity == 60.0
    # The decision to buy waits in vain; 46*0.9998 = 45.9908 -> 45.99
    result = step(account, 46.0, 48.0, 40.0, 47.0, target=300.0, volume=800.0)
    assert [(fill.traded, fill.reason) for fill in result.fills] == [(-40.0, "rest")]
    assert result.price == pytest.approx(45.99, abs=1e-12)
    result = step(account, 46.0, 48.0, 44.0, 47.0, target=300.0, volume=800.0)
    assert [(fill.traded, fill.reason) for fill in result.fills] == [(-20.0, "rest")] and account.quantity == 0.0
    assert step(account, 46.0, 48.0, 44.0, 47.0, target=30.0).traded == 30.0


def test_a_bars_volume_is_shared_by_order_and_protection():
    account = holding(100.0, 50.0, **FREE, participation=0.05, stop_loss=0.1)
    # 5 % of 1,000 is 50: the decision sells 30 at the open, the stop of 45 gets the other 20.
    result = step(account, 47.0, 47.0, 44.0, 46.0, target=70.0, volume=1000.0)
    assert [(fill.traded, fill.reason) for fill in result.fills] == [(-30.0, "decision"), (-20.0, "stop")]
    assert account.quantity == 50.0


def test_what_floats_leave_of_a_bars_volume_is_no_order():
    # 0.7 - 0.4 is 0.29999999999999993: of three lots of 0.1 nothing is left for the stop.
    account = SimulatedAccount(1e5, MarketRules(**FREE, lot=0.1, participation=0.5, stop_loss=0.1))
    account.step(50.0, 50.0, 1e6, 0.7)
    account.positions[0, kernel.QUANTITY] = 0.7
    result = step(account, 47.0, 47.0, 44.0, 46.0, target=0.4, volume=0.7)
    assert [fill.reason for fill in result.fills] == ["decision"] and account.quantity == pytest.approx(0.4)
    result = step(account, 46.0, 46.0, 46.0, 46.0)
    assert [fill.reason for fill in result.fills] == ["rest"] and account.quantity == 0.0


def test_a_stop_touched_in_a_bar_without_volume_trades_at_the_next_open():
    account = holding(100.0, 50.0, **FREE, participation=0.05, stop_loss=0.1)
    assert step(account, 47.0, 47.0, 44.0, 46.0, volume=0.0).fills == ()
    result = step(account, 48.0, 49.0, 47.0, 48.0, target=100.0)
    assert [(fill.traded, fill.price, fill.reason) for fill in result.fills] == [(-100.0, 48.0, "rest")]


def test_a_time_stop_closes_at_the_next_open_and_the_episode_goes_on():
    account = SimulatedAccount(10_000.0, MarketRules(**FREE, time_stop=2.0))
    account.step(100.0, 100.0, 0.0, 50.0)
    assert (account.age, account.forced) == (1.0, False)
    account.step(100.0, 100.0, 0.0, 50.0)
    assert (account.age, account.forced) == (2.0, True)
    result = account.step(101.0, 101.0, 0.0, 80.0)  # the decision to buy is overruled
    assert [(fill.traded, fill.reason) for fill in result.fills] == [(-50.0, "force")]
    assert not result.terminated and not account.forced
    assert account.step(100.0, 100.0, 0.0, 80.0).traded == 80.0


def test_a_time_stop_asks_again_until_all_is_sold():
    account = SimulatedAccount(10_000.0, MarketRules(**FREE, time_stop=1.0, participation=0.05))
    sold = [account.step(100.0, 100.0, 1000.0, 80.0).traded]
    sold += [account.step(100.0, 100.0, volume, 80.0).traded for volume in (400.0, 0.0, 1000.0)]
    assert sold == [50.0, -20.0, 0.0, -30.0] and not account.forced


def test_a_margin_call_sells_at_the_next_open_and_ends_the_episode():
    # Twice the equity bought: 200 at 100 with 10,000. At 90 equity is 8,000, exposure 18,000: 2.25 > 2.2 times.
    account = SimulatedAccount(10_000.0, MarketRules(**FREE, leverage=2.0, max_weight=2.0, margin_call=2.2))
    account.step(100.0, 95.0, 0.0, 200.0)  # 19,000 of 9,000 is 2.11
    assert not account.forced
    account.step(95.0, 90.0, 0.0, 200.0)
    assert account.forced and not account.terminated
    result = account.step(91.0, 92.0, 0.0, 200.0)
    assert [(fill.traded, fill.price, fill.reason) for fill in result.fills] == [(-200.0, 91.0, "force")]
    assert result.terminated and account.equity == 8_200.0


def test_protective_fills_pay_commission():
    # 100 sold at the stop of 38 with ibkr_fixed: 1.00
    account = holding(100.0, 40.0, half_spread_bps=0.0, stop_loss=0.05)
    before = account.cash
    result = step(account, 39.0, 39.5, 37.5, 38.0)
    assert (result.commission, result.price) == (1.0, 38.0)
    assert account.cash == pytest.approx(before + 3_800.0 - 1.0)
    assert result.rewards["cost"] == pytest.approx(-1.0 / 99_999.0)  # the entry cost 1.00 as well
