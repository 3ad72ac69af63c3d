"""Kraken and Bitstamp on loopback, as far as ccxt asks them for public data: REST and WebSocket on one port."""

from __future__ import annotations

import asyncio
import json
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl

from core.tests.bridge_server import respond, serving

Fault = Callable[[Any], Awaitable[None]]
Row = tuple[int, float, float, float, float, float]  # seconds, open, high, low, close, volume
Script = Callable[["ExchangeServer", Any, Any], Awaitable[None]]
_SUFFIX = {"SPOT": "", "PERPETUAL": "-perp"}
BITSTAMP_MARKETS = [
    {"name": f"{base}/{quote}", "market_symbol": f"{base}{quote}{_SUFFIX[kind]}".lower(), "base_currency": base,
     "base_decimals": 8, "counter_currency": quote, "counter_decimals": 2, "minimum_order_value": "10",
     "trading": "Enabled", "instant_and_market_orders": "Enabled", "description": f"{base} / {quote}",
     "market_type": kind}
    for base, quote, kind in (("BTC", "USD", "SPOT"), ("BTC", "USDT", "SPOT"), ("BTC", "EUR", "SPOT"),
                              ("WBTC", "BTC", "SPOT"), ("ETH", "USD", "SPOT"), ("BTC", "USD", "PERPETUAL"))
]  # fmt: skip
KRAKEN_PAIRS = {
    "XXBTZUSD": {
        "altname": "XBTUSD", "wsname": "XBT/USD", "base": "XXBT", "quote": "ZUSD", "pair_decimals": 1,
        "lot_decimals": 8, "leverage_buy": [], "fees": [[0, 0.26]], "fees_maker": [[0, 0.16]], "ordermin": "0.0001",
        "status": "online",
    }
}  # fmt: skip
KRAKEN_ASSETS = {
    "XXBT": {"aclass": "currency", "altname": "XBT", "decimals": 10, "status": "enabled"},
    "ZUSD": {"aclass": "currency", "altname": "USD", "decimals": 4, "status": "enabled"},
}


def rows(first: int, n: int, interval_seconds: int = 60) -> list[Row]:
    """n bars; bar k opens at 100 + k and has k + 0.5 coins traded."""
    return [(first + k * interval_seconds, 100.0 + k, 101.5 + k, 99.5 + k, 101.0 + k, k + 0.5) for k in range(n)]


class ExchangeServer:
    """Both exchanges; `bars` by interval in seconds."""

    def __init__(self) -> None:
        self.address = ""
        self.bars: dict[int, list[Row]] = {}
        self.faults: deque[Fault] = deque()  # for the next requests for bars
        self.market_faults: deque[Fault] = deque()  # for the next requests for markets
        self.scripts: deque[Script] = deque()  # for the next WebSocket connections
        self.asked: list[dict[str, str]] = []  # what was asked for of bars
        self.heard: list[dict[str, Any]] = []  # what came over WebSockets
        self.stopping = threading.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self._http(scope, send)
        elif scope["type"] == "websocket":
            await receive()
            await send({"type": "websocket.accept"})
            script = self.scripts.popleft() if self.scripts else wait_for_end
            await script(self, receive, send)

    async def _http(self, scope: dict[str, Any], send: Any) -> None:
        path, query = scope["path"].removeprefix("/api"), dict(parse_qsl(scope["query_string"].decode()))
        is_bars = "OHLC" in path or "/ohlc/" in path
        faults = self.faults if is_bars else self.market_faults
        if is_bars:
            self.asked.append(query)
        if faults:
            await faults.popleft()(send)
            return
        status, answer = self._answer(path, query)
        await respond(send, status, json.dumps(answer).encode(), {"Content-Type": "application/json"})

    def _answer(self, path: str, query: dict[str, str]) -> tuple[int, Any]:
        if path == "/0/public/AssetPairs":
            return 200, {"error": [], "result": KRAKEN_PAIRS}
        if path == "/0/public/Assets":
            return 200, {"error": [], "result": KRAKEN_ASSETS}
        if path == "/0/public/OHLC":
            return 200, self._kraken_bars(query)
        if path.rstrip("/") == "/v2/markets":
            return 200, BITSTAMP_MARKETS
        if path.startswith("/v2/ohlc/btcusd"):
            return 200, self._bitstamp_bars(query)
        return 404, {"status": "error", "reason": "Not found", "code": "404"}

    def _kraken_bars(self, query: dict[str, str]) -> dict[str, Any]:
        """The last 720 bars after `since`, whatever it is: that is all Kraken gives."""
        known = self.bars.get(int(query["interval"]) * 60, [])[-720:]
        found = [row for row in known if row[0] > int(query.get("since", "0"))]
        listed = [[t, f"{o}", f"{h}", f"{low}", f"{c}", f"{c}", f"{v}", 3] for t, o, h, low, c, v in found]
        return {"error": [], "result": {"XXBTZUSD": listed, "last": found[-1][0] if found else 0}}

    def _bitstamp_bars(self, query: dict[str, str]) -> dict[str, Any]:
        known = self.bars.get(int(query["step"]), [])
        start, end = int(query.get("start", "0")), int(query.get("end", "99999999999"))
        found = [row for row in known if start <= row[0] <= end][: int(query["limit"])]
        names = ("timestamp", "open", "high", "low", "close", "volume")
        return {"data": {"pair": "BTC/USD", "ohlc": [dict(zip(names, map(str, row), strict=True)) for row in found]}}


async def hear(server: ExchangeServer, receive: Any) -> dict[str, Any]:
    """ccxt's next message that is no ping."""
    while True:
        event = await receive()
        if event["type"] != "websocket.receive":
            raise ConnectionError("ccxt has gone")
        message: dict[str, Any] = json.loads(event.get("text") or event["bytes"])
        if message.get("method") != "ping":
            server.heard.append(message)
            return message


async def say(send: Any, message: Any) -> None:
    """One message to ccxt."""
    await send({"type": "websocket.send", "text": message if isinstance(message, str) else json.dumps(message)})


async def wait_for_end(server: ExchangeServer, receive: Any, send: Any) -> None:
    """Say nothing until ccxt goes or the test is over."""
    receiving = asyncio.ensure_future(receive())
    for _ in range(500):
        done, _ = await asyncio.wait({receiving}, timeout=0.02)
        if server.stopping.is_set():
            break
        if done:
            if receiving.result()["type"] != "websocket.receive":
                break
            receiving = asyncio.ensure_future(receive())
    receiving.cancel()


@contextmanager
def exchange_server() -> Iterator[ExchangeServer]:
    """The exchanges on loopback."""
    app = ExchangeServer()
    with serving(app) as app.address:
        try:
            yield app
        finally:
            app.stopping.set()
