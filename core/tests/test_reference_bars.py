"""The plain reference against whole bars worked by hand: levels, closings, sessions, force, futures, rewards."""

from dataclasses import replace
from math import isnan, log, nan, sqrt

import pytest

from core.tests.reference.bars import advance
from core.tests.reference.by_hand import SPREAD, bar, fills, holding, step
from core.tests.reference.sessions import interest, whole_lots
from core.tests.reference.state import Account, Rules


def test_levels_follow_the_average_and_stay_on_a_reduction():
    rules = Rules(stop_loss=0.10, take_profit=0.20, trail_fraction=0.5, leverage=10.0, short_selling=True)
    account = Account.start(100_000.0)
    position = account.positions[0]
    step(account, bar(40.0), bar(40.0, 44.0, 40.0, 40.0), rules, 100.0)
    assert (position.stop, position.target, position.best) == (36.0, 48.0, 44.0)
    # increased at 46: average (4,000 + 4,600) / 200 = 43, best keeps its 44 and then sees 47
    step(account, bar(40.0), bar(46.0, 47.0, 45.0, 46.0), rules, 200.0)
    assert (position.average_price, position.stop) == (43.0, pytest.approx(38.7))
    assert (position.target, position.best) == (pytest.approx(51.6), 47.0)
    # reduced: all levels stay
    step(account, bar(46.0), bar(46.0), rules, 50.0)
    assert (position.average_price, position.stop, position.best) == (43.0, pytest.approx(38.7), 47.0)
    # reversed at 46: stop above, target below, the trail starts anew from the own price
    step(account, bar(46.0), bar(46.0), rules, -50.0)
    assert (position.average_price, position.stop, position.target) == (46.0, pytest.approx(50.6), pytest.approx(36.8))
    assert (position.best, position.age) == (46.0, 1)
    step(account, bar(46.0), bar(46.0), rules, 0.0)
    assert position.quantity == 0 and isnan(position.stop) and isnan(position.best)


def test_a_short_position_is_mirrored():
    rules = replace(SPREAD, stop_loss=0.05, take_profit=0.10, short_selling=True)
    # both touched, stop first: 42 * 1.0002 = 42.0084 -> 42.01
    account = holding(-100.0, 40.0, rules)
    step(account, bar(40.0), bar(41.0, 42.5, 35.0), rules)
    assert fills(account) == [(100.0, 42.01, "stop")]
    # gap through the target at 36: bought at the open 35.005, up to the tick, no slip
    account = holding(-100.0, 40.0, rules)
    step(account, bar(40.0), bar(35.005), rules)
    assert fills(account) == [(100.0, 35.01, "target")]


def test_the_nearer_of_stop_and_trail_counts_and_atr_is_that_of_the_bar_before():
    rules = Rules(stop_loss=0.05, trail_atr=2.0)
    # long at 100: stop 95; best 100 - 2 * 1.5 = 97 is nearer
    account = holding(10.0, 100.0, rules)
    step(account, bar(100.0, atr=1.5), bar(99.0, 99.0, 96.0, atr=50.0), rules)
    assert fills(account) == [(-10.0, 97.0, "trail")]
    # ATR 4: 92 is further than 95
    account = holding(10.0, 100.0, rules)
    step(account, bar(100.0, atr=4.0), bar(99.0, 99.0, 90.0), rules)
    assert fills(account) == [(-10.0, 95.0, "stop")]
    # no ATR known: no trail
    account = holding(10.0, 100.0, rules)
    step(account, bar(100.0, atr=nan), bar(99.0, 99.0, 96.0), rules)
    assert not account.fills


def test_an_order_at_the_open_is_protected_in_the_same_bar():
    rules = Rules(stop_loss=0.05)
    account = Account.start(10_000.0)
    step(account, bar(100.0), bar(100.0, 101.0, 94.0), rules, 50.0)
    assert fills(account) == [(50.0, 100.0, "decision"), (-50.0, 95.0, "stop")]
    assert (account.cash, account.equity, account.positions[0].age) == (9_750.0, 9_750.0, 0)


