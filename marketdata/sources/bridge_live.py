"""The bridge's stream as updates: ticks and bars gathered, and bars that were missed fetched by history."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import numpy as np

from core.bridge.client import BridgeClient
from core.bridge.errors import BridgeError, BridgeRefusedError
from core.bridge.messages import Bar
from core.bridge.stream_messages import (
    Gap,
    Lost,
    QuoteTick,
    StreamBar,
    StreamEvent,
    StreamProblem,
    StreamStatus,
    Subscribed,
    Subscription,
    TradeTick,
    Welcome,
)
from marketdata.series import BarSeries
from marketdata.sources.bar_rows import Row, keep
from marketdata.sources.base import Update
from marketdata.ticks.series import QUOTE, TRADE, TickBatch

_FLUSH_SECONDS = 0.1  # under a flood an update is given this often
_N_FILL_TRIES = 5
_TickRow = tuple[int, int, float, float, float, float, float, float, int, bytes, bytes]


@dataclass
class Followed:
    """One instrument of a live feed and what of it is on its way."""

    symbol: str
    con_id: int
    interval_seconds: int
    regular_hours: bool
    subscription: Subscription
    ticks: list[_TickRow] = field(default_factory=list)
    bars: dict[int, Row] = field(default_factory=dict)  # by time, not given yet
    last: int = 0  # time of the last bar given, or of the last one that closed before we began
    fill_at: float | None = None  # monotonic time to ask history for what is missing
    n_fill_tries: int = 0
    filling: Future[tuple[Bar, ...]] | None = None
    holes: set[int] = field(default_factory=set)  # times of bars that came with a part missing

    @property
    def has_bars(self) -> bool:
        return self.subscription.bar_seconds is not None

    def need_fill(self, delay: float) -> None:
        """Ask history soon; bars are held back until it has answered, so that they stay in order."""
        if self.has_bars and self.fill_at is None:
            self.fill_at, self.n_fill_tries = time.monotonic() + delay, 0


class Feed:
    """Turns the events of a stream into updates.

    fill_delay: seconds after the end of a bar until history knows it.
    """

    def __init__(self, client: BridgeClient, followed: list[Followed], *, fill_delay: float) -> None:
        self._client = client
        self._by_id = {one.subscription.id: one for one in followed}
        self._fill_delay = fill_delay
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="bridge-fill")
        self._n_welcomes = 0
        self._problem = ""  # of the connection or the gateway, until it passes
        self._notes: list[str] = []  # to be told once
        for one in followed:
            now = int(time.time())
            one.last = now - now % one.interval_seconds - one.interval_seconds

    def updates(self, events: Iterator[StreamEvent | None]) -> Iterator[Update]:
        """Endless, at least as often as events yields None. Raises: BridgeRefusedError."""
        flushed = time.monotonic()
        for event in events:
            if event is not None:
                self._take(event)
                if time.monotonic() - flushed < _FLUSH_SECONDS:
                    continue
            self._fill_all()
            yield self._flush()
            flushed = time.monotonic()

    def close(self) -> None:
        """Do not wait for history that nobody wants any more."""
        self._pool.shutdown(wait=False, cancel_futures=True)

    def _take(self, event: StreamEvent) -> None:
        if isinstance(event, TradeTick | QuoteTick | StreamBar | StreamProblem) and event.id is not None:
            one = self._by_id.get(event.id)
            if one is not None:
                self._take_of(one, event)
        elif isinstance(event, Welcome):
            self._n_welcomes += 1
            self._problem = ""
            if self._n_welcomes > 1:
                self._need_fills()
        elif isinstance(event, Lost):
            self._problem = f"the bridge's stream is down: {event.reason}; trying again in {event.wait_seconds:.0f} s"
        elif isinstance(event, Gap):
            self._notes.append(f"{event.n_missed} messages of the bridge were lost; missing bars are fetched again")
            self._need_fills()
        elif isinstance(event, StreamStatus):
            self._take_status(event)
        elif isinstance(event, Subscribed) and event.market_data_type not in ("live", "unknown"):
            self._notes.append(f"market data of {self._by_id[event.id].symbol} is {event.market_data_type}, not live")
        elif isinstance(event, StreamProblem):
            self._notes.append(f"the bridge: {event.problem.words()}")

    def _take_of(self, one: Followed, event: TradeTick | QuoteTick | StreamBar | StreamProblem) -> None:
        if isinstance(event, TradeTick | QuoteTick):
            one.ticks.append(_tick_row(event))
        elif isinstance(event, StreamBar):
            row = bar_row(event.bar)
            one.bars[row[0]] = row
            if not event.complete:
                one.holes.add(row[0])
                one.need_fill(self._fill_delay)
        elif event.ended:
            words = f"the bridge ended the data of {one.symbol}: {event.problem.words()}"
            raise BridgeRefusedError(words, code=event.problem.code)
        else:
            self._notes.append(f"{one.symbol}: {event.problem.words()}")

    def _take_status(self, event: StreamStatus) -> None:
        self._problem = "" if event.state == "ready" else f"the gateway is {event.state}: {event.reason}"
        if event.data_lost:
            self._need_fills(event.con_ids)

    def _need_fills(self, con_ids: tuple[int, ...] = ()) -> None:
        for one in self._by_id.values():
            if not con_ids or one.con_id in con_ids:
                one.need_fill(self._fill_delay)

    def _fill_all(self) -> None:
        """Start what is due and take what has come; the asking itself happens in a thread, so that updates go on."""
        for one in self._by_id.values():
            if one.filling is None and one.fill_at is not None and time.monotonic() >= one.fill_at:
                one.fill_at = None
                one.filling = self._pool.submit(self._history, one)
            if one.filling is not None and one.filling.done():
                future, one.filling = one.filling, None
                self._filled(one, future)

    def _filled(self, one: Followed, future: Future[tuple[Bar, ...]]) -> None:
        try:
            bars = future.result()
        except BridgeError as error:
            one.n_fill_tries += 1
            if one.n_fill_tries < _N_FILL_TRIES:
                wait = getattr(error, "retry_after_seconds", None) or self._fill_delay * 2**one.n_fill_tries
                one.fill_at = time.monotonic() + wait
            words = "trying again" if one.fill_at is not None else "fetch its history to fill the gap"
            self._notes.append(f"bars of {one.symbol} since {_words(one.last)} are missing ({error}); {words}")
            return
        filled = {row[0]: row for row in map(bar_row, bars)}
        one.bars.update(filled)  # history knows better than a bar with a hole
        open_holes = sorted(one.holes - filled.keys())
        self._notes += [f"the bar of {one.symbol} at {_words(at)} has a part missing" for at in open_holes]
        one.holes.clear()

    def _history(self, one: Followed) -> tuple[Bar, ...]:
        """Every closed bar after the last one given."""
        start = datetime.fromtimestamp(one.last, UTC) + timedelta(seconds=one.interval_seconds)
        found: list[Bar] = []
        page: str | None = None
        while True:
            answer = self._client.bars(
                one.con_id, one.interval_seconds, start=start, regular_hours=one.regular_hours, page=page
            )
            found += answer.items
            page = answer.next_page
            if page is None:
                return tuple(found)

    def _flush(self) -> Update:
        bars: dict[str, BarSeries] = {}
        ticks: dict[str, TickBatch] = {}
        for one in self._by_id.values():
            if one.ticks:
                ticks[one.symbol] = batch_of(one.ticks)
                one.ticks = []
            if one.bars and one.fill_at is None and one.filling is None:
                series = self._closed(one)
                if len(series):
                    bars[one.symbol] = series
        problem = "; ".join(part for part in (self._problem, *self._notes) if part)
        self._notes = []
        return Update(bars=bars, ticks=ticks, problem=problem)

    def _closed(self, one: Followed) -> BarSeries:
        kept = keep((one.bars[at] for at in sorted(one.bars)), after=one.last)
        one.bars = {}
        self._notes += [f"{one.symbol}: bad bar {problem}" for problem in kept.problems]
        if len(kept.series):
            one.last = int(kept.series.time[-1])
        return kept.series


def bar_row(bar: Bar) -> Row:
    """A bar in floats, time in seconds: from here on it is market data, not money."""
    prices = (float(bar.open), float(bar.high), float(bar.low), float(bar.close))
    return (int(bar.time.timestamp()), *prices, float(bar.volume))


def batch_of(rows: list[_TickRow]) -> TickBatch:
    """Rows of ticks as arrays."""
    return TickBatch(*(np.array(column) for column in zip(*rows, strict=True)))


def _tick_row(event: TradeTick | QuoteTick) -> _TickRow:
    moment = event.time
    micros = int(moment.timestamp()) * 1_000_000 + moment.microsecond  # exact: no float has the microseconds
    exchange = event.exchange.encode("ascii", "replace")[:8]
    none = math.nan
    if isinstance(event, TradeTick):
        price, size = float(event.price), float(event.size)
        condition = event.condition.encode("ascii", "replace")[:12]
        return (micros, TRADE, price, size, none, none, none, none, event.number, exchange, condition)
    quote = (_float(event.bid), _float(event.bid_size), _float(event.ask), _float(event.ask_size))
    return (micros, QUOTE, none, none, *quote, event.number, exchange, b"")


def _float(value: Decimal | None) -> float:
    return math.nan if value is None else float(value)


def _words(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%H:%M:%S")
