"""Actions as rows: stored once, corrected with a line in the journal, and used for bars of the database."""

from datetime import UTC, date, datetime, timedelta

import numpy as np
import pytest

from core.models import Event
from core.tests import rows
from core.tests.admin_pages import form_values, page
from marketdata.adjusted import DIVIDEND, SPLIT, Mode, adjusted, apply_steps
from marketdata.corporate import OPERATOR, actions_of, exchange_zone, load_adjusted, load_steps, store_actions
from marketdata.models import CorporateAction
from marketdata.queries import copy_bars
from marketdata.series import BarSeries
from marketdata.sources.base import Action

pytestmark = pytest.mark.django_db

DAY = 86_400
FIRST = datetime(2024, 6, 3, tzinfo=UTC)  # a Monday


def day(number):
    return FIRST + timedelta(days=number - 1)


def on(number, kind, value):
    return Action(day(number).date(), kind, value)


def bars(*closes, begin=FIRST, step=DAY, volume=100.0):
    close = np.array(closes)
    time = int(begin.timestamp()) + np.arange(close.size) * step
    return BarSeries(time, close, close * 1.01, close * 0.99, close, np.full(close.size, volume))


@pytest.fixture
def aapl():
    return rows.instrument()


def test_actions_are_stored_once_and_in_order(aapl):
    batch = [on(5, DIVIDEND, 0.5), on(3, SPLIT, 2.0)]
    first, again = store_actions(aapl, batch, "yahoo"), store_actions(aapl, batch, "yahoo")
    assert (first.n_new, first.n_changed, first.n_same) == (2, 0, 0)
    assert (again.n_new, again.n_changed, again.n_same) == (0, 0, 2)
    assert [(row.kind, row.value, row.source) for row in actions_of(aapl)] == [
        (SPLIT, 2.0, "yahoo"),
        (DIVIDEND, 0.5, "yahoo"),
    ]
    assert [row.kind for row in actions_of(aapl, until=day(4).date())] == [SPLIT]
    (event,) = Event.objects.filter(kind="data.actions_stored")
    assert event.message == "AAPL: 1 split and 1 dividend from yahoo"


def test_a_changed_value_is_journalled_with_before_and_after_and_rounding_is_no_change(aapl):
    store_actions(aapl, [on(5, DIVIDEND, 0.5)], "yahoo")
    assert store_actions(aapl, [on(5, DIVIDEND, 0.5000000001)], "yahoo").n_same == 1
    assert store_actions(aapl, [on(5, DIVIDEND, 0.55)], "bridge", actor="anna").n_changed == 1
    (row,) = actions_of(aapl)
    assert (row.value, row.source) == (0.55, "bridge")
    (event,) = Event.objects.filter(kind="data.action_changed")
    assert event.actor == "anna" and event.level == Event.Level.ATTENTION
    assert event.data["before"]["value"] == 0.5 and event.data["after"]["value"] == 0.55


def test_two_dividends_of_one_day_are_added_and_two_splits_multiplied(aapl):
    store_actions(aapl, [on(5, DIVIDEND, 0.5), on(5, DIVIDEND, 3.0), on(5, SPLIT, 2.0), on(5, SPLIT, 1.5)], "yahoo")
    assert {row.kind: row.value for row in actions_of(aapl)} == {DIVIDEND: 3.5, SPLIT: 3.0}


@pytest.mark.parametrize("action", [on(1, "merger", 1.0), on(1, SPLIT, 0.0), on(1, DIVIDEND, float("nan"))])
def test_what_is_no_action_is_refused_and_nothing_written(aapl, action):
    with pytest.raises(ValueError, match="is no action"):
        store_actions(aapl, [on(2, SPLIT, 2.0), action], "yahoo")
    assert actions_of(aapl) == []


def test_what_an_operator_enters_or_corrects_is_kept_and_journalled(aapl, admin_client):
    values = {"instrument": aapl.pk, "ex_date": "2024-06-07", "kind": DIVIDEND, "value": "0.4"}
    assert admin_client.post(page(CorporateAction, "add"), values).status_code == 302
    assert store_actions(aapl, [on(5, DIVIDEND, 0.5), on(2, SPLIT, 3.0)], "yahoo").n_same == 1
    split, dividend = actions_of(aapl)
    assert (dividend.value, dividend.source) == (0.4, OPERATOR)
    assert Event.objects.filter(kind="corporateaction.added").exists()

    address = page(CorporateAction, "change", split.pk)
    asked = form_values(admin_client.get(address))
    assert admin_client.post(address, asked).status_code == 302
    assert actions_of(aapl)[0].source == "yahoo", "looking is not correcting"
    assert admin_client.post(address, asked | {"value": "2"}).status_code == 302
    store_actions(aapl, [on(2, SPLIT, 3.0)], "yahoo")
    assert (actions_of(aapl)[0].value, actions_of(aapl)[0].source) == (2.0, OPERATOR)
    event = Event.objects.get(kind="corporateaction.changed")
    assert event.data["before"] == {"value": 3.0, "source": "yahoo"}
    assert admin_client.get(page(CorporateAction, "changelist")).status_code == 200


@pytest.mark.parametrize("value", ["0", "-1", "nan"])
def test_an_impossible_value_is_refused_on_the_page(aapl, admin_client, value):
    values = {"instrument": aapl.pk, "ex_date": "2024-06-07", "kind": DIVIDEND, "value": value}
    assert admin_client.post(page(CorporateAction, "add"), values).status_code == 200
    assert actions_of(aapl) == []


