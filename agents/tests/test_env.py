import warnings

import gymnasium.utils.env_checker
import numpy as np
import pytest
import stable_baselines3.common.env_checker

from agents.environment.env import EnvConfig, Market, TradingEnv
from agents.environment.own_state import ALL, DEFAULT, OwnSpec, own_state
from agents.environment.rewards import RewardSettings, reward
from agents.tests.worlds import market
from core.simulation.account import SimulatedAccount
from core.simulation.rules import MarketRules

ADJUSTED = RewardSettings(kind="risk_adjusted", net_return=2.0, volatility=1.5, drawdown=0.3, cost=0.7)


@pytest.mark.parametrize("action", ["choice", "target"])
def test_both_checkers_pass_without_a_warning(action):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for length in (None, 50):
            env = TradingEnv(market(), EnvConfig(action=action, episode_length=length))
            gymnasium.utils.env_checker.check_env(env)
            stable_baselines3.common.env_checker.check_env(env)


@pytest.mark.parametrize("action", ["choice", "target"])
def test_both_checkers_pass_with_every_own_value_and_more_than_95_inputs(action):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        config = EnvConfig(action=action, episode_length=50, own=OwnSpec(ALL))
        env = TradingEnv(market(n_features=80), config)
        assert env.observation_space.shape == (103,)
        gymnasium.utils.env_checker.check_env(env)
        stable_baselines3.common.env_checker.check_env(env)


def test_a_second_episode_remembers_nothing_of_the_first():
    env = TradingEnv(market(), EnvConfig(own=OwnSpec(ALL), first=20))
    fresh, _ = env.reset()
    for step in range(60):
        env.step(step % 3)
    again, _ = env.reset()
    np.testing.assert_array_equal(fresh, again)


