"""The forms of the Data page. They say what is wrong beside the field, in a sentence."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, time, timedelta
from typing import Any

from django import forms
from django.utils import timezone

from core.models import Instrument
from marketdata import calendars
from marketdata.explorer import interval_words
from marketdata.explorer_question import USUAL
from marketdata.explorer_streams import DAILY_SPEEDS, INTRADAY_SPEEDS
from marketdata.file_import import SIZE_LIMIT_BYTES
from marketdata.models import DAY, Stream
from marketdata.sources import registry

SYMBOL = re.compile(r"[A-Z0-9^][A-Z0-9.^=/_:-]*")
LARGEST_FILE = SIZE_LIMIT_BYTES


def interval_choices(seconds: tuple[int, ...]) -> list[tuple[int, str]]:
    """Choices of a select."""
    return [(value, interval_words(value)) for value in seconds]


class Dressed(forms.BaseForm):
    """Gives every field the look of the house."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        for field in self.fields.values():
            if not isinstance(field.widget, forms.CheckboxInput | forms.CheckboxSelectMultiple | forms.FileInput):
                field.widget.attrs["class"] = "input"


class InstrumentForm(Dressed, forms.ModelForm):
    """What must be known of an instrument before its bars can be stored."""

    class Meta:
        model = Instrument
        fields = ("symbol", "name", "asset_class", "exchange", "calendar", "currency", "tick_size")
        labels = {"asset_class": "Kind", "tick_size": "Smallest price step"}
        help_texts = {
            "symbol": "As your source spells it, such as SPY or ^VIX.",
            "calendar": "When it trades: XNYS for New York, XETR for Frankfurt, 24/7 for crypto.",
            "tick_size": "0.01 for most shares; 0 means no rounding.",
        }
        error_messages = {
            "symbol": {"required": "Give the symbol, such as SPY.", "unique": "This instrument is here already."},
            "name": {"required": "Give a name people know it by."},
        }

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["asset_class"].choices = Instrument.AssetClass.choices  # type: ignore[attr-defined]

    def clean_symbol(self) -> str:
        symbol = self.cleaned_data["symbol"].strip().upper()
        if not SYMBOL.fullmatch(symbol):
            raise forms.ValidationError(
                "A symbol is letters, digits and . ^ = / _ : - without spaces, such as BRK.B or BTC/USDT."
            )
        if Instrument.objects.filter(symbol__iexact=symbol).exists():
            raise forms.ValidationError(f"{symbol} is here already: choose it in the table.")
        return symbol

    def clean_calendar(self) -> str:
        name = self.cleaned_data["calendar"].strip()
        today = timezone.now().date()
        try:
            calendars.sessions(name, today - timedelta(days=7), today)
        except ValueError as error:
            raise forms.ValidationError(f"{str(error).rstrip('.')}.") from error
        return name

    def clean_currency(self) -> str:
        currency = self.cleaned_data["currency"].strip().upper()
        if not re.fullmatch(r"[A-Z]{3}", currency):
            raise forms.ValidationError("A currency has three letters, such as USD.")
        return currency


class SpanForm(Dressed, forms.Form):
    """From and to as dates; both are optional here."""

    start = forms.DateField(required=False, label="From", widget=forms.DateInput(attrs={"type": "date"}))
    end = forms.DateField(required=False, label="To", widget=forms.DateInput(attrs={"type": "date"}))

    def clean(self) -> dict[str, Any]:
        cleaned = super().clean() or {}
        start, end = cleaned.get("start"), cleaned.get("end")
        if start and end and start > end:
            self.add_error("end", f"It ends before it begins on {start}.")
        return cleaned

    @property
    def span(self) -> tuple[datetime | None, datetime | None]:
        """The first moment of the first day and the last second of the last one, UTC."""
        start, end = self.cleaned_data.get("start"), self.cleaned_data.get("end")
        last = datetime.combine(end + timedelta(days=1), time(), UTC) - timedelta(seconds=1) if end else None
        return _midnight(start), last


def _midnight(day: date | None) -> datetime | None:
    return datetime.combine(day, time(), UTC) if day else None


class FetchForm(SpanForm):
    """History from a source."""

    source = forms.ChoiceField(label="From where")
    interval_seconds = forms.TypedChoiceField(
        label="Length of a bar", coerce=int, choices=interval_choices(USUAL), initial=DAY
    )

    field_order = ("source", "interval_seconds", "start", "end")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["source"].choices = list(registry.names().items())  # type: ignore[attr-defined]
        self.fields["start"].help_text = "Empty: as far back as the source goes."
        self.fields["end"].help_text = "Empty: until now."


class StreamForm(SpanForm):
    """A new stream: a replay of stored bars, or bars as they happen."""

    name = forms.SlugField(
        max_length=60,
        help_text="Small letters, digits and hyphens, such as spy-live.",
        error_messages={"invalid": "Use letters, digits and hyphens only, such as spy-live."},
    )
    source = forms.ChoiceField(label="Kind", choices=Stream.Source.choices)
    instruments = forms.ModelMultipleChoiceField(
        Instrument.objects.order_by("symbol"),
        label="Instruments",
        widget=forms.CheckboxSelectMultiple,
        error_messages={"required": "Choose at least one instrument."},
    )
    interval_seconds = forms.TypedChoiceField(
        label="Length of a bar", coerce=int, choices=interval_choices(USUAL), initial=60
    )
    speed = forms.ChoiceField(
        required=False,
        choices=[(value, value) for value in dict.fromkeys((*INTRADAY_SPEEDS, *DAILY_SPEEDS))],
        initial="100x",
        help_text="10x is ten times real time; 5/s is five bars a second.",
    )
    start_now = forms.BooleanField(required=False, initial=True, label="Start it at once")

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["start"].help_text = "Empty: from the first stored bar."
        self.fields["end"].help_text = "Empty: until the last stored bar."

    field_order = ("source", "name", "instruments", "interval_seconds", "start", "end", "speed", "start_now")

    def clean_name(self) -> str:
        name = self.cleaned_data["name"].lower()
        if Stream.objects.filter(name=name).exists():
            raise forms.ValidationError(f"There is a stream called {name} already.")
        return name


class ReasonForm(Dressed, forms.Form):
    """Why somebody clears a fault."""

    reason = forms.CharField(
        max_length=240,
        error_messages={"required": "Say why, in a few words: it goes into the journal."},
    )


class UploadForm(Dressed, forms.Form):
    """A file to look into, and what it is about."""

    file = forms.FileField(
        label="File",
        help_text="CSV or Parquet, at most 200 MB: a time, open, high, low, close and, if there is one, volume.",
        error_messages={"required": "Choose a file.", "empty": "The file is empty.", "missing": "Choose a file."},
    )
    instrument = forms.ModelChoiceField(
        Instrument.objects.order_by("symbol"), error_messages={"required": "Choose the instrument the bars are of."}
    )

    def clean_file(self) -> Any:
        file = self.cleaned_data["file"]
        if file.size > LARGEST_FILE:
            raise forms.ValidationError(
                f"The file has {file.size / 1e6:,.0f} MB; the page takes at most {LARGEST_FILE / 1e6:,.0f} MB."
                " Import it with manage.py import_bars, or in parts."
            )
        return file
