"""Reads a CSV file of bars: good rows become a series, bad rows are counted and listed. Pure, writes nothing.

A row is bad when it has the wrong number of fields, a time that cannot be read, an empty or non-finite number, a price
at or below 0, high below low, open or close outside them, negative volume, a time another row already has, or a time
out of order. Of rows out of order the fewest go, so that one wrong date costs one row. Of two rows with one time
the first is kept and the second is bad, whether its values are the same or not; the reason says which.
A file sorted newest first as a whole is read from the bottom up. Row numbers are lines of the file; the header is 1.
"""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, tzinfo
from pathlib import Path

import numpy as np

from marketdata.csv_rows import BadRow, RowReader
from marketdata.file_columns import PRICES, check, guess, normal
from marketdata.row_order import longest_ascending, order_problems
from marketdata.series import BarSeries

SIZE_LIMIT_BYTES = 200 * 1024 * 1024
MOST_PROBLEMS = 1_000
DAY = 86_400
REPORT_EVERY = 20_000  # lines between two reports of progress


class CsvRefused(ValueError):
    """The file as a whole cannot be read as bars; the message says what arrived, what was expected, what to do."""


@dataclass(frozen=True)
class Problem:
    """One row that was not imported."""

    row: int  # line of the file, the header is 1
    reason: str


@dataclass(frozen=True)
class ParsedBars:
    """What a file held. n_rows = n_good + n_bad; blank lines are not rows."""

    series: BarSeries
    n_rows: int
    n_good: int
    n_bad: int
    problems: list[Problem]  # the first 1,000 in file order; n_bad counts all
    notes: list[str]  # about the file as a whole, such as columns that were ignored
    interval_seconds: int  # median spacing of the good rows; a day when there are fewer than two
    adj_close: np.ndarray | None = None  # (n_good,) when asked for


@dataclass
class _Rows:
    """Rows that are good by themselves, in file order."""

    numbers: list[int] = field(default_factory=list)
    times: list[int] = field(default_factory=list)
    ahead: list[int] = field(default_factory=list)  # seconds by which clocks of the time's zone are ahead of UTC
    values: list[tuple[float, ...]] = field(default_factory=list)  # open, high, low, close, volume, adj_close
    problems: list[Problem] = field(default_factory=list)
    n_bad: int = 0


def read_file(path: Path, *, size_limit_bytes: int = SIZE_LIMIT_BYTES) -> bytes:
    """The bytes of a file no larger than the limit. Raises: CsvRefused."""
    try:
        if not path.is_file():
            raise CsvRefused(f"{path}: no such file; give the path of a CSV file")
        size = path.stat().st_size
        if size > size_limit_bytes:
            raise CsvRefused(
                f"{path.name} has {size:,} bytes, the limit is {size_limit_bytes:,}: split it into smaller files"
            )
        return path.read_bytes()
    except OSError as error:
        raise CsvRefused(f"{path}: cannot be read ({error.strerror}); check the path and its permissions") from error


def parse_bars(
    data: bytes,
    *,
    zone: tzinfo = UTC,
    time_format: str | None = None,
    with_adjusted: bool = False,
    columns: Mapping[str, str] | None = None,
    symbol: str = "",
    report: Callable[[float, int], None] = lambda share, n_bad: None,
) -> ParsedBars:
    """Read bars from the bytes of a CSV file (comma, semicolon or tab; UTF-8; any line ends).

    zone: of times that name none. time_format: strptime format, None for ISO 8601 and epoch numbers.
    with_adjusted: also read adj_close, a row without a good one is then bad.
    columns: field -> column, None to go by the header's names (see file_columns.guess).
    symbol: read only the rows whose symbol column says so; needs that column.
    report: called now and then with the share of the lines read and the bad rows so far; may raise to stop.
    Raises: CsvRefused when it is not text, is empty, or lacks a needed column. Bad rows never raise.
    """
    lines, delimiter, names = _open(data)
    reader, notes = _reader(names, columns, with_adjusted, zone, time_format)
    mapping = _mapping(names, columns)
    if symbol and "symbol" not in mapping:
        raise CsvRefused(f"rows of {symbol} were asked for, but no column says which symbol a row belongs to")
    place = names.index(mapping["symbol"]) if "symbol" in mapping else None
    rows, n_other, read, seen = _Rows(), 0, 0, set[str]()
    for number, line in enumerate(lines, start=2):
        read += len(line)
        if number % REPORT_EVERY == 0:
            report(min(read / max(len(data), 1), 1.0), rows.n_bad)
        if not line.strip():
            continue
        texts = _split(line, delimiter)
        if place is not None and place < len(texts):
            seen.add(texts[place].strip())
            if symbol and texts[place].strip() != symbol:
                n_other += 1
                continue
            if not symbol and len(seen) > 1:
                raise CsvRefused(f"the file holds several symbols ({', '.join(sorted(seen))}, ...): say which one")
        _read_row(rows, reader, number, texts)
    if n_other:
        notes.append(f"{n_other:,} rows of other symbols left out")
    return _assemble(rows, notes, with_adjusted)


def header_of(data: bytes) -> list[str]:
    """The names in the first line. Raises: CsvRefused when it is not text or empty."""
    return _open(data)[2]


def first_rows(data: bytes, n: int) -> list[dict[str, str]]:
    """The first n rows as column -> text, for people to look at; lines of another length are cut or filled."""
    lines, delimiter, names = _open(data)
    shown: list[dict[str, str]] = []
    for line in lines:
        if len(shown) == n:
            break
        if line.strip():
            texts = _split(line, delimiter)
            shown.append(dict(zip(names, texts + [""] * (len(names) - len(texts)), strict=False)))
    return shown


