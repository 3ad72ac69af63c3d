"""Streaming equals batch, feature by feature, on made-up and on real minute bars with gaps."""

import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from marketdata.features.batch import compute
from marketdata.features.catalogue import CATALOGUE, FeatureList
from marketdata.features.inputs import Inputs
from marketdata.features.streaming import FeatureStream
from marketdata.tests import shared_data
from marketdata.tests.feature_worlds import (
    ALL,
    COLUMNS,
    DAY,
    MINUTE,
    assert_same,
    changed,
    flat,
    part,
    real_minutes,
    sessions,
    streamed,
    vix_days,
    walk,
    world,
)


@pytest.mark.parametrize("warm", [0, 1, 30, 250])
def test_a_stream_gives_what_the_batch_gives_whatever_it_started_with(warm):
    inputs = world(420)
    assert_same(streamed(ALL, inputs, warm), compute(ALL, inputs), ALL.names)


def test_history_gives_exactly_the_batch():
    inputs = world(300)
    rows = FeatureStream(ALL, MINUTE).warm(inputs)
    np.testing.assert_array_equal(rows, compute(ALL, inputs))


@pytest.mark.parametrize(
    ("file", "symbol", "under"),
    [
        ("SPY_1min_201101", "SPY", None),
        ("etf_1min_201912_202001", "TQQQ", "QQQ"),
        ("stocks_1min_201902", "TSLA", "QQQ"),
        ("stocks_1min_201902", "SLV", None),
    ],
)
def test_real_minutes_with_gaps(file, symbol, under):
    bars = real_minutes(file, symbol)
    bars = part(bars, 0, min(len(bars), 5_000))
    underlying = None if under is None else real_minutes(file, under)
    vix = vix_days(bars.time[0], bars.time[-1])
    scores = np.column_stack([bars.time[::97].astype(float), np.sin(np.arange(len(bars.time[::97])))])
    inputs = Inputs(bars, MINUTE, vix, underlying, scores, sessions())
    rows = compute(ALL, inputs)
    assert_same(streamed(ALL, inputs, warm=150), rows, ALL.names)
    known = np.isfinite(rows).any(axis=0)
    missing = {name for name, seen in zip(ALL.names, known, strict=True) if not seen}
    assert missing <= {n for n, d in CATALOGUE.items() if "underlying" in d.needs and underlying is None}


def test_real_days():
    bars = shared_data.bars(shared_data.daily("TQQQ"))
    frame = shared_data.daily("VIX").assign(volume=0.0)
    under = shared_data.bars(shared_data.daily("QQQ"))
    inputs = Inputs(bars, DAY, shared_data.bars(frame), under, None, sessions())
    rows = compute(ALL, inputs)
    assert_same(streamed(ALL, inputs, warm=40), rows, ALL.names)
    beta = rows[-500:, ALL.names.index("underlying_beta_60")]
    assert 2.8 < np.median(beta) < 3.1  # a fund that moves three times QQQ


def test_missing_prices_and_volumes_give_nan_and_later_bars_are_as_if_they_did_not_exist():
    inputs = world(400)
    close, volume = inputs.bars.close.copy(), inputs.bars.volume.copy()
    close[[3, 200, 201]], volume[[10, 210]] = np.nan, np.nan
    broken = Inputs(changed(inputs.bars, close=close, volume=volume), MINUTE)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = compute(ALL, broken)
        assert_same(streamed(ALL, broken, warm=100), rows, ALL.names)
    prices = [n for n, d in CATALOGUE.items() if not d.needs and d.group != "calendar"]
    keep = np.isfinite(close)
    whole = only(broken.bars, keep)
    spec = FeatureList(tuple(prices))
    np.testing.assert_array_equal(compute(spec, broken)[keep], compute(spec, Inputs(whole, MINUTE)))
    assert np.isnan(compute(spec, broken)[~keep]).all()
    volumes = FeatureList(tuple(n for n, d in CATALOGUE.items() if d.needs == {"volume"} and n != "vwap_distance"))
    traded = keep & np.isfinite(volume)
    np.testing.assert_array_equal(
        compute(volumes, broken)[traded], compute(volumes, Inputs(only(broken.bars, traded), MINUTE))
    )


def only(bars, keep):
    return type(bars)(*(getattr(bars, name)[keep] for name in COLUMNS))


@pytest.mark.parametrize("volume", [0.0, 0.3, np.nan])
@pytest.mark.parametrize("n", [0, 1, 2, 25, 300])
def test_a_price_that_never_moves_and_short_series_give_no_warning_and_nothing_infinite(n, volume):
    inputs = Inputs(flat(n, volume=volume), MINUTE, underlying=flat(n, 50.3), sessions=sessions())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = compute(ALL, inputs)
        assert rows.shape == (n, len(ALL))
        assert not np.isinf(rows).any()
        if n:
            assert_same(streamed(ALL, inputs), rows, ALL.names)
    if n == 300:
        last = dict(zip(ALL.names, rows[-1], strict=True))
        assert last["rsi_14"] == 0.0  # as TA-Lib has it
        assert last["return_20"] == 0.0 == last["volatility_20"]
        for name in ("close_z_20", "skew_60", "autocorrelation_60", "hurst_100", "bollinger_position", "ratio_z_60"):
            assert np.isnan(last[name]), name


