"""A job without process and lock, and a source that follows a script: for tests of streams and fetches."""

import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from core.models import Instrument, JobRow
from marketdata.models import Bar
from marketdata.series import BarSeries
from marketdata.sources.base import Asked, Found, Part, Update

MONDAY = datetime(2024, 3, 4, 12, tzinfo=UTC)
LONGEST_SECONDS = 20.0  # a test that hangs ends, and fails by what it asserts


class FakeJob:
    """What it was told, and when to end: `until` is asked whenever the row is read."""

    def __init__(self, row: JobRow, until: Callable[[], bool] = lambda: False) -> None:
        self.model, self.pk, self.until = type(row), row.pk, until
        self.beats: list[tuple[str, str]] = []
        self.ends_at = time.monotonic() + LONGEST_SECONDS
        self.n_waits = 0

    @property
    def shutting_down(self) -> bool:
        return time.monotonic() > self.ends_at or self.until()

    def read(self) -> Any:
        return self.model._default_manager.get(pk=self.pk)

    def beat(self, state: str, reason: str = "", *, applied_version: int | None = None) -> None:
        if not self.beats or self.beats[-1] != (state, reason):
            self.beats.append((str(state), reason))
        values = {"applied_version": applied_version} if applied_version is not None else {}
        self.model._default_manager.filter(pk=self.pk).update(state=state, state_reason=reason[:400], **values)

    def wait(self, seconds: float) -> list[dict]:
        self.n_waits += 1
        time.sleep(min(seconds, 0.01))
        return []


class Scripted:
    """Plays one script for each connection: updates are yielded, errors raised, functions called."""

    name, label, intervals = "scripted", "Scripted", ()

    def __init__(self, *scripts: list[Any], history: list[Any] | None = None) -> None:
        self.scripts, self.parts = list(scripts), history
        self.live_asked: list[list[Asked]] = []
        self.history_asked: list[Asked] = []
        self.n_closed = 0

    def search(self, text: str, limit: int = 10) -> list[Found]:
        return []

    def live(self, asked: list[Asked]) -> Iterator[Update]:
        self.live_asked.append(asked)
        script = self.scripts.pop(0) if self.scripts else []
        try:
            yield from played(script)
            while True:
                time.sleep(0.005)
                yield Update()
        finally:
            self.n_closed += 1

    def history(self, asked: Asked) -> Iterator[Part]:
        """The next entry of `history` for each question; a list is played, bars are cut to what was asked."""
        self.history_asked.append(asked)
        entry = (self.parts or [[]]).pop(0) if self.parts else []
        for part in played(entry if isinstance(entry, list) else [entry]):
            yield part if isinstance(part, Part) else Part(cut(part, asked))


def played(script: list[Any]) -> Iterator[Any]:
    for item in script:
        if isinstance(item, Exception):
            raise item
        if callable(item):
            item()
        else:
            yield item


def cut(series: BarSeries, asked: Asked) -> BarSeries:
    first = int(asked.start.timestamp()) if asked.start else 0
    return series.between(first, int(asked.end.timestamp()) if asked.end else 2**40)


def minute(number: int) -> datetime:
    return MONDAY + timedelta(minutes=number)


def bars(*numbers: int, price: float = 10.0, seconds: int = 60) -> BarSeries:
    """Bars of these minutes after MONDAY; each closes at its number above the price."""
    time_ = np.array([int(MONDAY.timestamp()) + number * seconds for number in numbers], dtype=np.int64)
    close = price + np.array(numbers, dtype=float)
    return BarSeries(time_, close, close + 1, close - 1, close, np.full(len(numbers), 5.0))


def make_instrument(symbol: str = "AAA", calendar: str = "24/7") -> Instrument:
    return Instrument.objects.create(symbol=symbol, name=symbol, asset_class="stock", calendar=calendar)


def stored(instrument: Instrument, interval_seconds: int = 60) -> list[int]:
    """Minutes after MONDAY of the stored bars."""
    rows = Bar.objects.filter(instrument=instrument, interval_seconds=interval_seconds).order_by("time")
    return [int((row.time - MONDAY).total_seconds()) // 60 for row in rows]
