"""Faults as rows: found, brought up to date, closed, cleared by a person; the command, the admin and the schedule."""

import json
from datetime import UTC, date, datetime, timedelta

import numpy as np
import pandas as pd
import pytest
from django.core.management import CommandError, call_command
from django_q.models import Schedule

from core.models import Event, Instrument
from core.tests.admin_pages import page, walk
from marketdata import data_health, tasks
from marketdata.bar_store import store_bars
from marketdata.health_queries import stored_series
from marketdata.models import DAY, Bar, CorporateAction, DataFault, HealthCheck, Stream
from marketdata.series import BarSeries
from marketdata.tests.health_series import changed, days, minutes, scaled
from marketdata.tests.shared_data import bars, daily, need

pytestmark = [pytest.mark.django_db, pytest.mark.filterwarnings("ignore::DeprecationWarning")]
NOW = datetime(2020, 1, 1, 12, tzinfo=UTC)  # a holiday: no feed owes anything since the close the day before
SENT = {"_form_submitted": "True"}
BAD = {10: 0.0, 20: -1.0}  # two impossible lows


@pytest.fixture
def fund() -> Instrument:
    return Instrument.objects.create(symbol="FUND", name="Fund", asset_class="etf")


def stored(fund: Instrument, series: BarSeries, seconds: int = 60) -> BarSeries:
    store_bars(fund, seconds, series, "test")
    return series


def test_a_sound_series_has_no_fault_but_was_looked_at(fund):
    series = stored(fund, minutes())
    assert data_health.check(fund, 60, NOW) == []
    seen = HealthCheck.objects.get()
    assert (seen.n_bars, seen.sources, seen.checked_at) == (4110, ["test"], NOW)
    assert (seen.first_time.timestamp(), seen.last_time.timestamp()) == (series.time[0], series.time[-1])
    assert not Event.objects.filter(kind__startswith="data_fault").exists()


def test_a_fault_is_found_brought_up_to_date_and_closed_when_it_is_gone(fund):
    sound = minutes()
    stored(fund, changed(sound, low=BAD))
    (fault,) = data_health.check(fund, 60, NOW)
    assert (fault.kind, fault.severity, fault.n) == ("broken", "blocking", 2)
    assert (fault.first_time.timestamp(), fault.last_time.timestamp()) == (sound.time[10], sound.time[20])
    event = Event.objects.get(kind="data_fault.found")
    assert event.level == "attention" and event.subject == f"instrument:{fund.pk}"
    assert event.message.startswith("FUND 1m bars, impossible prices: 2 bars have numbers")
    assert data_health.blocking(fund.pk, 60) == [fault]

    stored(fund, changed(sound, low=BAD | {30: 0.0}))
    (again,) = data_health.check(fund, 60, NOW + timedelta(hours=1))
    assert (again.pk, again.n, again.found_at, again.seen_at) == (fault.pk, 3, NOW, NOW + timedelta(hours=1))
    assert Event.objects.filter(kind="data_fault.found").count() == 1

    stored(fund, sound)
    assert data_health.check(fund, 60, NOW) == []
    fault.refresh_from_db()
    assert fault.cleared_by == "system" and fault.cleared_at is not None
    assert Event.objects.filter(kind="data_fault.cleared").count() == 1
    assert data_health.blocking(fund.pk, 60) == []

    stored(fund, changed(sound, low=BAD))
    (back,) = data_health.check(fund, 60, NOW)
    assert back.pk != fault.pk, "what the system closed comes back when it is back"


def test_what_a_person_cleared_comes_back_only_for_new_places(fund):
    sound = minutes()
    stored(fund, changed(sound, low=BAD))
    (fault,) = data_health.check(fund, 60, NOW)
    data_health.clear(fault, actor="anna", reason="two known misprints")
    assert data_health.blocking(fund.pk, 60) == []
    assert data_health.check(fund, 60, NOW) == []
    event = Event.objects.get(kind="data_fault.cleared")
    assert (event.actor, event.level) == ("anna", "attention") and "two known misprints" in event.message

    stored(fund, changed(sound, low=BAD | {15: 0.0}))  # between the two known places
    (new,) = data_health.check(fund, 60, NOW)
    assert (new.n, new.first_time.timestamp()) == (1, sound.time[15])


