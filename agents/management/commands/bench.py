"""`manage.py bench [NAME]`: measure on this machine; one JSON line per figure."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from agents.benches import BENCHES
from core.commands import DeskCommand


class Command(DeskCommand):
    help = "Measure ours against a peer in one run and print JSON: value, unit, baseline, ratio."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", nargs="?", help=f"One of {', '.join(BENCHES)}; all when left out.")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        if name is not None and name not in BENCHES:
            raise CommandError(f"there is no bench {name!r}; there are {', '.join(BENCHES)}")
        for bench in [BENCHES[name]] if name else BENCHES.values():
            for measurement in bench():
                self.stdout.write(measurement.to_json())
