"""The stop button and the way back: plain forms that need neither JavaScript nor the websocket."""

from django import forms
from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from core.models import Account
from core.permissions import go_back, operator_required
from risk import kill_switch


class StopForm(forms.Form):
    """Why trading stops, and whether positions are closed too."""

    reason = forms.CharField(
        max_length=240, error_messages={"required": "Say why, in a few words: it goes into the journal."}
    )
    close_positions = forms.BooleanField(required=False)


class RearmForm(forms.Form):
    """Why it is safe to trade again."""

    reason = forms.CharField(
        max_length=240, error_messages={"required": "Say why it is safe again: only a person with a reason re-arms."}
    )


def stop_page(request: HttpRequest) -> HttpResponse:
    """The same forms as in the dialog and the banner, on a page of their own."""
    return render(request, "risk/stop.html", {"form": StopForm(), "rearm_form": RearmForm()})


@require_POST
@operator_required
def engage(request: HttpRequest) -> HttpResponse:
    """Stop all trading of the account."""
    account = _account()
    form = StopForm(request.POST)
    if not form.is_valid():
        return render(request, "risk/stop.html", {"form": form, "rearm_form": RearmForm()}, status=422)
    state = kill_switch.engage(
        account,
        reason=form.cleaned_data["reason"],
        actor=request.user.get_username(),
        close_positions=form.cleaned_data["close_positions"],
    )
    orders = f"{state.n_canceled_orders} open order{'' if state.n_canceled_orders == 1 else 's'} canceled"
    messages.warning(request, f"All trading stopped in {state.took_ms:.0f} ms: {orders}.")
    return go_back(request, "dashboard")


@require_POST
@operator_required
def rearm(request: HttpRequest) -> HttpResponse:
    """Allow trading again."""
    account = _account()
    form = RearmForm(request.POST)
    if not form.is_valid():
        return render(request, "risk/stop.html", {"form": StopForm(), "rearm_form": form}, status=422)
    try:
        kill_switch.rearm(account, reason=form.cleaned_data["reason"], actor=request.user.get_username())
        messages.success(request, "Trading is allowed again. Agents that were running continue with their next bar.")
    except ValueError as error:
        messages.error(request, f"Nothing was changed: {error}.")
    return go_back(request, "dashboard")


def _account() -> Account:
    account = Account.objects.order_by("id").first()
    if account is None:
        raise Http404("There is no account yet, so nothing can trade.")
    return account
