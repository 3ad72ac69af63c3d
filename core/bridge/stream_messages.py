"""What goes over the bridge's WebSocket, and what the client itself has to say about the connection."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from typing import Literal

from core.bridge.messages import Bar, BridgeState, MarketDataType, Problem

Channel = Literal["trades", "quotes", "bars"]


@dataclass(frozen=True)
class Subscription:
    """What is wanted of one contract; `id` is the desk's own name for it within a connection."""

    id: str
    con_id: int
    channels: tuple[Channel, ...]
    bar_seconds: int | None = None  # needed with "bars"


@dataclass(frozen=True)
class Welcome:
    """The first message of a connection."""

    sequence: int
    contract_version: str
    heartbeat_seconds: float
    time: datetime


@dataclass(frozen=True)
class Subscribed:
    """A subscription runs."""

    sequence: int
    id: str
    con_id: int
    market_data_type: MarketDataType


@dataclass(frozen=True)
class Unsubscribed:
    """A subscription has ended as asked."""

    sequence: int
    id: str


@dataclass(frozen=True)
class TradeTick:
    """One trade; `number` ascends and is never used again for this contract."""

    sequence: int
    id: str
    con_id: int
    time: datetime
    number: int
    price: Decimal
    size: Decimal
    exchange: str
    condition: str


@dataclass(frozen=True)
class QuoteTick:
    """One quote; None where nobody bids or offers."""

    sequence: int
    id: str
    con_id: int
    time: datetime
    number: int
    bid: Decimal | None
    bid_size: Decimal | None
    ask: Decimal | None
    ask_size: Decimal | None
    exchange: str


@dataclass(frozen=True)
class StreamBar:
    """One closed bar; not complete when a part of it was missed."""

    sequence: int
    id: str
    con_id: int
    interval_seconds: int
    bar: Bar
    complete: bool


@dataclass(frozen=True)
class StreamStatus:
    """How the gateway is; no con_ids means all that are subscribed."""

    sequence: int
    state: BridgeState
    reason: str
    con_ids: tuple[int, ...]
    data_lost: bool
    lost_since: datetime | None
    time: datetime


@dataclass(frozen=True)
class StreamProblem:
    """An error; id None is about the connection, `ended` says whether the subscription is over."""

    sequence: int
    id: str | None
    problem: Problem
    ended: bool


@dataclass(frozen=True)
class StreamHeartbeat:
    """Nothing else was to say."""

    sequence: int
    time: datetime


@dataclass(frozen=True)
class Gap:
    """Messages were lost between two sequence numbers."""

    n_missed: int


@dataclass(frozen=True)
class Lost:
    """The connection ended; it is tried again after `wait_seconds`."""

    reason: str
    wait_seconds: float


FromBridge = (
    Welcome
    | Subscribed
    | Unsubscribed
    | TradeTick
    | QuoteTick
    | StreamBar
    | StreamStatus
    | StreamProblem
    | StreamHeartbeat
)
StreamEvent = FromBridge | Gap | Lost
KINDS: dict[str, type] = {
    "welcome": Welcome,
    "subscribed": Subscribed,
    "unsubscribed": Unsubscribed,
    "trade": TradeTick,
    "quote": QuoteTick,
    "bar": StreamBar,
    "status": StreamStatus,
    "error": StreamProblem,
    "heartbeat": StreamHeartbeat,
}
