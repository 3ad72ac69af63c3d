"""One Gymnasium environment for every asset: an account trading one instrument, advanced by the simulation kernel.

At decision t the agent sees features of bars <= t and its own state at t's close; the order trades at the open of
t+1. So nothing it sees can know the price it gets.
"""

from dataclasses import dataclass, field
from typing import Any, cast

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.envs.registration import EnvSpec
from numba import njit

from agents import own_history, own_state
from agents.own_state import OwnSpec, fill_own_state
from agents.rewards import RewardSettings, reward_of, risk_adjusted
from core.simulation import first_kernel as kernel
from core.simulation.bars import validate_actions, validate_bars
from core.simulation.rules import MarketRules

CHOICE, TARGET = "choice", "target"
LIMIT = 5.0


@dataclass(frozen=True)
class Market:
    """What an environment plays on, one row per bar."""

    features: np.ndarray  # (T, n) normalised, within +-5
    open: np.ndarray  # (T,)
    close: np.ndarray  # (T,)
    volume: np.ndarray  # (T,), zeros where the instrument has none
    fees: np.ndarray  # (T, 3) of fees_for(times)
    # Splits and dividends (T, 2) by the kernel's ACTION_ columns; (0, 2) where there are none.
    actions: np.ndarray = field(default_factory=lambda: np.empty((0, kernel.N_ACTION)))

    def __post_init__(self) -> None:
        arrays = validate_bars(self.open, self.close, self.volume, self.fees)
        for name, array in zip(("open", "close", "volume", "fees"), arrays, strict=True):
            object.__setattr__(self, name, np.array(array))  # writable copies: one compiled version serves all
        features = np.array(self.features, dtype=float, order="C")
        if features.ndim != 2 or len(features) != len(self.close):
            raise ValueError(f"features has shape {features.shape}, expected ({len(self.close)}, n): one row per bar")
        if not (np.abs(features) <= LIMIT).all():
            raise ValueError("features must be normalised, within +-5 and without NaN; use Normaliser.apply")
        object.__setattr__(self, "features", features)
        object.__setattr__(self, "actions", validate_actions(self.actions, len(self.close)))

    def __len__(self) -> int:
        return len(self.close)


@dataclass(frozen=True, kw_only=True)
class EnvConfig:
    """How the environment plays. Raises: ValueError naming the field that makes no sense."""

    action: str = CHOICE  # choice: 0 hold, 1 buy, 2 sell; target: position from -1 to 1
    rules: MarketRules = field(default_factory=MarketRules)  # what trading costs and allows
    reward: RewardSettings = field(default_factory=RewardSettings)  # weights of the reward's parts
    start_cash: float = 50_000.0  # account currency
    first: int = 0  # row of the first bar a decision may be made at
    last: int | None = None  # row of the last bar, None for the market's last
    episode_length: int | None = None  # bars of a random window, None for one pass from first to last
    own: OwnSpec = own_state.DEFAULT  # what the agent sees of itself

    def __post_init__(self) -> None:
        if self.action not in (CHOICE, TARGET):
            raise ValueError(f"action must be {CHOICE} or {TARGET}, got {self.action!r}")
        if not self.start_cash > 0:
            raise ValueError(f"start_cash must be above 0, got {self.start_cash!r}")
        if self.episode_length is not None and self.episode_length < 1:
            raise ValueError(f"episode_length must be at least 1 bar or None, got {self.episode_length!r}")


# Not cached on disk: the cache would not notice a change of the kernel it calls.
@njit(fastmath=False)
def _observe(
    state: np.ndarray,
    memory: np.ndarray,
    close: float,
    features: np.ndarray,
    multiplier: float,
    chosen: np.ndarray,
    out: np.ndarray,
) -> None:
    n = len(features)
    for i in range(n):
        out[i] = features[i]
    own = np.empty(own_state.N_ALL)
    fill_own_state(
        state[kernel.QUANTITY], state[kernel.AVERAGE_PRICE], close, state[kernel.EQUITY], state[kernel.PEAK],
        state[kernel.AGE], multiplier, own,
    )  # fmt: skip
    if len(memory):
        own_history.fill_history(memory, own[own_state.N_POSITION :])
    own[own_state.CASH_SHARE] = 1.0 - own[0]
    for i in range(chosen.shape[1]):
        value = (own[int(chosen[0, i])] - chosen[1, i]) * chosen[2, i]
        out[n + i] = min(max(value, -5.0), 5.0)


@njit(fastmath=False)
def _remember(
    memory: np.ndarray, out: np.ndarray, quantity: float, close: float, equity: float, multiplier: float
) -> None:
    if out[kernel.OUT_TRADED] != 0.0:
        own_history.add_fill(
            memory, out[kernel.OUT_TRADED], out[kernel.OUT_PRICE], out[kernel.OUT_COMMISSION], quantity, multiplier
        )
    own_history.close_bar(memory, close, equity)


