"""What is missing against the calendar, what should not be there, and feeds that stand still. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from marketdata.calendars import Sessions
from marketdata.health_finding import (
    DAY,
    Accepted,
    Finding,
    Severity,
    counted,
    finding,
    lasting,
    moment,
    remaining,
    when,
)
from marketdata.series import BarSeries

# Missing sessions: above these shares, or so many in a row.
SESSIONS_WARN, SESSIONS_BLOCK = 0.005, 0.05
RUN_WARN, RUN_BLOCK = 2, 6
# A gap inside a session is worth a line if it is longer than this and than three times what is usual for the series:
# minutes without a trade are legitimately absent.
GAP_LEAST_SECONDS, GAP_TIMES_USUAL = 300, 3
# Share of trading time lost in such gaps, and gaps over half a session in the last sessions.
GAPS_WARN, GAPS_BLOCK = 0.005, 0.10
RECENT_SESSIONS = 20
# A live feed may be silent for so long while its market is open; a daily bar may come so long after the close.
SILENT_SECONDS, SILENT_INTERVALS = 900, 3
DAILY_LATE_SECONDS = 6 * 3600


def inside(series: BarSeries, sessions: Sessions, interval_seconds: int) -> np.ndarray:
    """Bars that share at least a moment with a session; daily bars: whose span holds a session's date. (T,) bool."""
    if len(sessions) == 0:
        return np.zeros(len(series), dtype=bool)
    if interval_seconds >= DAY:
        day = series.time - series.time % DAY
        return np.searchsorted(sessions.day, day + interval_seconds) > np.searchsorted(sessions.day, day)
    after = np.searchsorted(sessions.closes, series.time, side="right")  # first session that closes after the start
    at = np.minimum(after, len(sessions) - 1)
    end = series.time + interval_seconds
    resting = (series.time >= sessions.break_starts[at]) & (end <= sessions.break_ends[at])
    return (after < len(sessions)) & (end > sessions.opens[at]) & ~resting


def outside_session(
    series: BarSeries, within: np.ndarray, interval_seconds: int, accepted: Sequence[Accepted]
) -> Finding | None:
    """Bars while the exchange was closed. A note for intraday bars (extended hours), a warning for daily ones."""
    at = np.flatnonzero(~within)
    at = at[remaining(series.time[at], accepted)]
    if at.size == 0:
        return None
    daily = interval_seconds >= DAY
    severity: Severity = "warning" if daily else "note"
    words = "on days without a session" if daily else "outside trading hours; they are marked"
    detail = f"{counted(at.size, 'bar lies', 'bars lie')} {words}, {at.size / len(series):.1%} of all."
    return finding(
        "outside_session", severity, series.time[at], detail, lambda i: f"{moment(int(series.time[at[i]])):%A}"
    )


def missing_sessions(
    series: BarSeries, sessions: Sessions, interval_seconds: int, accepted: Sequence[Accepted]
) -> Finding | None:
    """Sessions between the first and the last bar without a single bar."""
    first, last, present = _present(series, sessions, interval_seconds)
    if last <= first:
        return None
    empty = np.flatnonzero(~present[first : last + 1]) + first
    empty = empty[remaining(sessions.day[empty], accepted)]
    if empty.size == 0:
        return None
    share = empty.size / (last + 1 - first)
    starts, lengths = _runs(empty)
    longest = int(lengths.max())
    severity: Severity = "note"
    if share > SESSIONS_BLOCK or longest >= RUN_BLOCK:
        severity = "blocking"
    elif share > SESSIONS_WARN or longest >= RUN_WARN:
        severity = "warning"
    at = int(sessions.day[starts[int(lengths.argmax())]])
    detail = (
        f"{counted(empty.size, 'session has', 'sessions have')} no bar, {share:.2%} of {last + 1 - first:,}; "
        f"at most {longest} in a row, from {moment(at):%Y-%m-%d}."
    )
    days = sessions.day[empty]
    return finding("missing_sessions", severity, days, detail, lambda i: f"{moment(int(days[i])):%A}")


def gaps(
    series: BarSeries, within: np.ndarray, sessions: Sessions, interval_seconds: int, accepted: Sequence[Accepted]
) -> Finding | None:
    """Missing stretches inside the sessions that have bars; only for bars shorter than a day.

    Before the first and after the last bar of the series nothing is missed.
    """
    starts = series.time[within]
    if interval_seconds >= DAY or starts.size < 2:
        return None
    begin, length, owner = _silences(starts, sessions, interval_seconds)
    missing = length // interval_seconds
    usual = float(np.quantile(length, 0.99)) if length.size else 0.0
    long = (length > max(GAP_LEAST_SECONDS, GAP_TIMES_USUAL * usual)) & (missing > 1)
    long[long] = remaining(begin[long], accepted)
    if not long.any():
        return None
    _, last, present = _present(series, sessions, interval_seconds)
    hours = _trading_seconds(sessions)
    share = float(length[long].sum()) / float(hours[present].sum())
    halves = owner[long][length[long] > hours[owner[long]] / 2]
    severity: Severity = "note"
    if share > GAPS_BLOCK or np.any(halves > last - RECENT_SESSIONS):
        severity = "blocking"
    elif share > GAPS_WARN or halves.size:
        severity = "warning"
    times, lost = begin[long], missing[long]
    worst = int(lost.argmax())
    detail = (
        f"{counted(int(lost.sum()), 'bar is', 'bars are')} missing in {counted(times.size, 'long gap')}, "
        f"{share:.2%} of trading time; the longest {lasting(int(length[long][worst]))} from "
        f"{when(int(times[worst]), interval_seconds)}. "
        f"{counted(int(missing.sum() - lost.sum()), 'bar more is', 'bars more are')} absent here and there."
    )
    return finding("gaps", severity, times, detail, lambda i: counted(int(lost[i]), "bar"))


