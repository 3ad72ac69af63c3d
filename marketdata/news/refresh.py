"""Looks for news everywhere it may come from, then scores it. Run by a task; one source's trouble is its own."""

from __future__ import annotations

import logging
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import partial

from django.conf import settings
from django.db.models import Q

from core.models import Instrument
from marketdata.models import DataSettings, Fetch, Stream
from marketdata.news import feeds, store
from marketdata.news.headline import NewsUnavailable

logger = logging.getLogger(__name__)


@dataclass
class Refreshed:
    """What one look brought."""

    n_new: int = 0
    n_scored: int = 0
    problems: list[str] = field(default_factory=list)


def refresh(symbols: list[str] | None = None) -> Refreshed:
    """Ask the feeds, and Yahoo about each instrument, then score what is new.

    symbols: only these instruments; None takes those that come from Yahoo anyway, since others it may not know.
    """
    found = Refreshed()
    for address in DataSettings.load().news_feeds:
        _take(found, partial(_from_feed, str(address)))
    for instrument in _instruments(symbols):
        _take(found, partial(_from_yahoo, instrument))
    found.n_scored = store.score_pending()
    return found


def _from_feed(address: str) -> int:
    return store.store_headlines(feeds.read_feed(address), "rss")


def _from_yahoo(instrument: Instrument) -> int:
    # Here, because yfinance takes a second to import.
    from marketdata.news.yahoo_news import read_yahoo
    from marketdata.sources.yahoo_client import YahooClient

    client = YahooClient(address=settings.YAHOO_ADDRESS)
    return store.store_headlines(read_yahoo(client, instrument.symbol), "yahoo", instrument)


def _instruments(symbols: list[str] | None) -> list[Instrument]:
    if symbols is not None:
        return list(Instrument.objects.filter(symbol__in=symbols))
    fetched = Q(pk__in=Fetch.objects.filter(source="yahoo").values("instrument_id"))
    streamed = Q(streams__in=Stream.objects.filter(source=Stream.Source.YAHOO))
    return list(Instrument.objects.filter(fetched | streamed).distinct())


def _take(found: Refreshed, read: Callable[[], int]) -> None:
    try:
        found.n_new += read()
    except NewsUnavailable as problem:
        logger.warning("%s", problem)
        found.problems.append(str(problem))
