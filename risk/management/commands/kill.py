"""`manage.py kill "reason"`: stop all trading at once, from any terminal."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.commands import DeskCommand
from core.operators import accounts_named, terminal_actor
from risk import kill_switch


class Command(DeskCommand):
    help = "Stop all trading and cancel open orders. Trading goes on only after `manage.py rearm`."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("reason", help="Why, in a few words; it is kept in the journal.")
        parser.add_argument("--account", help="Name of one account; all accounts when left out.")
        parser.add_argument(
            "--close-positions", action="store_true", help="Also close every position at the next open."
        )

    def handle(self, *args: Any, **options: Any) -> None:
        for account in accounts_named(options["account"]):
            try:
                state = kill_switch.engage(
                    account,
                    reason=options["reason"],
                    actor=terminal_actor(),
                    close_positions=options["close_positions"],
                )
            except kill_switch.NoReasonError as error:
                raise CommandError(str(error)) from error
            orders = f"{state.n_canceled_orders} open orders canceled in {state.took_ms:.0f} ms"
            closing = "; positions are closed at the next open" if state.close_positions else ""
            self.stdout.write(f"Trading on account {account.name} is stopped: {orders}{closing}.")
