"""One thing found wrong with a series, and what a person has already accepted. Pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal

import numpy as np

Severity = Literal["note", "warning", "blocking"]
DAY = 86_400
# Places kept with a finding. Up to this many are known one by one when somebody accepts them.
MOST_EXAMPLES = 20


@dataclass(frozen=True)
class Finding:
    """What is wrong, how bad it is and where. Times are seconds since 1970 UTC."""

    kind: str  # a DataFault.Kind
    severity: Severity
    n: int  # places: bars, sessions or gaps
    first: int
    last: int
    detail: str  # one sentence
    examples: list[dict[str, str]] = field(default_factory=list)  # time (ISO 8601) and what was found there


@dataclass(frozen=True)
class Accepted:
    """Places of one kind that a person has looked at and accepted."""

    first: int
    last: int
    n: int
    times: frozenset[int] | None  # each of them, or None where they were too many to keep


@dataclass(frozen=True)
class Split:
    """A stored split: its ex-date, how many new shares for an old one, and whether the bars already contain it."""

    day: int  # 00:00 UTC of the ex-date, seconds
    ratio: float
    in_prices: bool


def remaining(times: np.ndarray, accepted: Sequence[Accepted]) -> np.ndarray:
    """Which places are still to be reported, (P,) bool.

    Accepted places are left out. Where only their range and number are known, the range counts as accepted as long as
    it does not hold more places than it did.
    """
    keep = np.ones(times.size, dtype=bool)
    for known in accepted:
        if known.times is not None:
            keep &= ~np.isin(times, np.fromiter(known.times, np.int64, len(known.times)))
            continue
        within = (times >= known.first) & (times <= known.last)
        if int(within.sum()) <= known.n:
            keep &= ~within
    return keep


def finding(kind: str, severity: Severity, times: np.ndarray, detail: str, found: Callable[[int], str]) -> Finding:
    """A finding about the places `times` (ascending, at least one); found(i): what was found at place i."""
    shown = range(min(times.size, MOST_EXAMPLES))
    examples = [{"time": moment(int(times[i])).isoformat(), "found": found(i)} for i in shown]
    return Finding(kind, severity, int(times.size), int(times[0]), int(times[-1]), detail, examples)


def moment(seconds: int) -> datetime:
    """The moment, aware, UTC."""
    return datetime.fromtimestamp(seconds, UTC)


def when(seconds: int, interval_seconds: int) -> str:
    """A time in a sentence: the day for bars of a day or longer, else to the minute, or second for shorter bars."""
    if interval_seconds >= DAY:
        return f"{moment(seconds):%Y-%m-%d}"
    return f"{moment(seconds):%Y-%m-%d %H:%M}" if interval_seconds % 60 == 0 else f"{moment(seconds):%Y-%m-%d %H:%M:%S}"


def lasting(seconds: float) -> str:
    """A length of time in words."""
    if seconds < 120:
        return f"{seconds:.0f} seconds"
    if seconds < 7200:
        return f"{seconds / 60:.0f} minutes"
    return f"{seconds / 3600:.1f} hours" if seconds < 2 * DAY else f"{seconds / DAY:.0f} days"


def counted(n: int, one: str, many: str | None = None) -> str:
    """A number with its noun."""
    return f"{n:,} {one if n == 1 else many or one + 's'}"


AcceptedByKind = Mapping[str, Sequence[Accepted]]
