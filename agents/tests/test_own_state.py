"""Own values against plain Python, pandas and the round trips of the backtest, none of which share their code."""

import numpy as np
import pandas as pd
import pytest

from agents.environment import own_history
from agents.environment.env import EnvConfig, Market, TradingEnv
from agents.environment.own_state import ALL, CATALOGUE, DEFAULT, DEFAULT_NAMES, OwnSpec, own_state
from agents.tests import worlds
from agents.wording import label, phrase, shown
from core.simulation import kernel
from core.simulation.rules import MarketRules
from core.simulation.trades import Fill, round_trips

EVERYTHING = OwnSpec(ALL)
RULES = MarketRules(
    half_spread_bps=3, impact_bps=50, short_selling=True, no_trade_band=0.05, participation=4e-4, multiplier=2.0
)


def raw_of(env: TradingEnv, market: Market, spec: OwnSpec = EVERYTHING) -> np.ndarray:
    """The raw own values of an environment where it stands."""
    account, position = env.account, env.positions[0]
    return own_state(
        position[kernel.QUANTITY], position[kernel.AVERAGE_PRICE], market.close[env.t], account[kernel.EQUITY],
        account[kernel.PEAK], position[kernel.AGE], env.config.rules, memory=env.memory, spec=spec,
    )  # fmt: skip


def _episode(action: str, first: int = 10, last: int = 250):
    """Random actions: per bar the raw own values, the observation, and what the account did."""
    market, rng = worlds.market(seed=4), np.random.default_rng(0)
    env = TradingEnv(market, EnvConfig(action=action, rules=RULES, first=first, last=last, own=EVERYTHING))
    observation, _ = env.reset()
    own, seen, wanted = [raw_of(env, market)], [observation], []
    account = [{"equity": 50_000.0, "quantity": 0.0, "traded": 0.0, "price": np.nan, "commission": 0.0}]
    for t in range(first, last):
        vector, quantity = RULES.as_array(), float(env.positions[0, kernel.QUANTITY])
        equity, is_choice = float(env.account[kernel.EQUITY]), not env.is_continuous
        stay, weight = rng.random() < 0.8, float(own[-1][0])
        act = int(rng.choice(3, p=(0.8, 0.1, 0.1))) if is_choice else weight if stay else float(rng.uniform(-1, 1))
        sized = kernel.target_for_choice if is_choice else kernel.target_for_weight
        wanted.append(sized(act, quantity, equity, market.close[t], vector) * market.close[t] * 2.0 / equity)
        observation, _, _, _, info = env.step(act if is_choice else [act])
        own.append(raw_of(env, market))
        seen.append(observation)
        account.append({name: info[name] for name in account[0]})
    table = pd.DataFrame(own, columns=list(ALL))
    return market.close[first : last + 1], table, np.array(seen), np.array(wanted), pd.DataFrame(account)


@pytest.mark.parametrize("action", ["choice", "target"])
def test_every_value_equals_what_pandas_and_round_trips_make_of_the_account(action):
    close, own, seen, wanted, account = _episode(action)
    n = len(own)
    expected = pd.DataFrame(index=range(n), columns=list(ALL[4:]), dtype=float)
    for k in range(1, 6):
        expected[f"wanted_{k}"] = [wanted[t - k] if t >= k else 0.0 for t in range(n)]
    returns = account.equity.pct_change()
    for k in range(1, 6):
        expected[f"own_return_{k}"] = returns.shift(k - 1).fillna(0.0)
    rolling = returns.rolling(20, min_periods=1)
    expected["own_return_mean_20"], expected["own_volatility_20"] = rolling.mean(), rolling.std(ddof=0)
    filled = account.traded != 0
    expected["fills_20"] = filled.rolling(20, min_periods=1).sum()
    expected["bars_since_fill"] = [t - max([0, *np.flatnonzero(filled[: t + 1])]) for t in range(n)]
    expected["cash_share"] = 1.0 - account.quantity * close * 2.0 / account.equity
    expected["last_trade_result"] = _last_results(account)
    best, worst, back = _extremes(account, close)
    expected["best_open_return"], expected["worst_open_return"], expected["given_back"] = best, worst, back
    expected = expected.fillna(0.0)
    for name in expected.columns:
        np.testing.assert_allclose(own[name], expected[name], rtol=0, atol=1e-12, err_msg=name)
        assert expected[name].nunique() > 3, f"{name} hardly moves: the test proves nothing"
    scaled = np.clip((own - EVERYTHING.usual) * [CATALOGUE[name].scale for name in ALL], -5, 5)
    np.testing.assert_allclose(seen[:, -len(ALL) :], scaled, rtol=1e-6, atol=1e-7)


def _last_results(account: pd.DataFrame) -> list[float]:
    """Per bar the result of the last round trip, as a share of its entry value of quantity * price * 2."""
    found, fills = [], []
    for t, row in account.iterrows():
        if row.traded != 0:
            fills.append(Fill(int(t), row.traded, row.price, row.commission))
        trips = round_trips(fills, 2.0)
        found.append(trips[-1].result / (trips[-1].quantity * trips[-1].entry_price * 2.0) if trips else 0.0)
    return found


