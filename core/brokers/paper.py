"""The paper broker: fills at the next bar's open, by the same kernel that training and backtest use."""

import logging
import math
from dataclasses import dataclass
from decimal import Decimal

import numpy as np
from django.db import transaction
from django.utils import timezone

from core.closed_bar import ClosedBar
from core.ledger import Execution, apply_execution, cancel_order, to_money
from core.models import Book, Fill, Order, Position
from core.notices import notify
from core.simulation import first_kernel as kernel
from core.simulation.fees import fees_for
from core.simulation.rules import MarketRules

logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PaperBroker:
    """An exchange of our own. Its state is the ledger, so a crash loses nothing."""

    rules: MarketRules

    def submit(self, order: Order) -> None:
        """Accept an approved order once; a second call finds it accepted and does nothing."""
        changed = Order.objects.filter(pk=order.pk, status=Order.Status.APPROVED).update(
            status=Order.Status.ACCEPTED, submitted_at=timezone.now(), updated_at=timezone.now()
        )
        if changed:
            notify("order", book=order.book_id)

    @transaction.atomic
    def on_bar(self, order: Order, bar: ClosedBar) -> Fill | None:
        """Carry out an accepted order at the open of `bar`, at most once; what the market or cash refuses is canceled.

        Returns: the fill, or None if nothing traded (already filled, decided on this bar or later, or no room).
        """
        Book.objects.select_for_update().get(pk=order.book_id)  # book, then order: the ledger's order of locks
        order = Order.objects.select_for_update().get(pk=order.pk)
        if order.status != Order.Status.ACCEPTED or order.decided_at >= bar.time:
            return None
        traded, price, paid = self._trade(order, bar)
        if traded == 0.0:
            cancel_order(order, code="NO_ROOM", reason="the open left no cash or volume for this order")
            return None
        fill = apply_execution(
            order,
            Execution(
                execution_id=f"{order.client_order_id}/{int(bar.time.timestamp())}",
                time=bar.time,
                quantity=to_money(traded),
                price=to_money(price),
                commission=to_money(paid),
                slippage=to_money((price - bar.open) * traded * self.rules.multiplier),
            ),
        )
        self._cancel_rest(order)
        return fill

    def _trade(self, order: Order, bar: ClosedBar) -> tuple[float, float, float]:
        """Signed quantity, price and commission by the kernel, from the ledger's cash and position."""
        position = Position.objects.filter(book=order.book_id, instrument=order.instrument_id).first()
        held = float(position.quantity) if position else 0.0
        average = float(position.average_price) if position else 0.0
        cash = float(Book.objects.values_list("cash", flat=True).get(pk=order.book_id))
        target = held + float(order.signed_quantity)
        fees = fees_for(np.datetime64(int(bar.time.timestamp()), "s"))[0]
        traded, price, paid, *_ = kernel.trade_at_open(
            held, target, cash, average, bar.open, bar.volume, fees, self.rules.as_array()
        )
        wrong_way = traded * float(order.signed_quantity) < 0
        return (0.0, math.nan, 0.0) if wrong_way else (traded, price, paid)

    def _cancel_rest(self, order: Order) -> None:
        order.refresh_from_db()
        rest: Decimal = order.quantity - order.filled_quantity
        if rest > 0:
            cancel_order(
                order, code="PARTIAL_FILL", reason=f"{rest.normalize():f} of it found no cash or volume at the open"
            )
