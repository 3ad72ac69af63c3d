"""The numbers behind the live chart. Only what the replay has published: bars up to the stream's cursor."""

from datetime import UTC, datetime
from typing import Any

import numpy as np
import talib

from agents.models import Agent, Decision
from core.models import EquitySnapshot, Fill
from marketdata.adjusted import Mode
from marketdata.corporate import load_adjusted
from marketdata.models import Bar

N_BARS = 600
MOST_BARS = 2000
# Bars before the first one shown, so that the slow average no longer depends on where it began.
WARM_UP = 400


def published_until(agent: Agent) -> datetime | None:
    """Time of the newest bar a page may show; None when the agent has no stream and nothing is held back."""
    stream = agent.stream
    if stream is None:
        return None
    return stream.cursor or datetime.fromtimestamp(stream.from_time.timestamp() - 1, UTC)


def chart(agent: Agent, *, since: int | None = None, before: int | None = None) -> dict[str, Any]:
    """Bars, averages, marks, decision lane and equity, times in epoch seconds.

    since: only from that bar on (to patch a chart); before: the older page that ends before that bar (to pan).
    Lists: bars [time, open, high, low, close, volume], ema10 and ema50 [time, value], lane [time, label, confidence],
    equity [time, equity, baseline]; marks are objects.
    """
    bars = _bars(agent, before=before, n=MOST_BARS if since else N_BARS)
    times = bars[:, 0]
    shown = bars[times >= since] if since else bars[min(WARM_UP, max(0, len(bars) - N_BARS)) :]
    first = int(shown[0, 0]) if len(shown) else 0
    last = int(shown[-1, 0]) if len(shown) else 0
    stream = agent.stream
    return {
        "agent": agent.pk,
        "symbol": agent.instrument.symbol,
        "places": 2 if agent.instrument.price_places is None else agent.instrument.price_places,
        "has_volume": agent.instrument.has_volume,
        "unseen": int(stream.from_time.timestamp()) if stream else None,
        "bars": [[int(row[0]), *row[1:].tolist()] for row in shown],
        "ema10": _average(bars, 10, first),
        "ema50": _average(bars, 50, first),
        "marks": _marks(agent, first, last),
        "lane": _lane(agent, first, last),
        "equity": _equity(agent, first, last),
    }


def _bars(agent: Agent, *, before: int | None, n: int) -> np.ndarray:
    """Published bars in order, shape (T, 6): time in seconds, open, high, low, close, volume."""
    bars = Bar.objects.filter(instrument_id=agent.instrument_id, interval_seconds=agent.interval_seconds)
    until = published_until(agent)
    if until is not None:
        bars = bars.filter(time__lte=until)
    if before is not None:
        bars = bars.filter(time__lt=datetime.fromtimestamp(before, UTC))
    rows = bars.order_by("-time").values_list("time", "open", "high", "low", "close", "volume")[: n + WARM_UP]
    return np.array([[row[0].timestamp(), *row[1:]] for row in rows][::-1], dtype=float).reshape(-1, 6)


def _average(bars: np.ndarray, n: int, first: int) -> list[list[float]]:
    if len(bars) < n:
        return []
    values = talib.EMA(np.ascontiguousarray(bars[:, 4]), n)
    return [
        [int(time), round(float(value), 6)]
        for time, value in zip(bars[:, 0], values, strict=True)
        if time >= first and not np.isnan(value)
    ]


def _marks(agent: Agent, first: int, last: int) -> list[dict[str, Any]]:
    fills = (
        Fill.objects.filter(book_id=agent.book_id, instrument_id=agent.instrument_id, **_span(first, last))
        .select_related("order")
        .order_by("time", "id")
    )
    return [
        {
            "id": fill.pk,
            "time": int(fill.time.timestamp()),
            "quantity": float(fill.quantity),
            "price": float(fill.price),
            # The decision that caused the fill, one bar or more earlier; orders of the stop button have none.
            "decision": int(fill.order.decided_at.timestamp()) if fill.order.decision_id else None,
        }
        for fill in fills
    ]


def _lane(agent: Agent, first: int, last: int) -> list[list[Any]]:
    rows = Decision.objects.filter(agent=agent, **_span(first, last)).order_by("time")
    return [
        [int(time.timestamp()), label, round(confidence, 3)]
        for time, label, confidence in rows.values_list("time", "label", "confidence")
    ]


def _equity(agent: Agent, first: int, last: int) -> list[list[float | None]]:
    """The book's equity beside buying at the first snapshot's close and holding, before costs."""
    snapshots = EquitySnapshot.objects.filter(book_id=agent.book_id)
    start = snapshots.order_by("time").first()
    if start is None:
        return []
    rows = snapshots.filter(**_span(first, last)).order_by("time").values_list("time", "equity")
    closes = _closes(agent, [start.time, *[time for time, _ in rows]])
    base = closes.get(start.time)
    return [
        [
            int(time.timestamp()),
            float(equity),
            float(start.equity) * closes[time] / base if base and time in closes else None,
        ]
        for time, equity in rows
    ]


def _closes(agent: Agent, times: list[datetime]) -> dict[datetime, float]:
    """Closes as they would be without splits and dividends in between, so that holding through one is no loss."""
    bars = load_adjusted(agent.instrument, agent.interval_seconds, Mode.FORWARD, start=min(times), end=max(times))
    return {
        datetime.fromtimestamp(int(time), UTC): close
        for time, close in zip(bars.time, bars.close.tolist(), strict=True)
    }


def _span(first: int, last: int) -> dict[str, datetime]:
    return {"time__gte": datetime.fromtimestamp(first, UTC), "time__lte": datetime.fromtimestamp(last, UTC)}
