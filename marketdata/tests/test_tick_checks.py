import numpy as np
import pytest

from marketdata.ticks import checks
from marketdata.ticks.series import QUOTE, TRADE, TickBatch

NOW = 1_700_000_000_000_000
NAN, INF = np.nan, np.inf
FIELDS = ("time", "kind", "price", "size", "bid", "bid_size", "ask", "ask_size", "sequence", "exchange", "condition")


def batch(*rows: dict) -> TickBatch:
    """Ticks of the given fields; what is not given is empty."""
    usual = {"time": NOW, "kind": TRADE, "sequence": 0, "exchange": b"", "condition": b""}
    return TickBatch(**{name: np.array([row.get(name, usual.get(name, NAN)) for row in rows]) for name in FIELDS})


def trade(price: float = 10.0, size: float = 1.0, **more) -> dict:
    return {"price": price, "size": size, **more}


def quote(bid: float = 9.0, ask: float = 11.0, bid_size: float = 1.0, ask_size: float = 1.0, **more) -> dict:
    return {"kind": QUOTE, "bid": bid, "ask": ask, "bid_size": bid_size, "ask_size": ask_size, **more}


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (trade(kind=3), "neither a trade nor a quote"),
        (trade(kind=0), "neither a trade nor a quote"),
        (trade(bid=9.0), "a trade with bid or ask, or a quote with a price"),
        (quote(price=9.0), "a trade with bid or ask, or a quote with a price"),
        (trade(time=0), "time is before 1980"),
        (trade(time=-(2**63)), "time is before 1980"),
        (trade(time=checks.YEAR_2100 + 1), "time is in the future"),
        (trade(price=NAN), "price is not a number"),
        (trade(price=INF), "price is not a number"),
        (trade(price=0), "price is not above 0"),
        (trade(price=-37.63), "price is not above 0"),
        (trade(size=NAN), "size is not a number"),
        (trade(size=-INF), "size is not a number"),
        (trade(size=0), "size is not above 0"),
        (trade(size=-5), "size is not above 0"),
        (quote(bid=INF), "bid or ask is not a number"),
        (quote(ask=-1), "bid or ask is below 0"),
        (quote(ask_size=INF), "bid or ask size is not a number"),
        (quote(bid_size=-1), "bid or ask size is below 0"),
        (quote(bid=NAN, ask=NAN), "neither bid nor ask"),
        (quote(bid=0, ask=0), "neither bid nor ask"),
        (trade(exchange=b"N\x00Y"), "exchange or condition is not plain text"),
        (trade(condition=b"\xc3\xa9"), "exchange or condition is not plain text"),
        (trade(exchange=b"\n"), "exchange or condition is not plain text"),
    ],
)
def test_a_bad_tick_is_counted_under_its_reason_and_its_neighbours_stay(row, reason):
    checked = checks.check(batch(trade(), row, quote()))
    assert checked.bad == {reason: 1}
    assert checked.batch.kind.tolist() == [TRADE, QUOTE]


@pytest.mark.parametrize(
    "row",
    [
        trade(price=0.0001, size=1e-8),
        trade(exchange=b"XNASDAQ8", condition=b"@ F I 4 B  Z"),
        quote(bid=12, ask=11),  # crossed
        quote(bid=11, ask=11),  # locked
        quote(bid=NAN),
        quote(ask=0),
        quote(bid_size=0, ask_size=NAN),
        trade(time=checks.YEAR_1980),
    ],
)
def test_what_happens_on_real_markets_is_kept(row):
    assert checks.check(batch(row)).bad == {}


def test_a_side_without_a_price_is_no_side():
    good = checks.check(batch(quote(bid=0, bid_size=7), quote(ask=NAN, ask_size=3), quote())).batch
    np.testing.assert_array_equal(good.bid, [NAN, 9, 9])
    np.testing.assert_array_equal(good.bid_size, [NAN, 1, 1])
    np.testing.assert_array_equal(good.ask_size, [1, NAN, 1])


def test_the_latest_time_is_the_callers():
    ticks = batch(trade(time=NOW), trade(time=NOW + 1))
    assert checks.check(ticks, latest=NOW).bad == {"time is in the future": 1}


def test_every_reason_has_its_place_and_counts_add_up():
    codes = checks.problems(batch(trade(), trade(price=0), trade(price=-1), trade(size=0)))
    assert [checks.REASONS[code] for code in codes] == [
        "", "price is not above 0", "price is not above 0", "size is not above 0",
    ]  # fmt: skip
    assert checks.count(codes) == {"price is not above 0": 2, "size is not above 0": 1}
    assert checks.add_counts([{"a": 1}, {"a": 2, "b": 3}]) == {"a": 3, "b": 3}


def test_no_ticks_have_no_problems():
    checked = checks.check(TickBatch.empty())
    assert (len(checked.batch), checked.bad) == (0, {})


@pytest.mark.parametrize("row", [trade(price=1e308), trade(size=2e18), quote(ask=1e19), quote(bid_size=1e300)])
def test_garbage_that_would_add_up_to_infinity_is_refused(row):
    checked = checks.check(batch(trade(price=checks.MOST), row))
    assert checked.bad == {"a price or size is above 1e18": 1}
    assert len(checked.batch) == 1
