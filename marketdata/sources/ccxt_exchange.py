"""Exchanges of the ccxt library, made ready: lazily imported, public data only, errors in the words of sources."""

from __future__ import annotations

import importlib
import math
import re
import time
from functools import partial
from typing import Any
from urllib.parse import urlsplit, urlunsplit

from marketdata.sources.bar_rows import Row
from marketdata.sources.base import SourceError, SourceRefusedError, SourceUnavailableError

# Bitstamp needs no key, gives its whole history back to 2011 in pages of 1,000 bars, and serves Europe and the United
# States. Kraken, for one, gives only the last 720 bars of any interval.
DEFAULT_EXCHANGE = "bitstamp"
INSTALL = "crypto exchanges need the package ccxt: install it with pip install -c constraints.txt ccxt"
_N_MOST_LETTERS = 240
_LONGEST_RETRY_AFTER = 86_400.0  # seconds; a longer one is a mistake


def library(*, live: bool = False) -> Any:
    """The module ccxt, or ccxt.pro for WebSockets. Raises: SourceRefusedError when it is not installed."""
    try:
        return importlib.import_module("ccxt.pro" if live else "ccxt")
    except ImportError as error:
        raise SourceRefusedError(INSTALL) from error


def open_exchange(
    name: str, *, address: str, timeout_seconds: float, pause_seconds: float | None, live: bool = False
) -> Any:
    """An exchange object without keys; with an address, all its requests go there.

    pause_seconds: between two requests; None is what the exchange itself asks for.
    Raises: SourceRefusedError.
    """
    module = library(live=live)
    if name not in module.exchanges:
        raise SourceRefusedError(
            f"ccxt has no exchange {name!r}{' with a WebSocket' if live else ''}, expected such as bitstamp, kraken, "
            "coinbaseexchange or binance; set the option exchange"
        )
    settings: dict[str, Any] = {
        "enableRateLimit": True,
        "timeout": int(timeout_seconds * 1000),
        "enableLastJsonResponse": True,
        "enableLastResponseHeaders": True,
    }
    if pause_seconds is not None:
        settings["rateLimit"] = pause_seconds * 1000
    exchange = getattr(module, name)(settings)
    if not live:
        exchange.session.hooks["response"].append(partial(_read_whole, timeout_seconds))
    if address:
        exchange.urls["api"] = _moved(exchange.urls["api"], address)
    return exchange


def _read_whole(seconds: float, response: Any, **_: Any) -> None:
    """Read an answer of requests within a time: its own limit is for each piece, and a byte a second never ends."""
    until, parts = time.monotonic() + seconds, []
    try:
        while part := response.raw.read1(65_536, decode_content=True):
            parts.append(part)
            if time.monotonic() > until:
                raise library().RequestTimeout(f"no whole answer within {seconds:g} s")
    except Exception as error:
        response.close()
        if isinstance(error, library().BaseError):
            raise
        raise library().NetworkError(f"the answer broke off: {error}") from error
    response._content, response._content_consumed = b"".join(parts), True


def as_source_error(error: Exception, exchange: Any) -> SourceError:
    """What a failure of ccxt means for us. Anything else than an error of ccxt is an answer it could not read."""
    ccxt = library()
    text = _short(str(error)) or type(error).__name__
    if isinstance(error, SourceError):
        return error
    if isinstance(error, ccxt.BadSymbol):
        return SourceRefusedError(f"{exchange.id} does not know this market ({text}); search for it")
    refusals = (ccxt.NotSupported, ccxt.BadRequest, ccxt.ArgumentsRequired, ccxt.AuthenticationError)
    if isinstance(error, refusals):
        return SourceRefusedError(f"{exchange.id} refuses: {text}")
    if isinstance(error, ccxt.RateLimitExceeded | ccxt.DDoSProtection):
        return SourceUnavailableError(
            f"{exchange.id} asks us to slow down ({text}); try again later", retry_after_seconds=_retry_after(exchange)
        )
    if isinstance(error, ccxt.RequestTimeout):
        return SourceUnavailableError(f"{exchange.id} did not answer in time ({text}); try again later")
    if isinstance(error, ccxt.NetworkError):
        return SourceUnavailableError(
            f"{exchange.id} cannot be reached or does not answer ({text}); try again later, or another exchange if it "
            "does not serve your country"
        )
    if isinstance(error, ccxt.ExchangeError):
        return SourceUnavailableError(f"{exchange.id} reports an error ({text}); try again later")
    return SourceUnavailableError(f"{exchange.id} answered something that cannot be read ({text}); try again later")


def check_json(exchange: Any) -> None:
    """ccxt takes a page that is not JSON for an empty answer; we do not. Raises: SourceUnavailableError."""
    if not isinstance(exchange.last_json_response, dict | list):
        raise SourceUnavailableError(
            f"{exchange.id} answered with something that is not JSON; try again later, or look for a proxy between"
        )


def timeframe_of(exchange: Any, interval_seconds: int) -> str:
    """'1m' for 60. Raises: SourceRefusedError listing the intervals the exchange has."""
    known = {exchange.parse_timeframe(name): name for name in exchange.timeframes or {} if name[-1] in "smhd"}
    if interval_seconds not in known:
        listed = ", ".join(str(seconds) for seconds in sorted(known) if seconds <= 86_400)
        raise SourceRefusedError(
            f"{exchange.id} has no bars of {interval_seconds} s, expected one of {listed}; choose another interval"
        )
    return known[interval_seconds]


def check_market(exchange: Any, symbol: str) -> None:
    """Only spot markets: volumes of contracts are counted in contracts, not units. Raises: SourceRefusedError."""
    market = exchange.markets.get(symbol)
    if market is None:
        raise SourceRefusedError(f"{exchange.id} has no market {symbol}, expected such as BTC/USD; search for it")
    if not market.get("spot"):
        raise SourceRefusedError(f"{symbol} on {exchange.id} is a contract; only spot markets are read")


def rows_of(page: Any) -> list[Row]:
    """ccxt's bars (milliseconds, open, high, low, close, volume) with the time in seconds, oldest first.

    Raises: SourceUnavailableError when they are not that.
    """
    if not isinstance(page, list):
        raise SourceUnavailableError(f"bars came as {type(page).__name__}, expected a list; try again later")
    rows = [(int(row[0]) // 1000, *map(_float, row[1:6])) for row in page if row[0] is not None]
    return sorted(((time, *rest) for time, *rest in rows if len(rest) == 5), key=lambda row: row[0])  # type: ignore[misc]


def _float(value: Any) -> float:
    return math.nan if value is None else float(value)


def _moved(urls: Any, address: str) -> Any:
    """The same addresses at another host, a WebSocket's as ws."""
    if isinstance(urls, dict):
        return {name: _moved(part, address) for name, part in urls.items()}
    if not isinstance(urls, str):
        return urls
    old, new = urlsplit(urls), urlsplit(address)
    scheme = new.scheme.replace("http", "ws") if old.scheme in ("ws", "wss") else new.scheme
    return urlunsplit((scheme, new.netloc, old.path, old.query, ""))


def _retry_after(exchange: Any) -> float | None:
    headers = getattr(exchange, "last_response_headers", None) or {}
    values = [value for name, value in headers.items() if name.lower() == "retry-after"]
    if not values or not re.fullmatch(r"[0-9]+(\.[0-9]+)?", values[0]):
        return None
    return min(float(values[0]), _LONGEST_RETRY_AFTER)


def _short(text: str) -> str:
    one_line = " ".join(text.split())
    return one_line if len(one_line) <= _N_MOST_LETTERS else one_line[: _N_MOST_LETTERS - 1] + "…"
