"""`manage.py run_stream ID`: the process of one stream. Started by a launcher; may be run by hand as a standby."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.commands import DeskCommand
from core.jobs import hold
from marketdata.live import Live
from marketdata.models import Stream
from marketdata.replay import Replay


class Command(DeskCommand):
    help = "Run one data stream until it ends or is stopped."
    requires_system_checks = []  # checked when the desk starts; a job should be at work at once

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=int, help="Number of the stream.")

    def handle(self, *args: Any, **options: Any) -> None:
        stream = Stream.objects.filter(pk=options["id"]).first()
        if stream is None:
            raise CommandError(f"there is no stream {options['id']}")
        with hold("stream", stream.pk) as job:
            (Live if stream.is_live else Replay)(job).run()
