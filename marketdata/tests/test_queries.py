from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db import connection, transaction

from core.models import Instrument
from marketdata.models import Bar
from marketdata.queries import copy_bars, load_bars, next_bar_times
from marketdata.series import BarSeries

DAY = 86_400
pytestmark = pytest.mark.django_db


@pytest.fixture
def instrument():
    return Instrument.objects.create(symbol="TEST", name="Test", asset_class="stock")


def moment(day):
    return datetime(1970, 1, 1, tzinfo=UTC) + timedelta(days=day)


def day_of(bar):
    return None if bar is None else (bar.time - moment(0)).days


def make(days, seed=1):
    days = np.asarray(days)
    close = 10 + np.random.default_rng(seed).random(days.size)
    return BarSeries(days * DAY, close - 0.1, close + 0.3, close - 0.3, close, np.arange(days.size, dtype=float))


def test_what_goes_in_by_copy_comes_out_bit_by_bit(instrument):
    bars = make(range(4000))
    assert copy_bars(instrument.pk, DAY, bars, "csv") == 4000
    assert load_bars(instrument.pk, DAY).fingerprint() == bars.fingerprint()
    assert set(Bar.objects.values_list("source", flat=True)) == {"csv"}


def test_bars_of_the_same_time_are_replaced_and_others_stay(instrument):
    copy_bars(instrument.pk, DAY, make(range(10)), "old")
    newer = make(range(5, 15), seed=2)
    with transaction.atomic():  # twice in one transaction
        copy_bars(instrument.pk, DAY, newer, "new")
        copy_bars(instrument.pk, DAY, newer, "new")
    stored = load_bars(instrument.pk, DAY)
    assert len(stored) == 15
    np.testing.assert_array_equal(stored.close[:5], make(range(10)).close[:5])
    np.testing.assert_array_equal(stored.close[5:], newer.close)


def test_intervals_and_instruments_do_not_mix(instrument):
    other = Instrument.objects.create(symbol="OTHER", name="Other", asset_class="stock")
    copy_bars(instrument.pk, DAY, make(range(3)), "csv")
    copy_bars(instrument.pk, 60, make(range(4)), "csv")
    copy_bars(other.pk, DAY, make(range(5)), "csv")
    assert [len(load_bars(*key)) for key in ((instrument.pk, DAY), (instrument.pk, 60), (other.pk, DAY))] == [3, 4, 5]


def test_both_ends_are_included_and_nothing_is_an_empty_series(instrument):
    assert copy_bars(instrument.pk, DAY, BarSeries.empty(), "csv") == 0
    assert len(load_bars(instrument.pk, DAY)) == 0
    copy_bars(instrument.pk, DAY, make(range(10)), "csv")
    part = load_bars(instrument.pk, DAY, start=moment(3), end=moment(5))
    assert (part.time // DAY).tolist() == [3, 4, 5]
    assert len(load_bars(instrument.pk, DAY, start=moment(30))) == 0


def test_next_times_are_those_of_any_of_the_instruments_once_each(instrument):
    other = Instrument.objects.create(symbol="OTHER", name="Other", asset_class="stock")
    copy_bars(instrument.pk, DAY, make([1, 2, 5]), "csv")
    copy_bars(other.pk, DAY, make([2, 3, 9]), "csv")
    both = [instrument.pk, other.pk]
    assert next_bar_times(both, DAY, None, moment(9), 10) == [moment(d) for d in (1, 2, 3, 5, 9)]
    assert next_bar_times(both, DAY, moment(2), moment(5), 10) == [moment(3), moment(5)]
    assert next_bar_times(both, DAY, moment(1), moment(9), 2) == [moment(2), moment(3)]
    assert next_bar_times([instrument.pk], DAY, moment(5), moment(9), 10) == []


def test_bars_are_a_hypertable():
    with connection.cursor() as cursor:
        cursor.execute(
            "SELECT count(*) FROM timescaledb_information.hypertables WHERE hypertable_name = 'marketdata_bar'"
        )
        assert cursor.fetchone()[0] == 1
