"""Backtests as rows."""

from datetime import UTC, datetime
from typing import Any

from agents.models import Backtest, ModelVersion
from agents.policies.backtest import BacktestResult, jsonable
from core.notices import notify
from core.simulation.trades import RoundTrip


def store(model: ModelVersion, period: str, result: BacktestResult) -> Backtest:
    """Keep one backtest of a version. period: Backtest.Period. Its checks are filled in by registry.prove."""
    backtest = Backtest.objects.create(
        model_version=model,
        period=period,
        from_time=_moment(result.time[0]),
        to_time=_moment(result.time[-1]),
        n_bars=len(result.time),
        metrics=jsonable(result.metrics),
        baseline_metrics=jsonable(result.baseline_metrics),
        curve=result.curve(),
        trades=[_trade(trade) for trade in result.trades],
        reward_components=jsonable(result.track.reward_components),
    )
    notify("backtest", backtest=backtest.pk)
    return backtest


def _trade(trade: RoundTrip) -> dict[str, Any]:
    return {
        "entry_time": _moment(trade.entry_time).isoformat(),
        "exit_time": _moment(trade.exit_time).isoformat(),
        "side": "long" if trade.side > 0 else "short",
        "quantity": trade.quantity,
        "entry_price": trade.entry_price,
        "exit_price": trade.exit_price,
        "costs": trade.costs,
        "result": trade.result,
    }


def _moment(seconds: Any) -> datetime:
    return datetime.fromtimestamp(int(seconds), UTC)
