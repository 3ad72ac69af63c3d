"""Pages, websocket, and the listener that lives as long as the server."""

import os
import warnings
from typing import Any

os.environ.setdefault("DJANGO_SETTINGS_MODULE", "tradingsite.settings")

# WhiteNoise hands out files from a synchronous iterator; they are small and read at once.
warnings.filterwarnings("ignore", message="StreamingHttpResponse must consume synchronous iterators")

from django.core.asgi import get_asgi_application  # noqa: E402

pages = get_asgi_application()

# These import models, so Django must be set up first.
from channels.auth import AuthMiddlewareStack  # noqa: E402
from channels.routing import ProtocolTypeRouter, URLRouter  # noqa: E402
from channels.security.websocket import AllowedHostsOriginValidator  # noqa: E402
from django.urls import path  # noqa: E402

from tradingsite.consumers import DeskConsumer  # noqa: E402
from tradingsite.listener import Listener  # noqa: E402

sockets = AllowedHostsOriginValidator(AuthMiddlewareStack(URLRouter([path("ws/desk/", DeskConsumer.as_asgi())])))
router = ProtocolTypeRouter({"http": pages, "websocket": sockets})


async def application(scope: dict[str, Any], receive: Any, send: Any) -> None:
    """The ASGI application; uvicorn runs it with its lifespan on."""
    if scope["type"] == "lifespan":
        await _lifespan(receive, send)
    else:
        await router(scope, receive, send)


async def _lifespan(receive: Any, send: Any) -> None:
    listener = Listener()
    while True:
        message = await receive()
        if message["type"] == "lifespan.startup":
            listener.start()
            await send({"type": "lifespan.startup.complete"})
        elif message["type"] == "lifespan.shutdown":
            await listener.stop()
            await send({"type": "lifespan.shutdown.complete"})
            return
