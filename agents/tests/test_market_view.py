"""The view gives, bar after bar, what training computed over whole series, and reads only what is new."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents import market_view
from agents.market_view import MarketView, load_inputs, load_scores
from agents.policies.features import CATALOGUE, FIRST, FeatureSpec, Inputs
from core.models import Instrument
from marketdata.features.batch import compute
from marketdata.models import DataSettings, NewsItem, SentimentScore
from marketdata.queries import copy_bars
from marketdata.series import BarSeries
from marketdata.tests.feature_worlds import (
    DAY,
    MINUTE,
    assert_same,
    part,
    session_minutes,
    sessions,
    walk,
    world,
)

pytestmark = pytest.mark.django_db
EVERYTHING = FeatureSpec(tuple(CATALOGUE))
BARS_ONLY = FeatureSpec(("rsi_14", "macd", "close_z_20"))
N = 260


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


@dataclass
class Stored:
    """A made-up market as rows."""

    inputs: Inputs
    fund: Instrument
    vix: Instrument

    def view(self, interval: int = MINUTE) -> MarketView:
        return MarketView.open(self.fund.pk, self.vix.pk, interval)

    def moments(self) -> list[datetime]:
        return [moment(second) for second in self.inputs.bars.time]


def news(fund: Instrument, known_at: datetime, score: float) -> SentimentScore:
    guid = f"item-{NewsItem.objects.count()}"
    item = NewsItem.objects.create(time=known_at, known_at=known_at, source="test", guid=guid, title=guid)
    item.instruments.add(fund)
    return SentimentScore.objects.create(item=item, model="lexicon", score=score)


@pytest.fixture
def stored() -> Stored:
    inputs = world(N)
    index = Instrument.objects.create(symbol="INDEX", name="index", asset_class="index")
    fund = Instrument.objects.create(symbol="FUND", name="fund", asset_class="etf", underlying=index)
    vix = Instrument.objects.create(symbol="VIX", name="VIX", asset_class="index")
    copy_bars(fund.pk, MINUTE, inputs.bars, "test")
    copy_bars(index.pk, MINUTE, inputs.underlying, "test")
    copy_bars(vix.pk, DAY, inputs.vix, "test")
    for known_at, score in inputs.scores:
        news(fund, moment(known_at), score)
    return Stored(inputs, fund, vix)


def test_bar_after_bar_the_view_sees_what_training_sees(stored):
    whole = load_inputs(stored.fund, stored.vix.pk, MINUTE, EVERYTHING)
    rows = compute(EVERYTHING, whole)
    assert_same(rows, compute(EVERYTHING, stored.inputs), EVERYTHING.names, relative=1e-6)  # times in microseconds
    view = stored.view()
    for row, when in list(enumerate(stored.moments()))[200:]:
        bar = view.look(when)
        assert (bar.time, bar.close) == (when, stored.inputs.bars.close[row])
        last, before = view.features(EVERYTHING)
        assert_same(np.array([before, last]), rows[row - 1 : row + 1], EVERYTHING.names)
    np.testing.assert_array_equal(view.times, stored.inputs.bars.time)
    assert_same(view.history(), rows, EVERYTHING.names)


def test_two_views_that_began_at_different_bars_agree(stored):
    moments = stored.moments()
    early, late = stored.view(), stored.view()
    for when in moments[150:]:
        early.look(when)
        early.features(EVERYTHING)
    late.look(moments[-1])
    assert_same(np.array(early.features(EVERYTHING)), np.array(late.features(EVERYTHING)), EVERYTHING.names)


def test_bars_looked_at_without_asking_for_features_are_taken_later(stored):
    moments, view = stored.moments(), stored.view()
    rows = compute(BARS_ONLY, Inputs(stored.inputs.bars, MINUTE))
    view.look(moments[100])
    view.features(BARS_ONLY)
    for when in moments[101:110]:  # a paused agent
        view.look(when)
    view.look(moments[130])  # and bars it never looked at
    last, before = view.features(BARS_ONLY)
    np.testing.assert_array_equal(np.array([before, last]), rows[129:131])


def test_a_moment_in_the_past_cuts_the_bars_off_there(stored):
    moments, view = stored.moments(), stored.view()
    rows = compute(BARS_ONLY, Inputs(stored.inputs.bars, MINUTE))
    for row in (200, 201, 120, 121, 121, 250):
        view.look(moments[row])
        last, before = view.features(BARS_ONLY)
        np.testing.assert_array_equal(np.array([before, last]), rows[row - 1 : row + 1])


def test_another_list_of_features_starts_anew(stored):
    moments, view = stored.moments(), stored.view()
    other = FeatureSpec(("return_5", "rsi_14"))
    view.look(moments[100])
    view.features(BARS_ONLY)
    view.look(moments[101])
    last, _ = view.features(other)
    np.testing.assert_array_equal(last, compute(other, Inputs(stored.inputs.bars, MINUTE))[101])


def test_a_new_bar_costs_the_same_however_long_the_history_is(stored):
    moments, view = stored.moments(), stored.view()
    view.look(moments[99])
    view.features(EVERYTHING)
    for when in moments[100:103]:
        with CaptureQueriesContext(
            connection,
        ) as queries:
            view.look(when)
            view.features(EVERYTHING)
        assert len(queries) <= 7  # the bar, splits and dividends, the VIX, the underlying, and three about scores


def test_a_bar_that_is_not_stored_is_refused_and_may_come_later(stored):
    moments, view = stored.moments(), stored.view()
    with pytest.raises(LookupError, match="nothing has been looked at"):
        view.features(BARS_ONLY)
    view.look(moments[100])
    view.features(BARS_ONLY)
    missing = moments[100] + timedelta(seconds=1)
    with pytest.raises(LookupError, match="is not stored; import it again"):
        view.look(missing)
    view.look(moments[101])
    last, _ = view.features(BARS_ONLY)
    np.testing.assert_array_equal(last, compute(BARS_ONLY, Inputs(stored.inputs.bars, MINUTE))[101])


def test_the_first_bar_has_none_before_it(stored):
    view = stored.view()
    view.look(stored.moments()[0])
    last, before = view.features(EVERYTHING)
    assert last.shape == before.shape == (len(EVERYTHING),)
    assert np.isnan(before).all()


def test_a_view_that_runs_past_the_sessions_it_knew_asks_for_more(stored, monkeypatch):
    # Twelve days of sessions beyond the first look, while the bars go on for weeks.
    monkeypatch.setattr(market_view, "DAYS_AHEAD", 12)
    bars = walk(400, time=session_minutes(400 * 30)[::30])
    steady = Instrument.objects.create(symbol="STEADY", name="steady", asset_class="stock")
    copy_bars(steady.pk, MINUTE, bars, "test")
    spec = FeatureSpec(("session_minute", "half_day", "vwap_distance"))
    rows = compute(spec, Inputs(bars, MINUTE, sessions=sessions()))
    view = MarketView.open(steady.pk, None, MINUTE)
    seen = []
    for second in bars.time:
        view.look(moment(second))
        seen.append(view.features(spec)[0])
    assert_same(np.array(seen), rows, spec.names)
    assert np.isfinite(rows).all()
    assert bars.time[-1] - bars.time[0] > 35 * DAY


def test_daily_bars_see_the_vix_of_their_own_session_and_a_late_one_from_then_on():
    days = 1_577_059_200 + DAY * np.arange(8)  # from 23 December 2019
    price = np.linspace(100.0, 107.0, 8)
    fund = Instrument.objects.create(symbol="DAILY", name="daily", asset_class="stock")
    vix = Instrument.objects.create(symbol="FEAR", name="fear", asset_class="index")
    copy_bars(fund.pk, DAY, BarSeries(days, price, price, price, price, price), "test")
    level = np.arange(10.0, 18.0)
    levels = BarSeries(days, level, level, level, level, level)
    copy_bars(vix.pk, DAY, part(levels, 0, 5), "test")
    view, spec, seen = MarketView.open(fund.pk, vix.pk, DAY), FeatureSpec(("vix", "return_1")), []
    for row, second in enumerate(days):
        if row == 6:  # the VIX of row 5 comes a day late, with that of row 6
            copy_bars(vix.pk, DAY, part(levels, 5, 7), "test")
        view.look(moment(second))
        seen.append(view.features(spec)[0][0])
    assert seen == [10.0, 11.0, 12.0, 13.0, 14.0, 14.0, 16.0, 16.0]


def test_an_instrument_without_vix_underlying_or_news_gets_missing_values():
    bars = walk(100)
    alone = Instrument.objects.create(symbol="ALONE", name="alone", asset_class="stock")
    copy_bars(alone.pk, MINUTE, bars, "test")
    view = MarketView.open(alone.pk, None, MINUTE)
    for second in bars.time[-3:]:
        view.look(moment(second))
        last, _ = view.features(EVERYTHING)
    named = dict(zip(EVERYTHING.names, last, strict=True))
    assert np.isfinite([named[name] for name in FIRST if name != "vix"]).all()
    assert np.isnan([named[name] for name in ("vix", "underlying_return_1", "sentiment", "news_flow")]).all()


def test_each_headline_counts_once_and_late_scores_are_not_lost(stored):
    start = moment(stored.inputs.bars.time[-1])
    before = load_scores(stored.fund.pk, start)
    first = news(stored.fund, start + timedelta(seconds=10), 0.5)
    SentimentScore.objects.create(item=first.item, model="other", score=-1.0)
    other = Instrument.objects.create(symbol="OTHER", name="other", asset_class="stock")
    news(other, start + timedelta(seconds=10), -1.0)
    found = load_scores(stored.fund.pk, start + timedelta(seconds=20))
    assert len(found) == len(before) + 1
    assert found[-1].tolist() == [start.timestamp() + 10, 0.5]
    late = news(stored.fund, start - timedelta(seconds=5), 0.25)
    new = load_scores(
        stored.fund.pk,
        start + timedelta(seconds=20),
        after=start + timedelta(seconds=20),
        unless_newer_than=late.pk - 1,
    )
    assert new.tolist() == [[start.timestamp() - 5, 0.25]]


def test_no_score_counts_while_tone_is_switched_off(stored):
    item = NewsItem.objects.create(
        time=datetime(2020, 1, 1, tzinfo=UTC), known_at=datetime(2020, 1, 1, tzinfo=UTC), source="test", guid="off",
        title="good news",
    )  # fmt: skip
    item.instruments.add(stored.fund)
    SentimentScore.objects.create(item=item, model="lexicon", score=0.5)
    until = datetime(2030, 1, 1, tzinfo=UTC)
    assert 0.5 in load_scores(stored.fund.pk, until)[:, 1]
    DataSettings.load()
    DataSettings.objects.filter(pk=1).update(sentiment="off")
    assert load_scores(stored.fund.pk, until).shape == (0, 2)
