"""What happened: orders, trades and the journal."""

import csv
from collections.abc import Iterable

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render

from agents.trades import recent_trades
from core.models import Account, Event, Order

ROWS_PER_PAGE = 50


def order_list(request: HttpRequest) -> HttpResponse:
    """Orders by status, or the round trips made of their fills."""
    tab = "trades" if request.GET.get("tab") == "trades" else "orders"
    status = request.GET.get("status", "")
    orders = Order.objects.select_related("instrument", "book", "book__agent").prefetch_related("fills")
    if status in Order.Status.values:
        orders = orders.filter(status=status)
    rows = recent_trades(_account_id()) if tab == "trades" else orders.order_by("-id")
    context = {
        "tab": tab,
        "page": Paginator(rows, ROWS_PER_PAGE).get_page(request.GET.get("page")),
        "statuses": Order.Status.choices,
        "status": status,
    }
    return render(request, "agents/orders.html", context)


def trades_csv(request: HttpRequest) -> HttpResponse:
    """Every round trip as CSV: technical names, plain numbers."""
    rows = [
        [
            trade.book.name, trade.instrument.symbol, trade.side, trade.trip.entry_time, trade.trip.exit_time,
            trade.trip.quantity, trade.trip.entry_price, trade.trip.exit_price, trade.trip.costs, trade.trip.result,
        ]
        for trade in recent_trades(_account_id())
    ]  # fmt: skip
    names = "book symbol side entry_time exit_time quantity entry_price exit_price costs result"
    return csv_response("trades.csv", names.split(), rows)


def journal(request: HttpRequest) -> HttpResponse:
    """The journal by level and kind."""
    rows = Event.objects.order_by("-time", "-id")
    level, kind = request.GET.get("level", ""), request.GET.get("kind", "")
    if level in Event.Level.values:
        rows = rows.filter(level=level)
    if kind:
        rows = rows.filter(kind__startswith=kind)
    context = {
        "page": Paginator(rows, ROWS_PER_PAGE).get_page(request.GET.get("page")),
        "levels": Event.Level.choices,
        "kinds": sorted(set(Event.objects.order_by("kind").values_list("kind", flat=True).distinct())),
        "level": level,
        "kind": kind,
    }
    return render(request, "agents/logs.html", context)


def csv_response(name: str, header: list[str], rows: Iterable[Iterable[object]]) -> HttpResponse:
    """A CSV file to download."""
    response = HttpResponse(content_type="text/csv; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="{name}"'
    writer = csv.writer(response)
    writer.writerow(header)
    writer.writerows(rows)
    return response


def _account_id() -> int | None:
    return Account.objects.order_by("id").values_list("id", flat=True).first()
