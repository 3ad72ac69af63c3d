"""The kernel's parts against numbers worked by hand."""

import math

import numpy as np
import pytest

from core.simulation import kernel
from core.simulation.fees import fees_for
from core.simulation.rules import MarketRules

NO_FEES = np.zeros(3)
FREE = {"half_spread_bps": 0.0, "schedule": "none"}


def vector(**changes):
    return MarketRules(**changes).as_array()


def commission(traded, price, fees, rules):
    return kernel.commission(traded, price, *fees, False, rules)


def room(quantity, cash, open_price, rules):
    """Of an account with one instrument: leverage times equity at the open."""
    equity = cash + quantity * open_price * rules[kernel.RULE_MULTIPLIER]
    return kernel.room_at_open(equity, 0.0, rules[kernel.RULE_LEVERAGE])


def allowed_at_open(quantity, target, cash, open_price, volume, rules):
    limit = kernel.trade_limit(volume, rules)
    return kernel.allowed_at_open(quantity, target, room(quantity, cash, open_price, rules), open_price, limit, rules)


def trade_at_open(quantity, target, cash, average, open_price, volume, fees, rules):
    """(traded, price, commission, cash, quantity, average) of shares in an account with one instrument."""
    traded, price, paid, _, change, new_quantity, new_average = kernel.trade_at_open(
        quantity, target, average, room(quantity, cash, open_price, rules), open_price,
        kernel.trade_limit(volume, rules), volume, 0.0, *fees, rules,
    )  # fmt: skip
    return traded, price, paid, cash + change, new_quantity, new_average


def test_worked_case_one_buys_196_and_leaves_92_cents_of_debt():
    # cash 10,000, close 50, weight 1: 200. Open 51, 2 bps: floor(10,000/51.0102) = 196. Fill 51.0102 -> 51.02.
    # Commission max(1, 0.98) = 1.00. Cash 10,000 - 196*51.02 - 1.00 = 10,000 - 9,999.92 - 1.00 = -0.92
    rules = vector(half_spread_bps=2.0, tick_size=0.01)
    target = kernel.quantity_for_weight(1.0, 10_000.0, 50.0, rules)
    assert target == 200.0
    traded, price, paid, cash, quantity, average = trade_at_open(0.0, target, 10_000.0, 0.0, 51.0, 1e6, NO_FEES, rules)
    assert (traded, quantity, paid) == (196.0, 196.0, 1.0)
    assert price == pytest.approx(51.02, abs=1e-12) and average == price
    assert cash == pytest.approx(-0.92, abs=1e-9)


@pytest.mark.parametrize(
    ("reference", "traded", "expected"),
    [
        (51.0, 1.0, 51.02),  # 51.0102, buys round up
        (51.0, -1.0, 50.98),  # 50.9898, sells round down
        (50.0, 1.0, 50.01),  # 50*1.0002 = 50.01 lies on a tick and stays
        (50.0, -1.0, 49.99),  # 50*0.9998 = 49.99 likewise
        (38.0, -1.0, 37.99),  # 37.9924
        (36.0, -1.0, 35.99),  # 35.9928
    ],
)
def test_fill_pays_the_spread_and_the_tick(reference, traded, expected):
    price = kernel.fill_price(reference, traded, 1e6, vector(half_spread_bps=2.0, tick_size=0.01))
    assert price == pytest.approx(expected, abs=1e-9)


@pytest.mark.parametrize("cents", [1, 7, 29, 57, 115, 1001, 5001, 10_003])
def test_price_already_on_a_tick_is_not_moved(cents):
    rules = vector(half_spread_bps=0.0, tick_size=0.01)
    assert kernel.fill_price(cents / 100, 1.0, 0.0, rules) == pytest.approx(cents / 100, abs=1e-12)
    assert kernel.fill_price(cents / 100, -1.0, 0.0, rules) == pytest.approx(cents / 100, abs=1e-12)