def test_many_cleared_places_are_known_by_range_and_number(fund):
    sound = minutes()
    stored(fund, changed(sound, low=dict.fromkeys(range(100, 150), 0.0)))
    (fault,) = data_health.check(fund, 60, NOW)
    assert (fault.n, len(fault.examples)) == (50, 20)
    data_health.clear(fault, actor="anna", reason="a bad afternoon")
    assert data_health.check(fund, 60, NOW) == []
    stored(fund, changed(sound, low=dict.fromkeys(range(100, 151), 0.0)))
    (new,) = data_health.check(fund, 60, NOW)
    assert new.n == 1


@pytest.mark.parametrize("reason", ["", "   ", "x" * 241])
def test_clearing_needs_a_reason(fund, reason):
    fault = DataFault.objects.create(instrument=fund, kind="broken", severity="blocking", detail="bad")
    with pytest.raises(ValueError, match="expected 1 to 240"):
        data_health.clear(fault, actor="anna", reason=reason)
    assert data_health.blocking(fund.pk, DAY) == [fault]


def test_a_fault_is_cleared_once(fund):
    fault = DataFault.objects.create(instrument=fund, kind="broken", severity="blocking", detail="bad")
    data_health.clear(fault, actor="anna", reason="fine")
    with pytest.raises(ValueError, match="cleared already"):
        data_health.clear(fault, actor="bob", reason="fine too")


def test_stored_splits_explain_jumps(fund):
    series = stored(fund, scaled(days(), slice(600, None), 0.5), DAY)
    assert [fault.kind for fault in data_health.blocking(fund.pk, DAY)] == []
    kinds = {fault.kind: fault.severity for fault in data_health.check(fund, DAY, NOW)}
    assert kinds == {"split_like": "blocking", "outliers": "note"}
    CorporateAction.objects.create(
        instrument=fund,
        ex_date=datetime.fromtimestamp(series.time[600], UTC).date(),
        kind="split",
        value=2.0,
        source="x",
    )
    assert {fault.kind for fault in data_health.check(fund, DAY, NOW)} == {"outliers"}


def test_an_index_does_not_split_and_may_have_no_volume():
    index = Instrument.objects.create(symbol="IDX", name="Index", asset_class="index", has_volume=False)
    jump = scaled(days(), slice(600, None), 0.5)
    stored(index, BarSeries(jump.time, jump.open, jump.high, jump.low, jump.close, np.zeros(len(jump))), DAY)
    assert {fault.kind for fault in data_health.check(index, DAY, NOW)} == {"outliers"}


def feed(fund: Instrument, **values: object) -> Stream:
    start = {"from_time": datetime(2019, 12, 1, tzinfo=UTC), "interval_seconds": 60, "desired_state": "running"}
    stream = Stream.objects.create(**{"name": "live", "source": "yahoo", **start, **values})
    stream.instruments.add(fund)
    return stream


LATE = datetime(2020, 1, 2, 15, 0, tzinfo=UTC)  # half an hour after the open of the first session without bars


def test_a_late_live_feed_blocks_at_once_and_frees_at_the_next_bar(fund):
    series = stored(fund, minutes())  # up to New Year's Eve
    assert data_health.blocking(fund.pk, 60, LATE) == [], "nothing is owed without a feed"
    feed(fund)
    assert data_health.blocking(fund.pk, 60, LATE - timedelta(minutes=16)) == []
    (fault,) = data_health.blocking(fund.pk, 60, LATE)
    assert (fault.kind, fault.last_time.timestamp()) == ("stale", series.time[-1])
    assert "no new bar for 30 minutes of trading" in fault.detail
    fresh = BarSeries(*([value] for value in (int(LATE.timestamp()) - 120, 100.0, 101.0, 99.0, 100.0, 5.0)))
    store_bars(fund, 60, fresh, "yahoo")
    assert data_health.blocking(fund.pk, 60, LATE) == []
    assert DataFault.objects.get().cleared_by == "system"


def test_a_cleared_late_feed_stays_cleared_until_it_brings_bars_and_stops_again(fund):
    stored(fund, minutes())
    feed(fund)
    (fault,) = data_health.blocking(fund.pk, 60, LATE)
    data_health.clear(fault, actor="anna", reason="the exchange has halted it")
    assert data_health.blocking(fund.pk, 60, LATE + timedelta(hours=1)) == []
    fresh = BarSeries(*([value] for value in (int(LATE.timestamp()), 100.0, 101.0, 99.0, 100.0, 5.0)))
    store_bars(fund, 60, fresh, "yahoo")
    assert [f.kind for f in data_health.blocking(fund.pk, 60, LATE + timedelta(hours=1))] == ["stale"]


