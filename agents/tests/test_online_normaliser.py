"""The online normaliser against pandas, and what keeps training, backtest and live the same."""

import json

import numpy as np
import pandas as pd
import pytest

from agents.policies import normalisers
from agents.policies.normalisers import LiveScale, NormaliserChoice
from agents.policies.online_normaliser import LEAST_KNOWN, OnlineNormaliser
from agents.tests import worlds

pytestmark = pytest.mark.filterwarnings("error")
HALF_LIFE = 40.0


def _rows(n: int = 300, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Rows that drift, miss values at random, are constant, or are never known; and their times."""
    rng = np.random.default_rng(seed)
    rows = np.column_stack(
        [rng.normal(size=n).cumsum(), rng.normal(5, 2, n), np.full(n, 0.1), np.full(n, np.nan), rng.normal(size=n)]
    )
    rows[rng.random(n) < 0.2, 1] = np.nan
    rows[:50, 4] = np.nan
    return rows, 1_000_000 + 60 * np.arange(n)


def test_it_equals_pandas_exponential_weights_of_the_rows_before():
    rows, time = _rows()
    found = OnlineNormaliser.fresh(5, HALF_LIFE).apply_series(rows, time)
    table = pd.DataFrame(rows)
    known = table.ewm(halflife=HALF_LIFE, ignore_na=True)
    mean, deviation = known.mean().shift(1), known.var(bias=True).shift(1) ** 0.5
    expected = ((table - mean) / deviation.where(deviation > 1e-9)).clip(-5, 5)
    expected = expected.where(table.notna().cumsum().shift(1) >= LEAST_KNOWN).fillna(0.0)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-9)
    assert (np.abs(found[:, [0, 1, 4]]).max(axis=0) > 1).all()
    assert not found[:, [2, 3]].any()


def test_nothing_later_decides_the_scale_of_a_bar_nor_does_the_bar_itself():
    rows, time = _rows()
    normaliser, t = OnlineNormaliser.fit(rows[:100], time[:100], HALF_LIFE), 200
    other = rows.copy()
    other[t:] = 1e6
    seen, changed = normaliser.apply_series(rows, time), normaliser.apply_series(other, time)
    np.testing.assert_array_equal(seen[:t], changed[:t])
    scale = normaliser.after(rows[:t], time[:t]).scale()
    np.testing.assert_array_equal(scale.apply(rows[t]), seen[t])


def test_bar_by_bar_equals_the_batch_bit_for_bit_also_after_restarts_and_gaps():
    rows, time = _rows()
    fitted = OnlineNormaliser.fit(rows[:100], time[:100], HALF_LIFE)
    batch = fitted.apply_series(rows, time)
    stored = json.dumps(fitted.to_dict())
    live = LiveScale(normalisers.from_dict(json.loads(stored)))
    for t in [*range(100, 140), *range(150, 180), 181, 250, 120, 121, 60, 61, 200]:
        if t % 17 == 0:
            live = LiveScale(normalisers.from_dict(json.loads(stored)))
        scale = live.at(time[: t + 1], rows[t - 1], lambda end=t + 1: rows[:end])
        assert scale.apply(rows[t]).tobytes() == batch[t].tobytes(), t


def test_history_is_asked_for_only_after_a_start_or_a_gap():
    rows, time = _rows()
    live, asked = LiveScale(OnlineNormaliser.fit(rows[:100], time[:100], HALF_LIFE)), []
    for t in (*range(105, 120), 125, 126):
        live.at(time[: t + 1], rows[t - 1], lambda end=t + 1: asked.append(end) or rows[:end])
    assert asked == [106, 126]


def test_the_saved_state_is_where_training_ended_and_goes_on_as_one_pass():
    rows, time = _rows()
    one_pass = OnlineNormaliser.fresh(5, HALF_LIFE).apply_series(rows, time)
    fitted = OnlineNormaliser.fit(rows[:100], time[:100], HALF_LIFE)
    assert fitted.time == time[99]
    assert fitted.apply_series(rows, time).tobytes() == one_pass.tobytes()
    # Older bars imported later change nothing that comes after the saved state.
    older = np.vstack([rows[:100] * 9, rows])
    times = np.concatenate([time[:100] - 1_000_000, time])
    np.testing.assert_array_equal(fitted.apply_series(older, times)[200:], one_pass[100:])


def test_the_state_comes_back_exactly():
    rows, time = _rows()
    fitted = OnlineNormaliser.fit(rows / 3, time, HALF_LIFE)
    again = OnlineNormaliser.from_dict(json.loads(json.dumps(fitted.to_dict())))
    assert (again.half_life, again.time) == (HALF_LIFE, time[-1])
    for name in ("mean", "variance", "weight", "count"):
        assert getattr(again, name).tobytes() == getattr(fitted, name).tobytes()


def test_it_forgets_by_its_half_life():
    # After 40 values of 1 on a long past of 0 the past counts half: the mean is 1/2, the variance 1/4.
    rows = np.concatenate([np.zeros(4_000), np.ones(40)])[:, None]
    scale = OnlineNormaliser.fit(rows, np.arange(4_040), HALF_LIFE).scale()
    np.testing.assert_allclose([scale.centre[0], scale.spread[0]], [0.5, 0.5], rtol=1e-9)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"kind": "online"}, "half_life and time"),
        ({"kind": "online", "half_life": -1.0, "time": 0}, "half_life and time"),
        ({"kind": "online", "half_life": 9.0, "time": 0, "mean": [1.0]}, "mean and variance"),
        (
            {"kind": "online", "half_life": 9.0, "time": 0, "mean": [1], "variance": [-1], "weight": [1], "count": [1]},
            "at least 0",
        ),
    ],
)  # fmt: skip
def test_a_damaged_state_is_refused(values, message):
    with pytest.raises(ValueError, match=message):
        normalisers.from_dict(values)


@pytest.mark.parametrize(("kind", "half_life"), [("rank", 9.0), ("online", 0), ("online", float("nan")), ([], 9.0)])
def test_a_choice_that_makes_no_sense_is_refused(kind, half_life):
    with pytest.raises(ValueError, match="expected"):
        NormaliserChoice(kind, half_life)


@pytest.mark.parametrize("kind", normalisers.KINDS)
def test_only_training_rows_decide_what_is_stored(kind):
    settings = worlds.settings()
    data = worlds.dataset(settings)
    raw, last = data.raw.copy(), data.training.last
    raw[last + 1 :] *= -7.0
    choice = NormaliserChoice(kind)
    one, two = (
        normalisers.fit(choice, rows, data.bars.time, data.training.first, last).to_dict() for rows in (data.raw, raw)
    )
    assert one == two
