"""News: feeds, Yahoo and language models through real clients against a loopback server, storing, scoring, series."""

import json
import threading
import time
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from core.models import Instrument
from marketdata.models import DataSettings, NewsItem, SentimentCall, SentimentScore
from marketdata.news import lexicon, store
from marketdata.news.feeds import read_feed
from marketdata.news.headline import Headline, NewsUnavailable
from marketdata.news.language_model import LanguageModel, ModelUnavailable
from marketdata.news.matching import about
from marketdata.news.refresh import refresh
from marketdata.news.yahoo_news import read_yahoo
from marketdata.sources.yahoo_client import YahooClient

RSS = b"""<?xml version="1.0"?><rss version="2.0"><channel><title>t</title>
<item><title>Apple beats estimates &amp; raises outlook</title><link>http://news.test/1</link><guid>g1</guid>
<pubDate>Tue, 07 Jan 2020 14:30:00 GMT</pubDate><description>&lt;b&gt;Strong&lt;/b&gt; quarter</description></item>
<item><title>No time, so nobody knows when</title><guid>g2</guid></item>
<item><title>SPY falls</title><link>javascript:alert(1)</link><guid>g3</guid>
<pubDate>Tue, 07 Jan 2020 15:30:00 GMT</pubDate></item></channel></rss>"""
YAHOO = {
    "data": {
        "tickerStream": {
            "stream": [
                {"id": "u1", "content": {"title": "Apple wins approval", "pubDate": "2020-01-07T14:30:00Z",
                                         "summary": "s", "canonicalUrl": {"url": "https://news.test/u1"}}},
                {"id": "u2", "content": {"title": "broken", "pubDate": "soon"}},
                {"id": "u3", "ad": [1], "content": {"title": "advert", "pubDate": "2020-01-07T14:30:00Z"}},
            ]
        }
    }
}  # fmt: skip


class Server:
    """Answers every request with what the test last said."""

    def __init__(self) -> None:
        self.status, self.body, self.wait = 200, b"", 0.0
        self.asked: list[Any] = []
        outer = self

        class Handler(BaseHTTPRequestHandler):
            def do_POST(self) -> None:
                length = int(self.headers.get("Content-Length") or 0)
                outer.asked.append((self.path, self.headers, self.rfile.read(length)))
                time.sleep(outer.wait)
                self.send_response(outer.status)
                self.send_header("Content-Length", str(len(outer.body)))
                self.end_headers()
                self.wfile.write(outer.body)

            do_GET = do_POST

            def log_message(self, *args) -> None:
                pass

        self.http = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.http.handle_error = lambda *args: None  # a client that gave up is what some tests are about
        self.address = f"http://127.0.0.1:{self.http.server_port}"
        threading.Thread(target=self.http.serve_forever, args=(0.05,), daemon=True).start()

    def says(self, body, status: int = 200, wait: float = 0.0) -> None:
        self.body = body if isinstance(body, bytes) else json.dumps(body).encode()
        self.status, self.wait = status, wait


@pytest.fixture
def server():
    made = Server()
    yield made
    made.http.shutdown()
    made.http.server_close()


def chat(content: str) -> dict:
    return {"choices": [{"message": {"role": "assistant", "content": content}}]}


def headline(title: str, guid: str, time_: datetime | None = None) -> Headline:
    return Headline(time_ or timezone.now(), title, guid)


@pytest.fixture
def apple(db) -> Instrument:
    return Instrument.objects.create(symbol="AAPL", name="Apple Inc.", asset_class="stock")


@pytest.mark.parametrize(
    ("title", "sign"),
    [
        ("Apple beats estimates, shares surge", 1),
        ("Apple misses estimates, stock plunges on weak guidance", -1),
        ("Company files for bankruptcy", -1),
        ("Tesla recalls 2 million cars", -1),
        ("Analyst upgrades the stock", 1),
        ("Downgraded to sell after fraud probe", -1),
        ("The company did not miss estimates and is not bankrupt", 1),
        ("Annual meeting to be held on Tuesday", 0),
        ("", 0),
    ],
)
def test_the_word_list_knows_good_news_from_bad(title, sign):
    tone = lexicon.score(title)
    assert -1 <= tone <= 1
    assert (tone > 0.2, abs(tone) <= 0.2, tone < -0.2).index(True) == 1 - sign