def _open(data: bytes) -> tuple[io.StringIO, str, list[str]]:
    """The lines after the header, the delimiter and the header's names."""
    lines = io.StringIO(_text(data), newline=None)
    header = next(lines, "")
    if not header.strip():
        raise CsvRefused("the file is empty: expected a header line and one line per bar")
    delimiter = max(",;\t", key=header.count)
    return lines, delimiter, [name.strip() for name in _split(header, delimiter)]


def _text(data: bytes) -> str:
    encoding = "utf-16" if data[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError as error:
        raise CsvRefused(
            f"the file is not {encoding.removesuffix('-sig').upper()} text: byte {error.start} cannot be read; "
            "save it as CSV in UTF-8"
        ) from error
    if "\0" in text:
        raise CsvRefused(f"the file is not text: a zero byte at {text.index(chr(0))}; save it as CSV in UTF-8")
    return text


def _split(line: str, delimiter: str) -> list[str]:
    """Fields of one line. Lines are split one by one, so an open quote spoils its own row only."""
    line = line.rstrip("\n")
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        return line.split(delimiter)


def _mapping(names: list[str], columns: Mapping[str, str] | None) -> dict[str, str]:
    return dict(columns) if columns is not None else guess(names)


def _reader(
    names: list[str], columns: Mapping[str, str] | None, with_adjusted: bool, zone: tzinfo, time_format: str | None
) -> tuple[RowReader, list[str]]:
    """Raises: CsvRefused when a needed column is missing, or when two could be meant."""
    mapping = _mapping(names, columns)
    used = {column for field, column in mapping.items() if field != "symbol" or columns is not None}
    twice = [name for name in used if sum(normal(other) == normal(name) for other in names) > 1]
    if twice:
        raise CsvRefused(f"two columns are called {twice[0]}; rename one of them")
    if columns is None and "clock" not in mapping:
        _refuse_rivals(names, mapping)
    try:
        check(mapping, names, with_adjusted=with_adjusted)
    except ValueError as error:
        raise CsvRefused(str(error)) from error
    notes = [f"column ignored: {normal(name) or '(no name)'}" for name in names if name not in used]
    if len({mapping[price] for price in PRICES}) == 1:
        notes.append("one price a row: open, high, low and close are that price")
    if "volume" not in mapping:
        notes.append("no volume column: volume is 0")
    if not with_adjusted and mapping.pop("adj_close", None) is not None:
        notes.append("adjusted close is not used: prices are imported as they are")
    places = {field: names.index(column) for field, column in mapping.items() if field != "symbol"}
    return RowReader(places, len(names), zone, time_format), notes


def _refuse_rivals(names: list[str], mapping: Mapping[str, str]) -> None:
    """Two columns that both could be the time: nobody should guess which."""
    times = [normal(name) for name in names if guess([name]).get("time") == name]
    if len(times) > 1:
        raise CsvRefused(f"two columns for time: {times[0]} and {times[1]}; keep one of them")
    closes = [normal(name) for name in names if normal(name) in ("close", "last") or name == mapping.get("close")]
    if len(set(closes)) > 1:
        raise CsvRefused(f"two columns for close: {closes[0]} and {closes[1]}; keep one of them")


def _read_row(rows: _Rows, reader: RowReader, number: int, texts: list[str]) -> None:
    try:
        time, ahead, *values = reader.read(texts)
    except BadRow as error:
        rows.n_bad += 1
        if len(rows.problems) < MOST_PROBLEMS:
            rows.problems.append(Problem(number, str(error)))
        return
    rows.numbers.append(number)
    rows.times.append(time)
    rows.ahead.append(ahead)
    rows.values.append(tuple(values))


def _assemble(rows: _Rows, notes: list[str], with_adjusted: bool) -> ParsedBars:
    times = _labels(np.array(rows.times, dtype=np.int64), np.array(rows.ahead, dtype=np.int64), notes)
    values = np.array(rows.values, dtype=np.float64).reshape(-1, 6)
    numbers = np.array(rows.numbers, dtype=np.int64)
    if times.size > 1 and times[0] > times[-1] and (np.diff(times) <= 0).all():
        notes.append("rows are newest first: read from the bottom up")
        times, values, numbers = times[::-1], values[::-1], numbers[::-1]
    kept = longest_ascending(times)
    unordered = [Problem(*problem) for problem in order_problems(times, values, numbers, kept, MOST_PROBLEMS)]
    n_bad = rows.n_bad + int(times.size - kept.size)
    times, values = times[kept], values[kept]
    return ParsedBars(
        series=BarSeries(times, *values[:, :5].T),
        n_rows=int(times.size) + n_bad,
        n_good=int(times.size),
        n_bad=n_bad,
        problems=sorted(rows.problems + unordered, key=lambda problem: problem.row)[:MOST_PROBLEMS],
        notes=notes,
        interval_seconds=_interval(times),
        adj_close=values[:, 5] if with_adjusted else None,
    )


def _labels(times: np.ndarray, ahead: np.ndarray, notes: list[str]) -> np.ndarray:
    """Days that begin at midnight of their own zone, as the dates they are: labels of sessions, 00:00 UTC."""
    local = times + ahead
    if not ahead.any() or (local % DAY).any() or _interval(np.sort(times)) < DAY - 3600:
        return times
    notes.append("days begin at midnight of their own zone: each is kept under its date")
    return local


def _interval(times: np.ndarray) -> int:
    """Usual distance of two bars: nights, weekends and gaps are the minority, so the median is not moved by them.

    Of two middle distances the shorter: their mean, such as two days for a Friday, a Monday and a Tuesday, is none.
    """
    return int(np.quantile(np.diff(times), 0.5, method="lower")) if times.size > 1 else DAY