def stale(
    last_bar: int, since: int, now: int, sessions: Sessions, interval_seconds: int, accepted: Sequence[Accepted]
) -> Finding | None:
    """A live feed that has brought no bar though its market was open: always blocking.

    last_bar: start of the newest bar. since: when the feed was started; it owes nothing from before.
    sessions: of the days around. Only time during which the market traded counts, so that a night is no fault, and a
    feed that died before the close stays one. A daily bar is owed six hours after its session's close.
    """
    if interval_seconds >= DAY:
        owed = (sessions.day > last_bar) & (sessions.closes + DAILY_LATE_SECONDS <= now) & (sessions.closes > since)
        silent, words = int(owed.sum()), counted(int(owed.sum()), "session")
    else:
        start = max(last_bar + interval_seconds, since)
        traded = _overlap(sessions, start, now)
        silent = max(traded - max(SILENT_SECONDS, SILENT_INTERVALS * interval_seconds), 0)
        words = f"{lasting(traded)} of trading"
    place = np.array([last_bar], dtype=np.int64)
    if silent <= 0 or not remaining(place, accepted).all():
        return None
    detail = f"The running live feed has brought no new bar for {words}; the last began {when(last_bar, 60)} UTC."
    return finding("stale", "blocking", place, detail, lambda i: words)


def _present(series: BarSeries, sessions: Sessions, interval_seconds: int) -> tuple[int, int, np.ndarray]:
    """First and last session the series reaches into, and which sessions have a bar, (S,) bool."""
    present = np.zeros(len(sessions), dtype=bool)
    if interval_seconds >= DAY:
        day = series.time - series.time % DAY
        begin, end = np.searchsorted(sessions.day, day), np.searchsorted(sessions.day, day + interval_seconds)
    else:
        begin = np.searchsorted(sessions.closes, series.time, side="right")
        end = np.searchsorted(sessions.opens, series.time + interval_seconds, side="left")
    steps = np.zeros(len(sessions) + 1, dtype=np.int64)
    touching = end > begin
    np.add.at(steps, begin[touching], 1)
    np.add.at(steps, end[touching], -1)
    present[:] = np.cumsum(steps[:-1]) > 0
    found = np.flatnonzero(present)
    return (int(found[0]), int(found[-1]), present) if found.size else (0, -1, present)


def _silences(
    starts: np.ndarray, sessions: Sessions, interval_seconds: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Stretches of trading time without a bar: where each begins, its seconds and its session's number.

    Between two bars of one session, from the open to its first bar and from its last bar to the close; those of no
    length are left out.
    """
    owner = np.minimum(np.searchsorted(sessions.closes, starts, side="right"), len(sessions) - 1)
    ends = starts + interval_seconds
    same = owner[1:] == owner[:-1]
    at_open = np.flatnonzero(~same) + 1  # first bars of sessions, but the very first
    at_close = np.flatnonzero(~same)  # last bars of sessions, but the very last
    begin = np.concatenate([ends[:-1][same], sessions.opens[owner[at_open]], ends[at_close]])
    until = np.concatenate([starts[1:][same], starts[at_open], sessions.closes[owner[at_close]]])
    session = np.concatenate([owner[1:][same], owner[at_open], owner[at_close]])
    rest = np.maximum(
        np.minimum(until, sessions.break_ends[session]) - np.maximum(begin, sessions.break_starts[session]), 0
    )
    length = np.maximum(until - begin - rest, 0)
    order = np.argsort(begin, kind="stable")
    order = order[length[order] >= 0]
    return begin[order], length[order], session[order]


def _trading_seconds(sessions: Sessions) -> np.ndarray:
    return sessions.closes - sessions.opens - (sessions.break_ends - sessions.break_starts)


def _overlap(sessions: Sessions, start: int, end: int) -> int:
    """Seconds from `start` to `end` during which the market traded."""

    def shared(begins: np.ndarray, ends: np.ndarray) -> int:
        return int(np.maximum(np.minimum(ends, end) - np.maximum(begins, start), 0).sum())

    return shared(sessions.opens, sessions.closes) - shared(sessions.break_starts, sessions.break_ends)


def _runs(numbers: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """First number and length of every run of consecutive numbers."""
    starts = np.flatnonzero(np.diff(numbers, prepend=numbers[0] - 2) != 1)
    return numbers[starts], np.diff(np.append(starts, numbers.size))
