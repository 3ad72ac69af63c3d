from datetime import UTC, datetime, timedelta

import pytest
from django.db import connection
from django_q.models import Schedule

from core.models import Event, Instrument
from marketdata import tasks
from marketdata.models import Bar, DataSettings, Tick
from marketdata.tests.test_tick_store import trades
from marketdata.ticks import retention
from marketdata.ticks.retention import Tidied, can_compress, drop_old
from marketdata.ticks.store import TOO_OLD, ingest

DAY = 86_400
# Trades at 14:30 of 2, 3 and 6 January 2018
NOW = datetime(2018, 1, 6, 20, tzinfo=UTC)


@pytest.fixture
def stock(db) -> Instrument:
    stock = Instrument.objects.create(symbol="STK", name="Stock", calendar="24/7")
    ingest(stock, trades((0, 10, 1), (DAY, 11, 1), (4 * DAY, 12, 1)), "feed")
    connection.check_constraints()  # else this transaction has checks to do yet on the chunks to be dropped
    return stock


def days(stock: Instrument) -> list[int]:
    return [tick.time.day for tick in Tick.objects.filter(instrument=stock).order_by("time")]


def keep(**values) -> None:
    settings = DataSettings.load()
    for name, value in values.items():
        setattr(settings, name, value)
    settings.save()


def test_without_a_setting_everything_is_kept(stock):
    assert drop_old(NOW) == Tidied()
    assert days(stock) == [2, 3, 6]


@pytest.mark.parametrize(
    ("n_days", "n_dropped", "left"),
    [
        (30, 0, [2, 3, 6]),
        (4, 0, [2, 3, 6]),  # older than 2 January 20:00: that day is not over then, so it stays
        (3, 1, [3, 6]),  # older than 3 January 20:00: the 2nd goes
        (2, 2, [6]),
        (0, 2, [6]),  # the day that is not over stays
    ],
)
def test_days_go_when_all_of_them_is_too_old_and_bars_stay(stock, n_days, n_dropped, left):
    keep(tick_days=n_days)
    assert drop_old(NOW).n_dropped == n_dropped
    assert days(stock) == left
    assert Bar.objects.filter(instrument=stock).count() == 3
    assert Event.objects.filter(kind="ticks.dropped").count() == bool(n_dropped)


def test_running_twice_drops_once(stock):
    keep(tick_days=3)
    assert [drop_old(NOW).n_dropped, drop_old(NOW).n_dropped] == [1, 0]
    event = Event.objects.get(kind="ticks.dropped")
    # 3 January 2018 00:00 UTC: 17,534 days after 1970
    assert event.data == {"until": 17_534 * DAY, "chunks": 1, "tick_days": 3}


def test_late_trades_of_dropped_days_leave_their_bars_alone(stock):
    keep(tick_days=3)
    drop_old(NOW)
    done = ingest(stock, trades((1, 99, 1), (DAY + 1, 13, 1)), "feed")
    assert (done.n_stored, done.bad) == (1, {TOO_OLD: 1})
    closes = Bar.objects.filter(instrument=stock).order_by("time").values_list("close", flat=True)
    assert list(closes) == [10, 13, 12]


def test_compression_waits_for_an_edition_that_has_it(stock):
    keep(compress_after_days=1)
    if can_compress():
        assert drop_old(NOW).n_compressed == 2
        assert days(stock) == [2, 3, 6]
        assert drop_old(NOW).n_compressed == 0
    else:
        assert drop_old(NOW) == Tidied()


def test_the_daily_task_is_scheduled_once_and_uses_the_clock(stock, monkeypatch):
    tasks.schedule()
    Schedule.objects.filter(func="marketdata.tasks.drop_old_ticks").update(schedule_type=Schedule.WEEKLY)
    tasks.schedule()
    assert Schedule.objects.get(func="marketdata.tasks.drop_old_ticks").schedule_type == Schedule.WEEKLY
    keep(tick_days=1)
    assert tasks.drop_old_ticks() == 3  # 2018 is long ago
    assert datetime.now(UTC) - retention.DataSettings.load().tick_days * timedelta(days=1) > NOW