def test_stored_bars_come_raw_adjusted_back_and_forward(aapl):
    raw = bars(100.0, 100.0, 50.0, 50.0, 49.5)
    copy_bars(aapl.pk, DAY, raw, "yahoo")
    store_actions(aapl, [on(3, SPLIT, 2.0), on(5, DIVIDEND, 0.5)], "yahoo")

    assert load_adjusted(aapl, DAY, Mode.RAW).fingerprint() == raw.fingerprint()
    np.testing.assert_allclose(load_adjusted(aapl, DAY, Mode.BACK).close, 49.5)
    np.testing.assert_allclose(load_adjusted(aapl, DAY, Mode.FORWARD).close, 100.0)
    # On the 4th the dividend was not known: 100, 100, 50, 50 are all 50
    then = load_adjusted(aapl, DAY, Mode.BACK, as_of=day(4).date())
    np.testing.assert_allclose(then.close, [50, 50, 50, 50])
    np.testing.assert_allclose(load_adjusted(aapl, DAY, Mode.FORWARD, end=day(2)).close, 100.0)


def test_what_the_prices_already_contain_is_not_applied_again(aapl):
    copy_bars(aapl.pk, DAY, bars(50.0, 50.0, 50.0), "file")
    store_actions(aapl, [on(3, SPLIT, 2.0)], "file", in_prices=True)
    np.testing.assert_array_equal(load_adjusted(aapl, DAY, Mode.FORWARD).close, 50.0)


def test_a_part_loaded_alone_has_bit_for_bit_the_values_it_has_in_the_whole(aapl):
    random = np.random.default_rng(4)
    copy_bars(aapl.pk, DAY, bars(*(100.0 * np.exp(random.normal(0, 0.02, 40).cumsum()))), "yahoo")
    batch = [on(n, DIVIDEND, 0.3 + n / 100) for n in (3, 9, 10, 20, 31)] + [on(10, SPLIT, 3.0), on(25, SPLIT, 0.5)]
    store_actions(aapl, [*batch, on(0, DIVIDEND, 1.0)], "yahoo")  # the last: before the first bar
    whole = load_adjusted(aapl, DAY, Mode.FORWARD)
    for first in (2, 9, 10, 11, 26, 40):
        part = load_adjusted(aapl, DAY, Mode.FORWARD, start=day(first))
        assert part.fingerprint() == whole.between(int(day(first).timestamp()), 2**40).fingerprint()
    found = load_steps(aapl, DAY, day(40).date())
    raw = load_adjusted(aapl, DAY, Mode.RAW)
    one_by_one = [apply_steps(raw.between(time, time), found, Mode.FORWARD) for time in raw.time.tolist()]
    assert [float(bar.close[0]) for bar in one_by_one] == whole.close.tolist()
    known = [Action(row.ex_date, row.kind, row.value) for row in actions_of(aapl)]
    pure = adjusted(load_adjusted(aapl, DAY, Mode.RAW), known, Mode.FORWARD)
    assert whole.fingerprint() == pure.fingerprint()


def test_a_later_action_does_not_change_what_a_simulation_has_read(aapl):
    copy_bars(aapl.pk, DAY, bars(100.0, 101.0, 50.0), "yahoo")
    before = load_adjusted(aapl, DAY, Mode.FORWARD, end=day(2))
    store_actions(aapl, [on(3, SPLIT, 2.0)], "yahoo")
    assert load_adjusted(aapl, DAY, Mode.FORWARD, end=day(2)).fingerprint() == before.fingerprint()
    assert load_adjusted(aapl, DAY, Mode.FORWARD).until(int(day(2).timestamp())).fingerprint() == before.fingerprint()


def test_intraday_bars_step_at_the_exchange_s_midnight(aapl):
    # 20:00 New York on the 3rd is 00:00 UTC of the 4th, still before the split of the 4th
    evening = datetime(2024, 6, 4, 0, 0, tzinfo=UTC)
    copy_bars(aapl.pk, 3600, bars(100.0, 100.0, begin=evening - timedelta(hours=1), step=3600), "yahoo")
    copy_bars(aapl.pk, 3600, bars(50.0, begin=evening + timedelta(hours=8)), "yahoo")
    store_actions(aapl, [on(2, SPLIT, 2.0)], "yahoo")
    np.testing.assert_allclose(load_adjusted(aapl, 3600, Mode.BACK).close, [50.0, 50.0, 50.0])
    as_of = load_adjusted(aapl, 3600, Mode.BACK, as_of=day(1).date())
    np.testing.assert_allclose(as_of.close, [100.0, 100.0])
    assert len(load_adjusted(aapl, 3600, Mode.RAW, as_of=day(1).date())) == 2


def test_zones_and_unknown_calendars():
    assert str(exchange_zone("XNYS")) == "America/New_York" and str(exchange_zone("24/7")) == "UTC"
    with pytest.raises(ValueError, match="no trading calendar 'NOPE'"):
        exchange_zone("NOPE")


def test_an_impossible_dividend_stops_the_load_and_says_whose(aapl):
    copy_bars(aapl.pk, DAY, bars(10.0, 10.0), "yahoo")
    store_actions(aapl, [Action(date(2024, 6, 4), DIVIDEND, 12.0)], "yahoo")
    with pytest.raises(ValueError, match="AAPL: dividend of 12 on 2024-06-04"):
        load_adjusted(aapl, DAY, Mode.FORWARD)
    assert len(load_adjusted(aapl, DAY, Mode.RAW)) == 2


def test_no_bars_no_work(aapl):
    assert len(load_adjusted(aapl, DAY, Mode.FORWARD)) == 0
    assert store_actions(aapl, [], "yahoo").n_new == 0
