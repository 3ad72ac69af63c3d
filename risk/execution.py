"""Between the gate and the broker: the only place that hands orders over, and the only one that may."""

import math
from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings
from django.db import transaction

from core.brokers.base import Broker
from core.brokers.paper import PaperBroker
from core.brokers.paper_bar import overnight_of
from core.closed_bar import ClosedBar
from core.jobs import JobFailedError
from core.journal import record
from core.ledger import cancel_order, to_money, value_book
from core.models import Account, Book, Event, Fill, Instrument, Order, Position
from core.notices import notify
from core.simulation.rules import MarketRules
from marketdata import data_health
from marketdata.models import Bar
from risk import gate, kill_switch
from risk.corporate_actions import BookActions
from risk.models import Limits

# Denied bar after bar for one and the same reason: one line in the journal says it.
SAID_ONCE = ("KILL_SWITCH", "DATA_FAULT")


@dataclass(frozen=True)
class Wish:
    """What an agent wants to hold after its decision on one closed bar."""

    client_order_id: str
    quantity: float
    bar: ClosedBar
    bars_behind: int | None
    closing_on_kill: bool = False
    forced: bool = False  # ruin, a margin call or the time stop closes, not a decision


class Execution:
    """One book's way to the market: judge, store the intent, send, fill."""

    def __init__(self, book: Book, instrument: Instrument, rules: MarketRules, *, interval_seconds: int) -> None:
        """interval_seconds: of the series the agent decides on; a fault of it stops trading."""
        self.book, self.instrument, self.rules = book, instrument, rules
        self.interval_seconds = interval_seconds
        self.actions = BookActions(book, instrument, interval_seconds)
        self.account = Account.objects.get(pk=book.account_id)
        self._broker: Broker = self._choose_broker()

    def _choose_broker(self) -> Broker:
        if self.account.mode != Account.Mode.PAPER:
            raise JobFailedError(
                f"account {self.account.name} is set to {self.account.mode}, and this desk has only the paper broker; "
                "set it back to paper"
            )
        return PaperBroker(self.rules)

    def held(self) -> float:
        """Signed quantity held now."""
        position = self._position()
        return float(position.quantity) if position else 0.0

    def _position(self) -> Position | None:
        return Position.objects.filter(book=self.book, instrument=self.instrument).first()

    def forced_flat(self) -> bool:
        """Whether a margin call, ruin or the time stop closes the position, whatever is decided."""
        held = Position.objects.filter(book=self.book, instrument=self.instrument, forced_flat=True)
        return held.exclude(quantity=0).exists()

    def judge(self, wish: Wish) -> gate.Verdict:
        """Ask the gate, with the state of this moment; inside the transaction that stores the intent."""
        # The lock makes the account's agents ask one after the other, so that two of them cannot share out the same
        # room twice. Not the account's row: the kill switch must never wait for an agent.
        limits = Limits.objects.select_for_update().filter(account=self.account).first()
        return gate.judge(self._intent(wish), _gate_limits(limits))

    def _intent(self, wish: Wish) -> gate.Intent:
        return gate.Intent(
            quantity_held=self.held(),
            quantity_wanted=wish.quantity,
            price=wish.bar.close,
            multiplier=float(self.instrument.multiplier),
            lot=self.rules.lot,
            book_equity=float(value_book(self.book).equity),
            account_equity=float(sum(value_book(book).equity for book in self.account.books.all())),
            gross_elsewhere=self._gross_elsewhere(),
            bars_behind=wish.bars_behind,
            kill_switch_engaged=kill_switch.is_engaged(self.account),
            closing_on_kill=wish.closing_on_kill,
            live=self.account.mode == Account.Mode.LIVE,
            live_allowed=settings.LIVE_TRADING_ALLOWED,
            data_fault=self._data_fault(wish.bar),
        )

    def _may_protect(self, bar: ClosedBar) -> bool:
        """Whether the gate would let this bar close the position: what levels and forced closes need to trade."""
        position = self._position()
        if position is None or position.quantity == 0:
            return True  # what is bought at this open was allowed with its levels
        if not (self.rules.protects or position.closing or position.forced_flat):
            return True
        limits = Limits.objects.filter(account=self.account).first()
        intent = self._intent(Wish("", 0.0, bar, bars_behind=0))
        return gate.judge(intent, _gate_limits(limits)).verdict == "approved"

    def _data_fault(self, bar: ClosedBar) -> str:
        """What is wrong with the series, or not booked of it, and stops trading on it; "" for nothing."""
        faults = data_health.blocking(self.instrument.pk, self.interval_seconds)
        found = [fault.detail for fault in faults] + [self.actions.fault(bar.time)]
        return "; ".join(filter(None, found))

    def _gross_elsewhere(self) -> float:
        """Absolute value of the account's other positions, each as large as its open orders may make it.

        NaN, which the gate denies, if an instrument to be bought has no price yet.
        """
        positions = Position.objects.filter(book__account=self.account).select_related("instrument")
        held = {(p.book_id, p.instrument_id): p for p in positions}
        orders = list(
            Order.objects.filter(book__account=self.account, status__in=Order.OPEN).select_related("instrument")
        )
        pairs = set(held) | {(o.book_id, o.instrument_id) for o in orders}
        total = 0.0
        for pair in pairs - {(self.book.pk, self.instrument.pk)}:
            waiting = [order for order in orders if (order.book_id, order.instrument_id) == pair]
            total += _largest_value(held.get(pair), waiting)
        return total

    def store_intent(self, wish: Wish, verdict: gate.Verdict, *, decision_id: int | None) -> Order | None:
        """Write the judged intent as an order, denied ones too. Must be committed before `send`.

        Returns: the order to send, or None when nothing is to be sent.
        """
        if verdict.verdict == "no_order":
            return None
        held, denied = self.held(), verdict.verdict == "denied"
        asked, allowed = wish.quantity - held, verdict.quantity_allowed - held
        order, created = Order.objects.get_or_create(
            client_order_id=wish.client_order_id,
            defaults={
                "book": self.book,
                "instrument": self.instrument,
                "decision_id": decision_id,
                "decided_at": wish.bar.time,
                "side": Order.Side.BUY if asked > 0 else Order.Side.SELL,
                "quantity_asked": to_money(abs(asked)),
                "quantity": Decimal(0) if denied else to_money(abs(allowed)),
                "status": Order.Status.DENIED if denied else Order.Status.APPROVED,
                "purpose": Order.Purpose.FORCE if wish.forced else Order.Purpose.DECISION,
                "reason_code": verdict.reason_code,
                "reason": verdict.reason[:240],
            },
        )
        if created and denied and not self._told_before(order):
            message = f"Order for {abs(asked):g} {self.instrument.symbol} denied: {verdict.reason}"
            level = Event.Level.ATTENTION
            record("order.denied", message, level=level, actor=self.book.name, subject=f"order:{order.pk}")
        notify("order", book=self.book.pk)
        return None if denied else order

    def _told_before(self, order: Order) -> bool:
        """Whether the order before this one was stopped for the same lasting reason, which the journal knows."""
        before = (
            Order.objects.filter(book=self.book, instrument=self.instrument, pk__lt=order.pk).order_by("-pk").first()
        )
        lasting = order.reason_code in SAID_ONCE
        return lasting and before is not None and before.reason_code == order.reason_code

    @transaction.atomic
    def send(self, order: Order) -> None:
        """Hand a committed order to the broker, unless it was canceled or trading was stopped in the meantime."""
        order.refresh_from_db(from_queryset=Order.objects.select_for_update())
        if order.status == Order.Status.APPROVED and not self._canceled_by_kill(order):
            self._broker.submit(order)

    def _canceled_by_kill(self, order: Order) -> bool:
        """Cancel an order that must not go on because trading is stopped; only what closes a position may, if asked."""
        state = kill_switch.state(self.account)
        if state is None or not state.engaged:
            return False
        if state.close_positions and self.held() == -float(order.signed_quantity):
            return False
        cancel_order(order, code="KILL_SWITCH", reason="trading was stopped", actor=state.actor)
        return True

    def send_unsent(self) -> int:
        """After a crash: send what was committed but not sent. Returns: how many."""
        unsent = Order.objects.filter(book=self.book, instrument=self.instrument, status=Order.Status.APPROVED)
        for order in unsent:
            self.send(order)
        return len(unsent)

    def on_bar(self, bar: ClosedBar, *, n_days: int = 0) -> list[Fill]:
        """Book splits and dividends due, then let the broker take the book through the bar.

        n_days: calendar days since the session of the book's last bar, for interest; 0 within a session.
        """
        overnight = overnight_of(self._position())
        self.actions.book_due(bar, self.rules.lot)
        open_orders = Order.objects.filter(
            book=self.book, instrument=self.instrument, status__in=Order.OPEN, decided_at__lt=bar.time
        )
        # Asked once more: nothing trades on this desk's own exchange after trading was stopped.
        allowed = [order for order in open_orders.order_by("id") if not self._canceled_by_kill(order)]
        for old in allowed[:-1]:
            cancel_order(old, code="REPLACED", reason="a newer order says what to hold")
        order = allowed[-1] if allowed else None
        return self._broker.on_bar(
            self.book, self.instrument, bar, order, n_days=n_days, overnight=overnight, protect=self._may_protect(bar),
        )  # fmt: skip


def _gate_limits(limits: Limits | None) -> gate.GateLimits | None:
    if limits is None:
        return None
    return gate.GateLimits(limits.max_position_weight, limits.max_gross_exposure, limits.max_bars_behind)


def _largest_value(position: Position | None, waiting: list[Order]) -> float:
    """Absolute value of a position after whichever of its open orders make it largest."""
    quantity = position.quantity if position else Decimal(0)
    rests = [(order.quantity - order.filled_quantity, order.side) for order in waiting]
    bought = quantity + sum(rest for rest, side in rests if side == Order.Side.BUY)
    sold = quantity - sum(rest for rest, side in rests if side == Order.Side.SELL)
    largest = max(abs(quantity), abs(bought), abs(sold))
    if largest == 0:
        return 0.0
    instrument = position.instrument if position else waiting[0].instrument
    price = float(position.last_price) if position else _close_when_decided(waiting[-1])
    return float(largest * instrument.multiplier) * price


def _close_when_decided(order: Order) -> float:
    """Close of the bar an order was decided on; NaN if that bar is not stored."""
    bar = Bar.objects.filter(instrument_id=order.instrument_id, time=order.decided_at).first()
    return bar.close if bar else math.nan
