"""Files of bars that people upload: looked at first, then brought in by a job with progress."""

from __future__ import annotations

import hashlib
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, tzinfo
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.db import transaction

from core import jobs, journal
from core.jobs import Job, JobFailedError
from core.models import Instrument, JobRow
from core.notices import notify
from marketdata.csv_import import CsvRefused, first_rows, header_of, parse_bars
from marketdata.file_columns import guess, names_zone, time_formats, zone_of
from marketdata.ingest import Prepared, check_interval, prepare, store
from marketdata.models import Fetch
from marketdata.parquet_text import is_parquet, to_csv

SIZE_LIMIT_BYTES = 200 * 1024 * 1024
N_SHOWN = 8  # rows people look at
N_LOOKED_AT = 2000  # rows the guesses go by
MOST_PROBLEMS_SHOWN = 20
SECONDS_BETWEEN_REPORTS = 0.5
READING_SHARE = 0.9  # of the work; the rest is writing


class ImportCancelled(Exception):
    """Somebody cancelled the job; nothing was written."""


@dataclass(frozen=True)
class Preview:
    """What a file seems to hold; everything can be changed before it is imported."""

    columns: list[str]
    mapping: dict[str, str]  # field -> column, see file_columns.FIELDS
    zone: str
    zone_matters: bool  # False when the times say their own zone, or are plain dates
    time_format: str | None  # strptime format, None for ISO 8601 and epoch numbers
    interval_seconds: int
    n_rows: int  # rows in the file, good and bad; 0 when it could not be read far enough
    rows: list[dict[str, str]]  # the first few, column -> text
    problems: list[dict[str, Any]]  # row and reason of the first bad rows among those looked at
    notes: list[str]
    symbols: list[str]  # when the file says which symbol a row belongs to
    error: str = ""  # why it cannot be imported as it stands, such as a missing column


def preview(
    data: bytes,
    name: str,
    *,
    mapping: Mapping[str, str] | None = None,
    zone: str | None = None,
    time_format: str | None = None,
    symbol: str = "",
    calendar: str = "XNYS",
) -> Preview:
    """Look into a file without writing anything. What is not given is guessed; `calendar` helps to guess the zone.

    Raises: CsvRefused when it is not a table at all, or too large.
    """
    text, n_rows = _head(data, name)
    names = header_of(text)
    chosen = {field: column for field, column in (mapping or guess(names)).items() if column}
    sample = first_rows(text, N_LOOKED_AT)
    times = [_time_of(row, chosen) for row in sample] if "time" in chosen else []
    forms: list[str | None] = [time_format] if time_format else time_formats(times[:200])
    form = forms[0] if forms else None
    guessed = _known_zone(zone) if zone else _guess_zone(times, form, calendar)
    symbols = sorted({row[chosen["symbol"]] for row in sample})[:50] if chosen.get("symbol") in names else []
    notes, problems, interval, error = [], [], 86_400, _ambiguity(forms)
    try:
        parsed = parse_bars(
            text,
            zone=ZoneInfo(guessed),
            time_format=form,
            columns=chosen,
            symbol=symbol or (symbols[0] if len(symbols) > 1 else ""),
        )
        notes, interval = parsed.notes, parsed.interval_seconds
        problems = [vars(problem) for problem in parsed.problems[:MOST_PROBLEMS_SHOWN]]
        if not parsed.n_good:
            error = error or "no row among the first can be read; check the columns and how times are written"
    except CsvRefused as refused:
        error = str(refused)
    return Preview(
        columns=names,
        mapping=chosen,
        zone=guessed,
        zone_matters=not all(names_zone(moment, form) for moment in times[:20]),
        time_format=form,
        interval_seconds=max(interval, 1),
        n_rows=n_rows,
        rows=sample[:N_SHOWN],
        problems=problems,
        notes=notes,
        symbols=symbols,
        error=error,
    )


def start(
    data: bytes,
    name: str,
    instrument: Instrument,
    *,
    actor: str,
    mapping: Mapping[str, str] | None = None,
    zone: str = "UTC",
    time_format: str | None = None,
    interval_seconds: int | None = None,
    symbol: str = "",
    adjust: bool = False,
) -> Fetch:
    """Keep the file and have a job bring it in. Returns: the job's row, with progress and, later, the import's record.

    Raises: CsvRefused if the file is too large, or for an interval below one second or above a year.
    """
    _check_size(data, name)
    if interval_seconds is not None:
        check_interval(interval_seconds)
    path = uploads_dir() / hashlib.sha256(data).hexdigest()
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)
    options = {
        "path": str(path), "name": name, "mapping": dict(mapping) if mapping else None, "zone": zone,
        "time_format": time_format, "interval_seconds": interval_seconds, "symbol": symbol, "adjust": adjust,
    }  # fmt: skip
    with transaction.atomic():
        fetch = Fetch.objects.create(
            source="file",
            instrument=instrument,
            interval_seconds=interval_seconds or 86_400,
            options=options,
            requested_by=actor,
        )
        journal.record(
            "data.import_started",
            f"{instrument.symbol}: import of {name} started",
            actor=actor,
            subject=f"fetch:{fetch.pk}",
        )
        jobs.request("fetch", fetch.pk, JobRow.Desired.RUNNING)
    return fetch


