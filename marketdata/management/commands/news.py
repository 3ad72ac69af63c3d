"""`manage.py news [SYMBOL ...]`: look for news now, score it, and say what came."""

import json
from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.commands import DeskCommand
from core.models import Instrument
from marketdata.models import NewsItem
from marketdata.news.refresh import refresh

N_SHOWN = 10


class Command(DeskCommand):
    help = "Ask feeds and Yahoo for news, store what is new and score its tone."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("symbols", nargs="*", metavar="SYMBOL", help="Only these; else all that come from Yahoo.")
        parser.add_argument("--json", action="store_true", help="Print the result as JSON.")

    def handle(self, *args: Any, **options: Any) -> None:
        symbols = options["symbols"]
        known = set(Instrument.objects.filter(symbol__in=symbols).values_list("symbol", flat=True))
        if unknown := sorted(set(symbols) - known):
            raise CommandError(f"there is no instrument {', '.join(unknown)}")
        found = refresh(symbols or None)
        if options["json"]:
            self.stdout.write(json.dumps(vars(found)))
            return
        self.stdout.write(f"{found.n_new} new headlines, {found.n_scored} scored")
        for problem in found.problems:
            self.stdout.write(f"problem: {problem}")
        for item in NewsItem.objects.prefetch_related("scores", "instruments")[:N_SHOWN]:
            tone = next((f"{score.score:+.2f}" for score in item.scores.all()), "    –")
            names = ", ".join(instrument.symbol for instrument in item.instruments.all()) or "–"
            self.stdout.write(f"{item.time:%Y-%m-%d %H:%M}  {tone}  {names}: {item.title}")
