"""A live stream: what a source brings gets into the table, then the cursor moves, and no bar is lost on the way."""

import time
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from core.jobs import JobFailedError
from core.models import Event
from marketdata import fetch_job, live, live_intake, replay
from marketdata.live import Live
from marketdata.models import Bar, Stream, Tick
from marketdata.queries import load_bars, next_bar_times
from marketdata.replay import publish
from marketdata.sources.base import Asked, SourceRefusedError, SourceUnavailableError, Update
from marketdata.sources.simulator import SimulatorSource
from marketdata.tests.stream_world import MONDAY, FakeJob, Scripted, bars, make_instrument, minute, stored

pytestmark = pytest.mark.django_db

HOUR = minute(60)


@pytest.fixture
def aaa():
    return make_instrument("AAA")


@pytest.fixture
def published(monkeypatch: pytest.MonkeyPatch) -> list[datetime]:
    said: list[datetime] = []

    def note(stream: Stream, moment: datetime) -> None:
        said.append(moment)
        publish(stream, moment)

    monkeypatch.setattr(replay, "publish", note)
    monkeypatch.setattr(fetch_job, "FIRST_WAIT_SECONDS", 0.02)
    return said


def make_stream(*instruments: Any, **values: Any) -> Stream:
    given = {"source": "yahoo", "interval_seconds": 60, "bars_per_second": 1 / 60, "from_time": MONDAY} | values
    stream = Stream.objects.create(name="s", desired_state="running", **given)
    stream.instruments.add(*instruments)
    return stream


def run(stream: Stream, source: Any, *, now: datetime = HOUR, until: Any = None) -> FakeJob:
    """Run until something is true; by default until the stream has published its last minute before `now`."""
    last = now - timedelta(minutes=1)
    job = FakeJob(stream, until or (lambda: Stream.objects.get(pk=stream.pk).cursor == last))
    Live(job, source=source, now=lambda: now).run()
    return job


def minutes(first: int, last: int) -> list[datetime]:
    return [minute(number) for number in range(first, last + 1)]


class Clock:
    def __init__(self, moment: datetime) -> None:
        self.seconds = moment.timestamp()

    def sleep(self, seconds: float) -> None:
        self.seconds += seconds / 1000  # nearly stands still


def simulator(now: datetime) -> SimulatorSource:
    clock = Clock(now)
    return SimulatorSource(now=lambda: clock.seconds, sleep=clock.sleep)


def test_simulated_bars_get_into_the_table_and_out_to_the_agents(aaa, published):
    stream = make_stream(aaa, source="simulator", bars_per_second=0, options={"seed": 5})
    run(stream, simulator(minute(60)))
    assert published == minutes(0, 59)
    asked = Asked("AAA", 60, start=MONDAY, end=minute(59), options={"seed": 5})
    (expected,) = (part.series for part in simulator(minute(60)).history(asked))
    assert load_bars(aaa.pk, 60).fingerprint() == expected.fingerprint()
    assert set(Bar.objects.values_list("source", flat=True)) == {"simulator"}
    stream.refresh_from_db()
    assert (stream.cursor, stream.progress["n_bars"], stream.progress["problem"]) == (minute(59), 60, "")
    assert stream.progress["last_bar"] == minute(59).isoformat() and stream.published_at is not None


def test_simulated_ticks_become_the_same_bars(aaa, published):
    stream = make_stream(aaa, source="simulator", bars_per_second=0, options={"seed": 5, "ticks": True})
    # The last minute closes when a tick beyond it has come or the grace time has passed in the market.
    run(stream, simulator(minute(10)), now=minute(10), until=lambda: len(published) >= 9)
    assert published[:9] == minutes(0, 8)
    asked = Asked("AAA", 60, start=MONDAY, end=minute(8), options={"seed": 5})
    (expected,) = (part.series for part in simulator(minute(10)).history(asked))
    found = load_bars(aaa.pk, 60, end=minute(8))
    for name in ("time", "open", "high", "low", "close"):
        np.testing.assert_array_equal(getattr(found, name), getattr(expected, name))
    np.testing.assert_allclose(found.volume, expected.volume)
    stream.refresh_from_db()
    assert stream.progress["n_ticks"] == Tick.objects.count() > 1000


