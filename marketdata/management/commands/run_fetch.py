"""`manage.py run_fetch ID`: the process of one fetch. Started by a launcher; may be run by hand."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.commands import DeskCommand
from core.jobs import hold
from marketdata import fetching
from marketdata.models import Fetch


class Command(DeskCommand):
    help = "Carry out one fetch of history, or go on with it."
    requires_system_checks = []  # checked when the desk starts; a job should be at work at once

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=int, help="Number of the fetch.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not Fetch.objects.filter(pk=options["id"]).exists():
            raise CommandError(f"there is no fetch {options['id']}")
        with hold("fetch", options["id"]) as job:
            fetching.run(job)
