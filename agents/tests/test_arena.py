import numpy as np
import pytest

from agents.environment.env_config import EnvConfig
from agents.environment.market import Market
from agents.environment.rewards import RewardSettings
from agents.learners.arena import typical_reward
from core.simulation.rules import MarketRules

FREE = MarketRules(half_spread_bps=0.0, schedule="none", tick_size=0.0, lot=1e-9)


def _market(close):
    n = len(close)
    opens = np.concatenate([close[:1], close[:-1]])
    return Market(np.zeros((n, 1)), opens, close, np.full(n, 1e6), np.zeros((n, 3)))


@pytest.mark.parametrize("action", ["choice", "steps", "target"])
def test_a_typical_reward_is_that_of_being_invested_all_the_time(action):
    # Up 1 %, down 1 %, in turns; bought at the open of row 1, which is the close of row 0.
    close = 100.0 * np.cumprod(np.where(np.arange(9) % 2, 1.01, 0.99))
    config = EnvConfig(action=action, rules=FREE, episode_length=3, reward=RewardSettings(net_return=2.0))
    assert typical_reward(_market(close), config) == pytest.approx(0.02, rel=1e-6)


def test_prices_that_never_move_leave_a_reward_that_can_be_divided_by():
    assert typical_reward(_market(np.full(9, 100.0)), EnvConfig(rules=FREE)) > 0
