"""Features of prices and of volume that TA-Lib lacks: one compiled update, over a whole series or one bar at a time.

Both executions call the same function: a stream hands over one bar, a batch hands over all, so they cannot differ.
Windows are kept in rings and summed anew at every bar, in eight partial sums: the work per bar is fixed, and nothing
drifts however long the series is. Bars are rows of `bars`: time, open, high, low, close, volume. A bar without its
prices (not finite, or not above 0) leaves the state alone and its row NaN; so does, for features of volume, a bar
without a volume. What cannot be computed (a share of nothing, the skew of a constant) is NaN, never infinite.

All compiled functions and the indices they use stay in this one file on purpose: numba's cache on disk notices a
change of the file a function is in, not of the files it calls into or takes constants from.
"""

import math

import numpy as np
from numba import njit

OPEN, HIGH, LOW, CLOSE, VOLUME = 1, 2, 3, 4, 5  # columns of `bars`
LOG_2 = math.log(2.0)
SIZE = 128  # bars a ring remembers; the longest window must fit
TINY = 1e-12  # a spread this small, seen from its level, is rounding: the series is constant

PRICE_NAMES = (
    "return_1", "return_5", "return_20", "return_60", "return_120",
    "open_gap", "bar_return", "close_location", "upper_shadow", "lower_shadow",
    "volatility_20", "volatility_60", "volatility_ratio", "ewma_volatility", "downside_volatility_60",
    "parkinson_20", "garman_klass_20", "rogers_satchell_20", "yang_zhang_20", "jump_share_60",
    "return_z_60", "close_z_20", "close_z_60", "skew_60", "kurtosis_60",
    "autocorrelation_60", "clustering_60", "variance_ratio_60", "hurst_100", "up_share_20",
    "linear_slope_20", "linear_fit_20", "largest_rise_20", "largest_fall_20", "streak",
)  # fmt: skip
(
    RETURN_1, RETURN_5, RETURN_20, RETURN_60, RETURN_120,
    OPEN_GAP, BAR_RETURN, CLOSE_LOCATION, UPPER_SHADOW, LOWER_SHADOW,
    VOLATILITY_20, VOLATILITY_60, VOLATILITY_RATIO, EWMA_VOLATILITY, DOWNSIDE_VOLATILITY_60,
    PARKINSON_20, GARMAN_KLASS_20, ROGERS_SATCHELL_20, YANG_ZHANG_20, JUMP_SHARE_60,
    RETURN_Z_60, CLOSE_Z_20, CLOSE_Z_60, SKEW_60, KURTOSIS_60,
    AUTOCORRELATION_60, CLUSTERING_60, VARIANCE_RATIO_60, HURST_100, UP_SHARE_20,
    LINEAR_SLOPE_20, LINEAR_FIT_20, LARGEST_RISE_20, LARGEST_FALL_20, STREAK,
) = range(len(PRICE_NAMES))  # fmt: skip
VOLUME_NAMES = (
    "volume_z_20", "relative_volume_20", "vwma_20", "on_balance_20", "return_volume_correlation_60", "illiquidity_20",
    "vwap_distance",
)  # fmt: skip
(
    VOLUME_Z_20, RELATIVE_VOLUME_20, VWMA_20, ON_BALANCE_20, RETURN_VOLUME_CORRELATION_60, ILLIQUIDITY_20,
    VWAP_DISTANCE,
) = range(len(VOLUME_NAMES))  # fmt: skip

# The state is one array: first the memory, then rings of twice SIZE numbers; a row is where a ring begins.
N_BARS, LAST_CLOSE, VARIANCE, RUN, SCALE, SESSION, MONEY, UNITS, N_MEMORY = range(9)
ROWS = [N_MEMORY + 2 * SIZE * row for row in range(10)]
R_CLOSE, R_RETURN, R_CHANGE, R_SIZE, R_RANGE, R_GARMAN, R_ROGERS, R_NIGHT, R_BODY, END = ROWS
V_VOLUME, V_SIGNED, V_RETURN, V_IMPACT, V_MONEY = ROWS[:5]
DECAY = 0.94  # of the exponential volatility, RiskMetrics' daily value


