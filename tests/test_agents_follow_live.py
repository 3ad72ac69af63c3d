"""An agent follows a live stream exactly as it follows a replay: same bars, same fills, same equity."""

import time
from datetime import timedelta

import numpy as np
import pytest

from agents.runtime import AgentProcess
from core.models import EquitySnapshot, Fill, Order
from marketdata.live import Live
from marketdata.models import Bar, Stream
from marketdata.series import BarSeries
from marketdata.sources.base import Update
from marketdata.tests.stream_world import FakeJob, Scripted
from tests.desk import N_HISTORY, SmallDesk, expected_of, small_desk

pytestmark = pytest.mark.django_db


@pytest.fixture
def desk(settings, tmp_path) -> SmallDesk:
    """A desk whose stream is live: its bars are not stored yet and it has no end."""
    settings.MODELS_DIR = tmp_path
    made = small_desk(n_bars=40)
    Bar.objects.filter(time__gte=made.stream.from_time).delete()
    Stream.objects.filter(pk=made.stream.pk).update(source="simulator", to_time=None, desired_state="running")
    return made


def part(bars: BarSeries, first: int, last: int) -> BarSeries:
    names = ("time", "open", "high", "low", "close", "volume")
    return BarSeries(*(getattr(bars, name)[N_HISTORY + first : N_HISTORY + last] for name in names))


def bring(desk: SmallDesk, first: int, last: int) -> None:
    """Let the stream's process bring some of the bars, without waiting for the agent."""
    symbol, until = desk.agent.instrument.symbol, desk.times()[last - 1]
    updates = [Update(bars={symbol: part(desk.bars, n, n + 1)}) for n in range(first, last)]
    job = FakeJob(desk.stream, lambda: Stream.objects.get(pk=desk.stream.pk).cursor == until)
    Live(job, source=Scripted(updates), now=lambda: desk.times()[-1] + timedelta(days=1)).run()
    assert Stream.objects.get(pk=desk.stream.pk).cursor == until


def catch_up(desk: SmallDesk) -> None:
    """Let the agent's process deal with everything that is published."""
    began = time.monotonic()

    def done() -> bool:
        desk.agent.refresh_from_db()
        return desk.agent.last_bar_time == Stream.objects.get(pk=desk.stream.pk).cursor or time.monotonic() - began > 30

    AgentProcess(FakeJob(desk.agent, done)).run()  # type: ignore[arg-type]


def test_an_agent_that_keeps_up_does_what_it_does_on_a_replay(desk):
    for number in range(40):
        bring(desk, number, number + 1)
        catch_up(desk)
    expected = expected_of(desk)
    assert len(expected["fills"]) >= 3, "the test needs a policy that trades"
    equity = EquitySnapshot.objects.filter(book=desk.agent.book).order_by("time").values_list("equity", flat=True)
    np.testing.assert_allclose([float(value) for value in equity], expected["equity"], rtol=0, atol=1e-6)
    fills = Fill.objects.filter(book=desk.agent.book).order_by("time")
    assert [int(fill.time.timestamp()) for fill in fills] == [row[0] for row in expected["fills"]]


def test_a_live_stream_does_not_wait_for_an_agent_that_is_late_and_it_catches_up(desk):
    bring(desk, 0, 5)
    catch_up(desk)
    bring(desk, 5, 40)  # while the agent is down
    catch_up(desk)
    seen = EquitySnapshot.objects.filter(book=desk.agent.book).order_by("time").values_list("time", flat=True)
    assert list(seen) == desk.times(), "every bar, once, in order"
    late = Order.objects.filter(reason_code="STALE_DATA").order_by("decided_at")
    assert late.exists(), "what it decides on old bars is not traded"
    assert {order.status for order in late} == {"denied"} and late.last().decided_at < desk.times()[-1]
