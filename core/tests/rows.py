"""Tiny builders of ledger rows for tests: one account, one book, one instrument, orders on days of June 2011."""

from datetime import UTC, datetime
from decimal import Decimal
from itertools import count

from core.models import Account, Book, Instrument, Order

_numbers = count(1)


def day(number: int) -> datetime:
    """The bar of that day of June 2011."""
    return datetime(2011, 6, number, tzinfo=UTC)


def instrument(symbol: str = "AAPL", **values: object) -> Instrument:
    """A stock with a tick of one cent, unless told otherwise."""
    return Instrument.objects.create(symbol=symbol, name=symbol, asset_class="stock", **values)


def book(cash: str = "10000", name: str = "book", account: Account | None = None) -> Book:
    """A book that has never traded."""
    account = account or Account.objects.get_or_create(name="main")[0]
    return Book.objects.create(
        account=account, name=name, start_cash=Decimal(cash), cash=Decimal(cash), peak_equity=Decimal(cash)
    )


def order(book: Book, instrument: Instrument, quantity: str, *, status: str = "accepted", decided: int = 1) -> Order:
    """An order for a signed quantity."""
    signed = Decimal(quantity)
    return Order.objects.create(
        book=book,
        instrument=instrument,
        client_order_id=f"test-{next(_numbers)}",
        decided_at=day(decided),
        side="buy" if signed > 0 else "sell",
        quantity_asked=abs(signed),
        quantity=abs(signed),
        status=status,
    )
