"""Splits and dividends of what a book holds: booked once each, before anything trades in the bar they belong to.

That bar is the first that begins on or after the ex date, the one at which forward-adjusted prices have their step and
at which the simulation kernel does the same (`begin_session`). An action stored only after that bar was dealt with is
late. It is booked at the next bar, with a line that asks for attention, where it is beyond doubt what was held: always
for a dividend, for a split as long as nothing has traded since. A late split on a book that has traded since is not
booked: the gate denies every order until an operator has settled it (`manage.py settle_action`).
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from math import prod

from django.db import transaction
from django.db.models import Exists, F, OuterRef

from core.closed_bar import ClosedBar
from core.journal import record
from core.ledger import PLACES, ZERO, apply_dividend, apply_split, cancel_order, clear_when_flat, to_money
from core.models import Book, EquitySnapshot, Event, Fill, Instrument, Order, Position
from core.notices import notify
from marketdata.adjusted import SPLIT, day_start
from marketdata.corporate import day_zone
from marketdata.models import CorporateAction
from risk.models import BookedAction


@dataclass
class BookActions:
    """What companies do to the shares of one instrument in one book."""

    book: Book
    instrument: Instrument
    interval_seconds: int
    _first: datetime | None = None  # the book's first bar: what was before it concerns nobody

    @transaction.atomic
    def book_due(self, bar: ClosedBar, lot: float) -> list[BookedAction]:
        """Book what has become due since the bar before; nothing of `bar` may have traded yet.

        bar: as traded; its open is what fractions below `lot` are paid out at.
        Returns: what was booked, also where nothing was held. A second call for the same bar books nothing.
        """
        due = self._unbooked(bar.time)
        if not due:
            return []
        Book.objects.select_for_update().get(pk=self.book.pk)
        due = self._unbooked(bar.time)  # another process may have waited for the same lock
        before = EquitySnapshot.objects.filter(book=self.book, time__lt=bar.time).latest("time").time
        late = [action for action in due if self.start(action) <= before]
        if not late:
            return self._book(due, bar, lot, late=False)
        if not self._moved_since(self.start(late[0])):
            return self._book(due, bar, lot, late=True)
        return self._book_what_is_certain(due, late, bar, lot)

    def fault(self, until: datetime) -> str:
        """Why nothing may trade after the bar that began at `until`; "" where everything is booked."""
        waiting = self._unbooked(until)
        if not waiting:
            return ""
        first = waiting[0]
        return (
            f"the {first.kind} of {first.ex_date} ({first.value:g}) was stored after that day had been traded and is "
            "not booked: a person must settle it (manage.py settle_action)"
        )

    def start(self, action: CorporateAction) -> datetime:
        """When the ex date begins."""
        zone = day_zone(self.instrument, self.interval_seconds)
        return datetime.fromtimestamp(day_start(action.ex_date, zone), UTC)

    def _unbooked(self, until: datetime) -> list[CorporateAction]:
        """Actions with an ex date after the book's first bar, up to this one, that are not booked; oldest first."""
        booked = BookedAction.objects.filter(
            book=self.book, instrument=self.instrument, ex_date=OuterRef("ex_date"), kind=OuterRef("kind")
        )
        rows = CorporateAction.objects.filter(~Exists(booked), instrument=self.instrument, in_prices=False)
        latest = (until + timedelta(days=1)).date()  # wherever the exchange is, its day is no later
        rows = rows.filter(ex_date__lte=latest)
        if self._first is not None:
            rows = rows.filter(ex_date__gte=(self._first - timedelta(days=1)).date())
        found = list(rows)
        if found and self._first is None:
            oldest = EquitySnapshot.objects.filter(book=self.book).order_by("time").first()
            self._first = oldest.time if oldest else None
        if self._first is None:
            return []
        found = [action for action in found if self._first < self.start(action) <= until]
        return sorted(found, key=lambda action: (action.ex_date, action.kind != SPLIT))

    def _moved_since(self, moment: datetime) -> bool:
        """Whether the quantity held has changed since: by a fill, or by a split that was booked in time."""
        mine = {"book": self.book, "instrument": self.instrument, "time__gte": moment}
        splits = BookedAction.objects.filter(kind=SPLIT, applied=True, **mine)
        return Fill.objects.filter(**mine).exists() or splits.exists()

    def _held_before(self, moment: datetime) -> Decimal:
        """Signed quantity held at the last close before a moment, in the units of then."""
        mine = {"book": self.book, "instrument": self.instrument, "time__gte": moment}
        fills = Fill.objects.filter(**mine)
        split = BookedAction.objects.filter(kind=SPLIT, applied=True, **mine).order_by("time").first()
        if split is not None:
            fills, quantity = fills.filter(time__lt=split.time), split.quantity_before
        else:
            position = self._position()
            quantity = position.quantity if position else ZERO
        return quantity - sum(fills.values_list("quantity", flat=True), ZERO)

    def _position(self) -> Position | None:
        return Position.objects.select_for_update().filter(book=self.book, instrument=self.instrument).first()

    def _book_what_is_certain(
        self, due: list[CorporateAction], late: list[CorporateAction], bar: ClosedBar, lot: float
    ) -> list[BookedAction]:
        """Where something has traded since a late action: dividends by what was held then; a split that met a
        position, and all that comes after it, waits for an operator.
        """
        booked: list[BookedAction] = []
        rest: list[CorporateAction] = []
        for number, action in enumerate(due):
            if action not in late:
                rest = due[number:]
                break
            held = self._held_before(self.start(action))
            if action.kind == SPLIT and held != 0:
                return booked
            cash = ZERO if action.kind == SPLIT else self._pay(held, _exact(action.value), action, late=True)
            # A split of nothing held is marked so: what has been bought since is in new units already.
            booked.append(self._row(action, bar, held, held, cash, applied=action.kind != SPLIT))
        return booked + (self._book(rest, bar, lot, late=False) if rest else [])

    def _book(self, due: list[CorporateAction], bar: ClosedBar, lot: float, *, late: bool) -> list[BookedAction]:
        """Splits first, as one; then dividends, those of the days before a split divided by it."""
        position = self._position()
        before = after = position.quantity if position else ZERO
        splits = [action for action in due if action.kind == SPLIT]
        ratio, fractions = _ratio(splits), ZERO
        if ratio != 1:
            after, fractions = self._split(position, ratio, bar, lot, late=late, splits=splits)
        rows = []
        for number, action in enumerate(due):
            if action.kind == SPLIT:
                cash = fractions if action is splits[-1] else ZERO
            else:
                per_unit = _exact(action.value) / _ratio([other for other in due[number:] if other.kind == SPLIT])
                cash = self._pay(after, per_unit, action, late=late)
            rows.append(self._row(action, bar, before, after, cash))
        return rows

    def _split(
        self,
        position: Position | None,
        ratio: Decimal,
        bar: ClosedBar,
        lot: float,
        *,
        late: bool,
        splits: list[CorporateAction],
    ) -> tuple[Decimal, Decimal]:
        """Quantity, prices and open orders in new units. Returns: quantity, and cash for fractions of a lot."""
        held = position.quantity if position else ZERO
        self._split_orders(held, ratio, lot, bar, late=late)
        if position is None or held == 0:
            return ZERO, ZERO
        new = apply_split(held, position.average_price, ratio, _exact(lot))
        price, multiplier = to_money(bar.open), self.instrument.multiplier
        cash = (new.fraction * price * multiplier).quantize(PLACES)
        gained = new.fraction * (price - position.average_price / ratio) * multiplier
        position.quantity, position.average_price = new.quantity, new.average_price
        position.last_price = (position.last_price / ratio).quantize(PLACES)
        position.realised_result = (position.realised_result + gained).quantize(PLACES)
        for level in ("stop_price", "target_price", "best_price"):
            old = getattr(position, level)
            setattr(position, level, None if old is None else (old / ratio).quantize(PLACES))
        if new.quantity == 0:
            clear_when_flat(position)
        position.save()
        Book.objects.filter(pk=self.book.pk).update(cash=F("cash") + cash)
        paid = f", {cash:.2f} in cash for the rest" if cash else ""
        self._tell(
            splits[-1],
            f"{self._symbol} split {float(ratio):.6g} for 1: {_plain(held)} became {_plain(new.quantity)}{paid}",
            late=late,
            data={"before": str(held), "after": str(new.quantity), "cash": str(cash), "ratio": str(ratio)},
        )
        return new.quantity, cash

    def _split_orders(self, held: Decimal, ratio: Decimal, lot: float, bar: ClosedBar, *, late: bool) -> None:
        """Open orders so that they lead to the same exposure: to the quantity once decided, in new units.

        At a late split they are canceled: prices were new already when they were decided, quantities were not.
        """
        waiting = Order.objects.select_for_update(of=("self",)).filter(
            book=self.book, instrument=self.instrument, status__in=Order.OPEN, decided_at__lt=bar.time
        )
        reached, reached_new = held, _lots(held, ratio, lot)
        for order in waiting.order_by("id"):
            side = 1 if order.side == Order.Side.BUY else -1
            target = reached + side * (order.quantity - order.filled_quantity)
            target_new = _lots(target, ratio, lot)
            rest = side * (target_new - reached_new)
            if late or rest <= 0:
                reason = "its split was stored late" if late else "less than a lot is left of it after the split"
                cancel_order(order, code="SPLIT", reason=reason)
                continue
            order.quantity, order.quantity_asked = (
                order.filled_quantity + rest,
                (order.quantity_asked * ratio).quantize(PLACES),
            )
            order.save(update_fields=["quantity", "quantity_asked", "updated_at"])
            reached, reached_new = target, target_new
            notify("order", book=self.book.pk)

    def _pay(self, quantity: Decimal, per_unit: Decimal, action: CorporateAction, *, late: bool) -> Decimal:
        """A dividend into the book's cash, or out of it where the position is short."""
        if quantity == 0:
            return ZERO
        cash = apply_dividend(quantity, per_unit, self.instrument.multiplier)
        Book.objects.filter(pk=self.book.pk).update(cash=F("cash") + cash)
        Position.objects.filter(book=self.book, instrument=self.instrument).update(
            realised_result=F("realised_result") + cash
        )
        did = "received" if cash > 0 else "paid, being short"
        self._tell(
            action,
            f"{abs(cash):.2f} {did}: dividend of {float(per_unit):.6g} on {_plain(quantity)} {self._symbol}",
            late=late,
            data={"quantity": str(quantity), "per_unit": str(per_unit), "cash": str(cash)},
        )
        return cash

    def _row(
        self,
        action: CorporateAction,
        bar: ClosedBar,
        before: Decimal,
        after: Decimal,
        cash: Decimal,
        *,
        applied: bool = True,
    ) -> BookedAction:
        return BookedAction.objects.create(
            book=self.book, instrument=self.instrument, ex_date=action.ex_date, kind=action.kind, value=action.value,
            time=bar.time, quantity_before=before, quantity_after=after, cash=cash, applied=applied,
        )  # fmt: skip

    def _tell(self, action: CorporateAction, message: str, *, late: bool, data: dict[str, str]) -> None:
        note = f" (of {action.ex_date}, stored late and booked now)" if late else ""
        record(
            f"position.{action.kind}",
            message + note,
            level=Event.Level.ATTENTION if late else Event.Level.INFO,
            actor=self.book.name,
            subject=f"instrument:{self.instrument.pk}",
            data={"ex_date": action.ex_date.isoformat(), **data},
        )

    @property
    def _symbol(self) -> str:
        return self.instrument.symbol


def _exact(value: float) -> Decimal:
    return Decimal(repr(float(value)))


def _ratio(splits: list[CorporateAction]) -> Decimal:
    """Several splits as one; multiplied as floats, as the kernel's input is."""
    return _exact(prod((action.value for action in splits), start=1.0))


def _lots(quantity: Decimal, ratio: Decimal, lot: float) -> Decimal:
    return apply_split(quantity, ZERO, ratio, _exact(lot)).quantity


def _plain(quantity: Decimal) -> str:
    return f"{quantity.normalize():f}"
