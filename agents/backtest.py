"""One deterministic run of a policy over a period, against buying and holding at the same costs. Pure."""

from dataclasses import dataclass
from typing import Any

import numpy as np

from agents.env import CHOICE, TARGET, EnvConfig, Market, TradingEnv
from agents.policy import ServedPolicy
from agents.rewards import RewardSettings
from core.simulation import first_kernel as kernel
from core.simulation.rules import MarketRules
from core.simulation.trades import RoundTrip, Split, fills_from_array, round_trips
from risk import metrics

PERIODS_PER_YEAR = 252
# Metrics need equity above zero; an account that lost more than everything is shown as having lost everything.
LEAST_EQUITY = 1e-6


@dataclass(frozen=True, eq=False)
class Track:
    """What an account did over the T bars of a period; nothing trades in the first."""

    equity: np.ndarray  # (T,) at each close
    quantity: np.ndarray  # (T,) held at each close
    exposure: np.ndarray  # (T,) position value / equity at each close, signed
    actions: np.ndarray  # (T,) decided at each close, NaN at the last
    fills: np.ndarray  # (n, 4) by the kernel's FILL_ columns, bar counted from the period's first
    slippage: float  # account currency, whole period
    reward_components: dict[str, float]  # sums over the period


@dataclass(frozen=True, eq=False)
class BacktestResult:
    """A policy's track, the baseline's, and what both amount to."""

    time: np.ndarray  # (T,) seconds UTC
    track: Track
    baseline: Track
    metrics: dict[str, float]
    baseline_metrics: dict[str, float]
    trades: list[RoundTrip]  # times in seconds UTC

    def curve(self) -> dict[str, list[float]]:
        """Lists of equal length: time, equity, baseline, exposure."""
        return {
            "time": self.time.tolist(),
            "equity": self.track.equity.tolist(),
            "baseline": self.baseline.equity.tolist(),
            "exposure": self.track.exposure.tolist(),
        }


def run_backtest(
    policy: ServedPolicy,
    market: Market,
    time: np.ndarray,
    first: int,
    last: int,
    *,
    rules: MarketRules | None = None,
    reward: RewardSettings | None = None,
    start_cash: float = 50_000.0,
    periods_per_year: float = PERIODS_PER_YEAR,
) -> BacktestResult:
    """Run the policy's first choice of every bar from row `first` to row `last`.

    market: features scaled by the policy's own normaliser; time: (T,) seconds UTC of all its rows; rules default to
    those the policy was trained under. The first decision is made at the close of `first` and trades one bar later;
    the baseline buys at that same open and holds.
    """
    rules = rules or policy.rules
    config = EnvConfig(
        action=CHOICE if policy.algorithm == "ppo" else TARGET,
        rules=rules,
        reward=reward or RewardSettings(),
        start_cash=start_cash,
        first=first,
        last=last,
        own=policy.own,
    )
    track = _play(policy, TradingEnv(market, config))
    baseline = _buy_and_hold(market, first, last, start_cash, rules)
    seconds = time[first : last + 1]
    times = seconds.tolist()
    trips, held = (
        round_trips(fills_from_array(one.fills, times), rules.multiplier, _splits(market, first, times, one, rules))
        for one in (track, baseline)
    )
    return BacktestResult(
        time=seconds,
        track=track,
        baseline=baseline,
        metrics=_metrics(track, trips, rules, periods_per_year),
        baseline_metrics=_metrics(baseline, held, rules, periods_per_year),
        trades=trips,
    )


