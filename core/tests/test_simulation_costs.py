"""Commission schedules, interest, borrowed shares and futures, every number by hand."""

import numpy as np
import pytest

from core.simulation import kernel
from core.simulation.account import SimulatedAccount
from core.simulation.fees import load_fees
from core.simulation.rules import MarketRules

NO_FEES = (0.0, 0.0, 0.0)
FREE = {"half_spread_bps": 0.0, "schedule": "none"}
FUTURE = {"multiplier": 20.0, "tick_size": 0.25, "settled_daily": True, "leverage": 20.0, "max_weight": 20.0}


def charge(traded, price, fees=NO_FEES, limit_fill=False, **rules):
    return kernel.commission(traded, price, *fees, limit_fill, MarketRules(**rules).as_array())


@pytest.mark.parametrize(
    ("n", "price", "expected"),
    [
        # max(0.35, 0.35) + 0.30 exchange + 0.02 clearing + 0.000735*0.35 passed through
        (100.0, 25.0, 0.35 + 0.30 + 0.02 + 0.00025725),
        (1000.0, 25.0, 3.50 + 3.00 + 0.20 + 0.0025725),
        # 1 % of 250 is 2.50 < 3.50; clearing 0.20 < 0.5 % of 250 = 1.25
        (1000.0, 0.25, 2.50 + 3.00 + 0.20 + 0.0018375),
        # 10 at 0.10: value 1: 1 % is 0.01, below the minimum; clearing 0.002 < 0.005
        (10.0, 0.10, 0.01 + 0.03 + 0.002 + 0.00000735),
        # 1,000 at 0.02: value 20: clearing 0.20 is cut to 0.5 % = 0.10; commission 0.20
        (1000.0, 0.02, 0.20 + 3.00 + 0.10 + 0.000147),
    ],
)
def test_tiered_adds_exchange_clearing_and_pass_through(n, price, expected):
    assert charge(n, price, schedule="ibkr_tiered") == pytest.approx(expected, abs=1e-12)


def test_tiered_limit_fills_pay_no_exchange_and_sells_pay_the_regulators():
    limit = charge(-100.0, 25.0, limit_fill=True, schedule="ibkr_tiered")
    assert limit == pytest.approx(0.35 + 0.02 + 0.00025725)
    # 2,500*27.80/10^6 = 0.0695 and 100*0.000166 = 0.0166
    sold = charge(-100.0, 25.0, fees=(27.8e-6, 0.000166, 8.30), schedule="ibkr_tiered")
    assert sold == pytest.approx(0.67025725 + 0.0695 + 0.0166)
    assert charge(100.0, 25.0, fees=(27.8e-6, 0.000166, 8.30), schedule="ibkr_tiered") == pytest.approx(0.67025725)


def test_a_target_is_a_limit_fill_for_the_tiered_schedule():
    account = SimulatedAccount(
        10_000.0, MarketRules(half_spread_bps=0.0, schedule="ibkr_tiered", take_profit=0.1, stop_loss=0.1)
    )
    account.step(50.0, 50.0, 1e6, 100.0)
    result = account.step(50.0, 54.0, 1e6, 100.0, high=55.5, low=49.0)
    # 100 at 55: 0.35 + 0.02 + 0.000735*0.35
    assert (result.price, result.commission) == (pytest.approx(55.0), pytest.approx(0.37025725))


def test_futures_pay_per_contract_and_side():
    assert charge(-3.0, 15_000.0, schedule="ibkr_futures", multiplier=20.0) == pytest.approx(3 * (0.85 + 1.40))
    assert charge(2.0, 15_000.0, fees=(1.0, 1.0, 1.0), schedule="ibkr_futures") == pytest.approx(4.5)
    assert charge(2.0, 15_000.0, schedule="ibkr_futures", per_contract=2.10) == pytest.approx(4.2)


def test_ten_basis_points_of_a_coin():
    # 0.5 at 60,000 is 30,000: 30
    assert charge(0.5, 60_000.0, schedule="bps", commission_bps=10.0) == pytest.approx(30.0)


def test_every_schedule_names_its_source():
    table = load_fees()
    assert "Tiered" in table.commissions["ibkr_tiered"].source and "Fixed" in table.commissions["ibkr_fixed"].source
    assert "Futures" in table.contracts["ibkr_futures"].source
    assert table.contracts["ibkr_futures"].per_contract == pytest.approx(2.25)


def test_worked_case_six_borrowed_shares_over_a_weekend():
    account = SimulatedAccount(10_000.0, MarketRules(**FREE, short_selling=True, borrow_rate=0.02))
    account.step(50.0, 50.0, 0.0, -100.0)
    assert account.cash == 15_000.0
    # 100*50*0.02*3/360
    result = account.step(50.0, 50.0, 0.0, -100.0, days=3)
    assert result.borrow == pytest.approx(0.8333333333, abs=1e-9)
    assert account.cash == pytest.approx(15_000.0 - 0.8333333333, abs=1e-9)
    assert account.step(50.0, 50.0, 0.0, -100.0, days=0).borrow == 0.0  # within the session
    assert result.rewards["cost"] == 0.0 and result.rewards["net_return"] < 0.0


