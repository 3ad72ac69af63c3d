from itertools import pairwise

import numpy as np
import pytest

from agents.environment.episodes import KINDS, windows
from agents.environment.random_state import draw, new_states

LENGTH, FIRST, LAST = 30, 10, 110  # 100 steps: three whole windows and one that is moved back


def played(kind: str, n: int, seed: int = 0, length: int = LENGTH) -> np.ndarray:
    return windows(KINDS[kind], new_states(seed, 1), FIRST, LAST, length, n)


def test_the_generator_gives_the_published_numbers():
    # splitmix64 from 1234567, as published with the reference implementation.
    expected = np.array([6457827717110365317, 3203168211198807973, 9817491932198370423], dtype=np.uint64)
    found = draw(np.array([1234567], dtype=np.uint64), 0, 3)
    np.testing.assert_array_equal(found, (expected >> np.uint64(11)).astype(float) * 2.0**-53)


def test_copies_draw_alike_however_many_there_are():
    np.testing.assert_array_equal(new_states(5, 3), new_states(5, 100)[:3])
    with pytest.raises(ValueError, match="at least 0"):
        new_states(-1, 1)


def test_random_windows_begin_anywhere_and_never_leave_the_period():
    found = played("random", 20_000)
    assert (found[:, 1] - found[:, 0] == LENGTH).all()
    counts = np.bincount(found[:, 0] - FIRST, minlength=71)
    assert len(counts) == 71 and counts.min() > 0, "from the first row to the last that leaves a whole window"
    # 20,000 draws of 71: 281.7 each, standard deviation 16.7.
    assert np.abs(counts - 20_000 / 71).max() < 5 * 16.7


def test_fixed_windows_lie_side_by_side_and_all_are_played():
    found = {tuple(row) for row in played("fixed", 400).tolist()}
    assert found == {(10, 40), (40, 70), (70, 100), (80, 110)}


def test_chronological_windows_come_in_order_and_begin_again():
    assert played("chronological", 6).tolist() == [[10, 40], [40, 70], [70, 100], [80, 110], [10, 40], [40, 70]]
    exact = played("chronological", 5, length=50).tolist()
    assert exact == [[10, 60], [60, 110]] * 2 + [[10, 60]]


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_length_or_with_one_too_long_it_is_one_pass(kind):
    for length in (0, 100, 500):
        assert {tuple(row) for row in played(kind, 20, length=length).tolist()} == {(FIRST, LAST)}


def test_another_seed_gives_other_windows():
    one, two = (played("random", 50, seed=seed) for seed in (1, 2))
    assert (one != two).any()
    assert all((a != b).any() for a, b in pairwise([one, two, played("fixed", 50)]))
