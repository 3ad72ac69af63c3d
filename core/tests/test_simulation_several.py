"""Several instruments in one account, nine actions and the rewards that remember, by hand or against plain numpy."""

import math

import numpy as np
import pytest

from core.simulation import kernel
from core.simulation.account import SimulatedAccount
from core.simulation.bars import bar_table, side_by_side
from core.simulation.rules import MarketRules, rules_table

FREE = {"half_spread_bps": 0.0, "schedule": "none"}
NAN = math.nan


def flat_market(price: float, n_bars: int) -> np.ndarray:
    return bar_table(np.full(n_bars, price), np.full(n_bars, price), np.full(n_bars, 1e6))


def run(tables, targets, cash=10_000.0, **rules):
    each = [MarketRules(**FREE, **rules)] * len(tables)
    return kernel.run_targets(side_by_side(*tables), cash, np.array(targets, dtype=float), rules_table(*each))


def test_orders_that_reduce_go_first_and_make_room():
    # 100 of B at 100 take all of 10,000; at the next bar B sells 60 and A, first in order, buys for what that frees.
    _, quantity, fills, _ = run(
        [flat_market(50.0, 3), flat_market(100.0, 3)], [[NAN, 100.0], [150.0, 40.0], [NAN, NAN]]
    )
    np.testing.assert_array_equal(quantity, [[0, 0], [0, 100], [120, 40]])  # 6,000 / 50 = 120
    assert fills[:, [kernel.RUN_INSTRUMENT, kernel.RUN_TRADED]].tolist() == [[1.0, 100.0], [0.0, 120.0], [1.0, -60.0]]


def test_instruments_share_the_room_in_their_order():
    # 10,000: A takes 6,000, B asks for 8,000 and gets the 4,000 that are left.
    _, quantity, *_ = run([flat_market(50.0, 2), flat_market(100.0, 2)], [[120.0, 80.0], [NAN, NAN]])
    np.testing.assert_array_equal(quantity[1], [120, 40])
    # A short position takes room as well: 5,000 short leave 5,000 of 10,000.
    _, quantity, *_ = run(
        [flat_market(50.0, 2), flat_market(100.0, 2)], [[-100.0, 80.0], [NAN, NAN]], short_selling=True
    )
    np.testing.assert_array_equal(quantity[1], [-100, 50])


def test_equity_at_the_open_is_that_of_all_instruments():
    # 50 of A bought at 100; it opens at 140: equity 10,000 + 2,000, others 7,000, so B gets 5,000/50 = 100.
    a = bar_table([100.0, 100.0, 140.0], [100.0, 100.0, 140.0], np.zeros(3))
    equity, quantity, *_ = run([a, flat_market(50.0, 3)], [[50.0, NAN], [NAN, 500.0], [NAN, NAN]])
    np.testing.assert_array_equal(quantity[2], [50, 100])
    np.testing.assert_allclose(equity, [10_000.0, 10_000.0, 12_000.0])


def test_a_rest_trades_before_another_instruments_order_uses_the_room():
    # B's stop at 90 is touched, 50 of 100 trade (5 % of 1,000 in that bar). At the next open the other 50 go first,
    # so A's order finds all the cash: 9,000 / 45 = 200.
    b = bar_table([100.0, 100.0, 95.0, 90.0], [100.0, 100.0, 90.0, 90.0], np.array([1e6, 1e6, 1000.0, 1e6]))
    rules = [
        MarketRules(**FREE, participation=0.05),
        MarketRules(**FREE, participation=0.05, stop_loss=0.1),
    ]
    targets = np.array([[NAN, 100.0], [NAN, NAN], [900.0, NAN], [NAN, NAN]])
    _, quantity, fills, _ = kernel.run_targets(
        side_by_side(flat_market(45.0, 4), b), 10_000.0, targets, rules_table(*rules)
    )
    np.testing.assert_array_equal(quantity, [[0, 0], [0, 100], [0, 50], [200, 0]])
    assert fills[:, kernel.RUN_REASON].tolist() == [0.0, 1.0, 0.0, 4.0]


def test_a_future_and_a_share_in_one_account():
    # One NQ at 500 with multiplier 20 is 10,000 of exposure and no cash; a share's cost comes from cash.
    share = MarketRules(**FREE, leverage=2.0)
    future = MarketRules(**FREE, multiplier=20.0, settled_daily=True)
    nq = bar_table([500.0, 500.0, 505.0], [500.0, 500.0, 510.0], np.zeros(3))
    targets = np.array([[500.0, 1.0], [NAN, NAN], [NAN, NAN]])
    equity, quantity, _, out = kernel.run_targets(
        side_by_side(flat_market(50.0, 3), nq), 10_000.0, targets, rules_table(share, future)
    )
    # Room 20,000: the share takes it all (400); nothing is left for the future.
    np.testing.assert_array_equal(quantity[1], [400, 0])
    targets[0] = [100.0, 1.0]
    equity, quantity, _, out = kernel.run_targets(
        side_by_side(flat_market(50.0, 3), nq), 10_000.0, targets, rules_table(share, future)
    )
    np.testing.assert_array_equal(quantity[1], [100, 1])
    np.testing.assert_allclose(equity, [10_000.0, 10_000.0, 10_200.0])  # 10 points of 20
    assert out[2, kernel.OUT_EXPOSURE] == pytest.approx((5_000 + 10_200) / 10_200)