def test_several_instruments_share_one_clock(aaa, published):
    bbb = make_instrument("BBB")
    stream = make_stream(aaa, bbb, source="simulator", bars_per_second=0)
    run(stream, simulator(minute(30)), now=minute(30))
    assert published == minutes(0, 29)
    assert stored(aaa) == stored(bbb) == list(range(30))


def test_what_was_missed_while_it_was_down_is_fetched_first(aaa, published):
    stream = make_stream(aaa, source="simulator", cursor=minute(10))
    run(stream, simulator(minute(60)))
    assert published == minutes(11, 59), "every minute, once"
    stream.refresh_from_db()
    assert stream.state == "stopped" and stream.cursor == minute(59)


def test_bars_that_come_twice_are_harmless(aaa, published):
    source = Scripted(
        [Update(bars={"AAA": bars(57, 58)}), Update(bars={"AAA": bars(58, 59)})], history=[bars(*range(60))]
    )
    stream = make_stream(aaa, cursor=minute(55))
    run(stream, source)
    assert published == minutes(56, 59)
    assert stored(aaa) == [56, 57, 58, 59]


def test_nothing_newer_is_published_until_the_gap_is_filled(aaa, published):
    away = SourceUnavailableError("it does not answer")
    newest = [Update(bars={"AAA": bars(59)})]
    source = Scripted(newest, newest, newest, history=[[away], [away], bars(*range(60))])
    stream = make_stream(aaa, cursor=minute(50))
    job = run(stream, source)
    assert published == minutes(51, 59) and len(source.history_asked) == 3
    assert source.history_asked[0].start == minute(50) + timedelta(seconds=1)
    assert any(
        state == "waiting" and "it does not answer; tried again at 13:00:00 UTC" in why for state, why in job.beats
    )
    kinds = list(Event.objects.order_by("id").values_list("kind", flat=True))
    assert kinds == ["stream.trouble", "stream.recovered"], "told once, not at every try"


def test_a_crash_between_storing_and_publishing_loses_nothing(aaa, published):
    # The process died after it had stored minute 59 and before it had published 57 to 59.
    source = Scripted([Update()], history=[bars(57, 58, 59)])
    live_intake.store_bars(aaa, 60, bars(57, 58, 59), "scripted")
    stream = make_stream(aaa, cursor=minute(56))
    run(stream, source)
    assert published == minutes(57, 59)


def test_a_source_without_history_goes_on_with_what_comes(aaa, published):
    source = Scripted([Update(bars={"AAA": bars(59)})], history=[[SourceRefusedError("it keeps no history")]])
    stream = make_stream(aaa, cursor=minute(50))
    run(stream, source)
    assert published == [minute(59)]
    stream.refresh_from_db()
    assert "cannot be fetched: it keeps no history" in stream.progress["note"]
    assert Event.objects.get(kind="stream.gap").level == Event.Level.ATTENTION


def test_a_bar_that_is_still_open_is_not_published(aaa, published):
    source = Scripted([Update(bars={"AAA": bars(58, 59, 60)})])
    stream = make_stream(aaa, cursor=minute(57))
    run(stream, source)
    assert published == minutes(58, 59) and stored(aaa)[-1] == 60


def test_paused_it_asks_nothing_and_then_fetches_what_it_missed(aaa, published):
    def pause() -> None:
        Stream.objects.filter(pk=stream.pk).update(desired_state="paused", settings_version=7)

    stream = make_stream(aaa, cursor=minute(56))
    source = Scripted([Update(bars={"AAA": bars(57)})], [], history=[bars(57), bars(57, 58, 59)])
    seen: list[Any] = []

    def until() -> bool:
        row = Stream.objects.get(pk=stream.pk)
        if row.cursor == minute(57) and row.desired_state == "running" and not seen:
            pause()
        if row.state == "paused" and source.n_closed:
            seen.append((list(published), row.applied_version, len(source.live_asked)))
            if len(seen) > 3:
                Stream.objects.filter(pk=stream.pk).update(desired_state="running")
        return row.cursor == minute(59)

    run(stream, source, until=until)
    assert seen[0] == seen[-1] == ([minute(57)], 7, 1), "while it is paused nothing happens"
    assert published == minutes(57, 59) and len(source.live_asked) == 2


