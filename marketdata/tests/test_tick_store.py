"""Ticks through the real database: whatever the order, the repeats and the pieces, the bars are those from scratch."""

from __future__ import annotations

import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from hypothesis.extra.django import TestCase

from core.models import Event, Instrument
from marketdata.bar_store import store_bars
from marketdata.models import Tick, TickState
from marketdata.queries import load_bars
from marketdata.series import BarSeries
from marketdata.tests.shared_data import need
from marketdata.ticks import stored_bars
from marketdata.ticks.files import read_ticks
from marketdata.ticks.series import QUOTE, TickBatch
from marketdata.ticks.store import TOO_OLD, ingest

MINUTE = 60_000_000
START = 1_514_903_400_000_000  # 2018-01-02 14:30:00 UTC
COLUMNS = ("time", "open", "high", "low", "close", "volume")


def trades(*rows: tuple[float, float, float], sequence: int | list[int] = 0) -> TickBatch:
    """Trades of (seconds after START, price, size)."""
    seconds, price, size = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    return TickBatch.trades(START + np.round(seconds * 1e6).astype(np.int64), price, size, sequence=np.array(sequence))


def quotes(*rows: tuple[float, float, float]) -> TickBatch:
    """Quotes of (seconds after START, bid, ask), one unit on each side."""
    seconds, bid, ask = (np.array(column, dtype=float) for column in zip(*rows, strict=True))
    n = len(rows)
    none, one = np.full(n, np.nan), np.ones(n)
    time = START + np.round(seconds * 1e6).astype(np.int64)
    kind, text = np.full(n, QUOTE), np.full(n, b"")
    return TickBatch(time, kind, none, none, bid, one, ask, one, np.zeros(n, dtype=np.int64), text, text)


