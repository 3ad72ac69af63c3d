"""One closed bar of one instrument, as the ledger and brokers need it."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True)
class ClosedBar:
    """Start time in UTC, prices in points, volume in units (0 where the source has none)."""

    time: datetime
    open: float
    close: float
    volume: float
