"""Admin pages of the ledger, people and tasks, through HTTP and with a real database."""

from datetime import timedelta
from decimal import Decimal

import pytest
from django.contrib.auth.models import Group, Permission, User
from django.utils import timezone
from django_q.models import Failure, OrmQ, Schedule, Success
from django_q.signing import SignedPackage

from core.admin_display import json_text, number_text, time_text
from core.models import Account, Book, Event, Fill, Instrument, Order
from core.tests.admin_pages import DAY, form_values, ledger, page, walk

pytestmark = pytest.mark.django_db


def last(kind: str) -> Event:
    """The newest journal line of a kind."""
    return Event.objects.filter(kind=kind).latest("id")


def test_numbers_and_times_are_written_as_people_write_them():
    assert number_text(Decimal("0.0100000000")) == "0.01"
    assert number_text(Decimal("50000.0000000000")) == "50,000"
    assert number_text(Decimal("1500")) == "1,500"
    assert number_text(1234.5678) == "1,234.57"
    assert number_text(0.123456789) == "0.123457"
    assert time_text(DAY) == "2011-07-01"
    assert time_text(DAY.replace(hour=14, minute=30)) == "2011-07-01 14:30:00"


def test_long_json_is_cut_and_says_so():
    # 10,000 ones, each on a line of its own: "  1,\n" is 5 characters, so about 50,000 of which 20,000 are shown
    assert "more characters" in json_text([1] * 10_000)[-40:]


def test_every_page_of_the_ledger_answers(admin_client):
    for row in ledger().values():
        walk(admin_client, row)


def test_every_page_of_people_answers(admin_client, admin_user):
    walk(admin_client, admin_user)
    walk(admin_client, Group.objects.create(name="analysts"))
    assert admin_client.get(f"/admin/auth/user/{admin_user.pk}/password/").status_code == 200
    assert admin_client.get("/admin/").status_code == 200


def test_every_page_of_the_task_queue_answers(admin_client):
    now = timezone.now()
    task = {"func": "core.tasks.beat", "started": now, "stopped": now + timedelta(seconds=1)}
    walk(admin_client, Success.objects.create(id="a" * 32, name="well", success=True, **task))
    walk(admin_client, Failure.objects.create(id="b" * 32, name="bad", success=False, result="it broke", **task))
    walk(admin_client, Schedule.objects.create(func="core.tasks.beat", name="beat"))
    waiting = {"id": "c" * 32, "name": "waiting", "func": "core.tasks.beat", "args": (), "kwargs": {}}
    walk(admin_client, OrmQ.objects.create(key="desk", payload=SignedPackage.dumps(waiting), lock=now))


def test_a_finished_task_can_be_put_back_into_the_queue(admin_client):
    now = timezone.now()
    times = {"started": now, "stopped": now}
    task = Success.objects.create(id="a" * 32, name="beat", func="core.tasks.beat", success=True, **times)
    admin_client.post(page(Success, "changelist"), {"action": "run_again", "_selected_action": [task.pk]})
    assert OrmQ.objects.count() == 1
    assert last("task.resubmitted").actor == "admin"


def test_history_cannot_be_changed_or_deleted(admin_client):
    rows = ledger()
    for name in ("order", "fill", "equity", "event", "position"):
        row = rows[name]
        assert admin_client.post(page(type(row), "change", row.pk), {}).status_code == 403, name
        assert admin_client.post(page(type(row), "delete", row.pk), {"post": "yes"}).status_code == 403, name
        assert admin_client.post(page(type(row), "add"), {}).status_code == 403, name
    admin_client.post(page(Fill, "changelist"), {"action": "delete_selected", "_selected_action": [rows["fill"].pk]})
    assert Fill.objects.count() == Order.objects.count() == 1


def test_a_change_is_journalled_with_before_and_after(admin_client):
    row = ledger()["instrument"]
    address = page(Instrument, "change", row.pk)
    values = form_values(admin_client.get(address))
    assert values["tick_size"] == "0.01"
    assert admin_client.post(address, values | {"name": "Apple Inc."}).status_code == 302
    event = last("instrument.changed")
    assert event.actor == "admin" and event.subject == f"instrument:{row.pk}"
    assert event.data == {"before": {"name": "Apple"}, "after": {"name": "Apple Inc."}}


def test_saving_without_a_change_writes_no_line(admin_client):
    row = ledger()["instrument"]
    address = page(Instrument, "change", row.pk)
    assert admin_client.post(address, form_values(admin_client.get(address))).status_code == 302
    assert not Event.objects.filter(kind="instrument.changed").exists()


def test_adding_and_deleting_are_journalled_and_deleting_asks(admin_client):
    address = page(Instrument, "add")
    values = form_values(admin_client.get(address)) | {"symbol": "NQ", "name": "Nasdaq future", "asset_class": "future"}
    assert admin_client.post(address, values).status_code == 302
    row = Instrument.objects.get(symbol="NQ")
    assert last("instrument.added").data["after"]["symbol"] == "NQ"
    asked = admin_client.get(page(Instrument, "delete", row.pk))
    assert b"Are you sure" in asked.content and Instrument.objects.filter(pk=row.pk).exists()
    admin_client.post(page(Instrument, "delete", row.pk), {"post": "yes"})
    event = last("instrument.deleted")
    assert event.subject == f"instrument:{row.pk}" and event.data["before"]["symbol"] == "NQ"
    assert not Instrument.objects.filter(symbol="NQ").exists()


