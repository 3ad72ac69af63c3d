"""From a NOTIFY in the database to a message on a page's websocket."""

import asyncio

import psycopg
import pytest
from asgiref.sync import sync_to_async
from channels.layers import get_channel_layer
from channels.testing import WebsocketCommunicator
from django.contrib.auth.models import AnonymousUser, User
from django.db import connections

from core.models import Heartbeat
from tradingsite.asgi import sockets
from tradingsite.consumers import GROUP, DeskConsumer
from tradingsite.listener import Listener

pytestmark = pytest.mark.django_db(transaction=True)


def page(user) -> WebsocketCommunicator:
    """A page's socket, already authenticated."""
    socket = WebsocketCommunicator(DeskConsumer.as_asgi(), "/ws/desk/")
    socket.scope["user"] = user
    return socket


async def message(socket, kind: str, timeout: float = 5.0) -> dict:
    """The next message of that kind; others are passed over."""
    async with asyncio.timeout(timeout):
        while True:
            received = await socket.receive_json_from(timeout=timeout)
            if received["kind"] == kind:
                return received


def database_address() -> dict:
    parameters = connections["default"].get_connection_params()
    return {name: parameters[name] for name in ("host", "port", "user", "password", "dbname") if name in parameters}


async def notify(payload: str) -> None:
    async with await psycopg.AsyncConnection.connect(**database_address(), autocommit=True) as connection:
        await connection.execute("SELECT pg_notify('desk', %s)", [payload])


async def test_a_stranger_is_turned_away():
    connected, code = await page(AnonymousUser()).connect()
    assert not connected and code == 4401


async def test_a_page_of_another_site_is_turned_away(settings):
    settings.ALLOWED_HOSTS = ["desk.example"]
    socket = WebsocketCommunicator(sockets, "/ws/desk/", headers=[(b"origin", b"https://evil.example")])
    connected, _ = await socket.connect()
    assert not connected


async def test_bursts_of_one_notice_become_few_messages():
    socket = page(User(username="olga"))
    assert (await socket.connect())[0]
    layer = get_channel_layer()
    for _ in range(40):
        await layer.group_send(GROUP, {"type": "desk.notices", "notices": [{"kind": "bar", "instrument": 1}]})
        await asyncio.sleep(0.01)
    await layer.group_send(GROUP, {"type": "desk.notices", "notices": [{"kind": "fill", "book": 1}]})
    received = []
    while not await socket.receive_nothing(timeout=0.5):
        received.append((await socket.receive_json_from())["kind"])
    await socket.disconnect()
    # 0.4 s of notices, four a second: at once, after 0.25 s, and the last one when its turn comes
    assert 2 <= received.count("bar") <= 4
    assert received.count("fill") == 1


async def test_a_notice_reaches_the_page_and_nonsense_does_not():
    socket, listener = page(User(username="olga")), Listener()
    assert (await socket.connect())[0]
    listener.start()
    try:
        await asyncio.wait_for(listener.listening.wait(), 5)
        await notify("this is not JSON")
        await notify('{"kind": "decision", "agent": 3}')
        assert await message(socket, "decision") == {"kind": "decision", "agent": 3}
        assert await message(socket, "beat") == {"kind": "beat"}
    finally:
        await listener.stop()
        await socket.disconnect()


async def test_after_a_killed_connection_every_page_refreshes():
    socket, listener = page(User(username="olga")), Listener()
    assert (await socket.connect())[0]
    listener.start()
    try:
        await asyncio.wait_for(listener.listening.wait(), 5)
        async with await psycopg.AsyncConnection.connect(**database_address(), autocommit=True) as other:
            await other.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE query = 'LISTEN desk' AND datname = current_database()"
            )
        assert await message(socket, "refresh") == {"kind": "refresh"}
        await notify('{"kind": "fill", "book": 1}')
        assert await message(socket, "fill") == {"kind": "fill", "book": 1}
    finally:
        await listener.stop()
        await socket.disconnect()


async def test_the_web_process_gives_a_sign_of_life():
    listener = Listener()
    listener.start()
    try:
        async with asyncio.timeout(5):
            while not await Heartbeat.objects.filter(component="web").aexists():
                await asyncio.sleep(0.1)
    finally:
        await listener.stop()
        await sync_to_async(connections.close_all)()
