"""Rows a source sent, made into bars: good ones kept in order, bad ones counted with a reason. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime

import numpy as np

from marketdata.series import BarSeries

Row = tuple[int, float, float, float, float, float]  # time in seconds, open, high, low, close, volume
N_MOST_PROBLEMS = 5


@dataclass
class Kept:
    """What came of the rows of one answer."""

    series: BarSeries
    n_bad: int = 0
    problems: list[str] = field(default_factory=list)  # the first few, in words


def keep(rows: Iterable[Row], *, after: int | None = None) -> Kept:
    """Bars later than `after` (seconds since 1970), ascending; of a time that comes twice the first row stays.

    A row that does not come after the one before it is bad, so that what one answer repeats of another is not stored
    twice. Rows at or before `after` are left out without being bad: sources like to repeat the last bar of a page.
    """
    good: list[Row] = []
    problems: list[str] = []
    n_bad = 0
    last = after
    for row in rows:
        if after is not None and row[0] <= after:
            continue
        reason = what_is_wrong(row)
        if not reason and last is not None and row[0] <= last:
            reason = "does not come after the bar before it"
        if reason:
            n_bad += 1
            if len(problems) < N_MOST_PROBLEMS:
                problems.append(f"{moment(row[0])}: {reason}")
            continue
        good.append(row)
        last = row[0]
    return Kept(series_of(good), n_bad, problems)


def what_is_wrong(row: Row) -> str:
    """Why these numbers are no bar; empty when they are."""
    _, open_, high, low, close, volume = row
    if not all(math.isfinite(value) for value in row):
        return "a number is missing"
    if min(open_, high, low, close) <= 0:
        return "a price is not above 0"
    if high < low:
        return f"high {high:g} is below low {low:g}"
    if not (low <= open_ <= high and low <= close <= high):
        return f"open {open_:g} or close {close:g} is outside low {low:g} to high {high:g}"
    return f"volume is {volume:g}: it cannot be negative" if volume < 0 else ""


def series_of(rows: list[Row]) -> BarSeries:
    """The rows as a series, in their order. Raises: ValueError when times do not ascend."""
    if not rows:
        return BarSeries.empty()
    columns = list(zip(*rows, strict=True))
    return BarSeries(np.array(columns[0], dtype=np.int64), *(np.array(column) for column in columns[1:]))


def moment(seconds: float) -> str:
    """A time in words; sources can send times that are none."""
    try:
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")
    except (OverflowError, OSError, ValueError):
        return f"time {seconds}"
