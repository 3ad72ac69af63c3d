"""Yahoo: history and pseudo-live bars, through yfinance. Pure.

- Bars are stored as they were traded: `auto_adjust` is off and Yahoo's own split adjustment is undone, see
  yahoo_bars.py. Splits and dividends come along as actions, none of them in the prices (Part.in_prices is False).
- Yahoo keeps 1-minute bars for 30 days (7 a question), 5 and 15 minutes for 60 days, hours for 730, days for ever.
- Only closed bars are given. A daily bar is labelled with its session's date at 00:00 UTC.
- Nothing is kept here: the caller asks for what is not in our tables, `start` to `end`, both included.
- Every history begins with one question for daily bars: it has all splits up to now, without which older prices
  cannot be told. Daily bars are asked for in that one question and handed out in pieces of five years.
"""

from __future__ import annotations

from collections.abc import Generator, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from pathlib import Path

from marketdata.adjusted import SPLIT
from marketdata.series import BarSeries
from marketdata.sources import yahoo_bars
from marketdata.sources.base import Action, Asked, Found, Part, SourceRefusedError, SourceUnavailableError, Update
from marketdata.sources.yahoo_bars import DAY, Sheet
from marketdata.sources.yahoo_client import TIMEOUT_SECONDS, Chart, YahooClient
from marketdata.sources.yahoo_exchanges import found
from marketdata.sources.yahoo_polling import LONGEST_WAIT_SECONDS, BackOff, Clock, Polling, Seen, Watched, starting

_EARLIEST = datetime(1927, 12, 1, tzinfo=UTC)  # before Yahoo's oldest series
_BEFORE = timedelta(days=10)  # so that the first day asked for has a close before it
_TRIES = 4


@dataclass(frozen=True)
class Interval:
    """What Yahoo has of one length of bar."""

    word: str
    reach: timedelta | None  # how far back, a little less than Yahoo says so that the edge is safe; None: all
    piece: timedelta


INTERVALS = {
    60: Interval("1m", timedelta(days=29), timedelta(days=7)),
    300: Interval("5m", timedelta(days=59), timedelta(days=20)),
    900: Interval("15m", timedelta(days=59), timedelta(days=30)),
    3600: Interval("1h", timedelta(days=729), timedelta(days=180)),
    DAY: Interval("1d", None, timedelta(days=5 * 366)),
}
LIVE = (60, 300, 900)
_Asking = Generator[Part, None, Chart]  # parts to pass on while waiting, then the answer


