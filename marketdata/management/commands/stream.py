"""`manage.py stream list|add|start|pause|stop|speed|remove`: streams without the pages."""

from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.commands import DeskCommand
from marketdata import control, intervals
from marketdata.management.commands.fetch import ACTOR, interval_of, moment_of, options_of
from marketdata.models import Stream

ACTIONS = {"start": control.start, "pause": control.pause, "stop": control.stop, "remove": control.delete_stream}
DONE = {"start": "was asked to start", "pause": "was asked to pause", "stop": "was asked to stop", "remove": "removed"}


class Command(DeskCommand):
    help = "List, add, start, pause, stop and remove streams, or change a replay's speed."

    def add_arguments(self, parser: CommandParser) -> None:
        actions = parser.add_subparsers(dest="action", required=True, metavar="ACTION")
        actions.add_parser("list", help="every stream and what it does")
        add = actions.add_parser("add", help="make a stream; it is stopped at first")
        add.add_argument("name")
        add.add_argument("--source", choices=Stream.Source.values, default="replay")
        add.add_argument("--symbols", required=True, help="such as AAPL,SPY")
        add.add_argument("--interval", type=interval_of, default=60, help="such as 1m, 1h or 1d; default 1m")
        add.add_argument("--from", dest="start", type=moment_of, help="first bar; default: the first stored, or now")
        add.add_argument("--to", dest="end", type=moment_of, help="last bar; default: the last stored one, or none")
        add.add_argument("--speed", default="1x", help="such as 100x, 5/s or max; of a replay or a simulator")
        add.add_argument("--options", type=options_of, default={}, help="for the source, a JSON object")
        for action, text in (
            ("start", "start or continue it"), ("pause", "hold it where it is"), ("stop", "stop it"),
            ("remove", "remove a stopped stream; its bars stay"),
        ):  # fmt: skip
            actions.add_parser(action, help=text).add_argument("name")
        speed = actions.add_parser("speed", help="change a replay's speed")
        speed.add_argument("name")
        speed.add_argument("speed", help="1x to 1000x of market time, such as 100x; bars a second, such as 5/s; or max")

    def handle(self, *args: Any, **options: Any) -> None:
        action = options["action"]
        try:
            if action == "list":
                self._list()
            elif action == "add":
                self._add(options)
            elif action == "speed":
                stream = _find(options["name"])
                control.set_speed(stream, control.parse_speed(options["speed"], stream.interval_seconds), actor=ACTOR)
                stream.refresh_from_db()
                self.stdout.write(f"{stream.name}: {control.speed_words(stream)}")
            else:
                stream = _find(options["name"])
                ACTIONS[action](stream, actor=ACTOR)
                self.stdout.write(f"{stream.name} {DONE[action]}")
        except ValueError as error:
            raise CommandError(str(error)) from error

    def _list(self) -> None:
        streams = Stream.objects.prefetch_related("instruments")
        for stream in streams:
            symbols = ",".join(sorted(instrument.symbol for instrument in stream.instruments.all()))
            last = f"last bar {stream.cursor:%Y-%m-%d %H:%M} UTC" if stream.cursor else "no bar yet"
            words = [
                stream.source, symbols, intervals.words(stream.interval_seconds), control.speed_words(stream), last,
                stream.state_reason,
            ]  # fmt: skip
            self.stdout.write(f"{stream.name:<24} {stream.get_state_display():<10} {' · '.join(filter(None, words))}")
        if not streams:
            self.stdout.write("there is no stream yet; make one with: manage.py stream add NAME --symbols AAPL")

    def _add(self, options: dict[str, Any]) -> None:
        stream = control.create_stream(
            options["name"], options["source"], control.find_instruments(options["symbols"].split(",")),
            options["interval"], start=options["start"], end=options["end"], speed=options["speed"],
            options=options["options"], actor=ACTOR,
        )  # fmt: skip
        self.stdout.write(f"{stream.name} was made; start it with: manage.py stream start {stream.name}")


def _find(name: str) -> Stream:
    found = Stream.objects.filter(name=name).first()
    if found is None:
        known = ", ".join(Stream.objects.values_list("name", flat=True)) or "none"
        raise CommandError(f"there is no stream {name!r}; there are: {known}")
    return found