def test_paused_simulator_with_its_own_clock_goes_on_where_it_was(aaa, published):
    stream = make_stream(aaa, source="simulator", bars_per_second=0, cursor=minute(20))
    run(stream, simulator(minute(60)))
    assert published == minutes(21, 59)


def test_stopped_ends_at_once_and_closes_the_connection(aaa, published):
    source = Scripted([Update()])
    stream = make_stream(aaa)

    def until() -> bool:
        if source.live_asked:
            Stream.objects.filter(pk=stream.pk).update(desired_state="stopped")
        return False

    job = run(stream, source, until=until)
    assert job.beats[-1] == ("stopped", "")
    deadline = job.ends_at
    while not source.n_closed and job.ends_at == deadline and not job.shutting_down:
        job.wait(0.01)
    assert source.n_closed == 1


def test_the_words_of_the_source_are_on_the_row(aaa, published):
    look = minute(75)
    source = Scripted([Update(), Update(problem="Yahoo wants fewer questions", next_look=look)])
    stream = make_stream(aaa, cursor=minute(59))
    job = run(stream, source, until=lambda: ("waiting", "Yahoo wants fewer questions") in job_of())
    stream.refresh_from_db()
    assert stream.progress["problem"] == "Yahoo wants fewer questions"
    assert stream.progress["next_look"] == look.isoformat()
    assert Event.objects.get(kind="stream.trouble").message == "s: Yahoo wants fewer questions"
    assert job.beats[-1] == ("stopped", "the desk was shut down")


def job_of() -> list[tuple[str, str]]:
    return list(Stream.objects.values_list("state", "state_reason"))


def test_when_it_looks_next_is_the_reason_it_gives(aaa, published):
    source = Scripted([Update(next_look=minute(75))])
    stream = make_stream(aaa, cursor=minute(59))
    run(stream, source, until=lambda: ("running", "asked again at 13:15:00 UTC") in job_of())
    assert job_of() == [("stopped", "the desk was shut down")]


def test_after_trouble_the_gap_is_filled_again(aaa, published):
    def later() -> None:
        while not published:  # the source runs in a thread of its own, ahead of the stream
            time.sleep(0.005)

    script = [Update(bars={"AAA": bars(57)}), later, Update(problem="lost"), Update(bars={"AAA": bars(59)})]
    source = Scripted(script, history=[bars(57), bars(58, 59)])
    stream = make_stream(aaa, cursor=minute(56))
    run(stream, source)
    assert published == minutes(57, 59), "minute 58 came while the connection was away"


@pytest.mark.parametrize(
    "error", [SourceUnavailableError("too busy", retry_after_seconds=0.01), ConnectionError("reset")]
)
def test_a_lost_connection_is_made_again(aaa, published, error):
    source = Scripted([error], [Update(), error], [Update(bars={"AAA": bars(59)})], history=[[], [], bars(59)])
    stream = make_stream(aaa, cursor=minute(58))
    run(stream, source)
    assert published == [minute(59)] and len(source.live_asked) == 3


def test_a_refusal_needs_a_person(aaa, published):
    source = Scripted([SourceRefusedError("Yahoo does not know AAA")])
    with pytest.raises(JobFailedError, match="does not know AAA"):
        run(make_stream(aaa), source)


def test_a_mistake_in_a_source_is_not_taken_for_trouble(aaa, published):
    with pytest.raises(ZeroDivisionError):
        run(make_stream(aaa), Scripted([ZeroDivisionError("oops")]))


def test_another_speed_opens_the_simulator_anew(aaa, published):
    stream = make_stream(aaa, source="simulator", bars_per_second=0.5)
    source = simulator(minute(60))

    def until() -> bool:
        Stream.objects.filter(pk=stream.pk).update(bars_per_second=0)
        return Stream.objects.get(pk=stream.pk).cursor == minute(59)

    run(stream, source, until=until)
    assert published == minutes(0, 59)


def test_it_ends_with_its_last_bar(aaa, published):
    stream = make_stream(aaa, source="simulator", bars_per_second=0, to_time=minute(5))
    job = run(stream, simulator(minute(60)))
    assert published == minutes(0, 5)
    assert job.beats[-1] == ("finished", "the last bar is out")
    assert Event.objects.get(kind="stream.finished").subject == f"stream:{stream.pk}"


