import re
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db import connection

from core.models import Instrument
from marketdata.tests.test_tick_store import START, quotes, trades
from marketdata.ticks.queries import latest_tick, load_ticks, totals, trades_between
from marketdata.ticks.series import QUOTE, TRADE
from marketdata.ticks.store import ingest

OPENING = datetime(2018, 1, 2, 14, 30, tzinfo=UTC)


@pytest.fixture
def stock(db) -> Instrument:
    return Instrument.objects.create(symbol="STK", name="Stock", calendar="24/7")


def later(seconds: float) -> datetime:
    return OPENING + timedelta(seconds=seconds)


def test_ticks_come_back_as_they_went_in_and_in_order(stock):
    ingest(stock, trades((3, 12, 1), (1, 10, 1)), "feed")
    ingest(stock, quotes((2, 0, 11)), "feed")
    batch = load_ticks(stock.pk, later(1), later(3))
    assert batch.time.tolist() == [START + 1_000_000, START + 2_000_000, START + 3_000_000]
    assert batch.kind.tolist() == [TRADE, QUOTE, TRADE]
    np.testing.assert_array_equal(batch.price, [10, np.nan, 12])
    np.testing.assert_array_equal(batch.bid, [np.nan, np.nan, np.nan])
    np.testing.assert_array_equal(batch.ask, [np.nan, 11, np.nan])
    assert len(load_ticks(stock.pk, later(1), later(3), limit=2)) == 2
    assert len(load_ticks(stock.pk, later(4), later(9))) == 0


def test_the_latest_tick_of_all_and_of_each_kind(stock):
    assert latest_tick(stock.pk) is None
    ingest(stock, quotes((1, 9, 11)), "feed")
    assert latest_tick(stock.pk, TRADE) is None
    ingest(stock, trades((200_000, 10, 1), (200_001, 11, 2)), "feed")
    latest = latest_tick(stock.pk)
    assert (latest.time, latest.kind, latest.price, latest.size, latest.source) == (
        later(200_001),
        TRADE,
        11,
        2,
        "feed",
    )
    assert latest_tick(stock.pk, TRADE) == latest
    quote = latest_tick(stock.pk, QUOTE)  # more than a day before the last tick
    assert (quote.time, quote.bid, quote.ask, quote.price) == (later(1), 9, 11, None)


def test_the_latest_of_one_moment_is_the_last_in_order(stock):
    ingest(stock, trades((1, 10, 1), (1, 11, 1), (1, 12, 1), sequence=[1, 3, 2]), "feed")
    assert latest_tick(stock.pk).price == 11


def test_the_latest_tick_is_looked_for_in_one_chunk(stock, django_assert_max_num_queries):
    ingest(stock, trades(*((day * 86_400, 10, 1) for day in range(5))), "feed")
    with django_assert_max_num_queries(2) as seen:
        latest_tick(stock.pk)
    with connection.cursor() as cursor:
        cursor.execute("EXPLAIN " + seen.captured_queries[-1]["sql"])
        plan = "\n".join(line for (line,) in cursor.fetchall())
    assert len(set(re.findall(r"_hyper_\d+_\d+_chunk", plan))) == 1, plan
    assert "Index Scan" in plan


def test_trades_are_read_in_pages_that_cut_a_moment_anywhere(stock):
    ingest(stock, trades(*((1, price, 1) for price in range(1, 8)), (2, 99, 1)), "feed")
    ingest(stock, quotes((1, 9, 11)), "feed")
    pages = list(trades_between(stock.pk, OPENING, later(60), page=3))
    assert [time.size for time, _, _ in pages] == [3, 3, 2]
    prices = np.concatenate([price for _, price, _ in pages])
    assert sorted(prices.tolist()) == [1, 2, 3, 4, 5, 6, 7, 99]
    assert list(trades_between(stock.pk, later(2.5), later(60))) == []


def test_totals_are_counted_over_all_instruments(stock):
    assert totals().n_ticks == 0
    other = Instrument.objects.create(symbol="OTH", name="Other", calendar="24/7")
    ingest(stock, trades((1, 10, 1), (1, 10, 1)), "feed")
    ingest(other, trades((86_400, 10, 1), (5, 10, 1)), "feed")
    found = totals()
    assert (found.n_instruments, found.n_ticks, found.n_late, found.n_repeated) == (2, 3, 1, 1)
    assert found.n_chunks == 2
    assert found.n_bytes > 0