def test_impact_grows_with_the_share_of_volume():
    # square: 2 + 1000*(100/1000)^2 = 12 bps of 100 is 0.12; root: 2 + 10*sqrt(0.25) = 7 bps is 0.07; V = 0: 2 bps
    square = vector(half_spread_bps=2.0, impact_bps=1000.0, tick_size=0.0)
    root = vector(half_spread_bps=2.0, impact_bps=10.0, impact_exponent=0.5, tick_size=0.0)
    assert kernel.fill_price(100.0, 100.0, 1000.0, square) == pytest.approx(100.12)
    assert kernel.fill_price(100.0, -250.0, 1000.0, root) == pytest.approx(99.93)
    assert kernel.fill_price(100.0, 100.0, 0.0, square) == pytest.approx(100.02)
    # 100 times the volume: the slip exceeds the price, which stops at 0
    assert kernel.fill_price(100.0, -1e5, 1000.0, square) == 0.0


@pytest.mark.parametrize(("n", "price", "expected"), [(100, 25.0, 1.00), (1000, 25.0, 5.00), (1000, 0.25, 2.50)])
def test_commission_is_the_brokers_own_examples(n, price, expected):
    assert commission(float(n), price, NO_FEES, vector()) == pytest.approx(expected)
    assert commission(float(-n), price, NO_FEES, vector()) == pytest.approx(expected)


def test_sells_pay_the_regulators_of_their_date():
    # 1,000 sold at 25 on 2024-06-03: 5.00 + 25,000*27.80/10^6 = 0.695 + 1,000*0.000166 = 0.166 -> 5.861
    rules, fees = (vector(), fees_for(np.array(["2024-06-03", "2025-06-02", "2020-03-02"], dtype="datetime64[D]")))
    assert commission(-1000.0, 25.0, fees[0], rules) == pytest.approx(5.861)
    assert commission(1000.0, 25.0, fees[0], rules) == pytest.approx(5.0)
    # 2025-06-02: no SEC fee: 5.166. 2020-03-02: 25,000*22.10/10^6 = 0.5525, 0.119 -> 5.6715
    assert commission(-1000.0, 25.0, fees[1], rules) == pytest.approx(5.166)
    assert commission(-1000.0, 25.0, fees[2], rules) == pytest.approx(5.6715)
    # 100,000 shares at 1: 500 + 100,000*27.80/10^6 = 2.78 + min(16.60, cap 8.30) = 511.08
    assert commission(-100_000.0, 1.0, fees[0], rules) == pytest.approx(511.08)


def test_other_schedules_charge_no_regulatory_fees():
    fees = fees_for(np.array(["2024-06-03"], dtype="datetime64[D]"))[0]
    # 10 bps of 2*300 is 0.60, with multiplier 20 it is 12.00
    assert commission(-2.0, 300.0, fees, vector(schedule="bps", commission_bps=10.0)) == pytest.approx(0.6)
    rules = vector(schedule="bps", commission_bps=10.0, multiplier=20.0)
    assert commission(-2.0, 300.0, fees, rules) == pytest.approx(12.0)
    assert commission(-2.0, 300.0, fees, vector(schedule="none")) == 0.0
    assert commission(0.0, 300.0, fees, vector()) == 0.0


@pytest.mark.parametrize(
    ("weight", "equity", "close", "changes", "expected"),
    [
        (0.5, 10_050.0, 50.0, {}, 100.0),  # 100.5, toward zero
        (-0.5, 10_050.0, 50.0, {}, -100.0),
        (1.0, 10_000.0, 30.0, {"lot": 100.0}, 300.0),  # 333.3 in hundreds
        (1.0, 1_000.0, 40_000.0, {"lot": 0.001}, 0.025),
        (1.0, 1_000_000.0, 15_000.0, {"multiplier": 20.0}, 3.0),  # 1e6/300,000 = 3.33
        (1.0, -5.0, 50.0, {}, 0.0),
    ],
)
def test_weight_becomes_whole_lots_toward_zero(weight, equity, close, changes, expected):
    assert kernel.quantity_for_weight(weight, equity, close, vector(**changes)) == pytest.approx(expected)