def _extremes(account: pd.DataFrame, close: np.ndarray) -> tuple[list[float], list[float], list[float]]:
    """Best and worst open return by the closes since the position was opened, and what was given back, per bar."""
    best, worst, back = list[float](), list[float](), list[float]()
    closes, average, held = list[float](), 0.0, 0.0
    for t, row in account.iterrows():
        before, held = held, row.quantity
        if held * before <= 0:
            closes, average = [], row.price
        elif abs(held) > abs(before):
            average = (before * average + row.traded * row.price) / held
        closes.append(close[t])
        if held == 0:
            best, worst, back = [*best, 0.0], [*worst, 0.0], [*back, 0.0]
            continue
        side = np.sign(held)
        gains = side * (np.array(closes) / average - 1.0)
        best, worst = [*best, gains.max()], [*worst, gains.min()]
        top = max(closes) if side > 0 else min(closes)
        back.append(-side * (close[t] / top - 1.0))
    return best, worst, back


def test_a_small_life_worked_by_hand():
    memory = own_history.new_memory(100.0, 1_000.0)
    # At 100 it wants 5 units, half its money; bought at 101 for a commission of 1: 494 in cash, at 104 worth 1,014.
    own_history.add_decision(memory, 5.0, 100.0, 1_000.0, 1.0)
    own_history.add_fill(memory, 5.0, 101.0, 1.0, 5.0, 1.0)
    own_history.close_bar(memory, 104.0, 1_014.0)
    # It wants nothing more; the close of 102 leaves 1,004; then all is sold at 103 for 1: 494 + 515 - 1 = 1,008.
    own_history.add_decision(memory, 5.0, 104.0, 1_014.0, 1.0)
    own_history.close_bar(memory, 102.0, 1_004.0)
    spec = OwnSpec(("weight", "wanted_1", "wanted_2", "given_back", "best_open_return", "worst_open_return"))
    found = own_state(5.0, 101.0, 102.0, 1_004.0, 1_014.0, 2, MarketRules(), memory=memory, spec=spec)
    expected = [510 / 1_004, 520 / 1_014, 0.5, 2 / 104, 3 / 101, 1 / 101]
    np.testing.assert_allclose(found, expected, rtol=1e-14)
    own_history.add_decision(memory, 0.0, 102.0, 1_004.0, 1.0)
    own_history.add_fill(memory, -5.0, 103.0, 1.0, 0.0, 1.0)
    own_history.close_bar(memory, 110.0, 1_008.0)
    spec = OwnSpec(("weight", "last_trade_result", "fills_20", "bars_since_fill", "own_return_mean_20", "given_back"))
    found = own_state(0.0, 0.0, 110.0, 1_008.0, 1_014.0, 0, MarketRules(), memory=memory, spec=spec)
    # 5 * 2 gained less both commissions: 8 on an entry value of 505.
    mean = (0.014 - 10 / 1_014 + 4 / 1_004) / 3
    np.testing.assert_allclose(found, [0.0, 8 / 505, 2.0, 0.0, mean, 0.0], rtol=1e-13)


def test_the_default_is_the_four_values_of_old_and_costs_no_memory():
    assert DEFAULT.names == DEFAULT_NAMES == ("weight", "open_return", "drawdown", "time_in_position")
    assert (DEFAULT.scale == [1.0, 10.0, 5.0, 0.02]).all()
    assert not DEFAULT.usual.any()
    assert not DEFAULT.needs_history
    assert not OwnSpec(("cash_share", "weight")).needs_history
    assert OwnSpec(("weight", "wanted_1")).needs_history
    with pytest.raises(ValueError, match="memory"):
        own_state(0.0, 0.0, 1.0, 1.0, 1.0, 0, MarketRules(), spec=EVERYTHING)


def test_an_account_to_which_nothing_has_happened_is_all_zeros_to_the_network():
    memory = own_history.new_memory(100.0, 1_000.0)
    fresh = own_state(0.0, 0.0, 100.0, 1_000.0, 1_000.0, 0, MarketRules(), memory=memory, spec=EVERYTHING)
    assert not EVERYTHING.scaled(fresh).any()


def test_an_account_without_money_left_has_values_too():
    memory = own_history.new_memory(100.0, 1_000.0)
    own_history.add_decision(memory, 5.0, 100.0, 0.0, 1.0)
    own_history.close_bar(memory, 1.0, -50.0)
    own_history.close_bar(memory, 1.0, -60.0)
    broke = own_state(5.0, 100.0, 1.0, -60.0, 1_000.0, 2, MarketRules(), memory=memory, spec=EVERYTHING)
    assert np.isfinite(broke).all()


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (("weight", "mood"), "unknown own value 'mood'; known: weight"),
        (("weight", "weight"), "must be different"),
        (("drawdown",), "expected weight"),
        ((), "got none, expected weight"),
    ],
)
def test_a_list_that_makes_no_sense_is_refused(names, message):
    with pytest.raises(ValueError, match=message):
        OwnSpec(names)


@pytest.mark.parametrize("name", ALL)
def test_every_value_has_plain_words(name):
    assert label(name)[0].isupper()
    for value in (0.0, 1.0, -0.0213, 3.0):
        words = phrase(name, value, None, "day")
        assert not words[0].isupper()
        assert "_" not in words
        assert "_" not in shown(name, value)


def test_words_of_some_values():
    assert phrase("wanted_1", 0.6) == "at its last decision it wanted 60 % of its money invested"
    assert phrase("wanted_3", -1.0) == "3 decisions ago it wanted 100 % of its money sold short"
    assert phrase("own_return_2", -0.0123) == "its money shrank by 1.23 % 1 day ago"
    assert phrase("last_trade_result", 0.031) == "its last trade gained 3.1 %"
    assert phrase("best_open_return", 0.05) == "its position was up 5.0 % at its best close"
    assert (shown("fills_20", 3.0), shown("own_return_1", 0.0123), shown("weight", 0.5)) == ("3", "1.23 %", "50.0 %")
    assert label("own_return_3") == "Its own gain or loss, 2 bars ago"
