"""Splits and dividends on their way to features, environments and fingerprints."""

from dataclasses import replace
from datetime import UTC, datetime

import numpy as np
import pytest
from django.db import connection
from django.test.utils import CaptureQueriesContext

from agents.environment import own_history
from agents.market_view import MarketView, load_inputs
from agents.policies.features import FeatureSpec, Inputs
from agents.runs.dataset import prepare
from agents.tests.worlds import FEATURES, day_of, walk
from core.models import Instrument
from marketdata.adjusted import DIVIDEND, SPLIT, Mode, adjusted, per_bar
from marketdata.corporate import exchange_zone, load_per_bar, store_actions
from marketdata.features.batch import compute
from marketdata.models import CorporateAction
from marketdata.queries import copy_bars
from marketdata.sources.base import Action
from marketdata.tests.feature_worlds import MINUTE, assert_same, world

CUTS = (day_of(400), day_of(550))
SPEC = FeatureSpec(("rsi_14", "macd", "close_z_20", "return_1", "underlying_return_1"))
PLAIN = FeatureSpec(FEATURES)
ZONE = exchange_zone("XNYS")


def moment(seconds: float) -> datetime:
    return datetime.fromtimestamp(float(seconds), UTC)


class Desk:
    """Minute bars of a fund and what it follows, over several days."""

    def __init__(self) -> None:
        self.inputs = world(900)
        self.index = Instrument.objects.create(symbol="INDEX", name="index", asset_class="index")
        self.fund = Instrument.objects.create(symbol="FUND", name="fund", asset_class="etf", underlying=self.index)
        copy_bars(self.fund.pk, MINUTE, self.inputs.bars, "test")
        copy_bars(self.index.pk, MINUTE, self.inputs.underlying, "test")
        days = sorted({moment(second).astimezone(ZONE).date() for second in self.inputs.bars.time.tolist()})
        self.second, self.third = days[1], days[2]
        starts = [moment(second).astimezone(ZONE).date() for second in self.inputs.bars.time.tolist()]
        self.row_of = {day: starts.index(day) for day in days}

    def view(self) -> MarketView:
        return MarketView.open(self.fund.pk, None, MINUTE)

    def rows(self, fund: list[Action], index: list[Action]) -> np.ndarray:
        """What the features are, worked out from the bars with the pure adjustment."""
        bars = adjusted(self.inputs.bars, fund, Mode.FORWARD, zone=ZONE)
        other = adjusted(self.inputs.underlying, index, Mode.FORWARD, zone=ZONE)
        return compute(SPEC, replace(self.inputs, bars=bars, underlying=other, vix=None, scores=None))


@pytest.fixture
def desk() -> Desk:
    return Desk()


@pytest.mark.django_db
def test_bar_after_bar_features_are_those_of_forward_adjusted_bars(desk):
    fund = [Action(desk.second, SPLIT, 7.0), Action(desk.third, DIVIDEND, 0.4)]
    index = [Action(desk.third, SPLIT, 0.5)]
    store_actions(desk.fund, fund, "test")
    store_actions(desk.index, index, "test")
    rows = desk.rows(fund, index)
    plain = desk.rows([], [])
    assert not np.allclose(rows, plain, equal_nan=True), "the test needs actions that matter"
    assert_same(compute(SPEC, load_inputs(desk.fund, None, MINUTE, SPEC)), rows, SPEC.names)
    view = desk.view()
    for row in range(desk.row_of[desk.second] - 5, desk.row_of[desk.third] + 20):
        bar = view.look(moment(desk.inputs.bars.time[row]))
        assert bar.close == desk.inputs.bars.close[row], "fills and marks are on prices as traded"
        last, before = view.features(SPEC)
        assert_same(np.array([before, last]), rows[row - 1 : row + 1], SPEC.names)


@pytest.mark.django_db
def test_a_later_action_changes_nothing_that_was_seen(desk):
    row = desk.row_of[desk.third]
    view = desk.view()
    view.look(moment(desk.inputs.bars.time[row - 1]))
    before, _ = view.features(SPEC)
    store_actions(desk.fund, [Action(desk.third, SPLIT, 7.0)], "test")
    other = desk.view()
    other.look(moment(desk.inputs.bars.time[row - 1]))
    np.testing.assert_array_equal(other.features(SPEC)[0], before)
    # The stream goes on from where it is: it takes the new bar, nothing is read anew.
    live = view._live
    view.look(moment(desk.inputs.bars.time[row]))
    after, _ = view.features(SPEC)
    assert view._live is live
    assert_same(after[None], desk.rows([Action(desk.third, SPLIT, 7.0)], [])[row : row + 1], SPEC.names)