@njit(fastmath=False)
def _step(
    state: np.ndarray,
    memory: np.ndarray,
    t: int,
    action: float,
    is_choice: bool,
    features: np.ndarray,
    open_: np.ndarray,
    close: np.ndarray,
    volume: np.ndarray,
    fees: np.ndarray,
    actions: np.ndarray,
    rules: np.ndarray,
    weights: np.ndarray,
    chosen: np.ndarray,
    out: np.ndarray,
    observation: np.ndarray,
) -> float:
    """Decide at the close of t, trade and mark in bar t+1, write what it brought and what is seen then.

    memory: of own_history, empty where nothing of it is seen; chosen: of OwnSpec.as_array.
    """
    quantity, equity, multiplier = state[kernel.QUANTITY], state[kernel.EQUITY], rules[kernel.RULE_MULTIPLIER]
    if is_choice:
        target = kernel.target_for_choice(int(action), quantity, equity, close[t], rules)
    else:
        target = kernel.target_for_weight(action, quantity, equity, close[t], rules)
    if len(memory):
        # After ruin the closing of everything is what counts as wanted, live too.
        wanted = 0.0 if state[kernel.PENDING_FORCE] != 0.0 else target
        own_history.add_decision(memory, wanted, close[t], equity, multiplier)
    if len(actions):
        target = kernel.begin_session(state, open_[t + 1], actions[t + 1], target, rules)
        ratio = actions[t + 1, kernel.ACTION_SPLIT]
        if len(memory) and ratio != 1.0:
            own_history.split_units(memory, ratio, state[kernel.QUANTITY])
    kernel.step_bar(state, open_[t + 1], close[t + 1], volume[t + 1], fees[t + 1], target, rules, out)
    if len(memory):
        _remember(memory, out, state[kernel.QUANTITY], close[t + 1], state[kernel.EQUITY], multiplier)
    _observe(state, memory, close[t + 1], features[t + 1], multiplier, chosen, observation)
    return reward_of(
        out[kernel.OUT_NET_RETURN], out[kernel.OUT_DRAWDOWN], out[kernel.OUT_VOLATILITY], out[kernel.OUT_COST], weights
    )


class TradingEnv(gymnasium.Env[np.ndarray, Any]):
    """An account trading one instrument. Observation: (n + own,) float32, normalised features then own state.

    Training: episodes of `episode_length` bars from random starts. Evaluation: one pass, first to last.
    `truncated` at the window's last bar, `terminated` after ruin. `info` holds the reward's components and the fill.
    """

    metadata = {"render_modes": []}

    def __init__(self, market: Market, config: EnvConfig) -> None:
        last = len(market) - 1 if config.last is None else config.last
        if not 0 <= config.first < last < len(market):
            raise ValueError(
                f"rows {config.first} to {last} of {len(market)} bars leave nothing to play; "
                "expected 0 <= first < last < number of bars"
            )
        self.market, self.config, self.last = market, config, last
        n_inputs = market.features.shape[1] + len(config.own)
        self.shape = (n_inputs,)
        self.observation_space = spaces.Box(-LIMIT, LIMIT, self.shape, np.float32)
        self.is_choice = config.action == CHOICE
        self.action_space = spaces.Discrete(3) if self.is_choice else spaces.Box(-1.0, 1.0, (1,), np.float32)
        self.rules, self.weights = config.rules.as_array(), config.reward.as_array()
        self.out = np.zeros(kernel.N_OUT)
        self.own = config.own.as_array()
        self.t, self.end = config.first, last
        self.state = kernel.new_state(config.start_cash)
        self.memory = np.empty(0)
        # Lets Gymnasium's tools, its checker among them, make another one like this.
        self.spec = EnvSpec("desk/Trading-v0", cast(Any, TradingEnv), kwargs={"market": market, "config": config})

    def reset(self, *, seed: int | None = None, options: dict[str, Any] | None = None) -> tuple[np.ndarray, dict]:
        """Start flat with fresh cash. Returns: the first observation and {"row": bar number}."""
        super().reset(seed=seed)
        self.t, self.end = self.config.first, self.last
        length = self.config.episode_length
        if length is not None and length < self.last - self.config.first:
            self.t = int(self.np_random.integers(self.config.first, self.last - length + 1))
            self.end = self.t + length
        self.state = kernel.new_state(self.config.start_cash)
        observation = np.empty(self.shape, np.float32)
        close = float(self.market.close[self.t])
        if self.config.own.needs_history:
            self.memory = own_history.new_memory(close, float(self.config.start_cash))
        _observe(
            self.state, self.memory, close, self.market.features[self.t], self.rules[kernel.RULE_MULTIPLIER],
            self.own, observation,
        )  # fmt: skip
        return observation, {"row": self.t}

    def step(self, action: Any) -> tuple[np.ndarray, float, bool, bool, dict[str, Any]]:
        """Carry out one decision through the next bar.

        Raises: ValueError for a NaN action, one that is no choice, or a step after the end.
        """
        number = float(action) if self.is_choice else float(action[0])
        if number != number:
            raise ValueError("action is NaN: the policy has diverged; restart from a sound version")
        if self.t >= self.end:
            raise ValueError("the episode has ended: call reset() first")
        market, observation = self.market, np.empty(self.shape, np.float32)
        earned = _step(
            self.state, self.memory, self.t, number, self.is_choice, market.features, market.open, market.close,
            market.volume, market.fees, market.actions, self.rules, self.weights, self.own, self.out, observation,
        )  # fmt: skip
        self.t += 1
        terminated = self.state[kernel.TERMINATED] != 0.0
        return observation, earned, bool(terminated), bool(self.t >= self.end and not terminated), self._info()

    def _info(self) -> dict[str, Any]:
        out = self.out
        components = {name: float(out[index]) for name, index in kernel.REWARD_COMPONENTS.items()}
        components["risk_adjusted_return"] = risk_adjusted(
            components["net_return"], components["volatility"], self.config.reward.volatility_floor
        )
        return {
            "row": self.t,
            "equity": float(self.state[kernel.EQUITY]),
            "quantity": float(self.state[kernel.QUANTITY]),
            "traded": float(out[kernel.OUT_TRADED]),
            "price": float(out[kernel.OUT_PRICE]) if out[kernel.OUT_TRADED] != 0.0 else None,
            "commission": float(out[kernel.OUT_COMMISSION]),
            "slippage": float(out[kernel.OUT_SLIPPAGE]),
            "exposure": float(out[kernel.OUT_EXPOSURE]),
            "components": components,
        }
