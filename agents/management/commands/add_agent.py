"""`manage.py add_agent NAME --symbol X`: a new agent on bars of your own, trained and then replayed on paper."""

from argparse import ArgumentTypeError
from datetime import date
from decimal import Decimal, InvalidOperation
from typing import Any

from django.core.management.base import CommandError, CommandParser
from django.utils.text import slugify

from agents import algorithms
from agents.new_agent import NewAgent, create_agent
from core.commands import DeskCommand
from core.operators import terminal_actor


class Command(DeskCommand):
    help = "Create an agent with its book, settings and replay, and start its training."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("name", help="Such as acme-swing: letters, digits and hyphens.")
        parser.add_argument("--symbol", required=True, help="An instrument with daily bars.")
        parser.add_argument(
            "--algorithm", default="ppo", choices=algorithms.names(), help="How it learns, see docs/training.md."
        )
        parser.add_argument("--validation", type=_day, metavar="DATE", help="Default: after 60 %% of the bars.")
        parser.add_argument("--unseen", type=_day, metavar="DATE", help="Default: after 80 %% of the bars.")
        parser.add_argument("--cash", default="50000", help="Money of its book.")

    def handle(self, *args: Any, **options: Any) -> None:
        name = options["name"]
        if slugify(name) != name or len(name) > 50:
            raise CommandError(f"the name {name!r} will not do: up to 50 small letters, digits and hyphens")
        wish = NewAgent(
            name=name,
            algorithm=options["algorithm"],
            symbol=options["symbol"],
            validation=options["validation"],
            unseen=options["unseen"],
            start_cash=_cash(options["cash"]),
        )
        try:
            agent = create_agent(wish, actor=terminal_actor())
        except ValueError as error:
            raise CommandError(str(error)) from error
        self.stdout.write(f"Created {agent.name}; its training starts as soon as the desk runs (`make up`).")


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        raise ArgumentTypeError(f"{text!r} is no date, expected one such as 2018-01-31") from None


def _cash(text: str) -> Decimal:
    try:
        cash = Decimal(text)
    except InvalidOperation:
        raise CommandError(f"cash is {text!r}, expected an amount such as 50000") from None
    if not cash.is_finite() or not 0 < cash < 10**15:
        raise CommandError(f"cash is {text}, expected an amount above 0")
    return cash
