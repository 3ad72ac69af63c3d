"""Which sources there are. Each is imported only when it is asked for, so a missing package breaks that one alone."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any

from django.conf import settings

from core.models import Instrument
from marketdata.sources.base import Asked, Source, SourceRefusedError

FILE = "file"  # a fetch from an uploaded file; no source that could be asked, see file_import.py
# Options of a stream or fetch that are the desk's own business and not passed on to the source.
OURS = ("refresh", "covered", "problems", "grace_seconds", "symbols")

_TICKS_ONLY = (1,)  # lengths for which Interactive Brokers has ticks, but no live bars


def _yahoo() -> Source:
    from marketdata.sources.yahoo import YahooSource

    return YahooSource(address=getattr(settings, "YAHOO_ADDRESS", None))


def _bridge() -> Source:
    from marketdata.sources.bridge import BridgeSource

    return BridgeSource(getattr(settings, "BRIDGE_ADDRESS", ""), getattr(settings, "BRIDGE_TOKEN", ""))


def _ccxt() -> Source:
    from marketdata.sources.ccxt_source import CcxtSource

    return CcxtSource()


def _simulator() -> Source:
    from marketdata.sources.simulator import SimulatorSource

    return SimulatorSource()


_SOURCES: dict[str, tuple[str, Callable[[], Source]]] = {
    "yahoo": ("Yahoo", _yahoo),
    "bridge": ("Interactive Brokers through the bridge", _bridge),
    "ccxt": ("Crypto exchange", _ccxt),
    "simulator": ("Simulated market", _simulator),
}


def names() -> dict[str, str]:
    """Every source that can be asked: its name and what to call it on a page."""
    return {name: label for name, (label, _) in _SOURCES.items()}


def source(name: str) -> Source:
    """The source of that name, ready to be asked.

    Raises: SourceRefusedError for an unknown name, or one whose package is not installed.
    """
    if name not in _SOURCES:
        raise SourceRefusedError(f"there is no source {name!r}; known: {', '.join(_SOURCES)}")
    label, make = _SOURCES[name]
    try:
        return make()
    except ModuleNotFoundError as error:
        raise SourceRefusedError(f"{label} cannot be used: the package {error.name} is not installed") from error


def live_intervals(name: str) -> tuple[int, ...]:
    """Seconds of the bars a source can bring as they happen; empty: any. Raises: as source."""
    if name == "yahoo":
        from marketdata.sources.yahoo import LIVE

        return tuple(LIVE)
    if name == "bridge":
        from marketdata.sources.bridge import LIVE_BARS

        return (*_TICKS_ONLY, *LIVE_BARS)
    return source(name).intervals


def brings_bars(name: str, interval_seconds: int, options: dict[str, Any]) -> bool:
    """Whether a live source brings bars of this length itself; otherwise its ticks have to be made into bars.

    Bars of the source are what its history holds too, so they are preferred where it has both.
    """
    if name == "simulator":
        return not options.get("ticks")
    return name != "bridge" or interval_seconds not in _TICKS_ONLY


def asked(
    instrument: Instrument,
    interval_seconds: int,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    options: dict[str, Any] | None = None,
) -> Asked:
    """What to ask a source for one instrument, in the source's spelling.

    options: of the stream or fetch. "symbols" says how the source spells ours, such as {"VIX": "^VIX"}; the
    instrument's calendar and price step go along for sources that need them.
    """
    given = dict(options or {})
    symbol = (given.get("symbols") or {}).get(instrument.symbol, instrument.symbol)
    facts = {"calendar": instrument.calendar, "tick_size": float(instrument.tick_size)}
    kept = {name: value for name, value in given.items() if name not in OURS}
    return Asked(symbol, interval_seconds, start=start, end=end, options=facts | kept)
