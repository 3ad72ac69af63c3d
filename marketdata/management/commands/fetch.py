"""`manage.py fetch SYMBOL --source yahoo --interval 1d --from 2020-01-01`: history of one instrument, with progress."""

import json
import time
from argparse import ArgumentTypeError
from datetime import UTC, datetime
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils import timezone

from core.commands import DeskCommand
from core.jobs import hold
from core.models import JobRow
from marketdata import control, fetching, intervals
from marketdata.models import Fetch
from marketdata.sources import registry

ACTOR = "command line"
LOOK_SECONDS = 0.5


def interval_of(text: str) -> int:
    """An interval as an argument."""
    try:
        return intervals.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


def moment_of(text: str) -> datetime:
    """A date or a time as an argument; without a zone it is UTC."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a date: give one such as 2020-01-31 or 2020-01-31T14:30") from error
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def options_of(text: str) -> dict[str, Any]:
    """Options of a source as an argument."""
    try:
        found = json.loads(text)
    except ValueError as error:
        raise ArgumentTypeError(f'{text!r} is not JSON: give an object such as {{"seed": 7}}') from error
    if not isinstance(found, dict):
        raise ArgumentTypeError(f'{text!r} is not a JSON object: give one such as {{"seed": 7}}')
    return found


class Command(DeskCommand):
    help = "Fetch history of one instrument; only what is not stored yet is asked for."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("symbol")
        parser.add_argument("--source", choices=list(registry.names()), default="yahoo")
        parser.add_argument("--interval", type=interval_of, default=intervals.DAY, help="such as 1m, 1h or 1d")
        parser.add_argument("--from", dest="start", type=moment_of, help="default: as far back as the source goes")
        parser.add_argument("--to", dest="end", type=moment_of, help="default: until now")
        parser.add_argument("--options", type=options_of, default={}, help="for the source, a JSON object")
        parser.add_argument("--refresh", action="store_true", help="ask again for what is stored")
        parser.add_argument("--queue", action="store_true", help="leave it to the running desk")
        parser.add_argument("--wait", action="store_true", help="with --queue: until it has ended")

    def handle(self, *args: Any, **options: Any) -> None:
        given = options["options"] | ({"refresh": True} if options["refresh"] else {})
        try:
            found = control.find_instruments([options["symbol"]])
            if not found:
                raise ValueError("the symbol is empty")
            fetch = fetching.request(
                options["source"], found[0], options["interval"], start=options["start"], end=options["end"],
                options=given, actor=ACTOR, queue=options["queue"],
            )  # fmt: skip
        except ValueError as error:
            raise CommandError(str(error)) from error
        if not options["queue"]:
            self._run(fetch)
        elif options["wait"]:
            self._watch(fetch)
        else:
            self.stdout.write(f"asked for; `manage.py up` carries it out as fetch {fetch.pk}")
            return
        self._report(fetch)

    def _run(self, fetch: Fetch) -> None:
        """Carry it out here and now; Ctrl-C ends it and keeps what is stored."""
        interrupted = False
        try:
            with hold("fetch", fetch.pk) as job:
                # Only now, so that no launcher of a running desk is faster.
                Fetch.objects.filter(pk=fetch.pk).update(desired_state=JobRow.Desired.RUNNING)
                fetching.run(job, on_progress=self._show)
                interrupted = job.shutting_down
        except SystemExit as error:
            if not error.code:
                raise
        if interrupted:
            Fetch.objects.filter(pk=fetch.pk).exclude(state=JobRow.State.FINISHED).update(
                desired_state=JobRow.Desired.STOPPED, state=JobRow.State.STOPPED, ended_at=timezone.now()
            )

    def _watch(self, fetch: Fetch) -> None:
        while True:
            fetch.refresh_from_db()
            self._show(fetch)
            if fetch.ended_at or fetch.state in fetching.ENDED:
                return
            time.sleep(LOOK_SECONDS)

    def _show(self, fetch: Fetch) -> None:
        if self.stderr.isatty():
            self.stderr.write(f"\r{fetch.done:4.0%}  {fetch.n_stored:,} bars ", ending="")

    def _report(self, fetch: Fetch) -> None:
        fetch.refresh_from_db()
        if self.stderr.isatty():
            self.stderr.write("")
        for problem in fetch.options.get("problems", []):
            self.stdout.write(f"note: {problem}")
        if fetch.state == JobRow.State.FAILED:
            raise CommandError(f"{fetch.instrument}: {fetch.state_reason}")
        if fetch.state != JobRow.State.FINISHED:
            raise CommandError(f"{fetch.instrument}: stopped; {fetch.n_stored:,} bars are kept, the next one goes on")
        self.stdout.write(f"{fetch.instrument}: {fetch.state_reason}")
