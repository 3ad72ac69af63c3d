#!/usr/bin/env python
"""Command line of the desk: `python manage.py help` lists what it can do."""

import os
import sys

# Commands that must work while no database is there.
NEEDS_NO_DATABASE = {
    "db",
    "up",
    "down",
    "watchdog",
    "help",
    "--help",
    "-h",
    "version",
    "--version",
    "check",
    "collectstatic",
}


def main() -> None:
    """Run one command; say in one line what to do when there is no database to talk to."""
    os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tradingsite.settings")
    from django.conf import settings
    from django.core.management import execute_from_command_line

    command = sys.argv[1] if len(sys.argv) > 1 else "help"
    if command not in NEEDS_NO_DATABASE and not settings.DATABASE_KNOWN:
        sys.exit("No database is known: run `make up` or `python manage.py db up`, or set DATABASE_URL.")
    from django.db import OperationalError

    try:
        execute_from_command_line(sys.argv)
    except OperationalError as error:
        reason = " ".join(str(error).split())[:200]
        sys.exit(f"The database does not answer ({reason}): run `manage.py db up`, or check DATABASE_URL.")


if __name__ == "__main__":
    main()
