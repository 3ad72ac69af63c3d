"""manage.py import_bars FILE --symbol X: bars from a CSV file; bad rows are counted and listed."""

import json
from argparse import ArgumentTypeError
from decimal import Decimal, InvalidOperation
from pathlib import Path
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.core.management.base import CommandError, CommandParser
from django.db import transaction

from core.commands import DeskCommand
from core.models import Instrument
from marketdata.csv_import import SIZE_LIMIT_BYTES, CsvRefused, read_file
from marketdata.ingest import Prepared, prepare, store
from marketdata.models import DataImport

SHOWN = 20


def _zone(text: str) -> ZoneInfo:
    try:
        return ZoneInfo(text)
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ArgumentTypeError(f"{text!r} is not a time zone: give a name such as UTC or America/New_York") from error


def _tick_size(text: str) -> Decimal:
    try:
        value = Decimal(text)
    except InvalidOperation as error:
        raise ArgumentTypeError(f"{text!r} is not a number: give a price step such as 0.01") from error
    if not value.is_finite() or value < 0:
        raise ArgumentTypeError(f"{text} is not a price step: give 0 (no rounding) or more")
    if value and not Decimal("1e-10") <= value <= Decimal("1e9"):
        raise ArgumentTypeError(f"{text} is no price step that can be kept: give 0 (no rounding) or 1e-10 to 1e9")
    return value


def _positive(text: str) -> int:
    if not text.isascii() or not text.isdigit() or int(text) < 1:
        raise ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _symbol(text: str) -> str:
    symbol = text.strip().upper()
    if not symbol or len(symbol) > 32 or not symbol.isprintable():
        raise ArgumentTypeError(f"{text!r} is not a symbol: give 1 to 32 printable characters")
    return symbol


class Command(DeskCommand):
    help = (
        "Import bars from a CSV file with the columns time (or date), open, high, low, close and, if known, volume. "
        "Good rows are imported, bad rows are counted and listed. Ends with 0 if at least one row was imported."
    )

    def create_parser(self, prog_name: str, subcommand: str, **kwargs) -> CommandParser:
        """A short usage, so that a mistyped option is answered in one readable line."""
        return super().create_parser(prog_name, subcommand, usage="%(prog)s FILE --symbol SYMBOL [options]", **kwargs)

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("file", type=Path, help="CSV file, UTF-8, with a header line")
        parser.add_argument("--symbol", type=_symbol, required=True)
        parser.add_argument("--create", action="store_true", help="create the instrument if it does not exist")
        parser.add_argument("--name", help="of a created instrument; default: its symbol")
        parser.add_argument("--asset-class", choices=Instrument.AssetClass.values, default="stock")
        parser.add_argument("--tick-size", type=_tick_size, default=Decimal("0.01"), help="of a created instrument")
        parser.add_argument(
            "--interval", type=_positive, help="seconds per bar; default: the usual distance of two rows"
        )
        parser.add_argument("--timezone", type=_zone, default=ZoneInfo("UTC"), help="of times that name none")
        parser.add_argument("--time-format", help="strptime format of the time column, such as %%m/%%d/%%Y")
        parser.add_argument("--adjust", action="store_true", help="adjust for splits and dividends with adj_close")
        parser.add_argument("--size-limit-mb", type=_positive, default=SIZE_LIMIT_BYTES // 1024**2)
        parser.add_argument("--json", action="store_true", help="print the result as JSON")

    def handle(self, *args, **options) -> None:
        path: Path = options["file"]
        instrument = Instrument.objects.filter(symbol__iexact=options["symbol"]).first()
        if instrument is None and not options["create"]:
            raise CommandError(f"no instrument {options['symbol']}: check the symbol, or add --create to create it")
        prepared = self._prepare(path, options)
        record = None
        # A new instrument is not worth creating for a file without one good row.
        if instrument is not None or prepared.parsed.n_good:
            record = self._store(prepared, instrument, options)
        self._report(prepared, record, as_json=options["json"])
        if not prepared.parsed.n_good:
            raise CommandError(f"nothing imported: {prepared.name} has no good row among {prepared.parsed.n_rows:,}")

    def _prepare(self, path: Path, options: dict) -> Prepared:
        try:
            data = read_file(path, size_limit_bytes=options["size_limit_mb"] * 1024**2)
            return prepare(
                data,
                path.name,
                zone=options["timezone"],
                time_format=options["time_format"],
                adjust=options["adjust"],
            )
        except CsvRefused as error:
            raise CommandError(str(error)) from error

    def _store(self, prepared: Prepared, instrument: Instrument | None, options: dict) -> DataImport:
        try:
            with transaction.atomic():
                return store(
                    prepared,
                    instrument or _create(prepared, options),
                    source="csv",
                    interval=options["interval"],
                    actor="command line",
                )
        except ValueError as error:
            raise CommandError(str(error)) from error

    def _report(self, prepared: Prepared, record: DataImport | None, *, as_json: bool) -> None:
        facts = _facts(prepared, record)
        if as_json:
            self.stdout.write(json.dumps(facts, indent=2))
            return
        self.stdout.write(
            f"{facts['n_good']:,} good rows imported, {facts['n_bad']:,} bad rows, of {facts['n_rows']:,}"
        )
        if record and record.first_time and record.last_time:
            span = f"{record.first_time:%Y-%m-%d %H:%M} to {record.last_time:%Y-%m-%d %H:%M} UTC"
            self.stdout.write(f"{record.instrument}: {span}, one bar every {record.interval_seconds:,} seconds")
        for problem in facts["problems"][:SHOWN]:
            self.stdout.write(f"  row {problem['row']}: {problem['reason']}")
        if facts["n_bad"] > SHOWN:
            self.stdout.write(f"  and {facts['n_bad'] - SHOWN:,} more")
        for action in prepared.actions:
            amount = f"{action.amount:.4g} a share" if action.kind == "dividend" else f"ratio {action.ratio:g}"
            self.stdout.write(f"  {action.kind} {action.date}: {amount}")
        for note in facts["notes"]:
            self.stdout.write(f"note: {note}")


def _create(prepared: Prepared, options: dict) -> Instrument:
    return Instrument.objects.create(
        symbol=options["symbol"],
        name=(options["name"] or options["symbol"])[:120],
        asset_class=options["asset_class"],
        tick_size=options["tick_size"],
        has_volume=bool(prepared.series.volume.any()),
    )


def _facts(prepared: Prepared, record: DataImport | None) -> dict:
    parsed = prepared.parsed
    return {
        "import_id": record.pk if record else None,
        "symbol": record.instrument.symbol if record else None,
        "n_rows": parsed.n_rows,
        "n_good": parsed.n_good,
        "n_bad": parsed.n_bad,
        "interval_seconds": record.interval_seconds if record else parsed.interval_seconds,
        "first_time": record.first_time.isoformat() if record and record.first_time else None,
        "last_time": record.last_time.isoformat() if record and record.last_time else None,
        "problems": [{"row": problem.row, "reason": problem.reason} for problem in parsed.problems],
        "notes": parsed.notes,
        "adjusted_for": [action.as_json() for action in prepared.actions],
    }
