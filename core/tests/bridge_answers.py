"""Answers of a bridge that does what its contract says, from a little state in memory."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

NOW = "2026-03-02T20:00:00.000000Z"
AAPL = {
    "con_id": 265598, "symbol": "AAPL", "local_symbol": "AAPL", "name": "APPLE INC", "security_type": "stock",
    "exchange": "SMART", "primary_exchange": "NASDAQ", "currency": "USD", "expires": None,
}  # fmt: skip
AAPL_MEXICO = {**AAPL, "con_id": 38708077, "exchange": "MEXI", "primary_exchange": "MEXI", "currency": "MXN"}
NQ = {
    "con_id": 730283094, "symbol": "NQ", "local_symbol": "NQH6", "name": "E-MINI NASDAQ 100", "security_type": "future",
    "exchange": "CME", "primary_exchange": "", "currency": "USD", "expires": "2026-03-20",
}  # fmt: skip
DETAILS = {
    "tick_size": "0.01", "multiplier": "1", "minimum_quantity": "0.0001", "quantity_step": "0.0001",
    "price_magnifier": 1, "time_zone": "America/New_York",
    "trading_hours": [{"opens": "2026-03-02T09:00:00.000000Z", "closes": "2026-03-03T01:00:00.000000Z"}],
    "regular_hours": [{"opens": "2026-03-02T14:30:00.000000Z", "closes": "2026-03-02T21:00:00.000000Z"}],
    "order_types": ["market", "limit", "stop", "stop_limit", "trailing_stop"],
}  # fmt: skip
HEALTH = {
    "state": "ready", "reason": "", "accepting_orders": True, "mode": "paper",
    "gateway": {"connected": True, "upstream": "connected", "client_id": 7, "accounts": ["DU1"], "connected_at": NOW},
    "versions": {"bridge": "1.0.0", "contract": "1.0.0", "gateway_protocol": 176},
    "farms": [{"name": "usfarm", "kind": "market_data", "state": "ok", "since": NOW}],
    "market_data_type": "live", "n_unconfirmed_orders": 0, "last_message_at": NOW, "last_tick_at": None, "time": NOW,
}  # fmt: skip
ACCOUNT = {
    "account": "DU1", "currency": "USD", "net_liquidation": "100000.25", "cash": "90000", "settled_cash": "90000",
    "buying_power": "400000", "available_funds": "95000", "excess_liquidity": "95000",
    "gross_position_value": "10000.25", "initial_margin": "5000", "maintenance_margin": "4000",
    "realized_profit": None, "unrealized_profit": "-12.5",
    "as_of": NOW,
}  # fmt: skip
POSITION = {
    "con_id": 265598, "symbol": "AAPL", "security_type": "stock", "exchange": "SMART", "currency": "USD",
    "quantity": "-3", "average_price": "101.25", "market_price": "101.5", "market_value": "-304.5",
    "unrealized_profit": "-0.75",
}  # fmt: skip


class Refusal(Exception):
    """An answer that is an error of the contract."""

    def __init__(self, status: int, code: str, **headers: str) -> None:
        super().__init__(code)
        self.status, self.code, self.headers = status, code, {k.replace("_", "-"): v for k, v in headers.items()}


def problem(status: int, code: str, detail: str = "", gateway_code: int | None = None) -> dict[str, Any]:
    """A problem document."""
    return {"type": "about:blank", "title": f"status {status}", "status": status, "code": code,
            "detail": detail or f"this is {code}", "what_to_do": "Do otherwise.", "gateway_code": gateway_code,
            "errors": []}  # fmt: skip


def bars(first: datetime, n: int, interval_seconds: int) -> list[dict[str, Any]]:
    """n bars; bar k opens at 100 + k and is worth looking at by its open."""
    return [
        {"time": (first + timedelta(seconds=k * interval_seconds)).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
         "open": f"{100 + k}", "high": f"{101 + k}.5", "low": f"{99 + k}.5", "close": f"{101 + k}", "volume": "1000",
         "n_trades": 12, "average_price": None}
        for k in range(n)
    ]  # fmt: skip


@dataclass
class Desk:
    """What the pretended gateway holds."""

    contracts: list[dict[str, Any]] = field(default_factory=lambda: [AAPL, AAPL_MEXICO, NQ])
    bars: list[dict[str, Any]] = field(default_factory=list)
    orders: dict[str, dict[str, Any]] = field(default_factory=dict)
    contents: dict[str, dict[str, Any]] = field(default_factory=dict)
    executions: list[dict[str, Any]] = field(default_factory=list)

    def answer(self, operation: str, given: dict[str, Any], body: Any) -> tuple[int, Any]:
        """Status and JSON of an operation. Raises: Refusal."""
        handlers: dict[str, Callable[[dict[str, Any], Any], tuple[int, Any]]] = {
            "getHealth": lambda given, body: (200, HEALTH),
            "getAccount": self._account,
            "listPositions": lambda given, body: (200, {"account": "DU1", "items": [POSITION], "as_of": NOW}),
            "searchContracts": self._search,
            "getContract": lambda given, body: (200, {**self._contract(given), **DETAILS}),
            "listBars": self._page,
            "listOrders": self._list,
            "putOrder": self._put,
            "getOrder": lambda given, body: (200, self._order(given)),
            "cancelOrder": self._cancel,
            "listExecutions": self._log,
        }
        return handlers[operation](given, body)

    def _account(self, given: dict[str, Any], body: Any) -> tuple[int, Any]:
        if given.get("account", "DU1") != "DU1":
            raise Refusal(404, "account_not_found")
        return 200, ACCOUNT

    def _search(self, given: dict[str, Any], body: Any) -> tuple[int, Any]:
        text = given["text"].upper()
        found = [c for c in self.contracts if text in (c["symbol"], c["local_symbol"]) or text in c["name"]]
        return 200, {"items": found[: given.get("limit", 10)]}

    def _contract(self, given: dict[str, Any]) -> dict[str, Any]:
        for contract in self.contracts:
            if contract["con_id"] == given["con_id"]:
                return contract
        raise Refusal(404, "contract_not_found")

    def _page(self, given: dict[str, Any], body: Any) -> tuple[int, Any]:
        self._contract(given)
        low, high = given.get("start", ""), given.get("end", "9")
        wanted = [bar for bar in self.bars if low <= bar["time"] < high]  # the texts sort like the times
        first, size = int(given.get("page", "0")), given.get("limit", 1000)
        page = str(first + size) if first + size < len(wanted) else None
        return 200, {"con_id": given["con_id"], "interval_seconds": given["interval_seconds"],
                     "items": wanted[first : first + size], "next_page": page}  # fmt: skip

    def _put(self, given: dict[str, Any], body: dict[str, Any]) -> tuple[int, Any]:
        name = given["client_order_id"]
        if name in self.orders:
            if not _same(self.contents[name], body):
                raise Refusal(409, "order_id_taken")
            return 200, self.orders[name]
        if body["order_type"] == "limit" and body.get("limit_price") is None:
            raise Refusal(422, "fields_do_not_fit")
        prices = {k: body.get(k) for k in ("limit_price", "stop_price", "trailing_amount", "trailing_percent")}
        self.contents[name] = body
        self.orders[name] = {
            "client_order_id": name, "origin": "bridge", "con_id": body["con_id"], "symbol": "AAPL", "account": "DU1",
            "side": body["side"], "quantity": body["quantity"], "order_type": body["order_type"], **prices,
            "time_in_force": body["time_in_force"], "outside_regular_hours": body.get("outside_regular_hours", False),
            "status": "submitted", "filled_quantity": "0", "remaining_quantity": body["quantity"],
            "average_fill_price": None, "broker_order_id": None, "reason": "", "gateway_code": None, "created_at": NOW,
            "updated_at": NOW,
        }  # fmt: skip
        return 201, self.orders[name]

    def _order(self, given: dict[str, Any]) -> dict[str, Any]:
        if given["client_order_id"] not in self.orders:
            raise Refusal(404, "order_not_found")
        return self.orders[given["client_order_id"]]

    def _list(self, given: dict[str, Any], body: Any) -> tuple[int, Any]:
        every = given.get("state", "open") == "all"
        items = [o for o in reversed(self.orders.values()) if every or o["status"] not in ("filled", "canceled")]
        return 200, {"items": items[: given.get("limit", 200)]}

    def _cancel(self, given: dict[str, Any], body: Any) -> tuple[int, Any]:
        order = self._order(given)
        if order["status"] in ("filled", "canceled"):
            return 200, order
        order["status"] = "canceling"
        return 202, order

    def _log(self, given: dict[str, Any], body: Any) -> tuple[int, Any]:
        first, size = int(given.get("after", "0")), given.get("limit", 200)
        if first > len(self.executions):
            raise Refusal(410, "cursor_gone")
        items = self.executions[first : first + size]
        cursor = str(first + len(items)) if items or "after" in given else None
        return 200, {"items": items, "next_cursor": cursor, "more": first + size < len(self.executions)}

    def fill(self, client_order_id: str, price: str, *, commission: str | None) -> None:
        """Fill an order completely; called again with the commission once it is known."""
        order = self.orders[client_order_id]
        order.update(
            status="filled", filled_quantity=order["quantity"], remaining_quantity="0", average_fill_price=price
        )
        cost = None if commission is None else {"amount": commission, "currency": "USD", "realized_profit": None}
        self.executions.append(
            {"execution_id": f"e-{client_order_id}", "corrects": None, "client_order_id": client_order_id,
             "broker_order_id": 123456789012, "con_id": order["con_id"], "symbol": "AAPL", "account": "DU1",
             "side": order["side"], "quantity": order["quantity"], "price": price,
             "time": datetime(2026, 3, 2, 14, 30, 1, 250, tzinfo=UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ"),
             "exchange": "NASDAQ", "liquidity": "removed", "commission": cost}
        )  # fmt: skip


def _same(before: dict[str, Any], now: dict[str, Any]) -> bool:
    def value(content: dict[str, Any], name: str) -> Any:
        found = content.get(name)
        return Decimal(found) if isinstance(found, str) and name in ("quantity", "limit_price", "stop_price") else found

    return all(value(before, name) == value(now, name) for name in before.keys() | now.keys())
