"""Double-entry in small: fills change cash and positions, closes change what they are worth. Decimal throughout."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from decimal import ROUND_DOWN, Decimal

from django.db import transaction
from django.db.models import F
from django.utils import timezone

from core.journal import record
from core.models import Book, EquitySnapshot, Fill, Instrument, Order, Position
from core.notices import notify

PLACES = Decimal("0.0000000001")
ZERO = Decimal(0)
_RATIO_ERROR = Decimal("1e-8")  # ratios come as floats: 30 old units times 0.3333333333 are 10 new ones


def to_money(value: float) -> Decimal:
    """A float from the kernel as a ledger amount: its shortest decimal spelling, rounded to 10 places.

    Raises: ValueError for NaN or infinity, which must never reach the ledger.
    """
    amount = Decimal(repr(float(value)))
    if not amount.is_finite():
        raise ValueError(f"money must be a finite number, got {value}: the fill or price it came from is broken")
    return amount.quantize(PLACES)


@dataclass(frozen=True)
class Execution:
    """One execution as the broker reports it; `quantity` is signed."""

    execution_id: str
    time: datetime
    quantity: Decimal
    price: Decimal
    commission: Decimal
    slippage: Decimal


def average_after(quantity: Decimal, average: Decimal, traded: Decimal, price: Decimal) -> Decimal:
    """Average entry price after a fill: weighted on increases, kept on reductions, the fill's after a reversal."""
    after = quantity + traded
    if after == 0:
        return ZERO
    if quantity == 0 or (quantity > 0) != (after > 0):
        return price
    if abs(after) > abs(quantity):
        return ((quantity * average + traded * price) / after).quantize(PLACES)
    return average


def closed_result(quantity: Decimal, average: Decimal, traded: Decimal, price: Decimal, multiplier: Decimal) -> Decimal:
    """Gain or loss, before costs, on the part of a position that a fill closes; 0 when it only adds."""
    if quantity == 0 or (quantity > 0) == (traded > 0):
        return ZERO
    closed = min(abs(traded), abs(quantity)) * (1 if quantity > 0 else -1)
    return closed * (price - average) * multiplier


@transaction.atomic
def apply_execution(order: Order, execution: Execution) -> Fill | None:
    """Book one execution once: cash, position, order and fill change together or not at all.

    Returns: the new fill, or None if this execution id is already in the ledger.
    Raises: ValueError if it would fill more than was ordered or goes against the order's side.
    """
    book = Book.objects.select_for_update().get(pk=order.book_id)
    order = Order.objects.select_for_update().select_related("instrument").get(pk=order.pk)
    if Fill.objects.filter(execution_id=execution.execution_id).exists():
        return None
    _refuse_wrong_size(order, execution)
    position, _ = Position.objects.select_for_update().get_or_create(book=book, instrument=order.instrument)
    paid = execution.quantity * execution.price * order.instrument.multiplier
    if order.instrument.settled_daily:
        paid = -settlement(position, order.instrument, execution.price)
    _change_position(position, execution, order.instrument.multiplier)
    Book.objects.filter(pk=book.pk).update(cash=F("cash") - paid - execution.commission)
    fill = Fill.objects.create(order=order, book=book, instrument=order.instrument, **vars(execution))
    order.filled_quantity += abs(execution.quantity)
    if order.filled_quantity == order.quantity:
        order.status = Order.Status.FILLED
    elif order.status in Order.OPEN:  # a fill that crossed a cancel is booked, but opens nothing again
        order.status = Order.Status.PARTIALLY_FILLED
    order.save(update_fields=["filled_quantity", "status", "updated_at"])
    _tell(fill, order)
    return fill


def _refuse_wrong_size(order: Order, execution: Execution) -> None:
    if (execution.quantity > 0) != (order.side == Order.Side.BUY) or execution.quantity == 0:
        raise ValueError(
            f"execution {execution.execution_id} of {execution.quantity} does not fit a {order.side} order"
        )
    if order.filled_quantity + abs(execution.quantity) > order.quantity:
        raise ValueError(
            f"execution {execution.execution_id} of {execution.quantity} overfills order {order.client_order_id}: "
            f"{order.filled_quantity} of {order.quantity} were filled before; reconcile with the broker"
        )


