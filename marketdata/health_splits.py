"""Jumps that look like a split nobody has stored, and stored splits the bars contradict. Pure."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from marketdata.health_finding import DAY, Accepted, Finding, Severity, Split, counted, finding, remaining, when
from marketdata.health_prices import sound
from marketdata.series import BarSeries

TOLERANCE = 0.04  # of the ratio at the open, as a logarithm: the market moves overnight too
STAYS = 0.15  # and the price must stay at the new level, measured by the median close of
NEAR = 5  # so many bars before and after
# 3 for 2 is also a plain bad day: it must be nearer, and is only a warning.
ONE_AND_A_HALF, ONE_AND_A_HALF_TOLERANCE = np.log(1.5), 0.02
LEAST = np.log(1.4)  # a stored split smaller than this cannot be told from a move
EX_DATE_DAYS = 4  # a vendor's ex-date may be off by a session, and a weekend lies between


def split_like(
    series: BarSeries, interval_seconds: int, splits: Sequence[Split], accepted: Sequence[Accepted]
) -> Finding | None:
    """Jumps by n:1, 1:n or 3:2 without a stored split, and stored splits whose "already in prices" is wrong.

    A stored split explains a jump near its ex-date. If the bars are said to contain it already there should be no jump;
    if they are said not to, there should be one.
    """
    bars = np.flatnonzero(sound(series))
    if bars.size < 2:
        return None
    time, opens, close = series.time[bars], series.open[bars], series.close[bars]
    jump, weak = _jumps(opens, close)
    wrong: dict[int, tuple[str, bool]] = {}  # bar: what was found, whether it blocks
    for at in np.flatnonzero(jump | weak):
        ratio = float(close[at - 1] / opens[at])
        explained = [split for split in splits if _explains(split, int(time[at]), ratio)]
        if not explained:
            wrong[int(at)] = (f"{close[at - 1]:g} to {opens[at]:g}, like a split {_ratio(ratio)}", bool(jump[at]))
        elif all(split.in_prices for split in explained):
            wrong[int(at)] = (f"a jump {_ratio(ratio)} where the split is said to be in the prices", True)
    for split in splits:
        missing = None if split.in_prices else _no_jump(split, time, opens, close)
        if missing is not None:
            wrong[missing] = (f"no jump where a split {_ratio(split.ratio)} is said not to be in the prices", True)
    places = np.array(sorted(wrong), dtype=np.int64)
    places = places[remaining(time[places], accepted)]
    if places.size == 0:
        return None
    severity: Severity = "blocking" if any(wrong[int(bar)][1] for bar in places) else "warning"
    first = f"{when(int(time[places[0]]), interval_seconds)}, {wrong[int(places[0])][0]}"
    detail = (
        f"{counted(places.size, 'place looks', 'places look')} like a split that is not stored right; first {first}."
    )
    return finding("split_like", severity, time[places], detail, lambda i: wrong[int(places[i])][0])


def _jumps(opens: np.ndarray, close: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Bars that open at a simple fraction of the close before and stay there: n:1 or 1:n, and 3:2; (T,) bool each."""
    jump, weak = np.zeros(close.size, dtype=bool), np.zeros(close.size, dtype=bool)
    logs = np.log(opens[1:] / close[:-1])
    large = np.flatnonzero(np.abs(logs) > ONE_AND_A_HALF - ONE_AND_A_HALF_TOLERANCE) + 1
    for at in large:
        size = abs(float(logs[at - 1]))
        whole = float(np.round(np.exp(size)))
        near = whole >= 2 and abs(size - np.log(whole)) <= TOLERANCE
        half = abs(size - ONE_AND_A_HALF) <= ONE_AND_A_HALF_TOLERANCE
        before = float(np.median(close[max(at - NEAR, 0) : at]))
        after = float(np.median(close[at : at + NEAR]))
        stays = abs(np.log(after / before) - float(logs[at - 1])) <= STAYS
        jump[at], weak[at] = near and stays, half and stays
    return jump, weak


def _explains(split: Split, time: int, ratio: float) -> bool:
    return abs(time - split.day) <= EX_DATE_DAYS * DAY and abs(np.log(split.ratio / ratio)) <= 3 * TOLERANCE


def _no_jump(split: Split, time: np.ndarray, opens: np.ndarray, close: np.ndarray) -> int | None:
    """The first bar from the ex-date on, if the bars around it do not jump by the split's ratio; else None."""
    size = abs(float(np.log(split.ratio)))
    at = int(np.searchsorted(time, split.day))
    if size < LEAST or at == 0 or at == time.size or time[at] - time[at - 1] > 3 * EX_DATE_DAYS * DAY:
        return None  # too small to tell, or no bars on both sides of it
    first, last = np.searchsorted(time, (split.day - EX_DATE_DAYS * DAY, split.day + (EX_DATE_DAYS + 1) * DAY))
    near = np.arange(max(int(first), 1), int(last))
    moves = np.log(close[near - 1] / opens[near])
    return None if np.any(np.abs(moves - np.log(split.ratio)) <= 3 * TOLERANCE) else at


def _ratio(ratio: float) -> str:
    """A split's ratio as people write it."""
    return f"{ratio:.3g} for 1" if ratio >= 1 else f"1 for {1 / ratio:.3g}"
