"""Journal lines for whatever an operator changes in the admin: who, what, before, after."""

from datetime import date, datetime
from decimal import Decimal
from typing import Any

from django import forms
from django.db import models, transaction
from django.http import HttpRequest

from core.admin_display import ReadableAdmin, number_text
from core.journal import record

# The journal says that these changed, never what they are.
SECRET = frozenset({"password"})
# Written by Django itself at every sign-in or save.
SILENT = frozenset({"last_login", "updated_at"})
LONGEST_TEXT = 2_000


def actor_of(request: HttpRequest) -> str:
    """The name the journal gets."""
    return request.user.get_username()


def snapshot(row: models.Model) -> dict[str, Any]:
    """Every editable value of a row as JSON values; linked rows by id and name, many-to-many ones by name."""
    values = {f.name: _plain(row, f) for f in row._meta.concrete_fields if f.name not in SILENT}
    many = {f.name: sorted(str(item) for item in getattr(row, f.name).all()) for f in row._meta.many_to_many}
    return values | many


def difference(before: dict[str, Any], after: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
    """What changed: the old and the new values of the keys that differ, with secrets struck out."""
    keys = [key for key in {**before, **after} if before.get(key) != after.get(key)]
    return _open(before, keys), _open(after, keys)


def _open(values: dict[str, Any], keys: list[str]) -> dict[str, Any]:
    return {key: "not shown" if key in SECRET else values[key] for key in keys if key in values}


def _plain(row: models.Model, field: Any) -> Any:
    value = field.value_from_object(row)
    if value is not None and field.is_relation:
        return f"{value}: {getattr(row, field.name)}"
    if isinstance(value, Decimal):
        return number_text(value).replace(",", "")
    if isinstance(value, datetime | date):
        return value.isoformat()
    if value is None or isinstance(value, bool | int | float | str | dict | list):
        return value[:LONGEST_TEXT] if isinstance(value, str) else value
    return str(value)[:LONGEST_TEXT]


def _locked(row: Any) -> models.Model:
    return type(row)._default_manager.select_for_update().get(pk=row.pk)


class JournalledAdmin(ReadableAdmin):
    """Writes one journal line per row added, changed or deleted, in the transaction that does it.

    A row's line names its kind and key, such as account.changed on account:1.
    """

    def save_model(self, request: HttpRequest, obj: Any, form: forms.ModelForm, change: bool) -> None:
        """Save, after remembering what the row was; the lock keeps the two from drifting apart.

        A change writes only what was typed: running processes write other columns of the same row.
        """
        if not change:
            super().save_model(request, obj, form, change)
            return
        form.journal_before = snapshot(_locked(obj))  # type: ignore[attr-defined]
        typed = [field.name for field in obj._meta.concrete_fields if field.name in form.changed_data]
        stamps = [field.name for field in obj._meta.concrete_fields if getattr(field, "auto_now", False)]
        if typed:
            obj.save(update_fields=[*typed, *stamps])

    def save_related(self, request: HttpRequest, form: Any, formsets: Any, change: bool) -> None:
        """Write the line once the many-to-many links are saved too."""
        super().save_related(request, form, formsets, change)
        row = type(form.instance)._default_manager.get(pk=form.instance.pk)
        before, after = difference(getattr(form, "journal_before", {}), snapshot(row))
        if after or before:
            self.journal(request, row, "changed" if change else "added", before, after)

    @transaction.atomic
    def delete_model(self, request: HttpRequest, obj: Any) -> None:
        """Delete one row and say what it was."""
        before, key = snapshot(obj), obj.pk
        super().delete_model(request, obj)
        obj.pk = key
        self.journal(request, obj, "deleted", _open(before, list(before)), {})

    @transaction.atomic
    def delete_queryset(self, request: HttpRequest, queryset: models.QuerySet) -> None:
        """Delete the chosen rows, one line each."""
        rows = [(row, snapshot(row)) for row in queryset]
        super().delete_queryset(request, queryset)
        for row, before in rows:
            self.journal(request, row, "deleted", _open(before, list(before)), {})

    def journal(
        self, request: HttpRequest, row: models.Model, what: str, before: dict[str, Any], after: dict[str, Any]
    ) -> None:
        """One line. what: added, changed or deleted."""
        name = row._meta.model_name
        record(
            f"{name}.{what}",
            f"{str(row._meta.verbose_name).capitalize()} {row} {what}",
            actor=actor_of(request),
            subject=f"{name}:{row.pk}"[:80],
            data={"before": before, "after": after},
        )
