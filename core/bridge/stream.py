"""The bridge's WebSocket: connects, subscribes, notices gaps and silence, and connects again until it is closed."""

from __future__ import annotations

import json
import logging
import random
import time
from collections.abc import Generator, Iterator, Sequence
from dataclasses import dataclass

from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException
from websockets.sync.client import ClientConnection, connect

from core.bridge.client import checked_address
from core.bridge.codec import decode, encode
from core.bridge.errors import BridgeAnswerError, BridgeRefusedError
from core.bridge.stream_messages import (
    KINDS,
    Gap,
    Lost,
    StreamEvent,
    Subscribed,
    Subscription,
    Unsubscribed,
    Welcome,
)

logger = logging.getLogger(__name__)
_REFUSALS = {400: "the request was not understood", 401: "the token is wrong", 403: "it is not allowed",
             404: "there is no such address"}  # fmt: skip


@dataclass(frozen=True)
class StreamPatience:
    """How long the stream waits, in seconds."""

    opening: float = 10.0  # for the connection, and then for the welcome
    poll: float = 0.5  # longest time between two things that events() yields
    first_wait: float = 0.5  # before connecting again; doubles up to longest_wait
    longest_wait: float = 30.0
    n_heartbeats_missed: float = 3.0  # then the connection counts as dead


class BridgeStream:
    """Live market data of the bridge for a fixed list of subscriptions, across reconnects.

    Raises: BridgeSetupError when address or token are missing.
    """

    def __init__(
        self,
        address: str,
        token: str,
        subscriptions: Sequence[Subscription],
        *,
        patience: StreamPatience | None = None,
    ) -> None:
        self._uri = "ws" + checked_address(address, token).removeprefix("http") + "/v1/stream"
        self._token = token
        self._subscriptions = list(subscriptions)
        self._patience = patience or StreamPatience()

    def events(self) -> Generator[StreamEvent | None]:
        """Endless: what comes, in order; None whenever nothing is waiting, at least every `poll` seconds.

        A Lost is followed by a new Welcome once the bridge is back, and the subscriptions are made again; what was
        missed between is for the caller to ask for. Close the iterator to end the connection.
        Raises: BridgeRefusedError when the bridge refuses the connection for a reason that waiting does not cure.
        """
        wait = self._patience.first_wait
        while True:
            reason = "it ended the connection"
            try:
                with self._connect() as connection:
                    for event in _Conversation(connection, self._subscriptions, self._patience).events():
                        if not isinstance(event, None | Welcome | Subscribed | Unsubscribed):
                            wait = self._patience.first_wait  # it works: begin anew with short waits
                        yield event
            except InvalidStatus as error:
                reason = self._refused(error)
            except BridgeAnswerError as error:
                reason = str(error)
            except (OSError, WebSocketException) as error:
                reason = _words(error)
            wait_now = wait * random.uniform(0.75, 1.25)  # many desks do not come back in the same instant
            wait = min(wait * 2, self._patience.longest_wait)
            logger.warning("stream of the bridge lost: %s; trying again in %.1f s", reason, wait_now)
            yield Lost(reason, wait_now)
            yield from self._pause(wait_now)

    def _connect(self) -> ClientConnection:
        return connect(
            self._uri,
            additional_headers={"Authorization": f"Bearer {self._token}"},
            proxy=None,
            open_timeout=self._patience.opening,
            ping_interval=None,  # the heartbeat of the contract tells more: it comes from the bridge's own loop
            close_timeout=1.0,
            max_size=2**20,
            max_queue=1024,
        )

    def _refused(self, error: InvalidStatus) -> str:
        status = error.response.status_code
        if status in _REFUSALS:
            raise BridgeRefusedError(
                f"the bridge refused the stream with {status}: {_REFUSALS[status]}; check DESK_BRIDGE_TOKEN and "
                "DESK_BRIDGE_ADDRESS",
                code="unauthorized" if status == 401 else "",
            ) from error
        return f"it answered {status} instead of opening the stream"

    def _pause(self, seconds: float) -> Iterator[None]:
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            time.sleep(min(left, self._patience.poll))
            yield None


class _Conversation:
    """One connection, from its welcome to its end."""

    def __init__(
        self, connection: ClientConnection, subscriptions: Sequence[Subscription], patience: StreamPatience
    ) -> None:
        self._connection = connection
        self._subscriptions = subscriptions
        self._patience = patience
        self._sequence = 0  # of the last message
        self._silence = patience.opening  # longest that nothing may come
        self._heard = time.monotonic()
        self._busy = False  # whether a message has just been handled

    def events(self) -> Iterator[StreamEvent | None]:
        """What comes over this connection, None whenever nothing is waiting.

        Raises: ConnectionClosed; BridgeAnswerError when a message breaks the contract; OSError after silence.
        """
        while True:
            text = self._next_text()
            if text is None:
                yield None
                continue
            message = _object(text)
            missed = self._count(message)
            if missed:
                yield Gap(missed)
            kind = KINDS.get(str(message.get("type")))
            if kind is None:
                continue  # a newer bridge may say more than we know
            event: StreamEvent = decode(kind, message)
            if isinstance(event, Welcome):
                self._greet(event)
            yield event

    def _next_text(self) -> str | bytes | None:
        """A message; None when none is waiting, at once if one has just been handled, else after a poll."""
        timeout = 0.0 if self._busy else self._wait()
        try:
            text = self._connection.recv(timeout=timeout)
        except TimeoutError:
            self._busy = False
            if time.monotonic() - self._heard > self._silence:
                raise OSError(f"nothing came for {self._silence:g} s") from None
            return None
        self._busy = True
        self._heard = time.monotonic()
        return text

    def _wait(self) -> float:
        left = self._silence - (time.monotonic() - self._heard)
        return max(min(self._patience.poll, left), 0.001)

    def _count(self, message: dict[str, object]) -> int:
        """How many messages were lost before this one. Raises: BridgeAnswerError for a number that goes back."""
        number = message.get("sequence")
        if not isinstance(number, int) or isinstance(number, bool) or number <= self._sequence:
            raise BridgeAnswerError(f"a message has sequence {number!r} after {self._sequence}")
        missed = number - self._sequence - 1
        self._sequence = number
        return missed

    def _greet(self, welcome: Welcome) -> None:
        """Learn the heartbeat and subscribe."""
        if welcome.heartbeat_seconds <= 0:
            raise BridgeAnswerError(f"heartbeat_seconds is {welcome.heartbeat_seconds}, expected more than 0")
        self._silence = self._patience.n_heartbeats_missed * welcome.heartbeat_seconds
        for subscription in self._subscriptions:
            self._connection.send(json.dumps({"type": "subscribe", **encode(subscription)}))


def _object(text: str | bytes) -> dict[str, object]:
    try:
        message = json.loads(text)
    except ValueError:
        message = None
    if not isinstance(message, dict):
        raise BridgeAnswerError(f"a message of the stream is not a JSON object: {text[:60]!r}")
    return message


def _words(error: Exception) -> str:
    if isinstance(error, ConnectionClosed):
        return f"the connection was closed ({error.rcvd.reason or error.rcvd.code})" if error.rcvd else "it broke off"
    if isinstance(error, TimeoutError):
        return "it did not open the stream in time"
    if isinstance(error, ConnectionError):
        return "it cannot be reached"
    return str(error) or type(error).__name__
