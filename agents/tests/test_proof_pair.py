"""The optimum of two rivals in one account, against linear programming and against the environment."""

import numpy as np
import pytest
from scipy.optimize import linprog

from agents.proof_markets import solve
from agents.proof_markets.markets import Chain, Path, ProofMarket, sine
from agents.proof_markets.pair import Pair, play_optimum, solve_pair
from agents.proof_markets.pair_lesson import N_VALIDATION, lesson_of, served_returns
from agents.runs.learning import learn

COST = 0.002


def visible(name: str, up: float, down: float, flip: float, cost: float = COST) -> ProofMarket:
    """A trend everybody sees; it turns with a chance per bar."""
    chain = Chain(np.arange(2.0), np.array([up, down]), np.array([[1.0 - flip, flip], [flip, 1.0 - flip]]))
    return ProofMarket(name, cost, chain, _never)


def _never(n_bars: int, random: np.random.Generator) -> None:  # type: ignore[misc]
    raise AssertionError("nothing is drawn here")


PAIR = Pair(visible("one", 0.012, -0.006, 0.2), visible("two", 0.004, -0.010, 0.05))
ALL_OR_NOTHING = ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))


def by_linear_programming(pair: Pair, divisions: tuple[tuple[float, float], ...]) -> float:
    """The largest mean net return per bar over these divisions of the money.

    Unknown is how often state s1, s2 with division h is met and division w chosen. All of it sums to 1, and what
    arrives at a place is what leaves it. Source: Puterman, "Markov Decision Processes", section 8.8.
    """
    one, two, shares = pair.first.chain, pair.second.chain, np.array(divisions)
    n1, n2, n = len(one.gain), len(two.gain), len(divisions)
    shape = (n1, n2, n, n)
    earned, balance = np.zeros(shape), np.zeros((n1 * n2 * n, n1 * n2 * n * n))
    for s1, s2, h, w in np.ndindex(shape):
        at = np.ravel_multi_index((s1, s2, h, w), shape)
        gain = shares[w] @ [one.gain[s1], two.gain[s2]]
        earned[s1, s2, h, w] = gain - pair.cost * np.abs(shares[w] - shares[h]).sum()
        balance[np.ravel_multi_index((s1, s2, h), shape[:3]), at] += 1.0
        for t1, t2 in np.ndindex(n1, n2):
            balance[np.ravel_multi_index((t1, t2, w), shape[:3]), at] -= one.move[s1, t1] * two.move[s2, t2]
    sums = np.vstack([balance, np.ones(balance.shape[1])])
    found = linprog(-earned.ravel(), A_eq=sums, b_eq=np.append(np.zeros(len(balance)), 1.0))
    assert found.success
    return float(-found.fun)


def test_the_optimum_is_that_of_linear_programming() -> None:
    best = solve_pair(PAIR)
    assert best.gain == pytest.approx(by_linear_programming(PAIR, ALL_OR_NOTHING), abs=1e-9)
    # Rivals: more than either alone, less than with money for both.
    alone = [solve(market).gain for market in (PAIR.first, PAIR.second)]
    assert max(alone) < best.gain < sum(alone)


def test_no_division_of_the_money_earns_more_than_all_or_nothing() -> None:
    thirds = [(a / 3, b / 3) for a in range(4) for b in range(4) if a + b <= 3]
    assert by_linear_programming(PAIR, tuple(thirds)) == pytest.approx(solve_pair(PAIR).gain, abs=1e-9)


def test_who_holds_one_changes_only_for_enough() -> None:
    # Both rise: the first by 0.008 a bar more, and changing costs 0.004. It lasts five bars on average, so one changes.
    best = solve_pair(PAIR)
    assert list(best.wanted[:, 0, 0]) == [1, 1, 1]
    # Only the second rises: out of the first into it.
    assert list(best.wanted[:, 1, 0]) == [2, 2, 2]
    # Both fall: out of the second, which falls for long.
    assert best.wanted[2, 1, 1] == 0
    dear = Pair(visible("one", 0.012, -0.006, 0.2, 0.05), visible("two", 0.004, -0.010, 0.05, 0.05))
    # With orders that dear, cash still goes into the first, which earns (0.012 - 0.006) / 2 = 0.003 a bar for ever; but
    # out of the second, which rises for twenty bars yet, two orders are too much.
    assert list(solve_pair(dear).wanted[:, 0, 0]) == [1, 1, 2]


def test_unequal_costs_are_refused() -> None:
    with pytest.raises(ValueError, match=r"both markets must cost the same, got 0\.002 and 0\.001"):
        solve_pair(Pair(PAIR.first, visible("two", 0.1, 0.0, 0.1, 0.001)))


@pytest.mark.parametrize("action", ["choice", "target"])
def test_the_optimum_earns_in_the_environment_what_it_promises(action: str) -> None:
    pair = Pair(sine(8, 0.01), sine(9))
    best = solve_pair(pair)
    paths = pair.draw(20_001, np.random.default_rng(3))
    played = play_optimum(pair, paths, best, action)
    assert abs(played.mean() - best.gain) < 4.0 * played.std(ddof=1) / len(played) ** 0.5
    # The same without the environment: what is held times the bar's return, less cost times what changed. They differ
    # by cost times return in bars that trade.
    wanted = best.play((paths[0].state[:-1], paths[1].state[:-1]))
    changed = np.abs(np.diff(wanted, axis=0, prepend=0.0)).sum()
    returns = np.column_stack([path.close[1:] / path.close[:-1] - 1.0 for path in paths])
    by_hand = ((wanted * returns).sum() - pair.cost * changed) / len(played)
    assert played.mean() == pytest.approx(by_hand, abs=3e-6)


def test_a_learning_of_the_pair_is_served_on_fresh_bars() -> None:
    pair = Pair(sine(8, 0.01), sine(9))
    lesson = lesson_of("ppo", pair, seed=1, n_steps=4_096, n_training=2_000)
    assert (len(lesson.training), len(lesson.validation)) == (2_000, N_VALIDATION)
    # A sine's and a cosine's mean square over whole periods is one half: scaled by its root they reach 2 ** 0.5.
    assert np.abs(lesson.dataset.market.features).max() == pytest.approx(2.0**0.5, rel=1e-2)
    policy = learn(lesson).policy
    fresh = pair.draw(201, np.random.default_rng(5))
    returns = served_returns(policy, fresh)
    assert returns.shape == (200,) and np.isfinite(returns).all()
    # Bars that come later change nothing earlier.
    np.testing.assert_array_equal(served_returns(policy, (_first(fresh[0], 101), _first(fresh[1], 101))), returns[:100])


def _first(path: Path, n: int) -> Path:
    return Path(path.close[:n], path.features[:n], path.state[:n])
