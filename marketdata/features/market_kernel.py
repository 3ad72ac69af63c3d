"""Features of the calendar, of other series and of the news: one compiled update for whole series and single bars.

As in price_kernel.py a stream hands over one bar and a batch hands over all. Rows of the other series that are known
at a bar are taken before it: bars of the VIX by session, bars of the underlying by time, scores by when they were
known. All compiled functions and the indices they use stay in this one file on purpose, because of numba's cache.
"""

import math

import numpy as np
from numba import njit

DAY = 86_400
TIME, CLOSE = 0, 4  # columns of `bars`
OPEN = 1
TINY = 1e-12
VIX_MAX_SESSIONS = 5  # how long the last known VIX is carried forward
VIX_MAX_DAYS = 10  # the same in calendar days, for a series that ended before the bars begin
UNDERLYING_MAX_BARS = 5  # how long the last known bar of the underlying is carried forward
LENGTH = 60  # bars of beta, correlation and ratio
MOST_MISSING = 15  # of these may lack the underlying
N_VIX = 20  # sessions of the VIX's mean

CALENDAR_NAMES = (
    "session_minute", "minutes_to_close", "half_day", "day_sin", "day_cos", "week_sin", "week_cos", "month_sin",
    "month_cos", "turn_of_month", "bar_gap",
)  # fmt: skip
(
    SESSION_MINUTE, MINUTES_TO_CLOSE, HALF_DAY, DAY_SIN, DAY_COS, WEEK_SIN, WEEK_COS, MONTH_SIN, MONTH_COS,
    TURN_OF_MONTH, BAR_GAP,
) = range(len(CALENDAR_NAMES))  # fmt: skip
S_DAY, S_OPENS, S_CLOSES, S_HALF = range(4)  # columns of `sessions`

CROSS_NAMES = (
    "vix", "vix_change_1", "vix_change_5", "vix_distance_20", "vix_premium",
    "underlying_return_1", "underlying_return_5", "underlying_return_20", "underlying_volatility_20",
    "underlying_beta_60", "underlying_correlation_60", "underlying_residual", "relative_return_20", "ratio_z_60",
    "leverage_decay_20",
)  # fmt: skip
(
    VIX, VIX_CHANGE_1, VIX_CHANGE_5, VIX_DISTANCE_20, VIX_PREMIUM,
    UNDERLYING_RETURN_1, UNDERLYING_RETURN_5, UNDERLYING_RETURN_20, UNDERLYING_VOLATILITY_20,
    UNDERLYING_BETA_60, UNDERLYING_CORRELATION_60, UNDERLYING_RESIDUAL, RELATIVE_RETURN_20, RATIO_Z_60,
    LEVERAGE_DECAY_20,
) = range(len(CROSS_NAMES))  # fmt: skip
# The state of cross_run: these, then the last days of the bars, the last closes of the VIX, and rings.
INTERVAL, SCALE, N_BARS, N_DAYS, N_SEEN, VIX_DAY, OTHER_TIME, OTHER_CLOSE, N_MEMORY = range(9)
SIZE = 64  # bars a ring remembers
DAYS = N_MEMORY
VIX_RING = DAYS + VIX_MAX_SESSIONS + 1
R_CLOSE, R_OTHER, R_RETURN, R_OTHER_RETURN, R_RATIO, END = (VIX_RING + N_VIX + 2 * SIZE * row for row in range(6))

