"""manage.py stream, fetch and search: what they do, and one clear line for everything they cannot."""

from io import StringIO

import pytest
from django.core.management import CommandError, call_command
from django_q.models import OrmQ

from marketdata.bar_store import store_bars
from marketdata.models import Fetch, Stream
from marketdata.sources import registry
from marketdata.sources.base import SourceRefusedError
from marketdata.tests.stream_world import MONDAY, Scripted, bars, make_instrument, minute, stored

pytestmark = pytest.mark.django_db


@pytest.fixture
def aaa():
    found = make_instrument("AAA")
    store_bars(found, 60, bars(*range(10)), "test")
    return found


@pytest.fixture
def source(monkeypatch):
    found = Scripted(history=[])
    monkeypatch.setattr(registry, "source", lambda name: found)
    return found


def said(*words: str) -> str:
    out = StringIO()
    call_command(*words, stdout=out)
    return out.getvalue().strip()


def refused(*words: str) -> str:
    with pytest.raises(CommandError) as caught:
        said(*words)
    text = str(caught.value)
    assert "\n" not in text
    return text


def test_a_stream_is_made_run_and_removed(aaa):
    assert "make one with" in said("stream", "list")
    made = said("stream", "add", "s", "--symbols", "AAA", "--interval", "1m", "--speed", "100x")
    assert made == "s was made; start it with: manage.py stream start s"
    assert said("stream", "start", "s") == "s was asked to start"
    assert [queued.task["args"][0] for queued in OrmQ.objects.all()] == ["stream"]
    assert said("stream", "speed", "s", "max") == "s: as fast as the agents go"
    assert said("stream", "pause", "s") == "s was asked to pause"
    assert said("stream", "stop", "s") == "s was asked to stop"
    (line,) = said("stream", "list").splitlines()
    assert " ".join(line.split()) == "s stopped replay · AAA · 1m · as fast as the agents go · no bar yet"
    assert said("stream", "remove", "s") == "s removed"
    assert not Stream.objects.exists()


def test_times_without_a_zone_are_utc(aaa):
    said("stream", "add", "s", "--symbols", "aaa", "--from", "2024-03-04T12:02", "--to", "2024-03-04T13:05+01:00")
    stream = Stream.objects.get()
    assert (stream.from_time, stream.to_time) == (minute(2), minute(5))


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: ACTION"),
        (["dance"], "invalid choice: 'dance'"),
        (["start", "ghost"], "there is no stream 'ghost'; there are: none"),
        (["add", "s", "--symbols", "NOPE"], "there is no instrument NOPE"),
        (["add", "s", "--symbols", ","], "needs at least one instrument"),
        (["add", "s", "--symbols", "AAA", "--interval", "7x"], "'7x' is not an interval: give a number"),
        (["add", "s", "--symbols", "AAA", "--interval", "5m"], "AAA has no 5m bars stored"),
        (["add", "s", "--symbols", "AAA", "--source", "moon"], "invalid choice: 'moon'"),
        (["add", "s", "--symbols", "AAA", "--speed", "fast"], "'fast' is not a speed"),
        (["add", "s", "--symbols", "AAA", "--from", "soon"], "'soon' is not a date: give one such as 2020-01-31"),
        (["add", "s", "--symbols", "AAA", "--options", "x"], "'x' is not JSON"),
        (["add", "s", "--symbols", "AAA", "--options", "[1]"], "is not a JSON object"),
        (["add", "s"], "the following arguments are required: --symbols"),
    ],
)
def test_a_wrong_stream_command_gives_one_clear_line(aaa, words, message):
    assert message in refused("stream", *words)


def test_what_a_stream_cannot_do_is_said(aaa):
    said("stream", "add", "s", "--symbols", "AAA")
    assert "nothing to pause; start it first" in refused("stream", "pause", "s")
    assert "is not a speed" in refused("stream", "speed", "s", "2000x")
    assert "already a stream called s" in refused("stream", "add", "s", "--symbols", "AAA")
    said("stream", "start", "s")
    assert "stop it first" in refused("stream", "remove", "s")


def test_a_fetch_runs_here_and_reports(aaa, source):
    source.parts = [bars(*range(60))]
    words = ["fetch", "AAA", "--source", "ccxt", "--interval", "1m", "--options", '{"a": 1}']
    words += ["--from", "2024-03-04T12:00", "--to", "2024-03-04T12:59"]
    assert said(*words) == "AAA: 60 bars stored" and stored(aaa) == list(range(60))
    fetch = Fetch.objects.get()
    assert (fetch.state, fetch.requested_by, fetch.options["a"]) == ("finished", "command line", 1)
    assert not OrmQ.objects.exists(), "nobody else was asked to do it"
    assert source.history_asked[0].options["a"] == 1 and source.history_asked[0].start == MONDAY
    assert said(*words) == "AAA: everything asked for was stored already"


def test_a_queued_fetch_is_left_to_the_desk(aaa, source):
    assert "carries it out" in said("fetch", "AAA", "--queue")
    assert [queued.task["args"] for queued in OrmQ.objects.all()] == [("fetch", Fetch.objects.get().pk)]


def test_a_refused_fetch_fails_with_the_sources_words(aaa, source):
    source.parts = [[SourceRefusedError("there is no symbol AAA")]]
    assert refused("fetch", "AAA") == "AAA: Yahoo: there is no symbol AAA"
    assert Fetch.objects.get().state == "failed"


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ([], "the following arguments are required: symbol"),
        (["NOPE"], "there is no instrument NOPE"),
        ([" "], "the symbol is empty"),
        (["AAA", "--source", "moon"], "invalid choice: 'moon'"),
        (["AAA", "--interval", "daily"], "'daily' is not an interval"),
        (["AAA", "--from", "2024-13-01"], "'2024-13-01' is not a date"),
        (["AAA", "--from", "2024-03-02", "--to", "2024-03-01"], "comes before the start"),
        (["AAA", "--from", "2999-01-01"], "is in the future"),
    ],
)
def test_a_wrong_fetch_command_gives_one_clear_line(aaa, source, words, message):
    assert message in refused("fetch", *words)
    assert not Fetch.objects.exists()


def test_run_fetch_needs_a_fetch():
    assert refused("run_fetch", "77") == "there is no fetch 77"
    assert refused("run_stream", "77") == "there is no stream 77"


def test_search_lists_what_a_source_knows(monkeypatch):
    words = said("search", "sim1", "--source", "simulator")
    assert words.startswith("SIM1") and "24/7" in words
    monkeypatch.setattr(registry, "source", lambda name: Scripted())
    assert said("search", "x") == "Yahoo knows nothing like 'x'"


def test_a_wrong_search_gives_one_clear_line(monkeypatch):
    assert "invalid choice: 'moon'" in refused("search", "x", "--source", "moon")
    assert "--limit is 0" in refused("search", "x", "--limit", "0")

    def refuse(text, limit):
        raise SourceRefusedError("Yahoo does not answer")

    found = Scripted()
    found.search = refuse
    monkeypatch.setattr(registry, "source", lambda name: found)
    assert refused("search", "x") == "Yahoo does not answer"
