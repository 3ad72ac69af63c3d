"""Ticks from CSV and Parquet files, piece by piece, so that a file of any size fits in memory. Pure, writes nothing.

A file holds trades (price, size), quotes (bid, ask) or, with a column `kind`, both. Names of columns may differ in
case and spelling; see _NAMES. A row is refused when its time or a number cannot be read, when it has another number
of fields than the header, when it belongs to another symbol than the file's first row (or the one asked for), when
the exchange corrected or cancelled it (`corr` is not 0), and for every reason of checks.py. Refused rows are counted
by reason; the first of them are listed with their place in the file.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path

import numpy as np
import pandas as pd

from marketdata.ticks import checks, file_rows
from marketdata.ticks.file_times import NO_TIME, read_times
from marketdata.ticks.series import QUOTE, TRADE, TickBatch

CHUNK_ROWS = 100_000
MOST_PROBLEMS = 1_000
CORRECTED = "corrected by the exchange"
OTHER_SYMBOL = "of another symbol"
BAD_TIME = "time cannot be read"
_NAMES = {
    **dict.fromkeys(("timestamp", "time", "datetime", "date_time", "ts"), "time"),
    **dict.fromkeys(("symbol", "ticker", "sym"), "symbol"),
    **dict.fromkeys(("kind", "type"), "kind"),
    **dict.fromkeys(("price", "trade_price", "last"), "price"),
    **dict.fromkeys(("size", "volume", "quantity", "qty", "trade_size", "amount"), "size"),
    **dict.fromkeys(("bid", "bid_price", "best_bid"), "bid"),
    **dict.fromkeys(("bid_size", "bidsize", "bid_qty", "bidsiz"), "bid_size"),
    **dict.fromkeys(("ask", "ask_price", "best_ask", "ofr", "offer"), "ask"),
    **dict.fromkeys(("ask_size", "asksize", "ask_qty", "ofrsiz", "offer_size"), "ask_size"),
    **dict.fromkeys(("exchange", "exch", "ex", "venue"), "exchange"),
    **dict.fromkeys(("cond", "condition", "conditions", "sale_condition"), "condition"),
    **dict.fromkeys(("corr", "correction"), "corr"),
    **dict.fromkeys(("sequence", "seq", "seqnum", "sequence_number", "trade_id"), "sequence"),
}
_NUMBERS = ("price", "size", "bid", "bid_size", "ask", "ask_size")
_KINDS = {"trade": TRADE, "t": TRADE, "1": TRADE, "quote": QUOTE, "q": QUOTE, "2": QUOTE}


class TickFileRefused(ValueError):
    """The file as a whole cannot be read as ticks; the message says what arrived, what was expected, what to do."""


@dataclass(frozen=True)
class Problem:
    """One row that is not used."""

    row: int  # CSV: line of the file, the header is 1; Parquet: row, the first is 1
    reason: str


@dataclass
class TickChunk:
    """A piece of a file: the ticks to use, and what was refused."""

    batch: TickBatch
    n_rows: int
    bad: dict[str, int]
    problems: list[Problem] = field(default_factory=list)


def read_ticks(
    path: Path, *, zone: tzinfo = UTC, symbol: str | None = None, chunk_rows: int = CHUNK_ROWS
) -> Iterator[TickChunk]:
    """Ticks of a file in the order of the file, `chunk_rows` rows at a time. `.parquet` is Parquet, the rest CSV.

    zone: of times that name none. symbol: take its rows only; None takes those of the first row's symbol.
    Raises: TickFileRefused when the file cannot be opened, is empty, is damaged or lacks a needed column.
    """
    reader = _Reader(zone, symbol)
    n_listed = 0
    for rows in file_rows.read(path, chunk_rows, TickFileRefused):
        chunk = reader.read(rows)
        chunk.problems = chunk.problems[: MOST_PROBLEMS - n_listed]
        n_listed += len(chunk.problems)
        yield chunk


def known_columns(names: list[str]) -> dict[str, str]:
    """What each of our columns is called in a file. Raises: TickFileRefused for missing columns and for doubles."""
    found: dict[str, str] = {}
    for name in names:
        column = _NAMES.get(name.strip().lower().replace(" ", "_"))
        if column in found:
            raise TickFileRefused(f"two columns for {column}: {found[column]} and {name}; keep one of them")
        if column:
            found[column] = name
    trades, quotes = {"price", "size"} <= found.keys(), {"bid", "ask"} <= found.keys()
    if "time" not in found or not (trades or quotes):
        raise TickFileRefused(
            f"columns are {', '.join(names)[:200]}; expected timestamp with price and size (trades) "
            "or with bid and ask (quotes): rename the header"
        )
    if trades and quotes and "kind" not in found:
        raise TickFileRefused("the file has trades and quotes but no column kind: add one with trade or quote")
    return found


class _Reader:
    """Turns pieces of a file into ticks; remembers the file's symbol."""

    def __init__(self, zone: tzinfo, symbol: str | None) -> None:
        self.zone, self.symbol = zone, symbol

    def read(self, rows: file_rows.Rows) -> TickChunk:
        """One piece."""
        names = known_columns(rows.names)
        if rows.numbers.size == 0:
            return _chunk(TickBatch.empty(), np.empty(0, dtype=object), rows)
        columns = {ours: rows.columns[theirs] for ours, theirs in names.items()}
        reasons = np.full(rows.numbers.size, "", dtype=object)
        time = read_times(columns["time"], self.zone)
        values = {name: self._numbers(name, columns, reasons) for name in _NUMBERS}
        _mark(reasons, time == NO_TIME, BAD_TIME)
        corrections = _as_numbers(columns["corr"])[0] if "corr" in columns else np.zeros(time.size)
        _mark(reasons, np.nan_to_num(corrections, nan=0.0) != 0, CORRECTED)
        _mark(reasons, self._of_other_symbols(columns), OTHER_SYMBOL)
        batch = TickBatch(
            time=time,
            kind=_kinds(columns, time.size),
            sequence=self._sequence(columns, reasons),
            exchange=self._texts("exchange", 8, columns, reasons),
            condition=self._texts("condition", 12, columns, reasons),
            **values,
        )
        return _chunk(batch, reasons, rows)

    def _numbers(self, name: str, columns: dict[str, pd.Series], reasons: np.ndarray) -> np.ndarray:
        if name not in columns:
            return np.full(reasons.size, np.nan)
        numbers, unreadable = _as_numbers(columns[name])
        _mark(reasons, unreadable, f"{name.replace('_', ' ')} is not a number")
        return numbers

    def _sequence(self, columns: dict[str, pd.Series], reasons: np.ndarray) -> np.ndarray:
        if "sequence" not in columns:
            return np.zeros(reasons.size, dtype=np.int64)
        column = columns["sequence"]
        numbers = pd.to_numeric(column.replace("", "0") if column.dtype == "str" else column.fillna(0), errors="coerce")
        if pd.api.types.is_integer_dtype(numbers.dtype):
            small = (numbers <= np.iinfo(np.int64).max).to_numpy(dtype=bool)
            _mark(reasons, ~small, "sequence is above 9223372036854775807")
            return numbers.where(small, 0).to_numpy(dtype=np.int64)
        floats = numbers.to_numpy(dtype=np.float64, na_value=np.nan)
        whole = np.isfinite(floats) & (np.abs(floats) < 2**53) & (np.mod(np.nan_to_num(floats), 1) == 0)
        _mark(reasons, ~whole, "sequence is not a whole number")
        return np.where(whole, floats, 0).astype(np.int64)

    def _texts(self, name: str, width: int, columns: dict[str, pd.Series], reasons: np.ndarray) -> np.ndarray:
        if name not in columns:
            return np.full(reasons.size, b"", dtype=f"S{width}")
        texts = _as_texts(columns[name])
        _mark(reasons, np.array([not text.isascii() for text in texts]), f"{name} is not plain text")
        encoded = np.array([text.encode("ascii", "replace") for text in texts], dtype="S")
        _mark(reasons, np.strings.str_len(encoded) > width, f"{name} is longer than {width} letters")
        return encoded.astype(f"S{width}")

    def _of_other_symbols(self, columns: dict[str, pd.Series]) -> np.ndarray | bool:
        if "symbol" not in columns:
            return False
        symbols = columns["symbol"].astype("str").str.strip()
        if self.symbol is None:
            self.symbol = symbols.iloc[0]
        return (symbols != self.symbol).to_numpy()