def test_dividends_interest_and_fees_come_together():
    # A: 100 held, 2 of dividend each; B: 50 short at 100 pays 1 each and 3.6 % a year for borrowing.
    # Cash 36,000 - 10,000 + 5,000 + 200 - 50 = 31,150: interest at 3.6 % for 2 days 6.23; borrow 5,000*0.036*2/360 = 1
    days = [0, 1, 3]
    a = bar_table([100.0] * 3, [100.0] * 3, np.zeros(3), day=days, actions=[[1, 0], [1, 0], [1, 2]])
    b = bar_table([100.0] * 3, [100.0] * 3, np.zeros(3), day=days, actions=[[1, 0], [1, 0], [1, 1]])
    rules = MarketRules(**FREE, short_selling=True, interest_rate=0.036, borrow_rate=0.036)
    targets = np.array([[100.0, -50.0], [NAN, NAN], [NAN, NAN]])
    equity, _, _, out = kernel.run_targets(side_by_side(a, b), 36_000.0, targets, rules_table(rules, rules))
    first = 36_000 * 0.036 / 360  # the first night was spent in cash
    interest = (31_150 + first) * 0.036 * 2 / 360
    np.testing.assert_allclose(
        out[2, [kernel.OUT_INTEREST, kernel.OUT_BORROW, kernel.OUT_DIVIDENDS]], [interest, 1, 150]
    )
    assert equity[2] == pytest.approx(36_000 + first + 150 + interest - 1)


def test_tables_of_different_lengths_are_refused():
    with pytest.raises(ValueError, match="align them first"):
        side_by_side(flat_market(1.0, 2), flat_market(1.0, 3))


@pytest.mark.parametrize(
    ("step", "quantity", "changes", "expected"),
    [
        (0, 37.0, {}, 37.0),
        (1, 0.0, {}, 50.0),  # 25 % of 200
        (2, 0.0, {}, 100.0),
        (3, 37.0, {}, 159.0),  # 0.75*163 = 122.25
        (4, 37.0, {}, 200.0),
        (5, 37.0, {}, 28.0),  # 9.25 of 37
        (6, 37.0, {}, 19.0),
        (7, 37.0, {}, 10.0),  # 27.75
        (8, 37.0, {}, 0.0),
        (5, 100.0, {"short_selling": True}, 25.0),  # a quarter of 300
        (6, -100.0, {"short_selling": True}, -150.0),
        (8, 37.0, {"short_selling": True}, -200.0),
        (2, -100.0, {"short_selling": True}, 50.0),
        (1, 240.0, {}, 230.0),  # more than aimed at: a quarter of the way back
        (2, 0.3, {"lot": 0.1, "max_weight": 0.03155}, 3.3),  # aim 6.3: half of 6.0 is thirty lots
    ],
)
def test_nine_actions_move_a_share_of_the_way(step, quantity, changes, expected):
    # Equity 10,000 at 50: all is 200
    rules = MarketRules(**changes).as_array()
    assert kernel.target_for_steps(step, quantity, 10_000.0, 50.0, rules) == pytest.approx(expected)


def test_actions_that_do_not_exist_are_refused():
    account = SimulatedAccount(10_000.0, MarketRules())
    assert account.target_for_steps(2, 50.0) == 100.0
    unknown = ((kernel.CHOICE, 3.0), (kernel.STEPS, 9.0), (kernel.STEPS, -1.0), (kernel.CHOICE, NAN), (3, 0.0))
    for kind, action in unknown:
        with pytest.raises(ValueError, match=r"must be|NaN"):
            kernel.target_of(kind, action, account.positions[0], account.account, 50.0, account.table[0])


