"""A server on loopback that answers as Yahoo does: charts, search, cookie and crumb; or as it does on a bad day."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import date, datetime, time, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from types import TracebackType
from typing import Any, Self
from urllib.parse import parse_qs, unquote, urlsplit
from zoneinfo import ZoneInfo

NEW_YORK = ZoneInfo("America/New_York")
GONE = "No data found, symbol may be delisted"


def moment(day: date, clock: str = "09:30") -> int:
    """Seconds UTC of a time in New York."""
    hour, minute = clock.split(":")
    return int(datetime.combine(day, time(int(hour), int(minute)), NEW_YORK).timestamp())


@dataclass
class Stock:
    """What the server knows of one symbol: rows of (seconds, open, high, low, close, volume), None where null."""

    daily: list[tuple[Any, ...]] = field(default_factory=list)
    intraday: dict[str, list[tuple[Any, ...]]] = field(default_factory=dict)  # by Yahoo's word, such as 1m
    splits: list[tuple[int, float, float]] = field(default_factory=list)  # seconds, numerator, denominator
    dividends: list[tuple[int, float]] = field(default_factory=list)  # seconds, amount (split-adjusted, as Yahoo's)
    session: date = date(2024, 6, 12)  # the one Yahoo calls current
    kind: str = "EQUITY"


@dataclass(frozen=True)
class Answer:
    """One answer out of the ordinary."""

    status: int = 200
    body: str | bytes = ""
    headers: dict[str, str] = field(default_factory=dict)
    hang: bool = False  # says nothing until the server stops
    half: bool = False  # promises the whole body and sends half


def error(status: int, description: str, code: str = "Not Found") -> Answer:
    """Yahoo's own way of saying no."""
    return Answer(status, json.dumps({"chart": {"result": None, "error": {"code": code, "description": description}}}))


