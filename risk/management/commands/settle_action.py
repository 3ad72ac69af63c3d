"""`manage.py settle_action BOOK SYMBOL DATE KIND "reason"`: a book is right without this late split or dividend."""

from argparse import ArgumentTypeError
from datetime import date
from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.commands import DeskCommand
from core.models import Book
from core.operators import terminal_actor
from marketdata.models import CorporateAction
from risk.settling import settle


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is no date, expected one like 2026-06-05") from error


class Command(DeskCommand):
    help = (
        "Settle a split or dividend that was stored too late to be booked: nothing is changed, and the book may "
        "trade again. Check its position first."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("book", help="Name of the book.")
        parser.add_argument("symbol", help="The instrument.")
        parser.add_argument("ex_date", type=_day, help="Its ex date, such as 2026-06-05.")
        parser.add_argument("kind", choices=CorporateAction.Kind.values)
        parser.add_argument("reason", help="Why the book is right as it is; it is kept in the journal.")
        parser.add_argument("--account", help="Name of the account, where books of several have this name.")

    def handle(self, *args: Any, **options: Any) -> None:
        books = Book.objects.filter(name=options["book"])
        if options["account"]:
            books = books.filter(account__name=options["account"])
        if len(books) != 1:
            raise CommandError(
                f"{len(books)} books are called {options['book']!r}; name one, with --account if need be"
            )
        action = CorporateAction.objects.filter(
            instrument__symbol=options["symbol"], ex_date=options["ex_date"], kind=options["kind"]
        ).first()
        if action is None:
            raise CommandError(f"no {options['kind']} of {options['symbol']} on {options['ex_date']} is stored")
        try:
            settle(books[0], action, actor=terminal_actor(), reason=options["reason"])
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Settled: {options['book']} is right without {action}.")
