"""`manage.py make_bars SYMBOL FROM TO`: longer bars made of stored shorter ones; they follow from then on."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from core import journal
from core.commands import DeskCommand
from core.models import Instrument
from core.notices import notify
from marketdata.bar_store import make_bars
from marketdata.intervals import parse, words


class Command(DeskCommand):
    help = "Make longer bars of stored shorter ones, such as days of minutes; new bars then keep them up to date."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("symbol", help="Of the instrument.")
        parser.add_argument("from_interval", metavar="from", help="Of the stored bars, such as 1m.")
        parser.add_argument("to_interval", metavar="to", help="Of the bars to make, such as 5m or 1d.")

    def handle(self, *args: Any, **options: Any) -> None:
        instrument = Instrument.objects.filter(symbol__iexact=options["symbol"]).first()
        if instrument is None:
            raise CommandError(f"there is no instrument {options['symbol']!r}")
        try:
            shorter, longer = parse(options["from_interval"]), parse(options["to_interval"])
            n_made = make_bars(instrument, shorter, longer)
        except ValueError as error:
            raise CommandError(str(error)) from error
        message = f"{instrument.symbol}: {n_made:,} bars of {words(longer)} made of those of {words(shorter)}"
        journal.record("data.made", message, actor="command line", subject=f"instrument:{instrument.pk}")
        notify("bar", instrument=instrument.pk)
        self.stdout.write(message)
