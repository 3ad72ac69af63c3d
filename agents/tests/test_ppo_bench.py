import numpy as np
import pytest

from agents.benchmarks import ppo_bench
from agents.benchmarks.peer_env import HOW_TO_GET_IT, peer_env, peer_version
from agents.benchmarks.ppo_bench import Race


def test_a_race_ends_at_the_wanted_return(monkeypatch):
    monkeypatch.setattr(ppo_bench, "WANTED_RETURN", -10.0)
    monkeypatch.setattr(ppo_bench, "OUR_LEAST_STEPS", 0)
    monkeypatch.setattr(ppo_bench, "N_COPIES", 32)
    race = ppo_bench.race_ours(1)
    # 24 episodes of 250 steps in 32 copies: known after the 8th rollout of 32 steps.
    assert race.steps == 8 * 32 * 32
    assert race.seconds is not None
    assert race.steps_per_second > 0


def test_a_race_that_is_never_won_counts_as_endless():
    races = [Race(seconds, None, 10.0) for seconds in (None, 1.0, None)]
    assert ppo_bench._medians(races, [], "seconds")[0] == np.inf
    assert ppo_bench._medians(races, races, "steps_per_second") == (10.0, 10.0)
    assert np.isnan(ppo_bench._medians(races, [], "seconds")[1])


@pytest.mark.skipif(peer_version() is None, reason=HOW_TO_GET_IT)
def test_both_environments_pay_the_same():
    close, features = ppo_bench.waves()
    theirs = peer_env(features, close, fee=0.001, borrow_rate=0.0, episode_length=100_000, start_cash=50_000.0)
    theirs.unwrapped.max_episode_duration, theirs.unwrapped.initial_position = "max", 0
    theirs.reset()
    env = ppo_bench.our_learner(1).env
    env.batch.reset()
    first = int(env.batch.rows[0])
    bought = (np.arange(60) // 7) % 2  # in and out every seven bars
    for _ in range(first):
        theirs.step(0)
    for position in bought:
        _, rewards, _, _ = env.batch.step(np.full(ppo_bench.N_COPIES, 1 if position else 2))
        # Ours buys for all its money and owes the fee, theirs buys for what the fee leaves: apart by fee times move.
        assert rewards[0] == pytest.approx(theirs.step(int(position))[1], abs=0.001 * 0.04)
