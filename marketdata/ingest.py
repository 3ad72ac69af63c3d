"""Brings a file's bars into the database: bars, record, journal line and notice in one transaction."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, tzinfo
from functools import partial
from pathlib import Path
from typing import Literal

from django.db import transaction

from core import journal
from core.models import Event, Instrument
from core.notices import notify
from marketdata import data_health
from marketdata.adjust import CorporateAction, adjust_bars
from marketdata.bar_store import store_bars
from marketdata.corporate import store_actions
from marketdata.csv_import import SIZE_LIMIT_BYTES, CsvRefused, ParsedBars, parse_bars, read_file
from marketdata.models import DataImport
from marketdata.parquet_text import is_parquet, to_csv
from marketdata.series import BarSeries
from marketdata.sources.base import Action

LONGEST_BAR = 366 * 86_400


@dataclass(frozen=True)
class Prepared:
    """A file read, checked and, if asked for, adjusted; nothing is written yet."""

    name: str  # file or package the rows came from
    sha256: str  # of the bytes as they came
    parsed: ParsedBars
    series: BarSeries  # what will be stored
    actions: list[CorporateAction] = field(default_factory=list)  # splits and dividends found when adjusting


def prepare(
    data: bytes,
    name: str,
    *,
    zone: tzinfo = UTC,
    time_format: str | None = None,
    adjust: bool = False,
    dividend_base: Literal["previous_close", "close"] = "previous_close",
    columns: Mapping[str, str] | None = None,
    symbol: str = "",
    report: Callable[[float, int], None] = lambda share, n_bad: None,
) -> Prepared:
    """Read the bytes of a CSV or Parquet file; see csv_import for the rules and adjust for splits and dividends.

    columns, symbol, report: as csv_import.parse_bars.
    Raises: csv_import.CsvRefused when the file as a whole cannot be read.
    """
    name = printable(name)
    parsed = parse_bars(
        _as_csv(data),
        zone=zone,
        time_format=time_format,
        with_adjusted=adjust,
        columns=columns,
        symbol=symbol,
        report=report,
    )
    if is_parquet(data):
        parsed.notes.append("rows are counted as lines of a CSV would be: the first one is row 2")
    digest = hashlib.sha256(data).hexdigest()
    if parsed.adj_close is None:
        return Prepared(name, digest, parsed, parsed.series)
    adjusted = adjust_bars(parsed.series, parsed.adj_close, dividend_base=dividend_base)
    return Prepared(name, digest, parsed, adjusted.series, adjusted.actions)


def printable(name: str) -> str:
    """A file's name with "?" for what is no character: names are bytes on some systems, the database keeps text."""
    return name.encode("utf-8", "replace").decode().replace("\0", "?")


def _as_csv(data: bytes) -> bytes:
    if not is_parquet(data):
        return data
    try:
        return to_csv(data)
    except ValueError as error:
        raise CsvRefused(str(error)) from error


def store(
    prepared: Prepared, instrument: Instrument, *, source: str, interval: int | None = None, actor: str = "system"
) -> DataImport:
    """Write the good rows of one file, or after a crash none of them. Bars of the same time are replaced.

    interval: length of a bar in seconds; None takes the usual distance of two rows.
    A file without one good row still leaves its record, so that it can be looked up why.
    Raises: CsvRefused for an interval below one second or above a year.
    """
    parsed, series = prepared.parsed, prepared.series
    seconds = parsed.interval_seconds if interval is None else interval
    check_interval(seconds)
    with transaction.atomic():
        store_bars(instrument, seconds, series, source)
        record = DataImport.objects.create(
            instrument=instrument,
            name=prepared.name[-240:],
            source=source,
            sha256=prepared.sha256,
            interval_seconds=seconds,
            n_rows=parsed.n_rows,
            n_good=parsed.n_good,
            n_bad=parsed.n_bad,
            problems=[{"row": problem.row, "reason": problem.reason} for problem in parsed.problems],
            first_time=_moment(series.time[0]) if len(series) else None,
            last_time=_moment(series.time[-1]) if len(series) else None,
        )
        _keep_actions(record, prepared, actor)
        _tell(record, prepared, actor)
        transaction.on_commit(partial(data_health.check_quietly, instrument, seconds))
    return record


def check_interval(seconds: int) -> None:
    """Raises: CsvRefused unless bars may be that long, which also catches two far rows taken for one interval."""
    if not 1 <= seconds <= LONGEST_BAR:
        raise CsvRefused(
            f"the interval is {seconds:,} seconds, expected 1 to {LONGEST_BAR:,} (a year): say how long a bar is"
        )


def import_file(
    path: Path,
    instrument: Instrument,
    *,
    source: str = "csv",
    interval: int | None = None,
    zone: tzinfo = UTC,
    time_format: str | None = None,
    adjust: bool = False,
    actor: str = "system",
    size_limit_bytes: int = SIZE_LIMIT_BYTES,
) -> DataImport:
    """Read, check and store one file of bars. Raises: as prepare and store."""
    data = read_file(path, size_limit_bytes=size_limit_bytes)
    prepared = prepare(data, path.name, zone=zone, time_format=time_format, adjust=adjust)
    return store(prepared, instrument, source=source, interval=interval, actor=actor)


def _keep_actions(record: DataImport, prepared: Prepared, actor: str) -> None:
    """Remember what the bars were adjusted for, so that nobody adjusts them again."""
    found = [
        Action(date.fromisoformat(one.date), one.kind, one.ratio if one.kind == "split" else one.amount)
        for one in prepared.actions
        if one.kind != "unexplained"
    ]
    if found:
        store_actions(record.instrument, found, record.source, in_prices=True, actor=actor)


def _tell(record: DataImport, prepared: Prepared, actor: str) -> None:
    journal.record(
        "data.imported",
        f"{record.instrument.symbol}: {record.n_good:,} bars imported from {record.name}, {record.n_bad:,} bad rows",
        level=Event.Level.ATTENTION if record.n_bad else Event.Level.INFO,
        actor=actor,
        subject=f"import:{record.pk}",
        data={
            "instrument": record.instrument_id,
            "interval_seconds": record.interval_seconds,
            "notes": prepared.parsed.notes,
            "adjusted_for": [action.as_json() for action in prepared.actions],
        },
    )
    notify("bar", instrument=record.instrument_id)


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