@pytest.mark.parametrize(
    "values", [{"source": "simulator"}, {"desired_state": "paused"}, {"interval_seconds": 300}, {"state": "finished"}]
)
def test_only_a_running_live_feed_of_that_series_can_be_late(fund, values):
    stored(fund, minutes())
    feed(fund, **values)
    assert data_health.blocking(fund.pk, 60, LATE) == []


def test_asking_at_every_bar_is_cheap(fund, django_assert_max_num_queries):
    stored(fund, minutes())
    with django_assert_max_num_queries(1):
        assert data_health.blocking(fund.pk, 60, LATE) == []
    feed(fund)
    with django_assert_max_num_queries(4):
        assert data_health.blocking(fund.pk, 60, LATE - timedelta(minutes=20)) == []


def test_an_unknown_calendar_is_a_warning_and_blocks_only_a_live_feed(fund):
    stored(fund, minutes())
    Instrument.objects.update(calendar="XNOPE")
    fund.refresh_from_db()
    (fault,) = data_health.check(fund, 60, NOW)
    assert fault.severity == "warning" and "no trading calendar 'XNOPE'" in fault.detail
    feed(fund)
    assert [f.kind for f in data_health.blocking(fund.pk, 60, NOW)] == ["stale"]


def test_a_series_that_is_gone_has_no_faults_any_more(fund):
    stored(fund, changed(minutes(), low=BAD))
    data_health.check(fund, 60, NOW)
    Bar.objects.all().delete()
    assert data_health.check(fund, 60, NOW) == []
    assert HealthCheck.objects.get().n_bars == 0


def test_all_series_are_looked_at_once_and_again_when_they_grow_or_a_day_has_passed(fund):
    stored(fund, minutes())
    other = Instrument.objects.create(symbol="OTHER", name="Other", asset_class="stock")
    stored(other, days(), DAY)
    assert {(s.instrument_id, s.interval_seconds) for s in stored_series()} == {(fund.pk, 60), (other.pk, DAY)}
    assert data_health.check_all(NOW) == 2
    assert data_health.check_all(NOW + timedelta(hours=1)) == 0
    store_bars(other, DAY, BarSeries([1388707200], *([100.0],) * 5), "test")  # 3 January 2014
    assert data_health.check_all(NOW + timedelta(hours=2)) == 1
    assert data_health.check_all(NOW + timedelta(hours=24)) == 1, "the first, unchanged for a day"


def test_one_series_that_cannot_be_checked_does_not_keep_the_others_from_it(fund, monkeypatch, caplog):
    stored(fund, minutes())
    other = Instrument.objects.create(symbol="OTHER", name="Other", asset_class="stock")
    stored(other, days(), DAY)
    real = data_health.load_bars

    def failing(instrument_id, *args, **kwargs):
        if instrument_id == fund.pk:
            raise RuntimeError("disk on fire")
        return real(instrument_id, *args, **kwargs)

    monkeypatch.setattr(data_health, "load_bars", failing)
    assert data_health.check_all(NOW) == 1
    assert "the 1m bars of FUND could not be checked" in caplog.text


def test_the_schedule_is_made_once_and_keeps_an_operators_times():
    tasks.schedule()
    Schedule.objects.filter(name="data health").update(minutes=30)
    tasks.schedule()
    row = Schedule.objects.get(name="data health")
    assert (row.func, row.minutes) == ("marketdata.tasks.check_data_health", 30)
    assert tasks.check_data_health() == 0


def test_the_daily_low_of_3_january_2011_is_found_by_the_stored_minutes(fund):
    series = bars(daily("SPY"))
    frame = pd.read_parquet(need("minute/SPY_1min_201101.parquet"))
    frame["time"] = (frame["timestamp"] - pd.Timestamp(0, tz="UTC")) // pd.Timedelta(seconds=1)
    stored(fund, series.between(1285000000, 1300000000), DAY)
    stored(fund, bars(frame.set_index("time")))
    (fault,) = data_health.check(fund, DAY, NOW)
    # lows of 125.70 and 127.46 on days whose 390 minutes went no lower than 126.66 and 127.99; 18 other days agree
    assert (fault.kind, fault.severity, fault.n) == ("outliers", "warning", 2)
    assert [example["time"][:10] for example in fault.examples] == ["2011-01-03", "2011-01-12"]
    assert "largest 0.8% at 2011-01-03" in fault.detail  # 1 − 125.70/126.66 = 0.76 %


def run(*arguments: str) -> int:
    """Exit status of the command."""
    try:
        call_command("data_health", *arguments)
    except SystemExit as ended:
        return int(ended.code)
    return 0


