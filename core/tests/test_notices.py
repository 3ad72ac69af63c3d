"""Notices carry ids, arrive when the transaction commits, and not at all when it does not."""

import json

import psycopg
import pytest
from django.db import transaction

from core.notices import CHANNEL, notify
from core.tests.job_processes import test_database_url

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def listener():
    with psycopg.connect(test_database_url(), autocommit=True) as session:
        session.execute(f"LISTEN {CHANNEL}")
        yield session


def heard(session: psycopg.Connection, seconds: float = 0.2) -> list[dict]:
    return [json.loads(notice.payload) for notice in session.notifies(timeout=seconds)]


def test_a_notice_is_its_kind_and_its_ids(listener):
    notify("decision", agent=3, instrument=7)
    assert heard(listener) == [{"kind": "decision", "agent": 3, "instrument": 7}]


def test_a_notice_waits_for_the_commit(listener):
    with transaction.atomic():
        notify("fill", book=1)
        assert heard(listener) == []
    assert heard(listener) == [{"kind": "fill", "book": 1}]


def test_a_rolled_back_notice_is_never_heard(listener):
    with pytest.raises(RuntimeError), transaction.atomic():
        notify("fill", book=1)
        raise RuntimeError
    assert heard(listener) == []


def test_equal_notices_of_one_transaction_arrive_once_and_in_order(listener):
    with transaction.atomic():
        for number in (1, 2, 1):
            notify("equity", book=number)
    assert [notice["book"] for notice in heard(listener)] == [1, 2]
