"""Between the gate and the broker: the only place that hands orders over, and the only one that may."""

from dataclasses import dataclass
from decimal import Decimal

from django.conf import settings

from core.brokers.base import Broker
from core.brokers.paper import PaperBroker
from core.closed_bar import ClosedBar
from core.journal import record
from core.ledger import value_book
from core.models import Account, Book, Event, Fill, Instrument, Order, Position
from core.notices import notify
from core.simulation.rules import MarketRules
from risk import gate, kill_switch
from risk.models import Limits


@dataclass(frozen=True)
class Wish:
    """What an agent wants to hold after its decision on one closed bar."""

    client_order_id: str
    quantity: float
    bar: ClosedBar
    bars_behind: int | None
    closing_on_kill: bool = False


class Execution:
    """One book's way to the market: judge, store the intent, send, fill."""

    def __init__(self, book: Book, instrument: Instrument, rules: MarketRules) -> None:
        self.book, self.instrument, self.rules = book, instrument, rules
        self.account = Account.objects.get(pk=book.account_id)
        self._broker: Broker = self._choose_broker()

    def _choose_broker(self) -> Broker:
        if self.account.mode != Account.Mode.PAPER:
            raise RuntimeError(
                f"account {self.account.name} is set to {self.account.mode}, and this desk has only the paper broker; "
                "set it back to paper"
            )
        return PaperBroker(self.rules)

    def held(self) -> float:
        """Signed quantity held now."""
        position = Position.objects.filter(book=self.book, instrument=self.instrument).first()
        return float(position.quantity) if position else 0.0

    def judge(self, wish: Wish) -> gate.Verdict:
        """Ask the gate, with the state of this moment."""
        limits = Limits.objects.filter(account=self.account).first()
        intent = gate.Intent(
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
        )
        found = limits and gate.GateLimits(
            limits.max_position_weight, limits.max_gross_exposure, limits.max_bars_behind
        )
        return gate.judge(intent, found)

    def _gross_elsewhere(self) -> float:
        others = Position.objects.filter(book__account=self.account).exclude(quantity=0)
        others = others.exclude(book=self.book, instrument=self.instrument).select_related("instrument")
        return float(sum(abs(p.quantity * p.last_price * p.instrument.multiplier) for p in others))

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
                "quantity_asked": _quantity(asked),
                "quantity": Decimal(0) if denied else _quantity(allowed),
                "status": Order.Status.DENIED if denied else Order.Status.APPROVED,
                "reason_code": verdict.reason_code,
                "reason": verdict.reason[:240],
            },
        )
        if created and denied:
            message = f"Order for {abs(asked):g} {self.instrument.symbol} denied. {verdict.reason}"
            level = Event.Level.ATTENTION
            record("order.denied", message, level=level, actor=self.book.name, subject=f"order:{order.pk}")
        notify("order", book=self.book.pk)
        return None if denied else order

    def send(self, order: Order) -> None:
        """Hand a committed order to the broker, unless trading was stopped in the meantime."""
        order.refresh_from_db()
        if order.status == Order.Status.APPROVED:
            self._broker.submit(order)

    def send_unsent(self) -> int:
        """After a crash: send what was committed but not sent. Returns: how many."""
        unsent = Order.objects.filter(book=self.book, instrument=self.instrument, status=Order.Status.APPROVED)
        for order in unsent:
            self.send(order)
        return len(unsent)

    def on_bar(self, bar: ClosedBar) -> list[Fill]:
        """Let the broker carry out open orders in a bar that began after they were decided."""
        open_orders = Order.objects.filter(
            book=self.book, instrument=self.instrument, status__in=Order.OPEN, decided_at__lt=bar.time
        )
        fills = [self._broker.on_bar(order, bar) for order in open_orders.order_by("id")]
        return [fill for fill in fills if fill]


def _quantity(value: float) -> Decimal:
    return Decimal(repr(abs(value))).quantize(Decimal("0.0000000001"))
