"""One stream as the Data page shows it: state, age of its last bar, progress, and what may be pressed."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import cached_property

from django.utils import timezone
from django.utils.dateparse import parse_datetime

from core.job_words import ENDED, wish
from core.models import Instrument, JobRow
from marketdata import control
from marketdata.explorer import interval_words
from marketdata.models import Stream

INTRADAY_SPEEDS = ("1x", "10x", "100x", "1000x", "max")
DAILY_SPEEDS = ("1/s", "5/s", "20/s", "max")
SHORT_SOURCES = {"replay": "", "yahoo": "Yahoo", "bridge": "bridge", "ccxt": "crypto", "simulator": "simulated"}


@dataclass(frozen=True)
class Speed:
    """One place of the speed switch."""

    value: str  # as control.parse_speed reads it
    words: str
    on: bool


class StreamView:
    """Everything is worked out from the row; nothing is counted."""

    def __init__(self, stream: Stream) -> None:
        self.stream = stream
        self.wish = wish(stream)

    @cached_property
    def instruments(self) -> list[Instrument]:
        return sorted(self.stream.instruments.all(), key=lambda instrument: instrument.symbol)

    @property
    def title(self) -> str:
        """AAPL, live. Named by what it carries; many instruments by the first two."""
        symbols = [instrument.symbol for instrument in self.instruments]
        shown = ", ".join(symbols[:2]) + (f" and {len(symbols) - 2} more" if len(symbols) > 2 else "")
        return f"{shown or self.stream.name}, {'live' if self.stream.is_live else 'replay'}"

    @property
    def badge(self) -> str:
        source = SHORT_SOURCES.get(self.stream.source, self.stream.source)
        return " · ".join(filter(None, (source, interval_words(self.stream.interval_seconds))))

    @property
    def simulated(self) -> bool:
        return self.stream.source == Stream.Source.SIMULATOR

    @property
    def dot(self) -> str:
        state = self.stream.state
        if state == JobRow.State.FAILED:
            return "loss"
        if self.problem or self.wish or state in (JobRow.State.STARTING, JobRow.State.WAITING, JobRow.State.PAUSED):
            return "warn"
        return "" if state == JobRow.State.RUNNING else "off"

    @property
    def state_word(self) -> str:
        if self.stream.state == JobRow.State.FINISHED:
            return "has ended"
        return self.wish or str(self.stream.get_state_display())

    @property
    def problem(self) -> str:
        """What is wrong, in the process's own words."""
        if self.stream.state == JobRow.State.FAILED:
            return self.stream.state_reason or "stopped by an error; the log says more"
        return str(self.stream.progress.get("problem") or "") if self.running else ""

    @property
    def waiting_for(self) -> str:
        return self.stream.state_reason if self.stream.state == JobRow.State.WAITING else ""

    @property
    def running(self) -> bool:
        return self.stream.state not in ENDED

    @property
    def next_in(self) -> float | None:
        """Seconds until a live source is asked again."""
        moment = parse_datetime(str(self.stream.progress.get("next_look") or ""))
        if moment is None or not self.running or moment.tzinfo is None:
            return None
        return max((moment - timezone.now()).total_seconds(), 0.0)

    @property
    def last_bar(self) -> datetime | None:
        return self.stream.cursor

    @property
    def share(self) -> float:
        """How far a replay has come, 0 to 1, by time and not by counting bars."""
        stream = self.stream
        if stream.to_time is None or stream.cursor is None:
            return 0.0
        whole = (stream.to_time - stream.from_time) / timedelta(seconds=1)
        return min(1.0, max(0.0, (stream.cursor - stream.from_time) / timedelta(seconds=1) / whole)) if whole else 1.0

    @property
    def has_speed(self) -> bool:
        return self.stream.source in control.PACED

    @property
    def speed_label(self) -> str:
        return "Speed" if speeds_of(self.stream.interval_seconds) == INTRADAY_SPEEDS else "Bars a second"

    @property
    def speeds(self) -> list[Speed]:
        """The switch of a replay; a speed set elsewhere is shown as it is."""
        interval, now = self.stream.interval_seconds, self.stream.bars_per_second
        found = [
            Speed(value, _speed_words(value), abs(control.parse_speed(value, interval) - now) < 1e-9)
            for value in speeds_of(interval)
        ]
        return (
            found if any(speed.on for speed in found) else [*found, Speed("", control.speed_words(self.stream), True)]
        )

    @property
    def can_start(self) -> bool:
        ready = (JobRow.State.STOPPED, JobRow.State.FAILED, JobRow.State.PAUSED)
        return not self.wish and self.stream.state in ready

    @property
    def start_word(self) -> str:
        return "Continue" if self.stream.cursor else "Start"

    @property
    def can_pause(self) -> bool:
        return not self.wish and self.stream.state in (JobRow.State.RUNNING, JobRow.State.WAITING)

    @property
    def can_stop(self) -> bool:
        return self.stream.desired_state != JobRow.Desired.STOPPED and self.stream.state not in (
            JobRow.State.FINISHED,
            JobRow.State.FAILED,
        )

    @property
    def can_delete(self) -> bool:
        return self.stream.state in ENDED and not self.wish


def speeds_of(interval_seconds: int) -> tuple[str, ...]:
    """Speeds that make sense: multiples of real time for bars within a day, bars a second for daily ones."""
    return INTRADAY_SPEEDS if interval_seconds < 3600 else DAILY_SPEEDS


def _speed_words(value: str) -> str:
    if value == "max":
        return value
    return f"{value[:-1]}\u202f×" if value.endswith("x") else value.removesuffix("/s")


def stream_views() -> list[StreamView]:
    """All streams: those at work first."""
    views = [StreamView(stream) for stream in Stream.objects.prefetch_related("instruments")]
    return sorted(views, key=lambda view: (not view.running, view.stream.name))
