"""The plain reference against numbers worked by hand: the cases of docs/simulation.md, prices, commissions, sizes."""

from dataclasses import replace
from datetime import date
from math import isnan

import pytest

from core.tests.reference.by_hand import SPREAD, bar, fills, holding, step
from core.tests.reference.charges import commission, fees_on
from core.tests.reference.decisions import continuous_action, nine_actions, quantity_of_weight, three_actions
from core.tests.reference.opening import trade_at_open
from core.tests.reference.prices import limit_price, market_price
from core.tests.reference.sessions import borrow_fee
from core.tests.reference.state import Account, Position, Rules


def test_page_case_1_196_shares_leave_92_cents_of_debt():
    rules = replace(SPREAD, schedule="ibkr_fixed")
    assert quantity_of_weight(1.0, 10_000.0, 50.0, rules) == 200.0
    account = Account.start(10_000.0)
    step(account, bar(50.0), bar(51.0), rules, 200.0)
    assert fills(account) == [(196.0, 51.02, "decision")]
    assert account.fills[0].commission == 1.0
    assert account.cash == pytest.approx(-0.92, abs=1e-9)


def test_page_case_2_stop_before_target_when_a_bar_touches_both():
    rules = replace(SPREAD, stop_loss=0.05, take_profit=0.10)
    account = holding(100.0, 40.0, rules)
    assert (account.positions[0].stop, account.positions[0].target) == (38.0, pytest.approx(44.0))
    step(account, bar(40.0), bar(39.0, 45.0, 37.5), rules)
    assert fills(account) == [(-100.0, 37.99, "stop")]
    # bought for 4,000 of 10,000: 6,000 + 3,799
    assert account.cash == pytest.approx(9_799.0)
    assert isnan(account.positions[0].stop) and isnan(account.positions[0].target)


def test_page_case_3_gaps_close_at_the_open():
    rules = replace(SPREAD, stop_loss=0.05, take_profit=0.10)
    account = holding(100.0, 40.0, rules)
    step(account, bar(40.0), bar(36.0, 37.0, 35.0), rules)
    assert fills(account) == [(-100.0, 35.99, "stop")]
    account = holding(100.0, 40.0, rules)
    step(account, bar(40.0), bar(45.0), rules)
    assert fills(account) == [(-100.0, 45.00, "target")]
    assert account.fills[0].slippage == 0.0


def test_page_case_4_the_trail_knows_only_bars_before():
    rules = replace(SPREAD, trail_fraction=0.10)
    account = holding(10.0, 100.0, rules)
    step(account, bar(100.0), bar(105.0, 110.0, 104.0), rules)
    assert account.positions[0].best == 110.0 and not account.fills
    # level 99; this bar's 120 does not help: 99 * 0.9998 = 98.9802 -> 98.98
    step(account, bar(105.0), bar(105.0, 120.0, 98.0), rules)
    assert fills(account) == [(-10.0, 98.98, "trail")]


def test_page_case_5_a_future_is_settled_every_day():
    rules = Rules(multiplier=20.0, settled_daily=True, tick_size=0.25, leverage=100.0)
    account = holding(2.0, 15_000.0, rules, cash=50_000.0)
    assert account.cash == 50_000.0  # a future costs nothing to hold
    step(account, bar(15_000.0), bar(15_004.0, 15_020.0, 14_990.0, 15_010.25), rules)
    assert (account.cash, account.equity) == (50_410.0, 50_410.0)


def test_page_case_6_borrowing_over_a_weekend():
    rules = Rules(borrow_rate=0.02, short_selling=True)
    assert borrow_fee(-100.0, 50.0, 3, rules) == pytest.approx(0.83333333333)
    account = holding(-100.0, 50.0, rules)  # 10,000 + 5,000
    step(account, bar(50.0, day=5), bar(49.0, day=8), rules)
    assert account.cash == pytest.approx(15_000.0 - 5 / 6)
    assert borrow_fee(100.0, 50.0, 3, rules) == 0.0


