"""One headline as a source gives it. Pure."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


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
