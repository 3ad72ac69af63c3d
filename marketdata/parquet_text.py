"""A Parquet file as the text of a CSV, so that both go through the same checks. Pure."""

from __future__ import annotations

import io

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv
import pyarrow.parquet as pq

MAGIC = b"PAR1"
MOST_ROWS = 20_000_000


def is_parquet(data: bytes) -> bool:
    """Whether the bytes say they are a Parquet file."""
    return data[:4] == MAGIC


def to_csv(data: bytes, *, columns: list[str] | None = None, n_rows: int | None = None) -> bytes:
    """The table as UTF-8 CSV with a header; moments in ISO 8601, in UTC with Z where the file knows their zone;
    days that begin at midnight of that zone as dates.

    columns: only these; None takes every column that can be written. n_rows: only the first so many.
    Raises: ValueError for a file that cannot be read as a table.
    """
    try:
        file = pq.ParquetFile(io.BytesIO(data))
        if file.metadata.num_rows > MOST_ROWS:
            raise ValueError(f"the file has {file.metadata.num_rows:,} rows, the limit is {MOST_ROWS:,}: split it")
        _refuse_doubles(file.schema_arrow.names)
        names = [name for name in (columns or file.schema_arrow.names) if _plain(file.schema_arrow.field(name).type)]
        if n_rows is None:
            table = file.read(columns=names)
        else:
            batch = next(file.iter_batches(batch_size=n_rows, columns=names), None)
            table = pa.Table.from_batches(
                [batch] if batch is not None else [], schema=None if batch else _schema(file, names)
            )
    except (pa.ArrowException, KeyError, OSError) as error:
        why = " ".join(str(error).split())[:200]
        raise ValueError(f"the file cannot be read as Parquet: {why}") from error
    texts = pa.table({name: _text(table[name]) for name in names})
    out = io.BytesIO()
    pa.csv.write_csv(texts, out, pa.csv.WriteOptions(quoting_style="needed"))
    return out.getvalue()


def _refuse_doubles(names: list[str]) -> None:
    twice = sorted({name for name in names if names.count(name) > 1})
    if twice:
        raise ValueError(f"two columns are called {twice[0]}; rename one of them")


def _schema(file: pq.ParquetFile, names: list[str]) -> pa.Schema:
    return pa.schema([file.schema_arrow.field(name) for name in names])


def _plain(kind: pa.DataType) -> bool:
    """Whether a column can stand in a CSV: no lists, structures or bytes."""
    if pa.types.is_dictionary(kind):
        return _plain(kind.value_type)
    return not (pa.types.is_nested(kind) or pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _text(column: pa.ChunkedArray) -> pa.ChunkedArray:
    kind = column.type
    if pa.types.is_dictionary(kind):
        return _text(column.cast(kind.value_type))
    if pa.types.is_timestamp(kind):
        known = kind.tz is not None
        if known and _days_of(column):
            return pc.strftime(pc.local_timestamp(column), format="%Y-%m-%d")
        whole = column.cast(pa.timestamp("us", tz="UTC" if known else None), safe=False)
        # A fraction is written only where there is one: a bar must start on a whole second, and says so if not.
        text = pc.replace_substring_regex(pc.strftime(whole, format="%Y-%m-%dT%H:%M:%S"), r"\.0+$", "")
        return pc.binary_join_element_wise(text, "Z" if known else "", "")
    if pa.types.is_floating(kind) or pa.types.is_integer(kind):
        return column
    # A line of the text must stay one line of the table.
    return pc.replace_substring_regex(column.cast(pa.string()), r"[\r\n]+", " ")


def _days_of(column: pa.ChunkedArray) -> bool:
    """Whether every moment is a midnight of the column's own zone: days then, labels of sessions."""
    local = pc.local_timestamp(column)
    return bool(pc.all(pc.equal(local, pc.floor_temporal(local, unit="day"))).as_py())
