"""The paper broker: an exchange of our own that takes a book through each bar by the simulation kernel.

Training, backtest and this broker share one function for what happens in a bar (`kernel.advance`); here its result is
booked in the ledger, in Decimal, once.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from django.db import transaction
from django.utils import timezone

from core.brokers import paper_booking as booking
from core.brokers.paper_bar import Before, Leg, Overnight, live_through, must_close_all
from core.closed_bar import ClosedBar
from core.models import Book, Fill, Instrument, Order, Position
from core.notices import notify
from core.simulation.rules import MarketRules


@dataclass(frozen=True)
class PaperBroker:
    """An exchange of our own. Its state is the ledger, so a crash loses nothing.

    rules: one for every instrument, or each instrument's in the account's order. What concerns the whole account
    (leverage, ruin, margin call, interest) is read from the first one's.
    """

    rules: MarketRules | Mapping[Instrument, MarketRules]

    def submit(self, order: Order) -> None:
        """Accept an approved order once; a second call finds it accepted and does nothing."""
        changed = Order.objects.filter(pk=order.pk, status=Order.Status.APPROVED).update(
            status=Order.Status.ACCEPTED, submitted_at=timezone.now(), updated_at=timezone.now()
        )
        if changed:
            notify("order", book=order.book_id)

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
        """Take a book through a bar of its one instrument: ``on_bars`` for one."""
        nights = None if overnight is None else {instrument: overnight}
        orders = {} if order is None else {instrument: order}
        return self.on_bars(book, {instrument: bar}, orders, n_days=n_days, overnight=nights, protect=protect)

    @transaction.atomic
    def on_bars(
        self,
        book: Book,
        bars: Mapping[Instrument, ClosedBar],
        orders: Mapping[Instrument, Order | None],
        *,
        n_days: int | Mapping[Instrument, int] = 0,
        overnight: Mapping[Instrument, Overnight] | None = None,
        protect: bool = True,
    ) -> list[Fill]:
        """Take a book through a bar: the night's interest, accepted orders at the open, then protective levels.

        bars: of one moment, in the account's order where the broker has one rule for all. What the book holds beside
        them counts at its last price, in equity and exposure, and is left alone. orders: decided before the bar, or
        None; what the market or cash refuses of them is canceled. n_days: calendar days since the session of the
        book's last bar, 0 within a session; interest counts the first instrument's. overnight: what was held before
        the splits booked for this bar, where there are some. protect: whether levels and forced closes may trade.
        To be called once a bar, in the transaction that says so; an instrument that has seen the bar is passed over.
        Returns: the fills, those at the open first. Raises: ValueError for bars of two moments, for an order of
        another book or instrument, and for rules that are missing or do not fit the instrument; nothing is booked.
        """
        bars, time = self._in_order(bars), _moment_of(bars)
        _refuse_foreign(book, bars, orders)
        # Book, then positions, then orders: the ledger's order of locks.
        book = Book.objects.select_for_update().get(pk=book.pk)
        positions = _positions_of(book)
        seen = {pk for pk, row in positions.items() if row.last_time is not None and row.last_time >= time}
        due = [instrument for instrument in bars if instrument.pk not in seen]
        if not due:
            return []
        waiting = _still_open([orders.get(instrument) for instrument in due], time)
        legs = [
            Leg(
                instrument, positions.get(instrument.pk), self._rules_of(instrument), bars[instrument],
                waiting.get(instrument.pk), _days(n_days, instrument), (overnight or {}).get(instrument),
            )
            for instrument in due
        ]  # fmt: skip
        interest_due = legs[0].n_days > 0 and not seen and not booking.interest_booked(book, time)
        before = self._before(book, legs, positions, interest_due=interest_due)
        return booking.book_bar(book, legs, before, live_through(legs, before, protect=protect))

    def _before(
        self, book: Book, legs: Sequence[Leg], positions: Mapping[int, Position], *, interest_due: bool
    ) -> Before:
        """The book as it stands, with what it holds beside the legs."""
        pks = {leg.instrument.pk for leg in legs}
        rules = {pk: self._known_rules(row.instrument) for pk, row in positions.items()}
        return Before(
            cash=float(book.cash),
            start_cash=float(book.start_cash),
            rules=self.rules if isinstance(self.rules, MarketRules) else next(iter(self.rules.values())),
            standing=[row for pk, row in positions.items() if row.quantity != 0 and pk not in pks],
            called=must_close_all(positions.values(), rules),
            interest_due=interest_due,
        )

    def _in_order(self, bars: Mapping[Instrument, ClosedBar]) -> dict[Instrument, ClosedBar]:
        """The bars in the account's order. Raises: ValueError for rules that are missing or do not fit."""
        for instrument in bars:
            self._rules_of(instrument)
        if isinstance(self.rules, MarketRules):
            return dict(bars)
        return {instrument: bars[instrument] for instrument in self.rules if instrument in bars}

    def _known_rules(self, instrument: Instrument) -> MarketRules | None:
        return self.rules if isinstance(self.rules, MarketRules) else self.rules.get(instrument)

    def _rules_of(self, instrument: Instrument) -> MarketRules:
        """Its rules; the ledger counts by the instrument's row, so the two must say the same."""
        rules = self._known_rules(instrument)
        if rules is None:
            raise ValueError(f"no rules for {instrument.symbol}: give the broker those of every instrument")
        multiplier, settled = float(instrument.multiplier), instrument.settled_daily
        if (rules.multiplier, rules.settled_daily) != (multiplier, settled):
            raise ValueError(
                f"rules of {instrument.symbol} say multiplier {rules.multiplier:g} and settled daily "
                f"{rules.settled_daily}, the instrument {multiplier:g} and {settled}: correct one of them"
            )
        return rules


def _moment_of(bars: Mapping[Instrument, ClosedBar]) -> datetime:
    times = sorted({bar.time for bar in bars.values()})
    if len(times) != 1:
        raise ValueError(f"bars begin at {', '.join(map(str, times)) or 'no time'}, expected one moment for all")
    return times[0]


def _refuse_foreign(
    book: Book, bars: Mapping[Instrument, ClosedBar], orders: Mapping[Instrument, Order | None]
) -> None:
    for instrument, order in orders.items():
        if instrument not in bars:
            raise ValueError(f"an order for {instrument.symbol} arrived without its bar: pass both or none")
        if order is not None and (order.book_id, order.instrument_id) != (book.pk, instrument.pk):
            raise ValueError(f"order {order.client_order_id} is not one of {book} for {instrument.symbol}")


def _days(n_days: int | Mapping[Instrument, int], instrument: Instrument) -> int:
    if isinstance(n_days, int):
        return n_days
    if instrument not in n_days:
        raise ValueError(f"n_days lacks {instrument.symbol}: give the days of every instrument, 0 within a session")
    return n_days[instrument]


def _positions_of(book: Book) -> dict[int, Position]:
    """All positions of the book, locked, by instrument id."""
    rows = Position.objects.select_for_update(of=("self",)).filter(book=book).select_related("instrument")
    return {row.instrument_id: row for row in rows.order_by("pk")}


def _still_open(orders: Iterable[Order | None], time: datetime) -> dict[int, Order]:
    """Those orders, locked, that may still be carried out in the bar of that time, by instrument id."""
    wanted = [order.pk for order in orders if order is not None]
    rows = Order.objects.select_for_update().filter(
        pk__in=wanted, status__in=(Order.Status.ACCEPTED, Order.Status.PARTIALLY_FILLED), decided_at__lt=time
    )
    return {row.instrument_id: row for row in rows.order_by("pk")} if wanted else {}