@pytest.mark.django_db
@pytest.mark.parametrize("which", ["fund", "index"])
def test_an_action_stored_late_makes_a_running_view_see_what_a_fresh_one_sees(desk, which):
    row, late = desk.row_of[desk.second] + 30, Action(desk.second, SPLIT, 7.0)
    view = desk.view()
    view.look(moment(desk.inputs.bars.time[row]))
    view.features(SPEC)
    store_actions(getattr(desk, which), [late], "test")
    view.look(moment(desk.inputs.bars.time[row + 1]))
    fresh = desk.view()
    fresh.look(moment(desk.inputs.bars.time[row + 1]))
    np.testing.assert_array_equal(np.array(view.features(SPEC)), np.array(fresh.features(SPEC)))
    CorporateAction.objects.update(in_prices=True)
    view.look(moment(desk.inputs.bars.time[row + 2]))
    assert_same(view.features(SPEC)[0][None], desk.rows([], [])[row + 2 : row + 3], SPEC.names)


@pytest.mark.django_db
def test_actions_cost_one_query_a_bar_except_on_their_day(desk):
    store_actions(desk.fund, [Action(desk.second, DIVIDEND, 0.01 * k + 0.01) for k in range(1)], "test")
    row, view = desk.row_of[desk.second], desk.view()
    counts = []
    for number in range(row - 2, row + 4):
        with CaptureQueriesContext(connection) as queries:
            view.look(moment(desk.inputs.bars.time[number]))
            view.features(SPEC)
        counts.append(len(queries))
    # The bar, actions, the underlying's bars; on the ex date the action once more and the close before it.
    assert counts[1] == counts[3] == counts[4] == counts[5] == 3
    assert counts[2] == 5


@pytest.mark.django_db
def test_per_bar_arrays_of_stored_actions_leave_out_what_prices_contain(desk):
    store_actions(desk.fund, [Action(desk.second, SPLIT, 7.0)], "test")
    store_actions(desk.fund, [Action(desk.third, DIVIDEND, 0.4)], "test", in_prices=True)
    rows = load_per_bar(desk.fund, MINUTE, desk.inputs.bars.time)
    assert np.flatnonzero(rows[:, 0] != 1.0).tolist() == [desk.row_of[desk.second]]
    assert not rows[:, 1].any()


def test_the_dataset_is_traded_raw_seen_adjusted_and_named_by_both():
    bars = walk()
    day = datetime.fromtimestamp(int(bars.time[300]), UTC).date()
    actions = [Action(day, SPLIT, 7.0)]
    plain = prepare(bars, None, PLAIN, *CUTS)
    none = prepare(bars, None, PLAIN, *CUTS, traded=bars, actions=np.tile([1.0, 0.0], (len(bars), 1)))
    assert none.fingerprint == plain.fingerprint
    seen = adjusted(bars, actions, Mode.FORWARD)
    data = prepare(seen, None, PLAIN, *CUTS, traded=bars, actions=per_bar(bars.time, actions, UTC))
    assert data.fingerprint != plain.fingerprint
    np.testing.assert_array_equal(data.market.close, bars.close)
    np.testing.assert_array_equal(data.bars.close, bars.close)
    np.testing.assert_array_equal(data.raw, PLAIN.compute(seen))
    assert data.market.actions[300].tolist() == [7.0, 0.0]
    other = [Action(day, SPLIT, 5.0)]
    assert (
        prepare(
            adjusted(bars, other, Mode.FORWARD), None, PLAIN, *CUTS, traded=bars,
            actions=per_bar(bars.time, other, UTC),
        ).fingerprint
        != data.fingerprint
    )  # fmt: skip
    with pytest.raises(ValueError, match="differ in their times"):
        prepare(walk(650), None, PLAIN, *CUTS, traded=walk(700))


def test_features_without_actions_are_bit_for_bit_what_they_were():
    bars = walk()
    same = adjusted(bars, [], Mode.FORWARD)
    assert Inputs(same, 86_400).fingerprint() == Inputs(bars, 86_400).fingerprint()


def test_what_an_agent_remembers_of_its_position_counts_in_new_units():
    """Bought 100 at 70, best close 84, worst 63; through a 7:1 split: 700 at 10, best 12, worst 9."""
    memory = own_history.new_memory(70.0, 10_000.0)
    own_history.add_fill(memory, 100.0, 70.0, 3.0, 100.0, 1.0)
    for close in (84.0, 63.0):
        own_history.close_bar(memory, close, 10_000.0)
    seen = np.empty(own_history.N_VALUES)
    own_history.fill_history(memory, seen)
    own_history.split_units(memory, 7.0, 700.0)
    places = (own_history.QUANTITY, own_history.AVERAGE_PRICE, own_history.BEST_CLOSE, own_history.WORST_CLOSE)
    assert [memory[place] for place in places] == [700.0, 10.0, 12.0, 9.0]
    assert memory[own_history.OPEN_COSTS] == 3.0
    after = np.empty(own_history.N_VALUES)
    own_history.fill_history(memory, after)
    np.testing.assert_allclose(after, seen, atol=1e-15)
    own_history.split_units(memory, 1e-6, 0.0)
    assert [memory[place] for place in places] == [0.0] * 4
    assert memory[own_history.OPEN_COSTS] == 0.0
