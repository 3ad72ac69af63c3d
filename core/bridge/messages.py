"""What the bridge tells and is told, as typed values: the schemas of bridge_csharp/openapi.yaml."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import date, datetime
from decimal import Decimal
from typing import Literal

Side = Literal["buy", "sell"]
SecurityType = Literal["stock", "etf", "index", "future", "crypto", "currency"]
BridgeState = Literal["ready", "degraded", "starting", "down"]
MarketDataType = Literal["live", "frozen", "delayed", "delayed_frozen", "unknown"]
OrderType = Literal["market", "limit", "stop", "stop_limit", "trailing_stop"]
TimeInForce = Literal["day", "gtc", "ioc", "opg"]
OrderStatus = Literal[
    "submitted", "accepted", "partially_filled", "canceling", "unknown",
    "filled", "canceled", "rejected", "expired", "lost",
]  # fmt: skip
ENDED: frozenset[str] = frozenset({"filled", "canceled", "rejected", "expired", "lost"})


@dataclass(frozen=True)
class GatewayHealth:
    """The socket to the gateway, and the gateway's own connection (upstream)."""

    connected: bool
    upstream: Literal["connected", "lost", "unknown"]
    client_id: int
    accounts: tuple[str, ...]
    connected_at: datetime | None


@dataclass(frozen=True)
class Versions:
    """Who speaks which version."""

    bridge: str
    contract: str
    gateway_protocol: int | None


@dataclass(frozen=True)
class Farm:
    """One of the broker's server farms; inactive ones wake when asked."""

    name: str
    kind: Literal["market_data", "history", "contracts"]
    state: Literal["ok", "inactive", "down"]
    since: datetime


@dataclass(frozen=True)
class Health:
    """How the bridge and its gateway are."""

    state: BridgeState
    reason: str
    accepting_orders: bool
    mode: Literal["paper", "live", "unknown"]
    gateway: GatewayHealth
    versions: Versions
    farms: tuple[Farm, ...]
    market_data_type: MarketDataType
    n_unconfirmed_orders: int
    last_message_at: datetime | None
    last_tick_at: datetime | None
    time: datetime


@dataclass(frozen=True)
class AccountReport:
    """Summary values of one account, in its currency."""

    account: str
    currency: str
    net_liquidation: Decimal
    cash: Decimal
    settled_cash: Decimal | None
    buying_power: Decimal
    available_funds: Decimal | None
    excess_liquidity: Decimal | None
    gross_position_value: Decimal | None
    initial_margin: Decimal | None
    maintenance_margin: Decimal | None
    realized_profit: Decimal | None
    unrealized_profit: Decimal | None
    as_of: datetime


@dataclass(frozen=True)
class PositionReport:
    """One position; quantity is signed, average_price that of one unit without the multiplier."""

    con_id: int
    symbol: str
    security_type: SecurityType
    exchange: str
    currency: str
    quantity: Decimal
    average_price: Decimal
    market_price: Decimal | None
    market_value: Decimal | None
    unrealized_profit: Decimal | None


@dataclass(frozen=True)
class PositionList:
    """Every position of an account that is not flat."""

    account: str
    items: tuple[PositionReport, ...]
    as_of: datetime


@dataclass(frozen=True)
class Contract:
    """Something the broker trades; con_id is its number there."""

    con_id: int
    symbol: str
    local_symbol: str
    name: str
    security_type: SecurityType
    exchange: str
    primary_exchange: str
    currency: str
    expires: date | None


@dataclass(frozen=True)
class ContractList:
    """What a search found, best first."""

    items: tuple[Contract, ...]


@dataclass(frozen=True)
class Session:
    """One trading session."""

    opens: datetime
    closes: datetime


@dataclass(frozen=True)
class ContractDetails(Contract):
    """A contract with everything needed to trade it; multiplier is money per point of price."""

    tick_size: Decimal
    multiplier: Decimal
    minimum_quantity: Decimal
    quantity_step: Decimal
    price_magnifier: int
    time_zone: str
    trading_hours: tuple[Session, ...]
    regular_hours: tuple[Session, ...]
    order_types: tuple[OrderType, ...]


@dataclass(frozen=True)
class Bar:
    """One closed bar; time is its start, volume in units."""

    time: datetime
    open: Decimal
    high: Decimal
    low: Decimal
    close: Decimal
    volume: Decimal
    n_trades: int | None
    average_price: Decimal | None


@dataclass(frozen=True)
class BarPage:
    """A page of history, oldest first; next_page is None on the last."""

    con_id: int
    interval_seconds: int
    items: tuple[Bar, ...]
    next_page: str | None


@dataclass(frozen=True)
class OrderRequest:
    """An order to be placed; which prices it has follows from its type."""

    con_id: int
    side: Side
    quantity: Decimal
    order_type: OrderType = "market"
    time_in_force: TimeInForce = "day"
    account: str | None = None
    limit_price: Decimal | None = None
    stop_price: Decimal | None = None
    trailing_amount: Decimal | None = None
    trailing_percent: Decimal | None = None
    outside_regular_hours: bool = False


@dataclass(frozen=True)
class OrderReport:
    """What the bridge knows of an order; client_order_id is None for one placed elsewhere."""

    client_order_id: str | None
    origin: Literal["bridge", "external"]
    con_id: int
    symbol: str
    account: str
    side: Side
    quantity: Decimal
    order_type: str
    limit_price: Decimal | None
    stop_price: Decimal | None
    trailing_amount: Decimal | None
    trailing_percent: Decimal | None
    time_in_force: str
    outside_regular_hours: bool
    status: OrderStatus
    filled_quantity: Decimal
    remaining_quantity: Decimal
    average_fill_price: Decimal | None
    broker_order_id: int | None
    reason: str
    gateway_code: int | None
    created_at: datetime
    updated_at: datetime

    @property
    def ended(self) -> bool:
        """Whether nothing more can happen to it. `unknown` has not ended: it may still fill."""
        return self.status in ENDED


@dataclass(frozen=True)
class OrderList:
    """Orders, newest first."""

    items: tuple[OrderReport, ...]


@dataclass(frozen=True)
class Commission:
    """What an execution cost; realized_profit is None for an opening trade."""

    amount: Decimal
    currency: str
    realized_profit: Decimal | None


@dataclass(frozen=True)
class ExecutionReport:
    """One execution; it appears again under a later cursor when its commission is known."""

    execution_id: str
    corrects: str | None
    client_order_id: str | None
    broker_order_id: int | None
    con_id: int
    symbol: str
    account: str
    side: Side
    quantity: Decimal
    price: Decimal
    time: datetime
    exchange: str
    liquidity: Literal["added", "removed", "routed_out", "unknown"]
    commission: Commission | None


@dataclass(frozen=True)
class ExecutionPage:
    """Executions after a cursor; keep next_cursor and read on from there."""

    items: tuple[ExecutionReport, ...]
    next_cursor: str | None
    more: bool


@dataclass(frozen=True)
class FieldError:
    """What is wrong with one field of a request."""

    field: str
    detail: str


@dataclass(frozen=True)
class Problem:
    """An error as the bridge reports it; `code` is for programs."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    what_to_do: str
    gateway_code: int | None
    errors: tuple[FieldError, ...]

    def words(self) -> str:
        """The whole of it in one sentence or two."""
        parts = [self.detail.rstrip(".")]
        parts += [f"{error.field}: {error.detail}".rstrip(".") for error in self.errors]
        from_gateway = f" (gateway code {self.gateway_code})" if self.gateway_code is not None else ""
        return f"{'; '.join(parts)}{from_gateway}. {self.what_to_do}"