def test_a_headline_is_about_what_it_names():
    known = [(1, "AAPL", "Apple Inc."), (2, "F", "Ford Motor Company"), (3, "SPY", "SPDR S&P 500"), (4, "A", "Agilent")]
    assert about("Apple and Ford rise", known) == [1, 2]
    assert about("A pineapple a day; SPYING on F-16s", known) == []
    assert about("SPY up, (F) down, $A flat", known) == [2, 3, 4]
    assert about("Shares of NASDAQ: AAPL fall", known) == [1]


def test_a_feed_is_read_and_its_oddities_left_out(server):
    server.says(RSS)
    found, name = read_feed(server.address), server.address.removeprefix("http://")
    assert [(one.guid, one.title) for one in found] == [
        (f"{name}/g3", "SPY falls"),
        (f"{name}/g1", "Apple beats estimates & raises outlook"),
    ]
    assert found[1].time == datetime(2020, 1, 7, 14, 30, tzinfo=UTC)
    assert (found[1].summary, found[1].url, found[0].url) == ("Strong quarter", "http://news.test/1", "")


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (b"", 404, "answered 404"),
        (b"", 429, "answered 429"),
        (b"<html>hello", 200, "not with an RSS"),
        (b"", 200, "not with"),
    ],
)
def test_a_feed_that_is_none_says_so(server, body, status, message):
    server.says(body, status)
    with pytest.raises(NewsUnavailable, match=message):
        read_feed(server.address)


def test_a_feed_that_never_answers_is_given_up(server):
    server.says(RSS, wait=3)
    with pytest.raises(NewsUnavailable, match="did not answer"):
        read_feed(server.address, timeout_seconds=0.3)
    with pytest.raises(NewsUnavailable, match="not an address"):
        read_feed("file:///etc/passwd")


def test_half_a_feed_gives_its_whole_entries(server):
    server.says(RSS[: RSS.index(b"<item><title>SPY")])
    assert [one.guid for one in read_feed(server.address)] == [f"{server.address.removeprefix('http://')}/g1"]


def test_yahoos_headlines_come_through_yfinance(server, tmp_path):
    server.says(YAHOO)
    found = read_yahoo(YahooClient(address=server.address, folder=tmp_path, timeout_seconds=2), "AAPL")
    assert [(one.guid, one.title, one.url) for one in found] == [
        ("yahoo:u1", "Apple wins approval", "https://news.test/u1")
    ]
    assert any(b"AAPL" in body for _, _, body in server.asked)


@pytest.mark.parametrize(
    ("body", "status"), [(b"<html>", 200), (b"", 429), (b"", 500), (b'{"data": null}', 200), (b"[]", 200)]
)
def test_what_yahoo_may_send_instead_is_no_news_and_no_crash(server, tmp_path, body, status):
    server.says(body, status)
    client = YahooClient(address=server.address, folder=tmp_path, timeout_seconds=2)
    with pytest.raises(NewsUnavailable):
        read_yahoo(client, "AAPL")


def test_a_language_model_is_asked_once_for_several(server):
    server.says(chat("Here you are: [0.5, -1, 0]"))
    model = LanguageModel(server.address, "small", key="secret")
    assert model.scores(["a", "b", "c"]) == [0.5, -1.0, 0.0]
    path, headers, body = server.asked[0]
    assert path == "/chat/completions" and headers["Authorization"] == "Bearer secret"
    assert json.loads(body)["model"] == "small"
    assert model.scores([]) == [] and len(server.asked) == 1


@pytest.mark.parametrize(
    ("body", "status", "message"),
    [
        (chat("[0.5]"), 200, "expected 2 numbers"),
        (chat("[0.5, 7]"), 200, "expected 2 numbers"),
        (chat("[0.5, NaN]"), 200, "expected 2 numbers"),
        (chat("I cannot"), 200, "expected 2 numbers"),
        ({"error": "x"}, 200, "something else"),
        (b"garbage", 200, "something else"),
        ({}, 401, "answered 401"),
        ({}, 429, "answered 429"),
    ],
)
def test_a_language_model_that_answers_nonsense_is_not_believed(server, body, status, message):
    server.says(body, status)
    with pytest.raises(ModelUnavailable, match=message):
        LanguageModel(server.address, "small").scores(["a", "b"])


