"""The Data page through HTTP: every address, bad questions, who may press what, and what a chart is told."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest
import talib
from django.contrib.auth.models import User
from django.urls import reverse
from django.utils import timezone

from core.models import Event, Instrument, JobRow
from marketdata.bar_store import store_bars
from marketdata.models import (
    DAY,
    Bar,
    CorporateAction,
    DataFault,
    DataImport,
    Fetch,
    HealthCheck,
    NewsItem,
    SentimentScore,
    Stream,
)
from marketdata.series import BarSeries

pytestmark = pytest.mark.django_db

MONDAY = int(datetime(2020, 1, 6, 14, 30, tzinfo=UTC).timestamp())
PANELS = ["instruments", "streams", "fetches", "faults", "actions", "news"]
SCRIPT = {"HX-Request": "true"}


def minutes(n: int, start: int = MONDAY, step: int = 60) -> BarSeries:
    """A rising series: bar i opens at 100 + i and closes at 101 + i, volume 10."""
    time = start + step * np.arange(n)
    price = 100.0 + np.arange(n)
    return BarSeries(time, price, price + 2, price - 1, price + 1, np.full(n, 10.0))


@pytest.fixture
def spy():
    instrument = Instrument.objects.create(symbol="SPY", name="SPDR S&P 500", asset_class="etf", exchange="NYSE Arca")
    store_bars(instrument, 60, minutes(390), "file")
    store_bars(instrument, 60, minutes(390, MONDAY + DAY), "file")
    return instrument


@pytest.fixture
def operator(client):
    client.force_login(User.objects.create_user("olga", is_staff=True))
    return client


@pytest.fixture
def viewer(client):
    client.force_login(User.objects.create_user("victor"))
    return client


def ask(client, instrument: str = "SPY", **question: object):
    return client.get(f"/data/{instrument}/bars", question)


def test_strangers_are_sent_to_the_login(client, spy):
    for address in ("/data/", "/data/SPY/", "/data/SPY/bars", "/data/panels/streams/", "/data/streams/new/"):
        assert client.get(address)["Location"].startswith("/login/")


def test_the_empty_page_says_what_will_be_here_and_has_doors(operator):
    page = operator.get("/data/").content.decode()
    for words in (
        "Nothing is stored yet",
        "Add an instrument",
        "No stream yet",
        "No instrument yet",
        "Not checked yet",
    ):
        assert words in page


def test_an_instrument_without_bars_offers_ways_to_get_some(operator):
    Instrument.objects.create(symbol="NQ", name="E-mini Nasdaq", asset_class="future")
    page = operator.get("/data/NQ/").content.decode()
    assert "No bars of NQ yet" in page and "Fetch history" in page and "Import a file" in page


def test_the_page_opens_with_its_chart_drawn(operator, spy):
    page = operator.get("/data/")
    assert page.context["chosen"] == spy and page.context["interval"] == 60
    assert page.context["chart"]["bars"][-1][0] == MONDAY + DAY + 389 * 60
    text = page.content.decode()
    assert 'id="chart-data" type="application/json"' in text and 'aria-current="page"' in text
    assert operator.get("/data/spy/")["Location"] == "/data/SPY/"
    assert operator.get("/data/NOBODY/").status_code == 404


def test_intervals_that_can_be_made_are_offered(operator, spy):
    offered = [(choice.seconds, choice.made_of) for choice in operator.get("/data/SPY/").context["choices"]]
    assert offered == [(60, ""), (300, "1 min"), (900, "1 min"), (3600, "1 min"), (DAY, "1 min")]


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_is_shown_empty_and_with_rows(operator, name):
    address = reverse("data-panel", args=[name])
    assert operator.get(address).status_code == 200
    Instrument.objects.create(symbol="X", name="x", asset_class="etf")
    response = operator.get(address, {"symbol": "X"}, headers=SCRIPT)
    assert response.status_code == 200 and "<html" not in response.content.decode()
    assert operator.get("/data/panels/secrets/").status_code == 404


def test_the_newest_bars_come_without_a_span(operator, spy):
    found = ask(operator, interval=60, points=100).json()
    assert [row[0] for row in found["bars"]] == [MONDAY + DAY + 60 * n for n in range(390 - 99, 390)]
    # Bar 389 of the second day: 100 + 389 at the open, one more at the close.
    assert found["bars"][-1][1:] == [489, 491, 488, 490, 10]
    assert (found["n_all"], found["first"], found["last"], found["length"]) == (780, MONDAY, found["bars"][-1][0], 60)
    # Both days close at 490.
    assert found["quote"] == {"price": 490, "change": 0.0, "since": MONDAY + 389 * 60}


def test_a_span_that_does_not_fit_is_merged_and_loses_nothing(operator, spy):
    found = ask(operator, interval=60, points=200, **{"from": 0, "to": 9_999_999_999}).json()
    assert found["length"] > 60 and len(found["bars"]) <= 200
    assert sum(row[5] for row in found["bars"]) == 7800
    assert max(row[2] for row in found["bars"]) == 491 and min(row[3] for row in found["bars"]) == 99


def test_longer_bars_are_made_of_shorter_ones(operator, spy):
    found = ask(operator, interval=300, **{"from": MONDAY, "to": MONDAY + 599}).json()
    # Five minutes from 14:30: opens 100, the last closes 105, the highest is 104 + 2; then 105 to 110.
    assert found["bars"] == [[MONDAY, 100, 106, 99, 105, 50], [MONDAY + 300, 105, 111, 104, 110, 50]]
    assert (found["base"], found["length"]) == (60, 300)


def test_a_margin_reaches_over_the_night(operator, spy):
    # Ten minutes into the second day, and twenty bars more on each side: ten of them lie on the day before.
    noon = MONDAY + DAY + 600
    found = ask(operator, interval=60, margin=20, length=60, **{"from": noon, "to": noon}).json()
    times = [row[0] for row in found["bars"]]
    assert times[:9] == [MONDAY + 60 * (389 - n) for n in range(8, -1, -1)] and times[9] == MONDAY + DAY
    assert times[-1] == noon + 19 * 60 and len(times) == 39
    # Of five-minute bars, too: twenty back are a hundred minutes.
    merged = ask(operator, interval=300, margin=20, length=300, **{"from": noon, "to": noon}).json()
    assert len(merged["bars"]) == 20 + 19 and merged["bars"][-1][0] == noon + 19 * 300


def test_an_indicator_is_warm_at_the_first_bar_shown(operator, spy):
    found = ask(operator, interval=60, **{"from": MONDAY + 300 * 60, "to": MONDAY + 309 * 60, "with": "ema_10"}).json()
    # The oracle: TA-Lib over the whole day.
    expected = talib.EMA(101.0 + np.arange(390), 10)[300:310]
    (values,) = found["lines"]["ema_10"]["values"].values()
    np.testing.assert_allclose(values, expected, rtol=1e-12)


def test_values_before_an_indicator_is_ready_are_null(operator, spy):
    found = ask(operator, interval=60, **{"from": MONDAY, "to": MONDAY + 19 * 60, "with": "ema_10"}).json()
    (values,) = found["lines"]["ema_10"]["values"].values()
    assert values[:9] == [None] * 9 and None not in values[9:]


@pytest.mark.parametrize(
    ("question", "words"),
    [
        ({"interval": "abc"}, "interval is 'abc'"),
        ({"interval": "0"}, "interval is '0'"),
        ({"interval": "7"}, "no bars of 7 seconds"),
        ({"interval": "60", "from": "yesterday"}, "expected a time in seconds"),
        ({"interval": "60", "from": "nan"}, "expected a time in seconds"),
        ({"interval": "60", "from": "200", "to": "100"}, "from lies after to"),
        ({"interval": "60", "points": "1000000"}, "points is '1000000'"),
        ({"interval": "60", "points": "-1"}, "points is '-1'"),
        ({"interval": "60", "margin": "99999"}, "margin is '99999'"),
        ({"interval": "60", "margin": "5", "length": "61"}, "length is 61"),
        ({"interval": "60", "with": "magic"}, "no indicator called 'magic'"),
        ({"interval": "60", "with": ",".join(f"x{n}" for n in range(99))}, "at most 8"),
        ({"interval": "60", "stream": "1"}, "There is no stream 1"),
        ({"interval": "60", "stream": "x"}, "expected a stream's number"),
    ],
)
def test_a_question_that_makes_no_sense_is_answered_with_a_sentence(operator, spy, question, words):
    response = ask(operator, **question)
    assert response.status_code == 400 and words in response.json()["error"]
    assert operator.get("/data/SPY/bars.csv", question).status_code == 400


@pytest.mark.parametrize("far", ["-1e300", "1e300", "99999999999999"])
def test_times_far_away_are_held_back(operator, spy, far):
    assert ask(operator, interval=60, **{"from": far}).status_code == 200


def test_bars_are_asked_of_instruments_that_exist_only(operator, spy):
    assert ask(operator, "NOBODY").status_code == 404


def test_symbols_with_odd_letters_have_pages(operator):
    for symbol in ("BTC/USDT", "^VIX", "NQ=F"):
        instrument = Instrument.objects.create(symbol=symbol, name=symbol, asset_class="index", calendar="24/7")
        store_bars(instrument, 60, minutes(5), "file")
        page = reverse("data-instrument", args=[symbol])
        assert operator.get(page).context["chosen"] == instrument
        assert len(operator.get(reverse("data-bars", args=[symbol]), {"interval": 60}).json()["bars"]) == 5


def test_what_is_shown_can_be_taken_along(operator, spy):
    question = {"interval": 300, "from": MONDAY, "to": MONDAY + 599, "with": "ema_10"}
    lines = operator.get("/data/SPY/bars.csv", question).content.decode().splitlines()
    assert lines[0].startswith("time,open,high,low,close,volume,") and len(lines) == 3
    assert lines[1].startswith("2020-01-06T14:30:00+00:00,100.0,106.0,99.0,105.0,50.0,")


def test_a_chart_that_follows_a_replay_never_shows_its_future(operator, spy):
    stream = replay(spy)
    assert ask(operator, interval=60, stream=stream.pk).json()["bars"] == []
    Stream.objects.filter(pk=stream.pk).update(cursor=datetime.fromtimestamp(MONDAY + 600, UTC))
    for question in ({}, {"from": 0}, {"from": 0, "to": 9_999_999_999}, {"with": "ema_10"}):
        found = ask(operator, interval=60, stream=stream.pk, **question).json()
        assert max(row[0] for row in found["bars"]) == MONDAY + 600
        assert found["last"] == MONDAY + 600 and found["quote"]["price"] == 111  # bar 10 closes at 101 + 10
    page = operator.get("/data/SPY/", {"stream": stream.pk})
    assert page.context["watched"] == stream and page.context["chart"]["bars"][-1][0] == MONDAY + 600


def replay(instrument: Instrument, **values: object) -> Stream:
    known = {"desired_state": "stopped", "state": "stopped", **values}
    stream = Stream.objects.create(
        name="spy-replay",
        interval_seconds=60,
        from_time=datetime.fromtimestamp(MONDAY, UTC),
        to_time=datetime.fromtimestamp(MONDAY + 389 * 60, UTC),
        **known,
    )
    stream.instruments.add(instrument)
    return stream


def test_the_table_says_what_is_stored_and_how_well_it_is(operator, spy):
    store_bars(spy, DAY, minutes(3, MONDAY // DAY * DAY, DAY), "yahoo")
    HealthCheck.objects.create(instrument=spy, interval_seconds=60, checked_at=timezone.now())
    (row,) = operator.get("/data/").context["rows"]
    assert row.amounts == [("1 min", 780, True), ("1 day", 3, True)]
    assert row.sources == "file, Yahoo" and row.dot == "" and row.worst is None
    fault(spy, "note"), fault(spy, "blocking", kind="outliers")
    (row,) = operator.get("/data/").context["rows"]
    assert row.dot == "loss" and row.worst.severity == "blocking"


def test_bars_stored_before_there_were_levels_are_counted_too(operator):
    instrument = Instrument.objects.create(symbol="OLD", name="old", asset_class="etf")
    times = [datetime(2020, 1, 1, tzinfo=UTC) + timedelta(days=n) for n in range(7)]
    Bar.objects.bulk_create(
        Bar(instrument=instrument, time=time, open=1, high=1, low=1, close=1, volume=0, source="demo") for time in times
    )
    (row,) = operator.get("/data/").context["rows"]
    assert row.amounts == [("1 day", 7, True)] and row.sources == "demonstration"


def test_an_instrument_is_added_with_a_line_in_the_journal(operator):
    given = {
        "symbol": " brk.b ",
        "name": "Berkshire",
        "asset_class": "stock",
        "calendar": "XNYS",
        "currency": "usd",
        "tick_size": "0.01",
    }
    response = operator.post("/data/instruments/new/", given)
    assert response["Location"] == "/data/BRK.B/"
    assert Event.objects.get(kind="instrument.added").actor == "olga"
    assert Instrument.objects.get(symbol="BRK.B").currency == "USD"
    again = operator.post("/data/instruments/new/", given, headers=SCRIPT)
    assert again.status_code == 422 and "BRK.B is here already" in again.content.decode()
    script = operator.post("/data/instruments/new/", {**given, "symbol": "BRK.A"}, headers=SCRIPT)
    assert (script.status_code, script["Desk-Go"]) == (204, "/data/BRK.A/")


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"symbol": ""}, "Give the symbol"),
        ({"symbol": "A B"}, "without spaces"),
        ({"symbol": "<script>"}, "without spaces"),
        ({"name": ""}, "Give a name"),
        ({"calendar": "MOON"}, "MOON"),
        ({"currency": "dollars"}, "at most 3"),
        ({"currency": "U1"}, "three letters"),
        ({"tick_size": "-1"}, "tick"),
        ({"asset_class": "house"}, "Select a valid choice"),
    ],
)
def test_an_instrument_with_a_mistake_is_refused_in_words(operator, wrong, words):
    given = {"symbol": "X", "name": "x", "asset_class": "etf", "calendar": "XNYS", "currency": "USD", "tick_size": "0"}
    response = operator.post("/data/instruments/new/", {**given, **wrong})
    assert response.status_code == 422 and words in response.content.decode()
    assert not Instrument.objects.exists()


def test_a_search_result_fills_the_form(operator):
    page = operator.get("/data/instruments/new/", {"symbol": "DAX", "name": "DAX 40", "calendar": "XETR"})
    text = page.content.decode()
    assert 'value="DAX"' in text and 'value="XETR"' in text


class Answers:
    """A source that finds two instruments, or nothing but trouble."""

    def __init__(self, trouble: str = "") -> None:
        self.trouble = trouble

    def search(self, text: str, limit: int = 10):
        from marketdata.sources.base import Found, SourceUnavailableError

        if self.trouble:
            raise SourceUnavailableError(self.trouble)
        return [Found("SPY", "SPDR", "etf"), Found("SPYD", "High <b>Dividend</b>", "etf", exchange="NYSE Arca")]


def test_a_source_is_searched_only_when_told_to(operator, spy, monkeypatch):
    monkeypatch.setattr("marketdata.sources.registry.source", lambda name: Answers())
    text = operator.get("/data/search/", {"q": "spy", "source": "yahoo"}, headers=SCRIPT).content.decode()
    assert "knows 2" in text and "SPYD" in text and "&lt;b&gt;" in text
    assert text.count("Add") == 1 and "/data/SPY/" in text  # what is here already is shown, not added
    assert "Type a symbol" in operator.get("/data/search/", {"q": " "}).content.decode()
    monkeypatch.setattr("marketdata.sources.registry.source", lambda name: Answers("slow down, try again at 14:05"))
    assert "slow down" in operator.get("/data/search/", {"q": "x"}).content.decode()


def test_an_unknown_source_is_told(operator):
    assert "there is no source" in operator.get("/data/search/", {"q": "x", "source": "moon"}).content.decode().lower()


def test_history_is_fetched_shown_and_canceled(operator, spy):
    form = operator.get("/data/fetches/new/", {"symbol": "SPY"}, headers=SCRIPT).content.decode()
    assert "Fetch history of SPY" in form and "<html" not in form
    given = {
        "symbol": "SPY",
        "source": "simulator",
        "interval_seconds": "60",
        "start": "2020-01-06",
        "end": "2020-01-07",
    }
    response = operator.post("/data/fetches/new/", given, headers=SCRIPT)
    assert response.status_code == 200, response.content.decode()
    assert response["Desk-Done"] == "1" and "are asked of" in response.content.decode()
    fetch = Fetch.objects.get()
    assert (fetch.requested_by, fetch.from_time.day) == ("olga", 6)
    assert fetch.to_time == datetime(2020, 1, 7, 23, 59, 59, tzinfo=UTC)
    again = operator.post("/data/fetches/new/", given, headers=SCRIPT)
    assert again.status_code == 422 and "already being fetched" in again.content.decode()
    assert "starting …" in operator.get("/data/panels/fetches/").content.decode()
    cancel = f"/data/fetches/{fetch.pk}/cancel/"
    assert "Stop fetching SPY?" in operator.get(cancel).content.decode()
    assert Fetch.objects.get().desired_state == JobRow.Desired.RUNNING  # asking changes nothing
    operator.post(cancel)
    assert Fetch.objects.get().desired_state == JobRow.Desired.STOPPED
    refused = operator.post(cancel, headers=SCRIPT)
    assert "already" in refused.content.decode() and refused["Desk-Done"] == "1"
    assert {"data.fetch_started", "data.fetch_cancelled"} <= set(Event.objects.values_list("kind", flat=True))


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"source": "moon"}, "Select a valid choice"),
        ({"start": "2020-02-30"}, "Enter a valid date"),
        ({"start": "2020-02-03", "end": "2020-02-01"}, "ends before it begins"),
        ({"interval_seconds": "77"}, "Select a valid choice"),
        ({"start": "2999-01-01"}, "is in the future"),
    ],
)
def test_a_fetch_with_a_mistake_is_refused_in_words(operator, spy, wrong, words):
    given = {"symbol": "SPY", "source": "simulator", "interval_seconds": "60"}
    response = operator.post("/data/fetches/new/", {**given, **wrong})
    assert response.status_code == 422 and words in response.content.decode()
    assert not Fetch.objects.exists()


def test_a_failed_fetch_says_what_to_do_and_a_finished_one_what_was_left_out(operator, spy):
    now = timezone.now()
    found = DataImport.objects.create(
        instrument=spy, name="spy.csv", source="file", sha256="a" * 64, n_good=23391, n_bad=9,
        problems=[{"row": 1882, "reason": "high 126.10 is below low 126.40"}],
    )  # fmt: skip
    Fetch.objects.create(
        instrument=spy, source="file", state="finished", desired_state="running", n_stored=23391, n_bad=9, done=1,
        data_import=found, ended_at=now, options={"name": "spy.csv"},
    )  # fmt: skip
    Fetch.objects.create(
        instrument=spy, source="yahoo", state="failed", desired_state="running", ended_at=now,
        state_reason="Yahoo has no minutes older than 30 days: ask for a later start",
    )  # fmt: skip
    text = operator.get("/data/panels/fetches/", {"symbol": "SPY"}).content.decode()
    for words in (
        "23,391 bars imported",
        "9 rows left out",
        "1,882",
        "high 126.10",
        "ask for a later start",
        "Try again",
    ):
        assert words in text
    lines = operator.get(f"/data/imports/{found.pk}/problems.csv").content.decode().splitlines()
    assert lines == ["row,reason", "1882,high 126.10 is below low 126.40"]
    assert operator.get("/data/imports/999/problems.csv").status_code == 404


def test_a_replay_is_made_started_and_its_speed_changed(operator, spy):
    form = operator.get("/data/streams/new/", {"symbol": "SPY"}, headers=SCRIPT).content.decode()
    assert 'value="spy-stream"' in form and "New stream" in form
    given = {
        "symbol": "SPY", "name": "spy-again", "source": "replay", "instruments": [spy.pk], "interval_seconds": "60",
        "start": "2020-01-06", "end": "2020-01-07", "speed": "100x", "start_now": "on",
    }  # fmt: skip
    assert operator.post("/data/streams/new/", given, headers=SCRIPT)["Desk-Done"] == "1"
    stream = Stream.objects.get()
    assert stream.desired_state == JobRow.Desired.RUNNING
    assert stream.bars_per_second == pytest.approx(100 / 60)  # a hundred market minutes take a minute
    again = operator.post("/data/streams/new/", given)
    assert again.status_code == 422 and "There is a stream called spy-again" in again.content.decode()
    speed = f"/data/streams/{stream.pk}/speed/"
    answer = operator.post(speed, {"speed": "1000x", "symbol": "SPY"}, headers=SCRIPT).content.decode()
    assert 'id="panel-data-streams"' in answer and "toast" in answer
    assert Stream.objects.get().bars_per_second == pytest.approx(1000 / 60)
    assert "was left as it was" in operator.post(speed, {"speed": "warp 9"}, headers=SCRIPT).content.decode()
    assert Event.objects.filter(kind="stream.speed", actor="olga").count() == 1


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        ({"name": "my stream"}, "letters, digits and hyphens"),
        ({"instruments": []}, "Choose at least one"),
        ({"source": "telepathy"}, "Select a valid choice"),
        ({"start": "2020-02-03", "end": "2020-02-01"}, "ends before it begins"),
        ({"interval_seconds": "900"}, "SPY"),  # no stored bars of that length to replay
    ],
)
def test_a_stream_with_a_mistake_is_refused_in_words(operator, spy, wrong, words):
    given = {
        "name": "x", "source": "replay", "instruments": [spy.pk], "interval_seconds": "60", "speed": "1x",
        "start": "2020-01-06", "end": "2020-01-07",
    }  # fmt: skip
    response = operator.post("/data/streams/new/", {**given, **wrong})
    assert response.status_code == 422 and words in response.content.decode()
    assert not Stream.objects.exists()


def test_a_stream_is_paused_stopped_and_deleted_but_only_after_asking(operator, spy):
    stream = replay(spy, state="running", desired_state="running", applied_version=1)
    address = f"/data/streams/{stream.pk}"
    assert "was asked to pause" in operator.post(f"{address}/pause/", headers=SCRIPT).content.decode()
    assert "pausing …" in operator.get("/data/panels/streams/").content.decode()
    assert "Stop spy-replay?" in operator.get(f"{address}/stop/").content.decode()
    assert Stream.objects.get().desired_state == JobRow.Desired.PAUSED
    operator.post(f"{address}/stop/")
    assert Stream.objects.get().desired_state == JobRow.Desired.STOPPED
    Stream.objects.update(state="stopped")
    assert "Delete spy-replay?" in operator.get(f"{address}/delete/").content.decode()
    assert Stream.objects.exists()
    operator.post(f"{address}/delete/", headers=SCRIPT)
    assert not Stream.objects.exists() and Bar.objects.filter(instrument=spy).exists()
    assert operator.post(f"{address}/start/").status_code == 404


def test_a_running_stream_is_not_deleted(operator, spy):
    stream = replay(spy, state="running", desired_state="running")
    response = operator.post(f"/data/streams/{stream.pk}/delete/", headers=SCRIPT)
    assert "was kept" in response.content.decode() and Stream.objects.exists()


def test_a_replay_that_has_ended_can_be_deleted_at_once(operator, spy):
    stream = replay(spy, state="finished", desired_state="running")
    assert "has ended" in operator.get("/data/panels/streams/").content.decode()
    operator.post(f"/data/streams/{stream.pk}/delete/")
    assert not Stream.objects.exists()


def test_an_unknown_stream_action_is_not_found(operator, spy):
    assert operator.post(f"/data/streams/{replay(spy).pk}/explode/").status_code == 404


def test_a_live_stream_says_its_age_what_comes_next_and_its_trouble(operator, spy):
    now = timezone.now()
    stream = Stream.objects.create(
        name="spy-live", source="yahoo", interval_seconds=60, from_time=now, cursor=now, state="running",
        desired_state="running", applied_version=1, published_at=now - timedelta(seconds=8),
        progress={"next_look": (now + timedelta(seconds=52.9)).isoformat(), "problem": "Yahoo asks us to slow down"},
    )  # fmt: skip
    stream.instruments.add(spy)
    text = operator.get("/data/panels/streams/").content.decode()
    for words in ("SPY, live", "Yahoo · 1 min", "8 s ago", "next in 52 s", "Yahoo asks us to slow down"):
        assert words in text or words.replace("52", "53") in text, words
    Stream.objects.update(progress={"next_look": "nonsense"})
    assert "next in" not in operator.get("/data/panels/streams/").content.decode()


def test_daily_replays_are_offered_bars_a_second(operator, spy):
    stream = replay(spy)
    Stream.objects.filter(pk=stream.pk).update(interval_seconds=DAY, bars_per_second=5)
    text = operator.get("/data/panels/streams/").content.decode()
    assert "Bars a second" in text and 'value="5/s"' in text and 'value="100x"' not in text


def fault(instrument: Instrument, severity: str, kind: str = "gaps") -> DataFault:
    moment = datetime.fromtimestamp(MONDAY, UTC)
    return DataFault.objects.create(
        instrument=instrument, interval_seconds=60, kind=kind, severity=severity, detail="14 minutes are missing",
        first_time=moment, last_time=moment,
    )  # fmt: skip


def test_a_fault_is_shown_with_its_weight_and_cleared_with_a_reason(operator, spy):
    found = fault(spy, "blocking")
    text = operator.get("/data/panels/faults/", {"symbol": "SPY"}).content.decode()
    assert "blocks trading" in text and "14 minutes are missing" in text and f'data-show-at="{MONDAY}"' in text
    address = f"/data/faults/{found.pk}/clear/"
    assert "Let agents use this series again" in operator.get(address).content.decode()
    assert operator.post(address, {"reason": " "}).status_code == 422
    assert operator.post(address, {"reason": "the exchange was closed"}, headers=SCRIPT)["Desk-Done"] == "1"
    found.refresh_from_db()
    assert (found.cleared_by, found.clear_reason) == ("olga", "the exchange was closed")
    assert operator.get(address).status_code == 404


def test_a_series_is_checked_on_demand(operator, spy):
    response = operator.post("/data/faults/check/SPY/", headers=SCRIPT)
    assert "SPY was checked" in response.content.decode() and HealthCheck.objects.filter(instrument=spy).exists()
    Instrument.objects.create(symbol="NQ", name="n", asset_class="future")
    assert "nothing to check" in operator.post("/data/faults/check/NQ/", follow=True).content.decode()


def test_splits_and_news_are_listed_and_only_web_addresses_are_links(operator, spy):
    CorporateAction.objects.create(instrument=spy, ex_date=date(2020, 8, 31), kind="split", value=4, source="yahoo")
    now = timezone.now()
    for guid, url in (("1", "https://example.com/a"), ("2", "javascript:alert(1)")):
        item = NewsItem.objects.create(time=now, known_at=now, source="RSS", guid=guid, title=f"<i>{guid}</i>", url=url)
        item.instruments.add(spy)
        SentimentScore.objects.create(item=item, model="lexicon", score=-0.4)
    text = operator.get("/data/SPY/").content.decode()
    assert "4 for 1" in text and "https://example.com/a" in text and "−0.40" in text
    assert "javascript:" not in text and "<i>1</i>" not in text


CONTROLS = [
    "/data/instruments/new/",
    "/data/streams/new/",
    "/data/streams/{stream}/stop/",
    "/data/streams/{stream}/delete/",
    "/data/streams/{stream}/start/",
    "/data/streams/{stream}/speed/",
    "/data/fetches/new/",
    "/data/fetches/{fetch}/cancel/",
    "/data/imports/new/",
    "/data/imports/abc/look/",
    "/data/imports/abc/start/",
    "/data/faults/{fault}/clear/",
    "/data/faults/check/SPY/",
]


@pytest.mark.parametrize("address", CONTROLS)
def test_a_viewer_may_look_but_not_press(viewer, spy, address):
    rows = {"stream": replay(spy).pk, "fault": fault(spy, "note").pk}
    rows["fetch"] = Fetch.objects.create(instrument=spy, source="yahoo", state="running", desired_state="running").pk
    response = viewer.post(address.format(**rows), {"symbol": "SPY", "reason": "x"})
    assert response.status_code == 403 and "victor may look but not operate" in response.content.decode()
    assert not Event.objects.exists()


def test_a_viewer_sees_no_buttons_that_would_refuse(viewer, spy):
    replay(spy, state="running", desired_state="running")
    fault(spy, "blocking")
    text = viewer.get("/data/SPY/").content.decode()
    for words in ("data-load-dialog", "data-post", "Check now", "Clear …"):
        assert words not in text
    assert "Show it on the chart" in text
