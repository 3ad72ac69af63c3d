"""Asks Yahoo through yfinance and makes sure that an error is never taken for "no bars". Pure.

What yfinance 1.7 does, found by reading it, and what this module does about it:
- It keeps one session, cookie and crumb for the whole process. Ours are swapped in under a lock while we ask and out
  again afterwards, so that nothing of a test address stays behind and only one question is under way at a time.
- It builds every address from constants copied into each module (query1, query2, finance and fc.yahoo.com). Our
  session sends whatever it is asked for to `address` if there is one; path and parameters stay.
- It asks for cookies with a time-out of 30 s of its own; our session caps every time-out.
- On any status from 400 up it asks several more times with other cookies, also after 429. Our session raises at the
  first 429 instead and remembers Retry-After, which yfinance drops.
- It logs most errors and returns an empty table; with `hide_exceptions` off it raises. That setting is for the whole
  process too and is put back.
- It remembers the last 64 answers about the past, errors and garbage included; that memory is emptied each time.
- It writes time zones and cookies to the user's cache folder; the folder is ours here. Time zones are not asked for.
"""

from __future__ import annotations

import atexit
import json
import math
import re
import shutil
import tempfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from zoneinfo import ZoneInfo

import pandas as pd
import yfinance
from curl_cffi import CurlOpt
from curl_cffi import requests as curl
from yfinance import exceptions as yahoo_errors
from yfinance.config import YfConfig
from yfinance.data import SingletonMeta, YfData
from yfinance.scrapers.history import PriceHistory

from marketdata.sources.base import SourceError, SourceRefusedError, SourceUnavailableError

TIMEOUT_SECONDS, COOKIE_SECONDS = 15.0, 5.0
_SYMBOL = re.compile(r"[A-Za-z0-9^][A-Za-z0-9.^=&\-]{0,31}")
_NOTHING_THERE = ("data doesn't exist for startdate", "no data found for this date range")
_LONGEST_RETRY_AFTER = 86_400.0  # seconds; a longer one is a mistake
_LOCK = threading.RLock()  # one question to Yahoo at a time in this process
_folder: Path | None = None  # where yfinance keeps its caches now


class Session(curl.Session):
    """yfinance's kind of session: looks like a browser, with our time-outs and, for tests, another address."""

    def __init__(self, address: str | None, timeout_seconds: float) -> None:
        # A given address is reached directly, never through a proxy from the environment.
        super().__init__(impersonate="chrome", curl_options={CurlOpt.NOPROXY: "*"} if address else None)
        self.address = urlsplit(address) if address else None
        self.most_seconds = timeout_seconds
        self.status: int | None = None  # of the last answer
        self.retry_after: float | None = None  # seconds, as last asked for with a 429

    def request(self, method: Any, url: str, *args: Any, **options: Any) -> Any:
        """As curl_cffi's. Raises: YFRateLimitError at a 429, without asking again."""
        self.status = None
        # Cookies and crumbs are asked for first, and bars come without them too: they may not eat the patience.
        most = self.most_seconds if "/finance/" in url else min(self.most_seconds, COOKIE_SECONDS)
        options["timeout"] = min(options.get("timeout") or most, most)
        response = super().request(method, self._sent_to(url), *args, **options)
        self.status = response.status_code
        if response.status_code == 429:
            self.retry_after = _seconds(response.headers.get("Retry-After"))
            raise yahoo_errors.YFRateLimitError()
        return response

    def _sent_to(self, url: str) -> str:
        if self.address is None:
            return url
        asked = urlsplit(url)
        path = self.address.path.rstrip("/") + asked.path
        return urlunsplit((self.address.scheme, self.address.netloc, path, asked.query, ""))