def run(fetch: Fetch, job: Job) -> None:
    """The job: read, check and store, or nothing at all. Raises: JobFailedError for a file that cannot be imported.

    Safe to run again after a crash: bars of the same time are replaced by themselves.
    """
    options = fetch.options
    path = Path(options["path"])
    report = _Report(fetch, job)
    try:
        data = path.read_bytes()
    except OSError as error:
        raise JobFailedError(f"{options['name']} is no longer on this host; upload it again") from error
    try:
        prepared = _prepare(data, options, report)
        if not prepared.parsed.n_good:
            _forget(path)
            raise JobFailedError(_nothing_good(options["name"], prepared))
        job.beat(JobRow.State.RUNNING, "writing")
        record = store(
            prepared, fetch.instrument, source="file", interval=options["interval_seconds"], actor=fetch.requested_by
        )
    except ImportCancelled:
        if not job.shutting_down:  # else it begins again at the next start
            _forget(path)
        raise
    except CsvRefused as error:
        _forget(path)
        raise JobFailedError(str(error)) from error
    Fetch.objects.filter(pk=fetch.pk).update(
        done=1.0,
        data_import=record,
        n_rows=record.n_rows,
        n_stored=record.n_good,
        n_bad=record.n_bad,
        interval_seconds=record.interval_seconds,
    )
    _forget(path)


def uploads_dir() -> Path:
    """Where uploaded files wait for their job."""
    return Path(settings.LOCAL_DIR) / "uploads"


class _Report:
    """Writes progress on the row now and then, and stops the reading when somebody cancelled it."""

    def __init__(self, fetch: Fetch, job: Job) -> None:
        self.fetch, self.job, self.next = fetch, job, 0.0

    def __call__(self, share: float, n_bad: int) -> None:
        if time.monotonic() < self.next:
            return
        self.next = time.monotonic() + SECONDS_BETWEEN_REPORTS
        if self.job.shutting_down or self.job.read().desired_state == JobRow.Desired.STOPPED:
            raise ImportCancelled
        Fetch.objects.filter(pk=self.fetch.pk).update(done=share * READING_SHARE, n_bad=n_bad)
        self.job.beat(JobRow.State.RUNNING, "reading")
        notify("fetch", fetch=self.fetch.pk)


def _prepare(data: bytes, options: Mapping[str, Any], report: _Report) -> Prepared:
    return prepare(
        data,
        options["name"],
        zone=_zone(options["zone"]),
        time_format=options["time_format"],
        adjust=options["adjust"],
        columns=options["mapping"],
        symbol=options["symbol"],
        report=report,
    )


def _head(data: bytes, name: str) -> tuple[bytes, int]:
    """The first rows as CSV and how many rows there are in all."""
    _check_size(data, name)
    if is_parquet(data):
        try:
            return to_csv(data, n_rows=N_LOOKED_AT), _n_parquet_rows(data)
        except ValueError as error:
            raise CsvRefused(str(error)) from error
    end = -1
    for _ in range(N_LOOKED_AT + 1):
        end = data.find(b"\n", end + 1)
        if end < 0:
            return data, max(data.count(b"\n") - (0 if not data.endswith(b"\n") else 1), 0)
    return data[: end + 1], data.count(b"\n") - (1 if data.endswith(b"\n") else 0)


def _n_parquet_rows(data: bytes) -> int:
    import io

    import pyarrow.parquet

    return pyarrow.parquet.ParquetFile(io.BytesIO(data)).metadata.num_rows


def _check_size(data: bytes, name: str) -> None:
    if len(data) > SIZE_LIMIT_BYTES:
        raise CsvRefused(
            f"{name} has {len(data):,} bytes, the limit is {SIZE_LIMIT_BYTES:,}: "
            "split it, or run manage.py import_bars on the host"
        )


def _time_of(row: Mapping[str, str], mapping: Mapping[str, str]) -> str:
    text = row.get(mapping["time"], "")
    return f"{text} {row.get(mapping['clock'], '')}" if "clock" in mapping else text


def _known_zone(name: str) -> str:
    """Raises: CsvRefused for a zone nobody knows."""
    try:
        return ZoneInfo(name).key
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise CsvRefused(f"{name[:40]!r} is not a time zone: give a name such as UTC or America/New_York") from error


def _guess_zone(times: list[str], form: str | None, calendar: str) -> str:
    try:
        return zone_of([moment for moment in times if moment.strip()][::7] or times, form, calendar)
    except ValueError:  # an instrument whose calendar nobody knows; storing will say so
        return "UTC"


def _ambiguity(forms: list[str | None]) -> str:
    if not forms:
        return "the times cannot be read: choose the column that holds them, or say how they are written"
    if len(forms) > 1 and all(forms):
        return f"day and month cannot be told apart: say which it is, {' or '.join(str(form) for form in forms[:2])}"
    return ""


def _zone(name: str) -> tzinfo:
    return UTC if name == "UTC" else ZoneInfo(name)


def _nothing_good(name: str, prepared: Prepared) -> str:
    first = prepared.parsed.problems[0] if prepared.parsed.problems else None
    why = f"; row {first.row}: {first.reason}" if first else ""
    return f"{name} has no good row among {prepared.parsed.n_rows:,}{why}"


def _forget(path: Path) -> None:
    path.unlink(missing_ok=True)