def test_a_headline_is_stored_once_and_linked(apple):
    first = [headline("Apple beats", "g1")]
    assert store.store_headlines(first, "rss") == 1
    assert store.store_headlines(first, "yahoo", apple) == 0
    item = NewsItem.objects.get()
    assert (list(item.instruments.all()), item.source) == ([apple], "rss")


def test_history_was_known_when_published_and_news_when_it_came(apple):
    now = timezone.now()
    old, new, ahead = now - timedelta(days=30), now - timedelta(minutes=10), now + timedelta(hours=2)
    store.store_headlines([headline("a", "1", old), headline("b", "2", new), headline("c", "3", ahead)], "rss")
    known = dict(NewsItem.objects.values_list("guid", "known_at"))
    assert known["1"] == old
    assert known["2"] >= now and known["3"] >= now
    assert NewsItem.objects.get(guid="3").time <= timezone.now()


def test_a_headline_is_known_from_the_moment_it_was_scored(apple):
    store.store_headlines([headline("Apple soars", "1")], "rss")
    came = NewsItem.objects.get().known_at
    assert store.score_pending() == 1
    item = NewsItem.objects.get()
    assert item.known_at > came and item.scores.get().score == lexicon.score("Apple soars. ")


def test_nothing_is_scored_while_tone_is_switched_off(apple):
    DataSettings.load()
    DataSettings.objects.filter(pk=1).update(sentiment="off")
    store.store_headlines([headline("Apple soars", "1")], "rss")
    assert store.score_pending() == 0 and not SentimentScore.objects.exists()


def test_a_language_model_scores_within_its_budget_and_the_word_list_the_rest(apple, server):
    DataSettings.load()
    DataSettings.objects.filter(pk=1).update(
        sentiment="openai", sentiment_address=server.address, sentiment_model="m", sentiment_calls_per_day=1
    )
    server.says(chat(json.dumps([0.25] * 20)))
    store.store_headlines([headline(f"Apple soars {n}", str(n)) for n in range(25)], "rss")
    assert store.score_pending() == 25
    assert SentimentScore.objects.filter(model="m", score=0.25).count() == 20
    assert SentimentScore.objects.filter(model="lexicon").count() == 5
    assert len(server.asked) == 1
    assert store.score_pending() == 0  # asked once, kept for good


def test_a_silent_language_model_costs_its_time_limit_and_no_score(apple, server):
    DataSettings.load()
    DataSettings.objects.filter(pk=1).update(
        sentiment="gemini", sentiment_address=server.address, sentiment_timeout_seconds=0.2
    )
    server.says(chat("[1]"), wait=2)
    store.store_headlines([headline("Apple soars", "1")], "rss")
    assert store.score_pending() == 1
    assert SentimentScore.objects.get().model == "lexicon"
    call = SentimentCall.objects.get()
    assert "did not answer" in call.error and call.n_items == 1


def test_one_look_asks_every_source_and_tells_what_failed(apple, server, settings):
    settings.YAHOO_ADDRESS = "http://127.0.0.1:9"  # nobody listens there
    DataSettings.load()
    DataSettings.objects.filter(pk=1).update(news_feeds=[server.address, "nonsense"])
    server.says(RSS)
    found = refresh(["AAPL"])
    assert (found.n_new, found.n_scored, len(found.problems)) == (2, 2, 2)
    assert NewsItem.objects.filter(instruments=apple).count() == 1


def test_the_command_prints_what_came(apple, server, capsys):
    DataSettings.load()
    DataSettings.objects.filter(pk=1).update(news_feeds=[server.address])
    server.says(RSS)
    call_command("news")
    out = capsys.readouterr().out
    assert "2 new headlines, 2 scored" in out and "AAPL: Apple beats" in out
    with pytest.raises(CommandError, match="no instrument NOPE"):
        call_command("news", "NOPE")
