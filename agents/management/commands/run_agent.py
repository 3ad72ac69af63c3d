"""`manage.py run_agent ID`: the process of one agent. Started by a launcher; may be run by hand as a standby."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from agents.models import Agent
from agents.runtime import AgentProcess
from core.commands import DeskCommand
from core.jobs import hold


class Command(DeskCommand):
    help = "Run one agent until it is stopped."
    requires_system_checks = []  # checked when the desk starts; a job should be at work at once

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("id", type=int, help="Number of the agent.")

    def handle(self, *args: Any, **options: Any) -> None:
        if not Agent.objects.filter(pk=options["id"]).exists():
            raise CommandError(f"there is no agent {options['id']}")
        with hold("agent", options["id"]) as job:
            AgentProcess(job).run()
