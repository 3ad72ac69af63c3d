"""Faults as rows: kept in line with what was found, accepted by people, told to the journal and the pages."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from itertools import groupby

from django.db import transaction
from django.db.models import QuerySet
from django.utils import timezone

from core.journal import record
from core.models import Event, Instrument
from core.notices import notify
from marketdata import intervals
from marketdata.health_finding import Accepted, Finding, moment
from marketdata.models import DataFault

SYSTEM = "system"


def open_faults(instrument_id: int, interval_seconds: int) -> list[DataFault]:
    """Faults that are open now, worst first."""
    rank = [DataFault.Severity.BLOCKING, DataFault.Severity.WARNING, DataFault.Severity.NOTE]
    found = _still_open(instrument_id, interval_seconds)
    return sorted(found, key=lambda fault: (rank.index(DataFault.Severity(fault.severity)), fault.kind))


@transaction.atomic
def clear(fault: DataFault, *, actor: str, reason: str) -> DataFault:
    """A person has looked at a fault and accepts it: it is closed and does not come back for the same places.

    Raises: ValueError without a reason, or if the fault is closed already.
    """
    reason = reason.strip()
    if not reason or len(reason) > 240:
        raise ValueError(f"the reason has {len(reason)} characters, expected 1 to 240: say why the data can be trusted")
    row = DataFault.objects.select_for_update(of=("self",)).select_related("instrument").get(pk=fault.pk)
    if row.cleared_at is not None:
        raise ValueError(f"this fault was cleared already, on {row.cleared_at:%Y-%m-%d %H:%M} by {row.cleared_by}")
    row.cleared_at, row.cleared_by, row.clear_reason = timezone.now(), actor[:80], reason
    row.save(update_fields=["cleared_at", "cleared_by", "clear_reason"])
    was_blocking = row.severity == DataFault.Severity.BLOCKING
    level = Event.Level.ATTENTION if was_blocking else Event.Level.INFO
    _tell(row, "cleared", f"{_title(row)} cleared: {reason}", level=level, actor=actor)
    notify("data_fault", instrument=row.instrument_id)
    return row


def accepted(
    instrument_id: int, interval_seconds: int, kinds: Iterable[str] | None = None
) -> dict[str, list[Accepted]]:
    """Places people have accepted, by kind."""
    rows = (
        DataFault.objects.filter(instrument_id=instrument_id, interval_seconds=interval_seconds)
        .filter(cleared_at__isnull=False)
        .exclude(cleared_by=SYSTEM)
        .order_by("kind")
    )
    if kinds is not None:
        rows = rows.filter(kind__in=list(kinds))
    return {kind: [_places(row) for row in group] for kind, group in groupby(rows, key=lambda row: row.kind)}


def _places(row: DataFault) -> Accepted:
    times = frozenset(int(datetime.fromisoformat(example["time"]).timestamp()) for example in row.examples)
    first, last = (int(at.timestamp()) if at else 0 for at in (row.first_time, row.last_time))
    return Accepted(first, last, row.n, times if len(times) == row.n else None)


def _still_open(instrument_id: int, interval_seconds: int) -> QuerySet[DataFault]:
    return DataFault.objects.filter(
        instrument_id=instrument_id, interval_seconds=interval_seconds, cleared_at=None
    ).select_related("instrument")


def keep(
    instrument: Instrument, interval_seconds: int, found: Sequence[Finding], kinds: set[str], now: datetime
) -> None:
    """Bring the open faults of these kinds in line with what was found; the journal gets what changed."""
    Instrument.objects.select_for_update(no_key=True).get(pk=instrument.pk)  # one check of an instrument at a time
    known = {fault.kind: fault for fault in _still_open(instrument.pk, interval_seconds).filter(kind__in=kinds)}
    changed = False
    for finding in found:
        fault = known.pop(finding.kind, None)
        before = (fault.severity, fault.n, fault.detail) if fault else None
        fault = fault or DataFault(
            instrument=instrument, interval_seconds=interval_seconds, kind=finding.kind, found_at=now
        )
        _fill(fault, finding, now)
        changed |= before != (fault.severity, fault.n, fault.detail)
        _journal_found(fault, before[0] if before else None)
    for fault in known.values():
        fault.cleared_at, fault.cleared_by = now, SYSTEM
        fault.clear_reason = "The last check did not find it any more."
        fault.save(update_fields=["cleared_at", "cleared_by", "clear_reason"])
        changed = True
        if fault.severity != DataFault.Severity.NOTE:
            _tell(fault, "cleared", f"{_title(fault)}: not found any more")
    if changed:
        notify("data_fault", instrument=instrument.pk)


def _fill(fault: DataFault, finding: Finding, now: datetime) -> None:
    fault.severity, fault.n, fault.detail = finding.severity, finding.n, finding.detail[:400]
    fault.first_time, fault.last_time = moment(finding.first), moment(finding.last)
    fault.examples, fault.seen_at = finding.examples, now
    fault.save()


def _journal_found(fault: DataFault, severity_before: str | None) -> None:
    """A line for a new fault and for one that begins or ceases to stop trading; notes are not worth one."""
    stops = fault.severity == DataFault.Severity.BLOCKING
    stopped = severity_before == DataFault.Severity.BLOCKING
    is_new = severity_before is None and fault.severity != DataFault.Severity.NOTE
    if is_new or stops != stopped:
        level = Event.Level.ATTENTION if stops else Event.Level.INFO
        effect = " No agent trades on it until this is cleared." if stops else ""
        _tell(fault, "found", f"{_title(fault)}: {fault.detail}{effect}", level=level)


def _tell(fault: DataFault, what: str, message: str, *, level: str = Event.Level.INFO, actor: str = SYSTEM) -> None:
    data = {"kind": fault.kind, "severity": fault.severity, "n": fault.n, "interval_seconds": fault.interval_seconds}
    subject = f"instrument:{fault.instrument_id}"
    record(f"data_fault.{what}", message, level=level, actor=actor, subject=subject, data=data)


def _title(fault: DataFault) -> str:
    return f"{fault.instrument} {intervals.words(fault.interval_seconds)} bars, {fault.get_kind_display()}"
