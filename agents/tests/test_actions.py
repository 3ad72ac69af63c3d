import numpy as np
import pytest
from gymnasium import spaces

from agents.environment.actions import LABELS, n_choices, space_of
from agents.environment.batch_env import BatchEnv
from agents.environment.env import EnvConfig, Market
from core.simulation import kernel
from core.simulation.rules import MarketRules

FREE = {"half_spread_bps": 0.0, "schedule": "none", "tick_size": 0.0}


def flat_market(prices: list[float], **columns) -> Market:
    closes = np.array(prices)
    return Market(
        np.zeros((len(prices), 1)), closes, closes, np.full(len(prices), 100.0), np.zeros((len(prices), 3)), **columns
    )


def masks_after(actions: list[float], market: Market, **config) -> list[bool]:
    batch = BatchEnv(market, EnvConfig(start_cash=1_000.0, **config), 1, autoreset=False)
    batch.reset()
    for action in actions:
        batch.step(np.array([action]))
    return batch.masks()[0].tolist()


def test_spaces_and_labels():
    assert space_of("choice") == spaces.Discrete(3) and space_of("steps") == spaces.Discrete(9)
    assert space_of("steps", 2) == spaces.MultiDiscrete([9, 9])
    assert space_of("target", 3) == spaces.Box(-1.0, 1.0, (3,), np.float32)
    assert LABELS["steps"][4] == "buy 100 %" and LABELS["steps"][5] == "sell 25 %"
    assert [n_choices(name) for name in ("choice", "steps", "target")] == [3, 9, 0]


def test_masks_of_three_actions():
    market = flat_market([100.0] * 6)
    rules = MarketRules(**FREE)
    # Flat: nothing to sell. Bought 10 of 10: nothing to buy. Sold again: as at first.
    assert masks_after([], market, rules=rules) == [True, True, False]
    assert masks_after([1], market, rules=rules) == [True, False, True]
    assert masks_after([1, 2], market, rules=rules) == [True, True, False]
    short = MarketRules(**FREE, short_selling=True)
    assert masks_after([], market, rules=short) == [True, True, True]
    assert masks_after([2], market, rules=short) == [True, True, False]


def test_masks_of_nine_actions():
    market = flat_market([100.0] * 6)
    rules = MarketRules(**FREE)
    # With 10 units to buy, every quarter buys something: 2, 5, 7, 10. Flat there is nothing to sell.
    assert masks_after([], market, action="steps", rules=rules) == [True] + [True] * 4 + [False] * 4
    # 5 held of 10: 25 % of the way is one unit either way.
    assert masks_after([2], market, action="steps", rules=rules) == [True] * 9
    # 9 held: a quarter of the last unit is none; all of it is one.
    assert masks_after([3, 3], market, action="steps", rules=rules)[:5] == [True, False, False, False, True]
    assert masks_after([4], market, action="steps", rules=rules) == [True] + [False] * 4 + [True] * 4


def test_holding_is_all_that_is_left_while_something_must_be_closed():
    # Ruined at the close of 5: everything is sold at the next open, whatever is decided.
    assert masks_after([1, 0], flat_market([100.0, 100.0, 5.0, 5.0]), rules=MarketRules(**FREE)) == [True, False, False]
    # Two bars old with a time stop of two.
    assert masks_after([1, 0], flat_market([100.0] * 5), rules=MarketRules(**FREE, time_stop=2)) == [True, False, False]
    # A stop at 90 in a bar whose volume lets half of it trade: the rest waits.
    thin = flat_market([100.0, 100.0, 100.0, 80.0, 80.0])
    thin.bars[:, 0, kernel.BAR_VOLUME] = [100, 100, 100, 5, 5]
    rules = MarketRules(**FREE, stop_loss=0.1, participation=1.0)
    assert masks_after([1, 0, 0], thin, rules=rules) == [True, False, False]


def test_a_buy_that_would_sell_is_masked():
    # Half the money: 5 units; at 150 half of 1,250 is 4 units, so "buy" would sell one.
    market = flat_market([100.0, 100.0, 150.0, 150.0])
    assert masks_after([1, 0], market, rules=MarketRules(**FREE, max_weight=0.5)) == [True, False, True]


def test_masks_of_several_instruments_stand_side_by_side_and_continuous_actions_have_none():
    both = Market.several([flat_market([100.0] * 4), flat_market([50.0] * 4)])
    batch = BatchEnv(both, EnvConfig(rules=MarketRules(**FREE, max_weight=0.5), start_cash=1_000.0), 2)
    batch.reset()
    batch.step(np.array([[1, 0], [0, 1]]))
    assert batch.masks().tolist() == [[True, False, True, True, True, False], [True, True, False, True, False, True]]
    with pytest.raises(ValueError, match="continuous"):
        BatchEnv(both, EnvConfig(action="target"), 1).masks()


def test_a_masked_action_never_changes_the_position():
    """What a mask forbids would have been no order of its kind: taking it never buys or sells as it says."""
    random = np.random.default_rng(0)
    prices = 100 * np.exp(np.cumsum(random.normal(0, 0.02, 200)))
    config = EnvConfig(action="steps", rules=MarketRules(short_selling=True), start_cash=1_000.0)
    batch = BatchEnv(flat_market(prices.tolist()), config, 16)
    batch.reset()
    for _ in range(150):
        masks = batch.masks().copy()
        actions, held = random.integers(0, 9, 16), batch.positions[:, 0, kernel.QUANTITY].copy()
        batch.step(actions)
        change = batch.positions[:, 0, kernel.QUANTITY] - held
        forbidden = ~masks[np.arange(16), actions]
        says = np.where(actions == 0, 0, np.where(actions <= 4, 1, -1))
        assert (change[forbidden] * says[forbidden] <= 0).all()
        assert (change[actions == 0] == 0).all()
