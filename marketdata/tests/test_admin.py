from datetime import UTC, datetime

import pytest
from django.contrib import admin
from django.contrib.auth import get_user_model
from django.test import RequestFactory

from core.models import Event
from marketdata.admin import SpeedForm
from marketdata.models import Bar, DataImport, Stream

pytestmark = pytest.mark.django_db


@pytest.fixture
def stream():
    start, end = datetime(2012, 1, 1, tzinfo=UTC), datetime(2013, 1, 1, tzinfo=UTC)
    return Stream.objects.create(name="replay", from_time=start, to_time=end)


def request():
    made = RequestFactory().post("/")
    made.user = get_user_model()(username="anna", is_staff=True, is_superuser=True)
    return made


def test_imports_cannot_be_changed_and_bars_are_not_listed():
    page = admin.site.get_model_admin(DataImport)
    assert not page.has_add_permission(request())
    assert not page.has_change_permission(request())
    assert not page.has_delete_permission(request())
    assert not admin.site.is_registered(Bar)


def test_only_the_speed_of_a_stream_can_be_changed_and_the_journal_says_who(stream):
    page = admin.site.get_model_admin(Stream)
    assert set(page.get_fields(request())) - set(page.get_readonly_fields(request())) == {"bars_per_second"}
    form = SpeedForm({"bars_per_second": "5"}, instance=stream)
    assert form.is_valid()
    page.save_model(request(), form.instance, form, change=True)
    stream.refresh_from_db()
    assert stream.bars_per_second == 5 and stream.settings_version == 2
    event = Event.objects.get(kind="stream.speed")
    assert event.actor == "anna" and event.data == {"before": 1.0, "after": 5.0}


@pytest.mark.parametrize("speed", ["-1", "1e9", "nan", "inf", "fast"])
def test_an_impossible_speed_is_refused(stream, speed):
    assert not SpeedForm({"bars_per_second": speed}, instance=stream).is_valid()
