"""Jobs that bring history in, as the Data page shows them."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from core.job_words import wish
from core.models import Instrument, JobRow
from marketdata.explorer import N_ROWS, interval_words, source_words
from marketdata.models import DataImport, Fetch
from marketdata.sources import registry

RECENT = timedelta(hours=12)


class FetchView:
    """A job that brings history in, as the page shows it."""

    def __init__(self, fetch: Fetch) -> None:
        self.fetch = fetch
        self.wish = wish(fetch)

    @property
    def running(self) -> bool:
        state, wanted = self.fetch.state, self.fetch.desired_state
        if state in (JobRow.State.FINISHED, JobRow.State.FAILED):
            return False
        return state != JobRow.State.STOPPED or wanted == JobRow.Desired.RUNNING

    @property
    def state(self) -> str:
        """running, finished, failed or canceled."""
        if self.running:
            return "running"
        return "canceled" if self.fetch.state == JobRow.State.STOPPED else self.fetch.state

    @property
    def seconds(self) -> float:
        return ((self.fetch.ended_at or timezone.now()) - self.fetch.created_at).total_seconds()

    @property
    def left(self) -> float | None:
        """Seconds it still needs at this pace; None before there is a pace."""
        done = self.fetch.done
        return self.seconds * (1 - done) / done if self.running and done > 0.02 else None

    @property
    def speed(self) -> float | None:
        return self.fetch.n_rows / self.seconds if self.fetch.n_rows and self.seconds > 0.5 else None

    @property
    def can_cancel(self) -> bool:
        return self.running and self.fetch.desired_state != JobRow.Desired.STOPPED

    @property
    def is_file(self) -> bool:
        return self.fetch.source == registry.FILE

    @property
    def source(self) -> str:
        name = self.fetch.options.get("name", "") if self.is_file else ""
        return name or source_words(self.fetch.source)

    @property
    def interval(self) -> str:
        return interval_words(self.fetch.interval_seconds)

    @property
    def problems(self) -> list[dict[str, Any]]:
        """The first bad rows, if it was a file."""
        found = self.fetch.data_import
        return found.problems[:N_ROWS] if found else []


def fetch_views() -> list[FetchView]:
    """What is under way, then what ended lately."""
    fetches = Fetch.objects.select_related("instrument", "data_import").order_by("-id")
    recent = fetches.filter(Q(ended_at=None) | Q(ended_at__gte=timezone.now() - RECENT))[:N_ROWS]
    return sorted((FetchView(fetch) for fetch in recent), key=lambda view: not view.running)


def last_import(instrument: Instrument | None) -> DataImport | None:
    """The newest file or package brought in for an instrument."""
    return DataImport.objects.filter(instrument=instrument).order_by("-id").first() if instrument else None
