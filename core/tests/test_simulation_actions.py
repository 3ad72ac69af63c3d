"""Step 0 of a bar: splits and dividends by hand."""

import numpy as np
import pytest

from core.ledger import apply_split
from core.simulation import kernel
from core.simulation.account import SimulatedAccount
from core.simulation.bars import bar_table, validate_actions
from core.simulation.rules import MarketRules
from core.simulation.trades import Fill, OpenPosition, RoundTrip, Split, open_remainder, round_trips

FREE = {"half_spread_bps": 0.0, "schedule": "none"}
NAN = float("nan")


def account(quantity: float, price: float, cash: float = 10_000.0, **rules) -> SimulatedAccount:
    """One that has just bought or sold so much at a price, free of costs."""
    made = SimulatedAccount(cash, MarketRules(**FREE, short_selling=True, **rules))
    made.step(price, price, 1e6, quantity)
    return made


def test_a_position_of_100_at_70_through_a_seven_for_one_split_is_700_at_10():
    made = account(100.0, 70.0)  # cash 10,000 - 7,000 = 3,000
    made.step(10.0, 10.0, 1e6, 100.0, split=7.0)
    assert (made.quantity, made.average_price, made.cash, made.equity) == (700.0, 10.0, 3000.0, 10_000.0)
    # A dividend of 0.5 on 700 shares is 350; the price falls by as much, so equity does not move.
    result = made.step(9.5, 9.5, 1e6, 700.0, dividend=0.5)
    assert (made.cash, made.equity, made.drawdown) == (3350.0, 10_000.0, 0.0)
    assert (result.traded, result.rewards["net_return"]) == (0.0, 0.0)


def test_a_reverse_split_pays_fractions_out_at_the_open():
    made = account(102.0, 10.0)  # cash 8,980
    made.step(41.0, 42.0, 1e6, 102.0, split=0.25)
    # 102 / 4 = 25.5: 25 shares at 40, half a share at the open of 41 is 20.50; equity 9,000.50 + 25 * 42.
    assert (made.quantity, made.average_price, made.cash) == (25.0, 40.0, 9000.5)
    assert made.equity == 10_050.5


def test_who_is_short_owes_new_shares_and_pays_the_dividend():
    made = account(-10.0, 50.0)  # cash 10,500
    made.step(24.5, 24.5, 1e6, -10.0, split=2.0, dividend=0.5)
    # 20 short at 25, and 20 * 0.5 = 10 paid: the dividend is per new share. Equity 10,490 - 20 * 24.5.
    assert (made.quantity, made.average_price, made.cash, made.equity) == (-20.0, 25.0, 10_490.0, 10_000.0)
    made.step(98.0, 98.0, 1e6, -20.0, split=0.3)
    assert (made.quantity, made.cash) == (-6.0, 10_490.0)
    made.step(400.0, 400.0, 1e6, -6.0, split=0.25)
    # -1.5: one stays short, the half is bought back at 400.
    assert (made.quantity, made.cash) == (-1.0, 10_490.0 - 0.5 * 400.0)


def test_a_position_below_one_lot_is_paid_out_whole():
    made = account(3.0, 10.0)
    made.step(40.0, 40.0, 1e6, 3.0, split=0.25)
    assert (made.quantity, made.average_price, made.cash) == (0.0, 0.0, 10_000.0)
    assert made.age == 0.0


def test_an_order_waiting_for_the_split_is_meant_in_old_units():
    made = account(100.0, 70.0, cash=20_000.0)
    result = made.step(10.0, 10.0, 1e6, 150.0, split=7.0)
    assert (result.traded, made.quantity, made.average_price) == (350.0, 1050.0, 10.0)
    assert (made.cash, made.equity) == (9500.0, 20_000.0)  # 20,000 - 7,000 - 350 * 10


def test_a_multiplier_counts():
    made = account(10.0, 50.0, multiplier=2.0)
    made.step(50.0, 50.0, 1e6, 10.0, dividend=0.25)
    assert made.cash == 10_000.0 - 10 * 50 * 2 + 10 * 0.25 * 2