def test_the_rest_of_a_protective_close_trades_at_the_next_open_before_any_decision():
    rules = Rules(stop_loss=0.05, participation=0.05)
    account = holding(100.0, 40.0, rules)
    position = account.positions[0]
    # stop 38; 5 % of 1,200 is 60
    step(account, bar(40.0), bar(39.0, 39.0, 37.0, volume=1200.0), rules)
    assert fills(account) == [(-60.0, 38.0, "stop")] and position.rest_waits
    # 5 % of 200 is 10: the decision to buy is dropped
    step(account, bar(39.0), bar(39.0, volume=200.0), rules, 90.0)
    assert fills(account) == [(-10.0, 39.0, "rest")] and position.rest_waits
    step(account, bar(39.0), bar(37.0, volume=0.0), rules, 90.0)
    assert not account.fills and position.quantity == 30.0
    step(account, bar(37.0), bar(36.0, volume=1e6), rules, 90.0)
    assert fills(account) == [(-30.0, 36.0, "rest")] and not position.rest_waits
    step(account, bar(36.0), bar(36.0, volume=1e6), rules, 90.0)
    assert fills(account) == [(90.0, 36.0, "decision")]


def test_order_and_protection_share_the_bars_volume():
    # 5 % of 1,000 is 50: 40 bought at the open leave 10 for the stop at 95
    account = Account.start(10_000.0)
    rules = Rules(stop_loss=0.05, participation=0.05)
    step(account, bar(100.0), bar(100.0, 100.0, 90.0, volume=1000.0), rules, 40.0)
    assert fills(account) == [(40.0, 100.0, "decision"), (-10.0, 95.0, "stop")]
    assert account.positions[0].rest_waits


def test_a_tiered_target_takes_no_liquidity_but_its_rest_does():
    rules = Rules(take_profit=0.10, schedule="ibkr_tiered", participation=0.05)
    account = holding(1000.0, 10.0, rules, cash=20_000.0)
    step(account, bar(10.0), bar(10.5, 12.0, 10.0, volume=16_000.0), rules)
    # 800 at 11: 2.80 + 0.16 + 0.000735 * 2.80 = 2.962058; the rest of 200 at 12: 0.70 + 0.60 + 0.04 + 0.0005145
    assert account.fills[0].commission == pytest.approx(2.962058)
    step(account, bar(10.5), bar(12.0, volume=16_000.0), rules)
    assert account.fills[0].commission == pytest.approx(1.3405145)


def test_time_stop_closes_one_instrument_and_does_not_end_the_episode():
    rules = Rules(time_stop=2)
    account = holding(100.0, 50.0, rules)
    assert account.positions[0].age == 1
    step(account, bar(50.0), bar(51.0), rules)
    assert account.positions[0].time_is_up
    step(account, bar(51.0), bar(52.0), rules, 100.0)
    assert fills(account) == [(-100.0, 52.0, "force")]
    assert not account.terminated and not account.positions[0].time_is_up


def test_margin_call_forces_everything_and_ends_the_episode():
    rules = Rules(leverage=2.0, margin_call=3.0, ruin_fraction=0.0)
    account = holding(200.0, 100.0, rules)  # 10,000 - 20,000 = -10,000
    # close 74: equity 4,800, gross 14,800 > 3 * 4,800 = 14,400
    step(account, bar(100.0), bar(90.0, close=74.0), rules)
    assert account.forced and not account.terminated
    step(account, bar(74.0), bar(80.0, close=79.0), rules, 200.0)
    assert fills(account) == [(-200.0, 80.0, "force")]
    assert account.terminated and account.equity == 6_000.0


