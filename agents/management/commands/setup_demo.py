"""`manage.py setup_demo`: import the demo's bars and create its agents, once."""

from typing import Any

from django.core.management.base import CommandError

from agents.demo import setup_demo
from core.commands import DeskCommand


class Command(DeskCommand):
    help = "Import real demo bars and create the two demo agents. Does nothing where they exist."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            setup_demo(log=self.stdout.write)
        except (ValueError, ImportError) as error:
            raise CommandError(str(error)) from error
