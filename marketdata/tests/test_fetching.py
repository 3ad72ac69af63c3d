"""A fetch asks only for what is missing, shows how far it is, can be cancelled, and goes on after a crash."""

from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest
from django_q.models import OrmQ

from core.jobs import JobFailedError
from core.models import Event
from marketdata import fetch_job, fetching
from marketdata.fetch_job import Fetching
from marketdata.models import Bar, CorporateAction, Fetch
from marketdata.sources import registry
from marketdata.sources.base import Action, Part, SourceRefusedError, SourceUnavailableError
from marketdata.tests.stream_world import MONDAY, FakeJob, Scripted, bars, make_instrument, minute, stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def aaa():
    return make_instrument("AAA")


@pytest.fixture
def source(monkeypatch: pytest.MonkeyPatch):
    """The source every name stands for in these tests."""
    found = Scripted(history=[])
    monkeypatch.setattr(registry, "source", lambda name: found)
    monkeypatch.setattr(fetch_job, "FIRST_WAIT_SECONDS", 0.01)
    monkeypatch.setattr(fetch_job, "LOOK_SECONDS", 0.05)
    return found


def ask(instrument: Any, first: int = 0, last: int = 59, **values: Any) -> Fetch:
    given = {"start": minute(first), "end": minute(last), "actor": "olga"} | values
    return fetching.request("yahoo", instrument, 60, **given)


def carry_out(fetch: Fetch, until: Any = lambda: False, **values: Any) -> FakeJob:
    job = FakeJob(fetch, until)
    fetching.run(job, **values)
    fetch.refresh_from_db()
    return job


def test_asking_is_a_row_a_journal_line_and_a_launch(aaa, source):
    fetch = ask(aaa)
    assert (fetch.desired_state, fetch.requested_by, fetch.done) == ("running", "olga", 0.0)
    assert [queued.task["args"] for queued in OrmQ.objects.all()] == [("fetch", fetch.pk)]
    line = Event.objects.get(kind="data.fetch_started")
    assert (line.actor, line.message) == ("olga", "AAA, 1m bars from Yahoo: asked for")


def test_pieces_are_stored_one_by_one_and_progress_is_on_the_row(aaa, source):
    parts = [
        Part(bars(*range(20)), done=0.25, n_bad=2, problems=["row 7: no price"]),
        Part(bars(*range(20, 60)), done=1.0),
    ]
    source.parts = [parts]
    seen: list[tuple[float, int, int]] = []
    fetch = ask(aaa)
    job = carry_out(fetch, on_progress=lambda row: seen.append((row.done, row.n_stored, row.n_rows)))
    assert seen == [(0.25, 20, 22), (0.999, 60, 62), (1.0, 60, 62)]
    assert stored(aaa) == list(range(60)) and set(Bar.objects.values_list("source", flat=True)) == {"yahoo"}
    assert (fetch.state, fetch.n_bad, fetch.options["problems"]) == ("finished", 2, ["row 7: no price"])
    assert job.beats[-1] == ("finished", "60 bars stored, 2 bad rows") and fetch.ended_at is not None
    assert Event.objects.get(kind="data.fetched").level == Event.Level.ATTENTION


def test_splits_and_dividends_are_stored_with_the_bars(aaa, source):
    source.parts = [[Part(bars(1), actions=[Action(date(2024, 3, 4), "split", 4.0)])]]
    carry_out(ask(aaa))
    action = CorporateAction.objects.get()
    assert (action.kind, action.value, action.source, action.in_prices) == ("split", 4.0, "yahoo", False)


def spans(source: Scripted) -> list[tuple[int, float]]:
    """Minutes asked for, first and last."""
    return [
        ((asked.start - MONDAY).total_seconds() / 60, (asked.end - MONDAY).total_seconds() / 60)
        for asked in source.history_asked
    ]


def test_what_is_stored_is_not_asked_for_again(aaa, source):
    source.parts = [bars(*range(10, 30)), bars(*range(60)), bars(*range(60))]
    carry_out(ask(aaa, 10, 29))
    carry_out(ask(aaa, 0, 59))
    second = 1 / 60
    assert spans(source) == [
        (10, 29), (0, 10 - second), (29 + second, 59),
    ]  # fmt: skip
    assert stored(aaa) == list(range(60))
    again = ask(aaa, 5, 55)
    carry_out(again)
    assert len(source.history_asked) == 3 and again.state_reason == "everything asked for was stored already"


