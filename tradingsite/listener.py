"""The bridge from PostgreSQL to the pages: one LISTEN connection per web process, and this process's heartbeat."""

import asyncio
import contextlib
import json
import logging
from typing import Any

import psycopg
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from django.db import close_old_connections, connections

from core import health
from core.notices import CHANNEL
from tradingsite.consumers import GROUP

log = logging.getLogger(__name__)

BEAT_SECONDS = 2.0
# Notices are collected this long and sent as one message: a fast replay must not fill the sockets' queues.
COLLECT_SECONDS = 0.02
SHORTEST_WAIT, LONGEST_WAIT = 0.25, 10.0
DJANGO_ONLY = {"cursor_factory", "context", "prepare_threshold", "server_side_binding", "pool", "isolation_level"}
REFRESH = {"kind": "refresh"}
BEAT = {"kind": "beat"}


class Listener:
    """Listens, forwards and beats until stopped; survives a killed connection and then tells every page to refresh."""

    def __init__(self) -> None:
        self._tasks: list[asyncio.Task[None]] = []
        self._collected: dict[str, dict[str, Any]] = {}
        self._arrived = asyncio.Event()
        self._stopping = asyncio.Event()
        self.listening = asyncio.Event()

    def start(self) -> None:
        """Begin, inside the running event loop."""
        self._tasks = [asyncio.create_task(job()) for job in (self._listen_for_ever, self._forward, self._beat)]

    async def stop(self) -> None:
        """End all tasks and wait for them."""
        self._stopping.set()
        # The beat ends by itself, because its thread may just be using a database connection.
        for task in self._tasks[:-1]:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    def collect(self, notice: dict[str, Any]) -> None:
        """Queue one notice; equal ones waiting to be sent count once."""
        self._collected[json.dumps(notice, sort_keys=True)] = notice
        self._arrived.set()

    async def _listen_for_ever(self) -> None:
        wait = SHORTEST_WAIT
        was_connected = False
        while True:
            try:
                async with await psycopg.AsyncConnection.connect(**_parameters(), autocommit=True) as connection:
                    await connection.execute(f"LISTEN {CHANNEL}")
                    if was_connected:
                        # Notices sent while nobody listened are lost, so everything may have changed.
                        log.info("listening again; pages refresh")
                        self.collect(REFRESH)
                    was_connected, wait = True, SHORTEST_WAIT
                    self.listening.set()
                    async for message in connection.notifies():
                        self._take(message.payload)
            except (psycopg.Error, OSError) as error:
                log.warning("lost the notice connection (%s); next try in %.2f s", str(error).strip(), wait)
            self.listening.clear()
            await asyncio.sleep(wait)
            wait = min(wait * 2, LONGEST_WAIT)

    def _take(self, payload: str) -> None:
        try:
            notice = json.loads(payload)
        except ValueError:
            notice = None
        if isinstance(notice, dict) and isinstance(notice.get("kind"), str):
            self.collect(notice)
        else:
            log.warning("ignored a notice that is not JSON with a kind: %.80r", payload)

    async def _forward(self) -> None:
        while True:
            await self._arrived.wait()
            await asyncio.sleep(COLLECT_SECONDS)
            self._arrived.clear()
            notices, self._collected = list(self._collected.values()), {}
            await get_channel_layer().group_send(GROUP, {"type": "desk.notices", "notices": notices})

    async def _beat(self) -> None:
        while not self._stopping.is_set():
            # Pages use the beat to tell a silent connection from a quiet market.
            if self.listening.is_set():
                self.collect(BEAT)
            with contextlib.suppress(Exception):  # the listening connection already reports a lost database
                await sync_to_async(_beat_once, thread_sensitive=False)()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stopping.wait(), BEAT_SECONDS)


def _beat_once() -> None:
    close_old_connections()
    try:
        health.beat("web")
    finally:
        connections.close_all()


def _parameters() -> dict[str, Any]:
    """Connection parameters of Django's default database, without what only its own cursors need."""
    parameters = connections["default"].get_connection_params()
    kept = {name: value for name, value in parameters.items() if name not in DJANGO_ONLY}
    return {**kept, "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3}
