"""A server on loopback that sends exactly the bytes it is told to, as slowly as it is told to."""

from __future__ import annotations

import contextlib
import re
import socket
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Self


def http(body: bytes | str, status: int = 200, content_type: str = "application/xml", **headers: str) -> bytes:
    """A whole HTTP answer."""
    data = body.encode() if isinstance(body, str) else body
    more = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    head = f"HTTP/1.1 {status} -\r\nContent-Type: {content_type}\r\nContent-Length: {len(data)}\r\n{more}\r\n"
    return head.encode() + data


class RawServer:
    """`with RawServer(answer) as server:`; answer: for each path what is sent, `pause` seconds between two bytes."""

    def __init__(self, answer: Callable[[str], bytes], *, pause: float = 0.0) -> None:
        self.answer, self.pause = answer, pause
        self.asked: list[str] = []
        self._stop = threading.Event()
        self._listening = socket.create_server(("127.0.0.1", 0))
        self.address = f"http://127.0.0.1:{self._listening.getsockname()[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._listen, daemon=True).start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._listening.shutdown(socket.SHUT_RDWR)
        self._listening.close()

    def _listen(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):  # the client has gone
            self._reply(connection)

    def _whole(self, connection: socket.socket) -> bytes:
        asked = b""
        while b"\r\n\r\n" not in asked:
            asked += connection.recv(65_536) or b"\r\n\r\n"
        told = re.search(rb"(?i)content-length: *([0-9]+)", asked)
        length = asked.index(b"\r\n\r\n") + 4 + int(told[1] if told else 0)
        while len(asked) < length and (more := connection.recv(65_536)):
            asked += more
        return asked

    def _reply(self, connection: socket.socket) -> None:
        asked = self._whole(connection)
        path = asked.split(b" ")[1].decode() if b" " in asked else ""
        self.asked.append(path)
        answer = self.answer(path)
        if not self.pause:
            connection.sendall(answer)
            return
        for at in range(len(answer)):
            if self._stop.wait(self.pause):
                return
            connection.sendall(answer[at : at + 1])