def price_state(scale: float) -> np.ndarray:
    """State of a stream that has seen nothing. scale: what turns volatility per bar into one per year."""
    state = np.zeros(END)
    state[SCALE] = scale
    return state


def volume_state() -> np.ndarray:
    """State of a stream that has seen nothing."""
    return np.zeros(END)


@njit(cache=True)
def _usable(bars, t):
    """Whether all four prices are known and above 0."""
    for column in range(OPEN, CLOSE + 1):  # noqa: SIM110 - compiled code knows no generators
        if not (bars[t, column] > 0.0 and math.isfinite(bars[t, column])):
            return False
    return True


@njit(cache=True)
def _push(s, row, place, value):
    # Twice, so that every window ending at the newest bar is one piece of memory.
    s[row + place] = value
    s[row + place + SIZE] = value


@njit(cache=True)
def _last(row, place, length):
    """Where the newest `length` values begin."""
    return row + place + SIZE - length + 1


@njit(cache=True)
def _sum(s, at, n):
    """Eight partial sums, the order in which numpy adds up short rows."""
    total = 0.0
    whole = 0
    if n >= 8:
        a, b, c, d = s[at], s[at + 1], s[at + 2], s[at + 3]
        e, f, g, h = s[at + 4], s[at + 5], s[at + 6], s[at + 7]
        whole = n - n % 8
        for i in range(at + 8, at + whole, 8):
            a += s[i]
            b += s[i + 1]
            c += s[i + 2]
            d += s[i + 3]
            e += s[i + 4]
            f += s[i + 5]
            g += s[i + 6]
            h += s[i + 7]
        total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(at + whole, at + n):
        total += s[i]
    return total


@njit(cache=True)
def _squares(s, at, n, mean):
    """Sum of squared distances from the mean, added up in the order of _sum."""
    a = b = c = d = e = f = g = h = 0.0
    whole = n - n % 8
    for i in range(at, at + whole, 8):
        a += (s[i] - mean) ** 2
        b += (s[i + 1] - mean) ** 2
        c += (s[i + 2] - mean) ** 2
        d += (s[i + 3] - mean) ** 2
        e += (s[i + 4] - mean) ** 2
        f += (s[i + 5] - mean) ** 2
        g += (s[i + 6] - mean) ** 2
        h += (s[i + 7] - mean) ** 2
    total = ((a + b) + (c + d)) + ((e + f) + (g + h))
    for i in range(at + whole, at + n):
        total += (s[i] - mean) ** 2
    return total


@njit(cache=True)
def _products(s, x, mean_x, y, mean_y, n):
    """Sum of the products of distances from the means; n a multiple of 4."""
    a = b = c = d = 0.0
    for i in range(0, n, 4):
        a += (s[x + i] - mean_x) * (s[y + i] - mean_y)
        b += (s[x + i + 1] - mean_x) * (s[y + i + 1] - mean_y)
        c += (s[x + i + 2] - mean_x) * (s[y + i + 2] - mean_y)
        d += (s[x + i + 3] - mean_x) * (s[y + i + 3] - mean_y)
    return (a + b) + (c + d)


@njit(cache=True, error_model="numpy")
def _deviation(s, at, n):
    """Sample standard deviation."""
    return math.sqrt(_squares(s, at, n, _sum(s, at, n) / n) / (n - 1))


@njit(cache=True, error_model="numpy")
def _score(s, at, n):
    """How many sample deviations the newest value lies from the mean; NaN for a constant."""
    mean = _sum(s, at, n) / n
    deviation = math.sqrt(_squares(s, at, n, mean) / (n - 1))
    newest = s[at + n - 1]
    return (newest - mean) / deviation if deviation > TINY * max(abs(mean), abs(newest)) else math.nan


