"""What the pages say about each part of the desk."""

from datetime import UTC, datetime, timedelta

import pytest
from django.apps import apps
from django.utils import timezone

from core import health
from core.health import Component, components
from core.models import Heartbeat

pytestmark = pytest.mark.django_db


def stream(**values: object) -> None:
    start = datetime(2011, 6, 1, tzinfo=UTC)
    defaults = {"name": "aapl-replay", "from_time": start, "to_time": start}
    apps.get_model("marketdata", "Stream").objects.create(**{**defaults, **values})


def part(name: str) -> Component:
    return next(component for component in components() if component.name == name)


def ago(seconds: float) -> datetime:
    return timezone.now() - timedelta(seconds=seconds)


def test_the_database_and_the_machine_are_always_there():
    assert [component.name for component in components()] == ["Database", "Watchdog", "Pages", "Tasks", "Machine"]
    assert part("Database").state == "well" and part("Database").detail.startswith("answers in")
    assert "memory" in part("Machine").detail


@pytest.mark.parametrize(
    ("component", "label", "late"), [("watchdog", "Watchdog", 10), ("web", "Pages", 10), ("tasks", "Tasks", 150)]
)
def test_a_part_that_beats_is_well_and_one_that_stopped_is_not(component, label, late):
    assert part(label).state == "attention"
    health.beat(component)
    assert part(label).state == "well"
    Heartbeat.objects.update(beat_at=ago(late - 2))
    assert part(label).state == "well"
    Heartbeat.objects.update(beat_at=ago(late + 1))
    assert part(label).state == "stopped"


def test_a_beat_keeps_one_row_per_component_and_host():
    health.beat("web", port=1)
    health.beat("web", port=2)
    assert Heartbeat.objects.get().detail == {"port": 2}


def test_without_jobs_there_is_no_line_for_them():
    assert not [component for component in components() if component.name == "Streams"]


@pytest.mark.parametrize(
    ("values", "state", "detail"),
    [
        ({"desired_state": "stopped"}, "well", "none at work"),
        ({"desired_state": "running", "state": "finished"}, "well", "none at work"),
        ({"desired_state": "running", "state": "running", "heartbeat_at": 1}, "well", "1 of 1 at work"),
        ({"desired_state": "paused", "state": "paused", "heartbeat_at": 1}, "well", "1 of 1 at work"),
        # another host's clock may run ahead of ours
        ({"desired_state": "running", "state": "running", "heartbeat_at": -5}, "well", "1 of 1 at work"),
        ({"desired_state": "running", "heartbeat_at": None}, "attention", "aapl-replay is starting or does not answer"),
        ({"desired_state": "running", "heartbeat_at": 20}, "attention", "aapl-replay is starting or does not answer"),
        ({"state": "failed", "state_reason": "no model"}, "stopped", "aapl-replay: no model"),
        ({"state": "failed"}, "stopped", "aapl-replay: stopped by an error"),
    ],
)
def test_jobs_of_a_kind_share_one_line(values, state, detail):
    if values.get("heartbeat_at") is not None:
        values = {**values, "heartbeat_at": ago(values["heartbeat_at"])}
    stream(**values)
    assert (part("Streams").state, part("Streams").detail) == (state, detail)


def test_age_is_never_negative_and_none_without_a_moment():
    assert health.age(None) is None
    assert health.age(ago(-60)) == 0.0
    assert health.age(ago(60)) == pytest.approx(60, abs=1)
