"""The embedded database: start, stop, describe, and open a SQL prompt."""

import json
import os
from argparse import ArgumentParser
from dataclasses import asdict
from typing import Any

from django.core.management.base import CommandError

from core import database
from core.commands import DeskCommand

ACTIONS = ("up", "down", "status", "psql")
MODES = ("smart", "fast", "immediate")


class Command(DeskCommand):
    help = "Database: `db up` starts it, `db down` stops it, `db status` describes it, `db psql -- …` opens psql."
    # The database may be down, and without tables: nothing may be checked before the command runs.
    requires_system_checks: list[str] = []
    requires_migrations_checks = False

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("action", nargs="?", default="status", help=f"one of: {', '.join(ACTIONS)}")
        parser.add_argument("arguments", nargs="*", help="for psql: its own arguments, after --")
        parser.add_argument("--json", action="store_true", help="for status: machine-readable")
        parser.add_argument("--mode", default="fast", help=f"for down: one of {', '.join(MODES)}")

    def handle(self, *args: Any, **options: Any) -> None:
        action, arguments = options["action"], options["arguments"]
        if action not in ACTIONS:
            raise CommandError(f"unknown action {action!r}, expected one of: {', '.join(ACTIONS)}")
        if arguments and action != "psql":
            raise CommandError(f"db {action} takes no further arguments, got: {' '.join(arguments)}")
        if options["mode"] not in MODES:
            raise CommandError(f"unknown mode {options['mode']!r}, expected one of: {', '.join(MODES)}")
        try:
            self._perform(action, arguments, options)
        except (database.DatabaseUnavailable, ValueError) as error:
            raise CommandError(str(error)) from error

    def _perform(self, action: str, arguments: list[str], options: dict[str, Any]) -> None:
        if action == "up":
            address = database.ensure_running(log=self.stdout.write)
            self.stdout.write(f"The database answers at {address.masked}")
        elif action == "down":
            self._down(options["mode"])
        elif action == "status":
            self._status(as_json=options["json"])
        else:
            command = database.psql_command()
            self.stdout.flush()
            os.execvpe(command[0], [*command, *arguments], database.psql_environment())

    def _down(self, mode: str) -> None:
        if database.status().state == "external":
            self.stdout.write("DATABASE_URL is set: that database is not ours to stop.")
        elif database.stop(mode=mode, log=self.stdout.write):
            self.stdout.write("The database is stopped.")
        else:
            self.stdout.write("The database was not running.")

    def _status(self, *, as_json: bool) -> None:
        found = asdict(database.status())
        if as_json:
            self.stdout.write(json.dumps(found))
            return
        for name, value in found.items():
            if value:
                self.stdout.write(f"{name + ':':<10}{value}")
