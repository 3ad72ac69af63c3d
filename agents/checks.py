"""What a backtest must show before a version may trade. Pure."""

from collections.abc import Callable
from math import isfinite
from operator import ge, le
from typing import Any

from agents.configuration import DeployChecks

# Setting -> (name on pages, metric, comparison with the limit).
_CHECKS: dict[str, tuple[str, str, Callable[[float, float], bool]]] = {
    "largest_drawdown": ("Largest fall below the peak", "max_drawdown", le),
    "min_trades": ("Closed trades", "n_trades", ge),
    "min_sharpe": ("Sharpe ratio", "sharpe_ratio", ge),
    "min_return": ("Total return", "total_return", ge),
    "max_turnover": ("Turnover per year", "turnover", le),
}


def check_all(metrics: dict[str, Any], limits: DeployChecks) -> list[dict[str, Any]]:
    """Every configured check: {"name", "passed", "value", "limit", "rule"}; a metric without a value fails.

    metrics: of the backtest on the unseen period, by name; NaN or None means it has no value.
    """
    found = []
    for setting, (name, metric, compare) in _CHECKS.items():
        limit = getattr(limits, setting)
        if limit is None:
            continue
        value = metrics.get(metric)
        known = value is not None and isfinite(value)
        passed = value is not None and known and compare(value, limit)
        found.append(
            {
                "name": name,
                "passed": bool(passed),
                "value": value if known else None,
                "limit": limit,
                "rule": "at most" if compare is le else "at least",
            }
        )
    return found
