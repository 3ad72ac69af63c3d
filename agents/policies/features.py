"""What an agent sees of the market: named features of the bars, one calculation for training, backtest and live.

The catalogue and the numbers are marketdata.features'; every feature at bar t is a function of bars <= t. Averages that
never forget (EMA, RSI, MACD) start at the first bar given, so live and batch values agree exactly when both are given
the same history.
"""

from dataclasses import dataclass

import numpy as np

from marketdata.calendars import Sessions
from marketdata.features import batch
from marketdata.features.catalogue import CATALOGUE, FIRST, VERSION, FeatureList
from marketdata.features.definitions import FeatureDefinition
from marketdata.features.inputs import DAY, Inputs
from marketdata.features.market_kernel import VIX_MAX_DAYS, VIX_MAX_SESSIONS
from marketdata.series import BarSeries

__all__ = [
    "CATALOGUE", "DAY", "FIRST", "VERSION", "VIX_MAX_DAYS", "VIX_MAX_SESSIONS", "FeatureDefinition", "FeatureSpec",
    "Inputs", "display",
]  # fmt: skip


@dataclass(frozen=True)
class FeatureSpec(FeatureList):
    """The features of one agent, in the order its network reads them."""

    def compute(
        self,
        bars: BarSeries,
        vix: BarSeries | None = None,
        interval_seconds: int = DAY,
        *,
        underlying: BarSeries | None = None,
        scores: np.ndarray | None = None,
        sessions: Sessions | None = None,
    ) -> np.ndarray:
        """Raw features, shape (T, n), float64, NaN where a value is not known.

        bars: all history there is, not just the last bars; vix: daily bars of the VIX, or None; the others as in
        Inputs, asked for by `needs`.
        """
        return batch.compute(self, Inputs(bars, interval_seconds, vix, underlying, scores, sessions))


def display(name: str, value: float) -> str:
    """A value as operators read it, such as "28.4" or "3.1 %"."""
    return CATALOGUE[name].display(value)