def _chunk(batch: TickBatch, reasons: np.ndarray, rows: file_rows.Rows) -> TickChunk:
    codes = checks.problems(batch)
    open_cases = (reasons == "") & (codes > 0)
    reasons[open_cases] = np.array(checks.REASONS, dtype=object)[codes[open_cases]]
    refused = np.flatnonzero(reasons != "")
    listed = [Problem(int(rows.numbers[at]), reasons[at]) for at in refused[:MOST_PROBLEMS]]
    problems = sorted([*listed, *(Problem(*bad) for bad in rows.bad)], key=lambda problem: problem.row)
    bad = Counter(reasons[refused].tolist())
    bad.update(reason for _, reason in rows.bad)
    return TickChunk(batch.take(reasons == ""), rows.numbers.size + len(rows.bad), dict(bad), problems)


def _mark(reasons: np.ndarray, where: np.ndarray | bool, reason: str) -> None:
    """Give rows a reason unless they have one."""
    reasons[(reasons == "") & where] = reason


def _as_numbers(column: pd.Series) -> tuple[np.ndarray, np.ndarray]:
    """float64, NaN where empty; and where something stands that is no number. Both shape (T,)."""
    if pd.api.types.is_numeric_dtype(column.dtype):
        return column.to_numpy(dtype=np.float64, na_value=np.nan), np.zeros(column.size, dtype=bool)
    texts = _as_texts(column)
    numbers = pd.to_numeric(texts, errors="coerce").to_numpy(dtype=np.float64, na_value=np.nan)
    return numbers, np.isnan(numbers) & (texts != "").to_numpy(dtype=bool)


def _as_texts(column: pd.Series) -> pd.Series:
    """Texts without blanks around them, "" where empty."""
    return column.astype("str").where(column.notna(), "").str.strip()


def _kinds(columns: dict[str, pd.Series], n: int) -> np.ndarray:
    if "kind" in columns:
        return columns["kind"].astype("str").str.strip().str.lower().map(_KINDS).fillna(0).to_numpy(dtype=np.int8)
    return np.full(n, TRADE if "price" in columns and "size" in columns else QUOTE, dtype=np.int8)
