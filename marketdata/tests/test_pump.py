import threading
import time

import pytest

from marketdata.pump import Pump


def read(pump: Pump) -> list:
    found = []
    while not pump.ended:
        if (item := pump.get(1.0)) is not None:
            found.append(item)
    return found


def test_every_item_comes_in_order_and_then_the_end():
    pump = Pump(iter(range(1, 100)), n_ahead=2)
    assert read(pump) == list(range(1, 100))
    assert pump.get(0.0) is None and pump.ended


def test_nothing_yet_is_not_the_end():
    go = threading.Event()

    def slow():
        go.wait(5)
        yield 1

    pump = Pump(slow())
    assert pump.get(0.01) is None and not pump.ended
    go.set()
    assert read(pump) == [1]


def test_an_error_is_raised_where_it_is_read_after_what_came_before_it():
    def broken():
        yield 1
        raise ConnectionError("reset")

    pump = Pump(broken())
    assert pump.get(1.0) == 1
    with pytest.raises(ConnectionError, match="reset"):
        pump.get(1.0)
    assert pump.ended


def test_the_source_is_never_far_ahead_and_closed_when_nobody_wants_more():
    made, closed = [], threading.Event()

    def endless():
        try:
            for number in range(1_000_000):
                made.append(number)
                yield number
        finally:
            closed.set()

    pump = Pump(endless(), n_ahead=3)
    assert pump.get(1.0) == 0
    time.sleep(0.05)
    assert len(made) <= 1 + 3 + 1  # read, in the queue, and the one that waits for room
    pump.close()
    assert closed.wait(5)