def test_whole_series_have_the_same_step_and_none_without_actions():
    prices, volume = np.array([70.0, 70.0, 10.0, 9.5]), np.full(4, 1e6)
    actions = np.array([[1.0, 0.0], [1.0, 0.0], [7.0, 0.0], [1.0, 0.5]])
    rules = MarketRules(**FREE).as_array()
    targets = np.array([100.0, NAN, NAN, NAN])
    bars = bar_table(prices, prices, volume, actions=actions)
    equity, quantity, fills, _ = kernel.run_targets(bars, 10_000.0, targets, rules)
    assert (equity.tolist(), quantity[:, 0].tolist()) == ([10_000.0] * 4, [0.0, 100.0, 700.0, 700.0])
    assert len(fills) == 1
    nothing = bar_table(prices, prices, volume, actions=np.tile([1.0, 0.0], (4, 1)))
    plain = kernel.run_weights(bar_table(prices, prices, volume), 10_000.0, np.ones(4), rules)
    for found, expected in zip(kernel.run_weights(nothing, 10_000.0, np.ones(4), rules), plain, strict=True):
        np.testing.assert_array_equal(found, expected)
    with pytest.raises(ValueError, match="actions has shape"):
        bar_table(prices, prices, volume, actions=actions[:2])


def test_an_action_inside_a_session_is_refused():
    actions = np.array([[1.0, 0.0], [7.0, 0.0]])
    with pytest.raises(ValueError, match=r"actions: row 1 .* first bar of a session"):
        bar_table([70.0, 10.0], [70.0, 10.0], [1.0, 1.0], day=[5, 5], actions=actions)
    assert bar_table([70.0, 10.0], [70.0, 10.0], [1.0, 1.0], day=[5, 6], actions=actions).shape == (2, 1, kernel.N_BAR)


@pytest.mark.parametrize("ratio", [7.0, 0.25, 1 / 3, 0.1, 1.5, 20.0, 0.3333333333])
@pytest.mark.parametrize("lot", [1.0, 0.01, 100.0])
def test_quantities_are_those_of_the_ledger(ratio, lot):
    from decimal import Decimal

    random = np.random.default_rng(3)
    for quantity in [*random.integers(-5000, 5000, 60).tolist(), 30, -30, 3, 0]:
        whole = apply_split(Decimal(quantity), Decimal(1), Decimal(repr(ratio)), Decimal(repr(lot))).quantity
        assert kernel.split_quantity(float(quantity), ratio, lot) == pytest.approx(float(whole), abs=1e-9)


def test_wrong_actions_are_refused_and_empty_ones_are_none():
    assert validate_actions(np.tile([1.0, 0.0], (3, 1)), 3).shape == (0, 2)
    for bad in ([[0.0, 0.0]], [[1.0, -1.0]], [[NAN, 1.0]], [[7.0]]):
        with pytest.raises(ValueError, match="actions"):
            validate_actions(bad, 1)
    with pytest.raises(ValueError, match="split"):
        account(1.0, 10.0).step(1.0, 1.0, 1.0, 1.0, split=0.0)


def test_a_round_trip_through_a_split_counts_in_new_shares():
    fills = [Fill(1, 100.0, 70.0, 1.0), Fill(5, -700.0, 12.0, 2.0)]
    # 700 bought at 10, sold at 12: 1,400 less commissions of 3.
    assert round_trips(fills, splits=[Split(5, 7.0, 700.0)]) == [RoundTrip(1, 5, 1, 700.0, 10.0, 12.0, 3.0, 1397.0)]
    held = open_remainder(fills[:1], splits=[Split(3, 7.0, 700.0)])
    assert held == OpenPosition(1, 700.0, 10.0, 1.0)
    assert open_remainder(fills[:1], splits=[Split(3, 0.001, 0.0)]) is None
    assert open_remainder([], splits=[Split(3, 7.0, 0.0)]) is None