class YahooServer:
    """`with YahooServer() as server:` and YahooSource(address=server.address)."""

    def __init__(self) -> None:
        self.stocks: dict[str, Stock] = {}
        self.quotes: list[dict[str, Any]] = []
        self.unusual: list[Answer | None] = []  # for the next charts and searches, in turn; None: as usual
        self.always: Answer | None = None
        self.crumb = Answer(200, "crumb-1")
        self.change: Callable[[dict[str, Any]], None] = lambda chart: None  # spoils every chart
        self.asked: list[tuple[str, dict[str, str]]] = []
        self._stop = threading.Event()
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._handler())
        self._server.daemon_threads = True
        self.address = f"http://127.0.0.1:{self._server.server_address[1]}"

    def __enter__(self) -> Self:
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
        return self

    def __exit__(self, kind: type | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._stop.set()
        self._server.shutdown()
        self._server.server_close()

    @property
    def charts(self) -> list[tuple[str, dict[str, str]]]:
        """Symbol and parameters of every question for bars so far."""
        return [(path.rpartition("/")[2], query) for path, query in self.asked if "/chart/" in path]

    def _reply(self, path: str, query: dict[str, str]) -> Answer:
        if path == "/v1/test/getcrumb":
            return self.crumb
        if path.startswith("/v8/finance/chart/") or path == "/v1/finance/search":
            unusual = self.unusual.pop(0) if self.unusual else None
            if unusual or self.always:
                return unusual or self.always or Answer()
            if path == "/v1/finance/search":
                return Answer(200, json.dumps({"count": len(self.quotes), "quotes": self.quotes, "news": []}))
            return self._chart(path.rpartition("/")[2], query)
        if path == "/":  # fc.yahoo.com: an error page, but with a cookie
            return Answer(404, "", {"Set-Cookie": "A3=d=AQAB; Path=/; Max-Age=31557600"})
        return Answer(200, "<html><body>consent page without a form</body></html>")

    def _chart(self, symbol: str, query: dict[str, str]) -> Answer:
        stock = self.stocks.get(symbol)
        if stock is None:
            return error(404, GONE)
        word, start, end = query["interval"], int(query["period1"]), int(query["period2"])
        rows = stock.daily if word == "1d" else stock.intraday.get(word, [])
        chart = chart_json(symbol, stock, [row for row in rows if start <= row[0] < end], word, start, end)
        self.change(chart)
        return Answer(200, json.dumps(chart))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                parts = urlsplit(self.path)
                query = {name: values[0] for name, values in parse_qs(parts.query).items()}
                server.asked.append((unquote(parts.path), query))
                self._send(server._reply(unquote(parts.path), query))

            def do_POST(self) -> None:
                self.rfile.read(int(self.headers.get("Content-Length", 0)))
                self.do_GET()

            def _send(self, answer: Answer) -> None:
                if answer.hang:
                    server._stop.wait(30)
                    self.close_connection = True
                    return
                body = answer.body.encode() if isinstance(answer.body, str) else answer.body
                self.send_response(answer.status)
                for name, value in {"Content-Type": "application/json", **answer.headers}.items():
                    self.send_header(name, value)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body[: len(body) // 2] if answer.half else body)
                self.close_connection = answer.half

            def log_message(self, format: str, *args: object) -> None:
                """Quiet."""

        return Handler


def chart_json(
    symbol: str, stock: Stock, rows: list[tuple[Any, ...]], word: str, start: int, end: int
) -> dict[str, Any]:
    """The JSON of /v8/finance/chart; without rows as Yahoo gives it: no timestamp and an empty quote."""
    periods = {
        name: {
            "timezone": "EDT",
            "gmtoffset": -14400,
            "start": moment(stock.session, a),
            "end": moment(stock.session, b),
        }
        for name, a, b in (("pre", "04:00", "09:30"), ("regular", "09:30", "16:00"), ("post", "16:00", "20:00"))
    }
    meta: dict[str, Any] = {
        "currency": "USD", "symbol": symbol, "exchangeName": "NMS", "fullExchangeName": "NasdaqGS",
        "instrumentType": stock.kind, "firstTradeDate": 345479400, "regularMarketTime": end, "gmtoffset": -14400,
        "timezone": "EDT", "exchangeTimezoneName": "America/New_York", "priceHint": 2, "dataGranularity": word,
        "range": "", "currentTradingPeriod": periods, "validRanges": ["1d", "5d", "1mo", "max"],
    }  # fmt: skip
    quote: dict[str, list[Any]] = {}
    result: dict[str, Any] = {"meta": meta, "indicators": {"quote": [quote]}}
    if rows:
        result["timestamp"] = [row[0] for row in rows]
        for at, name in enumerate(("open", "high", "low", "close", "volume"), 1):
            quote[name] = [row[at] for row in rows]
        if word == "1d":
            result["indicators"]["adjclose"] = [{"adjclose": quote["close"]}]
        else:
            meta["tradingPeriods"] = [[_period(day)] for day in _days(rows)]
    events: dict[str, Any] = {
        "splits": {
            str(at): {"date": at, "numerator": n, "denominator": d, "splitRatio": f"{n:g}:{d:g}"}
            for at, n, d in stock.splits if start <= at < end
        },
        "dividends": {str(at): {"amount": value, "date": at} for at, value in stock.dividends if start <= at < end},
    }  # fmt: skip
    if any(events.values()):
        result["events"] = {name: found for name, found in events.items() if found}
    return {"chart": {"result": [result], "error": None}}


def _days(rows: list[tuple[Any, ...]]) -> list[date]:
    return sorted({datetime.fromtimestamp(row[0], NEW_YORK).date() for row in rows})


def _period(day: date) -> dict[str, Any]:
    return {"timezone": "EDT", "gmtoffset": -14400, "start": moment(day), "end": moment(day, "16:00")}


def sessions(first: date, last: date) -> list[date]:
    """Weekdays from first to last."""
    days = [first + timedelta(days=n) for n in range((last - first).days + 1)]
    return [day for day in days if day.weekday() < 5]


def row(at: int, price: float, volume: float | None = 1000) -> tuple[Any, ...]:
    """A bar around one price, in the 32-bit accuracy Yahoo sends."""
    import numpy as np

    single = [float(np.float32(price * factor)) for factor in (1.0, 1.01, 0.99, 1.0)]
    return (at, *single, volume)