def test_the_command_prints_a_table_and_ends_with_1_when_something_blocks(fund, capsys):
    stored(fund, minutes())
    assert run("fund", "--interval", "1m") == 0
    assert capsys.readouterr().out == "FUND 1m: 4,110 bars, nothing found\n"
    stored(fund, changed(minutes(), low=BAD, volume={5: 0.0}))
    assert run() == 1
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "FUND 1m: 4,110 bars, 2 found"
    assert lines[1].split("  ")[1] == "blocks trading" and "impossible prices" in lines[1]
    assert lines[2].split("  ")[1].strip() == "note" and "1 bar has no volume" in lines[2]


def test_the_command_prints_json(fund, capsys):
    stored(fund, changed(minutes(), low=BAD))
    assert run("FUND", "--json") == 1
    facts = json.loads(capsys.readouterr().out)
    assert facts["blocking"] is True
    (series,) = facts["series"]
    assert (series["symbol"], series["interval"], series["n_bars"], series["sources"]) == ("FUND", "1m", 4110, ["test"])
    assert [(fault["kind"], fault["severity"], fault["n"]) for fault in series["faults"]] == [("broken", "blocking", 2)]


def test_the_command_clears_with_a_reason(fund, capsys):
    stored(fund, changed(minutes(), low=BAD))
    assert run("FUND", "--clear", "broken", "--reason", "known misprints") == 0
    out = capsys.readouterr().out
    assert out.startswith("Cleared: 2 bars") and "nothing found" in out
    assert DataFault.objects.get().clear_reason == "known misprints"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["NOPE"], "no instrument NOPE"),
        (["FUND", "--interval", "1d"], "FUND has no 1d bars stored; stored lengths: 1m"),
        (["FUND", "--interval", "soon"], "is not an interval"),
        (["FUND", "--clear", "broken"], "the reason has 0 characters"),
        (["FUND", "--clear", "gaps", "--reason", "x"], "has no open fault 'gaps'"),
        (["FUND", "--clear", "rust", "--reason", "x"], "invalid choice: 'rust'"),
        (["--clear", "broken", "--reason", "x"], "--clear needs the SYMBOL"),
        (["FUND", "--reason", "x"], "--reason belongs to --clear"),
    ],
)
def test_wrong_input_gives_one_clear_line(fund, arguments, message):
    stored(fund, changed(minutes(), low=BAD))
    with pytest.raises(CommandError) as refused:
        run(*arguments)
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert message.startswith(("is not", "invalid")) or refused.value.returncode == 2


def test_an_empty_desk_says_so():
    with pytest.raises(CommandError, match="there are no bars stored"):
        run()


def test_the_admin_shows_faults_and_checks(fund, admin_client):
    stored(fund, changed(minutes(), low=BAD))
    (fault,) = data_health.check(fund, 60, NOW)
    walk(admin_client, fault)
    walk(admin_client, HealthCheck.objects.get())


def test_the_admin_clears_with_a_reason_and_only_on_post(fund, admin_client):
    fault = DataFault.objects.create(instrument=fund, kind="broken", severity="blocking", detail="bad")
    address = page(DataFault, "clear", fault.pk)
    asked = admin_client.get(address)
    assert asked.status_code == 200 and b'name="reason"' in asked.content
    admin_client.post(address, SENT | {"reason": ""})
    fault.refresh_from_db()
    assert fault.cleared_at is None
    assert admin_client.post(address, SENT | {"reason": "compared by hand"}).status_code == 302
    fault.refresh_from_db()
    assert (fault.cleared_by, fault.clear_reason) == ("admin", "compared by hand")
    answer = admin_client.post(address, SENT | {"reason": "again"}, follow=True)
    assert b"Nothing was changed" in answer.content
    assert Event.objects.filter(kind="data_fault.cleared").count() == 1


def test_an_operator_without_the_permission_cannot_clear(fund, client, django_user_model):
    fault = DataFault.objects.create(instrument=fund, kind="broken", severity="blocking", detail="bad")
    client.force_login(django_user_model.objects.create_user("eve", password="x", is_staff=True))
    assert client.post(page(DataFault, "clear", fault.pk), SENT | {"reason": "x"}).status_code == 403
    fault.refresh_from_db()
    assert fault.cleared_at is None


def test_sessions_of_a_single_day_are_enough(fund):
    stored(fund, minutes(date(2019, 12, 24), date(2019, 12, 24)))
    assert data_health.check(fund, 60, NOW) == []
