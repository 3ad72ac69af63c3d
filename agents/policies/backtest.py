"""One deterministic run of a policy over a period, against buying and holding at the same costs. Pure."""

from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np

from agents.environment.env import EnvConfig, Market, TradingEnv
from agents.environment.rewards import COMPONENT_NAMES, RewardSettings
from agents.policies.policy import Rules, ServedPolicy
from core.simulation import kernel
from core.simulation.account import REASONS
from core.simulation.rules import MarketRules, rules_table
from core.simulation.trades import RoundTrip, Split, fills_from_array, round_trips
from risk import metrics

PERIODS_PER_YEAR = 252
# Fills that no decision asked for but a stop, a trail or a target.
_PROTECTIVE = (kernel.REASON_STOP, kernel.REASON_TRAIL, kernel.REASON_TARGET)
# Money that comes and goes without a fill, by its name in Track.
_FLOWS = {"interest": kernel.OUT_INTEREST, "borrow": kernel.OUT_BORROW, "dividends": kernel.OUT_DIVIDENDS}
# Metrics need equity above zero; an account that lost more than everything is shown as having lost everything.
LEAST_EQUITY = 1e-6


@dataclass(frozen=True, eq=False)
class Track:
    """What an account did over the T bars of a period; nothing trades in the first. Of several instruments I > 1."""

    equity: np.ndarray  # (T,) at each close
    quantity: np.ndarray  # (T,), of several (T, I), held at each close
    exposure: np.ndarray  # (T,) value of all positions / equity at each close, signed
    actions: np.ndarray  # (T,), of several (T, I), decided at each close, NaN at the last
    fills: np.ndarray  # (n, 4) bar counted from the period's first, quantity, price, commission
    slippage: float  # account currency, whole period
    reward_components: dict[str, float]  # sums over the period
    reasons: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))  # (n,) kernel.REASON_ of each fill
    interest: float = 0.0  # account currency, whole period; received > 0, paid < 0
    borrow: float = 0.0  # account currency paid for borrowed units, whole period
    dividends: float = 0.0  # account currency, whole period; received > 0, paid < 0
    instruments: np.ndarray = field(default_factory=lambda: np.empty(0, dtype=int))  # (n,) number of each fill's

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
    trades: list[RoundTrip]  # times in seconds UTC, in order of exits

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
    rules: Rules = None,
    reward: RewardSettings | None = None,
    start_cash: float = 50_000.0,
    periods_per_year: float = PERIODS_PER_YEAR,
) -> BacktestResult:
    """Run the policy's first choice of every bar from row `first` to row `last`.

    market: features scaled by the policy's own normaliser, of as many instruments as the policy has; time: (T,) seconds
    UTC of all its rows; rules: one for all instruments or one each, by default those the policy was trained under. The
    first decision is made at the close of `first` and trades one bar later; the baseline buys at that same open and
    holds, of several instruments each its equal part of the money; protective rules are the policy's and not the
    baseline's. Raises: ValueError for a market of another number of instruments, or as many rules.
    """
    if market.n_instruments != policy.n_instruments:
        raise ValueError(
            f"the policy trades {_instruments(policy.n_instruments)}, got a market of "
            f"{_instruments(market.n_instruments)}; play it on those it learned on"
        )
    each = policy.rules_of(rules)
    config = EnvConfig(
        action=policy.actions,
        rules=each,
        reward=reward or RewardSettings(),
        start_cash=start_cash,
        first=first,
        last=last,
        own=policy.own,
        window=policy.window,
    )
    track = _play(policy, TradingEnv(market, config))
    baseline = _buy_and_hold(market, first, last, start_cash, each)
    seconds = time[first : last + 1]
    trips, held = (_round_trips(market, first, seconds.tolist(), one, each) for one in (track, baseline))
    return BacktestResult(
        time=seconds,
        track=track,
        baseline=baseline,
        metrics=_metrics(track, trips, each, periods_per_year),
        baseline_metrics=_metrics(baseline, held, each, periods_per_year),
        trades=trips,
    )


def _instruments(n: int) -> str:
    return "one instrument" if n == 1 else f"{n} instruments"


def _play(policy: ServedPolicy, env: TradingEnv) -> Track:
    observation, info = env.reset()
    first, n_bars, n = info["row"], env.last - info["row"] + 1, policy.n_instruments
    equity, quantity = np.full(n_bars, env.config.start_cash), np.zeros((n_bars, n))
    exposure, actions = np.zeros(n_bars), np.full((n_bars, n), np.nan)
    fills, out = list[np.ndarray](), np.zeros((n_bars, kernel.N_OUT))
    components, earned = np.zeros((n_bars, len(COMPONENT_NAMES))), np.zeros(n_bars)
    rules, memory = env.config.rules_of(n), policy.start()
    row, over = 0, False
    while not over:
        close = env.market.bars[first + row, :, kernel.BAR_CLOSE]
        wanted = policy.decide_all(observation, memory, policy.masks(quantity[row], equity[row], close, rules))
        memory = policy.start() if wanted[0].memory is None else wanted[0].memory
        actions[row], row = [one.action for one in wanted], row + 1
        observation, earned[row], terminated, truncated, info = env.step(actions[row - 1])
        over = terminated or truncated
        equity[row], quantity[row], exposure[row] = info["equity"], info["quantities"], info["exposure"]
        components[row], out[row] = env.batch.components[0], env.batch.out[0]
        fills += _fills(row, env.batch.fills[0])
    equity[row:] = equity[row]  # after ruin the account stays flat to the period's end
    sums = dict(zip(COMPONENT_NAMES, components.sum(axis=0).tolist(), strict=True)) | {"reward": float(earned.sum())}
    return _track(equity, quantity, exposure, actions, np.array(fills), out, sums)


