"""A bridge on loopback, HTTP and WebSocket on one port, for tests of the client.

It checks every request it gets and every answer it gives against bridge_csharp/openapi.yaml; what does not fit
stands in `violations`. `faults` makes the next answers go wrong; `scripts` says what happens on each WebSocket
connection.
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
from collections import deque
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from typing import Any
from urllib.parse import parse_qsl, unquote

import uvicorn

from core.tests.bridge_answers import NOW, Desk, Refusal, problem
from core.tests.bridge_contract import followed, message_schema, operations, wrong

TOKEN = "loopback-token-0123456789-abcdefgh"
PROBLEM_JSON = "application/problem+json"
Script = Callable[["Talk"], Awaitable[None]]


class BridgeServer:
    """The ASGI application and what it remembers."""

    def __init__(self) -> None:
        self.address = ""
        self.desk = Desk()
        self.faults: deque[Callable[[Any], Awaitable[None]] | Refusal] = deque()
        self.scripts: deque[Script] = deque()
        self.requests: list[tuple[str, str]] = []  # method and path, in order of arrival
        self.subscriptions: list[dict[str, Any]] = []
        self.n_connections = 0
        self.violations: list[str] = []
        self.stopping = threading.Event()

    async def __call__(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        if scope["type"] == "http":
            await self._http(scope, receive, send)
        elif scope["type"] == "websocket":
            await self._websocket(scope, receive, send)

    async def _http(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        body = await _body(receive)
        self.requests.append((scope["method"], unquote(scope["path"])))
        fault = self.faults.popleft() if self.faults else None
        if fault is not None and not isinstance(fault, Refusal):
            await fault(send)
            return
        operation, given = self._understand(scope, body)
        try:
            if fault is not None:
                raise fault
            if dict(scope["headers"]).get(b"authorization") != f"Bearer {TOKEN}".encode():
                raise Refusal(401, "unauthorized", WWW_Authenticate="Bearer")
            parsed = json.loads(body) if body else None
            status, answer, headers = *self.desk.answer(operation["operationId"], given, parsed), {}
        except Refusal as refusal:
            status, headers = refusal.status, refusal.headers
            answer = problem(status, refusal.code, gateway_code=162 if refusal.code == "pacing" else None)
        self._check_answer(operation, status, answer, headers)
        kind = PROBLEM_JSON if status >= 400 else "application/json"
        await respond(send, status, json.dumps(answer).encode(), {"Content-Type": kind, **headers})

    def _understand(self, scope: dict[str, Any], body: bytes) -> tuple[dict[str, Any], dict[str, Any]]:
        """The operation asked for and its parameters; what breaks the contract is noted."""
        for path, method, operation in operations():
            match = re.fullmatch(re.sub(r"{(\w+)}", r"(?P<\1>[^/]+)", path), unquote(scope["path"]))
            if match and method.upper() == scope["method"]:
                texts = {**match.groupdict(), **dict(parse_qsl(scope["query_string"].decode()))}
                return operation, self._parameters(operation, texts, body)
        self.violations.append(f"{scope['method']} {scope['path']} is not in the contract")
        raise Refusal(404, "order_not_found")

    def _parameters(self, operation: dict[str, Any], texts: dict[str, str], body: bytes) -> dict[str, Any]:
        known = {node["name"]: node for node in map(followed, operation["parameters"])}
        given: dict[str, Any] = {}
        for name, text in texts.items():
            if name not in known:
                self.violations.append(f"{operation['operationId']}: {name} is no parameter")
                continue
            schema = followed(known[name]["schema"])
            given[name] = json.loads(text) if schema["type"] in ("integer", "boolean") else text
            self.violations += wrong(given[name], schema, name)
        self.violations += [
            f"{name} is missing" for name, node in known.items() if node.get("required") and name not in given
        ]
        if "requestBody" in operation:
            self.violations += wrong(
                json.loads(body), operation["requestBody"]["content"]["application/json"]["schema"]
            )
        return given

    def _check_answer(self, operation: dict[str, Any], status: int, answer: Any, headers: dict[str, str]) -> None:
        responses = operation["responses"]
        if str(status) not in responses:
            self.violations.append(f"{operation['operationId']} may not answer {status}")
            return
        response = followed(responses[str(status)])
        [content] = response["content"].values()
        self.violations += wrong(answer, content["schema"], operation["operationId"])
        wanted = {name for name, header in response.get("headers", {}).items() if header.get("required")}
        self.violations += [f"{status} without {name}" for name in wanted - set(headers)]

    async def _websocket(self, scope: dict[str, Any], receive: Any, send: Any) -> None:
        await receive()
        self.n_connections += 1
        if dict(scope["headers"]).get(b"authorization") != f"Bearer {TOKEN}".encode():
            body = json.dumps(problem(401, "unauthorized")).encode()
            lines = [(b"content-type", PROBLEM_JSON.encode()), (b"www-authenticate", b"Bearer")]
            await send({"type": "websocket.http.response.start", "status": 401, "headers": lines})
            await send({"type": "websocket.http.response.body", "body": body})
            return
        if scope["path"] != "/v1/stream":
            self.violations.append(f"WebSocket at {scope['path']}")
        await send({"type": "websocket.accept"})
        script = self.scripts.popleft() if self.scripts else quiet
        await script(Talk(self, receive, send))


class Talk:
    """One WebSocket connection, from the bridge's side."""

    def __init__(self, server: BridgeServer, receive: Any, send: Any) -> None:
        self._server, self._receive, self._send = server, receive, send
        self.sequence = 0

    async def say(self, kind: str, **fields: Any) -> None:
        """Send a message with the next sequence number; it is checked against the contract."""
        self.sequence += 1
        message = {"type": kind, "sequence": self.sequence, **fields}
        self._server.violations += wrong(message, message_schema("from_bridge", kind), kind)
        await self.say_raw(json.dumps(message))

    async def say_raw(self, text: str) -> None:
        """Send any text."""
        await self._send({"type": "websocket.send", "text": text})

    async def welcome(self, heartbeat_seconds: float = 5.0, n_subscriptions: int = 1) -> list[dict[str, Any]]:
        """Welcome the desk and accept its subscriptions. Returns: them."""
        await self.say("welcome", contract_version="1.0.0", heartbeat_seconds=heartbeat_seconds, time=NOW)
        asked = [await self.hear() for _ in range(n_subscriptions)]
        for message in asked:
            await self.say("subscribed", id=message["id"], con_id=message["con_id"], market_data_type="live")
        return asked

    async def hear(self) -> dict[str, Any]:
        """The desk's next message, checked against the contract."""
        event = await self._receive()
        if event["type"] != "websocket.receive":
            raise ConnectionError("the desk has gone")
        message: dict[str, Any] = json.loads(event["text"])
        self._server.violations += wrong(message, message_schema("from_desk", message.get("type")), "from desk")
        self._server.subscriptions.append(message)
        return message

    async def trade(
        self, name: str, number: int, price: str, size: str = "1", *, time: str = NOW, con_id: int = 265598
    ) -> None:
        """One trade."""
        await self.say("trade", id=name, con_id=con_id, time=time, number=number, price=price, size=size,
                       exchange="NASDAQ", condition="")  # fmt: skip

    async def bar(
        self, name: str, bar: dict[str, Any], *, complete: bool = True, con_id: int = 265598, seconds: int = 60
    ) -> None:
        """One closed bar."""
        await self.say("bar", id=name, con_id=con_id, interval_seconds=seconds, bar=bar, complete=complete)

    async def close(self, code: int = 1011, reason: str = "failed") -> None:
        """End the connection."""
        await self._send({"type": "websocket.close", "code": code, "reason": reason})

    async def until_gone(self, seconds: float = 10.0) -> None:
        """Say nothing until the desk closes, or the test is over."""
        receiving = asyncio.ensure_future(self._receive())
        for _ in range(int(seconds / 0.02)):
            done, _ = await asyncio.wait({receiving}, timeout=0.02)
            if done or self._server.stopping.is_set():
                break
        receiving.cancel()


