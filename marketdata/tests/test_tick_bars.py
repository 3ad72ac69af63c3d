import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.ticks.bars import OpenBar, bar_starts, make_bars, open_bar_of
from marketdata.ticks.identity import first_of_each, identities, order
from marketdata.ticks.series import TickBatch

SECOND = 1_000_000
FIELDS = ("time", "open", "high", "low", "close", "volume")


def rows(series) -> list[tuple]:
    return list(zip(*(getattr(series, name).tolist() for name in FIELDS), strict=True))


def make(time, price, size, interval=60, open_bar=None) -> list[tuple]:
    seconds = np.round(np.array(time, dtype=float) * SECOND).astype(np.int64)
    return rows(make_bars(seconds, np.array(price, dtype=float), np.array(size, dtype=float), interval, open_bar))


def test_a_bar_holds_the_trades_from_its_start_up_to_the_next():
    # 0:00 to 0:59.999999 is the first bar, 1:00 the second; no bar for the minute without a trade
    made = make([0, 30, 59.999999, 60, 180], [10, 12, 9, 11, 20], [1, 2, 3, 4, 5])
    assert made == [(0, 10, 12, 9, 9, 6), (60, 11, 11, 11, 11, 4), (180, 20, 20, 20, 20, 5)]


def test_bars_before_1970_start_at_multiples_too():
    np.testing.assert_array_equal(bar_starts(np.array([-1, 0, 59 * SECOND]), 60), [-60, 0, 0])


def test_going_on_changes_the_open_bar_and_leaves_earlier_ones_out():
    open_bar = OpenBar(60, 11, 13, 10, 12, 5)
    assert make([61, 62, 120], [14, 9, 1], [1, 1, 1], open_bar=open_bar) == [
        (60, 11, 14, 9, 9, 7),
        (120, 1, 1, 1, 1, 1),
    ]
    assert make([130], [1], [1], open_bar=open_bar) == [(120, 1, 1, 1, 1, 1)]


def test_the_last_bar_is_the_open_one():
    assert open_bar_of(
        make_bars(np.array([0, 61 * SECOND]), np.array([1.0, 2.0]), np.array([3.0, 4.0]), 60)
    ) == OpenBar(60, 2, 2, 2, 2, 4)
    none = np.empty(0)
    assert open_bar_of(make_bars(none.astype(np.int64), none, none, 60)) is None


@pytest.mark.parametrize("interval", [0, -60, 7, 86_401, 172_800])
def test_bars_that_do_not_divide_a_day_are_refused(interval):
    with pytest.raises(ValueError, match="do not divide a day"):
        make([0], [1], [1], interval)


def test_trades_out_of_order_and_before_the_open_bar_are_refused():
    with pytest.raises(ValueError, match="in order of time"):
        make([2, 1], [1, 1], [1, 1])
    with pytest.raises(ValueError, match="before the open bar"):
        make([59], [1], [1], open_bar=OpenBar(60, 1, 1, 1, 1, 1))


prints = st.lists(
    st.tuples(st.integers(0, 600 * SECOND), st.integers(1, 400), st.integers(1, 99), st.integers(0, 2)),
    min_size=1, max_size=80,
)  # fmt: skip


def canonical(batch: TickBatch) -> TickBatch:
    hashes = identities(batch)
    places = order(batch.time, batch.sequence, hashes)
    first = first_of_each(batch.time[places], batch.sequence[places], hashes[places])
    return batch.take(places[first])


def as_batch(ticks: list[tuple[int, int, int, int]]) -> TickBatch:
    time, price, size, sequence = (np.array(column) for column in zip(*ticks, strict=True))
    return TickBatch.trades(time, price / 7, size / 10, sequence=sequence)


@settings(max_examples=50, deadline=None)
@given(ticks=prints, data=st.data(), interval=st.sampled_from([1, 5, 60, 300, 86_400]))
def test_any_order_any_repeats_and_any_cut_end_in_the_same_bits(ticks, data, interval):
    whole = canonical(as_batch(ticks))
    shuffled = data.draw(st.permutations(ticks + data.draw(st.lists(st.sampled_from(ticks), max_size=20))))
    other = canonical(as_batch(shuffled))
    expected = make_bars(whole.time, whole.price, whole.size, interval)

    cuts = sorted(data.draw(st.lists(st.integers(0, len(other)), max_size=5)))
    found, open_bar = {}, None
    for start, end in zip([0, *cuts], [*cuts, len(other)], strict=True):
        part = other.take(slice(start, end))
        series = make_bars(part.time, part.price, part.size, interval, open_bar)
        open_bar = open_bar_of(series) or open_bar
        found.update({row[0]: row for row in rows(series)})
    assert list(found.values()) == rows(expected)


def test_bars_agree_with_pandas():
    rng = np.random.default_rng(5)
    time = np.sort(rng.integers(0, 7200 * SECOND, 4000))
    price, size = 100 + rng.normal(0, 1, 4000), rng.integers(1, 100, 4000).astype(float)
    series = make_bars(time, price, size, 300)
    frame = pd.DataFrame({"price": price, "size": size}, index=pd.to_datetime(time, unit="us", utc=True))
    peer = frame["price"].resample("5min").ohlc()
    np.testing.assert_array_equal(series.time, [int(at.timestamp()) for at in peer.index])
    for name in ("open", "high", "low", "close"):
        np.testing.assert_array_equal(getattr(series, name), peer[name])
    np.testing.assert_array_equal(series.volume, frame["size"].resample("5min").sum())
