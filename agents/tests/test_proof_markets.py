"""Proof markets: the optimum is checked by search over all simple policies and by playing it on drawn paths."""

from itertools import product

import numpy as np
import pytest

from agents.proof_markets import PROOF_MARKETS, noise, solve


def earned(close: np.ndarray, wanted: np.ndarray, cost: float) -> np.ndarray:
    """Net return per bar of positions wanted at each close, written without the solver's help."""
    before = np.concatenate([[0.0], wanted[:-2]])
    return wanted[:-1] * (close[1:] / close[:-1] - 1.0) - cost * np.abs(wanted[:-1] - before)


def test_sine_optimum_is_the_best_of_all_ways_to_be_in_for_one_stretch_of_the_period() -> None:
    market = PROOF_MARKETS["sine"]()
    gain, period = market.chain.gain, len(market.chain.gain)
    best = 0.0
    for start, length in product(range(period), range(1, period)):
        held = gain[(start + np.arange(length)) % period].sum() - 2.0 * market.cost
        best = max(best, held / period)
    assert solve(market).gain == pytest.approx(best, abs=1e-9)


def test_mean_reversion_optimum_is_the_best_of_all_pairs_of_thresholds() -> None:
    market = PROOF_MARKETS["mean_reversion"]()
    path = market.draw(40_000, np.random.default_rng(3))
    found = []
    for enter, leave in product(np.linspace(-1.0, 0.2, 9), np.linspace(-0.2, 1.0, 9)):
        held, wanted = 0.0, np.empty(len(path.state))
        for t, state in enumerate(path.state):
            held = 1.0 if state < enter else 0.0 if state > leave else held
            wanted[t] = held
        found.append(earned(path.close, wanted, market.cost).mean())
    ours = earned(path.close, solve(market).play(path.state), market.cost).mean()
    # On one path a coarse grid of thresholds may fit its noise a little better, never by much.
    assert max(found) <= ours * 1.02
    assert max(found) >= ours * 0.97


@pytest.mark.parametrize("name", PROOF_MARKETS)
def test_playing_the_optimum_earns_what_it_promises(name: str) -> None:
    market = PROOF_MARKETS[name]()
    optimum = solve(market)
    path = market.draw(200_000, np.random.default_rng(1))
    net = earned(path.close, optimum.play(path.state), market.cost)
    assert abs(net.mean() - optimum.gain) < 4.0 * net.std() / np.sqrt(len(net))
    assert optimum.gain > 10.0 * abs((path.close[-1] / path.close[0]) ** (1 / len(net)) - 1.0), "holding is no rival"


@pytest.mark.parametrize("name", PROOF_MARKETS)
def test_paths_are_fit_for_an_environment_and_come_again_with_the_same_seed(name: str) -> None:
    market = PROOF_MARKETS[name]()
    first, again = (market.draw(400, np.random.default_rng(5)) for _ in range(2))
    np.testing.assert_array_equal(first.features, again.features)
    np.testing.assert_array_equal(first.close, again.close)
    assert np.abs(first.features).max() <= 5.0
    assert np.isfinite(first.close).all()
    assert (first.close > 0).all()


def test_chances_sum_to_one() -> None:
    for make in PROOF_MARKETS.values():
        np.testing.assert_allclose(make().chain.move.sum(axis=1), 1.0, atol=1e-12)


def test_nothing_can_be_earned_from_noise() -> None:
    market = noise()
    assert solve(market).gain == pytest.approx(0.0, abs=1e-12)
    path = market.draw(200_000, np.random.default_rng(2))
    returns = path.close[1:] / path.close[:-1] - 1.0
    assert abs(returns.mean()) < 4.0 * returns.std() / np.sqrt(len(returns))
    for feature in path.features[:-1].T:
        assert abs(np.corrcoef(feature, returns)[0, 1]) < 0.01
