"""One closed bar of one instrument, as the ledger and brokers need it."""

import math
from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ClosedBar:
    """Start time in UTC, prices in points, volume in units (0 where the source has none)."""

    time: datetime
    open: float
    close: float
    volume: float
    high: float | None = None  # None: no higher than open and close
    low: float | None = None
    atr_before: float = math.nan  # average true range known at the close before, in this bar's units; NaN: unknown

    @property
    def highest(self) -> float:
        """The highest price; open and close were traded, so it is never below them."""
        return max(self.open, self.close, self.open if self.high is None else self.high)

    @property
    def lowest(self) -> float:
        """The lowest price, never above open and close."""
        return min(self.open, self.close, self.open if self.low is None else self.low)
