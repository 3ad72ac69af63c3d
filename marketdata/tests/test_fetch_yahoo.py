"""The jobs with the real yfinance client against a server on loopback: a fetch, and a live stream with a gap."""

from datetime import UTC, date, datetime, timedelta
from io import StringIO

import pytest
from django.core.management import CommandError, call_command

from marketdata import replay
from marketdata.live import Live
from marketdata.models import CorporateAction, Fetch, Stream
from marketdata.queries import load_bars
from marketdata.replay import publish
from marketdata.sources.yahoo import YahooSource
from marketdata.sources.yahoo_polling import Clock
from marketdata.tests.stream_world import FakeJob, make_instrument
from marketdata.tests.yahoo_server import NEW_YORK, Stock, YahooServer, moment, row, sessions

pytestmark = [
    pytest.mark.django_db,
    pytest.mark.filterwarnings("ignore:The inplace keyword"),  # yfinance's own, under pandas 3.1
]
DAY = date(2024, 6, 12)


@pytest.fixture
def server(settings):
    with YahooServer() as running:
        settings.YAHOO_ADDRESS = running.address
        yield running


@pytest.fixture
def ko():
    return make_instrument("KO", calendar="XNYS")


def said(*words: str) -> str:
    out = StringIO()
    call_command("fetch", *words, stdout=out)
    return out.getvalue().strip()


def test_daily_bars_come_with_their_dividend_and_only_once(server, ko):
    days = sessions(date(2024, 1, 2), date(2024, 1, 31))
    daily = [row(moment(day), 60.0 + n) for n, day in enumerate(days)]
    server.stocks["KO"] = Stock(daily=daily, dividends=[(moment(date(2024, 1, 11)), 0.5)])
    words = ("KO", "--source", "yahoo", "--interval", "1d", "--from", "2024-01-01", "--to", "2024-01-31")
    assert said(*words) == f"KO: {len(days)} bars stored"
    series = load_bars(ko.pk, 86_400)
    assert [datetime.fromtimestamp(second, UTC).date() for second in series.time.tolist()] == days
    assert series.close[0] == pytest.approx(60.0)
    action = CorporateAction.objects.get()
    assert (action.kind, action.ex_date, action.value) == ("dividend", date(2024, 1, 11), 0.5)
    n_asked = len(server.charts)
    assert said(*words) == "KO: everything asked for was stored already"
    assert len(server.charts) == n_asked


def test_a_symbol_yahoo_does_not_know_fails_in_words(server, ko):
    with pytest.raises(CommandError, match=r"KO: Yahoo: .*KO"):
        said("KO", "--source", "yahoo", "--from", "2024-01-01", "--to", "2024-01-31")
    assert Fetch.objects.get().state == "failed"


def test_a_live_stream_fetches_what_it_missed_and_then_polls(server, ko, monkeypatch):
    """Stopped after 09:34, started again at 09:40:20: the minutes between come from history."""
    server.stocks["KO"] = Stock(
        daily=[row(moment(DAY), 60.0)], intraday={"1m": [row(moment(DAY) + 60 * n, 60.0 + n) for n in range(390)]}
    )
    now = [datetime(2024, 6, 12, 9, 40, 20, tzinfo=NEW_YORK).astimezone(UTC)]

    def wait(seconds: float) -> None:
        now[0] += timedelta(seconds=max(seconds, 0.001))

    published: list[str] = []

    def note(stream: Stream, at: datetime) -> None:
        published.append(f"{at.astimezone(NEW_YORK):%H:%M}")
        publish(stream, at)

    monkeypatch.setattr(replay, "publish", note)
    opened = datetime(2024, 6, 12, 9, 30, tzinfo=NEW_YORK)
    stream = Stream.objects.create(
        name="ko", source="yahoo", interval_seconds=60, from_time=opened, cursor=opened + timedelta(minutes=4),
        desired_state="running",
    )  # fmt: skip
    stream.instruments.add(ko)
    source = YahooSource(address=server.address, clock=Clock(now=lambda: now[0], wait=wait, chance=lambda: 0.5))
    job = FakeJob(stream, lambda: "09:44" in published)
    Live(job, source=source, now=lambda: now[0]).run()  # type: ignore[arg-type]
    assert published == [f"09:{minute}" for minute in range(35, 45)], "every minute, once, in order"
    assert any(reason.startswith("asked again at 13:4") for _, reason in job.beats)
