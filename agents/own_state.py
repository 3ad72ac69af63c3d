"""What an agent knows of itself: its position and how its account stands. One calculation for training and live."""

import numpy as np
from numba import njit

from core.simulation.rules import MarketRules

NAMES = ("weight", "open_return", "drawdown", "time_in_position")
LABELS = {
    "weight": "Share of money invested",
    "open_return": "Open gain or loss",
    "drawdown": "Distance below its own peak",
    "time_in_position": "Bars held",
}
N_OWN = len(NAMES)
# Brings each to about one in ordinary times: fully invested, 10 % open gain, 20 % drawdown, 50 bars held.
SCALE = np.array([1.0, 10.0, 5.0, 0.02])
LIMIT = 5.0


@njit(cache=True, fastmath=False)
def fill_own_state(
    quantity: float,
    average_price: float,
    close: float,
    equity: float,
    peak: float,
    age_bars: float,
    multiplier: float,
    out: np.ndarray,
) -> None:
    """Write the four raw values to out (4,); see own_state."""
    out[0] = quantity * close * multiplier / equity if equity > 0.0 else 0.0
    out[1] = 0.0
    if quantity != 0.0 and average_price > 0.0:
        change = close / average_price - 1.0
        out[1] = change if quantity > 0.0 else -change
    out[2] = max(1.0 - equity / peak, 0.0) if peak > 0.0 else 0.0
    out[3] = age_bars


def own_state(
    quantity: float,
    average_price: float,
    close: float,
    equity: float,
    peak: float,
    age_bars: float,
    rules: MarketRules,
) -> np.ndarray:
    """The agent's own state at a close, raw: shape (4,) by NAMES.

    quantity signed; prices per unit; equity and peak in account currency; age_bars closes since it was opened.
    Returns: weight (position value / equity, signed), open return of the position (a gain is positive, long or
    short; 0 when flat), drawdown of the account (0 to 1), bars held.
    """
    out = np.empty(N_OWN)
    fill_own_state(
        float(quantity), float(average_price), float(close), float(equity), float(peak), float(age_bars),
        float(rules.multiplier), out,
    )  # fmt: skip
    return out


def scaled(own: np.ndarray) -> np.ndarray:
    """Raw own state (..., 4) as the network sees it, within +-LIMIT."""
    return np.clip(np.asarray(own, dtype=float) * SCALE, -LIMIT, LIMIT)
