"""Trades, quotes and bars of one simulated instrument, cut out of its path wherever they are asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from marketdata.series import BarSeries
from marketdata.sources.simulated_market import Path, Recent, Session, generator
from marketdata.ticks.series import QUOTE, TickBatch

DAY = 86_400
MICROSECOND = 1_000_000
_TRADES, _QUOTES = 5, 6
_MOST_A_BLOCK = 20_000  # trades drawn together; a busy instrument is drawn in shorter blocks
_BLOCKS = (1800, 600, 60, 10, 1)
_EXCHANGE = b"SIM"


class Tape:
    """What is printed of one path: trades at bid or ask, a quote every second, and bars made of the trades."""

    def __init__(self, path: Path) -> None:
        self.path, self.rules, self.market = path, path.rules, path.market
        fits = [seconds for seconds in _BLOCKS if seconds * self.rules.ticks_per_second <= _MOST_A_BLOCK]
        self.block_seconds = fits[0] if fits else _BLOCKS[-1]
        self._blocks = Recent(64)

    def ticks(self, start: int, end: int) -> TickBatch:
        """Trades and quotes from `start` (included) to `end` (excluded), microseconds UTC, in order of time."""
        pieces = [
            piece
            for session, block in self._touched(start // MICROSECOND, -(-end // MICROSECOND))
            for piece in (self._quotes(session, block), self._prints(session, block))
        ]
        if not pieces:
            return TickBatch.empty()
        names = TickBatch.__dataclass_fields__
        whole = TickBatch(*(np.concatenate([getattr(piece, name) for piece in pieces]) for name in names))
        order = np.argsort(whole.time, kind="stable")  # the quote of a moment comes before its trade
        order = order[(whole.time[order] >= start) & (whole.time[order] < end)]
        return whole.take(order)

    def bars(self, interval_seconds: int, start: int, until: int) -> BarSeries:
        """Bars that begin at `start` or later and have closed by `until`, both in seconds UTC.

        Below a day a bar begins at a whole multiple of its length since 1970 UTC and a bar without trades does not
        exist; a daily bar's time is its session's date, and it closes with its session.
        """
        if interval_seconds == DAY:
            return self._daily(start, until)
        first = -(-start // interval_seconds) * interval_seconds
        end = until // interval_seconds * interval_seconds
        rows = [self._trades(session, block) for session, block in self._touched(first, end)]
        if not rows:
            return BarSeries.empty()
        time, price, size = (np.concatenate(column) for column in zip(*rows, strict=True))
        seconds = time // MICROSECOND
        inside = (seconds >= first) & (seconds < end)
        return _merged(seconds[inside] // interval_seconds * interval_seconds, price[inside], size[inside])

    def _daily(self, start: int, until: int) -> BarSeries:
        rows = []
        for number in self.market.numbers(start - DAY, until):
            day, closes = int(self.market.known.day[number]), int(self.market.known.closes[number])
            if day < start or closes > until:
                continue
            session = self.market.session(number)
            blocks = [self._trades(session, block) for block in range(self._n_blocks(session))]
            price, size = (np.concatenate([block[column] for block in blocks]) for column in (1, 2))
            if price.size:
                rows.append((day, price[0], price.max(), price.min(), price[-1], size.sum()))
        return BarSeries(*map(np.array, zip(*rows, strict=True))) if rows else BarSeries.empty()

    def _touched(self, start: int, end: int) -> Iterator[tuple[Session, int]]:
        """Sessions and blocks that hold a second from `start` (included) to `end` (excluded)."""
        if end <= start:
            return
        for number in self.market.numbers(start, end):
            session = self.market.session(number)
            first = max(start - session.opens, 0) // self.block_seconds
            last = (min(end, session.closes) - session.opens - 1) // self.block_seconds
            for block in range(first, last + 1):
                yield session, block

    def _n_blocks(self, session: Session) -> int:
        return -(-session.n_seconds // self.block_seconds)

    def _trades(self, session: Session, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Time in microseconds UTC, price and size of a block's trades, in order, each (n,)."""
        return self._blocks.get((session.number, block), lambda: self._drawn(session, block))

    def _drawn(self, session: Session, block: int) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        first = block * self.block_seconds
        last = min(first + self.block_seconds, session.n_seconds)
        draws = generator(self.market.rules.seed, _TRADES, self.rules.symbol, session.number, block)
        counts = draws.poisson(self.rules.ticks_per_second * session.profile[first:last])
        n = int(counts.sum())
        time = np.repeat(np.arange(first, last), counts) * MICROSECOND + draws.integers(0, MICROSECOND, n)
        time.sort()
        mids, second = self.path.mids(session.number), time // MICROSECOND
        mid = mids[second] + (mids[second + 1] - mids[second]) * (time % MICROSECOND / MICROSECOND)
        bid, ask = self._spread(mid)
        price = np.where(draws.random(n) < 0.5, ask, bid)
        return time + session.opens * MICROSECOND, price, draws.geometric(1 / self.rules.size, n).astype(float)

    def _prints(self, session: Session, block: int) -> TickBatch:
        time, price, size = self._trades(session, block)
        # The number tells apart prints of one microsecond; it is the same whoever asks for which piece.
        sequence = session.number * 10**11 + block * 10**6 + np.arange(1, time.size + 1)
        return TickBatch.trades(time, price, size, sequence=sequence, exchange=_EXCHANGE)

    def _quotes(self, session: Session, block: int) -> TickBatch:
        first = block * self.block_seconds
        second = np.arange(first, min(first + self.block_seconds, session.n_seconds))
        second = second[session.profile[second] > 0]
        bid, ask = self._spread(self.path.mids(session.number)[second])
        draws = generator(self.market.rules.seed, _QUOTES, self.rules.symbol, session.number, block)
        sizes = draws.geometric(1 / self.rules.size, (2, second.size)).astype(float)
        n, none = second.size, np.full(second.size, np.nan)
        return TickBatch(
            (second + session.opens) * MICROSECOND, np.full(n, QUOTE), none, none, bid, sizes[0], ask, sizes[1],
            np.zeros(n), np.full(n, _EXCHANGE), np.full(n, b""),
        )  # fmt: skip

    def _spread(self, mid: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Bid and ask around a price: whole price steps, at least one apart, the bid at least one step."""
        half, step = mid * self.rules.spread_bps / 20_000, self.rules.tick_size
        if step == 0:
            return mid - half, mid + half
        # A price that is a whole number of steps but for the last binary digit stays where it is.
        bid = np.maximum(np.floor((mid - half) / step + 1e-9), 1)
        ask = np.maximum(np.ceil((mid + half) / step - 1e-9), bid + 1)
        return np.round(bid * step, 10), np.round(ask * step, 10)


def _merged(start: np.ndarray, price: np.ndarray, size: np.ndarray) -> BarSeries:
    """Bars of trades in order of time; start: (n,) begin of the bar each trade belongs to."""
    if start.size == 0:
        return BarSeries.empty()
    first = np.flatnonzero(np.diff(start, prepend=start[0] - 1))
    last = np.append(first[1:], start.size) - 1
    return BarSeries(
        start[first], price[first], np.maximum.reduceat(price, first), np.minimum.reduceat(price, first), price[last],
        np.add.reduceat(size, first),
    )  # fmt: skip
