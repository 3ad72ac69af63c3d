"""What is wrong with the numbers of bars: impossible, far off, without volume. Pure.

Every rule takes a series and returns at most one finding. Rules about moves look at sound bars only, see `sound`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from marketdata.health_finding import Accepted, Finding, Severity, counted, finding, remaining, when
from marketdata.series import BarSeries

DAY = 86_400
# Vendors round adjusted prices: an open this little beyond the high is rounding, not a wrong price.
ROUNDING = 0.01
# A spike or a jump is a move of so many usual ranges, and not a small one.
SPIKE_RANGES, SPIKE_LEAST = 10.0, 0.005
# A move of so many usual moves is worth a note even where the price stayed there.
FAR_MOVES = 25.0
LEAST_NIGHTS = 20  # fewer say nothing about what is usual from one session to the next
BLOCK = 100  # bars whose median range is "usual"
NO_VOLUME_SHARE = 0.05
SAME_CLOSE, BEYOND = 0.01, 0.001  # a daily bar against the shorter bars of its session


@dataclass(frozen=True)
class Extremes:
    """What the shorter bars of one session say: lowest low, highest high, last close."""

    low: float
    high: float
    close: float


def sound(series: BarSeries) -> np.ndarray:
    """Bars whose four prices are positive numbers in the right order, (T,) bool."""
    return _breach(series) <= 1e-9


def _breach(series: BarSeries) -> np.ndarray:
    """How far open, close or low lie beyond high and low, as a share; infinite where a number is impossible."""
    opens, high, low, close = series.open, series.high, series.low, series.close
    with np.errstate(all="ignore"):
        usable = np.isfinite(opens + high + low + close) & (np.minimum(np.minimum(opens, close), low) > 0) & (high > 0)
        beyond = np.maximum(np.maximum(opens, close) / high - 1.0, 1.0 - np.minimum(opens, close) / low)
        breach = np.maximum(beyond, low / high - 1.0)
        volume_right = np.isfinite(series.volume) & (series.volume >= 0)
    return np.where(usable & volume_right, breach, np.inf)


def broken(series: BarSeries, interval_seconds: int, accepted: Sequence[Accepted]) -> Finding | None:
    """Prices or volumes that cannot be: not a number, not positive, or open, low, close and high out of order."""
    breach = _breach(series)
    at = np.flatnonzero(breach > 1e-9)
    at = at[remaining(series.time[at], accepted)]
    if at.size == 0:
        return None
    impossible = int(np.count_nonzero(breach[at] > ROUNDING))
    severity: Severity = "blocking" if impossible else "warning"
    worst = f"{impossible:,} of them cannot be right" if impossible else f"all by less than {ROUNDING:.0%}: rounding"
    first = when(int(series.time[at[0]]), interval_seconds)
    detail = f"{counted(at.size, 'bar has', 'bars have')} numbers that contradict each other, {worst}; first {first}."

    def found(i: int) -> str:
        bar = at[i]
        return (
            f"open {series.open[bar]:g}, high {series.high[bar]:g}, low {series.low[bar]:g}, "
            f"close {series.close[bar]:g}, volume {series.volume[bar]:g}"
        )

    return finding("broken", severity, series.time[at], detail, found)


def zero_volume(series: BarSeries, inside: np.ndarray, accepted: Sequence[Accepted]) -> Finding | None:
    """Bars inside sessions without volume, for an instrument that has volume. inside: (T,) bool."""
    at = np.flatnonzero((series.volume == 0) & inside)
    at = at[remaining(series.time[at], accepted)]
    if at.size == 0:
        return None
    share = at.size / max(int(inside.sum()), 1)
    severity: Severity = "warning" if share > NO_VOLUME_SHARE else "note"
    detail = f"{counted(at.size, 'bar has', 'bars have')} no volume, {share:.1%} of those inside trading hours."
    return finding("zero_volume", severity, series.time[at], detail, lambda i: f"close {series.close[at[i]]:g}")


def _usual(series: BarSeries) -> tuple[np.ndarray, np.ndarray]:
    """Around each bar the usual range and the usual move from close to close, (T,) each, as logarithms.

    Medians of blocks of 100 bars, of three neighbouring blocks the largest: the first minutes of a day are wilder.
    """
    with np.errstate(all="ignore"):
        spread = np.log(series.high / series.low)
        move = np.abs(np.diff(np.log(series.close), prepend=np.nan))
    move[:1] = move[1:2] if move.size > 1 else 0.0
    move_scale = 1.4826 * _block_median(move)
    return np.maximum(_block_median(spread), move_scale), move_scale


def _block_median(values: np.ndarray) -> np.ndarray:
    n_blocks = max(values.size // BLOCK, 1)
    whole = values[: n_blocks * BLOCK]
    medians = np.median(whole.reshape(n_blocks, -1) if whole.size == n_blocks * BLOCK else whole[None, :], axis=1)
    padded = np.concatenate([medians[:1], medians, medians[-1:]])
    largest = np.maximum(np.maximum(padded[:-2], padded[1:-1]), padded[2:])
    return largest[np.minimum(np.arange(values.size) // BLOCK, n_blocks - 1)]


def outliers(
    series: BarSeries, interval_seconds: int, accepted: Sequence[Accepted], shorter: Mapping[int, Extremes]
) -> Finding | None:
    """Prices far off that came back at once (a warning), and moves far larger than usual (a note).

    shorter: for daily bars, by bar time, what shorter bars inside that session say; a daily low below or high above
    them was no trade that the shorter bars know.
    """
    good = np.flatnonzero(sound(series))
    if good.size < 20:
        return None
    part = BarSeries(*(getattr(series, name)[good] for name in ("time", "open", "high", "low", "close", "volume")))
    spike, far, size = _far_off(part)
    beyond = _beyond_shorter(part, shorter)
    doubted = beyond > BEYOND
    size = np.where(doubted & ~spike, beyond, size)
    at = np.flatnonzero(spike | far | doubted)
    at = at[remaining(part.time[at], accepted)]
    if at.size == 0:
        return None
    n_spikes, n_doubted = int(spike[at].sum()), int((doubted & ~spike)[at].sum())
    n_far = at.size - n_spikes - n_doubted
    parts = []
    if n_spikes:
        parts.append(f"{counted(n_spikes, 'bar has', 'bars have')} a price far off that came back at once")
    if n_doubted:
        parts.append(
            f"{counted(n_doubted, 'daily bar reaches', 'daily bars reach')} beyond all shorter bars of the day"
        )
    if n_far:
        parts.append(f"{counted(n_far, 'move is', 'moves are')} far larger than usual and stayed")
    worst = int(at[np.argmax(size[at])])
    detail = f"{'; '.join(parts)}; largest {size[worst]:.1%} at {when(int(part.time[worst]), interval_seconds)}."

    def found(i: int) -> str:
        bar = at[i]
        word = "came back at once" if spike[bar] else "beyond shorter bars" if doubted[bar] else "stayed"
        return f"{size[bar]:.2%}, {word}: high {part.high[bar]:g}, low {part.low[bar]:g}, close {part.close[bar]:g}"

    return finding("outliers", "warning" if n_spikes or n_doubted else "note", part.time[at], detail, found)


def _far_off(part: BarSeries) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Bars with a price that came back at once, bars after a far larger move than usual, and its share; (T,) each."""
    usual_range, usual_move = _usual(part)
    least = np.maximum(SPIKE_RANGES * usual_range, SPIKE_LEAST)
    high, low, close, opens = (np.log(values) for values in (part.high, part.low, part.close, part.open))
    # A high is believed if its own body or a neighbour reaches up to it; the ends have one neighbour only.
    top = np.maximum(np.maximum(opens, close), _neighbours(high, np.maximum))
    bottom = np.minimum(np.minimum(opens, close), _neighbours(low, np.minimum))
    above, below = high - top, bottom - low
    wick = np.maximum(above, below)
    # The whole bar may be off: its close lies far from the close before and from the open after it, on the same side.
    to_before, to_after = np.zeros_like(close), np.zeros_like(close)
    to_before[1:] = close[1:] - close[:-1]
    to_after[:-1] = close[:-1] - opens[1:]
    body = np.where(to_before * to_after > 0, np.minimum(np.abs(to_before), np.abs(to_after)), 0.0)
    spike = np.maximum(wick, body) > least
    # A move that stayed; nights move more than minutes, so each has its own usual size.
    move = np.abs(to_before)
    night = np.diff(part.time, prepend=part.time[:1]) > 4 * np.median(np.diff(part.time))
    by_night = 1.4826 * float(np.median(move[night])) if night.sum() >= LEAST_NIGHTS else np.inf
    usual_move = np.where(night, by_night, usual_move)
    came_back = spike | np.roll(spike, 1)
    far = (move > np.maximum(FAR_MOVES * usual_move, 4 * SPIKE_LEAST)) & ~came_back
    whole = body >= wick  # of a spike: the bar is off as a whole, else one of its ends
    up = np.where(spike & ~whole, above >= below, to_before > 0)
    size = np.where(spike, np.maximum(wick, body), move)
    return spike, far, np.where(up, np.expm1(size), -np.expm1(-size))


def _neighbours(values: np.ndarray, pick: np.ufunc) -> np.ndarray:
    before, after = np.roll(values, 1), np.roll(values, -1)
    before[0], after[-1] = after[0], before[-1]
    return pick(before, after)


def _beyond_shorter(part: BarSeries, shorter: Mapping[int, Extremes]) -> np.ndarray:
    """By what share daily bars reach beyond the shorter bars of their session, (T,); 0 where nothing is known.

    Only where both closed at about the same price: one of them may be adjusted, the other as traded.
    """
    beyond = np.zeros(len(part))
    for at in np.flatnonzero(np.isin(part.time, np.fromiter(shorter, np.int64, len(shorter)))):
        known = shorter[int(part.time[at])]
        if abs(part.close[at] / known.close - 1.0) < SAME_CLOSE:
            beyond[at] = max(1.0 - part.low[at] / known.low, part.high[at] / known.high - 1.0)
    return beyond
