"""Curves thinned to the screen keep their ends and their depths."""

import pytest

from agents.reports import drawdowns, rewards, thinned


def test_drawdown_is_measured_from_the_running_peak():
    # 90 is a quarter below the peak of 120
    assert drawdowns([100.0, 120.0, 90.0, 130.0]) == pytest.approx([0.0, 0.0, 0.25, 0.0])


def test_thinning_keeps_the_first_and_last_point_and_the_deepest_fall():
    n = 1000
    equity = [100.0] * n
    equity[333] = 60.0
    curve = thinned({"time": list(range(n)), "equity": equity, "baseline": equity}, most=100)
    assert len(curve["time"]) <= 102
    assert (curve["time"][0], curve["time"][-1]) == (0, n - 1)
    # The fall to 60 lies between two picked points and must still be seen: 40 % below the peak.
    assert min(curve["drawdown"]) == pytest.approx(-0.4)


def test_an_empty_curve_stays_empty():
    assert thinned({}) == {"time": [], "equity": [], "baseline": [], "drawdown": []}


def test_rewards_leave_out_what_is_no_number():
    assert rewards({"net_return": 0.9, "cost": None}) == {"rows": [("net_return", 0.9)], "largest": 0.9}
