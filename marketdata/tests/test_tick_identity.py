import struct

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from marketdata.ticks.identity import first_of_each, identities, order
from marketdata.ticks.series import QUOTE, TRADE, TickBatch

MASK = 2**64 - 1
NAN = np.nan
STORED = -1692773851909028378  # of tick() below, by peer_identity; databases in use hold such numbers


def peer_mix(state: int, word: int) -> int:
    """splitmix64's finisher in Python's whole numbers, from the paper."""
    z = ((state ^ word) + 0x9E3779B97F4A7C15) & MASK
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def peer_identity(time, kind, numbers, sequence, exchange, condition) -> int:
    words = [kind, *(struct.unpack("<Q", struct.pack("<d", number))[0] for number in numbers), sequence & MASK]
    words += [struct.unpack("<Q", exchange.ljust(8, b"\0"))[0], *struct.unpack("<3I", condition.ljust(12, b"\0"))]
    state = time & MASK
    for word in words:
        state = peer_mix(state, word)
    return state - 2**64 if state >= 2**63 else state


def tick(time=7, kind=TRADE, price=1.0, size=2.0, sequence=0, exchange=b"N", condition=b"F I", bid=NAN) -> TickBatch:
    none = np.array([NAN])
    arrays = [np.array([value]) for value in (time, kind, price, size, bid)]
    return TickBatch(*arrays, none, none, none, np.array([sequence]), np.array([exchange]), np.array([condition]))


def identity(**changes) -> int:
    return int(identities(tick(**changes))[0])


def test_the_identity_is_that_of_an_implementation_in_plain_python():
    nan = struct.unpack("<d", struct.pack("<Q", 0x7FF8000000000000))[0]
    numbers = (158.3, 100.0, nan, nan, nan, nan)
    expected = peer_identity(1_514_903_400_043_000, 1, numbers, -5, b"XNAS", b"4 B ZT UVW12")
    assert expected == identity(
        time=1_514_903_400_043_000, price=158.3, size=100.0, sequence=-5, exchange=b"XNAS", condition=b"4 B ZT UVW12"
    )


def test_the_identity_never_changes_because_it_is_stored():
    assert identity() == STORED


def test_every_field_matters():
    changes = [
        {}, {"time": 8}, {"kind": QUOTE}, {"price": 1.5}, {"size": 3.0}, {"sequence": 1}, {"exchange": b"P"},
        {"condition": b"F"}, {"bid": 1.0}, {"price": 2.0, "size": 1.0}, {"exchange": b"", "condition": b"NF I"},
    ]  # fmt: skip
    assert len({identity(**change) for change in changes}) == len(changes)


def test_there_is_one_nan_and_one_zero():
    negative_nan = struct.unpack("<d", struct.pack("<Q", 0xFFF8000000000001))[0]
    assert identity(price=NAN) == identity(price=negative_nan)
    assert identity(size=0.0) == identity(size=-0.0)


def test_a_batch_and_its_pieces_have_the_same_identities():
    ticks = TickBatch.trades(np.arange(1000), np.ones(1000), np.ones(1000))
    pieces = [identities(ticks.take(slice(at, at + 7))) for at in range(0, 1000, 7)]
    np.testing.assert_array_equal(identities(ticks), np.concatenate(pieces))
    assert np.unique(identities(ticks)).size == 1000


small = st.integers(0, 3)


@given(st.lists(st.tuples(small, small, st.integers(-3, 3)), max_size=60))
def test_the_order_is_by_time_then_number_then_identity(rows):
    time, sequence, hashes = np.array(rows, dtype=np.int64).reshape(-1, 3).T
    places = order(np.ascontiguousarray(time), np.ascontiguousarray(sequence), np.ascontiguousarray(hashes))
    assert [rows[place] for place in places] == sorted(rows)
    ordered = np.array(sorted(rows), dtype=np.int64).reshape(-1, 3).T
    assert first_of_each(*ordered).sum() == len(set(rows))


def test_many_ticks_of_one_moment_are_ordered_too():
    rng = np.random.default_rng(3)
    time, sequence = np.zeros(5000, dtype=np.int64), rng.integers(0, 50, 5000)
    hashes = rng.integers(-(2**63), 2**63 - 1, 5000)
    rows = list(zip(sequence.tolist(), hashes.tolist(), strict=True))
    assert [rows[place] for place in order(time, sequence, hashes)] == sorted(rows)
