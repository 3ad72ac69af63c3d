"""Bringing a file in through the page: look into it, agree on what it means, then import it as a job."""

from __future__ import annotations

import json
import secrets
import shutil
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import quote
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from django.conf import settings
from django.core.exceptions import PermissionDenied
from django.http import Http404, HttpRequest, HttpResponse
from django.shortcuts import get_object_or_404
from django.urls import reverse
from django.views.decorators.http import require_POST

from core.models import Instrument
from core.permissions import operator_required
from marketdata import file_import
from marketdata.explorer import interval_words
from marketdata.explorer_controls import form_view, sentence
from marketdata.file_columns import FIELDS, LABELS, ZONES, time_formats
from marketdata.forms import UploadForm
from marketdata.panels import address_of, ask, chosen_instrument, done

NEEDED = ("time", "close")
_CODES = {
    "%m": "month", "%d": "day", "%Y": "year", "%b": "month's name", "%H": "hours", "%I": "hours", "%M": "minutes",
    "%S": "seconds", "%p": "am or pm",
}  # fmt: skip
KEPT_SECONDS = 24 * 3600


@dataclass(frozen=True)
class Upload:
    """A file that was sent and is not imported yet; it lives in the local folder for a day at most."""

    folder: Path
    token: str
    name: str
    instrument_id: int
    user_id: int

    @classmethod
    def keep(cls, file: Any, instrument: Instrument, user_id: int) -> Upload:
        """Write the file down and forget those left lying."""
        root = previews_folder()
        root.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in root.iterdir():
            if time.time() - old.stat().st_mtime > KEPT_SECONDS:
                shutil.rmtree(old, ignore_errors=True)
        token = secrets.token_urlsafe(18)
        folder = root / token
        folder.mkdir(mode=0o700)
        with (folder / "data").open("wb") as target:
            for chunk in file.chunks():
                target.write(chunk)
        name = Path(str(file.name)).name[:200]
        facts = {"name": name, "instrument_id": instrument.pk, "user_id": user_id}
        (folder / "facts.json").write_text(json.dumps(facts))
        return cls(folder, token, name, instrument.pk, user_id)

    @classmethod
    def find(cls, token: str, user_id: int) -> Upload:
        """Raises: Http404 if it is gone, PermissionDenied if somebody else sent it."""
        folder = previews_folder() / token
        if not (folder / "facts.json").is_file():
            raise Http404("This file is no longer kept. Send it again.")
        found = cls(folder, token, **json.loads((folder / "facts.json").read_text()))
        if found.user_id != user_id:
            raise PermissionDenied("Somebody else sent this file; only they can import it.")
        return found

    @property
    def data(self) -> bytes:
        return (self.folder / "data").read_bytes()

    def forget(self) -> None:
        """Delete it."""
        shutil.rmtree(self.folder, ignore_errors=True)


def previews_folder() -> Path:
    """Where sent files wait."""
    return Path(settings.LOCAL_DIR) / "previews"


@form_view
@operator_required
def import_new(request: HttpRequest) -> HttpResponse:
    """Choose a file and what it is of."""
    chosen = chosen_instrument(request)
    form = UploadForm(request.POST or None, request.FILES or None, initial={"instrument": chosen})
    if request.method == "POST" and form.is_valid():
        instrument = form.cleaned_data["instrument"]
        upload = Upload.keep(form.cleaned_data["file"], instrument, _user(request))
        return _look(request, upload, instrument)
    status = 422 if request.method == "POST" else 200
    return ask(request, "marketdata/_upload_form.html", {"form": form, "chosen": chosen}, status=status)


@require_POST
@operator_required
def import_look(request: HttpRequest, token: str) -> HttpResponse:
    """Look again with other columns or another time zone."""
    upload = Upload.find(token, _user(request))
    return _look(request, upload, get_object_or_404(Instrument, pk=upload.instrument_id))


