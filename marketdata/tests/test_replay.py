"""A replay publishes exactly its bars, in order, never ahead of an active listener, and goes on where it was."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from core.models import Event, Instrument
from marketdata import replay
from marketdata.models import Bar, Stream, Subscription
from marketdata.replay import Replay, behind, publish

pytestmark = pytest.mark.django_db


def day(number: int) -> datetime:
    return datetime(2011, 6, 1, tzinfo=UTC) + timedelta(days=number - 1)


@pytest.fixture
def aapl() -> Instrument:
    found = Instrument.objects.create(symbol="AAPL", name="Apple", asset_class="stock")
    for number in range(1, 11):
        store(found, number)
    return found


@pytest.fixture
def stream(aapl: Instrument) -> Stream:
    """Days 3 to 7 of ten stored ones, as fast as possible."""
    made = Stream.objects.create(name="s", from_time=day(3), to_time=day(7), bars_per_second=0, desired_state="running")
    made.instruments.add(aapl)
    return made


def store(instrument: Instrument, number: int) -> None:
    Bar.objects.create(time=day(number), instrument=instrument, open=1, high=1, low=1, close=1, volume=1, source="test")


class FakeJob:
    """A job without process and lock: what it was told, and a script of what happens while it waits."""

    def __init__(self, stream: Stream, during_wait: Any = None) -> None:
        self.pk, self.shutting_down = stream.pk, False
        self.beats: list[tuple[str, str]] = []
        self.n_waits, self.during_wait = 0, during_wait

    def read(self) -> Stream:
        return Stream.objects.get(pk=self.pk)

    def beat(self, state: str, reason: str = "", *, applied_version: int | None = None) -> None:
        if not self.beats or self.beats[-1] != (state, reason):
            self.beats.append((state, reason))
        values = {"applied_version": applied_version} if applied_version is not None else {}
        Stream.objects.filter(pk=self.pk).update(state=state, state_reason=reason, **values)

    def wait(self, seconds: float) -> list[dict]:
        self.n_waits += 1
        if self.during_wait is not None:
            self.during_wait(self)
        if self.n_waits > 200:
            self.shutting_down = True
        return []


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    """Times of the bars that were announced."""
    said: list[datetime] = []
    real = publish

    def note(stream: Stream, moment: datetime) -> None:
        said.append(moment)
        real(stream, moment)

    monkeypatch.setattr(replay, "publish", note)
    return said


def test_publishes_exactly_from_to_in_order_and_finishes(stream, published):
    job = FakeJob(stream)
    Replay(job).run()  # type: ignore[arg-type]
    assert published == [day(n) for n in (3, 4, 5, 6, 7)]
    stream.refresh_from_db()
    assert (stream.cursor, stream.state) == (day(7), "finished")
    assert stream.published_at is not None
    assert job.beats == [("running", ""), ("finished", "the last bar is out")]
    assert Event.objects.get(kind="stream.finished").subject == f"stream:{stream.pk}"


def test_two_instruments_share_one_clock(stream, published):
    other = Instrument.objects.create(symbol="MSFT", name="Microsoft", asset_class="stock")
    store(other, 4)
    Bar.objects.filter(time=day(4), instrument__symbol="AAPL").delete()
    stream.instruments.add(other)
    Replay(FakeJob(stream)).run()  # type: ignore[arg-type]
    assert published == [day(n) for n in (3, 4, 5, 6, 7)]


def test_goes_on_after_its_cursor_when_started_again(stream, published):
    Stream.objects.filter(pk=stream.pk).update(cursor=day(5))
    Replay(FakeJob(stream)).run()  # type: ignore[arg-type]
    assert published == [day(6), day(7)]


def test_never_ahead_of_an_active_listener(stream, published):
    ready = Subscription.objects.create(stream=stream, subscriber="agent", active=True)
    steps: list[datetime | None] = []

    def listener(job: FakeJob) -> None:
        """Deals with one bar each time the replay waits, and notes what is out."""
        ready.refresh_from_db()
        steps.append(Stream.objects.get(pk=stream.pk).cursor)
        Subscription.objects.filter(pk=ready.pk).update(acknowledged=steps[-1] or datetime.fromtimestamp(0, UTC))

    job = FakeJob(stream, listener)
    Replay(job).run()  # type: ignore[arg-type]
    assert steps == [None, day(3), day(4), day(5), day(6), day(7)], "one bar at a time"
    assert ("waiting", "waiting for agent") in job.beats
    stream.refresh_from_db()
    assert stream.state == "finished"


def test_a_listener_that_does_nothing_holds_the_replay_until_it_is_inactive(stream, published):
    Subscription.objects.create(stream=stream, subscriber="agent", active=True, acknowledged=day(1))

    def give_up(job: FakeJob) -> None:
        if job.n_waits == 3:
            Subscription.objects.update(active=False)

    Replay(FakeJob(stream, give_up)).run()  # type: ignore[arg-type]
    assert published == [day(n) for n in (3, 4, 5, 6, 7)]


def test_behind_names_the_late_ones(stream):
    for name, active, acknowledged in (
        ("never", True, None), ("late", True, day(3)), ("ready", True, day(4)), ("off", False, None),
    ):  # fmt: skip
        Subscription.objects.create(stream=stream, subscriber=name, active=active, acknowledged=acknowledged)
    assert behind(stream) == ["never"], "before the first bar everybody who answered is ready"
    stream.cursor = day(4)
    assert behind(stream) == ["late", "never"]


def test_paused_publishes_nothing_and_acknowledges_the_wish(stream, published):
    Stream.objects.filter(pk=stream.pk).update(desired_state="paused", settings_version=7)

    def resume(job: FakeJob) -> None:
        if job.n_waits == 3:
            assert published == []
            assert Stream.objects.values_list("state", "applied_version").get(pk=job.pk) == ("paused", 7)
            Stream.objects.filter(pk=job.pk).update(desired_state="running")

    Replay(FakeJob(stream, resume)).run()  # type: ignore[arg-type]
    assert len(published) == 5


def test_stopped_ends_at_once_and_keeps_the_cursor(stream, published):
    Stream.objects.filter(pk=stream.pk).update(desired_state="stopped", cursor=day(4))
    job = FakeJob(stream)
    Replay(job).run()  # type: ignore[arg-type]
    assert published == [] and job.beats == [("stopped", "")]


def test_keeps_the_pace(stream, published):
    # Five bars at 20 a second: four pauses of 0.05 s.
    Stream.objects.filter(pk=stream.pk).update(bars_per_second=20)

    def sleep(job: FakeJob) -> None:
        time.sleep(0.005)

    start = time.monotonic()
    Replay(FakeJob(stream, sleep)).run()  # type: ignore[arg-type]
    assert 0.2 <= time.monotonic() - start < 0.6
    assert len(published) == 5


def test_a_faster_speed_counts_at_once(stream, published):
    # At 0.001 bars a second the second bar would come after 1,000 s.
    Stream.objects.filter(pk=stream.pk).update(bars_per_second=0.001)

    def faster(job: FakeJob) -> None:
        if job.n_waits == 5:
            assert published == [day(3)]
            Stream.objects.filter(pk=job.pk).update(bars_per_second=0)

    Replay(FakeJob(stream, faster)).run()  # type: ignore[arg-type]
    assert len(published) == 5


def test_an_earlier_end_counts_although_bars_were_read_ahead(stream, published):
    Stream.objects.filter(pk=stream.pk).update(bars_per_second=0.001)

    def shorten(job: FakeJob) -> None:
        Stream.objects.filter(pk=job.pk).update(bars_per_second=0, to_time=day(4))

    Replay(FakeJob(stream, shorten)).run()  # type: ignore[arg-type]
    assert published == [day(3), day(4)]


def test_the_cursor_never_goes_back(stream):
    publish(stream, day(5))
    publish(stream, day(4))  # a process that has lost its lock and does not know it yet
    stream.refresh_from_db()
    assert stream.cursor == day(5)


def test_a_stream_without_bars_finishes(stream, published):
    Bar.objects.all().delete()
    Replay(FakeJob(stream)).run()  # type: ignore[arg-type]
    assert published == []
    stream.refresh_from_db()
    assert stream.state == "finished"
