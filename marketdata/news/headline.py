"""One headline as a source gives it. Pure."""

from __future__ import annotations

import hashlib
import html
import re
from dataclasses import dataclass
from datetime import datetime

MOST_LETTERS = 20_000  # of a text that is read at all
_MOST_GUID = 300  # letters of NewsItem.guid
# What no database and no page can hold: control characters and halves of a pair.
_UNUSABLE = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f\ud800-\udfff]")


@dataclass(frozen=True)
class Headline:
    """What was published, before it is stored."""

    time: datetime  # published, aware, UTC
    title: str
    guid: str  # the source's own name for it, or its address
    summary: str = ""
    url: str = ""


class NewsUnavailable(Exception):
    """A source of news did not give any; the message says what arrived. The next look is soon enough."""


class NewsSlowDown(NewsUnavailable):
    """The source wants fewer questions: ask it nothing more in this look."""


def clean(text: str) -> str:
    """Text that can be stored and shown, on one line."""
    return " ".join(_UNUSABLE.sub(" ", text).split())


def plain(text: str) -> str:
    """Text without markup, entities and double spaces."""
    # [^<>]: with [^>] a text of nothing but "<" takes the square of its length.
    return clean(html.unescape(re.sub(r"<[^<>]*>", " ", (text or "")[:MOST_LETTERS])))


def name_of(guid: str) -> str:
    """A source's name for an item, short enough to store; long ones stay different from each other."""
    cleaned = clean(guid)
    if len(cleaned) <= _MOST_GUID:
        return cleaned
    digest = hashlib.sha256(cleaned.encode()).hexdigest()
    return f"{cleaned[: _MOST_GUID - len(digest) - 1]}#{digest}"
