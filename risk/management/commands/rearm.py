"""`manage.py rearm "reason"`: allow trading again after the kill switch."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.commands import DeskCommand
from core.operators import accounts_named, terminal_actor
from risk import kill_switch


class Command(DeskCommand):
    help = "Allow trading again after it was stopped."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("reason", help="Why it is safe again, in a few words; it is kept in the journal.")
        parser.add_argument("--account", help="Name of one account; all stopped accounts when left out.")

    def handle(self, *args: Any, **options: Any) -> None:
        accounts = accounts_named(options["account"])
        if not options["account"]:
            accounts = [account for account in accounts if kill_switch.is_engaged(account)]
            if not accounts:
                raise CommandError("trading is not stopped on any account, so there is nothing to re-arm")
        for account in accounts:
            try:
                kill_switch.rearm(account, reason=options["reason"], actor=terminal_actor())
            except ValueError as error:
                raise CommandError(str(error)) from error
            self.stdout.write(f"Trading on account {account.name} is allowed again.")
