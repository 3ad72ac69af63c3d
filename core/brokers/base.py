"""What every broker can do, whether simulated or reached through the bridge."""

from typing import Protocol

from core.brokers.paper_bar import Overnight
from core.closed_bar import ClosedBar
from core.models import Book, Fill, Instrument, Order


class Broker(Protocol):
    """Takes orders; telling it twice about the same client order id must not create two orders."""

    def submit(self, order: Order) -> None:
        """Send an approved order. Does nothing if it was sent before."""

    def on_bar(
        self,
        book: Book,
        instrument: Instrument,
        bar: ClosedBar,
        order: Order | None,
        *,
        n_days: int,
        overnight: Overnight | None,
        protect: bool,
    ) -> list[Fill]:
        """Live through a bar: an order decided before it, and protective levels; with a real market do nothing."""
