"""Interactive Brokers through the bridge: history by page, live trades, quotes and bars by its stream."""

from __future__ import annotations

import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from core.bridge.client import BridgeClient, Patience
from core.bridge.errors import BridgeBusyError, BridgeError, BridgeUnavailableError
from core.bridge.messages import Bar, Contract
from core.bridge.stream import BridgeStream, StreamPatience
from core.bridge.stream_messages import Channel, Subscription
from marketdata.series import BarSeries
from marketdata.sources.bar_rows import keep
from marketdata.sources.base import (
    Asked,
    Found,
    Part,
    SourceError,
    SourceRefusedError,
    SourceUnavailableError,
    Update,
)
from marketdata.sources.bridge_live import Feed, Followed, bar_row

INTERVALS = (1, 5, 10, 15, 30, 60, 120, 180, 300, 600, 900, 1200, 1800, 3600, 7200, 10800, 14400, 28800, 86400)
LIVE_BARS = tuple(seconds for seconds in INTERVALS if 5 <= seconds <= 3600)
# Exchange calendars by where a contract is listed; the exchanges of the United States share one.
_CALENDARS = {"CME": "CMES", "CBOT": "CMES", "NYMEX": "CMES", "COMEX": "CMES", "LSE": "XLON", "IBIS": "XETR",
              "SBF": "XPAR", "AEB": "XAMS", "TSEJ": "XTKS", "SEHK": "XHKG", "TSE": "XTSE", "ASX": "XASX"}  # fmt: skip
_CLASSES = ("stock", "etf", "index", "future", "crypto")  # what the desk has a word for


@dataclass(frozen=True)
class HistoryPatience:
    """How long history is waited for, in seconds."""

    n_waits: int = 20  # in a row; then the fetch fails and can be continued later
    longest_wait: float = 120.0
    fill_delay: float = 3.0  # after the end of a bar until history knows it


class BridgeSource:
    """The bridge as a source. `address` and `token` are the settings DESK_BRIDGE_ADDRESS and DESK_BRIDGE_TOKEN."""

    name = "bridge"
    label = "Interactive Brokers (bridge)"
    intervals: tuple[int, ...] = INTERVALS

    def __init__(
        self,
        address: str = "",
        token: str = "",
        *,
        patience: Patience | None = None,
        stream_patience: StreamPatience | None = None,
        history_patience: HistoryPatience | None = None,
    ) -> None:
        self._address, self._token = address, token
        self._patience = patience
        self._stream_patience = stream_patience
        self._history_patience = history_patience or HistoryPatience()

    def search(self, text: str, limit: int = 10) -> list[Found]:
        """Contracts that resemble the text, best first. Raises: SourceError."""
        with self._client() as client:
            try:
                contracts = client.search_contracts(text, limit)
            except BridgeError as error:
                raise as_source_error(error) from error
        return [_found(contract) for contract in contracts if contract.security_type in _CLASSES]

    def history(self, asked: Asked) -> Iterator[Part]:
        """Closed bars, oldest first, a page at a time; while the gateway's pacing makes us wait, empty parts.

        options: con_id (int) when a symbol means several contracts; regular_hours (default True); what, such as
        "midpoint" (default "trades").
        Raises: SourceError.
        """
        self._check_interval(asked.interval_seconds, INTERVALS)
        with self._client() as client:
            contract = _contract(client, asked)
            reader = _History(client, asked, contract.con_id, self._history_patience)
            yield from reader.parts()

    def live(self, asked: list[Asked]) -> Iterator[Update]:
        """Trades, quotes and closed bars as they come. Bars missed while the stream was down are fetched by history.

        Bars of one second come as ticks only: the gateway has no live bar shorter than five seconds.
        options: those of history; ticks (default True) for trades and quotes beside the bars.
        Raises: SourceError.
        """
        for one in asked:
            self._check_interval(one.interval_seconds, (1, *LIVE_BARS))
        with self._client() as client:
            followed = [_followed(client, one, index) for index, one in enumerate(asked)]
            stream = BridgeStream(
                self._address,
                self._token,
                [part.subscription for part in followed],
                patience=self._stream_patience,
            )
            feed = Feed(client, followed, fill_delay=self._history_patience.fill_delay)
            events = stream.events()
            try:
                yield from feed.updates(events)
            except BridgeError as error:
                raise as_source_error(error) from error
            finally:
                events.close()
                feed.close()

    def _client(self) -> BridgeClient:
        try:
            return BridgeClient(self._address, self._token, patience=self._patience)
        except BridgeError as error:
            raise as_source_error(error) from error

    def _check_interval(self, interval_seconds: int, known: Sequence[int]) -> None:
        if interval_seconds not in known:
            raise SourceRefusedError(
                f"the bridge has no bars of {interval_seconds} s here, expected one of "
                f"{', '.join(str(seconds) for seconds in known)}; choose another interval"
            )


def as_source_error(error: BridgeError) -> SourceError:
    """The same error in the words of sources."""
    if isinstance(error, BridgeUnavailableError):
        return SourceUnavailableError(str(error), retry_after_seconds=error.retry_after_seconds)
    return SourceRefusedError(str(error))


