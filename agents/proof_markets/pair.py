"""Two instruments of one account with a known optimum: the money is enough for one of them at a time. Pure.

The two markets are independent of each other, so the pair is the Markov chain of both states together. Leverage 1 and
weights that want everything make them rivals: who holds one must sell it to buy the other and pays for both orders.

Holding nothing, the first or the second is enough to know the optimum over all divisions of the money: costs are
proportional, so turning one division into another costs what carrying its parts over would, each from one of the three
to another by way of cash; a course of divisions is thus a mixture of courses of all or nothing, and earns no more than
the best of them. Source of the iteration: Puterman, "Markov Decision Processes", chapter 8 (average reward).
"""

from dataclasses import dataclass
from functools import cache

import numpy as np

from agents.environment.actions import TARGET
from agents.environment.batch_env import BatchEnv
from agents.environment.env_config import EnvConfig
from agents.environment.episodes import CHRONOLOGICAL
from agents.environment.market import Market
from agents.environment.own_state import OwnSpec
from agents.proof_markets.lesson import START_CASH, market_of, rules_of
from agents.proof_markets.markets import Path, ProofMarket, regimes, sine
from agents.proof_markets.optimum import CLOSE_ENOUGH, MAX_ROUNDS
from core.simulation import kernel

NOTHING, FIRST, SECOND = 0, 1, 2  # what all the money is in
SHARES = np.array([[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]])  # of equity in each instrument


@dataclass(frozen=True, eq=False)
class Pair:
    """Two markets with the same costs."""

    first: ProofMarket
    second: ProofMarket

    @property
    def cost(self) -> float:
        """Fraction of the value traded, per side."""
        return self.first.cost

    def draw(self, n_bars: int, random: np.random.Generator) -> tuple[Path, Path]:
        """A path of each, independent of each other."""
        return self.first.draw(n_bars, random), self.second.draw(n_bars, random)


@dataclass(frozen=True, eq=False)
class PairOptimum:
    """What is best at each pair of states, and what it earns."""

    grids: tuple[np.ndarray, np.ndarray]  # (S1,) and (S2,), the states' values
    wanted: np.ndarray  # (3, S1, S2) what to have the money in, by what it is in
    gain: float  # expected net return per bar in the long run

    def play(self, states: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """Share of equity wanted in each instrument at each close, (T, 2), starting with cash; states: (T,) each."""
        one, two = (_nearest(grid, state) for grid, state in zip(self.grids, states, strict=True))
        wanted, held = np.empty(len(one), dtype=int), NOTHING
        for t in range(len(one)):
            wanted[t] = held = int(self.wanted[held, one[t], two[t]])
        return SHARES[wanted]


def solve_pair(pair: Pair) -> PairOptimum:
    """The optimum of long-run average net return. Raises: ValueError for unequal costs or if it does not settle."""
    if pair.first.cost != pair.second.cost:
        raise ValueError(f"both markets must cost the same, got {pair.first.cost} and {pair.second.cost}")
    one, two = pair.first.chain, pair.second.chain
    gain = np.stack(np.broadcast_arrays(0.0, one.gain[:, None], two.gain[None, :]))  # (3, S1, S2) of the next bar
    changing = pair.cost * np.abs(SHARES[:, None] - SHARES[None]).sum(axis=2)  # (held, wanted)
    value = np.zeros(gain.shape)
    for _ in range(MAX_ROUNDS):
        ahead = gain + one.move @ value @ two.move.T
        change = np.array([np.maximum.reduce([*(ahead - cost[:, None, None])]) for cost in changing]) - value
        value = value + 0.5 * change  # half staying, half moving, as a sine would circle for ever otherwise
        value -= value[0, 0, 0]
        if change.max() - change.min() < CLOSE_ENOUGH:
            break
    else:
        raise ValueError(f"no optimum after {MAX_ROUNDS} rounds; make the grids coarser")
    ahead = gain + one.move @ value @ two.move.T
    wanted = np.array([(ahead - cost[:, None, None]).argmax(axis=0) for cost in changing])
    return PairOptimum((one.grid, two.grid), wanted, float(change.mean()))


@cache
def proof_pair() -> tuple[Pair, PairOptimum]:
    """The pair that learners are measured on: a sine beside a trend that flips, two features each."""
    pair = Pair(sine(), regimes())
    return pair, solve_pair(pair)


def market_of_pair(paths: tuple[Path, Path]) -> Market:
    """Both as environments play them."""
    return Market.several([market_of(path) for path in paths])


def play_optimum(pair: Pair, paths: tuple[Path, Path], optimum: PairOptimum, action: str) -> np.ndarray:
    """Net return of every bar but the first, (T - 1,), of one account that plays the optimum with a kind of action."""
    market = market_of_pair(paths)
    config = EnvConfig(
        action=action, rules=rules_of(pair.first), start_cash=START_CASH, episodes=CHRONOLOGICAL,
        own=OwnSpec(("weight",)),
    )  # fmt: skip
    env = BatchEnv(market, config, 1, n_threads=1, autoreset=False)
    env.reset()
    wanted = optimum.play((paths[0].state[:-1], paths[1].state[:-1]))
    everything, nothing = (1.0, 0.0) if action == TARGET else (kernel.BUY, kernel.SELL)
    found = np.empty(len(wanted))
    for t, actions in enumerate(np.where(wanted > 0, everything, nothing)):
        env.step(actions[None])
        found[t] = env.out[0, kernel.OUT_NET_RETURN]
    return found


def _nearest(grid: np.ndarray, state: np.ndarray) -> np.ndarray:
    return np.abs(np.asarray(state)[:, None] - grid).argmin(axis=1)