@given(st.integers(0, 2**31), st.integers(0, 60), st.floats(0.0, 0.3))
@settings(max_examples=15, deadline=None)
def test_any_history_with_missing_bars_streams_as_it_batches(seed, warm, share):
    rng = np.random.default_rng(seed)
    bars = walk(160, seed % 1000)
    gone = rng.random(160) < share
    columns = {name: np.where(gone & (rng.random(160) < 0.7), np.nan, getattr(bars, name)) for name in COLUMNS[1:]}
    inputs = Inputs(changed(bars, **columns), MINUTE, sessions=sessions())
    assert_same(streamed(ALL, inputs, warm), compute(ALL, inputs), ALL.names)


def test_changing_the_future_changes_no_past_value():
    inputs, t = world(400), 300
    factor = np.where(np.arange(400) > t, 1.7, 1.0)
    bars = changed(inputs.bars, **{name: getattr(inputs.bars, name) * factor for name in COLUMNS[1:]})
    moment = inputs.bars.time[t]

    def after(series):
        later = np.where(series.time > moment, 2.0, 1.0)
        return changed(series, **{name: getattr(series, name) * later for name in COLUMNS[1:]})

    scores = inputs.scores.copy()
    scores[scores[:, 0] > moment + MINUTE, 1] = 1.0
    other = Inputs(bars, MINUTE, after(inputs.vix), after(inputs.underlying), scores, inputs.sessions)
    before, now = compute(ALL, inputs), compute(ALL, other)
    np.testing.assert_array_equal(before[: t + 1], now[: t + 1])
    moved = {name for name, a, b in zip(ALL.names, before[t + 1 :].T, now[t + 1 :].T, strict=True) if (a != b).any()}
    assert len(moved) > 80


def test_a_shorter_history_gives_the_same_rows():
    inputs = world(400)
    short = Inputs(part(inputs.bars, 0, 350), MINUTE, inputs.vix, inputs.underlying, inputs.scores, inputs.sessions)
    np.testing.assert_array_equal(compute(ALL, short), compute(ALL, inputs)[:350])


def test_long_series_do_not_drift():
    spec = FeatureList(tuple(n for n, d in CATALOGUE.items() if d.needs <= {"volume"} and d.group != "calendar"))
    n = 200_000
    bars = walk(n, 5, time=1_262_615_400 + MINUTE * np.arange(n), step=3e-4)
    late = compute(spec, Inputs(bars, MINUTE))[-50:]
    fresh = compute(spec, Inputs(part(bars, n - 6_000, n), MINUTE))[-50:]
    size = np.maximum(np.abs(fresh).mean(axis=0), fresh.std(axis=0))
    worst = dict(zip(spec.names, np.abs(late - fresh).max(axis=0) / size, strict=True))
    assert max(worst.values()) < 1e-9, sorted(worst.items(), key=lambda item: -item[1])[:5]


def test_rows_that_come_early_wait_for_the_bar_that_may_know_them():
    inputs = world(300)
    stream = FeatureStream(ALL, MINUTE, inputs.sessions)
    stream._kernels.tell("vix", np.column_stack([inputs.vix.time, inputs.vix.close]))
    stream._kernels.tell("underlying", np.column_stack([inputs.underlying.time, inputs.underlying.close]))
    stream._kernels.tell("scores", inputs.scores)
    bars = inputs.bars
    rows = [stream.update(*(getattr(bars, name)[row].item() for name in COLUMNS)) for row in range(len(bars))]
    assert_same(np.array(rows), compute(ALL, inputs), ALL.names)


def test_misuse_is_refused():
    inputs = world(60)
    stream = FeatureStream(ALL, MINUTE)
    with pytest.raises(ValueError, match="bars of 60 seconds arrived, this stream takes 300"):
        FeatureStream(ALL, 300).warm(inputs)
    stream.warm(inputs)
    with pytest.raises(ValueError, match="has seen bars already"):
        stream.warm(inputs)
    with pytest.raises(ValueError, match="does not come after"):
        stream.update(int(inputs.bars.time[-1]), 1.0, 1.0, 1.0, 1.0, 1.0)
    with pytest.raises(ValueError, match=r"expected \(K, 2\)"):
        stream.update(int(inputs.bars.time[-1]) + 60, 1.0, 1.0, 1.0, 1.0, 1.0, vix=np.zeros((2, 3)))
