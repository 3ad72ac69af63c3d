"""What every source of market data offers: history, live and search. Pure: sources know nothing of our tables."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from typing import Any, Protocol

from marketdata.series import BarSeries
from marketdata.ticks.series import TickBatch


class SourceError(Exception):
    """The source did not give what was asked for; the message says what arrived and what to do."""


class SourceUnavailableError(SourceError):
    """It does not answer, or asks us to slow down: try again later."""

    def __init__(self, message: str, *, retry_after_seconds: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_seconds = retry_after_seconds  # what the source itself asked for


class SourceRefusedError(SourceError):
    """It will never give this: an unknown symbol, an interval it does not have, a missing setting or package."""


@dataclass(frozen=True)
class Found:
    """One instrument a search found, in the words of core.models.Instrument."""

    symbol: str  # as this source spells it
    name: str
    asset_class: str  # Instrument.AssetClass value
    exchange: str = ""
    currency: str = "USD"
    calendar: str = "XNYS"


@dataclass(frozen=True)
class Asked:
    """What is wanted of one instrument."""

    symbol: str  # as the source spells it
    interval_seconds: int
    start: datetime | None = None  # aware, UTC; None: as far back as the source goes
    end: datetime | None = None  # aware, UTC; None: until now
    options: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Action:
    """A split or dividend as a source reports it."""

    ex_date: date
    kind: str  # "split" or "dividend"
    value: float  # new shares for one old share, or money a share


@dataclass(frozen=True)
class Part:
    """A piece of history, oldest first; the next piece continues after it."""

    series: BarSeries
    actions: list[Action] = field(default_factory=list)
    in_prices: bool = False  # the prices already contain these actions
    done: float = 1.0  # share of what was asked for that has come so far, 0 to 1
    n_bad: int = 0  # rows the source sent that are not bars
    problems: list[str] = field(default_factory=list)  # why, in words


@dataclass(frozen=True)
class Update:
    """What has come since the last update of a live feed; often nothing."""

    bars: dict[str, BarSeries] = field(default_factory=dict)  # closed bars by symbol, oldest first
    ticks: dict[str, TickBatch] = field(default_factory=dict)
    next_look: datetime | None = None  # when a polled source is asked again
    problem: str = ""  # why nothing comes just now; empty when all is well


class Source(Protocol):
    """One source. Each module has one class with these and registers it in sources/registry.py."""

    name: str  # as stored with every bar, at most 12 characters
    label: str  # in plain words
    intervals: tuple[int, ...]  # lengths of bars it has, in seconds; empty: any

    def search(self, text: str, limit: int = 10) -> list[Found]:
        """Instruments whose symbol or name resembles the text, best first. Raises: SourceError."""

    def history(self, asked: Asked) -> Iterator[Part]:
        """The bars asked for, oldest first, in pieces, so that progress shows. Raises: SourceError."""

    def live(self, asked: list[Asked]) -> Iterator[Update]:
        """Endless: yields at least once a second, empty if nothing came, so that its process can beat and stop.

        A problem that passes is an update with `problem`; one that needs a person raises SourceRefusedError.
        Closing the iterator ends the connection.
        """
