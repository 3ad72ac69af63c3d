"""Features calculated here: their words, bounds, warm-up and needs. The numbers come from the two kernels."""

from collections.abc import Callable
from math import inf

from marketdata.features.definitions import (
    FeatureDefinition,
    fine_percent,
    one_decimal,
    percent,
    two_decimals,
    whole,
    yes_no,
)

Row = tuple[str, str, Callable[[float], str], int, float, float]

# name: (label, group, display, warm-up, lowest, highest)
_PRICE: dict[str, Row] = {
    "return_1": ("Price change, 1 bar", "momentum", percent, 1, -1.0, inf),
    "return_5": ("Price change, 5 bars", "momentum", percent, 5, -1.0, inf),
    "return_20": ("Price change, 20 bars", "momentum", percent, 20, -1.0, inf),
    "return_60": ("Price change, 60 bars", "momentum", percent, 60, -1.0, inf),
    "return_120": ("Price change, 120 bars", "momentum", percent, 120, -1.0, inf),
    "open_gap": ("Open against the close before", "momentum", fine_percent, 1, -1.0, inf),
    "bar_return": ("Close against the open", "momentum", fine_percent, 0, -1.0, inf),
    "close_location": ("Place of the close within its bar", "momentum", two_decimals, 0, 0.0, 1.0),
    "upper_shadow": ("Share of the bar above open and close", "momentum", two_decimals, 0, 0.0, 1.0),
    "lower_shadow": ("Share of the bar below open and close", "momentum", two_decimals, 0, 0.0, 1.0),
    "streak": ("Bars in a row up (falling: below 0)", "momentum", whole, 1, -inf, inf),
    "volatility_20": ("Volatility over 20 bars, per year", "volatility", percent, 20, 0.0, inf),
    "volatility_60": ("Volatility over 60 bars, per year", "volatility", percent, 60, 0.0, inf),
    "volatility_ratio": ("Volatility of 20 bars against 120", "volatility", two_decimals, 120, 0.0, inf),
    "ewma_volatility": ("Fading volatility (0.94 a bar), per year", "volatility", percent, 20, 0.0, inf),
    "downside_volatility_60": ("Volatility of falls over 60 bars, per year", "volatility", percent, 60, 0.0, inf),
    "parkinson_20": ("Volatility from highs and lows, 20 bars, per year", "volatility", percent, 19, 0.0, inf),
    "garman_klass_20": ("Volatility from whole bars, 20 bars, per year", "volatility", percent, 19, 0.0, inf),
    "rogers_satchell_20": (
        "Volatility from whole bars without drift, 20 bars, per year", "volatility", percent, 19, 0.0, inf),
    "yang_zhang_20": ("Volatility with gaps, 20 bars, per year", "volatility", percent, 20, 0.0, inf),
    "jump_share_60": ("Share of jumps in the variance, 60 bars", "volatility", two_decimals, 60, -inf, 1.0),
    "return_z_60": ("Price change in deviations of 60 bars", "statistical", two_decimals, 60, -inf, inf),
    "close_z_20": ("Close in deviations from its 20-bar mean", "statistical", two_decimals, 19, -inf, inf),
    "close_z_60": ("Close in deviations from its 60-bar mean", "statistical", two_decimals, 59, -inf, inf),
    "skew_60": ("Skew of 60 price changes", "statistical", two_decimals, 60, -inf, inf),
    "kurtosis_60": ("Excess kurtosis of 60 price changes", "statistical", two_decimals, 60, -inf, inf),
    "autocorrelation_60": (
        "Correlation of price changes with the ones before, 60 bars", "statistical", two_decimals, 61, -1.0, 1.0),
    "clustering_60": (
        "Correlation of the size of price changes with the ones before, 60 bars", "statistical", two_decimals, 61,
        -1.0, 1.0),
    "variance_ratio_60": (
        "Variance of 5-bar against 1-bar changes, 60 bars", "statistical", two_decimals, 60, 0.0, inf),
    "hurst_100": ("Hurst exponent by rescaled range, 100 bars", "statistical", two_decimals, 100, -inf, 1.0),
    "up_share_20": ("Share of rising bars among 20", "statistical", percent, 20, 0.0, 1.0),
    "linear_slope_20": ("Slope of a line through 20 closes, per bar", "trend", fine_percent, 19, -inf, inf),
    "linear_fit_20": ("Fit of a line through 20 closes", "trend", two_decimals, 19, 0.0, 1.0),
    "largest_rise_20": ("Largest price change among 20", "statistical", percent, 20, -1.0, inf),
    "largest_fall_20": ("Smallest price change among 20", "statistical", percent, 20, -1.0, inf),
}  # fmt: skip
_VOLUME: dict[str, Row] = {
    "volume_z_20": ("Volume in deviations from its 20-bar mean", "volume", two_decimals, 19, -inf, inf),
    "relative_volume_20": ("Volume against the mean of the 20 bars before", "volume", two_decimals, 20, 0.0, inf),
    "vwma_20": ("Close against the 20-bar volume-weighted mean", "volume", percent, 19, -1.0, inf),
    "on_balance_20": ("Volume of rising minus falling bars, share of 20", "volume", two_decimals, 20, -1.0, 1.0),
    "return_volume_correlation_60": (
        "Correlation of price change and volume, 60 bars", "volume", two_decimals, 60, -1.0, 1.0),
    "illiquidity_20": ("Price impact of money traded, 20 bars against 100", "volume", percent, 100, -1.0, 4.0),
    "vwap_distance": ("Close against the session's average price", "volume", fine_percent, 0, -1.0, inf),
}  # fmt: skip
_CALENDAR: dict[str, Row] = {
    "session_minute": ("Minutes since the open", "calendar", whole, 0, 0.0, inf),
    "minutes_to_close": ("Minutes to the close", "calendar", whole, 0, 0.0, inf),
    "half_day": ("Session that closes early", "calendar", yes_no, 0, 0.0, 1.0),
    "day_sin": ("Time of day UTC, sine", "calendar", two_decimals, 0, -1.0, 1.0),
    "day_cos": ("Time of day UTC, cosine", "calendar", two_decimals, 0, -1.0, 1.0),
    "week_sin": ("Day of the week, sine", "calendar", two_decimals, 0, -1.0, 1.0),
    "week_cos": ("Day of the week, cosine", "calendar", two_decimals, 0, -1.0, 1.0),
    "month_sin": ("Month of the year, sine", "calendar", two_decimals, 0, -1.0, 1.0),
    "month_cos": ("Month of the year, cosine", "calendar", two_decimals, 0, -1.0, 1.0),
    "turn_of_month": ("Last weekday of a month or one of the first three", "calendar", yes_no, 0, 0.0, 1.0),
    "bar_gap": ("Time since the bar before, in bars", "calendar", one_decimal, 1, 0.0, inf),
}
_VIX: dict[str, Row] = {
    "vix": ("VIX", "cross-asset", one_decimal, 0, 0.0, inf),
    "vix_change_1": ("Change of the VIX, 1 session", "cross-asset", percent, 0, -1.0, inf),
    "vix_change_5": ("Change of the VIX, 5 sessions", "cross-asset", percent, 0, -1.0, inf),
    "vix_distance_20": ("VIX against its mean of 20 sessions", "cross-asset", percent, 0, -1.0, inf),
    "vix_premium": ("VIX minus volatility over 20 bars", "cross-asset", percent, 20, -inf, inf),
}
_UNDERLYING: dict[str, Row] = {
    "underlying_return_1": ("Price change of the underlying, 1 bar", "cross-asset", percent, 1, -1.0, inf),
    "underlying_return_5": ("Price change of the underlying, 5 bars", "cross-asset", percent, 5, -1.0, inf),
    "underlying_return_20": ("Price change of the underlying, 20 bars", "cross-asset", percent, 20, -1.0, inf),
    "underlying_volatility_20": (
        "Volatility of the underlying over 20 bars, per year", "cross-asset", percent, 20, 0.0, inf),
    "underlying_beta_60": ("Beta to the underlying, 60 bars", "cross-asset", two_decimals, 60, -inf, inf),
    "underlying_correlation_60": (
        "Correlation with the underlying, 60 bars", "cross-asset", two_decimals, 60, -1.0, 1.0),
    "underlying_residual": (
        "Price change beyond beta times the underlying's", "cross-asset", fine_percent, 60, -inf, inf),
    "relative_return_20": ("Price change minus the underlying's, 20 bars", "cross-asset", percent, 20, -inf, inf),
    "ratio_z_60": ("Price over underlying in deviations of 60 bars", "cross-asset", two_decimals, 59, -inf, inf),
    "leverage_decay_20": (
        "Growth lost or won against beta times the underlying, 20 bars", "cross-asset", fine_percent, 60, -inf, inf),
}  # fmt: skip
_SENTIMENT: dict[str, Row] = {
    "sentiment": ("Tone of the news, half-life one day", "sentiment", two_decimals, 0, -1.0, 1.0),
    "sentiment_change": ("Tone of the last hours against that of days", "sentiment", two_decimals, 0, -2.0, 2.0),
    "news_flow": ("Number of news, fading with a half-life of one day", "sentiment", one_decimal, 0, 0.0, inf),
}


def _defined(rows: dict[str, Row], needs: str = "") -> dict[str, FeatureDefinition]:
    asked = frozenset({needs}) if needs else frozenset()
    return {
        name: FeatureDefinition(label, display, warm_up, lowest, highest, group, "own", asked)
        for name, (label, group, display, warm_up, lowest, highest) in rows.items()
    }


PRICE = _defined(_PRICE)
VOLUME = _defined(_VOLUME, "volume")
# Without sessions the date and the time of day are those of UTC.
_SESSIONS = ("session_minute", "minutes_to_close", "half_day")
CALENDAR = _defined({n: row for n, row in _CALENDAR.items() if n not in _SESSIONS}) | _defined(
    {n: _CALENDAR[n] for n in _SESSIONS}, "sessions"
)
CROSS = _defined(_VIX, "vix") | _defined(_UNDERLYING, "underlying")
SENTIMENT = _defined(_SENTIMENT, "sentiment")
OWN: dict[str, FeatureDefinition] = PRICE | VOLUME | CALENDAR | CROSS | SENTIMENT
