"""A backtest as a page shows it: verdict, five numbers, curves thinned to the screen, tables."""

from typing import Any

from agents.models import Backtest
from agents.verdict import as_number, bars_per_year, doubt, sharpe_range, verdict

MOST_POINTS = 2000
MOST_TRADES = 100


def report(backtest: Backtest) -> dict[str, Any]:
    """Everything the report page needs besides the row itself."""
    checks = backtest.checks
    return {
        "verdict": " ".join(verdict_of(backtest)),
        "sure": sure_range(backtest),
        "curve": thinned(backtest.curve),
        "n_passed": sum(1 for check in checks if check.get("passed")),
        "rewards": rewards(backtest.reward_components),
        "trades": backtest.trades[: -MOST_TRADES - 1 : -1],
    }


def verdict_of(backtest: Backtest) -> list[str]:
    """The verdict in words, with its doubt, sentence by sentence."""
    return verdict(
        backtest.metrics,
        backtest.baseline_metrics,
        sure=sure_range(backtest),
        n_trials=backtest.model_version.run.n_trials,
        unseen=backtest.period == Backtest.Period.UNSEEN,
    )


def sure_range(backtest: Backtest) -> tuple[float, float] | None:
    """90 % range of its Sharpe ratio; None when unknown."""
    days = (backtest.to_time - backtest.from_time).total_seconds() / 86_400
    sharpe = as_number(backtest.metrics.get("sharpe_ratio"))
    return sharpe_range(sharpe, backtest.n_bars, bars_per_year(backtest.n_bars, days))


def doubt_of(backtest: Backtest) -> str:
    """The first thing to say against it, in two or three words; empty when there is none."""
    return doubt(backtest.metrics, backtest.baseline_metrics, sure=sure_range(backtest))


def rewards(components: dict[str, Any]) -> dict[str, Any]:
    """Reward components with the largest size among them, for bars around zero."""
    rows = [(name, as_number(value) or 0.0) for name, value in components.items() if as_number(value) is not None]
    return {"rows": rows, "largest": max((abs(value) for _, value in rows), default=1.0) or 1.0}


def thinned(curve: dict[str, list[Any]], most: int = MOST_POINTS) -> dict[str, list[Any]]:
    """Every k-th point of the curve and its last, plus drawdown as the deepest in each stretch.

    curve: lists of equal length `time`, `equity`, `baseline`, `exposure`; empty stays empty.
    """
    times, equity = curve.get("time", []), curve.get("equity", [])
    if not times:
        return {"time": [], "equity": [], "baseline": [], "drawdown": []}
    step = -(-len(times) // most)
    picked = list(range(0, len(times), step))
    if picked[-1] != len(times) - 1:
        picked.append(len(times) - 1)
    below = drawdowns(equity)
    deepest = [max(below[max(0, index - step + 1) : index + 1]) for index in picked]
    baseline = curve.get("baseline") or []
    return {
        "time": [times[index] for index in picked],
        "equity": [equity[index] for index in picked],
        "baseline": [baseline[index] for index in picked] if len(baseline) == len(times) else [],
        "drawdown": [-value for value in deepest],
    }


def drawdowns(equity: list[float]) -> list[float]:
    """Fraction below the running peak per point."""
    peak, below = 0.0, []
    for value in equity:
        peak = max(peak, value)
        below.append(1 - value / peak if peak > 0 else 0.0)
    return below


def small_curves(backtest: Backtest, n: int = 120) -> tuple[list[float], list[float]]:
    """The policy's and the baseline's equity in about n points, for a small picture."""
    curve = thinned(backtest.curve, n)
    return curve["equity"], curve["baseline"]