def _change_position(position: Position, execution: Execution, multiplier: Decimal) -> None:
    before, traded, price = position.quantity, execution.quantity, execution.price
    result = closed_result(before, position.average_price, traded, price, multiplier)
    position.average_price = average_after(before, position.average_price, traded, price)
    position.quantity = before + traded
    position.realised_result += result - execution.commission
    reversed_ = before != 0 and position.quantity != 0 and (before > 0) != (position.quantity > 0)
    if before == 0 or reversed_:
        position.opened_at, position.age_bars = execution.time, 0
    if position.quantity == 0:
        clear_when_flat(position)
    position.last_price = price
    position.save()


def clear_when_flat(position: Position) -> None:
    """What belongs to an open position ends with it; the row is not saved."""
    position.opened_at, position.age_bars = None, 0
    position.stop_price = position.target_price = position.best_price = None
    position.closing = position.forced_flat = False


def settlement(position: Position, instrument: Instrument, price: Decimal) -> Decimal:
    """What a future's move to `price` pays to cash, since the price its gains were last settled at."""
    if position.quantity == 0:
        return ZERO
    return position.quantity * (price - position.last_price) * instrument.multiplier


def _shown(price: Decimal, instrument: Instrument) -> str:
    """A price with the decimals of its instrument's price step; in full where there is no step."""
    places = instrument.price_places
    return f"{price.normalize():f}" if places is None else f"{price:.{places}f}"


def _tell(fill: Fill, order: Order) -> None:
    word, symbol = "Bought" if fill.quantity > 0 else "Sold", order.instrument.symbol
    if order.purpose != Order.Purpose.DECISION:
        word = f"{order.get_purpose_display().capitalize()}: {word.lower()}"
    record(
        "order.filled",
        f"{word} {abs(fill.quantity).normalize():f} {symbol} at {_shown(fill.price, order.instrument)}",
        actor=order.book.name,
        subject=f"order:{order.pk}",
        data={"commission": str(fill.commission), "slippage": str(fill.slippage), "time": fill.time.isoformat()},
    )
    notify("fill", book=order.book_id, instrument=order.instrument_id)


@dataclass(frozen=True)
class Valuation:
    """What a book is worth, in account currency. A future's gains are in cash: its value counts as exposure only."""

    cash: Decimal
    market_value: Decimal  # of what was paid for
    net: Decimal  # value of all positions, signed
    gross: Decimal  # absolute value of all positions

    @property
    def equity(self) -> Decimal:
        """Cash plus market value."""
        return self.cash + self.market_value


def value_book(book: Book) -> Valuation:
    """Value a book at the last close of each of its positions."""
    cash = Book.objects.values_list("cash", flat=True).get(pk=book.pk)
    held = list(Position.objects.filter(book=book).exclude(quantity=0).select_related("instrument"))
    values = [p.quantity * p.last_price * p.instrument.multiplier for p in held]
    paid_for = [value for p, value in zip(held, values, strict=True) if not p.instrument.settled_daily]
    return Valuation(cash, sum(paid_for, ZERO), sum(values, ZERO), sum((abs(value) for value in values), ZERO))


def mark(book: Book, instrument: Instrument, *, time: datetime, close: Decimal) -> EquitySnapshot:
    """Value a book of one instrument at the close of the bar that began at `time`: ``mark_all`` for one."""
    return mark_all(book, {instrument: close}, time=time)


