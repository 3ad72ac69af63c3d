"""What every broker can do, whether simulated or reached through the bridge."""

from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from core.models import Fill, Order


@dataclass(frozen=True)
class ClosedBar:
    """One closed bar of one instrument, as the broker needs it: prices in points, volume in units."""

    time: datetime
    open: float
    close: float
    volume: float


class Broker(Protocol):
    """Takes orders; telling it twice about the same client order id must not create two orders."""

    def submit(self, order: Order) -> None:
        """Send an approved order. Does nothing if it was sent before."""

    def on_bar(self, order: Order, bar: ClosedBar) -> Fill | None:
        """Carry out an open order in a bar that began after the decision; brokers with a real market do nothing."""