def test_ruin_asks_again_until_everything_is_sold():
    rules = Rules(ruin_fraction=0.5, participation=0.05)
    account = holding(100.0, 100.0, rules)
    step(account, bar(100.0), bar(50.0, volume=1e6), rules)
    assert account.forced  # exactly half of the start is ruin
    step(account, bar(50.0), bar(50.0, volume=1200.0), rules, 100.0)
    assert fills(account) == [(-60.0, 50.0, "force")] and account.terminated
    step(account, bar(50.0), bar(50.0, volume=1200.0), rules, 100.0)
    assert fills(account) == [(-40.0, 50.0, "force")]


def test_step_0_in_its_order():
    # 102 short at 10, 4 for... 1:4 is factor 0.25: -25.5 are -25 and half a share bought back at the open of 41.
    rules = Rules(short_selling=True, interest_rate=0.05, credit_spread=0.01, borrow_rate=0.036, stop_loss=0.5)
    account = holding(-102.0, 10.0, rules)  # 11,020
    step(account, bar(10.0, day=3), bar(41.0, day=6, split=0.25, dividend=0.4), rules, -102.0)
    cash = 11_020.0 - 0.5 * 41.0 - 25 * 0.4  # 10,989.50
    credited = cash * 0.04 * 3 / 360  # 3.66316...
    lent = 102 * 10.0 * 0.036 * 3 / 360  # 0.306
    assert account.interest == pytest.approx(credited) and account.borrow == pytest.approx(lent)
    assert account.cash == pytest.approx(cash + credited - lent)
    position = account.positions[0]
    assert (position.quantity, position.average_price, position.stop) == (-25.0, 40.0, 60.0)
    assert not account.fills


def test_nothing_of_step_0_happens_inside_a_session():
    rules = Rules(interest_rate=0.05, borrow_rate=0.05, short_selling=True)
    account = holding(-100.0, 50.0, rules)
    step(account, bar(50.0, day=3), bar(50.0, day=3), rules)
    assert account.cash == 15_000.0


def test_interest_on_debt_and_on_credit():
    rules = Rules(interest_rate=0.03, credit_spread=0.05, debit_spread=0.015)
    assert interest(10_000.0, 1, rules) == 0.0  # never below 0
    assert interest(-8_000.0, 2, rules) == pytest.approx(-8_000 * 0.045 * 2 / 360)


def test_split_decisions_and_levels_in_new_units():
    rules = Rules(stop_loss=0.1, trail_fraction=0.5)
    account = holding(100.0, 70.0, rules, cash=20_000.0)  # 13,000
    step(account, bar(70.0, day=0), bar(10.0, day=1, split=7.0), rules, 150.0)
    # 150 old units are 1,050: 350 bought at 10
    assert fills(account) == [(350.0, 10.0, "decision")]
    assert (account.positions[0].average_price, account.equity) == (10.0, 20_000.0)
    assert (account.positions[0].stop, account.positions[0].best) == (9.0, 10.0)
    assert whole_lots(300 * (1 / 3), 1.0) == 100.0 and whole_lots(-3 * 0.25, 1.0) == 0.0


def test_a_future_traded_inside_counts_from_its_fills():
    rules = Rules(multiplier=20.0, settled_daily=True, leverage=100.0, short_selling=True)
    account = holding(2.0, 15_000.0, rules, cash=50_000.0)
    # reversed to -1 at 15,010, close 15,004: 2 * 20 * 10 + 1 * 20 * 6 = 520
    step(account, bar(15_000.0), bar(15_010.0, close=15_004.0), rules, -1.0)
    assert account.cash == account.equity == 50_520.0
    # increased to -3 at 15,000, close 15,001: 1 * 20 * 3 - 2 * 20 * 1 = 20
    step(account, bar(15_004.0), bar(15_000.0, close=15_001.0), rules, -3.0)
    assert account.cash == 50_540.0