def test_the_differential_ratios_are_those_of_plain_numpy():
    # The definitions written out: D_t is what the ratio of exponential moments gains by the newest return.
    rng, rate = np.random.default_rng(1), 0.1
    close = 100 * np.exp(np.cumsum(rng.normal(0.001, 0.02, 60)))
    rules = MarketRules(**FREE, sharpe_rate=rate, tick_size=0.0, lot=1e-6)
    weights = np.full(60, NAN)
    weights[0] = 0.9
    _, _, _, out = kernel.run_weights(bar_table(close, close, np.zeros(60)), 1e4, weights, rules.as_array())
    mean = square = downside = 0.0
    for t, value in enumerate(out[:, kernel.OUT_NET_RETURN]):
        sharpe = sortino = 0.0
        if square - mean**2 > 1e-12:
            sharpe = (square * (value - mean) - mean * (value**2 - square) / 2) / (square - mean**2) ** 1.5
        if downside > 1e-12:
            down = downside**0.5
            if value > 0:
                sortino = (value - mean / 2) / down
            else:
                sortino = (downside * (value - mean / 2) - mean * value**2 / 2) / down**3
        assert out[t, kernel.OUT_DIFFERENTIAL_SHARPE] == pytest.approx(sharpe, rel=1e-9, abs=1e-12)
        assert out[t, kernel.OUT_DIFFERENTIAL_DOWNSIDE] == pytest.approx(sortino, rel=1e-9, abs=1e-12)
        mean += rate * (value - mean)
        square += rate * (value**2 - square)
        downside += rate * (min(value, 0.0) ** 2 - downside)
    assert np.count_nonzero(out[:, kernel.OUT_DIFFERENTIAL_SHARPE]) > 50


def test_the_differential_sharpe_is_the_slope_of_the_ratio_in_its_rate():
    # S(rate) = A/sqrt(B - A²) with A, B moved by rate: its derivative at 0, by a small difference.
    mean, square, value, rate = 0.002, 0.0005, 0.03, 1e-7

    def ratio(eta):
        a, b = mean + eta * (value - mean), square + eta * (value**2 - square)
        return a / math.sqrt(b - a * a)

    slope = (ratio(rate) - ratio(-rate)) / (2 * rate)
    assert kernel.differential_sharpe(value, mean, square) == pytest.approx(slope, rel=1e-6)
    for value in (0.03, -0.03):

        def downside_ratio(eta, value=value):
            loss = min(value, 0.0) ** 2
            return (mean + eta * (value - mean)) / math.sqrt(square + eta * (loss - square))

        slope = (downside_ratio(rate) - downside_ratio(-rate)) / (2 * rate)
        assert kernel.differential_downside(value, mean, square) == pytest.approx(slope, rel=1e-6)


def test_holding_costs_age_times_weight():
    account = SimulatedAccount(10_000.0, MarketRules(**FREE))
    ages = [account.step(100.0, 100.0, 0.0, target).rewards["holding"] for target in (50.0, 50.0, 25.0, 0.0)]
    np.testing.assert_allclose(ages, [-0.5, -1.0, -0.75, 0.0])
    assert account.step(100.0, 100.0, 0.0, 0.0).rewards["consistency"] == 0.0


def test_many_accounts_by_offset_are_single_accounts():
    # advance_at reads and writes nothing beside its own part of the arrays.
    rng, n, n_bars = np.random.default_rng(2), 5, 40
    tables = []
    for _ in range(2):
        close = 50 * np.exp(np.cumsum(rng.normal(0, 0.03, n_bars)))
        tables.append(bar_table(close, close[::-1] * 0 + close, rng.integers(0, 5000, n_bars)))
    bars = side_by_side(*tables)
    one = MarketRules(participation=0.1, stop_loss=0.05, trail_fraction=0.03, short_selling=True)
    rules = rules_table(one, one)
    targets = rng.integers(-200, 200, (n, n_bars, 2)).astype(float)
    singles = [kernel.run_targets(bars, 20_000.0, targets[c], rules) for c in range(n)]
    accounts, positions = np.empty(n * kernel.N_ACCOUNT), np.empty(n * 2 * kernel.N_POSITION)
    out, fills = np.empty(n * kernel.N_OUT), np.empty(n * 4 * kernel.N_FILL)
    for c in range(n):
        kernel.reset_at(accounts, c * kernel.N_ACCOUNT, positions, c * 2 * kernel.N_POSITION, 20_000.0, 2)
    flat, block = bars.reshape(-1), 2 * kernel.N_BAR
    for t in range(1, n_bars):
        decided = np.ascontiguousarray(targets[:, t - 1]).reshape(-1)
        for c in range(n):
            kernel.advance_at(
                accounts, c * kernel.N_ACCOUNT, positions, c * 2 * kernel.N_POSITION, flat, (t - 1) * block, flat,
                t * block, decided, 2 * c, rules.reshape(-1), 0, out, c * kernel.N_OUT, fills, c * 4 * kernel.N_FILL, 2,
            )  # fmt: skip
        equity = accounts.reshape(n, -1)[:, kernel.EQUITY]
        np.testing.assert_array_equal(equity, [single[0][t] for single in singles])
        np.testing.assert_array_equal(out.reshape(n, -1), [single[3][t] for single in singles])
