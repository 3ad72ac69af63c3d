"""What the cards of the Data page show, read from rows; templates do the wording."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

from django.db.models import Q
from django.utils import timezone

from core.models import Instrument
from marketdata.bar_store import MADE
from marketdata.explorer_queries import Stored, stored_series
from marketdata.explorer_question import USUAL, offered
from marketdata.models import DAY, CorporateAction, DataFault, HealthCheck, NewsItem, SentimentScore
from marketdata.sources import registry

N_ROWS = 8
WORST_FIRST = (DataFault.Severity.BLOCKING, DataFault.Severity.WARNING, DataFault.Severity.NOTE)
DOTS = {DataFault.Severity.BLOCKING: "loss", DataFault.Severity.WARNING: "warn", DataFault.Severity.NOTE: "off"}
OTHER_SOURCES = {"demo": "demonstration", "file": "file", "ticks": "ticks"}


def interval_words(seconds: int) -> str:
    """1 s, 5 min, 1 h, 1 day."""
    for unit, name in ((DAY, "day"), (3600, "h"), (60, "min")):
        if seconds % unit == 0:
            n = seconds // unit
            return f"{n} {name}{'s' if name == 'day' and n > 1 else ''}"
    return f"{seconds} s"


def source_words(source: str) -> str:
    """A source as people call it."""
    if source.startswith(MADE) and source.removeprefix(MADE).isdecimal():
        return f"made of {interval_words(int(source.removeprefix(MADE)))}"
    return registry.names().get(source) or OTHER_SOURCES.get(source, source)


@dataclass
class InstrumentRow:
    """One line of the instruments table."""

    instrument: Instrument
    series: list[Stored] = field(default_factory=list)
    faults: list[DataFault] = field(default_factory=list)
    checked_at: datetime | None = None

    @property
    def first(self) -> datetime | None:
        return min((row.first for row in self.series), default=None)

    @property
    def last(self) -> datetime | None:
        return max((row.last for row in self.series), default=None)

    @property
    def is_now(self) -> bool:
        """Whether its newest bar began within the last two of its lengths."""
        newest = [row for row in self.series if row.last == self.last]
        return any(timezone.now() - row.last < timedelta(seconds=2 * row.interval_seconds) for row in newest)

    @property
    def sources(self) -> str:
        return ", ".join(dict.fromkeys(source_words(row.source) for row in self.series))

    @property
    def amounts(self) -> list[tuple[str, int, bool]]:
        """Interval in words, bars, and whether that is all of them."""
        return [(interval_words(row.interval_seconds), row.n_bars, row.exact) for row in self.series]

    @property
    def worst(self) -> DataFault | None:
        return min(self.faults, key=lambda fault: WORST_FIRST.index(fault.severity), default=None)

    @property
    def dot(self) -> str:
        worst = self.worst
        if worst is not None:
            return DOTS[DataFault.Severity(worst.severity)]
        return "" if self.checked_at else "off"

    @property
    def searched(self) -> str:
        """What a search looks in."""
        return f"{self.instrument.symbol} {self.instrument.name} {self.instrument.exchange}".lower()


def instrument_rows(text: str = "") -> list[InstrumentRow]:
    """Instruments whose symbol or name holds the text, with what is stored of each."""
    instruments = Instrument.objects.order_by("symbol")
    if text:
        instruments = instruments.filter(Q(symbol__icontains=text) | Q(name__icontains=text))
    rows = {instrument.pk: InstrumentRow(instrument) for instrument in instruments}
    for stored in stored_series():
        if stored.instrument_id in rows:
            rows[stored.instrument_id].series.append(stored)
    for fault in open_faults(rows):
        rows[fault.instrument_id].faults.append(fault)
    for check in HealthCheck.objects.filter(instrument__in=rows):
        row = rows[check.instrument_id]
        row.checked_at = max(filter(None, (row.checked_at, check.checked_at)))
    return list(rows.values())


def open_faults(instruments: Iterable[int]) -> list[DataFault]:
    """Faults nobody has cleared yet, worst first."""
    faults = DataFault.objects.filter(instrument__in=list(instruments), cleared_at=None).select_related("instrument")
    return sorted(faults, key=lambda fault: (WORST_FIRST.index(fault.severity), fault.interval_seconds, fault.kind))


def find(symbol: str) -> Instrument | None:
    """The instrument of that symbol, whichever way it is written."""
    return (
        Instrument.objects.filter(symbol=symbol).first()
        or Instrument.objects.filter(symbol__iexact=symbol).order_by("pk").first()
    )


def first_choice() -> Instrument | None:
    """What the page opens with: the instrument with the newest bar of the shortest interval."""
    series = stored_series()
    if not series:
        return Instrument.objects.order_by("symbol").first()
    chosen = min(series, key=lambda row: (row.interval_seconds, -row.last.timestamp()))
    return Instrument.objects.filter(pk=chosen.instrument_id).first()


@dataclass(frozen=True)
class Choice:
    """One interval of the switch."""

    seconds: int
    words: str
    base: int  # the stored interval it is made of

    @property
    def made_of(self) -> str:
        return "" if self.base == self.seconds else interval_words(self.base)


def choices(series: list[Stored]) -> list[Choice]:
    """Intervals the chart can be switched to."""
    stored = sorted(row.interval_seconds for row in series)
    return [Choice(seconds, interval_words(seconds), base) for seconds, base in offered(stored)]


def opening(found: list[Choice]) -> int:
    """The interval a chart opens with: the shortest usual one that is stored as it is."""
    stored = [choice.seconds for choice in found if not choice.made_of]
    return min((seconds for seconds in stored if seconds in USUAL), default=min(stored, default=DAY))


def faults_view(instrument: Instrument | None) -> dict[str, Any]:
    """Open faults of an instrument, and when somebody last looked."""
    if instrument is None:
        return {"faults": [], "checks": []}
    rows = [
        {
            "fault": fault,
            "dot": DOTS[DataFault.Severity(fault.severity)],
            "interval": interval_words(fault.interval_seconds),
        }
        for fault in open_faults([instrument.pk])
    ]
    checks = HealthCheck.objects.filter(instrument=instrument).order_by("interval_seconds")
    return {"faults": rows, "checks": [(interval_words(check.interval_seconds), check) for check in checks]}


def actions(instrument: Instrument | None) -> list[CorporateAction]:
    """The newest splits and dividends."""
    if instrument is None:
        return []
    return list(CorporateAction.objects.filter(instrument=instrument).order_by("-ex_date")[:N_ROWS])


@dataclass(frozen=True)
class Headline:
    """One item of news with its newest score; an address is only a link when it is one of the web."""

    item: NewsItem
    score: SentimentScore | None

    @property
    def address(self) -> str:
        return self.item.url if self.item.url.startswith(("https://", "http://")) else ""


def news(instrument: Instrument | None) -> list[Headline]:
    """The newest headlines about an instrument."""
    if instrument is None:
        return []
    items = NewsItem.objects.filter(instruments=instrument).prefetch_related("scores").order_by("-time")[:6]
    return [Headline(item, max(item.scores.all(), key=lambda score: score.pk, default=None)) for item in items]
