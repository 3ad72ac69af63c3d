"""Real daily bars that come inside Python packages, as CSV text: no network needed. Pure.

bokeh_sampledata: AAPL, FB, GOOG, IBM, MSFT from Quandl WIKI, which Quandl declared public domain; prices and volume as
traded, and a close adjusted for splits and dividends.
arch: S&P 500 and Nasdaq Composite 1999 to 2018, VIX closes 2014 to 2018; its adjusted close equals its close.
The packages' files are read, the packages are not imported: importing them would load pandas and statsmodels.
"""

from __future__ import annotations

import csv
import gzip
import importlib.util
import io
from collections.abc import Iterable
from datetime import datetime
from pathlib import Path

_COLUMNS = ("date", "open", "high", "low", "close", "volume", "adj_close")


class DemoDataMissing(RuntimeError):
    """The packages with the demo's bars are not installed."""


def stock_csv(symbol: str) -> bytes:
    """CSV of one stock in bokeh_sampledata: date, open, high, low, close, volume as traded, and adj_close."""
    rows = _read("bokeh_sampledata", "_data/stocks.csv.gz")
    return _csv(
        [row[name] for name in ("Date", "Open", "High", "Low", "Close", "Volume", "Adj Close")]
        for row in rows
        if row["Ticker"] == symbol
    )


def index_csv(name: str) -> bytes:
    """CSV of an index in arch ("nasdaq" or "sp500"), with dates in ISO form."""
    rows = _read("arch", f"data/{name}/{name}.csv.gz")
    return _csv(
        [_iso(row["Date"]), *(row[column] for column in ("Open", "High", "Low", "Close", "Volume", "Adj Close"))]
        for row in rows
    )


def vix_csv() -> bytes:
    """CSV of the VIX in arch: closes only, so open, high and low equal the close and volume is 0.

    Its publisher lists every weekday and marks those without trading by a dot: they are no bars and are left out.
    """
    rows = _read("arch", "data/vix/vix.csv.gz")
    return _csv([_iso(row["Date"]), *[row["vix"]] * 4, "0", row["vix"]] for row in rows if row["vix"] != ".")


def _read(package: str, inside: str) -> list[dict[str, str]]:
    spec = importlib.util.find_spec(package)
    if spec is None or not spec.origin:
        raise DemoDataMissing(f"the package {package} is not installed: pip install '.[demo]'")
    path = Path(spec.origin).parent / inside
    if not path.is_file():
        raise DemoDataMissing(
            f"{package} is installed but has no {inside}: pip install '.[demo]' brings a version that has it"
        )
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def _iso(american: str) -> str:
    return datetime.strptime(american, "%m/%d/%Y").date().isoformat()


def _csv(rows: Iterable[list[str]]) -> bytes:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(_COLUMNS)
    writer.writerows(rows)
    return text.getvalue().encode()
