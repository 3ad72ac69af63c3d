"""What operators do on the Data page: each is a form that asks one function and says what it asked for."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

from django.contrib import messages
from django.db import transaction
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404, redirect
from django.views.decorators.http import require_http_methods, require_POST

from core.job_words import ENDED
from core.journal import record
from core.models import Instrument, JobRow
from core.notices import notify
from core.permissions import operator_required
from marketdata import control, data_health, fetching
from marketdata.explorer import choices, find, interval_words, opening, source_words
from marketdata.explorer_queries import stored_series
from marketdata.explorer_streams import StreamView
from marketdata.forms import FetchForm, InstrumentForm, ReasonForm, StreamForm
from marketdata.models import DataFault, Fetch, Stream
from marketdata.panels import address_of, ask, chosen_instrument, done, panel, toasts
from marketdata.sources.base import SourceError

STREAM_ACTIONS = ("start", "pause", "speed")
form_view = require_http_methods(["GET", "POST"])


@form_view
@operator_required
def instrument_new(request: HttpRequest) -> HttpResponse:
    """Add an instrument; a search result fills the form in."""
    known = {name: request.GET[name] for name in InstrumentForm.Meta.fields if request.GET.get(name)}
    form = InstrumentForm(request.POST) if request.method == "POST" else InstrumentForm(initial=known)
    if request.method == "POST" and form.is_valid():
        with transaction.atomic():
            instrument = form.save()
            record(
                "instrument.added",
                f"{instrument.symbol}, {instrument.name}, was added",
                actor=request.user.get_username(),
                subject=f"instrument:{instrument.pk}",
            )
            notify("instrument", instrument=instrument.pk)
        return done(request, f"{instrument.symbol} was added.", address_of(instrument), moves=True)
    return _form(request, form, "marketdata/_instrument_form.html")


@form_view
@operator_required
def fetch_new(request: HttpRequest) -> HttpResponse:
    """Bring history of the chosen instrument in."""
    instrument = _chosen(request)
    form = FetchForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        start, end = form.span
        try:
            fetching.request(
                form.cleaned_data["source"],
                instrument,
                form.cleaned_data["interval_seconds"],
                start=start,
                end=end,
                actor=request.user.get_username(),
            )
        except (ValueError, SourceError) as error:
            form.add_error(None, sentence(error))
        else:
            words = interval_words(form.cleaned_data["interval_seconds"])
            source = source_words(form.cleaned_data["source"])
            return done(request, f"{instrument.symbol}: {words} bars are asked of {source}.", address_of(instrument))
    return _form(request, form, "marketdata/_fetch_form.html", instrument=instrument)


@form_view
@operator_required
def fetch_cancel(request: HttpRequest, fetch_id: int) -> HttpResponse:
    """Ask, then cancel a job; what it has stored stays."""
    fetch = get_object_or_404(Fetch.objects.select_related("instrument"), pk=fetch_id)
    if request.method == "GET":
        return ask(request, "marketdata/_fetch_cancel.html", {"fetch": fetch})
    try:
        fetching.cancel(fetch, actor=request.user.get_username())
    except ValueError as error:
        return _refused(request, sentence(error), address_of(fetch.instrument))
    return done(request, f"{fetch} was asked to stop.", address_of(fetch.instrument))


@form_view
@operator_required
def stream_new(request: HttpRequest) -> HttpResponse:
    """Make a stream and, if wanted, start it."""
    chosen = chosen_instrument(request)
    form = StreamForm(request.POST or None, initial=_stream_defaults(request, chosen))
    if request.method == "POST" and form.is_valid():
        stream = _create(request, form)
        if stream is not None:
            return done(request, f"{stream.name} was made.", address_of(chosen))
    return _form(request, form, "marketdata/_stream_form.html", chosen=chosen)


@form_view
@operator_required
def stream_stop(request: HttpRequest, stream_id: int) -> HttpResponse:
    """Ask, then stop a stream."""
    stream = get_object_or_404(Stream, pk=stream_id)
    if request.method == "GET":
        return ask(request, "marketdata/_stream_stop.html", {"view": StreamView(stream)})
    control.stop(stream, actor=request.user.get_username())
    return done(request, f"{stream.name} was asked to stop.", address_of(chosen_instrument(request)))


@form_view
@operator_required
def stream_delete(request: HttpRequest, stream_id: int) -> HttpResponse:
    """Ask, then delete a stopped stream; its bars stay."""
    stream = get_object_or_404(Stream, pk=stream_id)
    if request.method == "GET":
        return ask(request, "marketdata/_stream_delete.html", {"view": StreamView(stream)})
    try:
        if stream.state in ENDED and stream.desired_state != JobRow.Desired.STOPPED:
            control.stop(stream, actor=request.user.get_username())  # it has ended by itself
        control.delete_stream(stream, actor=request.user.get_username())
    except ValueError as error:
        back = address_of(chosen_instrument(request))
        return _refused(request, f"{stream.name} was kept: {sentence(error)}", back)
    return done(request, f"{stream.name} was deleted; its bars stay.", address_of(chosen_instrument(request)))


@require_POST
@operator_required
def stream_action(request: HttpRequest, stream_id: int, action: str) -> HttpResponse:
    """Start, pause or change the speed; answers with the streams card."""
    stream = get_object_or_404(Stream, pk=stream_id)
    if action not in STREAM_ACTIONS:
        raise Http404(f"There is no action called {action}.")
    actor = request.user.get_username()
    try:
        if action == "speed":
            speed = control.parse_speed(request.POST.get("speed", ""), stream.interval_seconds)
            control.set_speed(stream, speed, actor=actor)
            stream.refresh_from_db()
            messages.success(request, f"{stream.name}: {control.speed_words(stream)}.")
        else:
            (control.start if action == "start" else control.pause)(stream, actor=actor)
            messages.success(request, f"{stream.name} was asked to {action}.")
    except ValueError as error:
        messages.error(request, f"{stream.name} was left as it was: {sentence(error)}")
    if getattr(request, "htmx", False):
        return panel(request, "streams", chosen_instrument(request), with_toasts=True)
    return redirect(address_of(chosen_instrument(request)))


@form_view
@operator_required
def fault_clear(request: HttpRequest, fault_id: int) -> HttpResponse:
    """Say why a fault is none, so that agents may use the series again."""
    fault = get_object_or_404(DataFault.objects.select_related("instrument"), pk=fault_id, cleared_at=None)
    form = ReasonForm(request.POST or None)
    if request.method == "POST" and form.is_valid():
        try:
            data_health.clear(fault, actor=request.user.get_username(), reason=form.cleaned_data["reason"])
        except ValueError as error:
            form.add_error(None, sentence(error))
        else:
            return done(request, f"{fault.instrument}: the fault is cleared.", address_of(fault.instrument))
    return _form(
        request, form, "marketdata/_fault_form.html", fault=fault, words=interval_words(fault.interval_seconds)
    )


@require_POST
@operator_required
def check_now(request: HttpRequest, symbol: str) -> HttpResponse:
    """Look at every stored series of an instrument; answers with the health card."""
    instrument = _chosen(request, symbol)
    series = stored_series(instrument.pk)
    found = [fault for row in series for fault in data_health.check(instrument, row.interval_seconds)]
    if not series:
        messages.warning(request, f"{instrument.symbol} has no bars yet, so there is nothing to check.")
    elif found:
        messages.warning(request, f"{instrument.symbol} was checked: {len(found)} fault{'s' * (len(found) > 1)} found.")
    else:
        messages.success(request, f"{instrument.symbol} was checked: nothing is wrong.")
    if getattr(request, "htmx", False):
        return panel(request, "faults", instrument, with_toasts=True)
    return redirect(address_of(instrument))


def _form(request: HttpRequest, form: Any, template: str, **context: Any) -> HttpResponse:
    status = 422 if request.method == "POST" else 200
    return ask(request, template, {"form": form, **context}, status=status)


def _create(request: HttpRequest, form: StreamForm) -> Stream | None:
    """The stream of a valid form; None with the reason beside the form if it cannot be made."""
    given, actor = form.cleaned_data, request.user.get_username()
    is_replay = given["source"] == Stream.Source.REPLAY
    start, end = form.span
    try:
        with transaction.atomic():
            stream = control.create_stream(
                given["name"],
                given["source"],
                list(given["instruments"]),
                given["interval_seconds"],
                start=start if is_replay else None,
                end=end if is_replay else None,
                speed=given["speed"] or "1x",
                actor=actor,
            )
            if given["start_now"]:
                control.start(stream, actor=actor)
            return stream
    except (ValueError, SourceError) as error:
        form.add_error(None, sentence(error))
        return None


def _stream_defaults(request: HttpRequest, chosen: Instrument | None) -> dict[str, Any]:
    """A replay of the last stored week of what is on the chart."""
    if chosen is None:
        return {}
    series = stored_series(chosen.pk)
    given: dict[str, Any] = {"instruments": [chosen.pk], "name": _free_name(f"{chosen.symbol}-stream")}
    if series:
        interval = opening(choices(series))
        row = next(row for row in series if row.interval_seconds == interval)
        daily = interval >= 3600
        first = max(row.first, row.last - timedelta(days=365 if daily else 7))
        given |= {"interval_seconds": interval, "start": first.date(), "end": row.last.date()}
        given["speed"] = "5/s" if daily else "100x"
    return given


def _free_name(wanted: str) -> str:
    name = "".join(letter if letter.isalnum() else "-" for letter in wanted.lower()).strip("-")
    taken = set(Stream.objects.filter(name__startswith=name).values_list("name", flat=True))
    return next(free for free in (name, *(f"{name}-{n}" for n in range(2, 1000))) if free not in taken)


def _chosen(request: HttpRequest, symbol: str = "") -> Instrument:
    instrument = find(symbol) if symbol else chosen_instrument(request)
    if instrument is None:
        raise Http404("That instrument is not here. Choose one on the Data page.")
    return instrument


def sentence(error: Exception) -> str:
    """An error's text as a sentence on a page."""
    text = str(error).strip()
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _refused(request: HttpRequest, reason: str, back: str) -> HttpResponse:
    """It cannot be done: said as a toast, and the dialog closes."""
    messages.error(request, reason)
    return toasts(request) if getattr(request, "htmx", False) else redirect(back)
