"""Drops ticks that are older than the desk keeps, and compresses old ones where the database's edition can.

Ticks go chunk by chunk (a chunk is a day, all instruments together), so a day goes when all of it is too old. Bars
stay. What was dropped is in the journal, and from then on late trades of those days are refused (store.py): the bars
they fall into could not be made anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta

from django.db import connection, transaction

from core import journal
from marketdata.models import DataSettings, TickState
from marketdata.ticks.writing import DROPPED

COMPRESSED = "ticks.compressed"
_OLD = """
    SELECT count(*), extract(epoch FROM max(range_end))::bigint FROM timescaledb_information.chunks
    WHERE hypertable_name = 'marketdata_tick' AND range_end <= %s
"""
# Segments by instrument keep the key's columns apart from the compressed ones, so late ticks can still be stored.
_ALLOW = """
    ALTER TABLE marketdata_tick SET (timescaledb.compress, timescaledb.compress_segmentby = 'instrument_id',
        timescaledb.compress_orderby = 'time, identity')
"""
_UNCOMPRESSED = """
    SELECT format('%%I.%%I', chunk_schema, chunk_name) FROM timescaledb_information.chunks
    WHERE hypertable_name = 'marketdata_tick' AND range_end <= %s AND NOT is_compressed ORDER BY range_start
"""


@dataclass(frozen=True)
class Tidied:
    """What was done."""

    n_dropped: int = 0  # chunks
    n_compressed: int = 0


def drop_old(now: datetime, *, actor: str = "system") -> Tidied:
    """Apply the settings as of `now` (aware); nothing happens without settings. Running it twice does no harm."""
    settings = DataSettings.load()
    n_dropped = n_compressed = 0
    if settings.tick_days is not None:
        n_dropped = _drop(now - timedelta(days=settings.tick_days), settings.tick_days, actor)
    if settings.compress_after_days is not None and can_compress():
        n_compressed = _compress(now - timedelta(days=settings.compress_after_days), actor)
    return Tidied(n_dropped, n_compressed)


def can_compress() -> bool:
    """Whether the database's edition has compression: TimescaleDB's Apache edition, as Debian packs it, has not."""
    with connection.cursor() as cursor:
        cursor.execute("SELECT current_setting('timescaledb.license', true) = 'timescale'")
        return bool(cursor.fetchone()[0])


@transaction.atomic
def _drop(before: datetime, days: int, actor: str) -> int:
    # Nobody may store ticks meanwhile: who waits here reads the journal line afterwards, see writing.kept_since.
    list(TickState.objects.select_for_update().order_by("pk").values_list("pk"))
    with connection.cursor() as cursor:
        cursor.execute(_OLD, [before])
        n_chunks, until = cursor.fetchone()
        if not n_chunks:
            return 0
        cursor.execute("SELECT drop_chunks('marketdata_tick', older_than => to_timestamp(%s))", [until])
    plural = "" if n_chunks == 1 else "s"
    journal.record(
        DROPPED,
        f"Ticks older than {days} days dropped: {n_chunks} day{plural}; bars stay",
        actor=actor,
        data={"until": until, "chunks": n_chunks, "tick_days": days},
    )
    return n_chunks


def _compress(before: datetime, actor: str) -> int:
    with connection.cursor() as cursor:
        cursor.execute(_UNCOMPRESSED, [before])
        chunks = [name for (name,) in cursor.fetchall()]
        if not chunks:
            return 0
        cursor.execute(_ALLOW)
        for chunk in chunks:  # each in a transaction of its own: a long history would hold locks for hours
            cursor.execute("SELECT compress_chunk(%s::regclass)", [chunk])
    journal.record(COMPRESSED, f"{len(chunks)} days of ticks compressed", actor=actor, data={"chunks": len(chunks)})
    return len(chunks)
