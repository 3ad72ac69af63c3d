"""`manage.py up`: prepare what is missing and run the whole desk in the foreground; `make up` calls it."""

import fcntl
import logging
import socket
from datetime import timedelta
from typing import Any, TextIO

from django.conf import settings
from django.core.management import call_command
from django.core.management.base import CommandError, CommandParser
from django.utils import timezone
from django_q.models import Schedule

from agents import tasks as agent_tasks
from core import database, processes, watchdog
from core.commands import DeskCommand
from core.database_link import use_address
from core.operators import FIRST_OPERATOR, ensure_operator
from marketdata import tasks

logger = logging.getLogger(__name__)


class Command(DeskCommand):
    help = "Run the desk: database, pages, tasks, streams and agents. Ctrl-C stops everything cleanly."
    requires_system_checks = []

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--no-demo", action="store_true", help="Do not set up the demo agents and their real bars.")

    def handle(self, *args: Any, **options: Any) -> None:
        found = watchdog.running()
        if found:
            raise CommandError(f"the desk is already running at {found['url']}; `make down` stops it")
        self._only_one = only_one()
        self._end_left_overs()
        try:
            use_address(database.ensure_running(log=self._say))
        except database.DatabaseUnavailable as error:
            raise CommandError(str(error)) from error
        call_command("migrate", verbosity=0, interactive=False)
        call_command("collectstatic", verbosity=0, interactive=False)
        password = ensure_operator()
        if not options["no_demo"]:
            call_command("setup_demo")
        _schedule_heartbeat()
        tasks.schedule()
        agent_tasks.schedule()
        dog = watchdog.Watchdog(port=free_port(settings.WEB_HOST, settings.WEB_PORT))
        self._announce(dog.url, password)
        dog.run()

    def _say(self, text: str) -> None:
        self.stdout.write(text)
        self.stdout.flush()

    def _end_left_overs(self) -> None:
        """After a crash of the watchdog its children may live on; two of them must not run side by side."""
        left_over = processes.ours()
        if left_over:
            self._say(f"Ending {len(left_over)} processes left over from a crash; their work goes on where it was.")
            processes.end(left_over, patience_seconds=6)

    def _announce(self, url: str, password: str | None) -> None:
        self._say("")
        self._say(f"  RL Trading Desk   {url}")
        if password:
            self._say(f"  Sign in as        {FIRST_OPERATOR}")
            self._say(f"  Password          {password}   (shown this once; change it with `manage.py changepassword`)")
        else:
            self._say(f"  Sign in as        {FIRST_OPERATOR}, with the password shown at the first start")
        self._say("  Ctrl-C stops everything; the next start goes on where it was.\n")


def only_one() -> TextIO:
    """Hold the lock of this folder's desk until the process ends, whatever ends it.

    Raises: CommandError if another `up` is already preparing or running the desk here.
    """
    settings.LOCAL_DIR.mkdir(parents=True, exist_ok=True)
    handle = (settings.LOCAL_DIR / "up.lock").open("w")
    try:
        fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        handle.close()
        raise CommandError("the desk is already being started here; wait for it, or stop it with `make down`") from None
    return handle


def free_port(host: str, wanted: int) -> int:
    """`wanted`, or the next free port after it when something else already listens there."""
    for port in range(wanted, min(wanted + 100, 65_536)):
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            try:
                probe.bind((host, port))
            except OSError:
                continue
        if port != wanted:
            logger.warning("port %d is taken; the pages are on %d", wanted, port)
        return port
    raise CommandError(f"no free port from {wanted} on at {host}; set DESK_WEB_PORT")


def _schedule_heartbeat() -> None:
    """The cluster proves every minute that it works; the first time at once."""
    Schedule.objects.update_or_create(
        name="heartbeat of the task cluster",
        defaults={
            "func": "core.tasks.beat",
            "schedule_type": Schedule.MINUTES,
            "minutes": 1,
            "next_run": timezone.now() - timedelta(seconds=1),
        },
    )
