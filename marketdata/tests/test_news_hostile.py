"""News from servers that mean harm or are broken: nothing hangs, nothing is read that should not be, nothing stops."""

import json
import time

import psycopg
import pytest
from django.db import connection
from django.utils import timezone

from core.models import Instrument
from marketdata.models import DataSettings, NewsItem, SentimentCall, SentimentScore
from marketdata.news import refresh as refreshing
from marketdata.news import store
from marketdata.news.feeds import read_feed
from marketdata.news.headline import Headline, NewsSlowDown, NewsUnavailable, plain
from marketdata.news.language_model import LanguageModel, ModelUnavailable
from marketdata.news.refresh import refresh
from marketdata.news.yahoo_news import read_yahoo
from marketdata.sources.yahoo_client import YahooClient
from marketdata.tests.raw_server import RawServer, http

TIME = "Tue, 07 Jan 2020 14:30:00 GMT"


def item(title="Title", guid="1", time_=TIME, link="http://news.test/1") -> str:
    return f"<item><title>{title}</title><guid>{guid}</guid><link>{link}</link><pubDate>{time_}</pubDate></item>"


def rss(*items: str) -> str:
    return f'<?xml version="1.0"?><rss version="2.0"><channel><title>t</title>{"".join(items)}</channel></rss>'


def feed(body, **options):
    with RawServer(lambda path: http(body, **options)) as server:
        return read_feed(server.address)


def chat(content: str) -> bytes:
    return http(json.dumps({"choices": [{"message": {"content": content}}]}), content_type="application/json")


def test_a_feed_cannot_make_us_read_a_file_of_this_machine(tmp_path):
    secret = tmp_path / "secret.xml"
    secret.write_text(rss(item("secret")))
    with pytest.raises(NewsUnavailable, match="not with an RSS"):
        feed(str(secret))


def test_a_feed_that_drips_is_given_up_in_time():
    """At a byte in 20 ms the feed of 200 bytes would take 6 s, and no single byte is late."""
    with RawServer(lambda path: http(rss(item())), pause=0.02) as server:
        began = time.monotonic()
        with pytest.raises(NewsUnavailable, match=r"no whole answer within 0\.5 s"):
            read_feed(server.address, timeout_seconds=0.5)
        assert time.monotonic() - began < 3


def test_the_encoding_may_be_told_beside_the_feed_but_not_against_it():
    assert feed(rss(item("Газпром")).encode("koi8-r"), content_type="text/xml; charset=koi8-r")[0].title == "Газпром"
    assert feed(rss(item("Nestlé")), content_type="text/xml; charset=iso-8859-1")[0].title == "Nestlé"


def test_entities_that_grow_and_entities_of_files_bring_nothing():
    entities = "".join(f'<!ENTITY l{n + 1} "{f"&l{n};" * 10}">' for n in range(9))
    body = rss(item("&l9;")).replace("<rss", f'<!DOCTYPE r [<!ENTITY l0 "lol">{entities}]><rss', 1)
    assert all(len(one.title) < 100 for one in feed(body))
    body = rss(item("&file;")).replace("<rss", '<!DOCTYPE r [<!ENTITY file SYSTEM "file:///etc/passwd">]><rss', 1)
    assert not any("root" in one.title for one in feed(body))


def test_a_title_of_nothing_but_brackets_costs_no_minutes():
    began = time.monotonic()
    assert plain("<" * 2_000_000).startswith("<<<")
    assert time.monotonic() - began < 5  # the square of its length would be hours


def test_what_cannot_be_stored_is_taken_out_and_empty_times_are_no_times():
    [one] = feed(
        rss(item("a\x00b\x1fc &amp;#xD800;", guid="\x00g"), item(time_="Mon, 01 Jan 0001 00:00:00 GMT", guid="2"))
    )
    assert one.title == "a b c \N{REPLACEMENT CHARACTER}" and "\x00" not in one.guid
    assert plain("\ud83d x") == "x"


def test_two_feeds_may_number_their_items_alike(db):
    [apple, pear] = [feed(rss(item("Apple", guid="17")))[0], feed(rss(item("Pear", guid="17")))[0]]
    store.store_headlines([apple], "rss")
    store.store_headlines([pear], "rss")
    assert NewsItem.objects.count() == 2
    same = "https://news.test/a"  # an address names the same item wherever it comes from
    assert feed(rss(item(guid=same)))[0].guid == feed(rss(item(guid=same)))[0].guid == same
    long = ["https://news.test/" + "x" * 400 + end for end in "ab"]
    assert len({feed(rss(item(guid=guid)))[0].guid for guid in long}) == 2


@pytest.mark.parametrize(
    ("content", "n", "scores"),
    [
        ("```json\n[0.5, -1]\n```", 2, [0.5, -1.0]),
        ("See [1] and [2]. The scores: [0.5, -1]", 2, [0.5, -1.0]),
        ('{"scores": [0.5, -1]}', 2, [0.5, -1.0]),
        ("\u00bd \u2212 [0.5]", 1, [0.5]),
        ("The first [1] is good: [0.2]", 1, None),  # which of the two?
        ("[0.1, 0.2, 0.3]", 2, None),
        ("[[0.1], [0.2]]", 2, None),
        ("[true, false]", 2, None),
        ('["0.1", "0.2"]', 2, None),
        ("[1" + "0" * 400 + ", 0]", 2, None),  # too large for a float
        ("[" * 100_000, 2, None),
    ],
)
def test_only_one_list_of_as_many_numbers_is_believed(content, n, scores):
    with RawServer(lambda path: chat(content)) as server:
        model = LanguageModel(server.address, "m")
        if scores is None:
            with pytest.raises(ModelUnavailable, match=f"expected {n} numbers"):
                model.scores(["title"] * n)
        else:
            assert model.scores(["title"] * n) == scores


