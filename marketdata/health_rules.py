"""Whether a stored series can be trusted: bars and sessions in, findings out. Pure; limits stand beside each rule.

What blocks trading, and why (everything else is a warning, or a note that only informs):
- broken: a price that is no number, not positive, or more than 1 % out of order: every result made of it is wrong.
- split_like: a jump by n:1 or 1:n without a stored split, or a stored split that the bars contradict: a false profit or
  loss of half the position or more, in training and in trading. (A jump by 3:2 only warns: it may be a bad day.)
- stale: a running live feed that brings nothing while its market trades: decisions would be made on old prices.
- gaps, missing_sessions: when so much is missing that indicators mean something else: a tenth of the trading time, over
  half a session among the last 20, a twentieth of the sessions, or six in a row.
Never blocking: outliers (they came back, or were real), duplicates, zero volume, bars outside sessions.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from marketdata.calendars import Sessions
from marketdata.health_finding import AcceptedByKind, Finding, Split
from marketdata.health_gaps import gaps, inside, missing_sessions, outside_session
from marketdata.health_prices import Extremes, broken, outliers, sound, zero_volume
from marketdata.health_repeats import duplicates
from marketdata.health_splits import split_like
from marketdata.series import BarSeries


@dataclass(frozen=True)
class About:
    """What the rules must know of a series beside its bars."""

    interval_seconds: int
    sessions: Sessions | None  # a few days beyond the series on both sides; None: the calendar is unknown
    has_volume: bool = True
    can_split: bool = True  # shares and funds do; indexes, futures and currencies do not
    splits: Sequence[Split] = ()
    shorter: Mapping[int, Extremes] = field(default_factory=dict)  # for daily bars, by their time


def examine(series: BarSeries, about: About, accepted: AcceptedByKind | None = None) -> list[Finding]:
    """Everything that is wrong with the stored bars, at most one finding a kind, worst first.

    accepted: places people have looked at and accepted, by kind; they are not reported again.
    Whether a feed is late is asked apart, by health_gaps.stale: it needs no bars but the last.
    """
    seconds, known = about.interval_seconds, accepted or {}
    if len(series) == 0:
        return []
    found = [
        broken(series, seconds, known.get("broken", ())),
        outliers(series, seconds, known.get("outliers", ()), about.shorter),
        duplicates(series, seconds, known.get("duplicates", ())),
    ]
    if about.can_split:
        found.append(split_like(series, seconds, about.splits, known.get("split_like", ())))
    within = sound(series)
    if about.sessions is not None:
        within = inside(series, about.sessions, seconds)
        found.append(missing_sessions(series, about.sessions, seconds, known.get("missing_sessions", ())))
        found.append(gaps(series, within, about.sessions, seconds, known.get("gaps", ())))
        found.append(outside_session(series, within, seconds, known.get("outside_session", ())))
    if about.has_volume:
        found.append(zero_volume(series, within, known.get("zero_volume", ())))
    rank = ("blocking", "warning", "note")
    return sorted((one for one in found if one is not None), key=lambda one: (rank.index(one.severity), one.kind))