def bars(instrument: Instrument, interval: int = 60) -> list[tuple[float, ...]]:
    """Stored bars; times in bars after START."""
    series = load_bars(instrument.pk, interval)
    start = START // 1_000_000 // interval * interval
    rows = zip(*(getattr(series, name).tolist() for name in COLUMNS), strict=True)
    return [((time - start) // interval, *values) for time, *values in rows]


@pytest.fixture
def stock(db) -> Instrument:
    return Instrument.objects.create(symbol="STK", name="Stock", calendar="24/7")


def state(instrument: Instrument) -> TickState:
    return TickState.objects.get(instrument=instrument)


def test_trades_become_bars_of_a_minute_and_are_stored_as_they_came(stock):
    batch = TickBatch.trades(
        START + np.array([1, 2, 61]) * 1_000_000, np.array([10.0, 12.5, 11.0]), np.array([100.0, 50.0, 7.0]),
        sequence=np.array([5, 6, 7]),
        exchange=np.array([b"N", b"XNAS", b""]), condition=np.array([b"F I", b"", b"4 B"]),
    )  # fmt: skip

    done = ingest(stock, batch, "file")

    assert (done.n_stored, done.n_repeated, done.n_late, done.bad) == (3, 0, 0, {})
    assert done.bars == {60: [START // 1_000_000, START // 1_000_000 + 60]}
    assert bars(stock) == [(0, 10.0, 12.5, 10.0, 12.5, 150.0), (1, 11.0, 11.0, 11.0, 11.0, 7.0)]
    rows = Tick.objects.filter(instrument=stock).order_by("time")
    assert list(rows.values_list("price", "size", "sequence", "exchange", "condition", "source", "bid", "kind")) == [
        (10.0, 100.0, 5, "N", "F I", "file", None, 1),
        (12.5, 50.0, 6, "XNAS", "", "file", None, 1),
        (11.0, 7.0, 7, "", "4 B", "file", None, 1),
    ]
    assert rows[0].time == datetime(2018, 1, 2, 14, 30, 1, tzinfo=UTC)


def test_the_open_bar_goes_on_in_the_next_batch(stock):
    ingest(stock, trades((1, 10, 0.1), (2, 11, 0.2)), "file")
    done = ingest(stock, trades((3, 9, 0.3), (60, 12, 1)), "file")

    assert done.n_late == 0
    # 0.1 + 0.2 + 0.3, added in this order, is 0.6000000000000001
    assert bars(stock) == [(0, 10.0, 11.0, 9.0, 9.0, 0.1 + 0.2 + 0.3), (1, 12.0, 12.0, 12.0, 12.0, 1.0)]


def test_a_late_trade_changes_the_bar_it_belongs_to(stock):
    ingest(stock, trades((10, 10, 1), (70, 20, 1), (130, 30, 1)), "file")
    done = ingest(stock, trades((5, 8, 2), (75, 25, 2)), "file")

    assert (done.n_stored, done.n_late) == (2, 2)
    assert bars(stock) == [(0, 8, 10, 8, 10, 3), (1, 20, 25, 20, 25, 3), (2, 30, 30, 30, 30, 1)]
    assert state(stock).n_late == 2
    assert state(stock).last_trade_time == datetime(2018, 1, 2, 14, 32, 10, tzinfo=UTC)


def test_late_trades_are_stored_while_django_logs_every_statement(stock, settings):
    settings.DEBUG = True  # Django then wraps cursors in others that take fewer arguments
    with CaptureQueriesContext(connection):
        ingest(stock, trades((10, 10, 1)), "file")
        ingest(stock, trades((5, 8, 2)), "file")
    assert bars(stock) == [(0, 8, 10, 8, 10, 3)]


def test_late_and_later_trades_of_one_batch_meet_in_the_open_bar(stock):
    ingest(stock, trades((10, 10, 1)), "file", bar_intervals=[60, 300])
    ingest(stock, trades((61, 20, 4), (5, 9, 2), (11, 11, 3)), "file")

    assert bars(stock) == [(0, 9, 11, 9, 11, 6), (1, 20, 20, 20, 20, 4)]
    assert bars(stock, 300) == [(0, 9, 20, 9, 20, 10)]


def test_what_came_before_is_repeated_not_stored_again(stock):
    batch = trades((1, 10, 1), (2, 11, 1))
    ingest(stock, batch, "file")
    done = ingest(stock, trades((1, 10, 1), (1, 10, 1), (2, 11, 1), (3, 12, 1)), "other")

    assert (done.n_stored, done.n_repeated) == (1, 3)
    assert bars(stock) == [(0, 10, 12, 10, 12, 3)]
    assert (state(stock).n_ticks, state(stock).n_repeated) == (3, 3)


def test_equal_prints_with_numbers_of_their_own_are_two_ticks(stock):
    done = ingest(stock, trades((1, 10, 1), (1, 10, 1), sequence=[1, 2]), "feed")
    assert (done.n_stored, bars(stock)) == (2, [(0, 10, 10, 10, 10, 2)])


def test_numbered_trades_of_one_second_go_on_without_reading_the_bar_anew(stock, monkeypatch):
    ingest(stock, trades((1, 10, 1), sequence=[1]), "feed")
    monkeypatch.setattr(stored_bars, "_make_anew", None)  # calling it would fail
    ingest(stock, trades((1, 11, 1), (1, 9, 1), sequence=[2, 3]), "feed")
    assert bars(stock) == [(0, 10, 11, 9, 9, 3)]


def test_quotes_are_stored_and_make_no_bars(stock):
    ingest(stock, trades((1, 10, 1)), "feed")
    done = ingest(stock, quotes((0.5, 9, 11), (2, 0, 11), (3, 12, 11)), "feed")

    assert (done.n_stored, done.n_late, done.bars) == (3, 1, {})
    rows = Tick.objects.filter(instrument=stock, kind=QUOTE).order_by("time").values_list("bid", "bid_size", "ask")
    assert list(rows) == [(9.0, 1.0, 11.0), (None, None, 11.0), (12.0, 1.0, 11.0)]
    assert state(stock).last_trade_time == datetime(2018, 1, 2, 14, 30, 1, tzinfo=UTC)


def test_trades_after_the_last_trade_but_before_the_last_quote_are_late_and_go_on(stock):
    ingest(stock, quotes((50, 9, 11)), "feed")
    ingest(stock, trades((1, 10, 1), (2, 12, 1)), "feed")
    done = ingest(stock, trades((3, 11, 1)), "feed")
    assert (done.n_late, state(stock).n_late) == (1, 3)
    assert bars(stock) == [(0, 10, 12, 10, 11, 3)]


def test_bad_ticks_are_counted_by_reason_and_added_up(stock):
    ingest(stock, trades((1, 10, 1), (2, 0, 1), (3, -1, 1), (4, 10, 0)), "feed")
    done = ingest(stock, trades((5, np.nan, 1), (6, 0, 1)), "feed", bad={"corrected by the exchange": 2})

    assert done.n_stored == 0
    assert done.bad == {"price is not a number": 1, "price is not above 0": 1, "corrected by the exchange": 2}
    assert state(stock).bad == {
        "price is not above 0": 3, "size is not above 0": 1, "price is not a number": 1, "corrected by the exchange": 2,
    }  # fmt: skip
    assert bars(stock) == [(0, 10, 10, 10, 10, 1)]


def test_a_time_in_the_future_is_refused_unless_time_is_simulated(stock):
    tomorrow = datetime.now(UTC) + timedelta(days=2)
    batch = TickBatch.trades(np.array([int(tomorrow.timestamp()) * 1_000_000]), np.array([10.0]), np.array([1.0]))
    assert ingest(stock, batch, "feed").bad == {"time is in the future": 1}
    assert ingest(stock, batch, "feed", future_ok=True).n_stored == 1


def test_an_interval_asked_for_later_is_made_from_all_stored_ticks(stock):
    ingest(stock, trades((1, 10, 1), (299, 11, 1), (301, 12, 1)), "feed")
    ingest(stock, trades((302, 13, 1)), "feed", bar_intervals=[300])
    assert bars(stock, 300) == [(0, 10, 11, 10, 11, 2), (1, 12, 13, 12, 13, 2)]
    ingest(stock, trades((303, 14, 1)), "feed")
    assert state(stock).bar_intervals == [60, 300]
    assert bars(stock, 300)[1] == (1, 12, 14, 12, 14, 3)
    assert bars(stock)[-1] == (5, 12, 14, 12, 14, 3)


def test_a_state_that_was_deleted_is_found_again_in_the_stored_ticks(stock):
    ingest(stock, trades((1, 10, 1), (70, 20, 1)), "feed")
    TickState.objects.all().delete()
    done = ingest(stock, trades((70, 20, 1), (71, 30, 2)), "feed")
    assert (done.n_stored, done.n_repeated) == (1, 1)
    assert (state(stock).n_ticks, state(stock).bar_intervals) == (3, [60])
    assert bars(stock) == [(0, 10, 10, 10, 10, 1), (1, 20, 30, 20, 30, 3)]


def test_an_open_bar_that_someone_else_replaced_is_made_from_the_ticks_again(stock):
    ingest(stock, trades((1, 10, 1), (2, 20, 1)), "feed")
    other = BarSeries([START // 1_000_000], [1.0], [1.0], [1.0], [1.0], [999.0])
    store_bars(stock, 60, other, "yahoo")
    ingest(stock, trades((3, 15, 1)), "feed")
    assert bars(stock) == [(0, 10, 20, 10, 15, 3)]


def test_late_trades_of_days_that_were_dropped_are_refused(stock):
    ingest(stock, trades((1, 10, 1), (200_000, 20, 1)), "feed")
    dropped_until = START // 1_000_000 // 86_400 * 86_400 + 86_400
    Event.objects.create(kind="ticks.dropped", message="dropped", data={"until": dropped_until})
    done = ingest(stock, trades((2, 99, 1), (199_999, 30, 1)), "feed")
    assert (done.n_stored, done.bad) == (1, {TOO_OLD: 1})
    assert bars(stock)[0] == (0, 10, 10, 10, 10, 1)


@pytest.mark.parametrize(
    ("source", "intervals", "words"),
    [("", None, "source"), ("a name too long", None, "source"), ("fée", None, "source"), ("feed", [7], "7 s"),
     ("feed", [0], "0 s"), ("feed", [172_800], "172800 s")],
)  # fmt: skip
def test_what_cannot_be_stored_is_refused_in_words(stock, source, intervals, words):
    with pytest.raises(ValueError, match=words):
        ingest(stock, trades((1, 10, 1)), source, bar_intervals=intervals)


def test_nothing_is_nothing(stock):
    assert ingest(stock, TickBatch.empty(), "feed").n_stored == 0
    assert not TickState.objects.exists()


@pytest.mark.django_db(transaction=True)
def test_one_notice_tells_that_bars_changed(monkeypatch):
    stock = Instrument.objects.create(symbol="STK", name="Stock", calendar="24/7")
    listener = connection.copy()
    try:
        listener.ensure_connection()
        listener.cursor().execute("LISTEN desk")
        ingest(stock, trades((1, 10, 1), (61, 10, 1)), "feed", bar_intervals=[60, 300])
        ingest(stock, quotes((62, 9, 11)), "feed")
        heard = [json.loads(notice.payload) for notice in listener.connection.notifies(timeout=0.5)]
    finally:
        listener.close()
    assert heard == [{"kind": "tick", "instrument": stock.pk}]


@pytest.mark.django_db(transaction=True)
def test_writers_of_one_instrument_take_turns():
    stock = Instrument.objects.create(symbol="STK", name="Stock", calendar="24/7")
    prints = [(second, 10 + second % 7, 0.1) for second in range(200)]

    def write(mine: list[tuple[float, float, float]]) -> int:
        try:
            return sum(ingest(stock, trades(*mine[at : at + 20]), "feed").n_stored for at in range(0, len(mine), 20))
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:  # each has half of the other's prints
        stored = list(pool.map(write, [prints[:120], prints[60:], prints[::2]]))

    assert sum(stored) == Tick.objects.count() == 200
    expected = from_scratch([(START + second * 1_000_000, price, size, 0) for second, price, size in prints], 60)
    assert bars(stock) == expected


def test_a_failure_leaves_neither_ticks_nor_counts(stock, monkeypatch):
    def fail(*_args: object) -> None:
        raise RuntimeError("the disk is full")

    monkeypatch.setattr(stored_bars, "store_bars", fail)
    with pytest.raises(RuntimeError):
        ingest(stock, trades((1, 10, 1)), "feed")
    assert not Tick.objects.exists()
    assert not TickState.objects.exists()


def from_scratch(rows: list[tuple[int, float, float, int]], interval: int) -> list[tuple[float, ...]]:
    """Bars by plain Python from (microseconds, price, size, sequence); no two rows of one time and sequence."""
    made: dict[int, list[float]] = {}
    for time, price, size, _ in sorted(set(rows), key=lambda row: (row[0], row[3])):
        start = time // (interval * 1_000_000)
        if start not in made:
            made[start] = [price, price, price, price, 0.0]
        bar = made[start]
        bar[1], bar[2], bar[3], bar[4] = max(bar[1], price), min(bar[2], price), price, bar[4] + size
    first = START // 1_000_000 // interval
    return [(start - first, *bar) for start, bar in sorted(made.items())]


@st.composite
def arrivals(draw: st.DrawFn) -> tuple[list[tuple[int, float, float, int]], list[list[tuple[int, float, float, int]]]]:
    """A tick file, and the batches in which it arrives: permuted, with repeats, cut anywhere."""
    times = draw(st.lists(st.integers(0, 12 * 60), min_size=1, max_size=25))
    rows = [
        (START + second * 1_000_000, draw(st.integers(1, 50)) / 4, draw(st.integers(1, 9)) / 10, number)
        for number, second in enumerate(times)
    ]
    again = draw(st.lists(st.sampled_from(rows), max_size=10))
    arriving = draw(st.permutations(rows + again))
    cuts = sorted(draw(st.lists(st.integers(0, len(arriving)), max_size=4)))
    return rows, [arriving[a:b] for a, b in zip([0, *cuts], [*cuts, len(arriving)], strict=True)]


class AnyArrivalEndsInTheSameBars(TestCase):
    """Hypothesis resets the database between examples, so it wants Django's own test case."""

    @examples(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
    @given(arrivals())
    def test_any_permutation_duplication_and_split(self, arrival):
        rows, batches = arrival
        stock = Instrument.objects.create(symbol="HYP", name="Hyp", calendar="24/7")
        n_stored = n_repeated = 0
        for batch in batches:
            if batch:
                time, price, size, number = (np.array(column) for column in zip(*batch, strict=True))
                done = ingest(
                    stock, TickBatch.trades(time, price, size, sequence=number), "file", bar_intervals=[60, 300]
                )
                n_stored, n_repeated = n_stored + done.n_stored, n_repeated + done.n_repeated

        assert n_stored == len(rows)
        assert n_repeated == sum(map(len, batches)) - len(rows)
        for interval in (60, 300):
            assert bars(stock, interval) == from_scratch(rows, interval)


def test_real_trades_in_order_and_shuffled_in_pieces_end_in_the_same_bars(stock):
    path = need("tick/XXX_trades_20180102.parquet")
    whole, shuffled = stock, Instrument.objects.create(symbol="MIX", name="Mixed", calendar="24/7")
    chunks = list(read_ticks(path, chunk_rows=7_000))
    for chunk in chunks:
        ingest(whole, chunk.batch, "file", bar_intervals=[60, 86_400])
    everything = next(iter(read_ticks(path, chunk_rows=100_000))).batch
    places = np.random.default_rng(7).permutation(len(everything))
    for part in np.array_split(places, 3):
        ingest(shuffled, everything.take(part), "file", bar_intervals=[60, 86_400])

    for interval in (60, 86_400):
        assert bars(whole, interval) == bars(shuffled, interval)
    assert state(whole).n_ticks == state(shuffled).n_ticks
    assert state(whole).n_ticks + state(whole).n_repeated == len(everything) == 39_470


def test_bars_of_real_trades_agree_with_pandas(stock):
    path = need("tick/XXX_trades_20180102.parquet")
    for chunk in read_ticks(path, chunk_rows=10_000):
        ingest(stock, chunk.batch, "file")
    frame = pd.read_parquet(path).drop_duplicates(["timestamp", "price", "size", "exchange", "cond"])
    peer = frame.set_index("timestamp")["price"].resample("1min").ohlc().dropna()
    volume = frame.set_index("timestamp")["size"].resample("1min").sum()

    series = load_bars(stock.pk, 60)
    assert series.time.tolist() == [int(time.timestamp()) for time in peer.index]
    np.testing.assert_array_equal(series.high, peer["high"])
    np.testing.assert_array_equal(series.low, peer["low"])
    np.testing.assert_array_equal(series.volume, volume[peer.index])
    # Open and close differ only where the first or last millisecond of a minute has several prices: their order in
    # the file is not in its columns, and ours must not hang on the order of arrival.
    edge = frame.assign(minute=frame["timestamp"].dt.floor("1min"))
    for mine, theirs, which in ((series.open, peer["open"], "min"), (series.close, peer["close"], "max")):
        at_edge = edge[edge["timestamp"] == edge.groupby("minute")["timestamp"].transform(which)]
        prices = at_edge.groupby("minute")["price"].agg(set)
        assert all(price in prices[minute] for price, minute in zip(mine, peer.index, strict=True))
        alone = (prices.map(len) == 1).to_numpy()
        np.testing.assert_array_equal(mine[alone], theirs.to_numpy()[alone])
        assert alone.mean() > 0.8


def test_the_real_day_has_the_prices_of_the_daily_panel(stock):
    batch = next(iter(read_ticks(need("tick/XXX_trades_20180102.parquet"), chunk_rows=100_000))).batch
    # 09:30:00 up to 16:00:59 New York: the closing auction prints some seconds after 16:00.
    regular = (batch.time >= START) & (batch.time < START + 391 * MINUTE)
    ingest(stock, batch.take(regular), "file", bar_intervals=[86_400])
    ((_, opened, high, low, close, _volume),) = bars(stock, 86_400)
    assert (opened, low, close) == (158.30, 156.03, 157.04)
    assert 159.39 <= high < 159.40  # an off-exchange trade at 159.3988; the panel cuts to cents