def test_refresh_asks_again(aaa, source):
    source.parts = [bars(*range(60)), bars(*range(60), price=20.0)]
    carry_out(ask(aaa))
    carry_out(ask(aaa, options={"refresh": True}))
    assert spans(source) == [(0, 59), (0, 59)] and Bar.objects.order_by("time")[0].close == 20.0


def test_bars_that_were_deleted_are_asked_for_again(aaa, source):
    source.parts = [bars(*range(60)), bars(*range(60))]
    carry_out(ask(aaa))
    Bar.objects.all().delete()
    carry_out(ask(aaa))
    assert stored(aaa) == list(range(60))


def test_bars_of_another_source_or_interval_do_not_count(aaa, source):
    source.parts = [bars(*range(60)), [], []]
    carry_out(ask(aaa))
    carry_out(fetching.request("ccxt", aaa, 60, start=minute(0), end=minute(59), actor="olga"))
    carry_out(fetching.request("yahoo", aaa, 300, start=minute(0), end=minute(59), actor="olga"))
    assert spans(source) == [(0, 59)] * 3


def test_other_options_are_another_series(aaa, source):
    source.parts = [bars(*range(60)), bars(*range(60)), []]
    carry_out(ask(aaa, options={"seed": 1}))
    carry_out(ask(aaa, options={"seed": 2}))
    carry_out(ask(aaa, options={"seed": 2, "refresh": False}))
    assert spans(source) == [(0, 59), (0, 59)]


def test_the_youngest_bars_are_asked_for_again(aaa, source):
    # Now is minute 100: what is younger than an hour and a bar may still change, so 39 is the last that counts.
    source.parts = [bars(*range(90)), bars(*range(90))]
    for _ in range(2):
        fetch = ask(aaa, 0, 99)
        Fetching(FakeJob(fetch), Fetch.objects.get(pk=fetch.pk), now=lambda: minute(100)).run()
    assert spans(source)[0] == (0, 99)
    # Bars that came count until the last of them.
    assert spans(source)[1] == (89 + 1 / 60, 99)


def test_without_a_start_it_goes_as_far_back_as_the_source(aaa, source):
    source.parts = [bars(*range(60)), []]
    carry_out(ask(aaa, start=None))
    assert source.history_asked[0].start is None
    carry_out(ask(aaa, start=None, end=minute(70)))
    assert source.history_asked[1].start == minute(59) + timedelta(seconds=1)


def test_cancelled_it_keeps_what_it_has_and_the_next_one_goes_on(aaa, source):
    fetch = ask(aaa)

    def after(row: Fetch) -> None:
        if len(stops) < 1:
            stops.append(fetching.cancel(Fetch.objects.get(pk=fetch.pk), actor="olga"))

    stops: list[None] = []
    # More pieces would come: only the wish on the row ends it.
    nothing = [Part(bars(), done=0.5)] * 100_000
    source.parts = [[Part(bars(*range(30)), done=0.5), *nothing], bars(*range(60))]
    job = carry_out(fetch, on_progress=after)
    assert job.beats[-1] == ("stopped", "cancelled; what is stored stays")
    assert (fetch.n_stored, fetch.state) == (30, "stopped") and fetch.ended_at is not None and fetch.done < 1
    assert Event.objects.get(kind="data.fetch_cancelled").actor == "olga"
    carry_out(ask(aaa))
    assert spans(source)[1] == (29 + 1 / 60, 59) and stored(aaa) == list(range(60))


def test_what_has_ended_cannot_be_cancelled(aaa, source):
    source.parts = [bars(1)]
    fetch = ask(aaa)
    carry_out(fetch)
    with pytest.raises(ValueError, match="has already ended"):
        fetching.cancel(fetch, actor="olga")


def test_after_a_crash_it_goes_on_where_it_was(aaa, source):
    fetch = ask(aaa)
    source.parts = [[Part(bars(*range(30)), done=0.5), RuntimeError("power cut")], bars(*range(60))]
    with pytest.raises(RuntimeError):
        carry_out(fetch)
    fetch.refresh_from_db()
    assert (fetch.n_stored, fetch.state) == (30, "running")
    carry_out(fetch)
    assert spans(source) == [(0, 59), (29 + 1 / 60, 59)]
    assert (fetch.n_stored, fetch.state, fetch.done) == (60, "finished", 1.0)


def test_shut_down_it_goes_on_at_the_next_start(aaa, source):
    fetch = ask(aaa)
    source.parts = [[Part(bars(1), done=0.5)], bars(2)]
    job = carry_out(fetch, until=lambda: True)
    assert job.beats[-1] == ("stopping", "goes on at the next start")
    assert fetch.desired_state == "running" and fetch.ended_at is None