def test_several_instruments_share_room_and_reductions_come_first():
    rules = [Rules(), Rules(), Rules()]
    account = Account.start(10_000.0, 3)
    flat = [bar(50.0), bar(20.0), bar(10.0)]
    advance(account, flat, flat, [100.0, 100.0, 900.0], rules)
    # 10,000 - 5,000 - 2,000 leave 3,000 for the third: 300
    assert [position.quantity for position in account.positions] == [100.0, 100.0, 300.0]
    # The first wants 40 more, the third gives 250 up: its 2,500 come first and carry the 40 (2,000).
    advance(account, flat, flat, [140.0, 100.0, 50.0], rules)
    assert [(fill.instrument, fill.traded) for fill in account.fills] == [(2, -250.0), (0, 40.0)]


def test_room_beside_a_future_counts_what_its_cash_already_holds():
    rules = [Rules(leverage=2.0), Rules(multiplier=20.0, settled_daily=True)]
    account = Account.start(100_000.0, 2)
    flat = [bar(50.0), bar(5_000.0)]
    advance(account, flat, flat, [0.0, 1.0], rules)
    now = [bar(50.0), bar(5_100.0)]
    # equity at the open 100,000 + 20 * 100 = 102,000; room 204,000 - 102,000 = 102,000: 2,040
    advance(account, flat, now, [9_999.0, 1.0], rules)
    assert account.positions[0].quantity == 2_040.0


def test_two_bars_of_rewards():
    rules = Rules(half_spread_bps=2.0, tick_size=0.01, schedule="ibkr_fixed", volatility_half_life=1.0, sharpe_rate=0.5)
    account = Account.start(10_000.0)
    first = step(account, bar(50.0), bar(51.0, close=50.0), rules, 200.0)
    # -0.92 + 196 * 50 = 9,799.08; slip 196 * 0.02 = 3.92, commission 1.00
    one = -0.020092
    assert first["net_return"] == pytest.approx(one) and first["log_return"] == pytest.approx(log(1 + one))
    assert first["drawdown"] == pytest.approx(one) and first["cost"] == pytest.approx(-4.92 / 10_000)
    assert first["volatility"] == pytest.approx(-sqrt(0.5 * one**2))
    assert first["differential_sharpe"] == first["differential_downside"] == 0.0
    assert first["holding"] == pytest.approx(-9_800 / 9_799.08)
    second = step(account, bar(50.0), bar(50.0, close=52.0), rules)
    two = 10_191.08 / 9_799.08 - 1
    a, b, losses = 0.5 * one, 0.5 * one**2, 0.5 * one**2
    assert second["differential_sharpe"] == pytest.approx((b * (two - a) - a * (two**2 - b) / 2) / (b - a**2) ** 1.5)
    assert second["differential_downside"] == pytest.approx((two - a / 2) / sqrt(losses))
    assert second["drawdown"] == 0.0
    assert second["holding"] == pytest.approx(-2 * 10_192 / 10_191.08)
    third = step(account, bar(52.0), bar(52.0, close=51.0), rules)
    three = 9_995.08 / 10_191.08 - 1
    a, losses = 0.5 * a + 0.5 * two, 0.5 * losses
    expected = (losses * (three - a / 2) - a * three**2 / 2) / losses**1.5
    assert third["differential_downside"] == pytest.approx(expected)


def test_drawdown_pays_for_what_is_new_only():
    account = holding(100.0, 100.0, Rules(), cash=10_000.0)
    found = [step(account, bar(1.0), bar(close), Rules())["drawdown"] for close in (90.0, 95.0, 85.0)]
    # equity 9,000, 9,500, 8,500 below a peak of 10,000
    assert found == pytest.approx([-0.1, 0.0, -0.1])


def test_an_account_worth_less_than_nothing_gives_finite_rewards():
    rules = Rules(short_selling=True, ruin_fraction=0.0)
    account = holding(-100.0, 100.0, rules)
    first = step(account, bar(100.0), bar(100.0, close=250.0), rules)
    assert account.equity == -5_000.0 and account.forced
    assert first["net_return"] == -1.5 and first["log_return"] == pytest.approx(log(1e-6))
    second = step(account, bar(250.0), bar(260.0), rules)
    assert (second["net_return"], second["cost"], second["holding"]) == (0.0, 0.0, 0.0)