@transaction.atomic
def mark_all(book: Book, closes: Mapping[Instrument, Decimal], *, time: datetime) -> EquitySnapshot:
    """Value a book at the closes of the bar that began at `time` and store it once.

    closes: of all its instruments that have that bar; what else it holds counts at its last close.
    A second call for the same bar returns the stored snapshot and changes nothing.
    """
    book = Book.objects.select_for_update().get(pk=book.pk)
    stored = EquitySnapshot.objects.filter(book=book, time=time).first()
    if stored:
        return stored
    by_pk = {instrument.pk: (instrument, close) for instrument, close in closes.items()}
    for position in Position.objects.select_for_update().filter(book=book, instrument__in=by_pk).order_by("pk"):
        _see_close(book, position, *by_pk[position.instrument_id], time)
    worth = value_book(book)
    book.peak_equity = max(book.peak_equity, worth.equity)
    book.save(update_fields=["peak_equity"])
    exposure = float(worth.net / worth.equity) if worth.equity > 0 else 0.0
    snapshot = EquitySnapshot.objects.create(
        time=time,
        book=book,
        cash=worth.cash,
        equity=worth.equity,
        exposure=exposure,
        drawdown=float(1 - worth.equity / book.peak_equity) if book.peak_equity > 0 else 0.0,
    )
    notify("equity", book=book.pk)
    return snapshot


def _see_close(book: Book, position: Position, instrument: Instrument, close: Decimal, time: datetime) -> None:
    """One more close of a locked position; a future's gain or loss of the bar goes to cash, or comes from it."""
    if position.quantity != 0:
        position.age_bars += 1
        if instrument.settled_daily:
            Book.objects.filter(pk=book.pk).update(cash=F("cash") + settlement(position, instrument, close))
    position.last_price, position.last_time = close, time
    position.save(update_fields=["age_bars", "last_price", "last_time"])


@transaction.atomic
def cancel_order(order: Order, *, code: str, reason: str, actor: str = "system") -> bool:
    """Cancel what is left of an open order. Returns: False if it was no longer open."""
    changed = Order.objects.filter(pk=order.pk, status__in=Order.OPEN).update(
        status=Order.Status.CANCELED, reason_code=code, reason=reason[:240], updated_at=timezone.now()
    )
    if changed:
        record(
            "order.canceled",
            f"Order {order.client_order_id} canceled: {reason}",
            actor=actor,
            subject=f"order:{order.pk}",
        )
        notify("order", book=order.book_id)
    return bool(changed)


@dataclass(frozen=True)
class AfterSplit:
    """A position after a split; its worth is what it was."""

    quantity: Decimal  # signed, whole lots
    average_price: Decimal
    fraction: Decimal  # signed units below one lot, which brokers pay out in cash


def apply_split(
    quantity: Decimal, average_price: Decimal, ratio: Decimal, lot_size: Decimal = Decimal(1)
) -> AfterSplit:
    """A position at the start of a split's ex date: quantity times `ratio` (new units for one old), price over it.

    Prices kept with the position, such as the last close, are divided in the same way; cash, results and peaks stay.
    Raises: ValueError for a ratio or lot that is not above 0.
    """
    if ratio <= 0 or lot_size <= 0:
        raise ValueError(f"ratio {ratio} and lot {lot_size} must be above 0: a 2:1 split has ratio 2, a 1:10 split 0.1")
    exact = quantity * ratio
    lots = (exact / lot_size).to_integral_value()
    if abs(exact - lots * lot_size) > abs(exact) * _RATIO_ERROR:
        lots = (exact / lot_size).to_integral_value(ROUND_DOWN)
    whole = lots * lot_size
    fraction = ZERO if abs(exact - whole) <= abs(exact) * _RATIO_ERROR else exact - whole
    average = (average_price / ratio).quantize(PLACES) if whole else ZERO
    return AfterSplit(whole.quantize(PLACES), average, fraction.quantize(PLACES))


def apply_dividend(quantity: Decimal, per_unit: Decimal, multiplier: Decimal = Decimal(1)) -> Decimal:
    """Cash a dividend brings to whoever holds `quantity` at the last close before its ex date; a short position pays.

    It is booked on the ex date, together with the fall of the price, so that equity does not dip until pay day.
    Raises: ValueError for a dividend that is not above 0.
    """
    if per_unit <= 0:
        raise ValueError(f"the dividend is {per_unit} a unit, expected above 0")
    return (quantity * per_unit * multiplier).quantize(PLACES)
