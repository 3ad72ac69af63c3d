"""Chart levels against plain merging of the bars themselves."""

from datetime import UTC, datetime

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from core.models import Instrument
from marketdata import levels
from marketdata.bar_store import store_bars
from marketdata.models import Bar, ChartBar
from marketdata.queries import load_bars
from marketdata.series import BarSeries

pytestmark = pytest.mark.django_db
MINUTE = 60


def moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(seconds, UTC)


@pytest.fixture
def instrument() -> Instrument:
    return Instrument.objects.create(symbol="LVL", name="levels", asset_class="crypto", calendar="24/7")


def walk(times, seed: int = 1) -> BarSeries:
    random = np.random.default_rng(seed)
    n = len(times)
    open_, close = random.uniform(90, 110, n), random.uniform(90, 110, n)
    high, low = np.maximum(open_, close) + 1, np.minimum(open_, close) - 1
    return BarSeries(np.asarray(times), open_, high, low, close, random.integers(0, 1000, n))


def merged_by_hand(series: BarSeries, length: int) -> dict[int, tuple[float, ...]]:
    """Bars of one level, the slow and plain way."""
    found: dict[int, list[int]] = {}
    for row, time in enumerate(series.time.tolist()):
        found.setdefault(time // length * length, []).append(row)
    return {
        bucket: (
            series.open[rows[0]],
            max(series.high[rows]),
            min(series.low[rows]),
            series.close[rows[-1]],
            sum(series.volume[rows]),
            len(rows),
        )
        for bucket, rows in found.items()
    }


def stored_level(instrument: Instrument, length: int) -> dict[int, tuple[float, ...]]:
    rows = ChartBar.objects.filter(instrument=instrument, level_seconds=length)
    return {int(r.time.timestamp()): (r.open, r.high, r.low, r.close, r.volume, r.n_bars) for r in rows}


def test_each_level_is_a_multiple_of_the_one_below():
    assert levels.levels_of(60)[:4] == [300, 900, 3600, 14_400]
    assert levels.levels_of(86_400) == [4 * 86_400, 16 * 86_400, 64 * 86_400]
    # 2-minute bars do not make 5-minute ones, and an hour is the first that fits both ways
    assert levels.levels_of(120)[0] == 3600
    assert levels.levels_of(90 * 86_400) == []


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.sets(st.integers(0, 3000), min_size=1, max_size=60), min_size=1, max_size=4), st.integers(0, 99))
def test_levels_written_piece_by_piece_equal_those_of_all_bars(instrument, pieces, seed):
    Bar.objects.filter(instrument=instrument).delete()
    ChartBar.objects.filter(instrument=instrument).delete()
    for number, minutes in enumerate(pieces):  # later pieces come late, overlap and replace
        store_bars(instrument, MINUTE, walk(sorted(minute * 60 for minute in minutes), seed + number), "test")
    everything = load_bars(instrument.pk, MINUTE)
    for length in levels.levels_of(MINUTE):
        expected = merged_by_hand(everything, length)
        found = stored_level(instrument, length)
        assert found.keys() == expected.keys()
        for bucket, values in expected.items():
            assert found[bucket] == pytest.approx(values, rel=1e-12)


def test_few_bars_come_as_stored_and_many_as_the_first_level_that_fits(instrument):
    series = walk(np.arange(3000) * 60)
    store_bars(instrument, MINUTE, series, "test")
    assert levels.chart_bars(instrument.pk, MINUTE, n_most=3000).fingerprint() == series.fingerprint()
    fives, length = levels.thinned(instrument.pk, MINUTE, n_most=2999)
    assert (length, len(fives)) == (300, 600)
    assert fives.high[0] == series.high[:5].max() and fives.close[-1] == series.close[-1]
    assert levels.thinned(instrument.pk, MINUTE, n_most=200)[1] == 900
    assert levels.n_stored(instrument.pk, MINUTE) == 3000


def test_a_narrow_look_into_a_long_series_gets_its_single_bars(instrument):
    series = walk(np.arange(20_000) * 60)
    store_bars(instrument, MINUTE, series, "test")
    part, length = levels.thinned(instrument.pk, MINUTE, start=moment(600_000), end=moment(660_000), n_most=1001)
    assert length == MINUTE
    assert part.fingerprint() == series.between(600_000, 660_000).fingerprint()


@pytest.mark.parametrize("end", [59_999, 60_000, 123_456, 863_940, 1_199_940, 10**8])
def test_the_last_merged_bar_knows_nothing_after_the_end(instrument, end):
    series = walk(np.arange(20_000) * 60)
    store_bars(instrument, MINUTE, series, "test")
    for n_most in (3, 20, 150, 500):
        shown = levels.chart_bars(instrument.pk, MINUTE, end=moment(end), n_most=n_most)
        known = series.until(end)
        assert 0 < len(shown) <= n_most
        assert shown.close[-1] == known.close[-1]
        assert shown.high.max() == known.high.max() and shown.low.min() == known.low.min()
        assert shown.volume.sum() == pytest.approx(known.volume.sum(), rel=1e-12)


def test_longer_bars_can_be_asked_for_only_where_there_is_a_level(instrument):
    store_bars(instrument, MINUTE, walk(np.arange(100) * 60), "test")
    assert len(levels.chart_bars(instrument.pk, MINUTE, at_least_seconds=900)) == 7
    with pytest.raises(ValueError, match="not as 420 s"):
        levels.chart_bars(instrument.pk, MINUTE, at_least_seconds=420)
    with pytest.raises(ValueError, match="at least 1"):
        levels.chart_bars(instrument.pk, MINUTE, n_most=0)


def test_beyond_the_longest_level_neighbours_are_merged(instrument):
    series = walk(np.arange(400) * 64 * 86_400)
    store_bars(instrument, 64 * 86_400, series, "test")
    shown = levels.chart_bars(instrument.pk, 64 * 86_400, n_most=150)
    assert len(shown) == 134  # three each
    assert shown.high[0] == series.high[:3].max() and shown.time[1] == series.time[3]


def test_no_bars_are_an_empty_series(instrument):
    assert len(levels.chart_bars(instrument.pk, MINUTE)) == 0
    assert levels.n_stored(instrument.pk, MINUTE) == 0


def test_levels_can_be_made_anew(instrument):
    store_bars(instrument, MINUTE, walk(np.arange(1000) * 60), "test")
    before = stored_level(instrument, 900)
    ChartBar.objects.filter(instrument=instrument).update(high=1e9)
    levels.rebuild(instrument.pk, MINUTE)
    assert stored_level(instrument, 900) == before


def test_few_bars_between_two_busy_days_come_as_stored(instrument):
    # a day full of minutes, a weekend with ten of them, another full day: the look begins and ends in the full days
    day = 86_400
    minutes = [*range(0, day, 60), *range(2 * day, 2 * day + 600, 60), *range(4 * day, 5 * day, 60)]
    store_bars(instrument, MINUTE, walk(minutes), "test")
    shown, length = levels.thinned(instrument.pk, MINUTE, start=moment(day - 60), end=moment(4 * day), n_most=12)
    assert (length, len(shown)) == (MINUTE, 12)


def test_a_fraction_of_a_second_is_before_no_bar_that_began_already(instrument):
    store_bars(instrument, 1, walk([10, 11, 12]), "csv")
    half_past_ten = datetime.fromtimestamp(10.5, UTC)
    # bars are at 10, 11 and 12 s: from 10.5 to 11.5 s there is one
    seen = levels.chart_bars(instrument.pk, 1, start=half_past_ten, end=datetime.fromtimestamp(11.5, UTC))
    assert seen.time.tolist() == [11]