def test_it_waits_and_says_so_while_the_source_is_away(aaa, source):
    slow = SourceUnavailableError("Yahoo wants fewer questions", retry_after_seconds=0.3)
    source.parts = [[slow], [Part(bars(1), done=0.5), ConnectionError("reset")], bars(2)]
    job = carry_out(ask(aaa))
    waits = [reason for state, reason in job.beats if state == "waiting"]
    assert waits[0].startswith("Yahoo: Yahoo wants fewer questions; asked again at ")
    assert waits[1].startswith("Yahoo: reset; asked again at ")
    assert stored(aaa) == [1, 2]


def test_words_without_rows_are_shown_but_not_kept(aaa, source):
    source.parts = [[Part(bars(), done=0.0, problems=["asked again in 2 s"]), Part(bars(1), problems=["30 days only"])]]
    fetch = ask(aaa)
    job = carry_out(fetch)
    assert ("waiting", "asked again in 2 s") in job.beats and fetch.options["problems"] == ["30 days only"]


def test_it_gives_up_after_some_tries(aaa, source):
    source.parts = [[SourceUnavailableError("away")] for _ in range(20)]
    fetch = ask(aaa)
    with pytest.raises(JobFailedError, match=r"Yahoo: away. Given up after 8 tries"):
        carry_out(fetch)
    fetch.refresh_from_db()
    assert len(source.history_asked) == 8 and fetch.ended_at is not None


def test_a_refusal_fails_it_with_the_reason(aaa, source):
    source.parts = [[SourceRefusedError("there is no symbol AAA")]]
    with pytest.raises(JobFailedError, match="Yahoo: there is no symbol AAA"):
        carry_out(ask(aaa))


def test_no_bars_at_all_is_said(aaa, source):
    source.parts = [[]]
    fetch = ask(aaa)
    carry_out(fetch)
    assert (fetch.state, fetch.state_reason) == ("finished", "Yahoo has no bars in this time")
    assert Event.objects.get(kind="data.fetched").level == Event.Level.ATTENTION


def test_back_off_doubles_unless_the_source_says_how_long():
    error = ConnectionError()
    assert [fetch_job.back_off(n, error) for n in (1, 2, 3, 9)] == [2.0, 4.0, 8.0, 120.0]
    assert fetch_job.back_off(1, SourceUnavailableError("", retry_after_seconds=30)) == 30
    assert fetch_job.back_off(1, SourceUnavailableError("", retry_after_seconds=9e9)) == 120
    assert fetch_job.back_off(2, SourceUnavailableError("", retry_after_seconds=float("nan"))) == 4


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"start": minute(5), "end": minute(4)}, "comes before the start"),
        ({"start": datetime(2999, 1, 1, tzinfo=UTC), "end": None}, "is in the future"),
    ],
)
def test_impossible_times_are_refused(aaa, source, values, message):
    with pytest.raises(ValueError, match=message):
        ask(aaa, **values)
    assert not Fetch.objects.exists()


def test_an_unknown_source_or_length_is_refused(aaa, monkeypatch):
    with pytest.raises(ValueError, match="there is no source 'moon'; known: yahoo"):
        fetching.request("moon", aaa, 60, actor="olga")
    found = Scripted()
    found.intervals = (60, 86_400)
    monkeypatch.setattr(registry, "source", lambda name: found)
    with pytest.raises(ValueError, match="Scripted has no 7m bars; it has 1m, 1d"):
        fetching.request("yahoo", aaa, 420, actor="olga")


def test_the_same_is_not_fetched_twice_at_once(aaa, source):
    first = ask(aaa)
    with pytest.raises(ValueError, match=rf"already being fetched \(job {first.pk}\)"):
        ask(aaa)
    fetching.cancel(first, actor="olga")
    ask(aaa)


def test_a_file_is_brought_in_by_its_own_job(aaa, tmp_path, settings):
    settings.LOCAL_DIR = tmp_path
    from marketdata import file_import

    rows = b"time,open,high,low,close,volume\n2024-03-04,1,2,1,2,5\n2024-03-05,2,3,2,3,5\n"
    fetch = file_import.start(rows, "a.csv", aaa, actor="olga")
    carry_out(fetch)
    assert (fetch.state, fetch.n_stored) == ("finished", 2) and fetch.ended_at is not None
