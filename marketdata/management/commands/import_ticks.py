"""manage.py import_ticks SYMBOL PATH: trades and quotes from a CSV or Parquet file, and the bars made of them."""

from __future__ import annotations

import json
from argparse import ArgumentTypeError
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.management.base import CommandError, CommandParser

from core import journal
from core.commands import DeskCommand
from core.models import Instrument
from marketdata.ingest import printable
from marketdata.ticks.bars import check_interval
from marketdata.ticks.files import Problem, TickChunk, read_ticks
from marketdata.ticks.store import Ingested, ingest

SHOWN = 20


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ArgumentTypeError(f"{text!r} is not a time zone: give a name such as UTC or America/New_York") from error


def _intervals(text: str) -> list[int]:
    try:
        return [check_interval(int(part)) for part in text.split(",")]
    except ValueError as error:
        raise ArgumentTypeError(f"{text!r} is not a list of seconds that divide a day, such as 60,300") from error


def _source(text: str) -> str:
    if not text.isascii() or not text.isprintable() or not 1 <= len(text) <= 12:
        raise ArgumentTypeError(f"{text!r} is not a source: give 1 to 12 plain letters")
    return text


@dataclass
class _Sum:
    """What became of the file so far."""

    n_rows: int = 0
    n_stored: int = 0
    n_repeated: int = 0
    n_late: int = 0
    bad: Counter[str] = field(default_factory=Counter)
    bars: dict[int, set[int]] = field(default_factory=dict)
    problems: list[Problem] = field(default_factory=list)

    def add(self, chunk: TickChunk, done: Ingested) -> None:
        """One more piece."""
        self.n_rows += chunk.n_rows
        self.n_stored += done.n_stored
        self.n_repeated += done.n_repeated
        self.n_late += done.n_late
        self.bad.update(done.bad)
        self.problems += chunk.problems
        for interval, starts in done.bars.items():
            self.bars.setdefault(interval, set()).update(starts)

    def facts(self) -> dict[str, object]:
        """For the journal and for --json."""
        counts = {name: getattr(self, name) for name in ("n_rows", "n_stored", "n_repeated", "n_late")}
        n_bars = {str(interval): len(starts) for interval, starts in self.bars.items()}
        return {**counts, "n_bad": self.bad.total(), "bad": dict(self.bad), "bars": n_bars}


class Command(DeskCommand):
    help = (
        "Import trades (timestamp, price, size) or quotes (timestamp, bid, ask and their sizes) from a CSV or Parquet "
        "file, and make bars of the trades. A file may be imported twice: what is stored already is only counted. "
        "Ends with 0 if the file held at least one good row."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs) -> CommandParser:
        """A short usage, so that a mistyped option is answered in one readable line."""
        return super().create_parser(prog_name, subcommand, usage="%(prog)s SYMBOL PATH [options]", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("symbol", help="of an instrument that exists")
        parser.add_argument("path", type=Path, help="CSV or Parquet file")
        parser.add_argument("--source", type=_source, default="file", help="name kept with every tick")
        parser.add_argument("--bars", type=_intervals, help="seconds of the bars to make, such as 60,300")
        parser.add_argument("--zone", type=_zone, default=ZoneInfo("UTC"), help="of times that name none")
        parser.add_argument("--file-symbol", help="take the rows of this symbol only; default: that of the first row")
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *args, **options) -> None:
        instrument = Instrument.objects.filter(symbol__iexact=options["symbol"]).first()
        if instrument is None:
            raise CommandError(f"no instrument {options['symbol']}: check the symbol, or add it on the data page first")
        total = _Sum()
        self._read(instrument, total, options)
        name = printable(options["path"].name)
        if total.n_stored:
            journal.record(
                "ticks.imported",
                f"{instrument.symbol}: {total.n_stored:,} ticks from {name}",
                actor="command line",
                subject=f"instrument:{instrument.pk}",
                data={"file": name, "source": options["source"], **total.facts()},
            )
        self._report(total, as_json=options["json"])
        if not total.n_stored and not total.n_repeated:
            raise CommandError(f"nothing imported: {name} has no good row among {total.n_rows:,}")

    def _read(self, instrument: Instrument, total: _Sum, options: dict) -> None:
        try:
            for chunk in read_ticks(options["path"], zone=options["zone"], symbol=options["file_symbol"]):
                done = ingest(instrument, chunk.batch, options["source"], bar_intervals=options["bars"], bad=chunk.bad)
                total.add(chunk, done)
                if not options["json"]:
                    self.stdout.write(f"{total.n_rows:,} rows read")
        except ValueError as error:  # the file as a whole, or an instrument whose calendar does not exist
            before = f"; {total.n_stored:,} ticks before that are stored" if total.n_stored else ""
            raise CommandError(f"{error}{before}") from error

    def _report(self, total: _Sum, *, as_json: bool) -> None:
        if as_json:
            problems = [{"row": problem.row, "reason": problem.reason} for problem in total.problems]
            self.stdout.write(json.dumps({**total.facts(), "problems": problems}, indent=2))
            return
        self.stdout.write(
            f"{total.n_stored:,} ticks stored ({total.n_late:,} of them late), {total.n_repeated:,} repeated, "
            f"{total.bad.total():,} bad, of {total.n_rows:,} rows"
        )
        for reason, number in total.bad.most_common():
            self.stdout.write(f"  {number:,} {reason}")
        for interval, starts in sorted(total.bars.items()):
            self.stdout.write(f"{len(starts):,} bars of {interval:,} seconds written")
        for problem in total.problems[:SHOWN]:
            self.stdout.write(f"  row {problem.row:,}: {problem.reason}")
        if total.bad.total() > SHOWN:
            self.stdout.write(f"  and {total.bad.total() - SHOWN:,} more")
