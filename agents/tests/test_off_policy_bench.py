"""What the benches of SAC and DQN calculate; the timing itself is theirs."""

import gymnasium
import numpy as np
import pytest
import torch

from agents.benchmarks.off_policy_bench import by_turns, hinting_market, playground, threads
from agents.benchmarks.sac_bench import BATCH, compared, operations
from agents.environment.actions import CHOICE, TARGET
from agents.learners.fast_sac import FastSAC


class Still(gymnasium.Env):
    observation_space = gymnasium.spaces.Box(-1, 1, (3,), np.float32)
    action_space = gymnasium.spaces.Box(-1, 1, (1,), np.float32)


def test_operations_of_a_small_network_by_hand():
    model = FastSAC("MlpPolicy", Still(), buffer_size=10, policy_kwargs={"net_arch": [5]})
    # Actor 3-5-2: 15 + 10 = 25 products; critic 4-5-1: 20 + 5 = 25.
    # Actor: two forward 50, weights 25, inputs of the second layer 10: 85.
    # Each critic: target forward 25; own loss 25 + 25 + 5; for the actor 25 + 5, its way to the action left out: 110.
    assert operations(model) == 2 * BATCH * (85 + 2 * 110)


def test_curves_are_compared_by_their_medians():
    ours = np.array([[0.0, 2.0], [0.0, 4.0], [1.0, 9.0]])
    theirs = np.array([[0.0, 5.0], [0.0, 5.0], [0.0, 5.0]])
    found = compared(ours, theirs)
    # Medians 0, 4 and 0, 5: apart by 1 where theirs rise by 5.
    assert found["largest_gap_of_rise"] == pytest.approx(0.2)
    assert (found["final_return"], found["final_return_baseline"]) == (4.0, 5.0)


def test_the_market_hints_at_the_next_bar():
    market = hinting_market()
    moves = np.diff(np.log(market.close))
    assert np.corrcoef(market.features[:-1, 0], moves)[0, 1] == pytest.approx(0.5**0.5, abs=0.05)


@pytest.mark.parametrize("action", [CHOICE, TARGET])
def test_rewards_of_the_playground_have_a_usual_size(action):
    env, watch = playground(action, 1)
    env.reset()
    sizes = [env.step(np.ones((16, 1)))[1] for _ in range(60)]
    assert 0.5 < np.std(sizes) < 2.0
    assert watch.report()["episode_return"] is not None


def test_learners_are_timed_by_turns():
    class Counter:
        n = 0

        def train(self, steps, batch_size):
            self.n += steps

    ours, theirs = Counter(), Counter()
    found = by_turns({"ours": ours, "theirs": theirs}, 8, 10, n_turns=3)
    assert ours.n == theirs.n == 40 and min(found.values()) > 0
    before = torch.get_num_threads()
    with threads(2):
        assert torch.get_num_threads() == 2
    assert torch.get_num_threads() == before
