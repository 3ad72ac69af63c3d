"""`manage.py data_health [SYMBOL]`: what is wrong with the stored bars; ends with 1 when something blocks trading."""

import json
import sys
from argparse import ArgumentTypeError
from typing import Any

from django.core.management.base import CommandError, CommandParser

from core.commands import DeskCommand
from core.models import Instrument
from core.operators import terminal_actor
from marketdata import data_health, intervals
from marketdata.health_queries import stored_series
from marketdata.models import DataFault, HealthCheck

Series = tuple[Instrument, int]


class Refused(CommandError):
    """Wrong input. Ends with 2, since 1 says that something blocks."""

    def __init__(self, message: str) -> None:
        super().__init__(message, returncode=2)


def _interval(text: str) -> int:
    try:
        return intervals.parse(text)
    except ValueError as error:
        raise ArgumentTypeError(str(error)) from error


class Command(DeskCommand):
    help = (
        "Check stored bars for gaps, wrong prices, splits and the like. "
        "Ends with 1 if a fault stops agents from trading on one of the series."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("symbol", nargs="?", help="Only this instrument; all when left out.")
        parser.add_argument("--interval", type=_interval, metavar="1m", help="Only bars of this length: 1m, 1h, 1d.")
        parser.add_argument("--json", action="store_true", help="Print the result as JSON.")
        parser.add_argument(
            "--clear", choices=DataFault.Kind.values, metavar="KIND", help="Accept this fault of SYMBOL as it is."
        )
        parser.add_argument("--reason", default="", help="Why it may be accepted; goes into the journal.")

    def handle(self, *args: Any, **options: Any) -> None:
        if options["reason"] and not options["clear"]:
            raise Refused("--reason belongs to --clear KIND")
        if options["clear"] and not options["symbol"]:
            raise Refused("--clear needs the SYMBOL whose fault is to be cleared")
        chosen = _chosen(options["symbol"], options["interval"])
        if options["clear"]:
            self._clear(chosen, options["clear"], options["reason"], quiet=options["json"])
        faults = [fault for instrument, seconds in chosen for fault in data_health.check(instrument, seconds)]
        blocks = any(fault.severity == DataFault.Severity.BLOCKING for fault in faults)
        if options["json"]:
            self.stdout.write(json.dumps(_facts(chosen, faults, blocks), indent=2))
        else:
            self._table(chosen, faults)
        if blocks:
            sys.exit(1)

    def _clear(self, chosen: list[Series], kind: str, reason: str, *, quiet: bool) -> None:
        found = [
            fault
            for instrument, seconds in chosen
            for fault in data_health.check(instrument, seconds)
            if fault.kind == kind
        ]
        if not found:
            raise Refused(f"{chosen[0][0]} has no open fault {kind!r}")
        if len(found) > 1:
            lengths = ", ".join(intervals.words(fault.interval_seconds) for fault in found)
            raise Refused(f"{chosen[0][0]} has this fault at {lengths}: add --interval to say which is meant")
        try:
            data_health.clear(found[0], actor=terminal_actor(), reason=reason)
        except ValueError as error:
            raise Refused(str(error)) from error
        if not quiet:
            self.stdout.write(f"Cleared: {found[0].detail}")

    def _table(self, chosen: list[Series], faults: list[DataFault]) -> None:
        for instrument, seconds in chosen:
            seen = HealthCheck.objects.get(instrument=instrument, interval_seconds=seconds)
            own = _of(faults, instrument, seconds)
            head = f"{instrument.symbol} {intervals.words(seconds)}: {seen.n_bars:,} bars"
            self.stdout.write(f"{head}, {'nothing found' if not own else f'{len(own)} found'}")
            for fault in own:
                words = f"{fault.get_severity_display():<14}  {fault.get_kind_display():<26}"
                self.stdout.write(f"  {words}  {fault.detail}")


def _chosen(symbol: str | None, interval: int | None) -> list[Series]:
    """The series to look at. Raises: CommandError saying what there is."""
    instruments = Instrument.objects.in_bulk()
    if symbol is not None:
        instruments = {pk: one for pk, one in instruments.items() if one.symbol.lower() == symbol.strip().lower()}
        if not instruments:
            raise Refused(f"no instrument {symbol}: check the symbol")
    stored = [one for one in stored_series() if one.instrument_id in instruments]
    wanted = [
        (instruments[one.instrument_id], one.interval_seconds)
        for one in stored
        if interval in (None, one.interval_seconds)
    ]
    chosen = sorted(wanted, key=lambda one: (one[0].symbol, one[1]))
    if not chosen:
        whose = f"{symbol} has" if symbol else "there are"
        kind = f"{intervals.words(interval)} bars" if interval else "bars"
        lengths = ", ".join(intervals.words(n) for n in sorted({one.interval_seconds for one in stored})) or "none"
        raise Refused(f"{whose} no {kind} stored; stored lengths: {lengths}")
    return chosen


def _facts(chosen: list[Series], faults: list[DataFault], blocks: bool) -> dict[str, Any]:
    series = []
    for instrument, seconds in chosen:
        seen = HealthCheck.objects.get(instrument=instrument, interval_seconds=seconds)
        series.append(
            {
                "symbol": instrument.symbol,
                "interval": intervals.words(seconds),
                "n_bars": seen.n_bars,
                "first_time": seen.first_time and seen.first_time.isoformat(),
                "last_time": seen.last_time and seen.last_time.isoformat(),
                "sources": seen.sources,
                "checked_at": seen.checked_at.isoformat(),
                "faults": [_fault(fault) for fault in _of(faults, instrument, seconds)],
            }
        )
    return {"blocking": blocks, "series": series}


def _of(faults: list[DataFault], instrument: Instrument, seconds: int) -> list[DataFault]:
    return [fault for fault in faults if (fault.instrument_id, fault.interval_seconds) == (instrument.pk, seconds)]


def _fault(fault: DataFault) -> dict[str, Any]:
    return {
        "kind": fault.kind,
        "severity": fault.severity,
        "n": fault.n,
        "first_time": fault.first_time and fault.first_time.isoformat(),
        "last_time": fault.last_time and fault.last_time.isoformat(),
        "detail": fault.detail,
        "examples": fault.examples,
        "found_at": fault.found_at.isoformat(),
    }
