"""Looks for news everywhere it may come from, then scores it. Run by a task; one source's trouble is its own."""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from django.conf import settings
from django.db.models import Q

from core.models import Instrument
from marketdata.models import DataSettings, Fetch, Stream
from marketdata.news import feeds, store
from marketdata.news.headline import NewsSlowDown, NewsUnavailable

if TYPE_CHECKING:
    from marketdata.sources.yahoo_client import YahooClient

logger = logging.getLogger(__name__)
MOST_SECONDS = 60.0  # of asking in one look; a task is ended after 120


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
    found, until = Refreshed(), time.monotonic() + MOST_SECONDS
    addresses = [str(address) for address in DataSettings.load().news_feeds]
    _ask_each(found, until, {address: partial(_from_feed, address) for address in addresses})
    instruments = _instruments(symbols)
    if instruments:
        from marketdata.sources.yahoo_client import YahooClient  # here: yfinance takes a second to import

        with closing(YahooClient(address=settings.YAHOO_ADDRESS)) as client:  # one for all: it asks for cookies once
            _ask_each(found, until, {one.symbol: partial(_from_yahoo, client, one) for one in instruments})
    found.n_scored = store.score_pending()
    return found


def _ask_each(found: Refreshed, until: float, questions: dict[str, Callable[[], int]]) -> None:
    """In any order, so that when time runs out it is not always the same ones that are left."""
    names = random.sample(list(questions), len(questions))
    for n_asked, name in enumerate(names):
        if time.monotonic() > until:
            _note(found, f"no time was left to ask about {', '.join(names[n_asked:])}; the next look begins anew")
            return
        try:
            found.n_new += questions[name]()
        except NewsUnavailable as problem:
            _note(found, str(problem))
            if isinstance(problem, NewsSlowDown):
                return


def _from_feed(address: str) -> int:
    return store.store_headlines(feeds.read_feed(address), "rss")


def _from_yahoo(client: YahooClient, instrument: Instrument) -> int:
    from marketdata.news.yahoo_news import read_yahoo

    return store.store_headlines(read_yahoo(client, instrument.symbol), "yahoo", instrument)


def _instruments(symbols: list[str] | None) -> list[Instrument]:
    if symbols is not None:
        return list(Instrument.objects.filter(symbol__in=symbols))
    fetched = Q(pk__in=Fetch.objects.filter(source="yahoo").values("instrument_id"))
    streamed = Q(streams__in=Stream.objects.filter(source=Stream.Source.YAHOO))
    return list(Instrument.objects.filter(fetched | streamed).distinct())


def _note(found: Refreshed, problem: str) -> None:
    logger.warning("%s", problem)
    found.problems.append(problem)