def _play(policy: ServedPolicy, env: TradingEnv) -> Track:
    observation, info = env.reset()
    first, n_bars = info["row"], env.last - info["row"] + 1
    equity, quantity = np.full(n_bars, env.config.start_cash), np.zeros(n_bars)
    exposure, actions = np.zeros(n_bars), np.full(n_bars, np.nan)
    fills: list[tuple[float, float, float, float]] = []
    slippage, sums, over = 0.0, dict.fromkeys((*kernel.REWARD_COMPONENTS, "risk_adjusted_return", "reward"), 0.0), False
    while not over:
        row = env.t - first
        action = policy.decide(observation).action
        observation, earned, terminated, truncated, info = env.step(action if env.is_choice else [action])
        actions[row], row, over = action, row + 1, terminated or truncated
        equity[row], quantity[row], exposure[row] = info["equity"], info["quantity"], info["exposure"]
        if info["traded"] != 0.0:
            fills.append((row, info["traded"], info["price"], info["commission"]))
            slippage += info["slippage"]
        for name, value in info["components"].items():
            sums[name] += value
        sums["reward"] += earned
    equity[row:] = equity[row]  # after ruin the account stays flat to the period's end
    return Track(equity, quantity, exposure, actions, _rows(fills), slippage, sums)


def _splits(market: Market, first: int, times: list[int], track: Track, rules: MarketRules) -> list[Split]:
    """The splits of the period as this account met them."""
    part = market.actions[first : first + len(times)]
    found = []
    for bar in np.flatnonzero(part[1:, kernel.ACTION_SPLIT] != 1.0) + 1 if len(part) else ():
        ratio = float(part[bar, kernel.ACTION_SPLIT])
        held = kernel.split_quantity(float(track.quantity[bar - 1]), ratio, rules.lot)
        found.append(Split(times[bar], ratio, float(held)))
    return found


def _rows(fills: list[tuple[float, float, float, float]]) -> np.ndarray:
    return np.array(fills, dtype=float).reshape(-1, kernel.N_FILL)


def _buy_and_hold(market: Market, first: int, last: int, start_cash: float, rules: MarketRules) -> Track:
    part = slice(first, last + 1)
    weights = np.full(last - first + 1, np.nan)
    weights[0] = 1.0
    equity, fills, quantity, out = kernel.run_weights(
        market.open[part], market.close[part], market.volume[part], market.fees[part], start_cash, weights,
        rules.as_array(), market.actions[part],
    )  # fmt: skip
    sums = {name: float(out[:, index].sum()) for name, index in kernel.REWARD_COMPONENTS.items()}
    slippage = float(out[:, kernel.OUT_SLIPPAGE].sum())
    return Track(equity, quantity, out[:, kernel.OUT_EXPOSURE], weights, fills, slippage, sums)


def _metrics(track: Track, trips: list[RoundTrip], rules: MarketRules, periods_per_year: float) -> dict[str, float]:
    equity = np.maximum(track.equity, LEAST_EQUITY)
    traded = np.zeros(len(equity))
    commission = 0.0
    for bar, quantity, price, paid in track.fills:
        traded[int(bar)] += abs(quantity) * price * rules.multiplier
        commission += paid
    results = np.array([trip.result for trip in trips])
    years = max(len(equity) - 1, 1) / periods_per_year
    return {
        **metrics.summary(equity, periods_per_year),
        "n_trades": float(len(trips)),
        "n_fills": float(len(track.fills)),
        # Closing in slices makes many round trips of one; this counts the money: all in and all out is one turn.
        "n_turns": float(traded.sum() / equity.mean() / 2.0),
        "trades_per_year": len(trips) / years,
        "win_rate": metrics.win_rate(results),
        "profit_factor": metrics.profit_factor(results),
        "exposure_share": metrics.exposure_share(track.quantity),
        "mean_exposure": float(track.exposure.mean()),
        "turnover": metrics.turnover(traded, equity, periods_per_year),
        "commission": commission,
        "slippage": track.slippage,
        "costs": commission + track.slippage,
        "final_equity": float(equity[-1]),
    }


def jsonable(values: dict[str, Any]) -> dict[str, Any]:
    """Metrics as JSON can hold them: NaN and infinity become null."""
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in values.items()
    }
