"""The prioritised buffer: priorities, weights and returns by hand, its draws against the formula."""

import numpy as np
import pytest
from gymnasium import spaces
from scipy.stats import chisquare
from stable_baselines3.common.buffers import NStepReplayBuffer

from agents.learners.replay import LEAST_ERROR, PrioritisedReplay
from agents.learners.replay_tree import find_leaves, new_tree, set_leaves

OBSERVATIONS, ACTIONS = spaces.Box(-1e9, 1e9, (1,), np.float32), spaces.Discrete(3)


def buffer(rewards, ends=(), cuts=(), *, size=8, n_envs=1, kind=PrioritisedReplay, **settings):
    """A buffer fed rewards in order; step t sees t, then t + 1; `cuts` end by time, `ends` by themselves."""
    found = kind(size * n_envs, OBSERVATIONS, ACTIONS, device="cpu", n_envs=n_envs, **settings)
    for t, reward in enumerate(rewards):
        seen = np.full((n_envs, 1), float(t), np.float32)
        infos = [{"TimeLimit.truncated": t in cuts}] * n_envs
        over = np.full(n_envs, t in ends or t in cuts)
        found.add(seen, seen + 1, np.full((n_envs, 1), t % 3), np.full(n_envs, float(reward)), over, infos)
    return found


def test_the_tree_holds_sums():
    tree = new_tree(5)
    set_leaves(tree, np.array([0, 3, 4]), np.array([1.0, 2.0, 5.0]))
    # leaves 1 0 0 2 5 0 0 0: 1 + 0 = 1, 0 + 2 = 2, 5, 0; then 3 and 5; then 8
    assert tree.tolist() == [0, 8, 3, 5, 1, 2, 5, 0, 1, 0, 0, 2, 5, 0, 0, 0]


def test_each_part_of_the_sum_gives_one_leaf():
    tree, leaves = new_tree(4), np.empty(4, np.int64)
    set_leaves(tree, np.arange(4), np.array([1.0, 0.0, 2.0, 1.0]))
    # A sum of 4 in four parts: at 0.5, 1.5, 2.5 and 3.5 lie leaves 0, 2, 2, 3; leaf 1 has no share.
    find_leaves(tree, np.full(4, 0.5), leaves)
    assert leaves.tolist() == [0, 2, 2, 3]


def test_draws_follow_the_formula():
    replay = buffer(range(8), alpha=0.7)
    errors = np.array([0.0, 0.1, 0.5, 1.0, 2.0, 4.0, 0.3, 8.0])
    replay.set_errors(np.arange(8), errors)
    np.random.seed(1)
    counts = np.zeros(8)
    for _ in range(2_000):
        counts += np.bincount(replay.draw(16, 0.0)[1].rows, minlength=8)
    expected = (errors + LEAST_ERROR) ** 0.7
    expected *= counts.sum() / expected.sum()
    assert chisquare(counts, expected).pvalue > 0.01


def test_weights_undo_the_bias_in_part_and_at_the_end_wholly():
    replay = buffer(range(4), size=4, alpha=1.0, beta=0.5)
    replay.set_errors(np.arange(4), np.array([1.0, 1.0, 2.0, 4.0]) - LEAST_ERROR)
    np.random.seed(2)
    _, drawn = replay.draw(64, 0.0)
    # Shares 1/8 1/8 2/8 4/8 of 4 steps: N P = 1/2 1/2 1 2, to the power -1/2 over the largest: 1 1 0.7071 0.5
    np.testing.assert_allclose(drawn.weights, np.array([1, 1, 0.5**0.5, 0.5])[drawn.rows], rtol=1e-6)
    _, drawn = replay.draw(64, 1.0)
    np.testing.assert_allclose(drawn.weights, np.array([1, 1, 0.5, 0.25])[drawn.rows], rtol=1e-6)


def test_new_steps_have_the_largest_priority_and_replace_the_oldest():
    replay = buffer([0.0] * 3, size=4, alpha=1.0)
    replay.set_errors(np.array([0, 1]), np.array([9.0, 0.5]) - LEAST_ERROR)
    for _ in range(2):
        replay.add(np.zeros((1, 1)), np.zeros((1, 1)), np.zeros((1, 1)), np.zeros(1), np.zeros(1), [{}])
    np.testing.assert_allclose(replay.tree[4:], [9.0, 0.5, 1.0, 9.0])


def test_returns_over_three_steps_by_hand():
    replay = buffer([1, 2, 4, 8, 16, 32], ends={2}, cuts={4}, n_steps=3, gamma=0.5)
    found = replay.returns(np.array([0, 1, 2, 3, 5]))
    # 0: 1 + 2/2 + 4/4 = 3, ended after three; 1: 2 + 4/2 = 4, ended; 2: 4, ended
    # 3: 8 + 16/2 = 16, cut off: the value of what is seen then (5) counts, discounted twice; 5: the newest, 32
    assert found.rewards[:, 0].tolist() == [3, 4, 4, 16, 32]
    assert found.dones[:, 0].tolist() == [1, 1, 1, 0, 0]
    assert found.discounts[3:, 0].tolist() == [0.25, 0.5]
    assert found.next_observations[:, 0].tolist() == [3, 3, 3, 5, 6]
    assert found.actions[:, 0].tolist() == [0, 1, 2, 0, 2]


@pytest.mark.parametrize("n_fed", [5, 8, 11])
def test_returns_equal_stable_baselines3s(n_fed):
    random = np.random.default_rng(3)
    rewards, ends, cuts = random.standard_normal(n_fed), {3, 7}, {5, 9}
    ours = buffer(rewards, ends, cuts, n_steps=3, gamma=0.9)
    theirs = buffer(rewards, ends, cuts, kind=NStepReplayBuffer, n_steps=3, gamma=0.9)
    rows = np.arange(min(n_fed, 8))
    for mine, yours in zip(ours.returns(rows), theirs._get_samples(rows), strict=True):
        np.testing.assert_allclose(mine.numpy(), yours.numpy(), rtol=1e-5)
