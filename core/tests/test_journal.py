"""The journal keeps who, what, when, before and after; a line lives and dies with its transaction."""

import pytest
from django.db import transaction
from django.utils import timezone

from core.journal import record
from core.models import Event

pytestmark = pytest.mark.django_db


def test_a_line_keeps_everything_it_was_told():
    before = timezone.now()
    event = record(
        "limits.changed", "Limit raised", level="attention", actor="olga", subject="account:1",
        data={"before": 1.0, "after": 1.5},
    )  # fmt: skip
    stored = Event.objects.get(pk=event.pk)
    assert (stored.kind, stored.message, stored.level) == ("limits.changed", "Limit raised", "attention")
    assert (stored.actor, stored.subject) == ("olga", "account:1")
    assert stored.data == {"before": 1.0, "after": 1.5}
    assert before <= stored.time <= timezone.now()


def test_defaults_are_the_system_and_no_data():
    stored = record("desk.started", "The desk started")
    assert (stored.level, stored.actor, stored.subject, stored.data) == ("info", "system", "", {})


def test_long_words_are_cut_rather_than_lost():
    stored = record("x", "m" * 1000, actor="a" * 200)
    stored.refresh_from_db()
    assert (len(stored.message), len(stored.actor)) == (400, 80)


def test_a_line_of_a_failed_action_is_not_kept():
    with pytest.raises(RuntimeError), transaction.atomic():
        record("x", "did not happen")
        raise RuntimeError
    assert not Event.objects.exists()
