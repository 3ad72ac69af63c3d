"""One question over HTTP whose whole answer has to come within a time and a size. Pure."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

import httpx


class NoAnswer(Exception):
    """Nothing usable came; the message says what happened."""


@dataclass(frozen=True)
class Answer:
    """What came, whatever its status."""

    status: int
    body: bytes
    content_type: str


def ask(
    method: str, address: str, *, seconds: float, most_bytes: int, follow_redirects: bool = False, **options: Any
) -> Answer:
    """The answer to one request. options: as httpx.request takes them, such as headers and json.

    seconds: for everything together. httpx itself limits each piece only: one byte a second would hold us for hours.
    Raises: NoAnswer, also when more than most_bytes come (counted unpacked).
    """
    try:
        return asyncio.run(_ask(method, address, seconds, most_bytes, follow_redirects, options))
    except TimeoutError as error:
        raise NoAnswer(f"no whole answer within {seconds:g} s") from error
    # ValueError: a header or host name with characters that cannot be sent
    except (httpx.HTTPError, httpx.InvalidURL, ValueError) as error:
        raise NoAnswer(str(error) or type(error).__name__) from error


async def _ask(
    method: str, address: str, seconds: float, most_bytes: int, follow_redirects: bool, options: dict[str, Any]
) -> Answer:
    received = bytearray()
    async with (
        asyncio.timeout(seconds),
        httpx.AsyncClient(timeout=seconds, follow_redirects=follow_redirects) as client,
        client.stream(method, address, **options) as answer,
    ):
        async for part in answer.aiter_bytes():
            received += part
            if len(received) > most_bytes:
                raise NoAnswer(f"it sent more than {most_bytes:,} bytes")
    return Answer(answer.status_code, bytes(received), answer.headers.get("Content-Type", ""))