def test_three_actions_hold_buy_and_sell():
    long_only, both = vector(max_weight=0.5), vector(max_weight=0.5, short_selling=True)
    # half of 10,000 at 50 is 100
    assert kernel.target_for_choice(0, 37.0, 10_000.0, 50.0, long_only) == 37.0
    assert kernel.target_for_choice(1, 37.0, 10_000.0, 50.0, long_only) == 100.0
    assert kernel.target_for_choice(2, 37.0, 10_000.0, 50.0, long_only) == 0.0
    assert kernel.target_for_choice(2, 37.0, 10_000.0, 50.0, both) == -100.0
    with pytest.raises(ValueError, match="choice must be"):
        kernel.target_for_choice(3, 37.0, 10_000.0, 50.0, both)


def test_continuous_action_is_clipped_and_scaled():
    long_only, both = vector(max_weight=0.5), vector(max_weight=0.5, short_selling=True)
    assert kernel.target_for_weight(1.7, 0.0, 10_000.0, 50.0, long_only) == 100.0
    assert kernel.target_for_weight(0.5, 0.0, 10_000.0, 50.0, long_only) == 50.0
    assert kernel.target_for_weight(-0.5, 20.0, 10_000.0, 50.0, long_only) == 0.0
    assert kernel.target_for_weight(-3.0, 20.0, 10_000.0, 50.0, both) == -100.0
    with pytest.raises(ValueError, match="NaN"):
        kernel.target_for_weight(math.nan, 0.0, 10_000.0, 50.0, both)


def test_small_changes_of_weight_place_no_order_except_to_zero():
    rules = vector(no_trade_band=0.05)
    # 100 at 50 of 10,000 is weight 0.5
    assert kernel.target_for_weight(0.54, 100.0, 10_000.0, 50.0, rules) == 100.0
    assert kernel.target_for_weight(0.46, 100.0, 10_000.0, 50.0, rules) == 100.0
    assert kernel.target_for_weight(0.56, 100.0, 10_000.0, 50.0, rules) == 112.0
    # weight 0.02 is inside the band of 0, yet exactly 0 closes it
    assert kernel.target_for_weight(0.0, 4.0, 10_000.0, 50.0, rules) == 0.0
    assert kernel.target_for_weight(0.01, 4.0, 10_000.0, 50.0, rules) == 4.0


@pytest.mark.parametrize(
    ("quantity", "target", "cash", "changes", "expected"),
    [
        (0.0, 300.0, 10_000.0, {}, 200.0),  # 10,000/50
        (0.0, 300.0, 10_000.0, {"leverage": 1.2}, 240.0),
        (0.0, -300.0, 10_000.0, {"short_selling": True}, -200.0),
        (0.0, -300.0, 10_000.0, {}, 0.0),  # no short selling
        (0.0, 300.0, 10_000.0, {"half_spread_bps": 100.0}, 198.0),  # 10,000/50.5 = 198.02
        (0.0, -300.0, 10_000.0, {"half_spread_bps": 100.0, "short_selling": True}, -202.0),  # 10,000/49.5 = 202.02
        (0.0, 300.0, 10_000.0, {"lot": 7.0}, 196.0),  # 28 lots
        (0.0, 9.0, 10_000.0, {"multiplier": 20.0}, 9.0),
        (0.0, 11.0, 10_000.0, {"multiplier": 20.0}, 10.0),  # 10,000/1,000
        (100.0, 300.0, 5_000.0, {}, 200.0),  # 5,000 + 100*50
        (100.0, 120.0, -500.0, {}, 100.0),  # carries 90 only: buys nothing, but sells nothing either
        (-100.0, -120.0, 9_500.0, {"short_selling": True}, -100.0),
        (100.0, 50.0, -4_900.0, {}, 50.0),  # a reduction is never capped
        (100.0, 0.0, -6_000.0, {}, 0.0),
        (100.0, -300.0, 5_000.0, {"short_selling": True}, -200.0),  # a reversal carries 10,000/50
        (-100.0, 80.0, 8_000.0, {"short_selling": True}, 60.0),  # its opening half is capped: 3,000/50
        (0.0, 10.0, -100.0, {}, 0.0),
        (100.0, 100.0, -6_000.0, {}, 100.0),
    ],
)
def test_leverage_caps_what_increases_the_position(quantity, target, cash, changes, expected):
    rules = vector(**({"half_spread_bps": 0.0} | changes))
    assert allowed_at_open(quantity, target, cash, 50.0, 0.0, rules) == expected