@pytest.mark.parametrize("own", [OwnSpec(("time_in_position", "weight")), OwnSpec(ALL)])
def test_what_is_chosen_is_seen_and_changes_no_trade(own):
    bars = market(seed=3)
    chosen, plain = (TradingEnv(bars, EnvConfig(own=spec)) for spec in (own, DEFAULT))
    seen, expected = chosen.reset()[0], plain.reset()[0]
    for step in range(200):
        for name in set(own.names) & set(DEFAULT.names):
            assert seen[5 + own.names.index(name)] == expected[5 + DEFAULT.names.index(name)]
        seen, earned, _, _, info = chosen.step((step // 3) % 3)
        expected, other, _, _, facts = plain.step((step // 3) % 3)
        assert (earned, info["equity"]) == (other, facts["equity"])


def _random_episode(env, seed):
    rng = np.random.default_rng(seed)
    observation, info = env.reset(seed=seed)
    steps, over = [(observation, 0.0, info["row"])], False
    while not over:
        action = int(rng.integers(3)) if not env.is_continuous else rng.uniform(-1, 1, 1)
        observation, earned, terminated, truncated, info = env.step(action)
        steps.append((observation, earned, info["row"]))
        over = terminated or truncated
    return steps


@pytest.mark.parametrize("action", ["choice", "target"])
def test_same_seed_same_episode(action):
    env = TradingEnv(market(), EnvConfig(action=action, episode_length=60))
    one, two, other = (_random_episode(env, seed) for seed in (5, 5, 6))
    assert all((a[0] == b[0]).all() and a[1:] == b[1:] for a, b in zip(one, two, strict=True))
    assert one[0][2] != other[0][2]
    assert len(one) == 61


@pytest.mark.parametrize("action", ["choice", "target"])
@pytest.mark.parametrize("weights", [RewardSettings(drawdown=0.5, cost=0.2), ADJUSTED])
def test_every_step_equals_the_simulated_account(action, weights):
    """Fills, equity, rewards and own state, against the account that lives outside the environment."""
    rules = MarketRules(half_spread_bps=3, impact_bps=50, short_selling=True, no_trade_band=0.1)
    bars, rng = market(seed=4), np.random.default_rng(0)
    env = TradingEnv(bars, EnvConfig(action=action, rules=rules, reward=weights, first=10, last=200))
    account, peak, before = SimulatedAccount(50_000.0, rules), 50_000.0, 0.0
    observation, _ = env.reset()
    for t in range(10, 200):
        choice, weight = int(rng.integers(3)), float(rng.uniform(-1, 1))
        close = bars.close[t]
        target = (
            account.target_for_choice(choice, close) if action == "choice" else account.target_for_weight(weight, close)
        )
        result = account.step(bars.open[t + 1], bars.close[t + 1], bars.volume[t + 1], target)
        observation, earned, terminated, truncated, info = env.step(choice if action == "choice" else [weight])
        peak = max(peak, account.equity)
        assert info["traded"] == result.traded
        assert info["equity"] == account.equity
        changed = 0.0 if t == 10 or action == "choice" else abs(weight - before)
        before = weight
        expected, parts = reward(result.rewards | {"consistency": -changed}, weights)
        assert earned == pytest.approx(expected, abs=1e-15)
        assert info["components"] == pytest.approx(parts)
        own = own_state(
            account.quantity, account.average_price, bars.close[t + 1], account.equity, peak,
            account.age, rules,
        )  # fmt: skip
        np.testing.assert_allclose(observation[-4:], DEFAULT.scaled(own), rtol=1e-6, atol=1e-7)
        np.testing.assert_allclose(observation[:-4], bars.features[t + 1], rtol=1e-6)
        assert not terminated
        assert truncated == (t == 199)
    with pytest.raises(ValueError, match="reset"):
        env.step(0 if action == "choice" else [0.0])


def test_risk_adjusted_reward_worked_by_hand():
    # 1 % gained at 4 % running volatility: 0.25; below the floor of 2 % the floor divides: 0.5.
    settings = RewardSettings(kind="risk_adjusted", volatility=2.0)
    parts = {"net_return": 0.01, "drawdown": 0.0, "volatility": -0.04, "cost": 0.0}
    assert reward(parts, settings)[0] == pytest.approx(0.25 - 2 * 0.04)
    assert reward(parts | {"volatility": -0.001}, settings)[0] == pytest.approx(0.5 - 0.002)
    assert reward(parts | {"drawdown": -0.02}, RewardSettings(drawdown=0.5))[0] == pytest.approx(0.01 - 0.01)


def test_the_best_policy_of_a_known_series_earns_what_the_prices_say():
    # Bought at the open of 100 with all 1,000: 10 units; at a close of 110 they are worth 1,100. No costs.
    prices = np.array([100.0, 100.0, 110.0])
    rules = MarketRules(half_spread_bps=0, schedule="none", tick_size=0)
    bars = Market(np.zeros((3, 1)), prices, prices, np.ones(3), np.zeros((3, 3)))
    env = TradingEnv(bars, EnvConfig(rules=rules, start_cash=1_000.0))
    env.reset()
    assert env.step(1)[1] == 0.0
    _, earned, terminated, truncated, info = env.step(0)
    assert earned == pytest.approx(0.1)
    assert (info["equity"], terminated, truncated) == (1_100.0, False, True)


def test_changing_the_future_leaves_past_observations_and_fills_alone():
    bars, t = market(seed=2), 120
    features, open_, close = bars.features.copy(), bars.open.copy(), bars.close.copy()
    features[t + 1 :], open_[t + 1 :], close[t + 1 :] = 1.0, open_[t + 1 :] * 2, close[t + 1 :] * 2
    other = Market(features, open_, close, bars.volume, bars.fees)
    seen = []
    for world in (bars, other):
        env, rows = TradingEnv(world, EnvConfig(first=50)), []
        rows.append((env.reset()[0], None))
        for step in range(t - 50):
            observation, _, _, _, info = env.step(step % 3)
            rows.append((observation, info["price"]))
        seen.append(rows)
    assert all((a[0] == b[0]).all() and a[1] == b[1] for a, b in zip(*seen, strict=True))


def test_ruin_terminates_one_bar_later():
    close = np.array([100.0, 100.0, 5.0, 5.0, 5.0, 5.0])
    bars = Market(np.zeros((6, 1)), close, close, np.ones(6), np.zeros((6, 3)))
    env = TradingEnv(bars, EnvConfig(rules=MarketRules(half_spread_bps=0, schedule="none"), start_cash=1_000.0))
    env.reset()
    ends = [env.step(1)[2:4] for _ in range(3)]
    assert ends == [(False, False), (False, False), (True, False)]


@pytest.mark.parametrize(
    ("change", "message"),
    [({"first": 400}, "nothing to play"), ({"start_cash": 0.0}, "start_cash"), ({"action": "shout"}, "action")],
)
def test_settings_that_make_no_sense_are_refused(change, message):
    with pytest.raises(ValueError, match=message):
        TradingEnv(market(), EnvConfig(**change))


def test_a_nan_action_is_refused():
    env = TradingEnv(market(), EnvConfig(action="target"))
    env.reset()
    with pytest.raises(ValueError, match="NaN"):
        env.step([float("nan")])


def test_features_that_are_not_normalised_are_refused():
    prices = np.full(5, 10.0)
    with pytest.raises(ValueError, match="normalised"):
        Market(np.full((5, 1), np.nan), prices, prices, prices, np.zeros((5, 3)))


@pytest.mark.parametrize("action", ["choice", "steps", "target"])
@pytest.mark.parametrize("n_instruments", [1, 2])
def test_both_checkers_pass_with_a_window_and_several_instruments(action, n_instruments):
    parts = [market(seed=seed) for seed in range(n_instruments)]
    config = EnvConfig(action=action, episode_length=50, window=4, own=OwnSpec(ALL))
    env = TradingEnv(Market.several(parts), config)
    assert env.observation_space.shape == (n_instruments * (4 * 5 + len(ALL)),)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        gymnasium.utils.env_checker.check_env(env)
        stable_baselines3.common.env_checker.check_env(env)


def test_a_step_before_the_first_episode_is_refused():
    with pytest.raises(ValueError, match="no episode has begun"):
        TradingEnv(market(), EnvConfig()).step(0)