def test_the_spread_and_the_tick_go_against_the_trader():
    # 51 * 1.0002 = 51.0102 and 51 * 0.9998 = 50.9898; 50 * 1.0002 = 50.01 lies on a tick
    assert market_price(51.0, 1.0, 0.0, SPREAD) == pytest.approx(51.02)
    assert market_price(51.0, -1.0, 0.0, SPREAD) == pytest.approx(50.98)
    assert market_price(50.0, 1.0, 0.0, SPREAD) == pytest.approx(50.01)
    assert limit_price(44.444, -1.0, SPREAD) == pytest.approx(44.44)
    assert limit_price(44.444, 1.0, SPREAD) == pytest.approx(44.45)


def test_impact_by_either_law():
    # 2 + 1000 * 0.1^2 = 12 bps; 2 + 10 * sqrt(0.25) = 7 bps; without volume 2 bps
    square = Rules(half_spread_bps=2.0, impact_bps=1000.0)
    assert market_price(100.0, 100.0, 1000.0, square) == pytest.approx(100.12)
    assert market_price(100.0, 100.0, 0.0, square) == pytest.approx(100.02)
    root = Rules(half_spread_bps=2.0, impact_bps=10.0, impact_exponent=0.5)
    assert market_price(100.0, -250.0, 1000.0, root) == pytest.approx(99.93)


@pytest.mark.parametrize(("n", "price", "expected"), [(100, 25.0, 1.00), (1000, 25.0, 5.00), (1000, 0.25, 2.50)])
def test_fixed_commission_is_the_brokers_own_examples(n, price, expected):
    assert commission(n, price, bar(price), Rules(schedule="ibkr_fixed")) == pytest.approx(expected)


def test_tiered_commission_in_its_parts():
    rules = Rules(schedule="ibkr_tiered")
    # 1,000 at 25: 3.50; exchange 3.00; clearing 0.20; pass-through 0.000735 * 3.50 = 0.0025725
    assert commission(1000, 25.0, bar(25.0), rules) == pytest.approx(6.7025725)
    assert commission(1000, 25.0, bar(25.0), rules, limit=True) == pytest.approx(3.7025725)
    # 10 at 25: the minimum 0.35; 0.03; 0.002; 0.00025725
    assert commission(10, 25.0, bar(25.0), rules) == pytest.approx(0.38225725)
    # 1,000 at 0.02, value 20: 3.50 capped at 0.20; 3.00; clearing 0.20 capped at 0.10; 0.000147
    assert commission(1000, 0.02, bar(0.02), rules) == pytest.approx(3.300147)


def test_the_other_schedules_know_no_regulators():
    fees = bar(300.0, sec_rate=27.8e-6, taf_per_share=0.000166, taf_cap=8.30)
    assert commission(-2, 300.0, fees, Rules(schedule="ibkr_futures", multiplier=20.0)) == pytest.approx(4.50)
    assert commission(-2, 300.0, fees, Rules(schedule="bps", commission_bps=10.0)) == pytest.approx(0.60)
    assert commission(-2, 300.0, fees, Rules()) == 0.0


@pytest.mark.parametrize("schedule", ["ibkr_fixed", "ibkr_tiered"])
def test_sells_alone_pay_the_regulators(schedule):
    rules, fees = Rules(schedule=schedule), bar(1.0, sec_rate=27.8e-6, taf_per_share=0.000166, taf_cap=8.30)
    bought, sold = commission(100_000, 1.0, fees, rules), commission(-100_000, 1.0, fees, rules)
    # 100,000 * 27.80 / 10^6 = 2.78, and 16.60 of TAF, of which 8.30 at most
    assert sold - bought == pytest.approx(2.78 + 8.30)


@pytest.mark.parametrize(
    ("day", "sec", "taf", "cap"),
    [
        (date(2018, 1, 2), 23.10, 0.000119, 5.95),
        (date(2020, 2, 17), 20.70, 0.000119, 5.95),
        (date(2020, 2, 18), 22.10, 0.000119, 5.95),
        (date(2024, 6, 3), 27.80, 0.000166, 8.30),
        (date(2026, 1, 1), 0.0, 0.000195, 9.79),
    ],
)
def test_regulatory_fees_by_date(day, sec, taf, cap):
    assert fees_on(day) == (pytest.approx(sec / 1e6), taf, cap)


