"""Operators' wishes for streams: a row, a journal line with before and after, and a launch in the queue."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from django.apps import apps
from django.utils import timezone
from django_q.models import OrmQ

from core.models import Account, Book, Event
from marketdata import control
from marketdata.bar_store import store_bars
from marketdata.models import Bar, Stream
from marketdata.tests.stream_world import MONDAY, bars, make_instrument, minute

pytestmark = pytest.mark.django_db


@pytest.fixture
def stream() -> Stream:
    start = datetime(2011, 6, 1, tzinfo=UTC)
    return Stream.objects.create(name="aapl-replay", from_time=start, to_time=start)


def test_start_pause_and_stop_are_rows_with_journal_lines(stream):
    control.start(stream, actor="olga")
    stream.refresh_from_db()
    assert (stream.desired_state, stream.settings_version) == ("running", 2)
    assert [queued.task["args"] for queued in OrmQ.objects.all()] == [("stream", stream.pk)]

    control.pause(stream, actor="olga")
    control.stop(stream, actor="olga")
    stream.refresh_from_db()
    assert (stream.desired_state, stream.state) == ("stopped", "stopped")
    lines = Event.objects.filter(subject=f"stream:{stream.pk}").order_by("id")
    assert [(line.kind, line.data["before"], line.data["after"]) for line in lines] == [
        ("stream.started", "stopped", "running"),
        ("stream.paused", "running", "paused"),
        ("stream.stopped", "paused", "stopped"),
    ]
    assert {line.actor for line in lines} == {"olga"}


@pytest.mark.parametrize("speed", [0, 0.5, 1000])
def test_speed_is_stored_and_journalled(stream, speed):
    control.set_speed(stream, speed, actor="olga")
    stream.refresh_from_db()
    assert (stream.bars_per_second, stream.settings_version) == (speed, 2)
    assert Event.objects.get(kind="stream.speed").data == {"before": 1.0, "after": speed}


@pytest.mark.parametrize("speed", [float("nan"), float("inf"), float("-inf"), -0.1, 1000.5])
def test_an_impossible_speed_is_refused_by_name(stream, speed):
    with pytest.raises(ValueError, match=rf"speed {speed}"):
        control.set_speed(stream, speed, actor="olga")
    stream.refresh_from_db()
    assert stream.bars_per_second == 1.0
    assert not Event.objects.exists()


def test_a_live_market_has_no_speed(stream):
    Stream.objects.filter(pk=stream.pk).update(source="yahoo")
    stream.refresh_from_db()
    with pytest.raises(ValueError, match="as its market makes them; only a replay has a speed"):
        control.set_speed(stream, 5, actor="olga")
    assert control.speed_words(stream) == "as its market goes"


@pytest.mark.parametrize(
    ("text", "interval", "bars_per_second"),
    [
        ("1x", 60, 1 / 60), ("100x", 60, 100 / 60), ("1000x", 1, 1000.0), (" 10 X ", 300, 10 / 300), ("2.5x", 1, 2.5),
        ("1x", 86_400, 1 / 86_400), ("5/s", 86_400, 5.0), ("0.5 / s", 60, 0.5), ("max", 60, 0.0), ("MAX", 1, 0.0),
    ],
)  # fmt: skip
def test_speeds_are_times_market_time_or_bars_a_second(text, interval, bars_per_second):
    assert control.parse_speed(text, interval) == pytest.approx(bars_per_second)


@pytest.mark.parametrize(
    "text", ["", "fast", "0x", "1001x", "-5x", "5", "1.2.3x", "0/s", "1001/s", "nanx", "infx", "x"]
)
def test_what_is_no_speed_is_refused_with_examples(text):
    with pytest.raises(ValueError, match="is not a speed: give 1x to 1000x of market time, such as 100x"):
        control.parse_speed(text, 60)


@pytest.mark.parametrize(
    ("bars_per_second", "interval", "words"),
    [
        (100 / 60, 60, "100 x"), (1 / 60, 60, "1 x"), (1000, 1, "1,000 x"), (2, 86_400, "2 bars a second"),
        (1, 86_400, "1 bar a second"), (1 / 86_400, 86_400, "1 x"), (0, 60, "as fast as the agents go"),
        (0.3 / 60, 60, "0.005 bars a second"), (50, 60, "50 bars a second"),
    ],
)  # fmt: skip
def test_a_speed_in_words(bars_per_second, interval, words):
    assert control.speed_words(Stream(bars_per_second=bars_per_second, interval_seconds=interval)) == words


def test_every_speed_of_a_replay_can_be_set(stream):
    for interval, text in ((60, "1x"), (1, "1000x")):
        control.set_speed(stream, control.parse_speed(text, interval), actor="olga")


def create(*instruments: Any, **values: Any) -> Stream:
    given = {"name": "new", "source": "replay", "interval_seconds": 60, "actor": "olga"} | values
    name, source, interval = (given.pop(key) for key in ("name", "source", "interval_seconds"))
    return control.create_stream(name, source, list(instruments), interval, **given)


@pytest.fixture
def aaa():
    found = make_instrument("AAA")
    store_bars(found, 60, bars(*range(10)), "test")
    return found


def test_a_replay_covers_what_is_stored(aaa):
    bbb = make_instrument("BBB")
    store_bars(bbb, 60, bars(8, 20), "test")
    made = create(aaa, bbb, speed="100x", options={"a": 1})
    assert (made.from_time, made.to_time, made.bars_per_second) == (minute(0), minute(20), pytest.approx(100 / 60))
    assert (made.desired_state, made.state, made.options) == ("stopped", "stopped", {"a": 1})
    assert set(made.instruments.all()) == {aaa, bbb}
    line = Event.objects.get(kind="stream.created")
    assert line.actor == "olga" and line.message == "new was made: 1m bars of AAA, BBB from replay of stored bars"
    assert line.data["instruments"] == ["AAA", "BBB"] and line.subject == f"stream:{made.pk}"


def test_a_replay_of_a_part_keeps_its_limits(aaa):
    made = create(aaa, start=minute(2), end=minute(200))
    assert (made.from_time, made.to_time) == (minute(2), minute(200))


def test_a_live_stream_begins_with_the_bar_that_is_open(aaa):
    before = timezone.now()
    made = create(aaa, source="yahoo", interval_seconds=900, speed="100x")
    assert before - timedelta(seconds=900) < made.from_time <= timezone.now()
    assert made.from_time.timestamp() % 900 == 0 and made.to_time is None
    assert made.bars_per_second == pytest.approx(1 / 900), "Yahoo cannot be hurried"


def test_a_fast_simulator_begins_in_the_past(aaa):
    assert create(aaa, source="simulator", speed="10x").from_time == datetime(2020, 1, 1, tzinfo=UTC)
    options = {"begins": "2024-03-04"}
    assert create(aaa, name="b", source="simulator", speed="max", options=options).from_time.date() == MONDAY.date()
    assert create(aaa, name="c", source="simulator").from_time > timezone.now() - timedelta(seconds=61)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"name": "a b"}, "'a b' is not a name: use letters"),
        ({"name": ""}, "is not a name"),
        ({"name": "x" * 61}, "61 characters, at most 60"),
        ({"source": "moon"}, "there is no source 'moon'; known: replay, yahoo"),
        ({"interval_seconds": 0}, "bars of 0 seconds are not possible"),
        ({"interval_seconds": 300}, "AAA has no 5m bars stored; fetch or import them first"),
        ({"start": minute(50)}, "AAA has no 1m bars from 2024-03-04 12:50; fetch"),
        ({"start": minute(5), "end": minute(4)}, "AAA has no 1m bars from 2024-03-04 12:05 until 2024-03-04 12:04"),
        ({"speed": "fast"}, "'fast' is not a speed"),
        ({"source": "simulator", "speed": "max", "options": {"begins": "soon"}}, "begins is 'soon'"),
        (
            {"source": "simulator", "start": minute(9), "end": minute(2)},
            "would end on 2024-03-04 12:02 before it begins",
        ),
    ],
)
def test_what_cannot_be_made_is_refused_in_words(aaa, values, message):
    with pytest.raises(ValueError, match=message):
        create(aaa, **values)
    assert not Stream.objects.exists() and not Event.objects.filter(kind="stream.created").exists()


def test_it_needs_an_instrument_and_a_free_name(aaa):
    with pytest.raises(ValueError, match="at least one instrument"):
        create()
    create(aaa)
    with pytest.raises(ValueError, match="already a stream called new"):
        create(aaa)


def test_a_length_the_source_does_not_have_is_refused(aaa):
    with pytest.raises(ValueError, match="Yahoo has no 1s bars as they happen; it has 1m, 5m, 15m"):
        create(aaa, source="yahoo", interval_seconds=1)


def test_instruments_are_found_by_symbol(aaa):
    bbb = make_instrument("BBB")
    assert control.find_instruments(["bbb", " AAA ", "BBB", ""]) == [bbb, aaa]
    with pytest.raises(ValueError, match="there is no instrument NOPE, YYY: check the symbol"):
        control.find_instruments(["AAA", "NOPE", "YYY"])


def test_removing_keeps_the_bars(aaa):
    made = create(aaa)
    control.delete_stream(made, actor="olga")
    assert not Stream.objects.exists() and Bar.objects.count() == 10
    assert Event.objects.get(kind="stream.removed").actor == "olga"


def test_only_a_stopped_stream_can_be_removed(aaa):
    made = create(aaa)
    control.start(made, actor="olga")
    with pytest.raises(ValueError, match="stop it first"):
        control.delete_stream(made, actor="olga")
    assert Stream.objects.exists()


def test_a_stream_that_agents_follow_cannot_be_removed(aaa):
    made = create(aaa)
    account = Account.objects.create(name="paper")
    book = Book.objects.create(account=account, name="b", start_cash=1, cash=1, peak_equity=1)
    apps.get_model("agents", "Agent").objects.create(name="anna", book=book, instrument=aaa, stream=made)
    with pytest.raises(ValueError, match="new is followed by anna; give them another stream first"):
        control.delete_stream(made, actor="olga")
    assert Stream.objects.exists()
