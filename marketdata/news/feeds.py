"""Headlines from RSS and Atom feeds. Pure: an address in, headlines out."""

from __future__ import annotations

import calendar
import html
import re
from datetime import UTC, datetime
from typing import Any

import feedparser
import httpx

from marketdata.news.headline import Headline, NewsUnavailable

TIMEOUT_SECONDS = 10.0
MOST_BYTES = 5 * 1024 * 1024
MOST_ITEMS = 200


def read_feed(address: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> list[Headline]:
    """The feed's headlines, newest first. Entries without a title or a time are left out.

    Raises: NewsUnavailable when it does not answer, is no feed, or is too large.
    """
    if not address.startswith(("http://", "https://")):
        raise NewsUnavailable(f"{address[:80]!r} is not an address: it must begin with http:// or https://")
    parsed = feedparser.parse(_download(address, timeout_seconds))
    if not parsed.entries and (parsed.bozo or not parsed.get("version")):
        raise NewsUnavailable(f"{address} answered, but not with an RSS or Atom feed")
    found = [_headline(entry) for entry in parsed.entries[:MOST_ITEMS]]
    return sorted((one for one in found if one is not None), key=lambda one: one.time, reverse=True)


def _download(address: str, timeout_seconds: float) -> bytes:
    received = bytearray()
    try:
        with httpx.stream(
            "GET", address, timeout=timeout_seconds, follow_redirects=True, headers={"User-Agent": "rl-trading-desk"}
        ) as answer:
            if answer.status_code != 200:
                raise NewsUnavailable(f"{address} answered {answer.status_code}")
            for part in answer.iter_bytes():
                received += part
                if len(received) > MOST_BYTES:
                    raise NewsUnavailable(f"{address} sent more than {MOST_BYTES:,} bytes; that is no feed")
    except (httpx.HTTPError, httpx.InvalidURL) as error:
        raise NewsUnavailable(f"{address} did not answer as expected: {error or type(error).__name__}") from error
    return bytes(received)


def _headline(entry: Any) -> Headline | None:
    moment = entry.get("published_parsed") or entry.get("updated_parsed")
    title = plain(entry.get("title", ""))
    guid = entry.get("id") or entry.get("link")
    if not moment or not title or not guid:
        return None
    try:
        time = datetime.fromtimestamp(calendar.timegm(moment), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    link = entry.get("link", "")
    url = link if link.startswith(("http://", "https://")) else ""  # never a script behind a click
    return Headline(time, title[:500], str(guid)[:300], plain(entry.get("summary", ""))[:4000], url[:1000])


def plain(text: str) -> str:
    """Text without markup, entities and double spaces."""
    return re.sub(r"\s+", " ", html.unescape(re.sub(r"<[^>]*>", " ", text or ""))).strip()
