"""What operators do to streams. Each is a row, a journal line and a notice; the process obeys the row."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from django.db import transaction
from django.db.models import F, ProtectedError

from core import jobs
from core.job_kinds import find
from core.journal import record
from core.models import Instrument, JobRow
from core.notices import notify
from core.queries import lock_holder
from marketdata import intervals, stream_checks
from marketdata.models import Stream

FASTEST = 1000.0  # bars a second
MOST_TIMES = 1000.0  # of market time
_TIMES = re.compile(r"([0-9.]+) *[x×]")
_A_SECOND = re.compile(r"([0-9.]+) */ *s")
# Sources whose clock is ours to set; every other one runs as its market does.
PACED = (Stream.Source.REPLAY, Stream.Source.SIMULATOR)


def start(stream: Stream, *, actor: str) -> None:
    """Run or continue a stream."""
    _wish(stream, JobRow.Desired.RUNNING, "stream.started", f"{stream.name} started", actor)


def pause(stream: Stream, *, actor: str) -> None:
    """Hold a stream where it is. Raises: ValueError if it is stopped."""
    if Stream.objects.values_list("desired_state", flat=True).get(pk=stream.pk) == JobRow.Desired.STOPPED:
        raise ValueError(f"{stream.name} is stopped, so there is nothing to pause; start it first")
    _wish(stream, JobRow.Desired.PAUSED, "stream.paused", f"{stream.name} paused", actor)


def stop(stream: Stream, *, actor: str) -> None:
    """Stop a stream; starting it again continues after its last bar."""
    _wish(stream, JobRow.Desired.STOPPED, "stream.stopped", f"{stream.name} stopped", actor)


def check_speed(stream: Stream, bars_per_second: float) -> None:
    """Raises: ValueError if the stream cannot run at this speed."""
    if stream.source not in PACED:
        raise ValueError(f"{stream.name} brings bars as its market makes them; only a replay has a speed")
    if not (math.isfinite(bars_per_second) and 0 <= bars_per_second <= FASTEST):
        raise ValueError(
            f"speed {bars_per_second} is not possible: give 0 (as fast as possible) to {FASTEST:g} bars a second"
        )


@transaction.atomic
def set_speed(stream: Stream, bars_per_second: float, *, actor: str) -> None:
    """Change the replay speed: bars a second, 0 for as fast as the agents can go. Raises: ValueError otherwise."""
    check_speed(stream, bars_per_second)
    before = Stream.objects.values_list("bars_per_second", flat=True).get(pk=stream.pk)
    Stream.objects.filter(pk=stream.pk).update(
        bars_per_second=bars_per_second, settings_version=F("settings_version") + 1
    )
    record(
        "stream.speed",
        f"{stream.name} has a new speed: {_words(bars_per_second, stream.interval_seconds)}",
        actor=actor,
        subject=f"stream:{stream.pk}",
        data={"before": before, "after": bars_per_second},
    )
    notify("stream", stream=stream.pk)


def parse_speed(text: str, interval_seconds: int) -> float:
    """Bars a second of a speed as people write it; 0 for as fast as the agents can go.

    text: "100x" (times market time, 1 to 1,000), "5/s" (bars a second), or "max". Raises: ValueError otherwise.
    """
    given = text.strip().lower()
    if given == "max":
        return 0.0
    try:
        if times := _TIMES.fullmatch(given):
            if 1 <= float(times[1]) <= MOST_TIMES:
                return float(times[1]) / interval_seconds
        elif (a_second := _A_SECOND.fullmatch(given)) and 0 < float(a_second[1]) <= FASTEST:
            return float(a_second[1])
    except ValueError:
        pass  # such as 1.2.3: said below
    raise ValueError(
        f"{text!r} is not a speed: give 1x to {MOST_TIMES:g}x of market time, such as 100x, "
        f"or bars a second up to {FASTEST:g}/s, such as 5/s, or max"
    )


def speed_words(stream: Stream) -> str:
    """The speed in words: "100 x", "2 bars a second", "as fast as the agents go"."""
    if stream.source not in PACED:
        return "as its market goes"
    return _words(stream.bars_per_second, stream.interval_seconds)


def _words(bars_per_second: float, interval_seconds: int) -> str:
    """Times market time within a day; a day a day would be slow, so daily bars are counted by the second."""
    if not bars_per_second:
        return "as fast as the agents go"
    times = bars_per_second * interval_seconds
    whole = round(times)
    counted = interval_seconds < intervals.DAY or times < 1.5
    if counted and 1 <= whole <= MOST_TIMES and math.isclose(times, whole, rel_tol=1e-6):
        return f"{whole:,} x"
    return "1 bar a second" if bars_per_second == 1 else f"{bars_per_second:g} bars a second"


def find_instruments(symbols: Sequence[str]) -> list[Instrument]:
    """Instruments by symbol, in this order, each once. Raises: ValueError naming those that do not exist."""
    found: dict[str, Instrument] = {}
    missing = []
    for symbol in dict.fromkeys(symbol.strip() for symbol in symbols if symbol.strip()):
        instrument = Instrument.objects.filter(symbol__iexact=symbol).first()
        if instrument is None:
            missing.append(symbol)
        else:
            found[instrument.symbol] = instrument
    if missing:
        raise ValueError(f"there is no instrument {', '.join(missing)}: check the symbol, or add it first")
    return list(found.values())


@transaction.atomic
def create_stream(
    name: str,
    source: str,
    instruments: Sequence[Instrument],
    interval_seconds: int,
    *,
    start: datetime | None = None,
    end: datetime | None = None,
    speed: str = "1x",
    options: dict[str, Any] | None = None,
    actor: str,
) -> Stream:
    """Make a stopped stream.

    start, end: aware. Of a replay None means from the first or until the last stored bar; a live stream begins with
    the bar that is open now, a faster simulator when its market began. speed: see parse_speed; a source that runs as
    its market does takes no notice of it.
    Raises: ValueError naming what cannot be.
    """
    stream_checks.check_new(name, source, instruments, interval_seconds)
    bars_per_second = parse_speed(speed, interval_seconds) if source in PACED else 1 / interval_seconds
    if source == Stream.Source.REPLAY:
        start, end = stream_checks.stored_range(instruments, interval_seconds, start, end)
    else:
        stream_checks.check_offered(source, interval_seconds)
        start = start or stream_checks.live_start(source, interval_seconds, bars_per_second, options or {})
    if end is not None and start > end:
        raise ValueError(f"the stream would end on {end:%Y-%m-%d %H:%M} before it begins on {start:%Y-%m-%d %H:%M}")
    stream = Stream.objects.create(
        name=name, source=source, interval_seconds=interval_seconds, bars_per_second=bars_per_second,
        from_time=start, to_time=end, options=options or {},
    )  # fmt: skip
    stream.instruments.set(instruments)
    record(
        "stream.created",
        f"{name} was made: {intervals.words(interval_seconds)} bars of {_symbols(instruments)} from "
        f"{stream.get_source_display()}",
        actor=actor,
        subject=f"stream:{stream.pk}",
        data={"source": source, "instruments": [instrument.symbol for instrument in instruments],
              "interval_seconds": interval_seconds, "bars_per_second": bars_per_second, "options": options or {}},
    )  # fmt: skip
    notify("stream", stream=stream.pk)
    return stream


@transaction.atomic
def delete_stream(stream: Stream, *, actor: str) -> None:
    """Remove a stream; the bars it brought stay. Raises: ValueError if it runs or somebody follows it."""
    row = Stream.objects.select_for_update().get(pk=stream.pk)
    if row.desired_state != JobRow.Desired.STOPPED or lock_holder(find("stream").number, row.pk) is not None:
        raise ValueError(f"{row.name} is {row.get_state_display()}; stop it first")
    pk, name = row.pk, row.name
    try:
        row.delete()
    except ProtectedError as error:
        users = ", ".join(sorted(str(user) for user in error.protected_objects))
        raise ValueError(f"{name} is followed by {users}; give them another stream first") from error
    record("stream.removed", f"{name} was removed; its bars stay", actor=actor, subject=f"stream:{pk}")
    notify("stream", stream=pk)


def _symbols(instruments: Sequence[Instrument]) -> str:
    return ", ".join(instrument.symbol for instrument in instruments)


@transaction.atomic
def _wish(stream: Stream, desired: str, kind: str, message: str, actor: str) -> None:
    before = Stream.objects.values_list("desired_state", flat=True).get(pk=stream.pk)
    jobs.request("stream", stream.pk, desired)
    data = {"before": before, "after": desired}
    record(kind, message, actor=actor, subject=f"stream:{stream.pk}", data=data)