class YahooSource:
    """One of the sources; see base.Source."""

    name = "yahoo"
    label = "Yahoo"
    intervals: tuple[int, ...] = tuple(INTERVALS)

    def __init__(
        self,
        *,
        address: str | None = None,
        folder: Path | None = None,
        timeout_seconds: float = TIMEOUT_SECONDS,
        clock: Clock | None = None,
    ) -> None:
        """address: another server instead of Yahoo's (http://host:port); folder: where yfinance may keep its caches,
        None: a temporary one; clock: only differs in tests."""
        self.client = YahooClient(address=address or None, folder=folder, timeout_seconds=timeout_seconds)
        self.clock = clock or Clock()

    def search(self, text: str, limit: int = 10) -> list[Found]:
        """Instruments of exchanges whose calendar is known, best first. Raises: SourceError."""
        if not text.strip() or limit < 1:
            return []
        quotes = self.client.search(text.strip(), limit)
        return [one for one in map(found, quotes) if one is not None][:limit]

    def history(self, asked: Asked) -> Iterator[Part]:
        """Bars as traded from `start` to `end`, both included. Raises: SourceError after some tries.

        While Yahoo wants fewer questions, parts without bars come about once a second; the first says why.
        """
        interval, now = _interval(asked, tuple(INTERVALS)), self.clock.now()
        end = min(asked.end or now, now)
        start, problems = _within_reach(asked, interval, now)
        if start > end:
            yield Part(BarSeries.empty(), problems=problems)
            return
        daily = yield from self._asked(asked.symbol, INTERVALS[DAY], start - _BEFORE, now, 0.0)
        sheet = yahoo_bars.read(daily, DAY)
        splits, unadjusted = yahoo_bars.in_prices(sheet.series, _splits(sheet), UTC)
        actions = yahoo_bars.as_paid(sheet.actions, splits)
        problems += unadjusted
        if asked.interval_seconds == DAY:
            start = max(start, _moment(sheet.series.time[0]) if len(sheet.series) else end)
        at = start
        while at <= end:
            until = min(at + interval.piece, end + timedelta(seconds=1))
            chart, read = daily, sheet
            if asked.interval_seconds != DAY:
                # One bar more: Yahoo often gives no volume with the first. Its last may begin at the very end.
                first = at - timedelta(seconds=asked.interval_seconds)
                chart = yield from self._asked(asked.symbol, interval, first, until, _share(start, at, end))
                read = yahoo_bars.read(chart, asked.interval_seconds)
            last = until > end
            told = last or asked.interval_seconds != DAY  # what is wrong with an answer is said once
            yield Part(
                self._bars(asked, read, chart, splits, at, until),
                _between(actions, at, end + timedelta(days=1) if last else until),
                done=1.0 if last else _share(start, until, end),
                n_bad=read.n_bad if told else 0,
                problems=problems + (read.problems if told else []),
            )
            at, problems = until, []

    def live(self, asked: list[Asked]) -> Iterator[Update]:
        """Closed bars at 1, 5 or 15 minutes, shortly after each ends. Raises: SourceRefusedError; see yahoo_polling."""
        if not asked:
            raise SourceRefusedError("no instrument was asked for: give the stream at least one")
        now, watched = self.clock.now(), []
        for one in asked:
            interval = _interval(one, LIVE)
            since = int(_within_reach(one, interval, now)[0].timestamp()) if one.start else 0
            watched.append(starting(Watched(one.symbol, one.interval_seconds, since, now), now))
        yield from Polling(watched, self._look, self.clock).updates()

    def _look(self, watched: Watched) -> Seen:
        interval, now, seconds = INTERVALS[watched.interval_seconds], self.clock.now(), watched.interval_seconds
        first = max(watched.ask_from - seconds, int((now - interval.piece).timestamp()))
        chart = self.client.chart(watched.symbol, interval.word, _moment(first), now)
        sheet = yahoo_bars.read(chart, seconds)
        # The answer reaches until now, so the splits in it are all that its bars are adjusted for.
        series = yahoo_bars.closed(sheet.series, seconds, chart, now)
        splits, _ = yahoo_bars.in_prices(sheet.series, _splits(sheet), sheet.zone)
        series = yahoo_bars.undo_splits(series, splits, sheet.zone)
        return Seen(series.between(first + 1, int(now.timestamp())), chart.opens, chart.closes)

    def _asked(self, symbol: str, interval: Interval, start: datetime, end: datetime, done: float) -> _Asking:
        back_off = BackOff(self.clock.chance)
        while True:
            try:
                return self.client.chart(symbol, interval.word, start, end)
            except SourceUnavailableError as error:
                left = back_off.seconds(error.retry_after_seconds)
                if back_off.n_failures >= _TRIES or left > LONGEST_WAIT_SECONDS:
                    raise
                words = [f"{error}. Asked again in {left:.0f} s."]
            while left > 0:
                yield Part(BarSeries.empty(), done=done, problems=words)
                self.clock.wait(min(left, 1.0))
                left, words = left - 1.0, []

    def _bars(
        self, asked: Asked, sheet: Sheet, chart: Chart, splits: list[Action], at: datetime, until: datetime
    ) -> BarSeries:
        series = yahoo_bars.closed(sheet.series, asked.interval_seconds, chart, self.clock.now())
        series = series.between(_up(at), _up(until) - 1)
        zone: tzinfo = UTC if asked.interval_seconds == DAY else sheet.zone
        return yahoo_bars.undo_splits(series, splits, zone)


def _interval(asked: Asked, allowed: tuple[int, ...]) -> Interval:
    if asked.interval_seconds not in allowed:
        words = ", ".join(f"{seconds}" for seconds in allowed)
        raise SourceRefusedError(
            f"Yahoo has no bars of {asked.interval_seconds} s for {asked.symbol} this way; use one of {words} s"
        )
    return INTERVALS[asked.interval_seconds]


def _within_reach(asked: Asked, interval: Interval, now: datetime) -> tuple[datetime, list[str]]:
    """Where to begin, and a sentence if Yahoo does not go back as far as was asked."""
    if interval.reach is None:
        return asked.start or _EARLIEST, []
    earliest = now - interval.reach
    if asked.start is None or asked.start >= earliest:
        return asked.start or earliest, []
    return earliest, [
        f"Yahoo keeps {interval.word} bars of {asked.symbol} for {interval.reach.days + 1} days: bars before "
        f"{earliest:%Y-%m-%d %H:%M} UTC cannot be had from it"
    ]


def _splits(sheet: Sheet) -> list[Action]:
    return [action for action in sheet.actions if action.kind == SPLIT]


def _between(actions: list[Action], at: datetime, until: datetime) -> list[Action]:
    return [action for action in actions if at.date() <= action.ex_date < until.date()]


def _moment(seconds: int) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)


def _share(start: datetime, at: datetime, end: datetime) -> float:
    return max(0.0, min((at - start) / max(end - start, timedelta(seconds=1)), 0.99))


def _up(moment: datetime) -> int:
    return -int(-moment.timestamp() // 1)