def test_deleting_chosen_rows_writes_one_line_each(admin_client):
    rows = [Instrument.objects.create(symbol=symbol, name=symbol, asset_class="stock") for symbol in ("A", "B")]
    chosen = {"action": "delete_selected", "_selected_action": [row.pk for row in rows]}
    assert b"Are you sure" in admin_client.post(page(Instrument, "changelist"), chosen).content
    admin_client.post(page(Instrument, "changelist"), chosen | {"post": "yes"})
    assert Event.objects.filter(kind="instrument.deleted").count() == 2


def test_live_mode_is_refused_while_the_desk_does_not_allow_it(admin_client, settings):
    settings.LIVE_TRADING_ALLOWED = False
    account = ledger()["account"]
    values = {"name": "main", "mode": "live", "confirm_live": "on"}
    answer = admin_client.post(page(Account, "change", account.pk), values)
    assert answer.status_code == 200 and b"Live trading is switched off on this desk" in answer.content
    account.refresh_from_db()
    assert account.mode == Account.Mode.PAPER


def test_live_mode_needs_the_operators_confirmation_too(admin_client, settings):
    settings.LIVE_TRADING_ALLOWED = True
    account = ledger()["account"]
    address = page(Account, "change", account.pk)
    answer = admin_client.post(address, {"name": "main", "mode": "live"})
    assert b"would trade real money" in answer.content
    assert admin_client.post(address, {"name": "main", "mode": "live", "confirm_live": "on"}).status_code == 302
    assert last("account.changed").data == {"before": {"mode": "paper"}, "after": {"mode": "live"}}


def test_a_new_account_cannot_be_live_either(admin_client, settings):
    settings.LIVE_TRADING_ALLOWED = False
    admin_client.post(page(Account, "add"), {"name": "other", "mode": "live", "currency": "USD", "confirm_live": "on"})
    assert not Account.objects.exists()


def test_a_new_book_holds_its_start_cash_and_no_cash_can_be_typed_later(admin_client):
    account = Account.objects.create(name="main")
    admin_client.post(page(Book, "add"), {"account": account.pk, "name": "new", "start_cash": "50000", "cash": "1"})
    book = Book.objects.get(name="new")
    assert book.cash == book.peak_equity == book.start_cash == 50_000
    admin_client.post(page(Book, "change", book.pk), {"name": "newer", "cash": "9", "account": account.pk})
    book.refresh_from_db()
    assert (book.name, book.cash) == ("newer", 50_000)


def test_a_change_leaves_columns_alone_that_processes_write_meanwhile(admin_client, monkeypatch):
    book = ledger()["book"]
    from core.admin import BookForm

    def clean(form):
        # Between reading the row and saving it, a fill is booked.
        Book.objects.filter(pk=book.pk).update(cash=7)
        return form.cleaned_data

    monkeypatch.setattr(BookForm, "clean", clean)
    admin_client.post(page(Book, "change", book.pk), {"name": "renamed"})
    book.refresh_from_db()
    assert (book.name, book.cash) == ("renamed", 7)


def test_a_new_password_is_journalled_without_it(admin_client, admin_user):
    secret = "correct horse 9"
    address = f"/admin/auth/user/{admin_user.pk}/password/"
    admin_client.post(address, {"password1": secret, "password2": "other", "usable_password": "true"})
    assert not Event.objects.filter(kind="user.changed").exists()
    admin_client.post(address, {"password1": secret, "password2": secret, "usable_password": "true"})
    assert User.objects.get(pk=admin_user.pk).check_password(secret)
    event = last("user.changed")
    assert event.data["after"] == {"password": "not shown"}


def test_a_new_user_is_journalled_without_the_password_hash(admin_client):
    secret = "correct horse 9"
    values = {"username": "ana", "password1": secret, "password2": secret, "usable_password": "true"}
    assert admin_client.post(page(User, "add"), values).status_code == 302
    after = last("user.added").data["after"]
    assert after["username"] == "ana" and after["password"] == "not shown"


def test_rights_given_to_a_group_are_journalled(admin_client):
    group = Group.objects.create(name="analysts")
    right = Permission.objects.get(codename="view_fill")
    admin_client.post(page(Group, "change", group.pk), {"name": "analysts", "permissions": [right.pk]})
    data = last("group.changed").data
    assert data["before"] == {"permissions": []} and "view fill" in data["after"]["permissions"][0]


def test_staff_without_rights_are_refused_and_strangers_must_sign_in(client, django_user_model):
    ledger()
    answer = client.get(page(Account, "changelist"))
    assert answer.status_code == 302 and "login" in answer.url
    client.force_login(django_user_model.objects.create_user("staff", password="x", is_staff=True))
    assert client.get(page(Account, "changelist")).status_code == 403
    assert client.get("/admin/").status_code == 200


def test_lists_do_not_ask_once_per_row(admin_client, django_assert_max_num_queries):
    rows = ledger()
    fill = rows["fill"]
    for number in range(5):
        fill.pk, fill.execution_id = None, f"y-{number}"
        fill.save(force_insert=True)
    admin_client.get(page(Fill, "changelist"))
    with django_assert_max_num_queries(14):
        admin_client.get(page(Fill, "changelist"))
