"""When Yahoo is asked again, and what of its answers is new. Pure: knows nothing of yfinance.

Each instrument is looked at shortly after each of its bars has ended. While its market is open and the bar that has
just ended is not there, it is looked at twice more, 15 s apart. While the market is closed it is looked at when the
first bar of the next session has ended, at the latest after 15 minutes. Bars of the last five intervals are compared
with what was given before: one that Yahoo has revised, or delivers late, is given (again).

When Yahoo does not answer, nothing is asked for a while: as long as it says itself (Retry-After), else 15 s, doubled
with each failure up to 15 minutes, a quarter more or less by chance so that many desks do not come back at once.
"""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

import numpy as np

from marketdata.series import BarSeries
from marketdata.sources.base import SourceRefusedError, SourceUnavailableError, Update

AFTER_END_SECONDS = 5.0  # Yahoo needs a moment to close a bar
REVISED_BARS = 5  # how many bars back a revision is noticed
PAUSE_SECONDS = 0.5  # between two questions
LATE_SECONDS, MOST_LATE_LOOKS = 15.0, 2
FIRST_WAIT_SECONDS, LONGEST_WAIT_SECONDS = 15.0, 900.0


@dataclass(frozen=True)
class Clock:
    """Time as polling sees it; tests put their own in."""

    now: Callable[[], datetime] = lambda: datetime.now(UTC)
    wait: Callable[[float], None] = time.sleep
    chance: Callable[[], float] = random.random  # 0 to 1


@dataclass(frozen=True)
class Seen:
    """One answer: closed bars only, and the trading period Yahoo calls current."""

    series: BarSeries
    opens: datetime | None = None
    closes: datetime | None = None


@dataclass
class Watched:
    """One instrument of a live feed."""

    symbol: str
    interval_seconds: int
    since: int  # bars from this second on are wanted
    due: datetime
    known: dict[int, tuple[float, ...]] = field(default_factory=dict)  # the last bars given, by time
    n_late: int = 0
    worked: bool = False

    @property
    def ask_from(self) -> int:
        """Seconds UTC from which bars are asked for, so that revisions are noticed."""
        return max(self.since, min(self.known)) if self.known else self.since

    def fresh(self, series: BarSeries) -> BarSeries:
        """Bars not given before or revised since; remembers them."""
        rows = np.column_stack([series.open, series.high, series.low, series.close, series.volume])
        first = min(self.known, default=self.since)
        new, volume = np.zeros(len(series), dtype=bool), np.array(series.volume)
        for at, moment in enumerate(series.time.tolist()):
            before = self.known.get(moment)
            if before is not None and volume[at] == 0.0:
                volume[at] = rows[at, 4] = before[4]  # Yahoo's gap, not a revision
            new[at] = moment >= first and before != tuple(rows[at].tolist())
            if new[at]:
                self.known[moment] = tuple(rows[at].tolist())
        for moment in sorted(self.known)[:-REVISED_BARS]:
            del self.known[moment]
        prices = {name: getattr(series, name)[new] for name in ("time", "open", "high", "low", "close")}
        return BarSeries(**prices, volume=volume[new])


class BackOff:
    """How long to leave Yahoo alone after failures."""

    def __init__(self, chance: Callable[[], float]) -> None:
        self.chance = chance
        self.n_failures = 0

    def seconds(self, retry_after: float | None) -> float:
        """Counts one more failure. Returns: how long to wait."""
        self.n_failures += 1
        if retry_after:
            return retry_after
        usual = min(FIRST_WAIT_SECONDS * 2.0 ** min(self.n_failures - 1, 10), LONGEST_WAIT_SECONDS)
        return min(usual * (0.75 + 0.5 * self.chance()), LONGEST_WAIT_SECONDS)

    def worked(self) -> None:
        """Forget the failures."""
        self.n_failures = 0


