"""Sine with noise, mean reversion, a trend that flips, and pure noise. Pure.

Every market is a Markov chain over a grid of states: what the agent sees is a function of the state, and the chain
says how large the next return is on average and where the state goes. Paths are drawn from the true process, not from
the grid, so that the grid's optimum is checked by playing it.
"""

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

# Gauss-Hermite points for a normal draw: exact for polynomials of degree 2n - 1.
_NODES, _WEIGHTS = np.polynomial.hermite_e.hermegauss(41)
_WEIGHTS = _WEIGHTS / _WEIGHTS.sum()
LIMIT = 5.0  # features lie within it, as everywhere in the desk


@dataclass(frozen=True, eq=False)
class Chain:
    """The market as a Markov chain on a grid of S states."""

    grid: np.ndarray  # (S,) the state's value
    gain: np.ndarray  # (S,) expected simple return of the next bar
    move: np.ndarray  # (S, S) chance of the next state; rows sum to 1


@dataclass(frozen=True, eq=False)
class Path:
    """One draw of T bars."""

    close: np.ndarray  # (T,)
    features: np.ndarray  # (T, n) what the agent sees at each close, within +-LIMIT
    state: np.ndarray  # (T,) value of the state at each close


@dataclass(frozen=True, eq=False)
class ProofMarket:
    """One market: its chain for the optimum, its draws for learning."""

    name: str
    cost: float  # fraction of the value traded, per side
    chain: Chain
    draw: Callable[[int, np.random.Generator], Path]


def sine(period: int = 24, drift: float = 0.008, noise: float = 0.006, cost: float = 0.001) -> ProofMarket:
    """Returns whose mean swings like a sine; the agent sees the phase as sine and cosine.

    period: bars; drift: mean log return at the crest; noise: standard deviation of log returns.
    """
    phase = np.arange(period)
    mean = drift * np.sin(2.0 * np.pi * (phase + 1) / period)
    gain = np.expm1(mean + noise**2 / 2.0)
    move = np.roll(np.eye(period), 1, axis=1)

    def draw(n_bars: int, random: np.random.Generator) -> Path:
        at = np.arange(n_bars) % period
        returns = np.concatenate([[0.0], mean[at[:-1]] + noise * random.standard_normal(n_bars - 1)])
        angle = 2.0 * np.pi * at / period
        features = np.column_stack([np.sin(angle), np.cos(angle)])
        return Path(_prices(returns), features, at.astype(float))

    return ProofMarket("sine", cost, Chain(phase.astype(float), gain, move), draw)


def mean_reversion(pull: float = 0.1, noise: float = 0.012, cost: float = 0.001) -> ProofMarket:
    """A log price that is pulled back to its middle; the agent sees how far away it is, in standard deviations.

    pull: share of the distance made good per bar; noise: standard deviation of the push per bar.
    """
    keep, spread = 1.0 - pull, noise / np.sqrt(1.0 - (1.0 - pull) ** 2)
    grid = np.linspace(-5.0, 5.0, 401)
    distance = grid * spread
    gain = np.expm1(-pull * distance + noise**2 / 2.0)
    after = (keep * distance[:, None] + noise * _NODES) / spread
    move = _spread_out(grid, after, np.broadcast_to(_WEIGHTS, after.shape))

    def draw(n_bars: int, random: np.random.Generator) -> Path:
        push, away = noise * random.standard_normal(n_bars), np.empty(n_bars)
        away[0] = spread * random.standard_normal()
        for t in range(1, n_bars):
            away[t] = keep * away[t - 1] + push[t]
        seen = np.clip(away / spread, -LIMIT, LIMIT)
        return Path(100.0 * np.exp(away), seen[:, None], away / spread)

    return ProofMarket("mean reversion", cost, Chain(grid, gain, move), draw)


