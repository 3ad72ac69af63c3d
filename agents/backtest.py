"""One deterministic run of a policy over a period, against buying and holding at the same costs. Pure."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from agents.env import EnvConfig, Market, TradingEnv
from agents.policy import ServedPolicy
from agents.rewards import COMPONENT_NAMES, RewardSettings
from core.simulation import kernel
from core.simulation.account import REASONS
from core.simulation.rules import MarketRules
from core.simulation.trades import RoundTrip, Split, fills_from_array, round_trips
from risk import metrics

PERIODS_PER_YEAR = 252
# Fills that no decision asked for but a stop, a trail or a target.
_PROTECTIVE = (kernel.REASON_STOP, kernel.REASON_TRAIL, kernel.REASON_TARGET)
# Metrics need equity above zero; an account that lost more than everything is shown as having lost everything.
LEAST_EQUITY = 1e-6


@dataclass(frozen=True, eq=False)
class Track:
    """What an account did over the T bars of a period; nothing trades in the first."""

    equity: np.ndarray  # (T,) at each close
    quantity: np.ndarray  # (T,) held at each close
    exposure: np.ndarray  # (T,) position value / equity at each close, signed
    actions: np.ndarray  # (T,) decided at each close, NaN at the last
    fills: np.ndarray  # (n, 4) bar counted from the period's first, quantity, price, commission
    slippage: float  # account currency, whole period
    reward_components: dict[str, float]  # sums over the period
    reasons: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))  # (n,) kernel.REASON_ of each fill
    interest: float = 0.0  # account currency, whole period; received > 0, paid < 0
    borrow: float = 0.0  # account currency paid for borrowed units, whole period
    dividends: float = 0.0  # account currency, whole period; received > 0, paid < 0

    def n_fills_by_reason(self) -> dict[str, int]:
        """How many fills there were for each reason, the decisions' among them."""
        return {name: int((self.reasons == number).sum()) for number, name in enumerate(REASONS)}


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
    the baseline buys at that same open and holds; protective rules are the policy's and not the baseline's.
    Raises: ValueError for a market of several instruments.
    """
    if market.n_instruments != 1:
        raise ValueError(f"a served policy trades one instrument, got a market of {market.n_instruments}")
    rules = rules or policy.rules
    config = EnvConfig(
        action=policy.actions,
        rules=rules,
        reward=reward or RewardSettings(),
        start_cash=start_cash,
        first=first,
        last=last,
        own=policy.own,
        window=policy.window,
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
    fills, out = list[np.ndarray](), np.zeros((n_bars, kernel.N_OUT))
    components, earned = np.zeros((n_bars, len(COMPONENT_NAMES))), np.zeros(n_bars)
    rules, memory = env.config.rules_of(1)[0], policy.start()
    row, over = 0, False
    while not over:
        mask = policy.mask(quantity[row], equity[row], float(env.market.close[first + row]), rules)
        wanted = policy.decide(observation, memory, mask)
        memory = policy.start() if wanted.memory is None else wanted.memory
        actions[row], row = wanted.action, row + 1
        observation, earned[row], terminated, truncated, info = env.step(wanted.action)
        over = terminated or truncated
        equity[row], quantity[row], exposure[row] = info["equity"], info["quantity"], info["exposure"]
        components[row], out[row] = env.batch.components[0], env.batch.out[0]
        fills += [_fill(row, fill) for fill in env.batch.fills[0, 0] if fill[kernel.FILL_TRADED] != 0.0]
    equity[row:] = equity[row]  # after ruin the account stays flat to the period's end
    sums = dict(zip(COMPONENT_NAMES, components.sum(axis=0).tolist(), strict=True)) | {"reward": float(earned.sum())}
    return _track(equity, quantity, exposure, actions, np.array(fills), out, sums)


def _fill(bar: int, fill: np.ndarray) -> np.ndarray:
    """One fill of the bar at hand as run_targets lists them."""
    row = np.zeros(kernel.N_RUN_FILL)
    row[kernel.RUN_BAR] = bar
    row[kernel.RUN_TRADED : kernel.RUN_TRADED + kernel.N_FILL] = fill
    return row


def _track(
    equity: np.ndarray,
    quantity: np.ndarray,
    exposure: np.ndarray,
    actions: np.ndarray,
    fills: np.ndarray,
    out: np.ndarray,
    sums: dict[str, float],
) -> Track:
    """fills: (n, N_RUN_FILL); out: (T, N_OUT); sums: of the reward components."""
    rows = fills.reshape(-1, kernel.N_RUN_FILL)
    return Track(
        equity, quantity, exposure, actions,
        rows[:, [kernel.RUN_BAR, kernel.RUN_TRADED, kernel.RUN_PRICE, kernel.RUN_COMMISSION]],
        float(rows[:, kernel.RUN_SLIPPAGE].sum()), sums, rows[:, kernel.RUN_REASON].astype(int),
        *(float(out[:, column].sum()) for column in (kernel.OUT_INTEREST, kernel.OUT_BORROW, kernel.OUT_DIVIDENDS)),
    )  # fmt: skip


def _splits(market: Market, first: int, times: list[int], track: Track, rules: MarketRules) -> list[Split]:
    """The splits of the period as this account met them."""
    part = market.actions[first : first + len(times)]
    found = []
    for bar in np.flatnonzero(part[1:, 0] != 1.0) + 1 if len(part) else ():
        ratio = float(part[bar, 0])
        held = kernel.split_quantity(float(track.quantity[bar - 1]), ratio, rules.lot)
        found.append(Split(times[bar], ratio, float(held)))
    return found


def _buy_and_hold(market: Market, first: int, last: int, start_cash: float, rules: MarketRules) -> Track:
    weights = np.full(last - first + 1, np.nan)
    weights[0] = 1.0
    held = replace(rules, stop_loss=0.0, take_profit=0.0, trail_fraction=0.0, trail_atr=0.0, time_stop=0.0)
    equity, quantity, fills, out = kernel.run_weights(
        market.bars[first : last + 1], start_cash, weights[:, None], held.as_array()[None]
    )
    sums = {name: float(out[:, index].sum()) for name, index in kernel.REWARD_COMPONENTS.items()}
    return _track(equity, quantity[:, 0], out[:, kernel.OUT_EXPOSURE], weights, fills, out, sums)


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
        "interest": track.interest,
        "borrow": track.borrow,
        "n_protective": float(np.isin(track.reasons, _PROTECTIVE).sum()),
        "final_equity": float(equity[-1]),
    }


def jsonable(values: dict[str, Any]) -> dict[str, Any]:
    """Metrics as JSON can hold them: NaN and infinity become null."""
    return {
        name: None if isinstance(value, float) and not np.isfinite(value) else value for name, value in values.items()
    }