def _fills(bar: int, fills: np.ndarray) -> list[np.ndarray]:
    """The fills (I, 2, N_FILL) of the bar at hand as run_targets lists them, all orders at the open first."""
    found = []
    for slot in (kernel.AT_OPEN, kernel.PROTECTIVE):
        for i in np.flatnonzero(fills[:, slot, kernel.FILL_TRADED]):
            row = np.zeros(kernel.N_RUN_FILL)
            row[kernel.RUN_BAR], row[kernel.RUN_INSTRUMENT] = bar, i
            row[kernel.RUN_TRADED : kernel.RUN_TRADED + kernel.N_FILL] = fills[i, slot]
            found.append(row)
    return found


def _track(
    equity: np.ndarray,
    quantity: np.ndarray,
    exposure: np.ndarray,
    actions: np.ndarray,
    fills: np.ndarray,
    out: np.ndarray,
    sums: dict[str, float],
) -> Track:
    """quantity, actions: (T, I); fills: (n, N_RUN_FILL); out: (T, N_OUT); sums: of the reward components."""
    rows = fills.reshape(-1, kernel.N_RUN_FILL)
    if quantity.shape[1] == 1:
        quantity, actions = quantity[:, 0], actions[:, 0]
    sum_of = {name: float(out[:, column].sum()) for name, column in _FLOWS.items()}
    return Track(
        equity=equity,
        quantity=quantity,
        exposure=exposure,
        actions=actions,
        fills=rows[:, [kernel.RUN_BAR, kernel.RUN_TRADED, kernel.RUN_PRICE, kernel.RUN_COMMISSION]],
        slippage=float(rows[:, kernel.RUN_SLIPPAGE].sum()),
        reward_components=sums,
        reasons=rows[:, kernel.RUN_REASON].astype(int),
        instruments=rows[:, kernel.RUN_INSTRUMENT].astype(int),
        **sum_of,
    )


def _round_trips(
    market: Market, first: int, times: list[int], track: Track, rules: tuple[MarketRules, ...]
) -> list[RoundTrip]:
    """Those of every instrument, in order of their exits, at the same exit in the account's order."""
    found, held = list[RoundTrip](), track.quantity.reshape(len(times), -1)
    for i, its in enumerate(rules):
        splits = _splits(market.bars[first : first + len(times), i, kernel.BAR_SPLIT], times, held[:, i], its)
        fills = fills_from_array(track.fills[track.instruments == i], times)
        found += [replace(trip, instrument=i) for trip in round_trips(fills, its.multiplier, splits)]
    return sorted(found, key=lambda trip: trip.exit_time)  # type: ignore[arg-type, return-value]  # seconds


def _splits(ratios: np.ndarray, times: list[int], quantity: np.ndarray, rules: MarketRules) -> list[Split]:
    """The splits of the period as this account met them. ratios: new units for one old; quantity: held, (T,) each."""
    found = []
    for bar in np.flatnonzero(ratios[1:] != 1.0) + 1:
        ratio = float(ratios[bar])
        held = kernel.split_quantity(float(quantity[bar - 1]), ratio, rules.lot)
        found.append(Split(times[bar], ratio, float(held)))
    return found


def _buy_and_hold(market: Market, first: int, last: int, start_cash: float, rules: tuple[MarketRules, ...]) -> Track:
    """Each of I instruments is bought for the I-th part of its largest weight."""
    weights = np.full((last - first + 1, len(rules)), np.nan)
    weights[0] = 1.0 / len(rules)
    held = [
        # An I-th part may lie within the no-trade band, but to buy it is no small change.
        replace(
            its, stop_loss=0.0, take_profit=0.0, trail_fraction=0.0, trail_atr=0.0, time_stop=0.0, no_trade_band=0.0
        )
        for its in rules
    ]
    equity, quantity, fills, out = kernel.run_weights(
        market.bars[first : last + 1], start_cash, weights, rules_table(*held)
    )
    sums = {name: float(out[:, index].sum()) for name, index in kernel.REWARD_COMPONENTS.items()}
    return _track(equity, quantity, out[:, kernel.OUT_EXPOSURE], weights, fills, out, sums)


def _metrics(
    track: Track, trips: list[RoundTrip], rules: tuple[MarketRules, ...], periods_per_year: float
) -> dict[str, float]:
    equity = np.maximum(track.equity, LEAST_EQUITY)
    traded = np.zeros(len(equity))
    commission = 0.0
    for (bar, quantity, price, paid), i in zip(track.fills, track.instruments, strict=True):
        traded[int(bar)] += abs(quantity) * price * rules[i].multiplier
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
        "exposure_share": metrics.exposure_share((track.quantity.reshape(len(equity), -1) != 0).any(axis=1)),
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
