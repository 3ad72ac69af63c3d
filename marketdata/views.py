"""The Data page, its cards, and what its chart asks for."""

from __future__ import annotations

import csv
from collections.abc import Iterable
from typing import Any

from django.http import Http404, HttpRequest, HttpResponse, JsonResponse
from django.shortcuts import get_object_or_404, redirect, render

from core.models import Instrument
from marketdata import panels
from marketdata.explorer import Choice, choices, find, first_choice, opening
from marketdata.explorer_bars import answer, csv_rows
from marketdata.explorer_queries import stored_series
from marketdata.explorer_question import MOST_INDICATORS, chart_indicators, read_question
from marketdata.models import DataImport, Stream
from marketdata.sources import registry
from marketdata.sources.base import SourceError

LEAST_SEARCHED = 1
DEFAULT_INDICATORS = ("ema_10", "ema_50")


def explorer(request: HttpRequest, symbol: str = "") -> HttpResponse:
    """All cards with their data, and the chart's first bars. /data/ opens with the liveliest instrument."""
    chosen = _instrument(symbol) if symbol else first_choice()
    if chosen is not None and symbol != chosen.symbol and symbol:
        return redirect(panels.address_of(chosen))
    context: dict[str, Any] = {"chosen": chosen, "sources": registry.names(), **_chart(request, chosen)}
    for show in panels.PANELS.values():
        context |= show(chosen)
    return render(request, "marketdata/explorer.html", context)


def panel_view(request: HttpRequest, name: str) -> HttpResponse:
    """One card as a partial; the page fetches it when a notice says that it changed."""
    if name not in panels.PANELS:
        raise Http404(f"There is no panel called {name}.")
    return panels.panel(request, name, panels.chosen_instrument(request))


def bars(request: HttpRequest, symbol: str) -> JsonResponse:
    """Bars of a span and indicators on them; a question that makes no sense is answered with a sentence."""
    instrument = _instrument(symbol)
    try:
        found = answer(instrument, read_question(request.GET, instrument))
    except ValueError as error:
        return JsonResponse({"error": str(error)}, status=400)
    return JsonResponse(found, headers={"Cache-Control": "no-store"})


def bars_csv(request: HttpRequest, symbol: str) -> HttpResponse:
    """The same as a table to take along."""
    instrument = _instrument(symbol)
    try:
        rows = list(csv_rows(instrument, read_question(request.GET, instrument)))
    except ValueError as error:
        return HttpResponse(str(error), status=400, content_type="text/plain; charset=utf-8")
    name = "".join(letter if letter.isalnum() else "-" for letter in instrument.symbol)
    return _csv(rows, f"{name}-bars.csv")


def search(request: HttpRequest) -> HttpResponse:
    """What a source finds for a text, each with a way to add it. Never part of the page's own loading."""
    text, name = request.GET.get("q", "").strip()[:60], request.GET.get("source", "yahoo")
    context: dict[str, Any] = {"text": text, "source": registry.names().get(name, name), "found": [], "error": ""}
    if len(text) < LEAST_SEARCHED:
        context["error"] = "Type a symbol or a name first."
    else:
        try:
            context["found"] = [(one, find(one.symbol)) for one in registry.source(name).search(text)]
        except SourceError as error:
            context["error"] = f"{str(error).rstrip('.')}."
    return panels.ask(request, "marketdata/_found.html", context)


def _instrument(symbol: str) -> Instrument:
    instrument = find(symbol)
    if instrument is None:
        raise Http404(f"There is no instrument called {symbol}. Add it on the Data page.")
    return instrument


def _chart(request: HttpRequest, chosen: Instrument | None) -> dict[str, Any]:
    """Intervals, indicators and the first answer, so that the page is drawn without asking again."""
    if chosen is None:
        return {"choices": [], "indicators": [], "watched": None}
    series = stored_series(chosen.pk)
    found = choices(series)
    known = chart_indicators(chosen)
    watched = _watched(request, chosen, found)
    interval = watched.interval_seconds if watched else _interval(request, found)
    names = [name for name in request.GET.get("with", ",".join(DEFAULT_INDICATORS)).split(",") if name in known]
    question = {"interval": str(interval), "with": ",".join(dict.fromkeys(names[:MOST_INDICATORS]))}
    if watched:
        question["stream"] = str(watched.pk)
    return {
        "choices": found,
        "interval": interval,
        "watched": watched,
        "simulated": any(row.source == Stream.Source.SIMULATOR for row in series),
        "indicators": [(name, one, name in names) for name, one in known.items()],
        "n_indicators": len(names),
        "chart": answer(chosen, read_question(question, chosen)) if found else None,
    }


def _interval(request: HttpRequest, found: list[Choice]) -> int:
    wanted = request.GET.get("interval", "")
    known = {choice.seconds for choice in found}
    return int(wanted) if wanted.isdecimal() and len(wanted) < 9 and int(wanted) in known else opening(found)


def _watched(request: HttpRequest, chosen: Instrument, found: list[Choice]) -> Stream | None:
    """The replay whose progress the chart follows, by ?stream=; it then shows nothing later than the replay."""
    number = request.GET.get("stream", "")
    if not number.isdecimal() or len(number) > 12:
        return None
    stream = Stream.objects.filter(pk=int(number), instruments=chosen).first()
    known = {choice.seconds for choice in found}
    return stream if stream and stream.interval_seconds in known else None


def problems_csv(request: HttpRequest, import_id: int) -> HttpResponse:
    """Every stored bad row of an import and why it was left out."""
    found = get_object_or_404(DataImport, pk=import_id)
    rows = [[problem.get("row", ""), problem.get("reason", "")] for problem in found.problems]
    return _csv([["row", "reason"], *rows], f"rows-left-out-{found.pk}.csv")


def _csv(rows: Iterable[list[Any]], name: str) -> HttpResponse:
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    csv.writer(response).writerows(rows)
    return response