@require_POST
@operator_required
def import_start(request: HttpRequest, token: str) -> HttpResponse:
    """Import it as agreed."""
    upload = Upload.find(token, _user(request))
    instrument = get_object_or_404(Instrument, pk=upload.instrument_id)
    try:
        seen = _preview(request, upload, instrument)
        if seen.error:
            raise ValueError(seen.error)
        file_import.start(
            upload.data,
            upload.name,
            instrument,
            actor=request.user.get_username(),
            mapping=seen.mapping,
            zone=seen.zone,
            time_format=seen.time_format,
            interval_seconds=seen.interval_seconds,
            symbol=request.POST.get("of_symbol", "") or (seen.symbols[0] if len(seen.symbols) > 1 else ""),
            adjust=request.POST.get("adjust") == "on",
        )
    except ValueError as error:
        return _look(request, upload, instrument, refused=sentence(error))
    upload.forget()
    return done(request, f"{upload.name} is being imported into {instrument.symbol}.", address_of(instrument))


def _look(request: HttpRequest, upload: Upload, instrument: Instrument, *, refused: str = "") -> HttpResponse:
    """What the file would bring, or why it cannot be read."""
    try:
        seen = _preview(request, upload, instrument)
    except ValueError as error:
        upload.forget()
        again = f"{reverse('import-new')}?symbol={quote(instrument.symbol)}"
        context = {"upload": upload, "error": sentence(error), "again": again}
        return ask(request, "marketdata/_upload_refused.html", context, status=422)
    columns = list(seen.rows[0]) if seen.rows else seen.columns
    context = {
        "upload": upload,
        "instrument": instrument,
        "seen": seen,
        "zones": ZONES,
        "error": refused or (sentence(ValueError(seen.error)) if seen.error else ""),
        "fields": [(name, LABELS[name], seen.mapping.get(name, ""), name in NEEDED) for name in FIELDS],
        "interval": interval_words(seen.interval_seconds),
        "columns": columns,
        "rows": [[row.get(name, "") for name in columns] for row in seen.rows],
        "symbol_chosen": request.POST.get("of_symbol", ""),
        "adjusts": request.POST.get("adjust") == "on",
        "time_format": request.POST.get("time_format", ""),
        "forms": [(form, _in_words(form)) for form in _forms(seen)],
    }
    return ask(request, "marketdata/_preview.html", context, status=422 if refused else 200)


def _forms(seen: file_import.Preview) -> list[str]:
    """Ways in which the times of the rows shown can be read, if there is more than one."""
    time, clock = seen.mapping.get("time", ""), seen.mapping.get("clock", "")
    texts = [f"{row.get(time, '')} {row.get(clock, '')}".strip() for row in seen.rows]
    found = [form for form in time_formats(texts) if form]
    return found if len(found) > 1 else []


def _in_words(form: str) -> str:
    """%m/%d/%Y %H:%M is month/day/year hours:minutes."""
    for code, word in _CODES.items():
        form = form.replace(code, word)
    return form


def _preview(request: HttpRequest, upload: Upload, instrument: Instrument) -> file_import.Preview:
    """The file as the form says it is to be read. Raises: ValueError if it cannot be."""
    zone = request.POST.get("zone", "").strip()
    if zone and zone != "UTC":
        try:
            ZoneInfo(zone)
        except (ZoneInfoNotFoundError, ValueError) as error:
            raise ValueError(f"there is no time zone called {zone[:60]}: write one such as America/New_York") from error
    return file_import.preview(
        upload.data,
        upload.name,
        mapping=_mapping(request),
        zone=zone or None,
        time_format=request.POST.get("time_format", "").strip() or None,
        symbol=request.POST.get("of_symbol", ""),
        calendar=instrument.calendar,
    )


def _mapping(request: HttpRequest) -> dict[str, str] | None:
    """Field to column as chosen in the form; None the first time."""
    chosen = {name: request.POST.get(f"column-{name}", "") for name in FIELDS}
    return {name: column for name, column in chosen.items() if column} or None


def _user(request: HttpRequest) -> int:
    return int(request.user.pk or 0)