def regimes(drift: float = 0.006, noise: float = 0.008, flip: float = 0.03, cost: float = 0.001) -> ProofMarket:
    """A trend up or down that flips now and then; nobody sees it, but past returns tell how likely it is up.

    The agent sees the log-odds of "up" (Hamilton's filter of the returns so far) and the last return.
    drift: mean log return per bar, up or down; flip: chance per bar that it turns around.
    """
    grid = np.linspace(-4.0, 4.0, 401)  # log-odds of an upward trend in the NEXT bar
    up = 1.0 / (1.0 + np.exp(-grid))
    high, low = np.expm1(drift + noise**2 / 2.0), np.expm1(-drift + noise**2 / 2.0)
    gain = up * high + (1.0 - up) * low
    returns = np.concatenate([drift + noise * _NODES, -drift + noise * _NODES])
    weights = np.concatenate([up[:, None] * _WEIGHTS, (1.0 - up)[:, None] * _WEIGHTS], axis=1)
    move = _spread_out(grid, _updated(grid[:, None], returns, drift, noise, flip), weights)

    def draw(n_bars: int, random: np.random.Generator) -> Path:
        flips = random.random(n_bars) < flip
        trend = np.where(np.cumsum(flips) % 2 == 0, 1.0, -1.0) * random.choice([-1.0, 1.0])
        moves = drift * trend + noise * random.standard_normal(n_bars)
        moves[0], odds = 0.0, np.zeros(n_bars)
        for t in range(1, n_bars):
            odds[t] = _updated(odds[t - 1], moves[t], drift, noise, flip)
        features = np.column_stack([odds, np.clip(moves / noise, -LIMIT, LIMIT)])
        return Path(_prices(moves), np.clip(features, -LIMIT, LIMIT), odds)

    return ProofMarket("trend with flips", cost, Chain(grid, gain, move), draw)


def noise(deviation: float = 0.01, n_features: int = 4, cost: float = 0.001) -> ProofMarket:
    """A price nobody can predict, with features that say nothing; staying out is best."""
    chain = Chain(np.zeros(1), np.zeros(1), np.ones((1, 1)))

    def draw(n_bars: int, random: np.random.Generator) -> Path:
        # The mean of a log-normal factor is exp(m + s**2 / 2): this m makes the expected simple return 0.
        returns = deviation * random.standard_normal(n_bars) - deviation**2 / 2.0
        returns[0] = 0.0
        features = np.clip(random.standard_normal((n_bars, n_features)), -LIMIT, LIMIT)
        return Path(_prices(returns), features, np.zeros(n_bars))

    return ProofMarket("noise", cost, chain, draw)


PROOF_MARKETS: dict[str, Callable[[], ProofMarket]] = {
    "sine": sine,
    "mean_reversion": mean_reversion,
    "regimes": regimes,
}


def _prices(log_returns: np.ndarray) -> np.ndarray:
    return 100.0 * np.exp(np.cumsum(log_returns))


def _updated(odds: np.ndarray, log_return: np.ndarray, drift: float, noise: float, flip: float) -> np.ndarray:
    """Log-odds of "up in the next bar" after a return, from those before it.

    Bayes: the two normal densities differ by the factor exp(2 * drift * r / noise**2). Then the trend may flip.
    """
    seen = 1.0 / (1.0 + np.exp(-(odds + 2.0 * drift * log_return / noise**2)))
    up = seen * (1.0 - flip) + (1.0 - seen) * flip
    return np.log(up / (1.0 - up))


def _spread_out(grid: np.ndarray, after: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """Chances (S, S): each point of `after` (S, K) is shared by its two neighbours on the even grid."""
    step = grid[1] - grid[0]
    place = np.clip((after - grid[0]) / step, 0.0, len(grid) - 1.000001)
    lower = place.astype(int)
    upper_share = place - lower
    move = np.zeros((len(grid), len(grid)))
    rows = np.broadcast_to(np.arange(len(grid))[:, None], lower.shape)
    np.add.at(move, (rows, lower), weights * (1.0 - upper_share))
    np.add.at(move, (rows, lower + 1), weights * upper_share)
    return move