def test_three_actions():
    both = Rules(max_weight=0.5, short_selling=True)
    assert [three_actions(action, 37.0, 10_000.0, 50.0, both) for action in range(3)] == [37.0, 100.0, -100.0]
    assert three_actions(2, 37.0, 10_000.0, 50.0, Rules()) == 0.0
    assert three_actions(1, 37.0, -1.0, 50.0, Rules()) == 0.0


def test_nine_actions_go_part_of_the_way():
    # full weight is 200; from 30 it is 170 away: 42.5, 85, 127.5, 170; to 0 it is 30 away: 7.5, 15, 22.5, 30
    found = [nine_actions(action, 30.0, 10_000.0, 50.0, Rules()) for action in range(9)]
    assert found == [30.0, 72.0, 115.0, 157.0, 200.0, 23.0, 15.0, 8.0, 0.0]
    # with shorting the sells aim at -200, 230 away: 57.5, 115, 172.5, 230
    both = Rules(short_selling=True)
    found = [nine_actions(action, 30.0, 10_000.0, 50.0, both) for action in (5, 6, 7, 8)]
    assert found == [-27.0, -85.0, -142.0, -200.0]


def test_continuous_actions_are_clipped_and_have_a_band():
    rules = Rules(no_trade_band=0.05)
    # 100 at 50 of 10,000 is weight 0.5
    assert continuous_action(0.54, 100.0, 10_000.0, 50.0, rules) == 100.0
    assert continuous_action(0.56, 100.0, 10_000.0, 50.0, rules) == 112.0
    assert continuous_action(0.01, 4.0, 10_000.0, 50.0, rules) == 4.0
    assert continuous_action(0.0, 4.0, 10_000.0, 50.0, rules) == 0.0
    assert continuous_action(-0.5, 100.0, 10_000.0, 50.0, Rules()) == 0.0
    assert continuous_action(-3.0, 0.0, 10_000.0, 50.0, Rules(short_selling=True, max_weight=0.5)) == -100.0


@pytest.mark.parametrize(
    ("held", "target", "cash", "rules", "expected"),
    [
        (0.0, 300.0, 10_000.0, Rules(), 200.0),
        (0.0, 300.0, 10_000.0, Rules(leverage=1.2), 240.0),
        (0.0, -300.0, 10_000.0, Rules(), 0.0),  # no shorting
        (0.0, -300.0, 10_000.0, Rules(half_spread_bps=100.0, short_selling=True), -202.0),  # 10,000/49.5 = 202.02
        (0.0, 300.0, 10_000.0, Rules(half_spread_bps=100.0), 198.0),  # 10,000/50.5 = 198.02
        (100.0, 120.0, -500.0, Rules(), 100.0),  # carries 90: buys nothing, sells nothing either
        (100.0, 50.0, -4_900.0, Rules(), 50.0),  # a reduction is never capped
        (-100.0, 80.0, 8_000.0, Rules(short_selling=True), 60.0),  # 8,000 - 5,000 carries 60
        (100.0, -300.0, 5_000.0, Rules(short_selling=True), -200.0),
        (0.0, 9.0, 10_000.0, Rules(multiplier=20.0, settled_daily=True), 9.0),
        (0.0, 11.0, 10_000.0, Rules(multiplier=20.0, settled_daily=True), 10.0),
        (20.0, -80.0, 1e6, Rules(participation=0.05, short_selling=True), -30.0),  # 5 % of 1,000 is 50 in all
        (0.0, 300.0, 10_000.0, Rules(participation=0.05), 50.0),
        (0.0, 300.0, 10_000.0, Rules(participation=0.05, lot=7.0), 49.0),  # 7 lots of 7.14
    ],
)
def test_what_an_order_may_reach_at_the_open(held, target, cash, rules, expected):
    account = Account.start(cash)
    account.positions[0] = Position(quantity=held, average_price=50.0, settled_at=50.0)
    trade_at_open(account, [bar(50.0, volume=1000.0)], [target], [rules])
    assert account.positions[0].quantity == expected


def test_no_volume_no_trade_unless_participation_is_off():
    for participation, expected in ((0.05, 0.0), (0.0, 100.0)):
        account = Account.start(10_000.0)
        step(account, bar(50.0), bar(50.0), Rules(participation=participation), 100.0)
        assert account.positions[0].quantity == expected
