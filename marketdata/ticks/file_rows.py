"""Rows of a CSV or Parquet file in pieces, as texts or as the file's own types. Pure."""

from __future__ import annotations

import csv
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path
from typing import TextIO

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as parquet


@dataclass(frozen=True)
class Rows:
    """A piece of a file."""

    names: list[str]  # the file's own, in its order; one may be there twice
    columns: dict[str, pd.Series]  # by these names, index 0, 1, 2, ...
    numbers: np.ndarray  # place of each row in the file, int64, shape (T,)
    bad: list[tuple[int, str]] = field(default_factory=list)  # rows that are not among them: place, reason


def read(path: Path, chunk_rows: int, refused: type[ValueError]) -> Iterator[Rows]:
    """Pieces of at most `chunk_rows` rows. Raises: `refused`, with one line for people."""
    if not path.is_file():
        raise refused(f"{path}: no such file; give the path of a CSV or Parquet file")
    try:
        if path.suffix.lower() in (".parquet", ".pq"):
            yield from _parquet(path, chunk_rows)
        else:
            with path.open(encoding="utf-8-sig", newline=None) as lines:
                yield from _csv(lines, chunk_rows, refused)
    except pa.ArrowException as error:
        raise refused(f"{path.name} is not a Parquet file that can be read ({_first_line(error)})") from error
    except UnicodeDecodeError as error:
        raise refused(f"{path.name} is not UTF-8 text: byte {error.start} cannot be read; save it as UTF-8") from error
    except OSError as error:
        raise refused(f"{path}: cannot be read ({_first_line(error)}); check the path and its permissions") from error


def _parquet(path: Path, chunk_rows: int) -> Iterator[Rows]:
    first = 1
    with parquet.ParquetFile(path) as file:
        for batch in file.iter_batches(batch_size=chunk_rows):
            names = batch.schema.names
            columns = {name: _series(array) for name, array in zip(names, batch.columns, strict=True)}
            yield Rows(names, columns, np.arange(first, first + batch.num_rows))
            first += batch.num_rows


def _series(array: pa.Array) -> pd.Series:
    series = array.to_pandas()
    if pa.types.is_binary(array.type) or pa.types.is_large_binary(array.type):
        return series.map(lambda data: data.decode("utf-8", "replace"), na_action="ignore")
    return series


def _csv(lines: TextIO, chunk_rows: int, refused: type[ValueError]) -> Iterator[Rows]:
    header = next(lines, "")
    if not header.strip():
        raise refused("the file is empty: expected a header line and one line per tick")
    delimiter = max(",;\t", key=header.count)
    names = _split(header, delimiter)
    first = 2
    while piece := list(islice(lines, chunk_rows)):
        yield _csv_rows(names, piece, first, delimiter)
        first += len(piece)


def _csv_rows(names: list[str], lines: list[str], first: int, delimiter: str) -> Rows:
    good: list[list[str]] = []
    numbers: list[int] = []
    bad: list[tuple[int, str]] = []
    for number, line in enumerate(lines, start=first):
        fields = _split(line, delimiter)
        if len(fields) == len(names):
            good.append(fields)
            numbers.append(number)
        elif line.strip():
            bad.append((number, "not as many fields as the header"))
    texts = list(zip(*good, strict=True)) or [()] * len(names)
    columns = {name: pd.Series(column, dtype="str") for name, column in zip(names, texts, strict=True)}
    return Rows(names, columns, np.array(numbers, dtype=np.int64), bad)


def _split(line: str, delimiter: str) -> list[str]:
    """Fields of one line. Lines are split one by one, so an open quote spoils its own row only."""
    line = line.rstrip("\n")
    if '"' not in line:
        return line.split(delimiter)
    try:
        return next(csv.reader([line], delimiter=delimiter, strict=True))
    except csv.Error:
        return line.split(delimiter)


def _first_line(error: Exception) -> str:
    return str(error).splitlines()[0][:160] if str(error) else type(error).__name__
