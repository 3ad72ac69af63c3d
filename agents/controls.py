"""Buttons: each is a form post that asks one control function and says what it asked for."""

from collections.abc import Callable
from typing import Any

from django.contrib import messages
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, render
from django.urls import reverse
from django.views.decorators.http import require_POST

from agents.dashboard import panel
from agents.models import Agent
from agents.runs import control
from core.models import Account
from core.permissions import go_back, operator_required
from marketdata import control as stream_control
from marketdata.models import Stream

AGENT_ACTIONS = {"start": control.start, "pause": control.pause, "resume": control.resume, "stop": control.stop}
STREAM_ACTIONS = {"start": stream_control.start, "pause": stream_control.pause, "stop": stream_control.stop}
PANELS_AFTER = ("agents", "agent_cards", "replay")


@require_POST
@operator_required
def agent_action(request: HttpRequest, agent_id: int, action: str) -> HttpResponse:
    """Start, pause, continue or stop an agent."""
    agent = get_object_or_404(Agent, pk=agent_id)
    words = {"start": "start", "pause": "pause", "resume": "continue", "stop": "stop"}
    _ask(request, AGENT_ACTIONS, action, agent, f"{agent.name} was asked to {words.get(action, action)}.")
    return _answer(request, reverse("agents"))


@require_POST
@operator_required
def stream_action(request: HttpRequest, stream_id: int, action: str) -> HttpResponse:
    """Start, pause or stop a stream."""
    stream = get_object_or_404(Stream, pk=stream_id)
    _ask(request, STREAM_ACTIONS, action, stream, f"{stream.name} was asked to {action}.")
    return _answer(request, reverse("dashboard"))


@require_POST
@operator_required
def stream_speed(request: HttpRequest, stream_id: int) -> HttpResponse:
    """Change the replay speed."""
    stream = get_object_or_404(Stream, pk=stream_id)
    try:
        words = request.POST.get("speed", "")
        given = stream_control.parse_speed(words, stream.interval_seconds) if words else None
        speed = float(request.POST.get("bars_per_second", "")) if given is None else given
        stream_control.set_speed(stream, speed, actor=request.user.get_username())
        stream.refresh_from_db()
        messages.success(request, f"{stream.name}: {stream_control.speed_words(stream)}.")
    except ValueError as error:
        messages.error(request, f"The speed was not changed: {error}.")
    return _answer(request, reverse("dashboard"))


def _ask(request: HttpRequest, actions: dict[str, Callable[..., Any]], action: str, row: Any, done: str) -> None:
    if action not in actions:
        raise Http404(f"There is no action called {action}.")
    try:
        actions[action](row, actor=request.user.get_username())
        messages.success(request, done)
    except ValueError as error:
        messages.error(request, f"{row} was left as it was: {error}.")


def _answer(request: HttpRequest, fallback: str) -> HttpResponse:
    """The panel the button sits in, for htmx; a redirect for a plain form."""
    name = request.POST.get("panel", "")
    if not getattr(request, "htmx", False) or name not in PANELS_AFTER:
        return go_back(request, fallback)
    chosen = Agent.objects.select_related("instrument", "stream").filter(name=request.POST.get("chosen", "")).first()
    context = panel(name, Account.objects.order_by("id").first(), chosen, request.POST)
    return render(request, f"panels/_{name}.html", {**context, "chosen": chosen, "with_toasts": True})
