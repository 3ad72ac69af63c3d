"""Which ticks can be used, and in plain words why the others cannot. Pure, no database.

The rules, in the order they are asked; a tick is counted under the first that it breaks:

1. It is a trade or a quote, and has the numbers of its own kind only: a source that sends both in one message makes
   two ticks of it. Empty is NaN.
2. Its time lies from 1980 up to the latest time that the caller believes.
3. A trade has a finite price and a finite size, both above 0 and at most MOST.
4. A quote has no infinite and no negative number, none above MOST, and at least one side. A side whose price is 0 or
   empty is no side (exchanges send 0), its size means nothing and is dropped. One-sided, locked and crossed quotes are
   real and kept, and so is a side whose size is 0 or unknown.
5. Exchange and condition are printable ASCII; anything else is a broken file or a wrong column.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numba import njit

from marketdata.ticks.series import TickBatch

REASONS = (
    "",  # a good tick
    "neither a trade nor a quote",
    "a trade with bid or ask, or a quote with a price",
    "time is before 1980",
    "time is in the future",
    "price is not a number",
    "price is not above 0",
    "size is not a number",
    "size is not above 0",
    "bid or ask is not a number",
    "bid or ask is below 0",
    "bid or ask size is not a number",
    "bid or ask size is below 0",
    "neither bid nor ask",
    "a price or size is above 1e18",
    "exchange or condition is not plain text",
)
MOST = 1e18  # larger is garbage, and sums of it would end in infinity
YEAR_1980 = 315_532_800_000_000  # microseconds since 1970 UTC
YEAR_2100 = 4_102_444_800_000_000


@dataclass(frozen=True)
class Checked:
    """The good ticks in the order they came, and how many were refused for what."""

    batch: TickBatch
    bad: dict[str, int]


def problems(batch: TickBatch, *, latest: int = YEAR_2100) -> np.ndarray:
    """What is wrong with each tick: its place in REASONS, 0 for a good one.

    latest: microseconds since 1970 UTC; a later tick is bad. Returns: int8, shape (T,).
    """
    prices = (batch.price, batch.size, batch.bid, batch.bid_size, batch.ask, batch.ask_size)
    codes = _codes(batch.time, batch.kind, *prices, latest)
    for texts in (batch.exchange, batch.condition):
        codes[(codes == 0) & ~_plain(_letters(texts))] = len(REASONS) - 1
    return codes


def check(batch: TickBatch, *, latest: int = YEAR_2100) -> Checked:
    """Keep the good ticks, count the others by reason; absent sides of quotes become NaN, price and size.

    latest: microseconds since 1970 UTC; a later tick is bad.
    """
    codes = problems(batch, latest=latest)
    bad = count(codes)
    return Checked(_without_empty_sides(batch.take(codes == 0) if bad else batch), bad)


def count(codes: np.ndarray) -> dict[str, int]:
    """How many ticks are bad for what, in words. codes: from `problems`, shape (T,)."""
    numbers = np.bincount(codes, minlength=len(REASONS))
    return {reason: int(numbers[code]) for code, reason in enumerate(REASONS) if code and numbers[code]}


def add_counts(counts: Sequence[dict[str, int]]) -> dict[str, int]:
    """Counts by reason, added up."""
    total: dict[str, int] = {}
    for part in counts:
        for reason, number in part.items():
            total[reason] = total.get(reason, 0) + number
    return total


def _without_empty_sides(batch: TickBatch) -> TickBatch:
    no_bid, no_ask = batch.bid == 0, batch.ask == 0
    unsized_bid, unsized_ask = np.isnan(batch.bid) | no_bid, np.isnan(batch.ask) | no_ask
    changes = {
        name: np.where(empty, np.nan, getattr(batch, name))
        for name, empty in (("bid", no_bid), ("ask", no_ask), ("bid_size", unsized_bid), ("ask_size", unsized_ask))
        if (empty & ~np.isnan(getattr(batch, name))).any()
    }
    return replace(batch, **changes) if changes else batch


def _letters(texts: np.ndarray) -> np.ndarray:
    """The bytes of fixed-width texts, shape (T, width)."""
    return texts.view(np.uint8).reshape(texts.size, texts.dtype.itemsize)


@njit(cache=True)
def _plain(letters):
    """Printable ASCII, then only zeros to the end of the width; one answer for each row."""
    n, width = letters.shape
    answer = np.ones(n, dtype=np.bool_)
    for i in range(n):
        ended = False
        for k in range(width):
            letter = letters[i, k]
            if letter == 0:
                ended = True
            elif ended or letter < 32 or letter > 126:
                answer[i] = False
    return answer


@njit(cache=True)
def _codes(time, kind, price, size, bid, bid_size, ask, ask_size, latest):
    """Places in REASONS, which must be kept in step."""
    codes = np.zeros(time.size, dtype=np.int8)
    for i in range(time.size):
        trade = kind[i] == 1
        if not trade and kind[i] != 2:
            codes[i] = 1
        elif _has_numbers_of_other_kind(trade, price[i], size[i], bid[i], bid_size[i], ask[i], ask_size[i]):
            codes[i] = 2
        elif time[i] < YEAR_1980:
            codes[i] = 3
        elif time[i] > latest:
            codes[i] = 4
        elif trade:
            codes[i] = _trade(price[i], size[i])
        else:
            codes[i] = _quote(bid[i], bid_size[i], ask[i], ask_size[i])
    return codes


@njit(cache=True)
def _has_numbers_of_other_kind(trade, price, size, bid, bid_size, ask, ask_size):
    if trade:
        return not (np.isnan(bid) and np.isnan(bid_size) and np.isnan(ask) and np.isnan(ask_size))
    return not (np.isnan(price) and np.isnan(size))


@njit(cache=True)
def _trade(price, size):
    if not np.isfinite(price):
        return 5
    if price <= 0:
        return 6
    if not np.isfinite(size):
        return 7
    if size <= 0:
        return 8
    return 14 if price > MOST or size > MOST else 0


@njit(cache=True)
def _quote(bid, bid_size, ask, ask_size):
    if np.isinf(bid) or np.isinf(ask):
        return 9
    if bid < 0 or ask < 0:
        return 10
    if np.isinf(bid_size) or np.isinf(ask_size):
        return 11
    if bid_size < 0 or ask_size < 0:
        return 12
    if bid > MOST or ask > MOST or bid_size > MOST or ask_size > MOST:
        return 14
    return 0 if bid > 0 or ask > 0 else 13
