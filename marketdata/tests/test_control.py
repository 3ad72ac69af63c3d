"""Operators' wishes for streams: a row, a journal line with before and after, and a launch in the queue."""

from datetime import UTC, datetime

import pytest
from django_q.models import OrmQ

from core.models import Event
from marketdata import control
from marketdata.models import Stream

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
