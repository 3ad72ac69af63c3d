"""How admin pages show rows: numbers without trailing zeros, times in UTC, JSON as indented text."""

import json
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from decimal import Decimal
from functools import cache
from typing import Any

from django import forms
from django.contrib.admin.utils import flatten
from django.db import models
from django.http import HttpRequest
from django.utils.html import format_html
from unfold.admin import ModelAdmin
from unfold.widgets import UnfoldAdminDecimalFieldWidget, UnfoldAdminTextareaWidget

from core.models import Money

READABLE = (models.DecimalField, models.FloatField, models.DateTimeField, models.JSONField)
# A curve of ten years of daily bars is about 300 kB of text; nobody reads it here.
MOST_JSON_CHARACTERS = 20_000


def number_text(value: Decimal | float) -> str:
    """A number as people write it: thousands marked, no trailing zeros, floats to six digits."""
    if isinstance(value, Decimal):
        text = f"{value:,f}"
        return text.rstrip("0").rstrip(".") if "." in text else text
    return f"{value:,.2f}" if 1_000 <= abs(value) < 1e15 else f"{value:.6g}"


def time_text(value: datetime) -> str:
    """A time in UTC, to the second, without a clock that says midnight for a daily bar."""
    return f"{value.astimezone(UTC):%Y-%m-%d %H:%M:%S}".removesuffix(" 00:00:00")


def json_text(value: Any) -> str:
    """Indented JSON, cut where nobody reads on."""
    text = json.dumps(value, indent=2, ensure_ascii=False, default=str)
    if len(text) <= MOST_JSON_CHARACTERS:
        return text
    return f"{text[:MOST_JSON_CHARACTERS]}\n… {len(text) - MOST_JSON_CHARACTERS:,} more characters"


def readable(value: Any) -> Any:
    """One value of a row, for a page."""
    if isinstance(value, datetime):
        return time_text(value)
    if isinstance(value, Decimal | float):
        return number_text(value)
    if isinstance(value, dict | list):
        if not value:
            return "-"
        style = "white-space: pre-wrap; overflow-wrap: anywhere; max-height: 32rem; overflow: auto; font-size: 0.8rem"
        return format_html('<pre style="{}">{}</pre>', style, json_text(value))
    return value


def breakable(text: str) -> str:
    """Long words, such as hashes, that may break anywhere instead of widening a phone's page."""
    return format_html('<span style="overflow-wrap: anywhere">{}</span>', text)


@cache
def shown(model: type[models.Model], name: str) -> Callable[[models.Model], Any]:
    """A read-only column for one field. Cached, since Django compares columns by identity."""
    field = model._meta.get_field(name)

    def column(row: models.Model) -> Any:
        return readable(getattr(row, name))

    column.__name__ = name
    column.short_description = getattr(field, "verbose_name", name)  # type: ignore[attr-defined]
    column.admin_order_field = name  # type: ignore[attr-defined]
    return column


class AmountField(forms.DecimalField):
    """An amount whose input shows 0.01, not 0.0100000000."""

    def prepare_value(self, value: Any) -> Any:
        """What the input holds at first."""
        return number_text(value).replace(",", "") if isinstance(value, Decimal) and value.is_finite() else value


class JSONText(forms.JSONField):
    """JSON typed by a person: indented, and refused where the database would refuse it."""

    def prepare_value(self, value: Any) -> Any:
        """Indented text, or what was typed when it was not JSON."""
        return value if isinstance(value, str) else json.dumps(value, indent=2, ensure_ascii=False)

    def bound_data(self, data: Any, initial: Any) -> Any:
        """Keep the operator's own text on a page with errors."""
        return data

    def to_python(self, value: Any) -> Any:
        """Parse. Raises: ValidationError for what is not JSON, NaN, infinity and the zero character."""
        parsed = super().to_python(value)
        try:
            text = json.dumps(parsed, allow_nan=False)
        except ValueError as error:
            raise forms.ValidationError("JSON has no NaN and no infinity: give a finite number, or null.") from error
        if "\\u0000" in text:
            raise forms.ValidationError("The character \\u0000 cannot be stored: remove it.")
        return parsed


class ReadableAdmin(ModelAdmin):
    """Shows numbers, times and JSON readably in lists and wherever a field cannot be edited."""

    list_per_page = 50
    list_filter_sheet = True
    formfield_overrides = {
        Money: {"form_class": AmountField, "widget": UnfoldAdminDecimalFieldWidget},
        models.JSONField: {"form_class": JSONText, "widget": UnfoldAdminTextareaWidget({"rows": 32})},
    }

    def get_list_display(self, request: HttpRequest) -> Sequence[Any]:
        """The columns, with readable ones in place of plain fields."""
        return self._readable(super().get_list_display(request))

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Sequence[Any]:
        """Fields nobody edits here, each also under its readable column."""
        names = tuple(super().get_readonly_fields(request, obj))
        return (*names, *(column for column in self._readable(names) if column not in names))

    def get_fields(self, request: HttpRequest, obj: Any = None) -> Sequence[Any]:
        """Every field once: the readable columns stand for those in get_readonly_fields."""
        names = super().get_fields(request, obj)
        return [name for name in names if not callable(name)]

    def get_fieldsets(self, request: HttpRequest, obj: Any = None) -> list[Any]:
        """Readable columns in place of fields that cannot be edited on this page."""
        fieldsets = list(super().get_fieldsets(request, obj))
        editable = self.has_change_permission(request, obj) if obj else self.has_add_permission(request)
        fixed = set(self.get_readonly_fields(request, obj)) if editable else None
        return [(title, {**part, "fields": self._readable(part["fields"], fixed)}) for title, part in fieldsets]

    def _readable(self, names: Sequence[Any], only: set[Any] | None = None) -> list[Any]:
        flat = flatten(list(names))
        kinds = {field.name: field for field in self.model._meta.fields}
        return [
            shown(self.model, name)
            if isinstance(name, str) and isinstance(kinds.get(name), READABLE) and (only is None or name in only)
            else name
            for name in flat
        ]


class HistoryAdmin(ReadableAdmin):
    """Rows that are history: looked at, never added, changed or deleted."""

    def get_readonly_fields(self, request: HttpRequest, obj: Any = None) -> Sequence[Any]:
        """Every column of the table; the surrogate key is in the page's address already."""
        names = tuple(field.name for field in self.model._meta.fields if not field.primary_key)
        return (*names, *(column for column in self._readable(names) if column not in names))

    def has_add_permission(self, request: HttpRequest) -> bool:
        """Never: rows are written by the desk."""
        return False

    def has_change_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: history stays as it was."""
        return False

    def has_delete_permission(self, request: HttpRequest, obj: Any = None) -> bool:
        """Never: history stays."""
        return False