def test_borrowing_is_charged_for_what_was_held_over_the_night_of_a_split():
    account = SimulatedAccount(10_000.0, MarketRules(**FREE, short_selling=True, borrow_rate=0.02))
    account.step(50.0, 50.0, 0.0, -100.0)
    # 100 old shares at 50, not 200 new ones at 50: 100*50*0.02/360
    assert account.step(25.0, 25.0, 0.0, -100.0, split=2.0).borrow == pytest.approx(0.2777777778, abs=1e-9)
    assert account.quantity == -200.0


@pytest.mark.parametrize(
    ("cash", "days", "expected"),
    [
        (36_000.0, 1, 36_000 * 0.04 / 360),  # 5 % less half of 2 points: 4 % a year
        (36_000.0, 3, 12.0),
        (-36_000.0, 2, -36_000 * 0.065 * 2 / 360),  # 5 % and 1.5 points: -13
        (0.0, 5, 0.0),
    ],
)
def test_interest_counts_actual_days_of_360(cash, days, expected):
    rules = MarketRules(interest_rate=0.05, credit_spread=0.01, debit_spread=0.015).as_array()
    assert kernel.interest(cash, float(days), rules) == pytest.approx(expected)
    assert kernel.financing(cash, 10.0, 50.0, float(days), rules) == (pytest.approx(expected), 0.0)


def test_a_credit_spread_above_the_rate_pays_nothing():
    rules = MarketRules(interest_rate=0.01, credit_spread=0.02).as_array()
    assert kernel.interest(10_000.0, 30.0, rules) == 0.0


def test_interest_is_earned_on_cash_after_the_dividend():
    account = SimulatedAccount(36_000.0, MarketRules(**FREE, interest_rate=0.10))
    account.step(100.0, 100.0, 0.0, 180.0)  # 18,000 left
    # 180 * 100 of dividend make it 36,000: 36,000*0.10/360 = 10
    result = account.step(1.0, 1.0, 0.0, 180.0, dividend=100.0)
    assert result.interest == pytest.approx(10.0) and account.cash == pytest.approx(36_010.0)


def test_worked_case_five_a_futures_gain_goes_to_cash():
    rules = MarketRules(**FREE, **FUTURE)
    account = SimulatedAccount(50_000.0, rules)
    account.step(15_000.0, 15_000.0, 0.0, 2.0)
    assert (account.quantity, account.cash, account.equity) == (2.0, 50_000.0, 50_000.0)
    account.step(15_005.0, 15_010.25, 0.0, 2.0)
    assert (account.cash, account.equity) == (50_410.0, 50_410.0)  # 2 * 20 * 10.25
    assert kernel.settle(2.0, 15_000.0, 15_010.25, rules.as_array()) == 410.0


def test_what_a_future_trades_inside_a_bar_counts_from_its_price():
    account = SimulatedAccount(50_000.0, MarketRules(**FUTURE, half_spread_bps=0.0, schedule="ibkr_futures"))
    account.step(15_000.0, 15_010.0, 0.0, 2.0)
    # From the fill at 15,000: 2*20*10 less 2*2.25
    assert account.cash == pytest.approx(50_395.5)
    # Held 2 from 15,010; one sold at 15,020 (20*10), the other marked at 15,006 (20*-4); less 2.25
    result = account.step(15_020.0, 15_006.0, 0.0, 1.0)
    assert account.cash == pytest.approx(50_395.5 + 200.0 - 80.0 - 2.25) and account.equity == account.cash
    assert result.exposure == pytest.approx(15_006.0 * 20 / account.equity)
    # A stop at 15,000*(1 - 0.001) inside a bar works on the same money
    account = SimulatedAccount(50_000.0, MarketRules(**FREE, **FUTURE, stop_loss=0.001))
    account.step(15_000.0, 15_010.0, 0.0, 2.0)
    account.step(15_005.0, 15_050.0, 0.0, 2.0, high=15_060.0, low=14_980.0)
    assert (account.quantity, account.cash) == (0.0, 50_000.0 - 2 * 20 * 15.0)


def test_a_future_is_carried_by_equity_at_the_open():
    # 10,000 of cash, leverage 2, one contract is 20*500 = 10,000: two fit.
    rules = MarketRules(**FREE, **(FUTURE | {"leverage": 2.0}))
    account = SimulatedAccount(10_000.0, rules)
    assert account.step(500.0, 500.0, 0.0, 5.0).traded == 2.0
    # Open 600: equity 10,000 + 2*20*100 = 14,000 carries 2*14,000/12,000 = 2.33: no third.
    assert account.step(600.0, 600.0, 0.0, 5.0).traded == 0.0


def test_reference_counts_stay_as_they_were():
    # Small compiled functions do not count references; calling them must not lose or keep any.
    import sys

    rules = MarketRules().as_array()
    before = sys.getrefcount(rules)
    for _ in range(1000):
        kernel.fill_price(50.0, 1.0, 0.0, rules)
        with pytest.raises(ValueError, match="choice"):
            kernel.target_for_choice(7, 1.0, 1.0, 1.0, rules)
    assert sys.getrefcount(rules) == before
    np.testing.assert_array_equal(rules, MarketRules().as_array())