async def quiet(talk: Talk) -> None:
    """Welcome the desk, then nothing."""
    await talk.welcome()
    await talk.until_gone()


async def respond(send: Any, status: int, body: bytes, headers: dict[str, str], *, told: int | None = None) -> None:
    """An HTTP answer; `told` is a Content-Length that is not true."""
    lines = {"Content-Length": str(told if told is not None else len(body)), **headers}
    await send({"type": "http.response.start", "status": status,
                "headers": [(name.lower().encode(), value.encode()) for name, value in lines.items()]})  # fmt: skip
    await send({"type": "http.response.body", "body": body})


async def garbage(send: Any) -> None:
    """200 with something that is not JSON."""
    await respond(send, 200, b"<html>hello</html>", {"Content-Type": "text/html"})


async def foreign(send: Any) -> None:
    """The 404 of some other web server."""
    await respond(send, 404, b"<html>no such page</html>", {"Content-Type": "text/html"})


async def half(send: Any) -> None:
    """An answer that breaks off."""
    await respond(send, 200, b'{"state": "rea', {"Content-Type": "application/json"}, told=4000)


async def drip(send: Any) -> None:
    """An answer a byte at a time, none of them late."""
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    for _ in range(60):
        await asyncio.sleep(0.05)
        await send({"type": "http.response.body", "body": b" ", "more_body": True})
    await send({"type": "http.response.body", "body": b"{}"})


def silent(seconds: float) -> Callable[[Any], Awaitable[None]]:
    """An answer that comes too late."""

    async def wait(send: Any) -> None:
        await asyncio.sleep(seconds)
        await respond(send, 200, b"{}", {"Content-Type": "application/json"})

    return wait


async def _body(receive: Any) -> bytes:
    body = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


@contextmanager
def serving(app: Any) -> Iterator[str]:
    """An ASGI application on loopback, in a thread. Yields: its address."""
    config = uvicorn.Config(
        app, host="127.0.0.1", port=0, log_level="critical", lifespan="off", ws_ping_interval=None,
        timeout_graceful_shutdown=1,
    )  # fmt: skip
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        for _ in range(500):
            if server.started:
                break
            thread.join(0.01)
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join(5)


@contextmanager
def bridge_server() -> Iterator[BridgeServer]:
    """A bridge on loopback; at the end nothing may have broken the contract."""
    app = BridgeServer()
    with serving(app) as app.address:
        try:
            yield app
        finally:
            app.stopping.set()
    assert not app.violations, app.violations
