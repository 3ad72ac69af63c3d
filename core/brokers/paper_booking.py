"""What the paper broker writes: fills of orders, protective closes, nights and levels. Callers hold the book's lock."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal

from django.db.models import F
from django.utils import timezone

from core.brokers.paper_arrays import Trade
from core.brokers.paper_bar import BarOutcome, Before, BookOutcome, Leg
from core.closed_bar import ClosedBar
from core.journal import record
from core.ledger import Execution, apply_execution, cancel_order, to_money
from core.models import Book, Event, Fill, Financing, Instrument, Order, Position

WHY = {
    Order.Purpose.STOP: "the stop-loss was reached",
    Order.Purpose.TRAIL: "the trailing stop was reached",
    Order.Purpose.TARGET: "the take-profit was reached",
    Order.Purpose.REST: "the rest of a protective close",
}


def book_bar(book: Book, legs: Sequence[Leg], before: Before, outcome: BookOutcome) -> list[Fill]:
    """Write what the bar did to the book. Returns: the fills, those at the open before those inside the bar."""
    _book_financing(book, legs, outcome)
    both = list(zip(legs, outcome.legs, strict=True))
    fills = [fill for leg, each in both for fill in _book_open(book, leg, each.at_open, called=before.called)]
    fills += [_book_protective(book, leg, each.protective) for leg, each in both if each.protective is not None]
    for leg, each in both:
        _keep_levels(book, leg, each)
    if outcome.called:
        _mark_called(book, legs)
    elif before.called:  # all of it is closed, and the book may trade again
        Position.objects.filter(book=book).update(forced_flat=False)
    return fills


def _book_financing(book: Book, legs: Sequence[Leg], outcome: BookOutcome) -> None:
    """Interest and borrow fees of the nights since the last session, once each.

    Interest is the book's: it stands with the first instrument. A borrow fee is an instrument's.
    """
    _finance(book, legs[0], Financing.Kind.INTEREST, outcome.interest)
    for leg, each in zip(legs, outcome.legs, strict=True):
        _finance(book, leg, Financing.Kind.BORROW, -each.borrow)


def _finance(book: Book, leg: Leg, kind: str, amount: float) -> None:
    if amount == 0.0:
        return
    _, created = Financing.objects.get_or_create(
        book=book, instrument=leg.instrument, kind=kind, time=leg.bar.time,
        defaults={"n_days": leg.n_days, "amount": to_money(amount)},
    )  # fmt: skip
    if created:
        Book.objects.filter(pk=book.pk).update(cash=F("cash") + to_money(amount))


def interest_booked(book: Book, time: datetime) -> bool:
    """Whether the book's interest of this bar's night is in the ledger, with whatever instrument it stands."""
    return Financing.objects.filter(book=book, kind=Financing.Kind.INTEREST, time=time).exists()


def _book_open(book: Book, leg: Leg, trade: Trade | None, *, called: bool) -> list[Fill]:
    """Book what traded at the open: the order, or what is stronger than any decision."""
    order = leg.order
    stronger = trade is not None and trade.purpose in (Order.Purpose.REST, Order.Purpose.FORCE)
    if stronger and trade is not None and not _is_that_close(order, trade):
        if order is not None:
            cancel_order(order, code="PROTECTIVE_CLOSE", reason="a protective close came first")
        return [_book_protective(book, leg, trade)]
    if order is None:
        return []
    # The kernel never turns a buy into a sale; a ledger changed by hand might.
    if trade is None or trade.quantity * float(order.signed_quantity) < 0:
        _cancel_whole(order, called=called)
        return []
    fill = apply_execution(order, _execution(order, trade, leg.bar))
    _cancel_rest(order)
    return [fill] if fill else []


def _book_protective(book: Book, leg: Leg, trade: Trade) -> Fill:
    """An order of the exchange's own and its fill. The position it closes was allowed to be protected by the gate."""
    instrument, bar, quantity = leg.instrument, leg.bar, to_money(abs(trade.quantity))
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


def _keep_levels(book: Book, leg: Leg, outcome: BarOutcome) -> None:
    """Levels after the bar, and that the position has seen it."""
    levels = (outcome.stop, outcome.target, outcome.best)
    stop, target, best = (None if level is None else to_money(level) for level in levels)
    Position.objects.filter(book=book, instrument=leg.instrument).update(
        stop_price=stop, target_price=target, best_price=best, closing=outcome.closing,
        forced_flat=outcome.forced_flat, last_time=leg.bar.time,
    )  # fmt: skip
    if outcome.withheld:
        _tell_withheld(book, leg.instrument, leg.bar)


def _mark_called(book: Book, legs: Sequence[Leg]) -> None:
    """Ruin or a margin call closes everything: every position of the book says so, what is flat may not be opened."""
    rows = [Position(book=book, instrument=leg.instrument, last_time=leg.bar.time) for leg in legs]
    Position.objects.bulk_create(rows, ignore_conflicts=True)
    Position.objects.filter(book=book).update(forced_flat=True)


def _is_that_close(order: Order | None, trade: Trade) -> bool:
    """Whether an order asks for just the forced close that trades: then that order is filled, not one beside it."""
    if order is None or not order.purpose == trade.purpose == Order.Purpose.FORCE:
        return False
    return abs(trade.quantity) <= float(order.quantity - order.filled_quantity)


def _execution(order: Order, trade: Trade, bar: ClosedBar) -> Execution:
    return Execution(
        execution_id=f"{order.client_order_id}/{int(bar.time.timestamp())}",
        time=bar.time,
        quantity=to_money(trade.quantity),
        price=to_money(trade.price),
        commission=to_money(trade.commission),
        slippage=to_money(trade.slippage),
    )


def _cancel_whole(order: Order, *, called: bool) -> None:
    if called:
        cancel_order(order, code="BOOK_CALLED", reason="ruin or a margin call closes the book: nothing may be opened")
    else:
        cancel_order(order, code="NO_ROOM", reason="the open left no cash or volume for this order")


def _cancel_rest(order: Order) -> None:
    order.refresh_from_db()
    rest: Decimal = order.quantity - order.filled_quantity
    if rest > 0:
        cancel_order(
            order, code="PARTIAL_FILL", reason=f"{rest.normalize():f} of it found no cash or volume at the open"
        )


def _tell_withheld(book: Book, instrument: Instrument, bar: ClosedBar) -> None:
    """Say that a level was reached where nothing may trade: once a day, not at every bar of it."""
    kind, subject, day = "protection.withheld", f"book:{book.pk}", f"{bar.time:%Y-%m-%d}"
    if Event.objects.filter(kind=kind, subject=subject, data__day=day, data__instrument=instrument.pk).exists():
        return
    record(
        kind, f"{instrument.symbol} reached a protective level at {bar.time:%Y-%m-%d %H:%M}, but nothing may trade",
        level=Event.Level.ATTENTION, actor=book.name, subject=subject, data={"day": day, "instrument": instrument.pk},
    )  # fmt: skip
