"""Crypto exchanges through ccxt, an optional package: history page by page, live by WebSocket with REST as fallback."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, TypeVar

from tenacity import Retrying, retry_if_exception, stop_after_attempt, wait_exponential

from marketdata.sources.bar_rows import Row, keep, moment
from marketdata.sources.base import (
    Asked,
    Found,
    Part,
    SourceRefusedError,
    SourceUnavailableError,
    Update,
)
from marketdata.sources.ccxt_exchange import (
    DEFAULT_EXCHANGE,
    as_source_error,
    check_json,
    check_market,
    open_exchange,
    rows_of,
    timeframe_of,
)
from marketdata.sources.ccxt_live import LiveFeed, LivePatience

Answer = TypeVar("Answer")
_DAY = 86_400
_FIRST_DAY = 1_293_840_000  # 2011-01-01: no exchange has older bars
_PAGE = 300  # bars a page where ccxt does not know the exchange's own number
# A dollar coin is worth a dollar, give or take; prices in other coins are left out: no account is kept in them.
_CURRENCY_OF_COIN = {"USDT": "USD", "USDC": "USD", "USDP": "USD", "PYUSD": "USD", "EURC": "EUR", "EURT": "EUR"}
_MONEY = frozenset(
    ("USD", "EUR", "GBP", "CHF", "JPY", "AUD", "CAD", "NZD", "SGD", "HKD", "SEK", "NOK", "DKK", "PLN", "TRY")
)


@dataclass(frozen=True)
class RestPatience:
    """How the exchange's REST address is waited for, in seconds."""

    timeout: float = 10.0
    pause: float | None = None  # between two requests; None is what the exchange itself asks for
    n_tries: int = 3
    first_wait: float = 1.0
    longest_wait: float = 20.0


