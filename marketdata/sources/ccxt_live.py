"""Live trades and bars of an exchange: ccxt's WebSocket in a thread of its own, REST where that has nothing.

A bar counts as closed when a later one has begun or a moment after its end. After a break of the WebSocket, and where
an exchange has no bars on it, closed bars are asked for by REST.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import queue
import threading
import time
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from marketdata.sources.bar_rows import Row, keep
from marketdata.sources.base import Asked, SourceError, SourceRefusedError, Update
from marketdata.sources.ccxt_exchange import as_source_error, check_market, library, rows_of, timeframe_of
from marketdata.ticks.series import TickBatch

logger = logging.getLogger(__name__)
_CLOSE_SECONDS = 2.0
_N_MOST_WAITING = 100_000  # things in the queue; more means that nobody reads


@dataclass(frozen=True)
class LivePatience:
    """How a live feed waits, in seconds."""

    poll: float = 0.5  # between updates when nothing comes
    grace: float = 2.0  # after a bar's end before it counts as closed
    first_wait: float = 1.0  # after a failure; doubles up to longest_wait
    longest_wait: float = 60.0
    silence: float = 90.0  # without a bar on the WebSocket REST is asked


@dataclass
class _Bars:
    """Bars of one market that are open or not given yet."""

    interval_seconds: int
    last: int  # time of the last bar given, or of the last one closed before we began
    rows: dict[int, Row] = field(default_factory=dict)

    def take(self, rows: list[Row]) -> None:
        self.rows.update({row[0]: row for row in rows if row[0] > self.last})

    def closed(self, now: float, grace: float) -> list[Row]:
        """Bars that have closed, oldest first; the open one stays."""
        newest = max(self.rows, default=0)
        done = sorted(at for at in self.rows if at < newest or at + self.interval_seconds + grace <= now)
        return [self.rows.pop(at) for at in done]


class LiveFeed:
    """A feed of some markets of one exchange."""

    def __init__(
        self,
        open_exchange: Callable[[], Any],
        asked: list[Asked],
        patience: LivePatience,
        *,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self._open_exchange, self._asked, self._patience, self._clock = open_exchange, asked, patience, clock
        self._queue: queue.Queue[tuple[str, str, Any]] = queue.Queue(_N_MOST_WAITING)
        self._stopping = threading.Event()
        now = int(clock())
        self._bars = {
            one.symbol: _Bars(one.interval_seconds, now - now % one.interval_seconds - one.interval_seconds)
            for one in asked
        }
        self._watching: dict[str, asyncio.Future[Any]] = {}  # by market and kind of data
        self._watched_rows: dict[str, list[Row]] = {}  # by market, as last seen
        self._clients: dict[str, list[Any]] = {}  # the connections of a kind of data when it was last looked at
        self._heard: dict[str, float] = {}  # by market, monotonic time of the last bar on the WebSocket
        self._failures: dict[str, str] = {}  # by market and kind of data, until it works again

    def updates(self) -> Iterator[Update]:
        """Endless, at least every `poll` seconds. Raises: SourceRefusedError."""
        thread = threading.Thread(target=self._run, name="ccxt-live", daemon=True)
        thread.start()
        try:
            while True:
                yield self._gather()
        finally:
            self._stopping.set()
            if thread is not threading.current_thread():  # an iterator nobody closed ends wherever it is collected
                thread.join(5.0)

    def _gather(self) -> Update:
        """Wait for something, then take all there is."""
        trades: dict[str, list[dict[str, Any]]] = {}
        notes: list[str] = []
        wait = self._patience.poll
        while True:
            try:
                kind, symbol, what = self._queue.get(timeout=wait) if wait else self._queue.get_nowait()
            except queue.Empty:
                break
            wait = 0.0
            if kind == "refused":
                raise what
            if kind == "trades":
                trades.setdefault(symbol, []).extend(what)
            elif kind == "bars":
                self._bars[symbol].take(what)
            elif kind == "note":
                notes.append(what)
            elif what:
                self._failures[symbol] = what
            else:
                self._failures.pop(symbol, None)
        bars = {}
        for symbol, waiting in self._bars.items():
            kept = keep(waiting.closed(self._clock(), self._patience.grace), after=waiting.last)
            notes += [f"{symbol}: bad bar {problem}" for problem in kept.problems]
            if len(kept.series):
                waiting.last = int(kept.series.time[-1])
                bars[symbol] = kept.series
        problem = "; ".join([*self._failures.values(), *notes])
        return Update(bars=bars, ticks={symbol: batch_of(rows) for symbol, rows in trades.items()}, problem=problem)

    def _run(self) -> None:
        try:
            asyncio.run(self._main())
        except SourceError as error:
            refusal = error if isinstance(error, SourceRefusedError) else SourceRefusedError(str(error))
            self._queue.put(("refused", "", refusal))
        except Exception as error:
            logger.exception("the live feed of ccxt failed")
            self._queue.put(("refused", "", SourceRefusedError(f"the live feed failed: {error!r}; start it again")))

    async def _main(self) -> None:
        exchange = self._open_exchange()
        asyncio.get_running_loop().set_exception_handler(lambda _, context: self._broken(exchange, context))
        tasks: list[asyncio.Future[Any]] = []
        try:
            await self._load_markets(exchange)
            for one in self._asked:
                check_market(exchange, one.symbol)
                timeframe = timeframe_of(exchange, one.interval_seconds)
                tasks.append(asyncio.create_task(self._follow_bars(exchange, one, timeframe)))
                if one.options.get("ticks", True) and exchange.has.get("watchTrades"):
                    tasks.append(asyncio.create_task(self._follow_trades(exchange, one.symbol)))
            tasks.append(asyncio.create_task(self._until_stopped()))
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
            for task in done:
                task.result()  # raises what ended it
        finally:
            ending = [*tasks, *self._watching.values()]
            for task in ending:
                task.cancel()
            await asyncio.gather(*ending, return_exceptions=True)
            with contextlib.suppress(TimeoutError):  # a server that says no goodbye
                await asyncio.wait_for(exchange.close(), _CLOSE_SECONDS)

    def _broken(self, exchange: Any, context: dict[str, Any]) -> None:
        """A message ccxt cannot read ends its reading without telling those who wait: connect again."""
        error = context.get("exception")
        if "handle" not in context:
            logger.debug("asyncio of the live feed: %s", context.get("message"))
            return
        logger.warning("%s sent a message that cannot be read: %r", exchange.id, error)
        for client in list(exchange.clients.values()):
            client.on_error(library().NetworkError(f"a message could not be read: {error}"))

    async def _until_stopped(self) -> None:
        while not self._stopping.is_set():
            await asyncio.sleep(0.1)

    async def _load_markets(self, exchange: Any) -> None:
        wait = self._patience.first_wait
        while not self._stopping.is_set():
            try:
                await exchange.load_markets()
            except Exception as error:
                wait = await self._failed("markets", error, exchange, wait)
            else:
                self._works("markets")
                return

    async def _follow_trades(self, exchange: Any, symbol: str) -> None:
        wait, name = self._patience.first_wait, f"trades of {symbol}"
        last: Any = None  # the last trade given
        while True:
            try:
                told = await self._woken(name, lambda: exchange.watch_trades(symbol))
            except Exception as error:
                wait = await self._failed(name, error, exchange, wait)
                continue
            if self._reconnected(name, exchange):
                self._put("note", symbol, f"{name}: the connection was renewed; trades between may be missing")
            known = list(exchange.trades.get(symbol, ()))
            new = known[1 + max((at for at, trade in enumerate(known) if trade is last), default=-1) :]
            if told is not None or new:
                self._works(name)
                wait = self._patience.first_wait
            if new:
                last = new[-1]
                self._put("trades", symbol, new)

    async def _follow_bars(self, exchange: Any, asked: Asked, timeframe: str) -> None:
        wait, name = self._patience.first_wait, f"bars of {asked.symbol}"
        next_bars = self._watched if exchange.has.get("watchOHLCV") else self._polled
        while True:
            try:
                rows = await next_bars(exchange, asked, timeframe)
            except Exception as error:
                wait = await self._failed(name, error, exchange, wait)
                await self._catch_up(exchange, asked, timeframe)
                continue
            if self._reconnected(name, exchange):
                await self._catch_up(exchange, asked, timeframe)
            if rows:
                self._works(name)
                wait = self._patience.first_wait
                self._put("bars", asked.symbol, rows)

    async def _woken(self, name: str, watch: Callable[[], Awaitable[Any]]) -> Any:
        """What ccxt's watch says, or None after a poll.

        ccxt tells nobody of a message that comes while nobody waits, which happens at the end of a burst; so its store
        is looked into after every poll. A watch still waiting is waited for again: its tasks share their futures.
        """
        watching = self._watching.pop(name, None) or asyncio.ensure_future(watch())
        done, _ = await asyncio.wait({watching}, timeout=self._patience.poll)
        if done:
            return watching.result()
        self._watching[name] = watching
        return None

    def _reconnected(self, name: str, exchange: Any) -> bool:
        """Whether the WebSocket is another one than before: a break while nobody waited is no error to ccxt."""
        before, now = self._clients.get(name), list(exchange.clients.values())
        self._clients[name] = now
        return before is not None and [id(client) for client in before] != [id(client) for client in now]

    async def _watched(self, exchange: Any, asked: Asked, timeframe: str) -> list[Row]:
        """Bars from the WebSocket, or by REST when it has said nothing for a while."""
        symbol, now = asked.symbol, time.monotonic()
        told = await self._woken(f"bars of {symbol}", lambda: exchange.watch_ohlcv(symbol, timeframe))
        known = (exchange.ohlcvs.get(symbol) or {}).get(timeframe) or ()
        after = self._bars[symbol].last * 1000
        rows = rows_of([row for row in known if row[0] > after])
        if told is not None or rows != self._watched_rows.get(symbol, []):
            self._heard[symbol], self._watched_rows[symbol] = now, rows
            return rows
        if now - self._heard.setdefault(symbol, now) < self._patience.silence:
            return []
        self._heard[symbol] = now
        return await self._by_rest(exchange, asked, timeframe)

    async def _polled(self, exchange: Any, asked: Asked, timeframe: str) -> list[Row]:
        """The bars by REST, a moment after one has closed."""
        step = asked.interval_seconds
        now = self._clock()
        await asyncio.sleep(step - now % step + self._patience.grace)
        return await self._by_rest(exchange, asked, timeframe)

    async def _catch_up(self, exchange: Any, asked: Asked, timeframe: str) -> None:
        """What the WebSocket has missed; if REST fails too, the next try asks again."""
        try:
            self._put("bars", asked.symbol, await self._by_rest(exchange, asked, timeframe))
        except Exception as error:
            logger.info("no bars of %s by REST either: %s", asked.symbol, as_source_error(error, exchange))

    async def _by_rest(self, exchange: Any, asked: Asked, timeframe: str) -> list[Row]:
        since = self._bars[asked.symbol].last + asked.interval_seconds
        return rows_of(await exchange.fetch_ohlcv(asked.symbol, timeframe, since * 1000))

    async def _failed(self, name: str, error: Exception, exchange: Any, wait: float) -> float:
        """Tell of a failure and wait. Returns: how long to wait after the next. Raises: SourceRefusedError."""
        problem = as_source_error(error, exchange)
        if isinstance(problem, SourceRefusedError):
            raise problem from error
        told = getattr(problem, "retry_after_seconds", None)
        pause = max(wait, told or 0.0)
        self._put("problem", name, f"{name}: {problem} Trying again in {pause:.0f} s.")
        await asyncio.sleep(pause)
        return min(wait * 2, self._patience.longest_wait)

    def _works(self, name: str) -> None:
        self._put("problem", name, "")

    def _put(self, kind: str, symbol: str, what: Any) -> None:
        if self._stopping.is_set():
            return
        try:
            self._queue.put_nowait((kind, symbol, what))
        except queue.Full:
            raise SourceRefusedError(
                f"{_N_MOST_WAITING} messages wait and nobody reads them; start the stream again"
            ) from None


def batch_of(trades: list[dict[str, Any]]) -> TickBatch:
    """ccxt's trades as arrays; sizes in units of the base coin, the side as condition.

    Trades without a time, price or size are left out.
    """
    good = [trade for trade in trades if trade.get("timestamp") and trade.get("price") and trade.get("amount")]
    return TickBatch.trades(
        np.array([int(trade["timestamp"]) * 1000 for trade in good], dtype=np.int64),
        np.array([float(trade["price"]) for trade in good]),
        np.array([float(trade["amount"]) for trade in good]),
        sequence=np.array([_number(trade.get("id")) for trade in good], dtype=np.int64),
        condition=np.array([str(trade.get("side") or "").encode()[:12] for trade in good], dtype="S12"),
    )


def _number(name: Any) -> int:
    """A trade's id where it is a number we can hold, else 0."""
    text = str(name or "")
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 18 else 0