SENTIMENT_NAMES = ("sentiment", "sentiment_change", "news_flow")
SENTIMENT, SENTIMENT_CHANGE, NEWS_FLOW = range(len(SENTIMENT_NAMES))
HALF_LIVES = (DAY, DAY // 4, 3 * DAY)  # seconds: usual, quick, slow
FORGOTTEN = 1.0 / 32.0  # news of less weight, one item five half-lives old, say nothing any more


@njit(cache=True)
def _session(sessions, time, interval):
    """Row of the session a bar lies in, -1 for none."""
    daily = interval >= DAY
    key = time - time % DAY if daily else time
    column = S_DAY if daily else S_OPENS
    low, high = 0, len(sessions)
    while low < high:
        middle = (low + high) // 2
        if sessions[middle, column] <= key:
            low = middle + 1
        else:
            high = middle
    row = low - 1
    if row < 0:
        return -1
    inside = sessions[row, S_DAY] == key if daily else time < sessions[row, S_CLOSES]
    return row if inside else -1


@njit(cache=True)
def _date(day):
    """Month (1-12), day of the month and days of that month, of a count of days since 1970; Hinnant, days to civil."""
    shifted = day + 719_468
    era = shifted // 146_097
    day_of_era = shifted - era * 146_097
    year = (day_of_era - day_of_era // 1460 + day_of_era // 36_524 - day_of_era // 146_096) // 365
    day_of_year = day_of_era - (365 * year + year // 4 - year // 100)
    month_from_march = (5 * day_of_year + 2) // 153
    number = day_of_year - (153 * month_from_march + 2) // 5 + 1
    month = month_from_march + 3 if month_from_march < 10 else month_from_march - 9
    civil = year + era * 400 + (1 if month <= 2 else 0)
    leap = civil % 4 == 0 and (civil % 100 != 0 or civil % 400 == 0)
    length = (31, 29 if leap else 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31)[month - 1]
    return month, number, length


@njit(cache=True)
def _turn_of_month(day):
    """1 on the last weekday of a month and on its first three, else 0; holidays are not regarded."""
    weekday = (day + 3) % 7  # Monday 0
    _, number, length = _date(day)
    # Weekdays of the month from its first to this day.
    seen = 0
    for earlier in range(number):
        seen += (weekday - earlier) % 7 < 5
        if seen > 3:
            break
    if seen <= 3:
        return 1.0
    for later in range(1, length - number + 1):
        if (weekday + later) % 7 < 5:
            return 0.0
    return 1.0


@njit(cache=True)
def calendar_run(memory, interval, bars, sessions, columns, closes, session, out):
    """Take every bar in turn: when it may be used, which session it lies in, and the wanted features.

    memory: (1,) time of the bar before, NaN at first; interval: seconds; bars: (T, 6); sessions: (S, 4) float64 day,
    opens, closes, half, S may be 0; columns: (11,) int64, where in a row of `out` each of CALENDAR_NAMES goes, -1 for
    not wanted; closes, session: (T,) float64, filled: when the bar may be used, and its session's day (the UTC date
    outside sessions); out: (T, n), NaN before.
    """
    values = np.empty(len(columns))
    for t in range(len(bars)):
        time = int(bars[t, TIME])
        row = _session(sessions, time, interval)
        day = time // DAY if row < 0 else int(sessions[row, S_DAY]) // DAY
        session[t] = day * DAY
        end = time + interval
        closes[t] = sessions[row, S_CLOSES] if row >= 0 and interval >= DAY else end
        values[:] = math.nan
        if row >= 0:
            opened, closed = sessions[row, S_OPENS], sessions[row, S_CLOSES]
            values[SESSION_MINUTE] = (closes[t] - opened) / 60.0
            values[MINUTES_TO_CLOSE] = max(closed - closes[t], 0.0) / 60.0
            values[HALF_DAY] = sessions[row, S_HALF]
        angle = 2.0 * math.pi * (end % DAY) / DAY
        values[DAY_SIN], values[DAY_COS] = math.sin(angle), math.cos(angle)
        angle = 2.0 * math.pi * ((day + 3) % 7) / 7.0
        values[WEEK_SIN], values[WEEK_COS] = math.sin(angle), math.cos(angle)
        month, _, _ = _date(day)
        angle = 2.0 * math.pi * (month - 1) / 12.0
        values[MONTH_SIN], values[MONTH_COS] = math.sin(angle), math.cos(angle)
        if columns[TURN_OF_MONTH] >= 0:
            values[TURN_OF_MONTH] = _turn_of_month(day)
        values[BAR_GAP] = (time - memory[0]) / interval
        memory[0] = time
        _write(values, columns, out, t)


@njit(cache=True)
def _write(values, columns, out, t):
    for k in range(len(values)):
        if columns[k] >= 0 and math.isfinite(values[k]):
            out[t, columns[k]] = values[k]


def cross_state(interval_seconds: int, scale: float) -> np.ndarray:
    """State of a stream that has seen nothing. scale: what turns volatility per bar into one per year."""
    state = np.full(END, np.nan)
    state[:N_MEMORY] = 0.0
    state[[INTERVAL, SCALE]] = interval_seconds, scale
    state[[VIX_DAY, OTHER_TIME]] = -math.inf
    return state


@njit(cache=True)
def _vix_in(s, row):
    """Take one day of the VIX: (time, close)."""
    s[VIX_DAY] = row[0] // DAY
    s[VIX_RING + int(s[N_SEEN]) % N_VIX] = row[1]
    s[N_SEEN] += 1


@njit(cache=True)
def _vix_back(s, days):
    """The VIX so many of its own days before the newest; NaN where not known."""
    return s[VIX_RING + (int(s[N_SEEN]) - 1 - days) % N_VIX] if s[N_SEEN] > days else math.nan


@njit(cache=True, error_model="numpy")
def _vix_out(s, day, values):
    """VIX features unless the newest is too old, counted in sessions of the bars and in days."""
    age = 0
    for k in range(VIX_MAX_SESSIONS + 1):
        age += s[DAYS + k] > s[VIX_DAY]
    if s[N_SEEN] == 0 or age > VIX_MAX_SESSIONS or day - s[VIX_DAY] > VIX_MAX_DAYS:
        return
    level = _vix_back(s, 0)
    values[VIX] = level
    values[VIX_CHANGE_1] = level / _vix_back(s, 1) - 1.0
    values[VIX_CHANGE_5] = level / _vix_back(s, 5) - 1.0
    if s[N_SEEN] >= N_VIX:
        total = 0.0
        for k in range(N_VIX):
            total += _vix_back(s, k)
        values[VIX_DISTANCE_20] = level * N_VIX / total - 1.0


@njit(cache=True)
def _push(s, row, value):
    # Twice, so that every window ending at the newest bar is one piece of memory.
    place = row + int(s[N_BARS]) % SIZE
    s[place] = value
    s[place + SIZE] = value


@njit(cache=True)
def _newest(s, row):
    """Where the value of the newest bar stands in a ring; those before it lie in front of it."""
    return row + SIZE + (int(s[N_BARS]) - 1) % SIZE


@njit(cache=True, error_model="numpy")
def _deviation_20(s, row):
    """Sample deviation of the last 20 returns in a ring; NaN if one is missing."""
    at = _newest(s, row) + 1
    total = 0.0
    for i in range(at - 20, at):
        total += s[i]
    mean, squares = total / 20.0, 0.0
    for i in range(at - 20, at):
        squares += (s[i] - mean) ** 2
    return math.sqrt(squares / 19.0)


@njit(cache=True, error_model="numpy")
def _pairs(s, values):
    """Beta, correlation and residual of the last 60 pairs of returns; missing ones are left out."""
    x, y = _newest(s, R_RETURN), _newest(s, R_OTHER_RETURN)
    n, total, other_total = 0, 0.0, 0.0
    for back in range(LENGTH):
        if math.isfinite(s[x - back]) and math.isfinite(s[y - back]):
            n, total, other_total = n + 1, total + s[x - back], other_total + s[y - back]
    if n < LENGTH - MOST_MISSING:
        return
    mean, other_mean = total / n, other_total / n
    squares = other_squares = product = 0.0
    for back in range(LENGTH):
        own, other = s[x - back] - mean, s[y - back] - other_mean
        if math.isfinite(own) and math.isfinite(other):
            squares += own * own
            other_squares += other * other
            product += own * other
    if other_squares <= n * TINY * TINY:
        return
    beta = product / other_squares
    values[UNDERLYING_BETA_60] = beta
    values[UNDERLYING_RESIDUAL] = s[x] - beta * s[y]
    if squares > n * TINY * TINY:
        values[UNDERLYING_CORRELATION_60] = product / math.sqrt(squares * other_squares)


@njit(cache=True, error_model="numpy")
def _ratio(s):
    """How many deviations the logarithm of price over underlying lies from its mean over 60 bars."""
    at = _newest(s, R_RATIO)
    n, total = 0, 0.0
    for i in range(at - LENGTH + 1, at + 1):
        if math.isfinite(s[i]):
            n, total = n + 1, total + s[i]
    if n < LENGTH - MOST_MISSING:
        return math.nan
    mean, squares = total / n, 0.0
    for i in range(at - LENGTH + 1, at + 1):
        if math.isfinite(s[i]):
            squares += (s[i] - mean) ** 2
    deviation = math.sqrt(squares / (n - 1))
    return (s[at] - mean) / deviation if deviation > TINY * max(1.0, abs(mean)) else math.nan


@njit(cache=True, error_model="numpy")
def _underlying_out(s, columns, values):
    n = s[N_BARS]
    own, other = _newest(s, R_CLOSE), _newest(s, R_OTHER)
    if n > 1:
        values[UNDERLYING_RETURN_1] = s[other] / s[other - 1] - 1.0
    if n > 5:
        values[UNDERLYING_RETURN_5] = s[other] / s[other - 5] - 1.0
    if n > LENGTH:
        _pairs(s, values)
    if n > 20:
        change, other_change = s[own] / s[own - 20], s[other] / s[other - 20]
        values[UNDERLYING_RETURN_20] = other_change - 1.0
        values[RELATIVE_RETURN_20] = change - other_change
        values[UNDERLYING_VOLATILITY_20] = _deviation_20(s, R_OTHER_RETURN) * s[SCALE]
        values[LEVERAGE_DECAY_20] = math.log(change) - values[UNDERLYING_BETA_60] * math.log(other_change)
    if n >= LENGTH and columns[RATIO_Z_60] >= 0:
        values[RATIO_Z_60] = _ratio(s)


@njit(cache=True)
def _usable(bars, t):
    """Whether all four prices are known and above 0."""
    for column in range(OPEN, CLOSE + 1):  # noqa: SIM110 - compiled code knows no generators
        if not (bars[t, column] > 0.0 and math.isfinite(bars[t, column])):
            return False
    return True


@njit(cache=True, error_model="numpy")
def _pair_in(s, time, close):
    """Put one bar and what is known of the underlying into the rings."""
    age = time - s[OTHER_TIME]
    known = age <= UNDERLYING_MAX_BARS * s[INTERVAL] and s[OTHER_CLOSE] > 0.0 and math.isfinite(s[OTHER_CLOSE])
    other = s[OTHER_CLOSE] if known else math.nan
    first = s[N_BARS] == 0
    _push(s, R_RETURN, math.nan if first else close / s[_newest(s, R_CLOSE)] - 1.0)
    _push(s, R_OTHER_RETURN, math.nan if first else other / s[_newest(s, R_OTHER)] - 1.0)
    _push(s, R_CLOSE, close)
    _push(s, R_OTHER, other)
    _push(s, R_RATIO, math.log(close / other))
    s[N_BARS] += 1


@njit(cache=True, error_model="numpy")
def cross_run(s, bars, vix, underlying, columns, out):
    """Take every bar in turn and write the wanted features.

    s: from cross_state, changed in place; bars: (T, 6); vix, underlying: (V, 2), (U, 2) float64 time and close of
    rows not yet taken, ascending; columns: (15,) int64 as in calendar_run; out: (T, n), NaN before.
    A bar within a day sees the VIX of the session before, whose own is not known yet; a daily bar that of its own.
    Returns: how many rows of vix and underlying were taken; the others lie after the last bar.
    """
    values = np.empty(len(columns))
    daily = s[INTERVAL] >= DAY
    n_vix = n_other = 0
    for t in range(len(bars)):
        time = bars[t, TIME]
        day = time // DAY
        if s[N_DAYS] == 0 or s[DAYS] != day:
            for k in range(VIX_MAX_SESSIONS, 0, -1):
                s[DAYS + k] = s[DAYS + k - 1]
            s[DAYS] = day
            s[N_DAYS] += 1
        while n_vix < len(vix) and (vix[n_vix, 0] // DAY < day or (daily and vix[n_vix, 0] // DAY == day)):
            _vix_in(s, vix[n_vix])
            n_vix += 1
        while n_other < len(underlying) and underlying[n_other, 0] <= time:
            s[OTHER_TIME], s[OTHER_CLOSE] = underlying[n_other, 0], underlying[n_other, 1]
            n_other += 1
        values[:] = math.nan
        _vix_out(s, day, values)
        if _usable(bars, t):
            _pair_in(s, time, bars[t, CLOSE])
            if columns[VIX_PREMIUM] >= 0 and s[N_BARS] > 20:
                values[VIX_PREMIUM] = values[VIX] / 100.0 - _deviation_20(s, R_RETURN) * s[SCALE]
            _underlying_out(s, columns, values)
        _write(values, columns, out, t)
    return n_vix, n_other


def sentiment_state() -> np.ndarray:
    """(3, 3): per half-life the weighted sum of scores, their weight, and the time both are of."""
    return np.zeros((3, 3))


@njit(cache=True)
def _score_in(state, known_at, score):
    for k in range(3):
        since = known_at - state[k, 2]
        if state[k, 1] == 0.0 or since >= 0.0:
            fade = 0.5 ** (since / HALF_LIVES[k]) if state[k, 1] > 0.0 else 0.0
            state[k, 0], state[k, 1] = state[k, 0] * fade + score, state[k, 1] * fade + 1.0
            state[k, 2] = known_at
        else:  # scored late: it counts as it would by now
            weight = 0.5 ** (-since / HALF_LIVES[k])
            state[k, 0], state[k, 1] = state[k, 0] + score * weight, state[k, 1] + weight


@njit(cache=True)
def _mean(state, k, moment):
    """Mean score for one half-life; NaN when all is forgotten."""
    weight = state[k, 1] * 0.5 ** ((moment - state[k, 2]) / HALF_LIVES[k])
    return state[k, 0] / state[k, 1] if weight >= FORGOTTEN else math.nan


@njit(cache=True)
def sentiment_run(state, closes, scores, columns, out):
    """Take every bar in turn and write the wanted features.

    state: from sentiment_state, changed in place; closes: (T,) when each bar may be used; scores: (K, 2) float64
    known_at seconds and score, not yet taken, ascending; columns: (3,) int64 as in calendar_run; out: (T, n).
    Returns: how many scores were taken; the others were not known at the last bar's close.
    """
    values = np.empty(len(columns))
    n = 0
    for t in range(len(closes)):
        while n < len(scores) and scores[n, 0] <= closes[t]:
            if math.isfinite(scores[n, 1]):
                _score_in(state, scores[n, 0], scores[n, 1])
            n += 1
        values[SENTIMENT] = _mean(state, 0, closes[t])
        values[SENTIMENT_CHANGE] = _mean(state, 1, closes[t]) - _mean(state, 2, closes[t])
        values[NEWS_FLOW] = math.nan
        if state[0, 1] > 0.0:
            values[NEWS_FLOW] = state[0, 1] * 0.5 ** ((closes[t] - state[0, 2]) / HALF_LIVES[0])
        _write(values, columns, out, t)
    return n
