"""Brings history in as a job: asks a source only for what is not stored yet, shows progress, and can be cancelled.

What was asked and answered is written on the job's row as stretches of time ("covered"), piece by piece. So a job that
crashed goes on where it was, a cancelled one keeps what it has, and the next one does not ask for it again.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.db import transaction
from django.utils import timezone

from core import jobs
from core.jobs import Job, JobFailedError
from core.journal import record
from core.models import Instrument, JobRow
from marketdata import intervals
from marketdata.fetch_job import CancelledError, Fetching
from marketdata.models import Fetch
from marketdata.sources import registry
from marketdata.sources.base import SourceError

ENDED = (JobRow.State.FINISHED, JobRow.State.FAILED)


def request(
    source: str,
    instrument: Instrument,
    interval_seconds: int,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    options: dict[str, Any] | None = None,
    actor: str,
    queue: bool = True,
) -> Fetch:
    """Ask for history. start None: as far back as the source goes; end None: until now; both aware.

    options: for the source, and "refresh" (true asks again for what is stored). queue: False leaves the running to
    the caller. Returns: the job's row.
    Raises: ValueError if the source is unknown or has no such bars, or if the same is being fetched already.
    """
    _check(source, instrument, interval_seconds, start, end)
    words = f"{instrument.symbol}, {intervals.words(interval_seconds)} bars from {registry.names()[source]}"
    with transaction.atomic():
        fetch = Fetch.objects.create(
            source=source, instrument=instrument, interval_seconds=interval_seconds, from_time=start, to_time=end,
            options=options or {}, requested_by=actor[:80],
        )  # fmt: skip
        record("data.fetch_started", f"{words}: asked for", actor=actor, subject=f"fetch:{fetch.pk}")
        if queue:
            jobs.request("fetch", fetch.pk, JobRow.Desired.RUNNING)
    fetch.refresh_from_db()
    return fetch


@transaction.atomic
def cancel(fetch: Fetch, *, actor: str) -> None:
    """Stop a job; what it has stored stays. Raises: ValueError if it has ended."""
    row = Fetch.objects.select_related("instrument").select_for_update(of=("self",)).get(pk=fetch.pk)
    if row.state in ENDED:
        raise ValueError(f"{row} has already ended ({row.get_state_display()}), so there is nothing to cancel")
    if row.desired_state == JobRow.Desired.STOPPED:
        raise ValueError(f"{row} was already asked to stop")
    Fetch.objects.filter(pk=row.pk).update(ended_at=timezone.now())
    jobs.request("fetch", row.pk, JobRow.Desired.STOPPED)
    record("data.fetch_cancelled", f"{row}: cancelled; what is stored stays", actor=actor, subject=f"fetch:{row.pk}")


def run(job: Job, *, on_progress: Callable[[Fetch], object] = lambda fetch: None) -> None:
    """The process of one job, until it has ended, failed, was cancelled or the desk shuts down.

    on_progress: called with the row after every piece. Raises: JobFailedError for what a person must change.
    """
    fetch: Fetch = job.read()
    if fetch.state in ENDED:
        return
    if fetch.desired_state != JobRow.Desired.RUNNING:
        _stopped(job)
        return
    job.beat(JobRow.State.RUNNING, applied_version=fetch.settings_version)
    try:
        if fetch.source == registry.FILE:
            _import_file(fetch, job)
        else:
            Fetching(job, fetch, on_progress).run()
    except CancelledError:
        if job.shutting_down:
            job.beat(JobRow.State.STOPPING, "goes on at the next start")
        else:
            _stopped(job)
    except JobFailedError:
        Fetch.objects.filter(pk=job.pk).update(ended_at=timezone.now())
        raise


def _check(
    source: str, instrument: Instrument, interval_seconds: int, start: datetime | None, end: datetime | None
) -> None:
    try:
        found = registry.source(source)
    except SourceError as error:
        raise ValueError(str(error)) from error
    if found.intervals and interval_seconds not in found.intervals:
        offered = ", ".join(intervals.words(seconds) for seconds in found.intervals)
        raise ValueError(f"{found.label} has no {intervals.words(interval_seconds)} bars; it has {offered}")
    if start is not None and end is not None and start > end:
        raise ValueError(f"the end, {end:%Y-%m-%d %H:%M}, comes before the start, {start:%Y-%m-%d %H:%M}: swap them")
    if start is not None and start > timezone.now():
        raise ValueError(f"{start:%Y-%m-%d %H:%M} is in the future; there is no history of it")
    same = Fetch.objects.filter(
        source=source, instrument=instrument, interval_seconds=interval_seconds, desired_state=JobRow.Desired.RUNNING
    )
    busy = same.exclude(state__in=ENDED).first()
    if busy:
        raise ValueError(f"{busy} is already being fetched (job {busy.pk}); wait for it or cancel it")


def _import_file(fetch: Fetch, job: Job) -> None:
    # Imported here: it reads Parquet, which a fetch from a source does not need.
    from marketdata import file_import

    try:
        file_import.run(fetch, job)
    except file_import.ImportCancelled as error:
        raise CancelledError from error
    Fetch.objects.filter(pk=fetch.pk).update(ended_at=timezone.now())
    job.beat(JobRow.State.FINISHED)


def _stopped(job: Job) -> None:
    Fetch.objects.filter(pk=job.pk, ended_at=None).update(ended_at=timezone.now())
    job.beat(JobRow.State.STOPPED, "cancelled; what is stored stays")
