"""Rows for the admin's tests, and a walk through every page of a model's admin."""

from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

from django.contrib import admin
from django.db import models
from django.test import Client
from django.urls import reverse

from core.models import Account, Book, EquitySnapshot, Event, Fill, Heartbeat, Instrument, Order, Position

DAY = datetime(2011, 7, 1, tzinfo=UTC)


def page(model: type[models.Model], name: str, *args: Any) -> str:
    """Address of one admin page: changelist, add, change, delete or an action's name."""
    return reverse(f"admin:{model._meta.app_label}_{model._meta.model_name}_{name}", args=args)


def walk(client: Client, row: models.Model) -> None:
    """List, searched list, add and change page answer 200 (403 for adding what cannot be added)."""
    model = type(row)
    kept = admin.site._registry[model]
    listed = client.get(page(model, "changelist"))
    assert listed.status_code == 200, model
    assert page(model, "change", row.pk) in listed.content.decode(), model
    if kept.search_fields:
        assert client.get(page(model, "changelist"), {"q": "a"}).status_code == 200, model
    allowed = kept.has_add_permission(listed.wsgi_request)
    assert client.get(page(model, "add")).status_code == (200 if allowed else 403), model
    shown = client.get(page(model, "change", row.pk))
    assert shown.status_code == 200, model
    assert "0000000" not in shown.content.decode().split("<main")[-1], f"{model}: a number with trailing zeros"


def ledger() -> dict[str, Any]:
    """An account with one book that bought 37 shares, and a line of everything the ledger keeps."""
    instrument = Instrument.objects.create(symbol="AAPL", name="Apple", asset_class="stock")
    account = Account.objects.create(name="main")
    book = Book.objects.create(account=account, name="aapl-swing", start_cash=50_000, cash=49_000, peak_equity=50_000)
    order = Order.objects.create(
        book=book, instrument=instrument, client_order_id="a-1", decided_at=DAY, side="buy", status="filled",
        quantity_asked=Decimal(52), quantity=Decimal(37), filled_quantity=Decimal(37), submitted_at=DAY,
    )  # fmt: skip
    return {
        "instrument": instrument,
        "account": account,
        "book": book,
        "order": order,
        "fill": Fill.objects.create(
            order=order,
            book=book,
            instrument=instrument,
            time=DAY,
            execution_id="x-1",
            quantity=Decimal(37),
            price=Decimal("27.03"),
            commission=Decimal(1),
            slippage=Decimal("0.15"),
        ),
        "position": Position.objects.create(
            book=book,
            instrument=instrument,
            quantity=Decimal(37),
            average_price=Decimal("27.03"),
            last_price=Decimal("28.03"),
            opened_at=DAY,
        ),
        "equity": EquitySnapshot.objects.create(
            time=DAY, book=book, cash=49_000, equity=Decimal("50037"), exposure=0.0207, drawdown=0.0
        ),
        "event": Event.objects.create(kind="test", message="something", data={"before": 1, "after": {"b": [1, 2]}}),
        "heartbeat": Heartbeat.objects.create(component="web", host="here", pid=1),
    }


def form_values(response: Any) -> dict[str, Any]:
    """What a browser would send back from an admin form, inlines included."""
    context = response.context
    forms = [context["adminform"].form]
    for inline in context["inline_admin_formsets"]:
        forms += [inline.formset.management_form, *inline.formset.forms]
    values: dict[str, Any] = {}
    for form in forms:
        for field in form:
            value = field.value()
            widget = field.field.widget
            for key, item in _sent(widget, field.html_name, field.field.prepare_value(value)):
                values[key] = item
    return values


def _sent(widget: Any, name: str, value: Any) -> list[tuple[str, Any]]:
    if value is None or value is False:
        return []
    if hasattr(widget, "decompress"):
        parts = widget.decompress(value)
        return [(f"{name}_{number}", part) for number, part in enumerate(parts) if part is not None]
    return [(name, value)]
