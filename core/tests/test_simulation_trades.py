"""Round trips at average cost, worked by hand."""

import numpy as np
import pytest

from core.simulation import kernel
from core.simulation.bars import bar_table
from core.simulation.rules import MarketRules
from core.simulation.trades import Fill, OpenPosition, RoundTrip, fills_from_array, open_remainder, round_trips


def test_one_entry_and_one_exit():
    # 100*(55 - 50) - 1 - 1.5 = 497.50
    fills = [Fill(1, 100.0, 50.0, 1.0), Fill(3, -100.0, 55.0, 1.5)]
    assert round_trips(fills) == [RoundTrip(1, 3, 1, 100.0, 50.0, 55.0, 2.5, 497.5)]
    assert open_remainder(fills) is None


def test_partial_exits_share_the_entry_costs():
    # bought 100 at 50 and 100 at 60: average 55, entry costs 4. Sold 50 at 70: costs 4*50/200 + 1 = 2,
    # result 50*15 - 2 = 748. Sold 150 at 45: costs 3 + 2 = 5, result 150*(-10) - 5 = -1,505
    fills = [
        Fill(1, 100.0, 50.0, 1.0),
        Fill(2, 100.0, 60.0, 3.0),
        Fill(3, -50.0, 70.0, 1.0),
        Fill(4, -150.0, 45.0, 2.0),
    ]
    assert round_trips(fills) == [
        RoundTrip(1, 3, 1, 50.0, 55.0, 70.0, 2.0, 748.0),
        RoundTrip(1, 4, 1, 150.0, 55.0, 45.0, 5.0, -1505.0),
    ]
    assert open_remainder(fills[:3]) == OpenPosition(1, 150.0, 55.0, 3.0)


def test_reversal_closes_one_side_and_opens_the_other():
    # long 100 at 50 (cost 1); sold 150 at 60 for 3: 2 of it close, 1 opens. 100*10 - 1 - 2 = 997.
    # short 50 at 60 (cost 1), bought at 58 for 1: 50*2 - 2 = 98
    fills = [Fill(1, 100.0, 50.0, 1.0), Fill(2, -150.0, 60.0, 3.0), Fill(5, 50.0, 58.0, 1.0)]
    assert round_trips(fills) == [
        RoundTrip(1, 2, 1, 100.0, 50.0, 60.0, 3.0, 997.0),
        RoundTrip(2, 5, -1, 50.0, 60.0, 58.0, 2.0, 98.0),
    ]
    assert open_remainder(fills[:2]) == OpenPosition(2, -50.0, 60.0, 1.0)


def test_multiplier_scales_the_result_but_not_the_costs():
    # two NQ, 10.25 points, 20 a point: 410 - 9
    fills = [Fill(1, 2.0, 15_000.0, 4.5), Fill(2, -2.0, 15_010.25, 4.5)]
    assert round_trips(fills, multiplier=20.0)[0].result == pytest.approx(401.0)


@pytest.mark.parametrize(
    ("fills", "message"),
    [
        ([Fill(2, 1.0, 5.0), Fill(1, -1.0, 5.0)], "must ascend by time"),
        ([Fill(1, 0.0, 5.0)], "quantity must not be 0"),
        ([Fill(1, 1.0, float("nan"))], "must be finite"),
    ],
)
def test_unclear_fills_are_refused(fills, message):
    with pytest.raises(ValueError, match=message):
        round_trips(fills)


def test_no_fills_are_no_trades():
    assert round_trips([]) == [] and open_remainder([]) is None


def test_results_and_remainder_add_up_to_the_runs_equity():
    rng = np.random.default_rng(3)
    close = np.round(50 * np.exp(np.cumsum(rng.normal(0, 0.02, 300))), 2)
    decisions, rules = rng.uniform(-1, 1, 300), MarketRules(short_selling=True)
    bars = bar_table(close, close, np.zeros(300))
    equity, _, array, _ = kernel.run_weights(bars, 1e5, decisions, rules.as_array())
    days = np.datetime64("2024-01-01") + np.arange(300)
    fills = fills_from_array(array, days)
    rest = open_remainder(fills)
    earned = sum(trip.result for trip in round_trips(fills))
    unrealised = rest.quantity * (close[-1] - rest.average_price) - rest.costs if rest else 0.0
    assert fills[0].time == days[1] and len(fills) > 200
    assert earned + unrealised == pytest.approx(equity[-1] - 1e5, abs=1e-6)
    assert fills_from_array(array)[0].time == 1
