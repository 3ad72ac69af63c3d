"""The paper broker: an exchange of our own that takes a book through each bar by the simulation kernel.

Training, backtest and this broker share one function for what happens in a bar (`kernel.advance`); here its result is
booked in the ledger, in Decimal, once.
"""

from dataclasses import dataclass
from decimal import Decimal

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from core.brokers.paper_bar import BarOutcome, Overnight, Trade, live_through
from core.closed_bar import ClosedBar
from core.journal import record
from core.ledger import Execution, apply_execution, cancel_order, to_money
from core.models import Book, Event, Fill, Financing, Instrument, Order, Position
from core.notices import notify
from core.simulation.rules import MarketRules

WHY = {
    Order.Purpose.STOP: "the stop-loss was reached",
    Order.Purpose.TRAIL: "the trailing stop was reached",
    Order.Purpose.TARGET: "the take-profit was reached",
    Order.Purpose.REST: "the rest of a protective close",
}


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
    def on_bar(
        self,
        book: Book,
        instrument: Instrument,
        bar: ClosedBar,
        order: Order | None,
        *,
        n_days: int = 0,
        overnight: Overnight | None = None,
        protect: bool = True,
    ) -> list[Fill]:
        """Take a book through a bar: the night's interest, an accepted order at the open, then protective levels.

        order: decided before the bar, or None; what the market or cash refuses of it is canceled. n_days: calendar
        days since the session of the book's last bar, 0 within a session; overnight: what was held before the splits
        booked for this bar, None where there are none. protect: whether levels and forced closes may trade.
        To be called once a bar, in the transaction that says so. Returns: the fills, in order.
        """
        # Book, then position, then order: the ledger's order of locks.
        book = Book.objects.select_for_update().get(pk=book.pk)
        position = Position.objects.select_for_update().filter(book=book, instrument=instrument).first()
        order = _still_open(order, bar)
        outcome = live_through(
            position, instrument, float(book.cash), float(book.start_cash), self.rules, bar,
            None if order is None else float(order.signed_quantity - _filled(order)),
            n_days=n_days, overnight=overnight, protect=protect,
        )  # fmt: skip
        _book_financing(book, instrument, bar, outcome, n_days)
        fills = [*self._at_open(book, instrument, bar, order, outcome.at_open)]
        if outcome.protective is not None:
            fills.append(_protective_fill(book, instrument, bar, outcome.protective))
        self._keep_levels(book, instrument, bar, outcome)
        return fills

    def _at_open(
        self, book: Book, instrument: Instrument, bar: ClosedBar, order: Order | None, trade: Trade | None
    ) -> list[Fill]:
        """Book what traded at the open: the order, or what is stronger than any decision."""
        stronger = trade is not None and trade.purpose in (Order.Purpose.REST, Order.Purpose.FORCE)
        if stronger and trade is not None and not _is_that_close(order, trade):
            if order is not None:
                cancel_order(order, code="PROTECTIVE_CLOSE", reason="a protective close came first")
            return [_protective_fill(book, instrument, bar, trade)]
        if order is None:
            return []
        # The kernel never turns a buy into a sale; a ledger changed by hand might.
        if trade is None or trade.quantity * float(order.signed_quantity) < 0:
            cancel_order(order, code="NO_ROOM", reason="the open left no cash or volume for this order")
            return []
        fill = apply_execution(order, _execution(order, trade, bar))
        _cancel_rest(order)
        return [fill] if fill else []

    def _keep_levels(self, book: Book, instrument: Instrument, bar: ClosedBar, outcome: BarOutcome) -> None:
        levels = (outcome.stop, outcome.target, outcome.best)
        stop, target, best = (None if level is None else to_money(level) for level in levels)
        Position.objects.filter(book=book, instrument=instrument).update(
            stop_price=stop, target_price=target, best_price=best, closing=outcome.closing,
            forced_flat=outcome.forced_flat,
        )  # fmt: skip
        if outcome.withheld:
            _tell_withheld(book, instrument, bar)


