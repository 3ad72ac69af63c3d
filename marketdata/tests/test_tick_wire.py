import struct

import numpy as np

from marketdata.ticks import wire
from marketdata.ticks.series import QUOTE, TRADE, TickBatch

MICROSECONDS_TO_2000 = 946_684_800_000_000
NAN = np.nan


def field(form: str, value) -> bytes:
    data = struct.pack(">" + form, value)
    return struct.pack(">i", len(data)) + data


def text(value: bytes) -> bytes:
    return struct.pack(">i", len(value)) + value


EMPTY = struct.pack(">i", -1)


def test_rows_are_written_as_the_manual_says():
    ticks = TickBatch(
        time=np.array([MICROSECONDS_TO_2000 + 5, MICROSECONDS_TO_2000 - 1]), kind=np.array([TRADE, QUOTE]),
        price=np.array([158.3, NAN]), size=np.array([100, NAN]), bid=np.array([NAN, 9.5]),
        bid_size=np.array([NAN, 3.0]), ask=np.array([NAN, NAN]), ask_size=np.array([NAN, NAN]),
        sequence=np.array([-7, 0]),
        exchange=np.array([b"XNASDAQ8", b""]), condition=np.array([b"4 B", b"twelve chars"]),
    )  # fmt: skip

    data = b"".join(wire.encode(ticks, np.array([-(2**63), 12]), 42, "file"))

    trade = struct.pack(">h", 14) + field("q", 5) + field("q", 42) + field("q", -(2**63)) + field("h", 1)
    trade += field("d", 158.3) + field("d", 100.0) + 4 * EMPTY + field("q", -7)
    trade += text(b"XNASDAQ8") + text(b"4 B") + text(b"file")
    quote = struct.pack(">h", 14) + field("q", -1) + field("q", 42) + field("q", 12) + field("h", 2)
    quote += 2 * EMPTY + field("d", 9.5) + field("d", 3.0) + 2 * EMPTY + field("q", 0)
    quote += text(b"") + text(b"twelve chars") + text(b"file")
    assert data == b"PGCOPY\n\xff\r\n\x00" + bytes(8) + trade + quote + b"\xff\xff"


def test_pieces_join_to_the_whole():
    n = 2 * wire.ROWS + 3
    ticks = TickBatch.trades(np.arange(n), np.ones(n), np.ones(n), exchange=b"XNASDAQ8", condition=b"twelve chars")
    pieces = list(wire.encode(ticks, np.arange(n), 1, "twelve chars"))
    row = 2 + 14 * 4 + 8 * 3 + 2 + 8 * 2 + 8 + 8 + 12 + 12
    assert [len(piece) for piece in pieces] == [19, wire.ROWS * row, wire.ROWS * row, 3 * row, 2]


def test_no_ticks_are_a_header_and_a_trailer():
    assert list(wire.encode(TickBatch.empty(), np.empty(0, dtype=np.int64), 1, "file")) == [wire.HEADER, wire.TRAILER]


def test_trades_are_read_as_the_manual_says():
    row = struct.pack(">qqqdd", -3, 4, -9, 1.25, 0.1)
    rows = wire.decode_trades(wire.HEADER + struct.pack(">hi", 1, 80) + row * 2 + wire.TRAILER)
    assert wire.times(rows).tolist() == [MICROSECONDS_TO_2000 - 3] * 2
    assert [rows[name][1] for name in ("sequence", "identity", "price", "size")] == [4, -9, 1.25, 0.1]
    assert wire.decode_trades(wire.HEADER + struct.pack(">hi", 1, -1) + wire.TRAILER).size == 0
