"""Headlines about one symbol from Yahoo, through yfinance. Pure."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from yfinance import Ticker
from yfinance.exceptions import YFRateLimitError

from marketdata.news.headline import Headline, NewsSlowDown, NewsUnavailable, clean, name_of, plain
from marketdata.sources.yahoo_client import YahooClient


def read_yahoo(client: YahooClient, symbol: str, *, count: int = 20) -> list[Headline]:
    """Yahoo's latest headlines about `symbol` (as Yahoo spells it), newest first.

    Raises: NewsSlowDown when Yahoo wants fewer questions; NewsUnavailable when it does not answer or sends something
    else.
    """
    what = f"news about {symbol}"
    try:
        with client.using() as data:
            ticker = Ticker(symbol, session=data._session)
            items = ticker.get_news(count=count)
            if data._session.status != 200:
                raise ValueError("no answer to the question")
    except YFRateLimitError as error:
        raise NewsSlowDown(clean(str(client.explain(error, what)))) from error
    except Exception as error:  # yfinance and its transport raise whatever came up; none of it may stop anything
        raise NewsUnavailable(clean(str(client.explain(error, what)))) from error
    if not isinstance(items, list):
        raise NewsUnavailable(f"Yahoo's news about {symbol} came in a form nobody knows")
    found = [_headline(item) for item in items]
    return sorted((one for one in found if one is not None), key=lambda one: one.time, reverse=True)


def _headline(item: Any) -> Headline | None:
    """One item, or None when it lacks title, time or name."""
    try:
        content = item.get("content", item)
        time = datetime.fromisoformat(str(content["pubDate"]))
        title, guid = plain(str(content["title"])), str(item.get("id") or content["id"])
        address = clean(str((content.get("canonicalUrl") or content.get("clickThroughUrl") or {}).get("url") or ""))
    except (AttributeError, KeyError, TypeError, ValueError):
        return None
    time = time.astimezone(UTC) if time.tzinfo else time.replace(tzinfo=UTC)
    url = address if address.startswith(("http://", "https://")) else ""
    summary = plain(str(content.get("summary") or content.get("description") or ""))
    return Headline(time, title[:500], name_of(f"yahoo:{guid}"), summary[:4000], url[:1000]) if title else None
