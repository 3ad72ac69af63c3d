"""What makes two ticks the same tick, and which of two comes first. Pure, no database.

A tick's identity is a 64-bit hash of all it says: time, kind, the six numbers, the source's own number of the print,
exchange and condition; not the instrument, and not the name of the source that brought it. It is made of the bits
alone, so it is the same on every machine, in every batch and in every year to come. Two rows with one identity are
ONE tick, however often and from wherever they come. A feed that prints two equal trades in one microsecond must
number them (`sequence`) to have both.

Ticks are ordered by time, then by the source's number, then by identity. The last says nothing about the market, but
it makes first and last trade of a bar the same for any order in which the ticks arrive.
"""

from __future__ import annotations

import numpy as np
from numba import njit

from marketdata.ticks.series import TickBatch

# splitmix64: Steele, Lea and Flood, "Fast splittable pseudorandom number generators", OOPSLA 2014.
_STEP = np.uint64(0x9E3779B97F4A7C15)
_MULTIPLY_1 = np.uint64(0xBF58476D1CE4E5B9)
_MULTIPLY_2 = np.uint64(0x94D049BB133111EB)
_SHIFT_1, _SHIFT_2, _SHIFT_3 = np.uint64(30), np.uint64(27), np.uint64(31)
_SIGNLESS = np.uint64(0x7FFFFFFFFFFFFFFF)
_INFINITY = np.uint64(0x7FF0000000000000)
_NAN = np.uint64(0x7FF8000000000000)
_ZERO = np.uint64(0)
_LONG_RUN = 256  # ticks of one microsecond; above it sorting by insertion would be slow


def identities(batch: TickBatch) -> np.ndarray:
    """The identity of each tick, int64, shape (T,)."""
    return _hash(
        batch.time.view(np.uint64),
        batch.kind,
        batch.price.view(np.uint64),
        batch.size.view(np.uint64),
        batch.bid.view(np.uint64),
        batch.bid_size.view(np.uint64),
        batch.ask.view(np.uint64),
        batch.ask_size.view(np.uint64),
        batch.sequence.view(np.uint64),
        batch.exchange.view("<u8").astype(np.uint64, copy=False),
        batch.condition.view("<u4").astype(np.uint32, copy=False).reshape(len(batch), 3),
    )


def order(time: np.ndarray, sequence: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """Positions that put ticks in their one order; int64, shape (T,). Of equal ticks the one that came first leads."""
    places = np.arange(time.size) if (time[1:] >= time[:-1]).all() else np.argsort(time, kind="stable")
    if _sort_runs(time, sequence, identity, places):
        return places
    return np.lexsort((identity, sequence, time))


def first_of_each(time: np.ndarray, sequence: np.ndarray, identity: np.ndarray) -> np.ndarray:
    """True for every tick that differs from the one before it; bool, shape (T,), for ticks in order."""
    new = np.ones(time.size, dtype=bool)
    new[1:] = (time[1:] != time[:-1]) | (identity[1:] != identity[:-1]) | (sequence[1:] != sequence[:-1])
    return new


@njit(cache=True)
def _mix(state, word):
    mixed = (state ^ word) + _STEP
    mixed = (mixed ^ (mixed >> _SHIFT_1)) * _MULTIPLY_1
    mixed = (mixed ^ (mixed >> _SHIFT_2)) * _MULTIPLY_2
    return mixed ^ (mixed >> _SHIFT_3)


@njit(cache=True)
def _number(bits):
    """The bits of a number with one NaN and one zero."""
    if bits & _SIGNLESS > _INFINITY:
        return _NAN
    return _ZERO if bits & _SIGNLESS == _ZERO else bits


@njit(cache=True)
def _hash(time, kind, price, size, bid, bid_size, ask, ask_size, sequence, exchange, condition):
    answer = np.empty(time.size, dtype=np.int64)
    for i in range(time.size):
        state = _mix(time[i], np.uint64(kind[i]))
        for bits in (price[i], size[i], bid[i], bid_size[i], ask[i], ask_size[i]):
            state = _mix(state, _number(bits))
        state = _mix(_mix(state, sequence[i]), exchange[i])
        for k in range(3):
            state = _mix(state, np.uint64(condition[i, k]))
        answer[i] = np.int64(state)
    return answer


@njit(cache=True)
def _sort_runs(time, sequence, identity, places):
    """Sort ticks of one time among themselves, in place; False when a run is too long for it."""
    start = 0
    for end in range(1, places.size + 1):
        if end < places.size and time[places[end]] == time[places[start]]:
            continue
        if end - start > _LONG_RUN:
            return False
        for at in range(start + 1, end):
            moving = places[at]
            k = at - 1
            while k >= start and _after(sequence, identity, places[k], moving):
                places[k + 1] = places[k]
                k -= 1
            places[k + 1] = moving
        start = end
    return True


@njit(cache=True)
def _after(sequence, identity, a, b):
    if sequence[a] != sequence[b]:
        return sequence[a] > sequence[b]
    return identity[a] > identity[b]
