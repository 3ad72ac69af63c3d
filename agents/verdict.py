"""What a backtest says, in words with the doubt in it. Pure: numbers in, sentences out."""

from math import isfinite, sqrt
from typing import Any

SURE_90 = 1.645  # standard normal quantile of a two-sided 90 % range
DAYS_PER_YEAR = 365.25


def as_number(value: Any) -> float | None:
    """The value as a finite float, or None."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return None
    return number if isfinite(number) else None


def bars_per_year(n_bars: int, n_days: float) -> float | None:
    """Bars in a year of this market, from a period's bars and calendar days; None for an empty period."""
    return n_bars / n_days * DAYS_PER_YEAR if n_bars > 1 and n_days > 0 else None


def sharpe_range(sharpe: float | None, n_bars: int, periods_per_year: float | None) -> tuple[float, float] | None:
    """90 % range of an annual Sharpe ratio measured over n_bars, for independent returns; None when unknown.

    Source: Lo, "The Statistics of Sharpe Ratios", Financial Analysts Journal, 2002: the variance of a per-bar
    ratio s over T bars is (1 + s^2 / 2) / T.
    """
    if sharpe is None or periods_per_year is None or n_bars < 2:
        return None
    per_bar = sharpe / sqrt(periods_per_year)
    error = sqrt((1 + per_bar**2 / 2) / n_bars) * sqrt(periods_per_year)
    return sharpe - SURE_90 * error, sharpe + SURE_90 * error


def verdict(
    metrics: dict[str, Any],
    baseline: dict[str, Any],
    *,
    sure: tuple[float, float] | None,
    n_trials: int,
    unseen: bool,
) -> list[str]:
    """Two to four plain sentences: result against buying and holding, depth, and how much may be luck.

    metrics, baseline: names of risk.metrics.summary, fractions; sure: from sharpe_range.
    """
    earned, held = as_number(metrics.get("total_return")), as_number(baseline.get("total_return"))
    if earned is None:
        return ["It has no result: the policy's equity was not measured."]
    sentences = [_result(earned, held, metrics.get("max_drawdown"), baseline.get("max_drawdown"))]
    n_trades = as_number(metrics.get("n_trades"))
    if n_trades == 0:
        sentences.append("It never closed a trade, so this says little about its skill.")
    sentences.append(_luck(metrics.get("sharpe_ratio"), sure))
    sentences.append(_origin(n_trials, unseen))
    return [sentence for sentence in sentences if sentence]


def doubt(metrics: dict[str, Any], baseline: dict[str, Any], *, sure: tuple[float, float] | None) -> str:
    """The first thing to say against a result, in two or three words; empty when there is none.

    Losing money comes before earning less than holding, that before a Sharpe ratio whose range includes 0.
    """
    earned, held = as_number(metrics.get("total_return")), as_number(baseline.get("total_return"))
    if earned is None:
        return "not measured"
    if earned < 0:
        return "lost money"
    if held is not None and earned < held:
        return "less than holding"
    return "may be luck" if sure is None or sure[0] <= 0 <= sure[1] else ""


def _result(earned: float, held: float | None, depth: Any, held_depth: Any) -> str:
    text = f"It {_gained(earned)} after costs"
    if held is not None:
        text += f" where buying and holding {_gained(held)}"
    deep, held_deep = as_number(depth), as_number(held_depth)
    if deep is not None:
        text += f", and fell at most {_percent(deep)} below its peak"
        if held_deep is not None:
            text += f" instead of {_percent(held_deep)}"
    return f"{text}."


def _luck(sharpe: Any, sure: tuple[float, float] | None) -> str:
    ratio = as_number(sharpe)
    if ratio is None or sure is None:
        return ""
    low, high, measured = (f"{value:.2f}".replace("-", "−") for value in (*sure, ratio))
    span = f"(90 % range {low} to {high})"
    if sure[0] <= 0 <= sure[1]:
        return f"Its Sharpe ratio of {measured} cannot be told from luck over so few bars {span}."
    if sure[0] > 0:
        return f"Its Sharpe ratio of {measured} is more than luck would usually give {span}."
    return f"Its Sharpe ratio of {measured} is worse than bad luck usually gives {span}."


def _origin(n_trials: int, unseen: bool) -> str:
    picked = f"It was picked from {n_trials} trials" if n_trials > 1 else "It was the only trial"
    if unseen:
        blind = "neither training nor picking saw these bars"
        return f"{picked} by the validation period; {blind}. One market and one seed are not proof."
    return f"{picked} on these very bars, so expect less elsewhere."


def _gained(fraction: float) -> str:
    return f"earned {_percent(fraction)}" if fraction >= 0 else f"lost {_percent(-fraction)}"


def _percent(fraction: float) -> str:
    return f"{fraction * 100:,.1f}\u202f%"
