"""What all our commands share: a wrong argument gives one line, not a page of usage."""

from typing import Any, NoReturn

from django.core.management.base import BaseCommand, CommandError, CommandParser


class OneLineParser(CommandParser):
    """Says what is wrong and where to read more, in one line."""

    def error(self, message: str) -> NoReturn:
        """Exit with 2, or raise CommandError when called from code."""
        text = f"{message}; see {self.prog} --help"
        if not self.called_from_command_line:
            raise CommandError(text)
        self.exit(2, f"{text}\n")


class DeskCommand(BaseCommand):
    """Base of our commands."""

    def create_parser(self, prog_name: str, subcommand: str, **kwargs: Any) -> CommandParser:
        """Django's parser with our way of refusing."""
        parser = super().create_parser(prog_name, subcommand, **kwargs)
        # Django names the parser's class in the code, so it cannot be passed in.
        parser.__class__ = OneLineParser
        return parser