@njit(cache=True, error_model="numpy")
def _correlation(s, x, y, n, size_x, size_y):
    """Pearson's, of the values from `x` and from `y` on; NaN if either, seen from its size, is constant."""
    mean_x, mean_y = _sum(s, x, n) / n, _sum(s, y, n) / n
    spread_x, spread_y = _squares(s, x, n, mean_x), _squares(s, y, n, mean_y)
    if spread_x <= n * (TINY * size_x) ** 2 or spread_y <= n * (TINY * size_y) ** 2:
        return math.nan
    return _products(s, x, mean_x, y, mean_y, n) / math.sqrt(spread_x * spread_y)


@njit(cache=True, error_model="numpy")
def _prices_in(s, place, opened, high, low, close):
    """Put one bar into the rings."""
    first = s[N_BARS] == 0
    last = s[LAST_CLOSE]
    change = 0.0 if first else close / last - 1.0
    up, down, body = math.log(high / opened), math.log(low / opened), math.log(close / opened)
    log_change = 0.0 if first else math.log(close / last)
    _push(s, R_CLOSE, place, close)
    _push(s, R_RETURN, place, change)
    _push(s, R_CHANGE, place, log_change)
    _push(s, R_SIZE, place, abs(change))
    _push(s, R_RANGE, place, (up - down) ** 2)
    _push(s, R_GARMAN, place, 0.5 * (up - down) ** 2 - (2.0 * LOG_2 - 1.0) * body * body)
    _push(s, R_ROGERS, place, (up - body) * up + (down - body) * down)
    _push(s, R_NIGHT, place, log_change - body)
    _push(s, R_BODY, place, body)
    if not first:
        # Its start is the mean of the first twenty squares, as averages start in TA-Lib.
        if s[N_BARS] <= 20:
            s[VARIANCE] += change * change / 20.0
        else:
            s[VARIANCE] = DECAY * s[VARIANCE] + (1.0 - DECAY) * change * change
        if close > last:
            s[RUN] = s[RUN] + 1.0 if s[RUN] > 0 else 1.0
        elif close < last:
            s[RUN] = s[RUN] - 1.0 if s[RUN] < 0 else -1.0
        else:
            s[RUN] = 0.0
    s[LAST_CLOSE] = close
    s[N_BARS] += 1


@njit(cache=True, error_model="numpy")
def _returns_and_shape(s, place, n, opened, high, low, close, last, values):
    lengths = (1, 5, 20, 60, 120)
    for i in range(5):
        if n > lengths[i]:
            values[RETURN_1 + i] = close / s[R_CLOSE + place + SIZE - lengths[i]] - 1.0
    values[BAR_RETURN] = close / opened - 1.0
    if n > 1:
        values[OPEN_GAP] = opened / last - 1.0
        values[STREAK] = s[RUN]
    if high > low:
        values[CLOSE_LOCATION] = (close - low) / (high - low)
        values[UPPER_SHADOW] = (high - max(opened, close)) / (high - low)
        values[LOWER_SHADOW] = (min(opened, close) - low) / (high - low)


@njit(cache=True, error_model="numpy")
def _volatilities(s, place, n_returns, want, values):
    if n_returns >= 20 and (want[VOLATILITY_20] or want[EWMA_VOLATILITY] or want[VOLATILITY_RATIO]):
        short = _deviation(s, _last(R_RETURN, place, 20), 20)
        values[VOLATILITY_20] = short * s[SCALE]
        values[EWMA_VOLATILITY] = math.sqrt(s[VARIANCE]) * s[SCALE]
        if n_returns >= 120 and want[VOLATILITY_RATIO]:
            long = _deviation(s, _last(R_RETURN, place, 120), 120)
            values[VOLATILITY_RATIO] = short / long if long > TINY else math.nan
    if n_returns < 60:
        return
    at = _last(R_RETURN, place, 60)
    if want[VOLATILITY_60]:
        values[VOLATILITY_60] = _deviation(s, at, 60) * s[SCALE]
    if want[DOWNSIDE_VOLATILITY_60]:
        one = two = 0.0
        for i in range(at, at + 60, 2):
            one += min(s[i], 0.0) ** 2
            two += min(s[i + 1], 0.0) ** 2
        values[DOWNSIDE_VOLATILITY_60] = math.sqrt((one + two) / 60.0) * s[SCALE]
    if want[JUMP_SHARE_60]:
        at = _last(R_CHANGE, place, 60)
        one, two = abs(s[at] * s[at + 1]), 0.0
        for i in range(at + 1, at + 59, 2):
            one += abs(s[i] * s[i + 1])
            two += abs(s[i + 1] * s[i + 2])
        smooth = math.pi / 2.0 * (one + two) * 60.0 / 59.0
        whole = _squares(s, at, 60, 0.0)
        values[JUMP_SHARE_60] = 1.0 - smooth / whole if whole > 60.0 * TINY * TINY else math.nan


