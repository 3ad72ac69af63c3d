"""Imports the demo's instruments and bars through the same checks as any file; a second run changes nothing."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import Decimal

from core.models import Instrument
from marketdata.constructed import LeverageTerms, constructed_leverage
from marketdata.csv_import import parse_bars
from marketdata.demo_sources import index_csv, stock_csv, vix_csv
from marketdata.ingest import prepare, store
from marketdata.series import BarSeries

# Financing near the average short-term dollar rate of 1999-2018; fee as TQQQ's. Start value: the index fell so far that
# 2,000 keeps the low of March 2009 at 12.58, where one cent is 0.08 %, and 2014-2018 in the hundreds.
TERMS = LeverageTerms(factor=3.0, financing_rate=0.02, yearly_fee=0.0095)
START_VALUE = 2_000.0
CONSTRUCTION = (
    "Three times the daily move of the Nasdaq Composite (price index, without dividends), set anew every day, minus "
    f"{TERMS.financing_rate:.0%} a year of financing on the two borrowed parts and a fee of {TERMS.yearly_fee:.2%} "
    f"a year, starting at {START_VALUE:,.0f} on 4 January 1999; nobody traded it and it has no volume."
)
_STOCKS = {
    "AAPL": ("Apple", "NASDAQ"),
    "MSFT": ("Microsoft", "NASDAQ"),
    "IBM": ("IBM", "NYSE"),
    "GOOG": ("Google, class A shares", "NASDAQ"),
    "FB": ("Facebook", "NASDAQ"),
}
_SOURCES = ("bokeh_sampledata", "arch", "constructed")


@dataclass(frozen=True)
class _Item:
    """One demo instrument and how to get its rows."""

    symbol: str
    source: str
    data: bytes
    facts: dict
    adjust: bool = False


def import_demo(log: Callable[[str], object] = print) -> None:
    """Create the demo's instruments and import their bars, unless the very same rows are there already.

    An instrument that already has bars from elsewhere is left alone.
    Raises: demo_sources.DemoDataMissing when the optional packages are not installed.
    """
    nasdaq = index_csv("nasdaq")
    items = [
        _Item(
            symbol,
            "bokeh_sampledata",
            stock_csv(symbol),
            {"name": name, "asset_class": "stock", "exchange": exchange},
            True,
        )
        for symbol, (name, exchange) in _STOCKS.items()
    ]
    items.append(_index("SPX", index_csv("sp500"), "S&P 500"))
    items.append(_index("IXIC", nasdaq, "Nasdaq Composite"))
    items.append(_index("VIX", vix_csv(), "CBOE Volatility Index", has_volume=False))
    items.append(_Item("NDX3X", "constructed", leveraged_csv(nasdaq), _LEVERAGED))
    for item in items:
        _import(item, log)


def leveraged_csv(index_data: bytes) -> bytes:
    """CSV of the constructed threefold fund from the CSV of its index; numbers are written in full."""
    return _as_csv(constructed_leverage(parse_bars(index_data).series, TERMS, start_value=START_VALUE))


_LEVERAGED = {
    "name": "3x Nasdaq Composite, constructed",
    "asset_class": "etf",
    "constructed": True,
    "construction": CONSTRUCTION,
    "leverage_factor": Decimal(3),
    "has_volume": False,
}


def _index(symbol: str, data: bytes, name: str, has_volume: bool = True) -> _Item:
    return _Item(symbol, "arch", data, {"name": name, "asset_class": "index", "has_volume": has_volume})


def _import(item: _Item, log: Callable[[str], object]) -> None:
    facts = dict(item.facts)
    if facts.get("constructed"):
        facts["underlying"] = Instrument.objects.get(symbol="IXIC")
    instrument, _ = Instrument.objects.get_or_create(symbol=item.symbol, defaults=facts)
    digest = hashlib.sha256(item.data).hexdigest()
    if instrument.imports.filter(sha256=digest, n_good__gt=0).exists():
        log(f"{item.symbol}: already imported")
        return
    if instrument.imports.exclude(source__in=_SOURCES).exists():
        log(f"{item.symbol}: left alone, it has bars from elsewhere")
        return
    # Quandl WIKI made the step of a dividend from the close of the first day without it.
    prepared = prepare(item.data, f"{item.source}: {item.symbol}", adjust=item.adjust, dividend_base="close")
    record = store(prepared, instrument, source=item.source)
    splits = sum(action.kind == "split" for action in prepared.actions)
    dividends = sum(action.kind == "dividend" for action in prepared.actions)
    found = f", adjusted for {splits} splits and {dividends} dividends" if item.adjust else ""
    bad = f", {record.n_bad:,} bad rows" if record.n_bad else ""
    span = f"{record.first_time:%Y-%m-%d} to {record.last_time:%Y-%m-%d}"
    log(f"{item.symbol}: {record.n_good:,} bars{bad}, {span}{found}")


def _as_csv(series: BarSeries) -> bytes:
    lines = ["date,open,high,low,close,volume"]
    columns = (series.open, series.high, series.low, series.close, series.volume)
    for time, *values in zip(series.time.tolist(), *(column.tolist() for column in columns), strict=True):
        lines.append(",".join([datetime.fromtimestamp(time, UTC).date().isoformat(), *map(repr, values)]))
    return "\n".join(lines).encode() + b"\n"
