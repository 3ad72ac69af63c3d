"""The average true range that stops trail by: a view that reads only what is new says what a fresh one says."""

from datetime import timedelta

import pytest

from agents import market_view
from agents.market_view import MarketView
from agents.tests.desk import make_agent
from marketdata.models import Bar, CorporateAction

pytestmark = pytest.mark.django_db


def fresh(agent, moment):
    view = MarketView.open(agent.instrument_id, None, agent.interval_seconds)
    view.look(moment)
    return view.atr_before()


def test_bars_read_once_give_the_same_numbers_as_bars_read_anew(monkeypatch, django_assert_max_num_queries):
    monkeypatch.setattr(market_view, "ATR_BARS", 60)  # so that the window moves
    agent = make_agent()
    times = list(Bar.objects.filter(instrument=agent.instrument).order_by("time").values_list("time", flat=True))
    view = MarketView.open(agent.instrument_id, None, agent.interval_seconds)
    walked = [*times[:3], *times[40:70], times[80], times[81], times[50], times[51], times[90]]  # leaps, and back
    for moment in walked:
        view.look(moment)
        assert view.atr_before() == pytest.approx(fresh(agent, moment), rel=0, abs=0, nan_ok=True), moment
    view.look(times[91])
    with django_assert_max_num_queries(3):  # the new bar, the instrument, its splits; not the sixty bars
        view.atr_before()
    day = times[91].date()
    CorporateAction.objects.create(instrument=agent.instrument, ex_date=day, kind="split", value=2, source="test")
    assert view.atr_before() == fresh(agent, times[91])  # a split stored since counts at once
    assert day - times[90].date() >= timedelta(days=1)
