import pytest

from agents.algorithms.base import LearnerReport
from agents.learners.tally import Tally


def test_reports_count_by_the_steps_they_stand_for():
    tally = Tally(first_step=100)
    tally.add(LearnerReport(200, {"value_loss": 1.0}, {"cost": -2.0}, {"buy": 0.5}, None))
    tally.add(LearnerReport(500, {"value_loss": 3.0}, {"cost": -4.0}, {"buy": 0.1}, 7.0))
    means = tally.take()
    # 100 steps of the first, 300 of the second: (100 * 1 + 300 * 3) / 400 = 2.5
    assert means.losses == {"value_loss": 2.5}
    assert means.reward_components == {"cost": -3.5}
    assert means.actions["buy"] == pytest.approx(0.2)
    assert means.episode_return == 7.0  # the first report knew of none
    assert means.scalars().keys() == {"loss/value_loss", "reward/cost", "action/buy", "episode_return"}
    assert tally.take().scalars() == {}