@pytest.mark.parametrize(
    ("answer", "key", "message"),
    [
        (http(b"[" * 200_000), "", "something else"),
        (http(b"x" * 2_000_000), "", "more than"),
        (http(b"\xff\x00garbage", 500), "", "answered 500"),
        (chat("[0]"), "clé", "did not answer"),  # no header can carry it
    ],
)
def test_an_answer_of_any_kind_ends_in_the_word_list(answer, key, message):
    with RawServer(lambda path: answer) as server, pytest.raises(ModelUnavailable, match=message) as caught:
        LanguageModel(server.address, "m", key=key).scores(["title"])
    assert "\x00" not in str(caught.value)


def test_a_language_model_that_drips_is_given_up_in_time():
    with RawServer(lambda path: chat("[0.5]"), pause=0.02) as server:
        began = time.monotonic()
        with pytest.raises(ModelUnavailable, match="no whole answer"):
            LanguageModel(server.address, "m", timeout_seconds=0.5).scores(["title"])
        assert time.monotonic() - began < 3


def test_garbage_of_a_language_model_can_be_noted_down(db):
    DataSettings.load()
    store.store_headlines([Headline(timezone.now(), "Apple soars", "1")], "rss")
    with RawServer(lambda path: http(b"\x00\xff" * 50, 502)) as server:
        DataSettings.objects.filter(pk=1).update(sentiment="openai", sentiment_address=server.address)
        assert store.score_pending() == 1
    assert "answered 502" in SentimentCall.objects.get().error
    assert SentimentScore.objects.get().model == "lexicon"


@pytest.mark.django_db(transaction=True)
def test_two_processes_do_not_score_at_once():
    store.store_headlines([Headline(timezone.now(), "Apple soars", "1")], "rss")
    told = {name: connection.settings_dict[name.upper()] for name in ("host", "port", "user", "password")}
    with psycopg.connect(**told, dbname=connection.settings_dict["NAME"], autocommit=True) as other:
        other.execute("SELECT pg_advisory_lock(%s)", [store.SCORING_LOCK])
        assert store.score_pending() == 0
        other.execute("SELECT pg_advisory_unlock(%s)", [store.SCORING_LOCK])
    assert store.score_pending() == 1


def test_yahoo_is_left_alone_once_it_wants_fewer_questions(db, settings, tmp_path):
    for symbol in ("KO", "PEP", "MNST"):
        Instrument.objects.create(symbol=symbol, name=symbol, asset_class="stock")
    with RawServer(lambda path: http("", 429, Retry_After="60")) as server:
        settings.YAHOO_ADDRESS = server.address
        found = refresh(["KO", "PEP", "MNST"])
        assert len(found.problems) == 1 and "HTTP 429" in found.problems[0]
        assert sum("/xhr/" in path for path in server.asked) == 1
        with pytest.raises(NewsSlowDown):
            read_yahoo(YahooClient(address=server.address, folder=tmp_path, timeout_seconds=2), "KO")


def test_an_error_page_of_yahoos_is_not_taken_for_no_news(tmp_path):
    refusal = http('{"finance": {"result": null, "error": {"code": "Unauthorized"}}}', 401)
    with RawServer(lambda path: refusal) as server, pytest.raises(NewsUnavailable, match="HTTP 401"):
        read_yahoo(YahooClient(address=server.address, folder=tmp_path, timeout_seconds=2), "KO")


def test_a_language_model_that_keeps_failing_is_asked_no_more_in_this_run(db):
    DataSettings.load()
    store.store_headlines([Headline(timezone.now(), "Apple soars", str(n)) for n in range(100)], "rss")
    with RawServer(lambda path: http("", 500)) as server:
        DataSettings.objects.filter(pk=1).update(sentiment="openai", sentiment_address=server.address)
        assert store.score_pending() == 100  # five groups of twenty
        assert len(server.asked) == 2 and SentimentScore.objects.filter(model="lexicon").count() == 100


def test_one_look_ends_before_its_task_is_ended(db, monkeypatch):
    monkeypatch.setattr(refreshing, "MOST_SECONDS", -1.0)
    DataSettings.load()
    DataSettings.objects.filter(pk=1).update(news_feeds=["http://127.0.0.1:9/a", "http://127.0.0.1:9/b"])
    [problem] = refresh([]).problems
    assert problem.startswith("no time was left to ask about http://127.0.0.1:9/")


def test_two_looks_at_once_store_each_headline_once(db):
    """In one order, whatever the order of the feed: then neither of two writers holds what the other waits for."""
    order = []
    usual = NewsItem.objects.get_or_create
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(
            type(NewsItem.objects),
            "get_or_create",
            lambda self, **given: (order.append(given["guid"]), usual(**given))[1],
        )
        store.store_headlines([Headline(timezone.now(), "Title", guid) for guid in "cab"], "rss")
    assert order == ["a", "b", "c"] and NewsItem.objects.count() == 3
