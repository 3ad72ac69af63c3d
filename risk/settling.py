"""A person's word on a split or dividend that was stored too late to be booked."""

from django.db import transaction

from core.journal import record
from core.models import Book, EquitySnapshot, Event, Position
from marketdata.models import CorporateAction
from risk.models import BookedAction


@transaction.atomic
def settle(book: Book, action: CorporateAction, *, actor: str, reason: str) -> BookedAction:
    """Count an action as booked without changing anything: the book is right as it is. Then it may trade again.

    Raises: ValueError without a reason, for an action booked before or one whose day the book has not traded yet.
    """
    if not reason.strip():
        raise ValueError("say why the book is right as it is: it goes into the journal")
    Book.objects.select_for_update().get(pk=book.pk)
    if BookedAction.objects.filter(
        book=book, instrument=action.instrument_id, ex_date=action.ex_date, kind=action.kind
    ).exists():
        raise ValueError(f"the {action.kind} of {action.ex_date} is booked in {book.name} already")
    last = EquitySnapshot.objects.filter(book=book).order_by("time").last()
    if last is None or last.time.date() < action.ex_date:
        raise ValueError(f"{book.name} has not traded {action.ex_date} yet: it will be booked by itself")
    position = Position.objects.select_for_update().filter(book=book, instrument=action.instrument_id).first()
    held = position.quantity if position else 0
    row = BookedAction.objects.create(
        book=book, instrument_id=action.instrument_id, ex_date=action.ex_date, kind=action.kind, value=action.value,
        time=last.time, quantity_before=held, quantity_after=held, applied=False,
    )  # fmt: skip
    record(
        "position.action_settled",
        f"The {action} changes nothing in {book.name}: {reason}",
        level=Event.Level.ATTENTION,
        actor=actor,
        subject=f"instrument:{action.instrument_id}",
        data={"value": action.value, "held": str(held)},
    )
    return row