def test_real_ticks_wait_for_the_history_of_the_bar_they_began_in(aaa, published):
    # Connected in the middle of minute 59: its ticks are only half of it, the history knows all.
    clock = [minute(59) + timedelta(seconds=30)]

    def later() -> None:
        while not source.history_asked:  # the source runs in a thread of its own, ahead of the stream
            time.sleep(0.005)
        clock[0] = minute(60) + timedelta(seconds=6)

    half = [Update(ticks={"AAA": ticks(59, 40)}), Update(ticks={"AAA": ticks(59, 50)})]
    source = Scripted([*half, later, Update(ticks={"AAA": ticks(60, 5)})], history=[[], bars(59, price=100.0)])
    stream = make_stream(aaa, source="simulator", cursor=minute(58), options={"ticks": True})
    job = FakeJob(stream, lambda: len(published) > 0)
    Live(job, source=source, now=lambda: clock[0]).run()
    assert published == [minute(59)]
    assert load_bars(aaa.pk, 60, end=minute(59)).close.tolist() == [159.0]


def ticks(number: int, second: int) -> Any:
    from marketdata.ticks.series import TickBatch

    time = (minute(number) + timedelta(seconds=second)).timestamp() * 1_000_000
    return TickBatch.trades(np.array([time]), np.array([10.0]), np.array([1.0]), sequence=number * 100 + second)


def test_bars_of_the_source_are_preferred_to_those_of_its_ticks(aaa, published):
    both = Update(bars={"AAA": bars(59)}, ticks={"AAA": ticks(59, 40)})
    stream = make_stream(aaa, source="ccxt", cursor=minute(58))
    run(stream, Scripted([both]))
    assert published == [minute(59)] and Tick.objects.count() == 1
    assert load_bars(aaa.pk, 60).close.tolist() == [69.0], "not 10, the price of the only tick we saw"
    stream.refresh_from_db()
    assert (stream.progress["n_bars"], stream.progress["n_ticks"]) == (1, 1)


def test_agents_that_were_late_find_every_bar(aaa, published):
    # The stream has published an hour; an agent asks for what came after its last bar, one at a time.
    stream = make_stream(aaa, source="simulator", bars_per_second=0)
    run(stream, simulator(minute(60)))
    stream.refresh_from_db()
    after, seen = minute(3), []
    while times := next_bar_times([aaa.pk], 60, after=after, until=stream.cursor, limit=1):
        seen.append(after := times[0])
    assert seen == minutes(4, 59)


def test_a_busy_process_does_not_take_its_own_delay_for_a_quiet_market(aaa, published, monkeypatch):
    # The clock is long beyond minute 58 while its ticks are still in the queue: they belong to it all the same.
    monkeypatch.setattr(live_intake, "TICKS_AT_ONCE", 1)
    clock = [minute(58)]
    half = [Update(ticks={"AAA": ticks(58, second)}) for second in range(1, 60)]
    source = Scripted(
        [lambda: clock.__setitem__(0, HOUR), *half], history=[[SourceRefusedError("none is kept")] for _ in range(2)]
    )
    stream = make_stream(aaa, source="simulator", cursor=minute(57), options={"ticks": True})
    job = FakeJob(stream, lambda: len(published) == 1)
    Live(job, source=source, now=lambda: clock[0]).run()
    assert published == [minute(58)] and Tick.objects.count() == 59
    assert load_bars(aaa.pk, 60).volume.tolist() == [59.0]


def test_live_streams_do_not_wait_for_agents(aaa, published):
    stream = make_stream(aaa, source="simulator", bars_per_second=0)
    stream.subscriptions.create(subscriber="agent:1", active=True, acknowledged=None)
    run(stream, simulator(minute(60)))
    assert published == minutes(0, 59)


def test_the_process_of_a_stream_is_chosen_by_its_source(aaa, monkeypatch):
    from django.core.management import call_command

    from marketdata.management.commands import run_stream

    ran: list[str] = []
    monkeypatch.setattr(run_stream.Live, "run", lambda self: ran.append("live"))
    monkeypatch.setattr(run_stream.Replay, "run", lambda self: ran.append("replay"))
    call_command("run_stream", make_stream(aaa).pk)
    other = Stream.objects.create(name="r", source="replay", from_time=MONDAY, to_time=MONDAY)
    call_command("run_stream", other.pk)
    assert ran == ["live", "replay"]
    assert live.own_clock(other) is False
