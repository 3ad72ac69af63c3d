"""Admin pages of limits and the kill switch, through HTTP and with a real database."""

import pytest
from django.contrib.auth.models import Permission

from core.models import Account, Event, Order
from core.tests.admin_pages import ledger, page, walk
from risk import kill_switch
from risk.models import KillSwitchState, Limits

pytestmark = pytest.mark.django_db
SENT = {"_form_submitted": "True"}


@pytest.fixture
def account():
    return ledger()["account"]


def test_every_page_of_risk_answers(admin_client, account):
    walk(admin_client, Limits.objects.create(account=account))
    walk(admin_client, kill_switch.engage(account, reason="a test", actor="ana"))


def test_changed_limits_are_journalled_with_before_and_after(admin_client, account):
    limits = Limits.objects.create(account=account)
    values = {"max_position_weight": "0.5", "max_gross_exposure": "1.0", "max_bars_behind": "0"}
    assert admin_client.post(page(Limits, "change", limits.pk), values).status_code == 302
    event = Event.objects.get(kind="limits.changed")
    assert event.data == {"before": {"max_position_weight": 1.0}, "after": {"max_position_weight": 0.5}}
    assert event.actor == "admin"


def test_limits_of_nothing_are_refused_in_words(admin_client, account):
    limits = Limits.objects.create(account=account)
    values = {"max_position_weight": "0", "max_gross_exposure": "1.0", "max_bars_behind": "0"}
    assert admin_client.post(page(Limits, "change", limits.pk), values).status_code == 200
    limits.refresh_from_db()
    assert limits.max_position_weight == 1.0


def test_limits_cannot_be_deleted(admin_client, account):
    limits = Limits.objects.create(account=account)
    assert admin_client.post(page(Limits, "delete", limits.pk), {"post": "yes"}).status_code == 403


def test_stopping_asks_first_and_acts_only_on_post(admin_client, account):
    asked = admin_client.get(page(KillSwitchState, "stop_trading"))
    assert asked.status_code == 200 and b'name="reason"' in asked.content and b"csrfmiddlewaretoken" in asked.content
    assert not KillSwitchState.objects.exists()


def test_stopping_cancels_orders_and_records_who_and_why(admin_client, account):
    Order.objects.update(status="accepted", filled_quantity=0)
    values = SENT | {"account": account.pk, "reason": "markets are strange", "close_positions": "on"}
    answer = admin_client.post(page(KillSwitchState, "stop_trading"), values)
    assert answer.status_code == 302 and answer.url == page(KillSwitchState, "changelist")
    state = kill_switch.state(account)
    assert (state.engaged, state.reason, state.actor) == (True, "markets are strange", "admin")
    assert state.close_positions and state.n_canceled_orders == 1
    assert Event.objects.get(kind="kill_switch.engaged").actor == "admin"


def test_htmx_is_told_where_to_go_and_no_page_is_swapped_in(admin_client, account):
    values = SENT | {"account": account.pk, "reason": "a test"}
    answer = admin_client.post(page(KillSwitchState, "stop_trading"), values, headers={"HX-Request": "true"})
    assert answer.status_code == 200 and answer["HX-Redirect"] == page(KillSwitchState, "changelist")


@pytest.mark.parametrize("reason", ["", "   "])
@pytest.mark.parametrize("button", ["stop_trading", "allow_trading"])
def test_the_switch_needs_a_reason(admin_client, account, button, reason):
    answer = admin_client.post(page(KillSwitchState, button), SENT | {"account": account.pk, "reason": reason})
    assert answer.status_code == 200 and b"Say why, in a few words" in answer.content
    assert not KillSwitchState.objects.exists()


def test_trading_is_allowed_again_with_a_reason(admin_client, account):
    kill_switch.engage(account, reason="a test", actor="ana")
    values = SENT | {"account": account.pk, "reason": "all is well"}
    assert admin_client.post(page(KillSwitchState, "allow_trading"), values).status_code == 302
    assert not kill_switch.is_engaged(account)
    assert Event.objects.get(kind="kill_switch.rearmed").actor == "admin"


def test_allowing_what_is_allowed_changes_nothing_and_says_so(admin_client, account):
    values = SENT | {"account": account.pk, "reason": "all is well"}
    answer = admin_client.post(page(KillSwitchState, "allow_trading"), values, follow=True)
    assert b"Nothing was changed" in answer.content and b"is not stopped" in answer.content
    assert not KillSwitchState.objects.exists()


def test_states_are_never_typed_edited_or_deleted(admin_client, account):
    state = kill_switch.engage(account, reason="a test", actor="ana")
    for name in ("change", "delete"):
        assert admin_client.post(page(KillSwitchState, name, state.pk), {"post": "yes"}).status_code == 403
    assert admin_client.post(page(KillSwitchState, "add"), {"engaged": ""}).status_code == 403
    assert kill_switch.is_engaged(account)


def test_staff_who_may_only_look_see_no_buttons_and_are_refused(client, django_user_model, account):
    looker = django_user_model.objects.create_user("looker", password="x", is_staff=True)
    looker.user_permissions.add(Permission.objects.get(codename="view_killswitchstate"))
    client.force_login(looker)
    kill_switch.engage(account, reason="a test", actor="ana")
    shown = client.get(page(KillSwitchState, "changelist"))
    assert shown.status_code == 200 and b"Stop all trading" not in shown.content
    values = SENT | {"account": account.pk, "reason": "mine"}
    for button in ("stop_trading", "allow_trading"):
        assert client.post(page(KillSwitchState, button), values).status_code == 403
    assert KillSwitchState.objects.count() == 1 and Account.objects.count() == 1


def test_another_site_cannot_press_the_button(account, admin_user):
    from django.test import Client

    client = Client(enforce_csrf_checks=True)
    client.force_login(admin_user)
    values = SENT | {"account": account.pk, "reason": "mine"}
    assert client.post(page(KillSwitchState, "stop_trading"), values).status_code == 403
    assert not KillSwitchState.objects.exists()
