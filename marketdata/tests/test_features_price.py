"""Features of prices and volume calculated here, against pandas, scipy and slow formulas written down again."""

import numpy as np
import pandas as pd
import pytest
import talib
from scipy import stats

from marketdata.features.batch import compute
from marketdata.features.catalogue import FeatureList
from marketdata.features.inputs import Inputs
from marketdata.features.own_features import PRICE, VOLUME
from marketdata.series import BarSeries
from marketdata.tests.feature_worlds import DAY, MINUTE, changed, flat, sessions, walk

BARS = walk(700, 6)
OPEN, H, L, C, V = (pd.Series(getattr(BARS, name)) for name in ("open", "high", "low", "close", "volume"))
R, LOGS = C.pct_change(), np.log(C).diff()
YEAR = np.sqrt(252 * 390)  # minutes of a year of 252 sessions of six and a half hours
SPAN, BODY, NIGHT = np.log(H / L), np.log(C / OPEN), np.log(OPEN / C.shift())
GARMAN = 0.5 * SPAN**2 - (2 * np.log(2) - 1) * BODY**2
ROGERS = np.log(H / C) * np.log(H / OPEN) + np.log(L / C) * np.log(L / OPEN)
SIGN = np.sign(R.fillna(0.0))


def _ewma() -> pd.Series:
    values, variance = [np.nan] * 20, float((R[1:21] ** 2).mean())
    values.append(variance)
    for change in R[21:]:
        variance = 0.94 * variance + 0.06 * change**2
        values.append(variance)
    return pd.Series(values) ** 0.5


def _yang_zhang() -> pd.Series:
    share = 0.34 / (1.34 + 21 / 19)
    variance = NIGHT.rolling(20).var() + share * BODY.rolling(20).var() + (1 - share) * ROGERS.rolling(20).mean()
    return variance**0.5


def _jumps(window: np.ndarray) -> float:
    smooth = np.pi / 2 * np.sum(np.abs(window[1:] * window[:-1])) * 60 / 59
    return 1 - smooth / np.sum(window**2)


def _variance_ratio(window: np.ndarray) -> float:
    mean, fives = window.mean(), np.convolve(window, np.ones(5), "valid")
    return np.sum((fives - 5 * mean) ** 2) / (5 * 56 * (1 - 5 / 60)) / window.var(ddof=1)


def _hurst(window: np.ndarray) -> float:
    path = np.cumsum(window - window.mean())
    return np.log((max(path.max(), 0) - min(path.min(), 0)) / window.std()) / np.log(100)


def _slope(window: np.ndarray) -> float:
    return stats.linregress(np.arange(20), window).slope / window[-1]


def _fit(window: np.ndarray) -> float:
    return stats.linregress(np.arange(20), window).rvalue ** 2


def _streak() -> list[float]:
    runs, run = [np.nan], 0
    for change in np.diff(C):
        up = int(np.sign(change))
        run = 0 if up == 0 else run + up if run * up > 0 else up
        runs.append(float(run))
    return runs


def _impact() -> pd.Series:
    impact = (R.abs() / (C * V)).where(V > 0)
    return impact.rolling(20, min_periods=1).mean() / impact.rolling(100, min_periods=1).mean() - 1


def _vwap() -> pd.Series:
    typical = (H + L + C) / 3
    known = sessions()
    day = np.searchsorted(known.opens, BARS.time, side="right")
    money, units = (typical * V).groupby(day).cumsum(), V.groupby(day).cumsum()
    return C / (money / units) - 1


EXPECTED = {
    **{f"return_{n}": C.pct_change(n) for n in (1, 5, 20, 60, 120)},
    "open_gap": OPEN / C.shift() - 1,
    "bar_return": C / OPEN - 1,
    "close_location": (C - L) / (H - L),
    "upper_shadow": (H - np.maximum(OPEN, C)) / (H - L),
    "lower_shadow": (np.minimum(OPEN, C) - L) / (H - L),
    "streak": _streak(),
    "volatility_20": R.rolling(20).std() * YEAR,
    "volatility_60": R.rolling(60).std() * YEAR,
    "volatility_ratio": R.rolling(20).std() / R.rolling(120).std(),
    "ewma_volatility": _ewma() * YEAR,
    "downside_volatility_60": np.sqrt((R.clip(upper=0) ** 2).rolling(60).mean()) * YEAR,
    "parkinson_20": np.sqrt((SPAN**2).rolling(20).mean() / (4 * np.log(2))) * YEAR,
    "garman_klass_20": np.sqrt(GARMAN.rolling(20).mean()) * YEAR,
    "rogers_satchell_20": np.sqrt(ROGERS.rolling(20).mean()) * YEAR,
    "yang_zhang_20": _yang_zhang() * YEAR,
    "jump_share_60": LOGS.rolling(60).apply(_jumps, raw=True),
    "return_z_60": (R - R.rolling(60).mean()) / R.rolling(60).std(),
    "close_z_20": (C - C.rolling(20).mean()) / C.rolling(20).std(),
    "close_z_60": (C - C.rolling(60).mean()) / C.rolling(60).std(),
    "skew_60": R.rolling(60).apply(lambda w: stats.skew(w, bias=False), raw=True),
    "kurtosis_60": R.rolling(60).apply(lambda w: stats.kurtosis(w, bias=False), raw=True),
    "autocorrelation_60": R.rolling(60).corr(R.shift()),
    "clustering_60": R.abs().rolling(60).corr(R.abs().shift()),
    "variance_ratio_60": LOGS.rolling(60).apply(_variance_ratio, raw=True),
    "hurst_100": LOGS.rolling(100).apply(_hurst, raw=True),
    "up_share_20": (R > 0).where(R.notna()).astype(float).rolling(20).mean(),
    "linear_slope_20": C.rolling(20).apply(_slope, raw=True),
    "linear_fit_20": C.rolling(20).apply(_fit, raw=True),
    "largest_rise_20": R.rolling(20).max(),
    "largest_fall_20": R.rolling(20).min(),
    "volume_z_20": (V - V.rolling(20).mean()) / V.rolling(20).std(),
    "relative_volume_20": talib.RVOL(BARS.volume, 20),
    "vwma_20": BARS.close / talib.VWMA(BARS.close, BARS.volume, 20) - 1,
    "on_balance_20": (SIGN * V).rolling(20).sum().where(R.rolling(20).count() == 20) / V.rolling(20).sum(),
    "return_volume_correlation_60": R.rolling(60).corr(V),
    "illiquidity_20": _impact().where(R.rolling(100).count() == 100),
    "vwap_distance": _vwap(),
}