def _tell_withheld(book: Book, instrument: Instrument, bar: ClosedBar) -> None:
    """Say that a level was reached where nothing may trade: once a day, not at every bar of it."""
    kind, subject, day = "protection.withheld", f"book:{book.pk}", f"{bar.time:%Y-%m-%d}"
    if Event.objects.filter(kind=kind, subject=subject, data__day=day, data__instrument=instrument.pk).exists():
        return
    record(
        kind, f"{instrument.symbol} reached a protective level at {bar.time:%Y-%m-%d %H:%M}, but nothing may trade",
        level=Event.Level.ATTENTION, actor=book.name, subject=subject, data={"day": day, "instrument": instrument.pk},
    )  # fmt: skip


def _still_open(order: Order | None, bar: ClosedBar) -> Order | None:
    """The order, locked, if it may still be carried out in this bar."""
    if order is None:
        return None
    order = Order.objects.select_for_update().get(pk=order.pk)
    return (
        order
        if order.status in (Order.Status.ACCEPTED, Order.Status.PARTIALLY_FILLED) and (order.decided_at < bar.time)
        else None
    )


def _is_that_close(order: Order | None, trade: Trade) -> bool:
    """Whether an order asks for just the forced close that trades: then that order is filled, not one beside it."""
    if order is None or not order.purpose == trade.purpose == Order.Purpose.FORCE:
        return False
    return abs(trade.quantity) <= float(order.quantity - order.filled_quantity)


def _filled(order: Order) -> Decimal:
    return order.filled_quantity if order.side == Order.Side.BUY else -order.filled_quantity


def _execution(order: Order, trade: Trade, bar: ClosedBar) -> Execution:
    return Execution(
        execution_id=f"{order.client_order_id}/{int(bar.time.timestamp())}",
        time=bar.time,
        quantity=to_money(trade.quantity),
        price=to_money(trade.price),
        commission=to_money(trade.commission),
        slippage=to_money(trade.slippage),
    )


def _protective_fill(book: Book, instrument: Instrument, bar: ClosedBar, trade: Trade) -> Fill:
    """An order of the exchange's own and its fill. The position it closes was allowed to be protected by the gate."""
    quantity = to_money(abs(trade.quantity))
    name = f"book-{book.pk}-{instrument.pk}-{trade.purpose}-{int(bar.time.timestamp())}"
    order = Order.objects.create(
        book=book, instrument=instrument, client_order_id=name, purpose=trade.purpose, decided_at=bar.time,
        side=Order.Side.BUY if trade.quantity > 0 else Order.Side.SELL, quantity_asked=quantity, quantity=quantity,
        status=Order.Status.ACCEPTED, reason_code=f"PROTECTIVE_{trade.purpose}".upper(),
        reason=WHY.get(Order.Purpose(trade.purpose), "it had to be closed"), submitted_at=timezone.now(),
    )  # fmt: skip
    fill = apply_execution(order, _execution(order, trade, bar))
    if fill is None:
        raise ValueError(f"{name} is in the ledger already: a bar must be lived through once")
    return fill


def _book_financing(book: Book, instrument: Instrument, bar: ClosedBar, outcome: BarOutcome, n_days: int) -> None:
    """Interest and borrow fees of the nights since the last session, once each."""
    amounts = {Financing.Kind.INTEREST: outcome.interest, Financing.Kind.BORROW: -outcome.borrow}
    for kind, amount in amounts.items():
        if amount == 0.0:
            continue
        _, created = Financing.objects.get_or_create(
            book=book, instrument=instrument, kind=kind, time=bar.time,
            defaults={"n_days": n_days, "amount": to_money(amount)},
        )  # fmt: skip
        if created:
            Book.objects.filter(pk=book.pk).update(cash=F("cash") + to_money(amount))


def _cancel_rest(order: Order) -> None:
    order.refresh_from_db()
    rest: Decimal = order.quantity - order.filled_quantity
    if rest > 0:
        cancel_order(
            order, code="PARTIAL_FILL", reason=f"{rest.normalize():f} of it found no cash or volume at the open"
        )
