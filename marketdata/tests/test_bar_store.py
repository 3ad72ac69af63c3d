"""Writing bars: marks outside trading hours, and longer bars that follow."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import numpy as np
import pytest
from django.db import connection

from core.models import Instrument
from marketdata import levels
from marketdata.bar_store import make_bars, store_bars
from marketdata.coarser import coarser
from marketdata.models import Bar, ChartBar
from marketdata.queries import load_bars
from marketdata.series import BarSeries

DAY = 86_400
# 24 December 2019, a half day: New York trades from 14:30 to 18:00 UTC.
HALF_DAY = int(datetime(2019, 12, 24, tzinfo=UTC).timestamp())


def bars(times, seed: int = 1) -> BarSeries:
    random = np.random.default_rng(seed)
    n = len(times)
    open_, close = random.uniform(90, 110, n), random.uniform(90, 110, n)
    high, low = np.maximum(open_, close) + 1, np.minimum(open_, close) - 1
    return BarSeries(np.asarray(times), open_, high, low, close, random.integers(0, 1000, n))


def at(hour: int, minute: int, day: int = HALF_DAY) -> int:
    return day + hour * 3600 + minute * 60


@pytest.fixture
def instrument(db) -> Instrument:
    return Instrument.objects.create(symbol="SPX1", name="test", asset_class="etf", calendar="XNYS")


def test_five_minutes_are_made_of_their_own_minutes():
    # 00:01 to 00:04 belong to the bar of 00:00, 00:05 and 00:09 to that of 00:05; 00:10 stands alone
    one = BarSeries(
        np.array([60, 240, 300, 540, 600]),
        np.array([10.0, 11, 12, 13, 14]),
        np.array([15.0, 12, 13, 14, 15]),
        np.array([9.0, 10, 8, 12, 13]),
        np.array([11.0, 12, 13, 14, 14.5]),
        np.array([1.0, 2, 4, 8, 16]),
    )
    five = coarser(one, 300)
    assert five.time.tolist() == [0, 300, 600]
    assert five.open.tolist() == [10, 12, 14] and five.close.tolist() == [12, 14, 14.5]
    assert five.high.tolist() == [15, 14, 15] and five.low.tolist() == [9, 8, 13]
    assert five.volume.tolist() == [3, 12, 16]


def test_merging_in_two_steps_equals_merging_in_one():
    minutes = bars(np.sort(np.random.default_rng(3).choice(50_000, 5000, replace=False)) * 60)
    assert coarser(coarser(minutes, 300), 3600).fingerprint() == coarser(minutes, 3600).fingerprint()


@pytest.mark.parametrize("to_seconds", [0, 2 * DAY])
def test_lengths_that_make_no_sense_are_refused(to_seconds):
    with pytest.raises(ValueError, match="expected 1 to 86400"):
        coarser(bars([0, 60]), to_seconds)


def test_bars_outside_trading_hours_are_marked(instrument):
    times = [at(14, 29), at(14, 30), at(17, 59), at(18, 0), at(14, 30, HALF_DAY + DAY)]  # the last one on Christmas
    store_bars(instrument, 60, bars(times), "test")
    marks = Bar.objects.filter(instrument=instrument).order_by("time").values_list("outside_session", flat=True)
    assert list(marks) == [True, False, False, True, True]


def test_a_day_is_made_of_its_session_and_follows_late_minutes(instrument):
    day_before = HALF_DAY - DAY
    first = bars([at(14, 0, day_before), at(14, 30, day_before), at(20, 59, day_before), at(14, 30), at(17, 0)])
    store_bars(instrument, 60, first, "test")
    assert make_bars(instrument, 60, DAY) == 2
    days = load_bars(instrument.pk, DAY)
    assert days.time.tolist() == [day_before, HALF_DAY]
    assert days.open[0] == first.open[1]  # 14:00 was before the session
    assert days.close.tolist() == [first.close[2], first.close[4]]
    late = bars([at(17, 59), at(18, 0)], seed=9)  # the session's last minute, and one after it
    store_bars(instrument, 60, late, "test")
    days = load_bars(instrument.pk, DAY)
    assert days.close[1] == late.close[0]
    assert days.volume[1] == first.volume[3] + first.volume[4] + late.volume[0]


def test_longer_bars_written_piece_by_piece_equal_those_of_all_minutes(instrument):
    series = bars(np.arange(0, 20_000 * 60, 60) + HALF_DAY - 12 * DAY)  # from a Thursday on
    store_bars(instrument, 60, series.between(0, int(series.time[2000])), "test")
    for length in (300, 3600, DAY):
        make_bars(instrument, 60, length)
    for first in range(1900, 20_000, 3331):
        store_bars(
            instrument, 60, series.between(int(series.time[first]), int(series.time[min(first + 3400, 19_999)])), "t"
        )
    for length in (300, 3600):
        assert load_bars(instrument.pk, length).fingerprint() == coarser(series, length).fingerprint()
    piecewise = load_bars(instrument.pk, DAY)
    make_bars(instrument, 60, DAY)
    assert load_bars(instrument.pk, DAY).fingerprint() == piecewise.fingerprint()
    assert set(Bar.objects.filter(instrument=instrument, interval_seconds=DAY).values_list("source", flat=True)) == {
        "made:60"
    }


def test_bars_from_elsewhere_are_not_replaced_by_made_ones(instrument):
    store_bars(instrument, DAY, bars([HALF_DAY]), "yahoo")
    store_bars(instrument, 60, bars([at(14, 30)]), "test")
    with pytest.raises(ValueError, match="already has bars of 86400 s from yahoo"):
        make_bars(instrument, 60, DAY)
    with pytest.raises(ValueError, match="no bars of 300 s"):
        make_bars(instrument, 300, 900)
    with pytest.raises(ValueError, match="expected a multiple of 60"):
        make_bars(instrument, 60, 90)


def test_nights_alone_make_no_day(instrument):
    store_bars(instrument, 60, bars([at(3, 0)]), "test")
    with pytest.raises(ValueError, match="lies in a session of XNYS"):
        make_bars(instrument, 60, DAY)


def test_an_unknown_calendar_stores_nothing(instrument):
    instrument.calendar = "MOON"
    with pytest.raises(ValueError, match="MOON"):
        store_bars(instrument, 60, bars([0]), "test")
    assert not Bar.objects.exists()


def test_no_bars_are_no_rows(instrument):
    assert store_bars(instrument, 60, BarSeries.empty(), "test") == 0


def test_minutes_further_apart_than_the_longer_bar_make_one_bar_each(instrument):
    # Nobody traded in between, so 15:00, 15:30 and 16:00 are all there is; each is the only minute of its five
    times = [at(15, 0), at(15, 30), at(16, 0)]
    store_bars(instrument, 60, bars(times), "csv")
    assert make_bars(instrument, 60, 300) == 3
    store_bars(instrument, 60, bars(times, seed=2), "csv")
    assert load_bars(instrument.pk, 300).fingerprint() == bars(times, seed=2).fingerprint()


def test_made_bars_leave_alone_what_has_come_from_elsewhere_since(instrument):
    store_bars(instrument, 60, bars([at(15, 0), at(15, 5)]), "csv")
    make_bars(instrument, 60, 300)
    theirs = bars([at(15, 0)], seed=7)
    store_bars(instrument, 300, theirs, "yahoo")
    store_bars(instrument, 60, bars([at(15, 0), at(15, 5)], seed=2), "csv")
    kept = load_bars(instrument.pk, 300)
    assert kept.open.tolist() == [theirs.open[0], bars([at(15, 0), at(15, 5)], seed=2).open[1]]


@pytest.mark.django_db(transaction=True)
def test_writers_of_one_instrument_lose_nothing_in_levels_and_made_bars():
    coin = Instrument.objects.create(symbol="COIN", name="test", asset_class="crypto", calendar="24/7")
    store_bars(coin, 60, bars([HALF_DAY]), "csv")
    make_bars(coin, 60, 300)
    times = np.random.default_rng(4).permutation(np.arange(1, 241)) * 60 + HALF_DAY

    def write(mine: np.ndarray) -> None:
        try:
            for part in np.array_split(mine, 20):
                store_bars(coin, 60, bars(np.sort(part)), "csv")
        finally:
            connection.close()

    with ThreadPoolExecutor(3) as pool:
        list(pool.map(write, np.array_split(times, 3)))

    minutes = load_bars(coin.pk, 60)
    assert len(minutes) == 241
    for level in levels.levels_of(60):
        rows = ChartBar.objects.filter(instrument=coin, interval_seconds=60, level_seconds=level)
        assert sum(row.n_bars for row in rows) == 241
    assert load_bars(coin.pk, 300).fingerprint() == coarser(minutes, 300).fingerprint()


def test_days_are_not_made_of_hours_in_which_the_session_opens(instrument):
    # New York opens at 14:30 UTC, so the hour from 14:00 is half inside; half hours fit
    store_bars(instrument, 60, bars([at(14, 30), at(14, 50), at(15, 10), at(17, 59)]), "csv")
    make_bars(instrument, 60, 1800)
    make_bars(instrument, 60, 3600)
    with pytest.raises(ValueError, match="XNYS opens at 14:30 UTC, inside a bar of 3600 s"):
        make_bars(instrument, 3600, DAY)
    make_bars(instrument, 1800, DAY)
    minutes, (day,) = load_bars(instrument.pk, 60), Bar.objects.filter(interval_seconds=DAY)
    assert (day.open, day.close, day.volume) == (minutes.open[0], minutes.close[-1], minutes.volume.sum())