@pytest.mark.parametrize(
    ("quantity", "target", "volume", "expected"),
    [
        (0.0, 100.0, 1000.0, 50.0),  # 5 % of 1,000
        (0.0, 100.0, 1019.0, 50.0),  # 50.95, whole lots
        (0.0, 40.0, 1000.0, 40.0),
        (100.0, 0.0, 1000.0, 50.0),
        (20.0, -80.0, 1000.0, -30.0),  # a reversal is one order
        (100.0, 0.0, 0.0, 100.0),  # no volume, no trade
        (0.0, 100.0, 19.0, 0.0),  # less than one lot
    ],
)
def test_participation_limits_what_trades_in_a_bar(quantity, target, volume, expected):
    rules = vector(**FREE, participation=0.05, short_selling=True)
    assert allowed_at_open(quantity, target, 1e6, 50.0, volume, rules) == expected


def test_without_participation_an_index_without_volume_trades():
    rules = vector(**FREE, participation=0.0, impact_bps=100.0)
    traded, price, *_ = trade_at_open(0.0, 100.0, 1e6, 0.0, 50.0, 0.0, NO_FEES, rules)
    assert (traded, price) == (100.0, 50.0)


@pytest.mark.parametrize(
    ("quantity", "target", "average", "expected"),
    [
        (0.0, 100.0, 0.0, 50.0),
        (100.0, 200.0, 40.0, 45.0),  # (100*40 + 100*50)/200
        (-100.0, -300.0, 44.0, 48.0),  # (100*44 + 200*50)/300
        (100.0, 30.0, 40.0, 40.0),  # reductions keep it
        (-100.0, -30.0, 40.0, 40.0),
        (100.0, -30.0, 40.0, 50.0),  # reversals start anew
        (100.0, 0.0, 40.0, 0.0),
    ],
)
def test_average_price_after_a_fill(quantity, target, average, expected):
    rules = vector(**FREE, short_selling=True)
    *_, new_quantity, new_average = trade_at_open(quantity, target, 1e6, average, 50.0, 0.0, NO_FEES, rules)
    assert new_quantity == target
    assert new_average == pytest.approx(expected)


def test_order_for_nothing_changes_nothing():
    traded, price, paid, cash, quantity, average = trade_at_open(10.0, 10.0, 123.0, 40.0, 50.0, 1e6, NO_FEES, vector())
    assert (traded, paid, cash, quantity, average) == (0.0, 0.0, 123.0, 10.0, 40.0)
    assert math.isnan(price)


def test_short_sale_brings_cash_and_its_cover_takes_it():
    # 100 sold at 50: cash 10,000 + 5,000; bought back at 40: 15,000 - 4,000 = 11,000, the gain of 100*10
    rules = vector(**FREE, short_selling=True)
    _, _, _, cash, quantity, _ = trade_at_open(0.0, -100.0, 10_000.0, 0.0, 50.0, 0.0, NO_FEES, rules)
    assert (cash, quantity) == (15_000.0, -100.0)
    _, _, _, cash, quantity, average = trade_at_open(quantity, 0.0, cash, 50.0, 40.0, 0.0, NO_FEES, rules)
    assert (cash, quantity, average) == (11_000.0, 0.0, 0.0)
