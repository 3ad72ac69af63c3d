"""Headlines from RSS and Atom feeds. Pure: an address in, headlines out."""

from __future__ import annotations

import calendar
import io
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

import feedparser

from marketdata.news import web
from marketdata.news.headline import Headline, NewsUnavailable, clean, name_of, plain

TIMEOUT_SECONDS = 10.0
MOST_BYTES = 5 * 1024 * 1024
MOST_ITEMS = 200
_EVERYWHERE = ("http://", "https://", "tag:", "urn:")  # names that mean the same in every feed


def read_feed(address: str, *, timeout_seconds: float = TIMEOUT_SECONDS) -> list[Headline]:
    """The feed's headlines, newest first. Entries without a title or a time are left out.

    Raises: NewsUnavailable when it does not answer within the time, is no feed, or is too large.
    """
    if not address.startswith(("http://", "https://")):
        raise NewsUnavailable(f"{address[:80]!r} is not an address: it must begin with http:// or https://")
    parsed = _parsed(_download(address, timeout_seconds))
    if not parsed.entries and (parsed.bozo or not parsed.get("version")):
        raise NewsUnavailable(f"{address} answered, but not with an RSS or Atom feed")
    found = [_headline(entry, address) for entry in parsed.entries[:MOST_ITEMS]]
    return sorted((one for one in found if one is not None), key=lambda one: one.time, reverse=True)


def _download(address: str, timeout_seconds: float) -> web.Answer:
    try:
        answer = web.ask(
            "GET", address, seconds=timeout_seconds, most_bytes=MOST_BYTES, follow_redirects=True,
            headers={"User-Agent": "rl-trading-desk"},
        )  # fmt: skip
    except web.NoAnswer as error:
        raise NewsUnavailable(f"{address} did not answer as expected: {clean(str(error))[:200]}") from error
    if answer.status != 200:
        raise NewsUnavailable(f"{address} answered {answer.status}")
    return answer


def _parsed(answer: web.Answer) -> Any:
    try:
        answer.body.decode()
        headers = {}  # many servers name a wrong encoding beside UTF-8
    except UnicodeDecodeError:
        headers = {"content-type": answer.content_type}
    # As a stream: bytes alone would be tried as the name of a file on this machine first.
    return feedparser.parse(io.BytesIO(answer.body), response_headers=headers)


def _headline(entry: Any, address: str) -> Headline | None:
    moment = entry.get("published_parsed") or entry.get("updated_parsed")
    title = plain(entry.get("title", ""))
    guid = entry.get("id") or entry.get("link")
    if not moment or not title or not guid:
        return None
    try:
        time = datetime.fromtimestamp(calendar.timegm(moment), UTC)
    except (ValueError, OverflowError, OSError):
        return None
    if time.timestamp() <= 0:
        return None  # 1 January of the year 1 or of 1970: a program's word for no time
    link = clean(entry.get("link", ""))
    url = link if link.startswith(("http://", "https://")) else ""  # never a script behind a click
    return Headline(time, title[:500], _guid(str(guid), address), plain(entry.get("summary", ""))[:4000], url[:1000])


def _guid(guid: str, address: str) -> str:
    """The item's name; a bare one, such as 17, means something else in the next site's feed."""
    if guid.lower().startswith(_EVERYWHERE):
        return name_of(guid)
    parts = urlsplit(address)
    return name_of(f"{parts.hostname}{f':{parts.port}' if parts.port else ''}/{guid}")
