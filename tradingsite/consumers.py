"""The one websocket: tells a page what changed; the page fetches it."""

import asyncio
import json
import time
from typing import Any

from channels.generic.websocket import AsyncJsonWebsocketConsumer

GROUP = "desk"
SECONDS_BETWEEN = 0.25  # at most four messages a second for one kind and id
SECONDS_BETWEEN_TICKS = 0.05  # a forming bar is drawn as it forms; only a chart that shows it asks for it
NOT_SIGNED_IN = 4401
MOST_KEYS = 500


class DeskConsumer(AsyncJsonWebsocketConsumer):
    """Forwards notices to a signed-in page, the latest of each kind and id a few times a second."""

    async def connect(self) -> None:
        self._next: dict[str, float] = {}
        self._waiting: dict[str, asyncio.Task[None]] = {}
        user = self.scope.get("user")
        if user is None or not user.is_authenticated:
            await self.close(code=NOT_SIGNED_IN)
            return
        await self.channel_layer.group_add(GROUP, self.channel_name)
        await self.accept()

    async def disconnect(self, code: int) -> None:
        for task in self._waiting.values():
            task.cancel()
        await self.channel_layer.group_discard(GROUP, self.channel_name)

    async def receive_json(self, content: Any, **kwargs: Any) -> None:
        """A page has nothing to say here; controls are form posts."""

    async def desk_notices(self, event: dict[str, Any]) -> None:
        """Send each notice now, or once when its turn comes."""
        now = time.monotonic()
        for notice in event["notices"]:
            key = json.dumps(notice, sort_keys=True)
            if key in self._waiting:
                continue
            wait = self._next.get(key, 0.0) - now
            if wait <= 0:
                await self._send(key, notice)
            else:
                self._waiting[key] = asyncio.create_task(self._send_later(key, notice, wait))

    async def _send_later(self, key: str, notice: dict[str, Any], wait: float) -> None:
        await asyncio.sleep(wait)
        self._waiting.pop(key, None)
        await self._send(key, notice)

    async def _send(self, key: str, notice: dict[str, Any]) -> None:
        if len(self._next) > MOST_KEYS:
            self._next.clear()
        spacing = SECONDS_BETWEEN_TICKS if notice.get("kind") == "tick" else SECONDS_BETWEEN
        self._next[key] = time.monotonic() + spacing
        await self.send_json(notice)