@njit(cache=True, error_model="numpy")
def _ranges(s, place, n, want, values):
    """Volatility from whole bars, which say more than closes alone."""
    if n < 20:
        return
    if want[PARKINSON_20]:
        values[PARKINSON_20] = math.sqrt(_sum(s, _last(R_RANGE, place, 20), 20) / (80.0 * LOG_2)) * s[SCALE]
    if want[GARMAN_KLASS_20]:
        values[GARMAN_KLASS_20] = math.sqrt(max(_sum(s, _last(R_GARMAN, place, 20), 20) / 20.0, 0.0)) * s[SCALE]
    if want[ROGERS_SATCHELL_20] or want[YANG_ZHANG_20]:
        rogers = max(_sum(s, _last(R_ROGERS, place, 20), 20) / 20.0, 0.0)
        values[ROGERS_SATCHELL_20] = math.sqrt(rogers) * s[SCALE]
        if n > 20 and want[YANG_ZHANG_20]:
            night = _deviation(s, _last(R_NIGHT, place, 20), 20)
            body = _deviation(s, _last(R_BODY, place, 20), 20)
            share = 0.34 / (1.34 + 21.0 / 19.0)
            values[YANG_ZHANG_20] = math.sqrt(night * night + share * body * body + (1.0 - share) * rogers) * s[SCALE]


@njit(cache=True, error_model="numpy")
def _moments(s, place, values):
    """Skew and excess kurtosis without bias, as pandas has them."""
    at = _last(R_RETURN, place, 60)
    mean = _sum(s, at, 60) / 60.0
    second = _squares(s, at, 60, mean) / 60.0
    if second <= TINY * TINY:
        return
    a = b = c = d = 0.0
    for i in range(at, at + 60, 2):
        left, right = s[i] - mean, s[i + 1] - mean
        left_square, right_square = left * left, right * right
        a += left_square * left
        b += right_square * right
        c += left_square * left_square
        d += right_square * right_square
    third, fourth = (a + b) / 60.0, (c + d) / 60.0
    values[SKEW_60] = math.sqrt(60.0 * 59.0) / 58.0 * third / (second * math.sqrt(second))
    values[KURTOSIS_60] = 59.0 / (58.0 * 57.0) * (61.0 * fourth / (second * second) - 3.0 * 59.0)
    values[RETURN_Z_60] = (s[at + 59] - mean) / math.sqrt(second * 60.0 / 59.0)


@njit(cache=True, error_model="numpy")
def _variance_ratio(s, place):
    """Variance of 5-bar over five times that of 1-bar log returns; source: Lo and MacKinlay, RFS, 1988."""
    at = _last(R_CHANGE, place, 60)
    mean = _sum(s, at, 60) / 60.0
    one = _squares(s, at, 60, mean) / 59.0
    odd = even = 0.0
    for i in range(at, at + 56, 2):
        middle = (s[i + 1] + s[i + 2]) + (s[i + 3] + s[i + 4]) - 5.0 * mean
        even += (s[i] + middle) ** 2
        odd += (middle + s[i + 5]) ** 2
    five = (even + odd) / (5.0 * 56.0 * (1.0 - 5.0 / 60.0))
    return five / one if one > TINY * TINY else math.nan


