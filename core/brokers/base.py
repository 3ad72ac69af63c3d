"""What every broker can do, whether simulated or reached through the bridge."""

from typing import Protocol

from core.closed_bar import ClosedBar
from core.models import Fill, Order


class Broker(Protocol):
    """Takes orders; telling it twice about the same client order id must not create two orders."""

    def submit(self, order: Order) -> None:
        """Send an approved order. Does nothing if it was sent before."""

    def on_bar(self, order: Order, bar: ClosedBar) -> Fill | None:
        """Carry out an open order in a bar that began after the decision; brokers with a real market do nothing."""
