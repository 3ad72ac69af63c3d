"""Two instruments in one account: learned to nearly the optimum where it is known, and carried through on real bars."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime

import numpy as np
import pytest

from agents.configuration import AgentSettings, parse
from agents.policies.backtest import BacktestResult, run_backtest
from agents.policies.policy import ServedPolicy
from agents.proof_markets import solve
from agents.proof_markets.pair import play_optimum, proof_pair
from agents.proof_markets.pair_lesson import prove_pair
from agents.proof_markets.small_study import study_of
from agents.runs.dataset import Dataset, prepare
from agents.runs.joint_dataset import JointDataset, several
from agents.runs.learning import Lesson, learn
from agents.tests import worlds
from core.simulation.rules import MarketRules
from marketdata.tests import shared_data

pytestmark = pytest.mark.slow
WANTED_SHARE = 0.9
# Half spreads: a large stock's, and a fund's; both pay the broker's usual commission.
STOCK, FUND = MarketRules(half_spread_bps=1.0), MarketRules(half_spread_bps=2.0)
START_CASH = 50_000.0


def test_the_pair_s_optimum_needs_both_instruments() -> None:
    pair, optimum = proof_pair()
    alone = [solve(market).gain for market in (pair.first, pair.second)]
    # Even the best policy of one instrument stays far below what is asked of learners.
    assert max(alone) < 0.7 * optimum.gain
    played = play_optimum(pair, pair.draw(20_001, np.random.default_rng(8)), optimum, "target")
    assert abs(played.mean() - optimum.gain) < 4.0 * played.std(ddof=1) / len(played) ** 0.5


@pytest.mark.parametrize("seed", [1, 2])
@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_the_served_policy_earns_nearly_the_optimum_on_fresh_bars(
    algorithm: str, seed: int, record_property: Callable[[str, object], None]
) -> None:
    proof = prove_pair(algorithm, seed)
    record_property("share of the optimum", proof.share)
    assert proof.share >= WANTED_SHARE


def real(settings: AgentSettings) -> JointDataset:
    """Apple's share since 1980 and a leveraged fund since 2010, adjusted for splits."""

    def one(name: str) -> Dataset:
        bars = shared_data.bars(shared_data.daily(name))
        return prepare(bars, None, settings.features, settings.training.validation, settings.training.unseen)

    return several([one("AAPL"), one("TQQQ")])


def settings_of(algorithm: str) -> AgentSettings:
    periods = {"validation": "2016-01-01", "unseen": "2018-01-01"}
    rules = {"half_spread_bps": STOCK.half_spread_bps}
    chosen = worlds.configuration(
        algorithm, periods=periods, n_steps=16_384, n_trials=2, n_folds=2, n_evaluations=2, min_trades=2
    )
    return parse(algorithm, chosen | {"rules": rules | ({"no_trade_band": 0.05} if algorithm == "sac" else {})})


def money_by_hand(result: BacktestResult, closes: np.ndarray, start: float) -> float:
    """What the account is worth at the end, from its fills alone: no bar pays a dividend and cash earns nothing."""
    _, traded, price, commission = result.track.fills.T
    return float(start - (traded * price).sum() - commission.sum() + result.track.quantity[-1] @ closes)


@pytest.mark.parametrize("algorithm", ["ppo", "sac"])
def test_a_study_of_two_real_series_goes_from_bars_to_a_judged_policy(algorithm: str) -> None:
    settings = settings_of(algorithm)
    data = real(settings)
    # The fund began on 2010-02-11; the features' longest look-back of it is left out.
    assert _day(data.time[0]) == date(2010, 2, 11) and data.training.first == data.spec.warm_up
    assert _day(data.time[data.validation.first]) == date(2016, 1, 4)
    # The stock looked back before: its features are known from the first common row on.
    assert np.isfinite(data.raw[0, : len(data.spec)]).all() and np.isnan(data.raw[0, len(data.spec) :]).any()
    study = study_of(data, settings, seed=1, other_rules=(FUND,))
    assert [len(fold) for trial in study.trials for fold in trial] == [1] * 4
    assert np.isfinite([part.score for trial in study.trials for fold in trial for part in fold]).all()
    lesson = Lesson(
        dataset=data, settings=settings, parameters={}, seed=1, training=data.training, validation=data.validation,
        start_cash=START_CASH, n_steps=settings.training.n_steps, other_rules=(FUND,),
    )  # fmt: skip
    learned = learn(lesson)
    assert learn(lesson).weights_sha256 == learned.weights_sha256
    policy = ServedPolicy.from_bytes(learned.policy.to_bytes())
    unseen = run_backtest(policy, data.market, data.time, data.unseen.first, data.unseen.last, start_cash=START_CASH)
    end = data.market.close[data.unseen.last]
    assert unseen.track.equity[-1] == pytest.approx(money_by_hand(unseen, end, START_CASH), rel=1e-9)
    held = unseen.baseline
    assert held.equity[-1] == pytest.approx(money_by_hand(replace(unseen, track=held), end, START_CASH), rel=1e-9)
    assert len(unseen.track.fills) > 0


def _day(seconds: int) -> date:
    return datetime.fromtimestamp(int(seconds), UTC).date()