class CcxtSource:
    """Spot markets of one exchange.

    exchange: ccxt's id, used when an instrument's options name none. address: for tests, where all requests go instead.
    """

    name = "ccxt"
    label = "Crypto exchanges (ccxt)"
    intervals: tuple[int, ...] = (60, 180, 300, 900, 1800, 3600, 14_400, _DAY)

    def __init__(
        self,
        exchange: str = DEFAULT_EXCHANGE,
        *,
        address: str = "",
        patience: RestPatience | None = None,
        live_patience: LivePatience | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._clock = clock
        self._exchange_name, self._address = exchange, address
        self._patience = patience or RestPatience()
        self._live_patience = live_patience or LivePatience()

    def search(self, text: str, limit: int = 10) -> list[Found]:
        """Spot markets of the exchange whose symbol contains the text, best first. Raises: SourceError."""
        exchange = self._open({})
        self._call(exchange, exchange.load_markets)
        wanted = text.strip().upper()
        markets = [market for market in exchange.markets.values() if market.get("spot") and _can_be_held(market)]
        hits = [market for market in markets if wanted and wanted in market["symbol"]]
        hits.sort(key=lambda market: _rank(market, wanted))
        return [_found(exchange, market) for market in hits[:limit]]

    def history(self, asked: Asked) -> Iterator[Part]:
        """Closed bars, oldest first, in pages of the exchange's size. options: exchange. Raises: SourceError."""
        exchange = self._open(asked.options)
        timeframe = timeframe_of(exchange, asked.interval_seconds)
        self._call(exchange, exchange.load_markets)
        check_market(exchange, asked.symbol)
        yield from _History(self, exchange, asked, timeframe).parts()

    def live(self, asked: list[Asked]) -> Iterator[Update]:
        """Trades and closed bars as they come; all of one exchange. options: exchange, ticks (default True).

        Raises: SourceError.
        """
        names = {self._name_of(one.options) for one in asked}
        if len(names) != 1:
            raise SourceRefusedError(f"one stream reads one exchange, not {len(names)}: {', '.join(sorted(names))}")
        [name] = names
        yield from LiveFeed(
            lambda: self._open_named(name, live=True), asked, self._live_patience, clock=self._clock
        ).updates()

    def fetch(self, exchange: Any, symbol: str, timeframe: str, since: int, limit: int) -> list[Row]:
        """One page of bars from `since` (seconds since 1970), the open one included. Raises: SourceError."""

        def ask() -> list[list[Any]]:
            page: list[list[Any]] = exchange.fetch_ohlcv(symbol, timeframe, since * 1000, limit)
            check_json(exchange)
            return page

        return rows_of(self._call(exchange, ask))

    def now(self) -> float:
        """Seconds since 1970 by the clock that says which bars have closed."""
        return self._clock()

    def _name_of(self, options: dict[str, Any]) -> str:
        return str(options.get("exchange") or self._exchange_name)

    def _open(self, options: dict[str, Any]) -> Any:
        return self._open_named(self._name_of(options))

    def _open_named(self, name: str, *, live: bool = False) -> Any:
        patience = self._patience
        return open_exchange(
            name, address=self._address, timeout_seconds=patience.timeout, pause_seconds=patience.pause, live=live
        )

    def _call(self, exchange: Any, ask: Callable[[], Answer]) -> Answer:
        """Ask, and again after a failure that may pass; the exchange's own rate limiter spaces the questions."""

        def once() -> Answer:
            try:
                return ask()
            except Exception as error:  # ccxt also raises what Python does when it cannot read an answer
                raise as_source_error(error, exchange) from error

        def may_pass(error: BaseException) -> bool:
            return isinstance(error, SourceUnavailableError) and (
                (error.retry_after_seconds or 0.0) <= self._patience.longest_wait
            )

        def wait(state: Any) -> float:
            error = state.outcome.exception()
            told = getattr(error, "retry_after_seconds", None)
            return told if told is not None else grow(state)

        grow = wait_exponential(multiplier=self._patience.first_wait, max=self._patience.longest_wait)
        retrying = Retrying(
            stop=stop_after_attempt(self._patience.n_tries), wait=wait, retry=retry_if_exception(may_pass), reraise=True
        )
        return retrying(once)


class _History:
    """One fetch, page by page."""

    def __init__(self, source: CcxtSource, exchange: Any, asked: Asked, timeframe: str) -> None:
        self._source, self._exchange, self._asked, self._timeframe = source, exchange, asked, timeframe
        self._step = asked.interval_seconds
        now = int(source.now())
        end = int(asked.end.timestamp()) if asked.end else now
        self._end = min(end, now - self._step + 1)  # bars start before this: a later one has not closed
        self._limit = int(exchange.feature_value(asked.symbol, "fetchOHLCV", "limit", None) or _PAGE)

    def parts(self) -> Iterator[Part]:
        start = self._start()
        since, last = start, None
        n_bars = 0
        while since < self._end:
            rows = self._source.fetch(self._exchange, self._asked.symbol, self._timeframe, since, self._limit)
            kept = keep([row for row in rows if row[0] < self._end], after=last if last is not None else since - 1)
            problems = kept.problems
            if len(kept.series):
                last = int(kept.series.time[-1])
                if n_bars == 0:
                    problems = self._late(start, int(kept.series.time[0])) + problems
                n_bars += len(kept.series)
            if rows:
                # A time beyond the end is the open bar, or nonsense that must not end the fetch.
                newest = max((row[0] for row in rows if row[0] < self._end), default=self._end)
                since = max(since, newest) + self._step
            else:
                since = self._after_nothing(since, n_bars)
            yield Part(kept.series, done=self._done(start, since), n_bad=kept.n_bad, problems=problems)
        if n_bars == 0:
            words = f"{self._exchange.id} has no closed bars of {self._asked.symbol} in this time"
            yield Part(keep([]).series, problems=[words])

    def _start(self) -> int:
        """The first bar's time: what was asked for, or the first day the exchange has."""
        if self._asked.start is not None:
            start = int(self._asked.start.timestamp())
            return start + -start % self._step
        return self._first_day(_FIRST_DAY)

    def _first_day(self, since: int) -> int:
        """The first day from `since` on with a bar; the end when there is none."""
        daily = timeframe_of(self._exchange, _DAY)
        while since < self._end:
            rows = self._source.fetch(self._exchange, self._asked.symbol, daily, since, self._limit)
            if rows:
                return min(row[0] for row in rows)
            since += self._limit * _DAY
        return self._end

    def _after_nothing(self, since: int, n_bars: int) -> int:
        """Where to go on after a page without bars: before a market was listed there can be very many of them."""
        beyond = since + self._limit * self._step
        return beyond if n_bars else max(beyond, self._first_day(beyond - beyond % _DAY))

    def _late(self, start: int, first: int) -> list[str]:
        if first - start <= self._step * self._limit:
            return []
        return [f"{self._exchange.id} gives bars of this length only from {moment(first)} UTC on"]

    def _done(self, start: int, since: int) -> float:
        return min((since - start) / (self._end - start), 1.0)


def _currency(market: dict[str, Any]) -> str:
    return _CURRENCY_OF_COIN.get(market["quote"], market["quote"])


def _can_be_held(market: dict[str, Any]) -> bool:
    return _currency(market) in _MONEY


def _rank(market: dict[str, Any], wanted: str) -> tuple[int, int, str]:
    """Exact symbols first, then the base asked for, dollars before the rest."""
    symbol, base = market["symbol"], market["base"]
    order = (symbol == wanted, base == wanted, symbol.startswith(wanted))
    return (order.index(True) if True in order else len(order), int(market["quote"] != "USD"), symbol)


def _found(exchange: Any, market: dict[str, Any]) -> Found:
    priced = f", priced in {market['quote']}" if market["quote"] != _currency(market) else ""
    return Found(
        symbol=market["symbol"],
        name=f"{market['base']} in {market['quote']} on {exchange.name}{priced}",
        asset_class="crypto",
        exchange=exchange.id,
        currency=_currency(market),
        calendar="24/7",
    )