@dataclass(frozen=True)
class Chart:
    """Yahoo's table of bars as yfinance gives it, and what Yahoo says about the instrument."""

    frame: (
        pd.DataFrame
    )  # index: start of the bar in the exchange's time; columns Open ... Stock Splits; rows may be NaN
    zone: str  # IANA name of the exchange's time zone, "UTC" if Yahoo does not say
    opens: datetime | None  # the trading period Yahoo calls current, None if it does not say
    closes: datetime | None
    currency: str = ""  # of the prices
    paid_in: dict[date, str] = field(default_factory=dict)  # currency of dividends, by day, where Yahoo says it


class YahooClient:
    """Two questions, chart and search. Raises: SourceUnavailableError, SourceRefusedError; see explain()."""

    def __init__(
        self, *, address: str | None = None, folder: Path | None = None, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self.address = address  # http(s)://host:port instead of Yahoo's servers
        self.folder = folder  # for yfinance's caches; None: a temporary one, removed at exit
        self.timeout_seconds = timeout_seconds
        self._data: Any = None

    def chart(self, symbol: str, interval: str, start: datetime, end: datetime) -> Chart:
        """Bars that begin from `start` until before `end` (aware), split-adjusted by Yahoo, with their actions.

        interval: Yahoo's word, such as 1m or 1d. No bars in that time: an empty frame.
        """
        if not _SYMBOL.fullmatch(symbol):
            raise SourceRefusedError(f"{symbol!r} is not how Yahoo spells a symbol; search for it, e.g. AAPL or ^VIX")
        what = f"{interval} bars of {symbol} from {start:%Y-%m-%d %H:%M} to {end:%Y-%m-%d %H:%M} UTC"
        with self.using() as data:
            history = PriceHistory(data, symbol, "UTC", session=data._session)
            try:
                frame = history.history(
                    interval=interval, start=start, end=end, prepost=False, actions=True, auto_adjust=False,
                    back_adjust=False, repair=False, keepna=True, timeout=self.timeout_seconds,
                )  # fmt: skip
            except yahoo_errors.YFPricesMissingError as error:
                if not self._nothing_there(error, history._history_metadata or {}):
                    raise self.explain(error, what) from error
                frame = pd.DataFrame()
            except Exception as error:
                raise self.explain(error, what) from error
            try:
                return _chart(frame, dict(history._history_metadata or {}), history._dividends)
            except Exception as error:
                raise self.explain(error, what) from error

    def search(self, text: str, limit: int) -> list[dict[str, Any]]:
        """Yahoo's quotes for a text, best first: symbol, quoteType, exchange, shortname, longname."""
        what = f"instruments that resemble {text!r}"
        with self.using() as data:
            try:
                found = yfinance.Search(
                    text, max_results=limit, news_count=0, lists_count=0, recommended=0, include_cb=False,
                    timeout=self.timeout_seconds,
                )  # fmt: skip
                if data._session.status != 200:
                    raise ValueError("no answer to the search")
                quotes = found.response["quotes"]
                return [quote for quote in quotes if isinstance(quote, dict) and quote.get("symbol")]
            except Exception as error:
                raise self.explain(error, what) from error

    def close(self) -> None:
        """Give the connections back; the next question opens new ones."""
        with _LOCK:
            if self._data is not None:
                self._data._session.close()
                self._data = None

    @contextmanager
    def using(self) -> Iterator[Any]:
        """yfinance with our session, caches and strictness, and as it was before afterwards; one user at a time."""
        with _LOCK:
            _keep_caches_in(self.folder)
            if self._data is None:
                # Not YfData(): that would be the one instance everybody shares.
                self._data = type.__call__(YfData, session=Session(self.address, self.timeout_seconds))
            shared = SingletonMeta._instances.get(YfData)
            hidden = YfConfig.debug.hide_exceptions
            SingletonMeta._instances[YfData] = self._data
            YfConfig.debug.hide_exceptions = False
            YfData.cache_get.cache_clear()
            try:
                yield self._data
            finally:
                YfData.cache_get.cache_clear()
                YfConfig.debug.hide_exceptions = hidden
                SingletonMeta._instances.pop(YfData)
                if shared is not None:
                    SingletonMeta._instances[YfData] = shared

    def explain(self, error: Exception, what: str) -> SourceError:
        """What to tell a person about an error, by remedy. Starts the next question with new cookies."""
        session = self._data._session
        status, retry_after = session.status, session.retry_after
        self.close()
        if isinstance(error, yahoo_errors.YFRateLimitError):
            again = f"in {retry_after:g} s" if retry_after else "in some minutes"
            return SourceUnavailableError(
                f"Yahoo was asked for {what} and wants fewer questions (HTTP 429); ask again {again}",
                retry_after_seconds=retry_after,
            )
        if isinstance(error, curl.exceptions.Timeout):
            return SourceUnavailableError(
                f"Yahoo was asked for {what} and did not answer within {self.timeout_seconds:g} s; ask again later"
            )
        if status is not None and (status >= 500 or status in (401, 403)):
            return SourceUnavailableError(f"Yahoo was asked for {what} and answered HTTP {status}; ask again later")
        if isinstance(error, curl.exceptions.RequestException) and not isinstance(error, json.JSONDecodeError):
            return SourceUnavailableError(
                f"Yahoo was asked for {what} and the connection failed ({_short(error)}); check the network"
            )
        reason = getattr(error, "yahoo_reason", None)
        if reason:
            return SourceRefusedError(
                f"Yahoo was asked for {what} and refused (HTTP {status}): {reason}; check symbol, interval and dates"
            )
        return SourceUnavailableError(
            f"Yahoo was asked for {what} and what came (HTTP {status}) cannot be read ({_short(error)}); ask again "
            "later, and update yfinance if it stays so"
        )

    def _nothing_there(self, error: Exception, about: dict[str, Any]) -> bool:
        reason = str(getattr(error, "yahoo_reason", None) or "").lower()
        if reason:
            return any(words in reason for words in _NOTHING_THERE)
        # A proper answer about the right instrument without a single bar: a holiday, or before its first day.
        return self._data._session.status == 200 and bool(about.get("symbol"))


def _keep_caches_in(folder: Path | None) -> None:
    global _folder
    if folder is None:
        if _folder is not None:
            return  # wherever they are is good enough
        folder = Path(tempfile.mkdtemp(prefix="desk-yahoo-"))
        atexit.register(shutil.rmtree, folder, ignore_errors=True)
    if folder != _folder:
        folder.mkdir(parents=True, exist_ok=True)
        yfinance.set_tz_cache_location(str(folder))
        _folder = folder


def _seconds(text: str | None) -> float | None:
    try:
        seconds = float(text or "")
    except ValueError:
        return None  # absent, or a date: Yahoo sends seconds
    return min(max(seconds, 0.0), _LONGEST_RETRY_AFTER) if not math.isnan(seconds) else None


def _moment(value: Any) -> datetime | None:
    """yfinance makes times of Yahoo's seconds, but not when there are no bars."""
    if isinstance(value, int):
        return datetime.fromtimestamp(value, UTC)
    return value.to_pydatetime() if isinstance(value, pd.Timestamp) else None


def _chart(frame: pd.DataFrame, about: dict[str, Any], dividends: Any) -> Chart:
    """Raises: whatever Python does about metadata that is none."""
    period = (about.get("currentTradingPeriod") or {}).get("regular") or {}
    zone = str(about.get("exchangeTimezoneName") or "UTC")
    ZoneInfo(zone)
    foreign = {}
    if isinstance(dividends, pd.DataFrame):  # yfinance's way of saying that each has a currency of its own
        days = pd.DatetimeIndex(dividends.index).date
        foreign = {day: str(word) for day, word in zip(days, dividends["currency"], strict=True) if word}
    return Chart(
        frame, zone, _moment(period.get("start")), _moment(period.get("end")), str(about.get("currency") or ""), foreign
    )


def _short(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"[:160]