@njit(cache=True, error_model="numpy")
def _hurst(s, place):
    """Exponent of the rescaled range over 100 log returns; source: Hurst, Transactions ASCE, 1951."""
    at = _last(R_CHANGE, place, 100)
    mean = _sum(s, at, 100) / 100.0
    deviation = math.sqrt(_squares(s, at, 100, mean) / 100.0)
    total = low = high = 0.0
    for i in range(at, at + 100):
        total += s[i] - mean
        low, high = min(low, total), max(high, total)
    return math.log((high - low) / deviation) / math.log(100.0) if deviation > TINY else math.nan


@njit(cache=True, error_model="numpy")
def _line(s, place, c, values):
    """Straight line through the last 20 closes: rise per bar as a share of the close, and how well it fits."""
    at = _last(R_CLOSE, place, 20)
    mean = _sum(s, at, 20) / 20.0
    total = _squares(s, at, 20, mean)
    left = right = 0.0
    for i in range(10):
        left += (i - 9.5) * (s[at + i] - mean)
        right += (i + 0.5) * (s[at + i + 10] - mean)
    slope = (left + right) / 665.0  # the sum of (i - 9.5) squared
    values[LINEAR_SLOPE_20] = slope / c
    if total > 20.0 * (TINY * mean) ** 2:
        values[LINEAR_FIT_20] = min(slope * slope * 665.0 / total, 1.0)


@njit(cache=True, error_model="numpy")
def _levels(s, place, n, c, want, values):
    if n >= 20:
        if want[CLOSE_Z_20]:
            values[CLOSE_Z_20] = _score(s, _last(R_CLOSE, place, 20), 20)
        if want[LINEAR_SLOPE_20] or want[LINEAR_FIT_20]:
            _line(s, place, c, values)
    if n >= 60 and want[CLOSE_Z_60]:
        values[CLOSE_Z_60] = _score(s, _last(R_CLOSE, place, 60), 60)
    if n > 20 and (want[UP_SHARE_20] or want[LARGEST_RISE_20] or want[LARGEST_FALL_20]):
        at = _last(R_RETURN, place, 20)
        rises, best, worst = 0, s[at], s[at]
        for i in range(at, at + 20):
            rises += s[i] > 0.0
            best, worst = max(best, s[i]), min(worst, s[i])
        values[UP_SHARE_20], values[LARGEST_RISE_20], values[LARGEST_FALL_20] = rises / 20.0, best, worst


@njit(cache=True, error_model="numpy")
def _statistics(s, place, n_returns, want, values):
    if n_returns >= 60:
        if want[SKEW_60] or want[KURTOSIS_60] or want[RETURN_Z_60]:
            _moments(s, place, values)
        if want[VARIANCE_RATIO_60]:
            values[VARIANCE_RATIO_60] = _variance_ratio(s, place)
    if n_returns >= 61:
        if want[AUTOCORRELATION_60]:
            values[AUTOCORRELATION_60] = _lagged(s, R_RETURN, place)
        if want[CLUSTERING_60]:
            values[CLUSTERING_60] = _lagged(s, R_SIZE, place)
    if n_returns >= 100 and want[HURST_100]:
        values[HURST_100] = _hurst(s, place)


@njit(cache=True)
def _lagged(s, row, place):
    """Correlation of 60 values with those one bar before them; NaN where nothing moves."""
    now = _last(row, place, 60)
    return _correlation(s, now, now - 1, 60, 1.0, 1.0)


@njit(cache=True)
def _write(values, columns, out, t):
    for k in range(len(values)):
        if columns[k] >= 0 and math.isfinite(values[k]):
            out[t, columns[k]] = values[k]