def test_every_one_is_checked():
    assert set(EXPECTED) == set(PRICE) | set(VOLUME)


@pytest.mark.parametrize("name", EXPECTED)
def test_a_feature_equals_its_slow_reference(name):
    found = compute(FeatureList((name,)), Inputs(BARS, MINUTE, sessions=sessions()))[:, 0]
    expected = np.asarray(EXPECTED[name], dtype=float)
    np.testing.assert_array_equal(np.isnan(found), np.isnan(expected))
    size = np.nanmedian(np.abs(expected))
    np.testing.assert_allclose(found, expected, rtol=1e-8, atol=1e-9 * size, equal_nan=True)


def test_features_asked_for_together_equal_those_asked_for_alone():
    names = tuple(EXPECTED)
    inputs = Inputs(BARS, MINUTE, sessions=sessions())
    together = compute(FeatureList(names), inputs)
    for column, name in enumerate(names):
        np.testing.assert_array_equal(together[:, column], compute(FeatureList((name,)), inputs)[:, 0])


def test_without_a_volume_features_of_volume_are_nan_or_zero():
    for volume in (0.0, np.nan):
        silent = Inputs(changed(BARS, volume=np.full(len(BARS), volume)), MINUTE)
        rows = compute(FeatureList(tuple(VOLUME)), silent)
        assert np.isnan(rows).all()
    with_talib = FeatureList(("mfi_14", "cmf_20", "volume_oscillator"))
    rows = compute(with_talib, Inputs(changed(BARS, volume=np.zeros(len(BARS))), MINUTE))
    assert (np.isnan(rows) | (rows == 0.0)).all()


def test_a_pause_in_trading_leaves_nothing_that_rounding_makes():
    # Fractions of a coin, then nothing for 30 bars: what running sums keep of it must not be taken for money.
    volume = np.random.default_rng(8).random(len(BARS))
    volume[100:130] = 0.0
    names = ("vwma_20", "relative_volume_20", "cmf_20", "mfi_14")
    rows = compute(FeatureList(names), Inputs(changed(BARS, volume=volume), MINUTE))
    assert np.nanmax(np.abs(rows[:, 0])) < 0.2
    assert np.isnan(rows[125, :2]).all()
    assert np.nanmax(rows[:, 1]) < 25.0  # the first trade after it, against the one bar in 20 before it
    assert np.nanmax(np.abs(rows[:, 2])) <= 1.0
    assert np.nanmin(rows[:, 3]) >= 0.0
    assert np.nanmax(rows[:, 3]) <= 100.0


def test_volatility_per_year_knows_the_interval():
    spec = FeatureList(("volatility_20",))
    minute, day = (compute(spec, Inputs(BARS, seconds))[-1, 0] for seconds in (MINUTE, DAY))
    # 390 minutes make a session, so a year has 390 times as many
    assert minute / day == pytest.approx(np.sqrt(390))


def test_values_by_hand():
    close = np.array([100.0, 110.0, 99.0, 99.0, 108.9])
    bars = BarSeries(np.arange(5) * 60, close, close * 1.1, close * 0.9, close, np.array([10.0, 20.0, 30.0, 0.0, 40.0]))
    rows = compute(FeatureList(("return_1", "streak", "vwap_distance")), Inputs(bars, MINUTE))
    # +10 %, -10 %, 0, +10 %; typical price is the close, so the average price is 6,170 over 60 after three bars
    np.testing.assert_allclose(rows[1:, 0], [0.1, -0.1, 0.0, 0.1], atol=1e-12)
    np.testing.assert_array_equal(rows[1:, 1], [1.0, -1.0, 0.0, 1.0])
    assert rows[2, 2] == pytest.approx(99.0 / ((100 * 10 + 110 * 20 + 99 * 30) / 60) - 1)


def test_a_constant_has_no_shape():
    rows = compute(FeatureList(("close_z_20", "volume_z_20", "close_location")), Inputs(flat(100, volume=7.0), MINUTE))
    assert np.isnan(rows).all()
