"""The cards of the Data page as partials, and how its forms answer."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse
from django.shortcuts import redirect, render
from django.urls import reverse

from core.models import Instrument
from marketdata.explorer import actions, faults_view, find, instrument_rows, news
from marketdata.explorer_fetches import fetch_views, last_import
from marketdata.explorer_streams import stream_views

PANELS: dict[str, Callable[[Instrument | None], dict[str, Any]]] = {
    "instruments": lambda chosen: {"rows": instrument_rows()},
    "streams": lambda chosen: {"streams": stream_views()},
    "fetches": lambda chosen: {"fetches": fetch_views(), "last_import": last_import(chosen)},
    "faults": faults_view,
    "actions": lambda chosen: {"actions": actions(chosen)},
    "news": lambda chosen: {"news": news(chosen)},
}


def address_of(instrument: Instrument | None) -> str:
    """The page of an instrument."""
    return reverse("data-instrument", args=[instrument.symbol]) if instrument else reverse("data")


def chosen_instrument(request: HttpRequest) -> Instrument | None:
    """The instrument the page behind a panel or dialog shows, named by ?symbol= or the form."""
    return find(request.POST.get("symbol") or request.GET.get("symbol", ""))


def panel(request: HttpRequest, name: str, chosen: Instrument | None, **extra: Any) -> HttpResponse:
    """One card. Raises: KeyError for a name that is not in PANELS."""
    context = {**PANELS[name](chosen), "chosen": chosen, **extra}
    return render(request, f"marketdata/panels/_{name}.html", context)


def ask(request: HttpRequest, template: str, context: dict[str, Any], *, status: int = 200) -> HttpResponse:
    """A form: alone when a script shows it in a dialog, else as a page of its own."""
    if getattr(request, "htmx", False):
        return render(request, template, {**context, "in_dialog": True}, status=status)
    return render(request, "marketdata/alone.html", {**context, "part": template}, status=status)


def done(request: HttpRequest, message: str, back: str, *, moves: bool = False) -> HttpResponse:
    """What was asked has been done: a toast for a script, which closes its dialog; else back to the page.

    moves: also a script goes to `back`, because the page it came from no longer fits.
    """
    messages.success(request, message)
    by_script = getattr(request, "htmx", False)
    if by_script and moves:
        return HttpResponse(status=204, headers={"Desk-Go": back})
    return toasts(request) if by_script else redirect(back)


def toasts(request: HttpRequest) -> HttpResponse:
    """What there is to say, for a script that then closes its dialog."""
    response = render(request, "pieces/_toasts.html")
    response["Desk-Done"] = "1"
    return response
