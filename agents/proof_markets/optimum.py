"""The best policy of a proof market, by relative value iteration over states and positions. Pure.

Rewards are net returns per bar, costs included; with proportional costs a position between nothing and everything is
never better than both ends, so the optimum over {out, in} is the optimum over all positions from 0 to 1.
Source: Puterman, "Markov Decision Processes", chapter 8 (average reward).
"""

from dataclasses import dataclass

import numpy as np

from agents.proof_markets.markets import ProofMarket

OUT, IN = 0, 1
CLOSE_ENOUGH = 1e-12
MAX_ROUNDS = 100_000


@dataclass(frozen=True, eq=False)
class Optimum:
    """What is best at each state of the grid, and what it earns."""

    grid: np.ndarray  # (S,)
    wanted: np.ndarray  # (S, 2) position wanted, 0 out or 1 in, by the position held
    gain: float  # expected net return per bar in the long run

    def play(self, state: np.ndarray) -> np.ndarray:
        """The position wanted at each close, (T,), starting flat; the state decides by its nearest grid point."""
        nearest = np.abs(np.asarray(state)[:, None] - self.grid).argmin(axis=1)
        wanted, held = np.empty(len(nearest)), OUT
        for t, row in enumerate(nearest):
            held = int(self.wanted[row, held])
            wanted[t] = held
        return wanted


def solve(market: ProofMarket) -> Optimum:
    """The optimum of long-run average net return. Raises: ValueError if the iteration does not settle."""
    chain, cost = market.chain, market.cost
    n_states = len(chain.gain)
    # reward[s, held, wanted]: the next bar's gain on what is wanted, less what changing costs.
    change = np.array([[0.0, cost], [cost, 0.0]])
    reward = chain.gain[:, None, None] * np.array([0.0, 1.0]) - change
    value = np.zeros((n_states, 2))
    for _ in range(MAX_ROUNDS):
        # Half staying, half moving: periodic chains such as the sine would circle for ever otherwise.
        ahead = chain.move @ value
        best = (reward + ahead[:, None, :]).max(axis=2)
        change_of_value = best - value
        value = value + 0.5 * change_of_value
        value -= value[0, 0]
        if change_of_value.max() - change_of_value.min() < CLOSE_ENOUGH:
            break
    else:
        raise ValueError(f"{market.name}: no optimum after {MAX_ROUNDS} rounds; make the grid coarser")
    wanted = (reward + (chain.move @ value)[:, None, :]).argmax(axis=2)
    return Optimum(chain.grid, wanted, float(change_of_value.mean()))
