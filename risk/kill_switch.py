"""The kill switch: stored, latched, survives restarts; only a person with a reason re-arms it."""

import time

from django.db import transaction

from core.journal import record
from core.ledger import cancel_order
from core.models import Account, Event, Order
from core.notices import notify
from risk.models import KillSwitchState


class NoReasonError(ValueError):
    """Stopping and re-arming need a reason in words."""


def state(account: Account) -> KillSwitchState | None:
    """The newest state of an account, or None if the switch was never used."""
    return KillSwitchState.objects.filter(account=account).order_by("-id").first()


def is_engaged(account: Account) -> bool:
    """Whether trading on this account is stopped."""
    newest = state(account)
    return newest is not None and newest.engaged


def engage(account: Account, *, reason: str, actor: str, close_positions: bool = False) -> KillSwitchState:
    """Stop all trading on an account and cancel its open orders.

    close_positions: also sell or buy back every position at the next bar's open.
    Stopping twice is fine: the newest reason is shown, and a wish to close positions stays until trading is re-armed.
    Raises: NoReasonError for an empty reason.
    """
    start = time.perf_counter()
    # First the switch by itself: it is in force before we wait for any order that an agent is just working on, and
    # an order we do not see below is not sent, because whoever sends it asks the switch first.
    engaged = _latch(account, _reason(reason), actor[:80], close_positions)
    open_orders = Order.objects.filter(book__account=account, status__in=Order.OPEN).select_related("instrument")
    engaged.n_canceled_orders = sum(
        cancel_order(o, code="KILL_SWITCH", reason="trading was stopped", actor=actor)
        for o in open_orders.order_by("id")
    )
    engaged.took_ms = (time.perf_counter() - start) * 1000
    engaged.save(update_fields=["n_canceled_orders", "took_ms"])
    notify("kill_switch", account=account.pk)
    return engaged


@transaction.atomic
def _latch(account: Account, reason: str, actor: str, close_positions: bool) -> KillSwitchState:
    """Store the new state with its line in the journal."""
    Account.objects.select_for_update().get(pk=account.pk)
    before = state(account)
    was_engaged = before is not None and before.engaged
    closing = close_positions or bool(before and was_engaged and before.close_positions)
    engaged = KillSwitchState.objects.create(
        account=account, engaged=True, reason=reason, actor=actor, close_positions=closing
    )
    record(
        "kill_switch.engaged",
        f"All trading stopped: {reason}",
        level=Event.Level.CRITICAL,
        actor=actor,
        subject=f"account:{account.pk}",
        data={"before": {"engaged": was_engaged}, "after": {"engaged": True, "close_positions": closing}},
    )
    notify("kill_switch", account=account.pk)
    return engaged


@transaction.atomic
def rearm(account: Account, *, reason: str, actor: str) -> KillSwitchState:
    """Allow trading again. Raises: NoReasonError for an empty reason, ValueError if trading is not stopped."""
    reason, actor = _reason(reason), actor[:80]
    Account.objects.select_for_update().get(pk=account.pk)
    if not is_engaged(account):
        raise ValueError(f"trading on account {account.name} is not stopped, so there is nothing to re-arm")
    armed = KillSwitchState.objects.create(account=account, engaged=False, reason=reason, actor=actor)
    record(
        "kill_switch.rearmed",
        f"Trading allowed again: {reason}",
        level=Event.Level.ATTENTION,
        actor=actor,
        subject=f"account:{account.pk}",
        data={"before": {"engaged": True}, "after": {"engaged": False}},
    )
    notify("kill_switch", account=account.pk)
    return armed


def _reason(text: str) -> str:
    # What a database cannot store, such as a stray byte from a terminal, must not keep anybody from stopping.
    reason = "".join(letter for letter in " ".join(text.split()) if letter.isprintable()).strip()
    if not reason:
        raise NoReasonError("a reason is needed: say in a few words why, it is kept in the journal")
    return reason[:240]
