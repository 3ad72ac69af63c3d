"""Headlines about one symbol from Yahoo, through yfinance. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from yfinance import Ticker

from marketdata.news.feeds import plain
from marketdata.news.headline import Headline, NewsUnavailable
from marketdata.sources.base import SourceError
from marketdata.sources.yahoo_client import YahooClient


def read_yahoo(client: YahooClient, symbol: str, *, count: int = 20) -> list[Headline]:
    """Yahoo's latest headlines about `symbol` (as Yahoo spells it), newest first.

    Raises: NewsUnavailable when Yahoo does not answer, asks us to slow down, or sends something else.
    """
    try:
        with client.using() as data:
            ticker = Ticker(symbol, session=data._session)
            items = ticker.get_news(count=count)
    except SourceError as error:
        raise NewsUnavailable(str(error)) from error
    except Exception as error:  # yfinance and its transport raise whatever came up; none of it may stop anything
        raise NewsUnavailable(f"Yahoo's news about {symbol} could not be read: {str(error)[:160]}") from error
    if not isinstance(items, list):
        raise NewsUnavailable(f"Yahoo's news about {symbol} came in a form nobody knows")
    found = [_headline(item) for item in items]
    return sorted((one for one in found if one is not None), key=lambda one: one.time, reverse=True)


def _headline(item: Any) -> Headline | None:
    """One item, or None when it lacks title, time or name."""
    content = item.get("content", item) if isinstance(item, dict) else {}
    try:
        time = datetime.fromisoformat(str(content["pubDate"]).replace("Z", "+00:00")).astimezone(UTC)
        title, guid = plain(str(content["title"])), str(item.get("id") or content["id"])
    except (KeyError, TypeError, ValueError):
        return None
    address = (content.get("canonicalUrl") or content.get("clickThroughUrl") or {}).get("url") or ""
    url = address if address.startswith(("http://", "https://")) else ""
    summary = plain(str(content.get("summary") or content.get("description") or ""))
    return Headline(time, title, f"yahoo:{guid}", summary, url) if title else None