@njit(cache=True)
def price_run(s, bars, columns, out):
    """Take every bar in turn and write the wanted features.

    s: from price_state, changed in place; bars: (T, 6); columns: (35,) int64, where in a row of `out` each of
    PRICE_NAMES goes, -1 for not wanted; out: (T, n), NaN before.
    """
    values = np.empty(len(columns))
    want = columns >= 0
    for t in range(len(bars)):
        if not _usable(bars, t):
            continue
        opened, high, low, close = bars[t, OPEN], bars[t, HIGH], bars[t, LOW], bars[t, CLOSE]
        last, place = s[LAST_CLOSE], int(s[N_BARS]) % SIZE
        _prices_in(s, place, opened, high, low, close)
        n = int(s[N_BARS])
        values[:] = math.nan
        _returns_and_shape(s, place, n, opened, high, low, close, last, values)
        _volatilities(s, place, n - 1, want, values)
        _ranges(s, place, n, want, values)
        _levels(s, place, n, close, want, values)
        _statistics(s, place, n - 1, want, values)
        _write(values, columns, out, t)


@njit(cache=True, error_model="numpy")
def _impact(s, at, length):
    """Mean of the known price impacts; NaN without any."""
    total, known = 0.0, 0
    for i in range(at, at + length):
        if math.isfinite(s[i]):
            total += s[i]
            known += 1
    return total / known if known else math.nan


@njit(cache=True, error_model="numpy")
def _volume_in(s, place, close, typical, volume, session):
    """Put one bar into the rings and into the session's average price."""
    first = s[N_BARS] == 0
    change = 0.0 if first else close / s[LAST_CLOSE] - 1.0
    _push(s, V_VOLUME, place, volume)
    _push(s, V_SIGNED, place, volume if change > 0.0 else -volume if change < 0.0 else 0.0)
    _push(s, V_RETURN, place, change)
    _push(s, V_MONEY, place, close * volume)
    _push(s, V_IMPACT, place, math.nan if first or volume == 0.0 else abs(change) / (close * volume))
    if first or s[SESSION] != session:
        s[SESSION], s[MONEY], s[UNITS] = session, 0.0, 0.0
    s[MONEY] += typical * volume
    s[UNITS] += volume
    s[LAST_CLOSE] = close
    s[N_BARS] += 1


@njit(cache=True, error_model="numpy")
def volume_run(s, bars, session, columns, out):
    """Take every bar in turn and write the wanted features of volume.

    s: from volume_state; bars: (T, 6); session: (T,) what a bar's average price is counted in: it starts again where
    this changes; columns: (7,) int64 as in price_run; out: (T, n), NaN before.
    """
    values = np.empty(len(columns))
    for t in range(len(bars)):
        volume, c = bars[t, VOLUME], bars[t, CLOSE]
        if not (_usable(bars, t) and math.isfinite(volume) and volume >= 0.0):
            continue
        place = int(s[N_BARS]) % SIZE
        _volume_in(s, place, c, (bars[t, HIGH] + bars[t, LOW] + c) / 3.0, volume, session[t])
        n = int(s[N_BARS])
        values[:] = math.nan
        values[VWAP_DISTANCE] = c / (s[MONEY] / s[UNITS]) - 1.0
        at = _last(V_VOLUME, place, 20)
        if n >= 20:
            total = _sum(s, at, 20)
            values[VOLUME_Z_20] = _score(s, at, 20)
            values[VWMA_20] = c * total / _sum(s, _last(V_MONEY, place, 20), 20) - 1.0
        if n > 20:
            values[ON_BALANCE_20] = _sum(s, _last(V_SIGNED, place, 20), 20) / total
            values[RELATIVE_VOLUME_20] = 20.0 * volume / _sum(s, at - 1, 20)
        if n > 60 and columns[RETURN_VOLUME_CORRELATION_60] >= 0:
            at = _last(V_RETURN, place, 60)
            volumes = _last(V_VOLUME, place, 60)
            size = _sum(s, volumes, 60) / 60.0
            values[RETURN_VOLUME_CORRELATION_60] = _correlation(s, at, volumes, 60, 1.0, size)
        if n > 100 and columns[ILLIQUIDITY_20] >= 0:
            usual = _impact(s, _last(V_IMPACT, place, 100), 100)
            values[ILLIQUIDITY_20] = _impact(s, _last(V_IMPACT, place, 20), 20) / usual - 1.0
        _write(values, columns, out, t)
