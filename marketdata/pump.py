"""Reads a source in a thread of its own, so that its process beats and obeys however long an answer takes."""

from __future__ import annotations

import queue
import threading
from collections.abc import Iterator
from typing import Generic, TypeVar

T = TypeVar("T")
_LOOK_SECONDS = 0.2  # how soon a thread that waits for room notices that nobody wants more


class Pump(Generic[T]):
    """Items of an iterator as they come. The iterator must not use the database: it runs in another thread."""

    def __init__(self, items: Iterator[T], *, n_ahead: int = 32) -> None:
        """n_ahead: items the source may be ahead; then it waits, so that memory stays flat."""
        self.ended = False
        self._items = items
        self._queue: queue.Queue[tuple[T | None, BaseException | None]] = queue.Queue(n_ahead)
        self._unwanted = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True, name="source")
        self._thread.start()

    def get(self, seconds: float) -> T | None:
        """The next item; None if none came in so many seconds or, then `ended` is set, if there are no more.

        Raises: what the iterator raised.
        """
        if self.ended:
            return None
        try:
            item, error = self._queue.get(timeout=max(seconds, 0.0))
        except queue.Empty:
            return None
        if item is None:
            self.ended = True
            if error is not None:
                raise error
        return item

    def close(self) -> None:
        """Want no more. The thread closes the iterator, and with it the connection, as soon as it gets hold of it."""
        self._unwanted.set()

    def _run(self) -> None:
        error: BaseException | None = None
        try:
            for item in self._items:
                if not self._put((item, None)):
                    break
        except BaseException as raised:  # handed to whoever reads
            error = raised
        finally:
            close = getattr(self._items, "close", None)
            if close is not None:
                close()
        self._put((None, error))

    def _put(self, entry: tuple[T | None, BaseException | None]) -> bool:
        while not self._unwanted.is_set():
            try:
                self._queue.put(entry, timeout=_LOOK_SECONDS)
                return True
            except queue.Full:
                continue
        return False
