"""What a live stream's process says of itself on its row: when it looks next, what is wrong, what has come."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any

from core.models import JobRow
from core.notices import notify
from marketdata.models import Stream

WRITE_SECONDS = 1.0
COUNTS = ("n_bars", "n_ticks", "n_repeated", "n_late", "n_bad")


class Report:
    """Collected in memory, written at most once a second."""

    def __init__(self, stream_id: int, now: Callable[[], datetime]) -> None:
        self.stream_id, self.now = stream_id, now
        self.problem = ""
        self.note = ""  # what will not change by waiting, such as a source without history
        self.next_look: datetime | None = None
        self.last_bar: datetime | None = None
        known = Stream.objects.values_list("progress", flat=True).filter(pk=stream_id).first() or {}
        self.counts = {
            name: int(known.get(name) or 0) for name in ("n_bars", "n_ticks", "n_repeated", "n_late", "n_bad")
        }
        self._last_bar_words = known.get("last_bar")
        self._written: dict[str, Any] = dict(known)
        self._written_at = time.monotonic()
        self._n_ticks_then = self.counts["n_ticks"] + self.counts["n_repeated"]

    def said(self, *, problem: str, next_look: datetime | None) -> None:
        """What the source says just now; an empty problem means all is well."""
        self.problem, self.next_look = problem, next_look

    def came(self, counts: Mapping[str, int]) -> None:
        """Add what has come: n_bars, n_ticks, n_repeated, n_late, n_bad."""
        for name, n in counts.items():
            self.counts[name] += n

    def state(self) -> tuple[str, str]:
        """State and reason for the heartbeat."""
        if self.problem:
            return JobRow.State.WAITING, self.problem
        look = f"asked again at {self.next_look:%H:%M:%S} UTC" if self.next_look else ""
        return JobRow.State.RUNNING, "; ".join(filter(None, (self.note, look)))

    def write(self, *, now: bool = False) -> None:
        """Put it on the row if it is time and something is new."""
        passed = time.monotonic() - self._written_at
        if passed < WRITE_SECONDS and not now:
            return
        n_ticks = self.counts["n_ticks"] + self.counts["n_repeated"]
        rate = (n_ticks - self._n_ticks_then) / passed if passed > 0 else 0.0
        self._written_at, self._n_ticks_then = time.monotonic(), n_ticks
        content: dict[str, Any] = {
            "problem": self.problem,
            "note": self.note,
            "next_look": self.next_look.isoformat() if self.next_look else None,
            "last_bar": self.last_bar.isoformat() if self.last_bar else self._last_bar_words,
            "ticks_per_second": round(rate, 1),
            **self.counts,
        }
        if content == self._written:
            return
        told = any(content[name] != self._written.get(name) for name in ("problem", "note", "next_look"))
        self._written = content
        Stream.objects.filter(pk=self.stream_id).update(progress=content)
        if told:
            notify("stream", stream=self.stream_id)
