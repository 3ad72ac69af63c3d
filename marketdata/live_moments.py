"""Which bars of a live stream may be published. Pure, no database.

A bar is published when it is closed and everybody's is there. With several instruments a moment is complete when each
of them has brought a bar of that moment or a later one; one that brings nothing (it was not traded) is waited for no
longer than a grace time. From ticks, a bar is closed when each instrument's ticks have gone beyond its end, or the
market's time has by the grace time. A bar that comes after its moment was published is stored, and agents that have
not passed it yet still see it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from marketdata import calendars

BARS_GRACE_SECONDS = 10.0  # from when the first bar of a moment came
TICKS_GRACE_SECONDS = 2.0  # from when it ended


class Moments:
    """What has come of each instrument, and what that makes complete."""

    def __init__(
        self,
        calendars_of: Mapping[int, str],
        interval_seconds: int,
        *,
        grace_seconds: float | None = None,
        by_clock: bool = True,
        from_ticks: bool = False,
    ) -> None:
        """calendars_of: calendar by instrument id. by_clock: whether the market's time is the clock's; otherwise only
        what has come says how late it is there. from_ticks: true as soon as the first tick has come, or before."""
        self.calendars_of, self.interval_seconds = dict(calendars_of), interval_seconds
        self.grace_seconds, self.by_clock = grace_seconds, by_clock
        self.from_ticks = from_ticks
        self.bars: dict[int, int] = {}  # start of each instrument's last bar, seconds UTC
        self.ticks: dict[int, float] = {}  # time of each instrument's last tick
        self._seen: dict[int, float] = {}  # when a moment was first asked about

    def bars_came(self, instrument_id: int, last: int) -> None:
        """Closed bars of an instrument up to the one that began at `last` are stored."""
        self.bars[instrument_id] = max(last, self.bars.get(instrument_id, last))

    def ticks_came(self, instrument_id: int, last: float) -> None:
        """Ticks of an instrument up to `last`, seconds UTC, are stored."""
        self.ticks[instrument_id] = max(last, self.ticks.get(instrument_id, last))

    def complete(self, times: Sequence[int], now: float) -> list[int]:
        """The moments that may be published, in order, up to the first that may not yet.

        times: starts of stored bars that are not published, ascending, seconds UTC. now: the clock.
        """
        for time in times:
            self._seen.setdefault(time, now)  # all of them: those behind a late one do not wait once more
        found: list[int] = []
        for time in times:
            if not self._is_complete(time, self._seen[time], now):
                break
            found.append(time)
        done = found[-1] if found else 0
        self._seen = {time: first for time, first in self._seen.items() if time > done}
        return found

    def closes(self, time: int) -> int:
        """When the bar of a moment has closed for all instruments."""
        start = np.array([time])
        names = set(self.calendars_of.values())
        return max(int(calendars.closes_at(name, start, self.interval_seconds)[0]) for name in names)

    def _is_complete(self, time: int, first: float, now: float) -> bool:
        closes = self.closes(time)
        if now < closes:
            return False
        if self.from_ticks:
            return self._ticks_are_beyond(closes, now)
        if all(self.bars.get(pk, 0) >= time for pk in self.calendars_of):
            return True
        grace = BARS_GRACE_SECONDS if self.grace_seconds is None else self.grace_seconds
        return now - first >= grace

    def _ticks_are_beyond(self, closes: int, now: float) -> bool:
        if all(self.ticks.get(pk, 0.0) >= closes for pk in self.calendars_of):
            return True
        latest = max(self.ticks.values(), default=0.0)
        grace = TICKS_GRACE_SECONDS if self.grace_seconds is None else self.grace_seconds
        return (max(latest, now) if self.by_clock else latest) >= closes + grace
