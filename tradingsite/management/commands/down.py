"""`manage.py down`: stop the desk from another terminal, also after its foreground process has crashed."""

import os
import signal
from contextlib import suppress
from typing import Any

from core import database, processes, watchdog
from core.commands import DeskCommand

PATIENCE_SECONDS = 40


class Command(DeskCommand):
    help = "Stop the desk: agents, streams, pages, tasks and the embedded database."
    requires_system_checks = []

    def handle(self, *args: Any, **options: Any) -> None:
        found = watchdog.running()
        if found:
            with suppress(ProcessLookupError):  # it may be ending by itself just now
                os.kill(found["pid"], signal.SIGTERM)
                if not processes.wait_until(lambda: watchdog.running() is None, seconds=PATIENCE_SECONDS):
                    os.kill(found["pid"], signal.SIGKILL)
        was_up = bool(found) or bool(processes.ours()) or database.status().state == "running"
        watchdog.stop_everything()
        watchdog.pid_file().unlink(missing_ok=True)
        self.stdout.write("The desk is stopped." if was_up else "The desk was not running.")
