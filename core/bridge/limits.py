"""How long the bridge's answer may take as a whole."""

from __future__ import annotations

import time
from collections.abc import Iterator

import httpx


class _Limited(httpx.SyncByteStream):
    """A body that has to be complete at a moment: httpx limits only the wait for each piece of it."""

    def __init__(self, body: httpx.SyncByteStream, seconds: float) -> None:
        self._body, self._until = body, time.monotonic() + seconds

    def __iter__(self) -> Iterator[bytes]:
        for part in self._body:
            if time.monotonic() > self._until:
                raise httpx.ReadTimeout("the answer goes on for too long")
            yield part

    def close(self) -> None:
        self._body.close()


def limit(response: httpx.Response) -> None:
    """Give the whole body as long as the request gives each piece. A hook of httpx, called before the body is read."""
    body = response.stream
    assert isinstance(body, httpx.SyncByteStream)  # the client is no asynchronous one
    response.stream = _Limited(body, response.request.extensions["timeout"]["read"])
