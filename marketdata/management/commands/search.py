"""`manage.py search TEXT --source yahoo`: instruments a source knows."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.commands import DeskCommand
from marketdata.sources import registry
from marketdata.sources.base import SourceError


class Command(DeskCommand):
    help = "Search a source for instruments by symbol or name."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("text", help="Symbol or a part of the name.")
        parser.add_argument("--source", choices=list(registry.names()), default="yahoo")
        parser.add_argument("--limit", type=int, default=10, help="At most so many; default 10.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["limit"] < 1:
            raise CommandError(f"--limit is {options['limit']}, expected at least 1")
        try:
            found = registry.source(options["source"]).search(options["text"], options["limit"])
        except SourceError as error:
            raise CommandError(str(error)) from error
        for one in found:
            words = " · ".join(filter(None, (one.asset_class, one.exchange, one.currency, one.calendar)))
            self.stdout.write(f"{one.symbol:<12} {one.name}  ({words})")
        if not found:
            self.stdout.write(f"{registry.names()[options['source']]} knows nothing like {options['text']!r}")