class _History:
    """One fetch: asks for page after page and waits when told to."""

    def __init__(self, client: BridgeClient, asked: Asked, con_id: int, patience: HistoryPatience) -> None:
        self._client, self._asked, self._con_id, self._patience = client, asked, con_id, patience
        self._end = asked.end or datetime.now(UTC)
        self._first: int | None = int(asked.start.timestamp()) if asked.start else None
        self._last: int | None = None  # time of the last bar given
        self._done = 0.0

    def parts(self) -> Iterator[Part]:
        page: str | None = None
        n_waits, begun_again = 0, self._last
        while True:
            try:
                answer = self._client.bars(
                    self._con_id,
                    self._asked.interval_seconds,
                    start=self._asked.start if begun_again is None else datetime.fromtimestamp(begun_again, UTC),
                    end=self._end,
                    what=str(self._asked.options.get("what", "trades")),
                    regular_hours=bool(self._asked.options.get("regular_hours", True)),
                    page=page,
                )
            except BridgeBusyError as error:
                n_waits += 1
                if n_waits > self._patience.n_waits:
                    raise as_source_error(error) from error
                yield from self._wait(error)
                continue
            except BridgeError as error:
                if getattr(error, "code", "") == "cursor_gone" and self._last != begun_again:
                    page, begun_again = None, self._last  # a bridge that was started anew: go on from the last bar
                    continue
                raise as_source_error(error) from error
            n_waits = 0
            page = answer.next_page
            yield self._part(answer.items, is_last=page is None)
            if page is None:
                return

    def _part(self, bars: Sequence[Bar], *, is_last: bool) -> Part:
        kept = keep([bar_row(bar) for bar in bars], after=self._last)
        if len(kept.series):
            self._last = int(kept.series.time[-1])
            self._first = self._first if self._first is not None else int(kept.series.time[0])
            span = self._end.timestamp() - self._first
            self._done = min(max((self._last - self._first) / span, self._done), 1.0) if span > 0 else self._done
        self._done = 1.0 if is_last else self._done
        return Part(kept.series, done=self._done, n_bad=kept.n_bad, problems=kept.problems)

    def _wait(self, error: BridgeBusyError) -> Iterator[Part]:
        """Empty parts, one a second, so that a fetch can be stopped while it waits."""
        seconds = min(error.retry_after_seconds or 1.0, self._patience.longest_wait)
        problems = [f"{error} Waiting {seconds:g} s."]
        until = time.monotonic() + seconds
        while (left := until - time.monotonic()) > 0:
            yield Part(BarSeries.empty(), done=self._done, problems=problems)
            problems = []
            time.sleep(min(left, 1.0))


def symbol_of(contract: Contract) -> str:
    """How we spell a contract: AAPL in US dollars, AAPL@MEXI elsewhere, a future by its month: NQZ6."""
    if contract.security_type == "future":
        return contract.local_symbol
    if contract.currency == "USD":
        return contract.symbol
    return f"{contract.symbol}@{contract.primary_exchange or contract.exchange}"


def _found(contract: Contract) -> Found:
    listed = contract.primary_exchange or contract.exchange
    return Found(
        symbol=symbol_of(contract),
        name=contract.name,
        asset_class=contract.security_type,
        exchange=listed,
        currency=contract.currency,
        calendar="24/7" if contract.security_type == "crypto" else _CALENDARS.get(listed, "XNYS"),
    )


def _contract(client: BridgeClient, asked: Asked) -> Contract:
    """The contract a symbol means. Raises: SourceError when there is none or more than one."""
    try:
        if asked.options.get("con_id"):
            return client.contract(int(asked.options["con_id"]))
        text = asked.symbol.partition("@")[0]
        matches = [found for found in client.search_contracts(text, 50) if symbol_of(found) == asked.symbol]
    except BridgeError as error:
        raise as_source_error(error) from error
    except (TypeError, ValueError):
        raise SourceRefusedError(
            f"con_id is {asked.options['con_id']!r}, expected the broker's number of the contract"
        ) from None
    if not matches:
        raise SourceRefusedError(f"the bridge knows no contract {asked.symbol}; search for it and use its spelling")
    if len(matches) > 1:
        listed = ", ".join(f"{c.con_id} ({c.name}, {c.primary_exchange or c.exchange})" for c in matches)
        raise SourceRefusedError(f"{asked.symbol} means several contracts: {listed}; name one by the option con_id")
    return matches[0]


def _followed(client: BridgeClient, asked: Asked, index: int) -> Followed:
    contract = _contract(client, asked)
    live_bars = asked.interval_seconds in LIVE_BARS
    ticks: tuple[Channel, ...] = ("trades", "quotes") if asked.options.get("ticks", True) or not live_bars else ()
    channels: tuple[Channel, ...] = (*ticks, "bars") if live_bars else ticks
    return Followed(
        symbol=asked.symbol,
        con_id=contract.con_id,
        interval_seconds=asked.interval_seconds,
        regular_hours=bool(asked.options.get("regular_hours", True)),
        subscription=Subscription(
            id=f"s{index}",
            con_id=contract.con_id,
            channels=channels,
            bar_seconds=asked.interval_seconds if live_bars else None,
        ),
    )
