"""Learners against the best possible policy of markets where it is known; and studies of noise, which find nothing."""

import numpy as np
import pytest
from scipy.stats import binom

from agents.benchmarks.proof_bench import Course, first_to_reach, measured
from agents.environment.actions import CHOICE, STEPS, TARGET
from agents.proof_markets import PROOF_MARKETS, noise
from agents.proof_markets.lesson import (
    N_STEPS,
    N_STRETCHES,
    STRETCH,
    Proof,
    decided,
    judging_path,
    looks,
    make_learner,
    play,
    play_optimum,
    prove,
    solved,
)
from agents.proof_markets.small_study import SmallStudy, carry_out, settings_of, trial_value
from core.simulation import kernel

ALGORITHMS = tuple(N_STEPS)
WANTED_SHARE = 0.95
# A verdict of skill where there is none may come with this chance, and so may a median on one side of nothing.
CHANCE = 0.05


@pytest.mark.parametrize("name", PROOF_MARKETS)
@pytest.mark.parametrize("action", [CHOICE, STEPS, TARGET])
def test_the_optimum_earns_in_the_environment_what_it_promises(name: str, action: str) -> None:
    market, optimum = solved(name)
    path = judging_path(market, 1)
    played = play_optimum(market, path, optimum, action)
    assert len(played.net_returns) == N_STRETCHES * STRETCH >= 20_000
    assert abs(played.mean - optimum.gain) < 4.0 * played.error
    # The same by the two formulas of a net return, without the environment: what is held times the bar's return, less
    # cost times the change. They differ by cost times return, 0.001 * 0.01, in bars that trade.
    wanted = np.array([optimum.play(states) for states in path.state[:-1].reshape(N_STRETCHES, STRETCH)])
    before = np.concatenate([np.zeros((N_STRETCHES, 1)), wanted[:, :-1]], axis=1)
    returns = (path.close[1:] / path.close[:-1] - 1.0).reshape(N_STRETCHES, STRETCH)
    by_hand = wanted * returns - market.cost * np.abs(wanted - before)
    assert played.mean == pytest.approx(by_hand.mean(), abs=2e-6)


def test_no_constant_policy_comes_near_the_optimum() -> None:
    for name in PROOF_MARKETS:
        market, optimum = solved(name)
        path = judging_path(market, 1)
        best = play_optimum(market, path, optimum, CHOICE).mean
        for choice in (kernel.HOLD, kernel.BUY, kernel.SELL):
            held = play(market, path, CHOICE, lambda _, step, choice=choice: np.full(N_STRETCHES, float(choice)))
            assert held.mean < 0.3 * best


@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_many_bars_are_decided_at_once_as_the_served_policy_decides_each(algorithm: str) -> None:
    market, _ = solved("regimes")
    learner = make_learner(algorithm, market, 1, 1_024)
    policy = learner.policy()
    learner.close()
    rows = np.random.default_rng(2).normal(size=(50, policy.n_inputs)).astype(np.float32)
    one_by_one = [policy.decide(row).action for row in rows]
    np.testing.assert_allclose(decided(policy, rows), one_by_one, atol=1e-6)


def test_ppo_learns_the_sine() -> None:
    proof = prove("ppo", "sine", 1, 60_000)
    assert proof.share > 0.8
    assert proof.steps >= 60_000


def test_looks_are_spread_over_the_learning() -> None:
    found = list(looks("dqn", "sine", 1, 4_096, n_looks=2))
    assert [look.steps for look in found] == [2_048, 4_096]
    assert found[0].cpu_seconds < found[1].cpu_seconds


def test_the_bench_tells_when_the_goal_was_first_seen() -> None:
    found = [Proof(share, seconds, 0.0, 0) for share, seconds in ((0.5, 1.0), (0.96, 2.0), (0.94, 3.0), (0.97, 4.0))]
    assert first_to_reach(found, 0.95) == 2.0
    assert first_to_reach(found, 0.99) is None
    courses = [Course("ppo", "sine", share, 9.0, 8.0, 100, to) for share, to in ((0.9, None), (1.0, 3.0), (0.97, 5.0))]
    row = measured(courses)
    assert (row.value, row.more["seconds_to_95%"]) == (0.97, 5.0)


@pytest.mark.slow
@pytest.mark.parametrize("market", PROOF_MARKETS)
@pytest.mark.parametrize("algorithm", ALGORITHMS)
def test_learners_reach_nearly_all_of_the_optimum(algorithm: str, market: str) -> None:
    proof = prove(algorithm, market, seed=1)
    assert proof.share >= WANTED_SHARE


def most_by_chance(n: int, chance: float) -> int:
    """The largest count of n that happens by chance in more than CHANCE of all cases.

    12 at 0.05: three or more come in 2.0 % of cases, so two; 12 at 0.5: ten or more come in 1.9 %, so nine.
    """
    return int(binom.isf(CHANCE, n, chance))


def test_bounds_of_chance() -> None:
    assert (most_by_chance(12, CHANCE), most_by_chance(12, 0.5)) == (2, 9)


def check_nothing_was_found(studies: list[SmallStudy]) -> None:
    n = len(studies)
    assert sum(study.skill.proven for study in studies) <= most_by_chance(n, CHANCE)
    assert sum(study.published.proven for study in studies) <= most_by_chance(n, CHANCE)
    # A sign test of the best trials' medians: were their middle above nothing, most of them would be.
    assert sum(study.value > 0.0 for study in studies) <= most_by_chance(n, 0.5)


def test_a_small_study_of_noise_reports_no_skill() -> None:
    study = carry_out(noise(), settings_of(noise(), 2, 2_048, n_folds=2, n_seeds=2, n_evaluations=1), seed=0)
    assert not study.skill.proven
    assert study.skill.n_trials == 2
    # Two folds of 250 bars, of which the first only decides.
    assert study.skill.n_bars == 2 * 249
    assert study.value == max(trial_value(trial) for trial in study.trials)


@pytest.mark.slow
def test_studies_of_noise_report_no_skill_beyond_chance() -> None:
    check_nothing_was_found([carry_out(noise(), settings_of(noise(), 6, 4_096), seed) for seed in range(12)])


@pytest.mark.slow
def test_the_same_study_reports_skill_where_there_is_something_to_learn() -> None:
    market = PROOF_MARKETS["sine"]()
    study = carry_out(market, settings_of(market, 4, 16_384), seed=0)
    assert study.skill.proven
    assert study.published.proven
    assert study.value > 1.0
