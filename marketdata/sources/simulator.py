"""The simulator as a source: any symbol, any interval, bars or ticks, at any speed, from a seed.

Options: see simulated_rules.py, and `ticks` (true: trades and quotes instead of bars) and `speed` (how many times
faster than the clock a live stream runs; 0: as fast as it can). At another speed than 1 the hours in which the market
is closed are skipped. No stream ever shows what lies ahead of the clock: one that has caught up goes on at speed 1.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from threading import RLock

from marketdata.series import BarSeries
from marketdata.sources.base import Asked, Found, Part, SourceRefusedError, Update
from marketdata.sources.simulated_market import Market, market_of
from marketdata.sources.simulated_rules import read
from marketdata.sources.simulated_ticks import DAY, MICROSECOND, Tape
from marketdata.ticks.series import TickBatch

_TRADES_A_PART = 400_000
_MOST_SESSIONS_A_PART = 60
_BARS_AT_ONCE = 200  # of a live stream that runs as fast as it can or catches up
_TICKS_AT_ONCE = 20_000
# Markets are shared within a process and grow while they are read.
_LOCK = RLock()


class SimulatorSource:
    """One of the sources; see base.Source."""

    name = "simulator"
    label = "Simulated market"
    intervals: tuple[int, ...] = ()

    def __init__(self, *, now: Callable[[], float] = time.time, sleep: Callable[[float], object] = time.sleep) -> None:
        """now: seconds since 1970 UTC; sleep: waits as many seconds. Both only differ in tests."""
        self._now, self._sleep = now, sleep

    def search(self, text: str, limit: int = 10) -> list[Found]:
        """Whatever is asked for can be simulated."""
        symbol = text.strip().upper()
        if not symbol or limit < 1:
            return []
        return [Found(symbol[:32], f"{symbol[:32]}, simulated", "stock", exchange="SIM", calendar="24/7")]

    def history(self, asked: Asked) -> Iterator[Part]:
        """Closed bars from `start`, or the market's begin, to `end`, or now. Raises: SourceRefusedError."""
        tape = _tape(asked)
        begins = int(datetime.combine(tape.market.rules.begins, datetime.min.time(), UTC).timestamp())
        start = max(begins, int(asked.start.timestamp())) if asked.start else begins
        until = int(self._now())
        # A bar that begins at the end asked for is still asked for.
        end = min(until, int(asked.end.timestamp()) + asked.interval_seconds) if asked.end else until
        for part in _pieces(tape, asked.interval_seconds, start, end):
            # A session that began by the end asked for may have a later date.
            yield replace(part, series=part.series.until(int(asked.end.timestamp()))) if asked.end else part

    def live(self, asked: list[Asked]) -> Iterator[Update]:
        """Bars as they close, or ticks as they come, from `start` or now on. Raises: SourceRefusedError."""
        tapes = {one.symbol: _tape(one) for one in asked}
        if not asked:
            raise SourceRefusedError("no instrument was asked for: give the stream at least one")
        options, interval = asked[0].options, asked[0].interval_seconds
        clock = _Clock(next(iter(tapes.values())).market, float(options.get("speed", 1)), asked[0].start, self._now)
        wants_ticks = bool(options.get("ticks"))
        if wants_ticks:
            pause = 0.05
            stride = max(1.0, _TICKS_AT_ONCE / sum(tape.rules.ticks_per_second for tape in tapes.values()))
        else:
            pause = min(max(interval / max(clock.speed, 1) / 4, 0.05), 0.5)
            stride = float(_BARS_AT_ONCE * interval)
        after = clock.at
        begun = {symbol: int(-(-after // 1)) for symbol in tapes}  # first bar of each that has not come yet
        while True:
            until = clock.tick(stride)
            with _LOCK:
                if wants_ticks:
                    update = Update(ticks=_ticks(tapes, after, until))
                else:
                    update = Update(bars=_bars(tapes, interval, begun, until))
            after = until
            yield update
            if clock.caught_up or clock.speed not in (0, 1):
                self._sleep(pause)


class _Clock:
    """Where a live stream stands on the market's own time line, in seconds UTC."""

    def __init__(self, market: Market, speed: float, start: datetime | None, now: Callable[[], float]) -> None:
        self.market, self.speed, self.now = market, speed, now
        self.caught_up = False
        self.looked = now()
        self.at = start.timestamp() if start else self.looked

    def tick(self, stride: float) -> float:
        """Move on by what has passed, or at full speed by `stride` seconds; never more at once, never beyond now."""
        now = self.now()
        passed, self.looked = now - self.looked, now
        if self.speed == 1 or self.caught_up:
            wanted = self.at + stride
        else:
            wanted = self._open_after(stride if self.speed == 0 else min(passed * self.speed, stride))
        self.at = max(self.at, min(wanted, now))
        self.caught_up = self.at >= now
        return self.at

    def _open_after(self, seconds: float) -> float:
        """The moment after so many more seconds in which the market is open."""
        at = self.at
        with _LOCK:
            while seconds > 0 and at < self.looked:
                numbers = self.market.numbers(int(at), int(at) + 40 * DAY)
                if not numbers:
                    return at + seconds
                known = self.market.known
                begin = max(at, float(known.opens[numbers[0]]))
                at = min(begin + seconds, float(known.closes[numbers[0]]))
                seconds -= at - begin
        return at


def _tape(asked: Asked) -> Tape:
    interval = asked.interval_seconds
    if not 1 <= interval <= DAY or DAY % interval:
        raise SourceRefusedError(f"the simulator has no bars of {interval} seconds: give a length that divides a day")
    market_rules, found = read(asked)
    with _LOCK:
        try:
            return Tape(market_of(market_rules).path(found[asked.symbol], found))
        except ValueError as error:
            raise SourceRefusedError(str(error)) from error


def _pieces(tape: Tape, interval: int, start: int, end: int) -> Iterator[Part]:
    """History in pieces of whole sessions."""
    with _LOCK:
        numbers = tape.market.numbers(start, end)
        length = tape.market.year_seconds / tape.market.n_year
    at_once = int(_TRADES_A_PART / (tape.rules.ticks_per_second * length))
    at_once = min(max(at_once, 1), _MOST_SESSIONS_A_PART)
    known = tape.market.known
    for first in range(numbers.start, numbers.stop, at_once):
        last = min(first + at_once, numbers.stop)
        with _LOCK:
            edge = end if last == numbers.stop else min(int(known.opens[last]), end)
            series = tape.bars(interval, start, edge)
        yield Part(series, done=(last - numbers.start) / len(numbers))
        start = int(known.day[last]) if interval == DAY and last < numbers.stop else edge // interval * interval


def _ticks(tapes: dict[str, Tape], after: float, until: float) -> dict[str, TickBatch]:
    found = {symbol: tape.ticks(int(after * MICROSECOND), int(until * MICROSECOND)) for symbol, tape in tapes.items()}
    return {symbol: batch for symbol, batch in found.items() if len(batch)}


def _bars(tapes: dict[str, Tape], interval: int, begun: dict[str, int], until: float) -> dict[str, BarSeries]:
    found = {}
    for symbol, tape in tapes.items():
        series = tape.bars(interval, begun[symbol], int(until))
        if len(series):
            found[symbol] = series
            begun[symbol] = int(series.time[-1]) + 1
    return found