class Polling:
    """Endless updates. look: asks Yahoo for one instrument; raises SourceError."""

    def __init__(self, watched: list[Watched], look: Callable[[Watched], Seen], clock: Clock) -> None:
        self.watched, self.look, self.clock = watched, look, clock
        self.back_off = BackOff(clock.chance)
        self.not_before = clock.now()
        self.problem = ""

    def updates(self) -> Iterator[Update]:
        """One after each look, and empty ones at least once a second. Raises: SourceRefusedError."""
        helper = ThreadPoolExecutor(max_workers=1, thread_name_prefix="yahoo")
        try:
            while True:
                watched = min(self.watched, key=lambda one: one.due)
                due = max(watched.due, self.not_before)
                left = (due - self.clock.now()).total_seconds()
                if left > 0:
                    yield Update(next_look=due, problem=self.problem)
                    self.clock.wait(min(left, 0.9))
                    continue
                job = helper.submit(self.look, watched)  # apart, so that a slow answer stops nobody's heartbeat
                while not wait([job], timeout=0.5).done:
                    yield Update(problem=self.problem)
                yield self._after(watched, job)
        finally:
            helper.shutdown(wait=False, cancel_futures=True)

    def _after(self, watched: Watched, job: Future[Seen]) -> Update:
        try:
            seen = job.result()
        except SourceUnavailableError as error:
            return self._failed(str(error), error.retry_after_seconds)
        except SourceRefusedError as error:
            if not watched.worked:
                raise
            # Yahoo has given it before: it also says "may be delisted" when it is only unwell.
            return self._failed(str(error), None)
        now = self.clock.now()
        self.back_off.worked()
        self.problem, self.not_before = "", now + timedelta(seconds=PAUSE_SECONDS)
        bars, watched.worked = watched.fresh(seen.series), True
        watched.due = next_due(watched, seen, now)
        return Update(bars={watched.symbol: bars} if len(bars) else {}, next_look=self._next())

    def _failed(self, reason: str, retry_after: float | None) -> Update:
        seconds = self.back_off.seconds(retry_after)
        self.not_before = self.clock.now() + timedelta(seconds=seconds)
        self.problem = f"{reason}. Next look at {self.not_before:%H:%M:%S} UTC."
        return Update(next_look=self.not_before, problem=self.problem)

    def _next(self) -> datetime:
        return max(min(one.due for one in self.watched), self.not_before)


def next_due(watched: Watched, seen: Seen, now: datetime) -> datetime:
    """When to look at an instrument again; counts looks for a late bar."""
    interval, after = watched.interval_seconds, timedelta(seconds=AFTER_END_SECONDS)
    grid = math.floor(now.timestamp() / interval) * interval
    usual = datetime.fromtimestamp(grid + interval, UTC) + after
    if seen.opens is None and len(seen.series) == 0:
        return max(usual, now + timedelta(seconds=LONGEST_WAIT_SECONDS))  # nothing at all: a day without trading
    session_over = seen.closes is not None and now >= seen.closes + timedelta(seconds=interval)
    if seen.opens is not None and seen.closes is not None and (session_over or now < seen.opens):
        watched.n_late = 0
        first_bar = seen.opens + timedelta(seconds=interval) + after
        rest = max(usual, now + timedelta(seconds=LONGEST_WAIT_SECONDS))
        return min(first_bar, rest) if first_bar > now else rest
    expected = grid - interval
    began = seen.opens is not None and seen.opens.timestamp() <= expected
    if began and expected not in watched.known and watched.n_late < MOST_LATE_LOOKS:
        watched.n_late += 1
        return min(usual, now + timedelta(seconds=LATE_SECONDS))
    watched.n_late = 0
    return usual


def starting(watched: Watched, now: datetime) -> Watched:
    """The same, due at once, and reaching a few bars back if nothing was said about its start."""
    since = watched.since or int(now.timestamp()) - (REVISED_BARS + 1) * watched.interval_seconds
    return replace(watched, since=since, due=now)
