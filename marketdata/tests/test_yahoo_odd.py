"""What Yahoo seldom sends, through the real yfinance client: odd actions, odd metadata, odd waiting times."""

from datetime import date

import numpy as np
import pytest

from marketdata.sources.base import Action, Asked, SourceUnavailableError
from marketdata.tests.test_yahoo import DAY, Waits, source
from marketdata.tests.test_yahoo_live import Time, run
from marketdata.tests.yahoo_server import Answer, Stock, YahooServer, moment, row, sessions

pytestmark = pytest.mark.filterwarnings("ignore:The inplace keyword")  # yfinance's own, under pandas 3.1
MONDAY = date(2024, 6, 10)


@pytest.fixture
def server():
    with YahooServer() as running:
        days = sessions(date(2024, 6, 3), date(2024, 6, 12))
        running.stocks["X"] = Stock(daily=[row(moment(day), 100.0) for day in days])
        yield running


def fetched(server, waits=None):
    parts = list(source(server, waits).history(Asked("X", DAY)))
    return (
        parts,
        [action for part in parts for action in part.actions],
        [say for part in parts for say in part.problems],
    )


@pytest.mark.parametrize("split", [(4.0, 0.0), (-4.0, 1.0)])
def test_a_split_that_is_none_spoils_no_prices(server, split):
    server.stocks["X"].splits = [(moment(MONDAY), *split)]
    parts, actions, problems = fetched(server)
    assert actions == [] and sum(part.n_bad for part in parts) == 1
    assert len(problems) == 1 and "2024-06-10: Yahoo lists a split of" in problems[0]
    np.testing.assert_array_equal(parts[0].series.close, 100.0)


@pytest.mark.parametrize(
    ("prices_in", "paid_in", "amount", "paid"),
    [("GBp", "GBP", 0.25, 25.0), ("GBP", "GBp", 25.0, 0.25), ("GBp", "GBp", 25.0, 25.0), ("GBp", "USD", 0.25, None)],
)
def test_a_dividend_is_in_the_currency_of_the_prices_or_left_out(server, prices_in, paid_in, amount, paid):
    """25 pence paid on a share quoted in pence are 25; Yahoo says so of some dividends in pounds."""

    def change(chart):
        result = chart["chart"]["result"][0]
        result["meta"]["currency"] = prices_in
        for one in result.get("events", {}).get("dividends", {}).values():
            one["currency"] = paid_in

    server.change = change
    server.stocks["X"].dividends = [(moment(MONDAY), amount)]
    _, actions, problems = fetched(server)
    assert actions == ([Action(MONDAY, "dividend", paid)] if paid else [])
    assert any("paid in USD" in said for said in problems) == (paid is None)


@pytest.mark.parametrize(("dividend", "gains", "paid"), [(0.5, 0.2, 0.5), (0.1, 0.25, 0.35), (None, 0.25, 0.25)])
def test_gains_a_fund_pays_out_are_paid_like_a_dividend(server, dividend, gains, paid):
    """Yahoo's dividend of 0.5 already has the gains of 0.2 in it; one of 0.1 cannot have gains of 0.25 in it."""
    at = moment(MONDAY)

    def change(chart):
        chart["chart"]["result"][0].setdefault("events", {})["capitalGains"] = {str(at): {"amount": gains, "date": at}}

    server.stocks["X"].kind, server.change = "ETF", change
    server.stocks["X"].dividends = [(at, dividend)] if dividend else []
    _, actions, _ = fetched(server)
    assert actions == [Action(MONDAY, "dividend", pytest.approx(paid))]


@pytest.mark.parametrize("odd", [{"exchangeTimezoneName": 5}, {"currentTradingPeriod": "none"}])
def test_metadata_that_is_none_is_an_answer_that_cannot_be_read(server, odd):
    server.change = lambda chart: chart["chart"]["result"][0]["meta"].update(odd)
    with pytest.raises(SourceUnavailableError, match="cannot be read"):
        fetched(server)


@pytest.mark.parametrize(("told", "waited"), [("nan", 15.0), ("-3", 15.0), ("2", 2.0)])
def test_a_waiting_time_that_is_none_is_not_believed(server, told, waited):
    server.unusual = [Answer(429, "Too Many Requests", {"Retry-After": told})]
    waits = Waits()
    parts, _, _ = fetched(server, waits)
    assert sum(waits.waited) == waited and len(parts[-1].series) == 8


@pytest.mark.parametrize("told", ["inf", "1e400", "99999999999999", "nan"])
def test_no_waiting_time_ends_a_live_feed(server, told):
    server.always = Answer(429, "Too Many Requests", {"Retry-After": told})
    seen = run(server, Time("10:00"), "10:01", Asked("X", 60))
    assert any("HTTP 429" in update.problem for _, update in seen)


def test_a_symbol_may_have_an_ampersand(server):
    server.stocks["M&M.NS"] = server.stocks["X"]
    [part] = source(server).history(Asked("M&M.NS", DAY))
    assert len(part.series) == 8
