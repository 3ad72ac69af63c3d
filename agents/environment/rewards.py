"""What an agent is paid for one bar, from the kernel's components. One formula for training, backtest and live."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Self

import numpy as np

from core.simulation import kernel
from core.simulation.compiled import compiled, inlined
from core.simulation.rules import MarketRules

KINDS = ("net_return", "risk_adjusted")
RISK_ADJUSTED = "risk_adjusted_return"
# What is logged of every step: the kernel's components by their places in its output, then what is made of them.
COMPONENT_NAMES = (*kernel.REWARD_COMPONENTS, RISK_ADJUSTED)
N_COMPONENTS = len(COMPONENT_NAMES)
_N_KERNEL = len(kernel.REWARD_COMPONENTS)
assert tuple(kernel.REWARD_COMPONENTS.values()) == tuple(range(_N_KERNEL)), "components come first in the output"

# Places of RewardSettings.as_array(); the weight of a component other than the first part stands at 1 + its place.
_KIND, _FLOOR = 0, 1 + _N_KERNEL
N_WEIGHTS = _FLOOR + 1
# Parts of the reward that are always 0 without a rate of their running moments.
NEED_RATE = ("differential_sharpe", "differential_downside")


@dataclass(frozen=True, kw_only=True)
class RewardSettings:
    """Weights of the reward's parts. Raises: ValueError naming the field that makes no sense.

    kind net_return:    net_return_weight * net_return + the others
    kind risk_adjusted: net_return_weight * net_return / max(running volatility, volatility_floor) + the others
    the others:         weight * component each; drawdown, volatility, cost, holding and consistency are all <= 0
    Running volatility is the kernel's: the root of the exponentially weighted mean of squared net returns, this
    bar's included. The floor keeps a nearly flat account's tiny returns from counting like a full position's.
    The differential ratios need a rate, `sharpe_rate` of the market rules; without it they stay 0.
    """

    kind: str = "net_return"  # net_return or risk_adjusted
    net_return: float = 1.0  # weight of the first part
    drawdown: float = 0.0  # weight of newly made drawdown
    volatility: float = 0.0  # weight of running volatility per bar
    cost: float = 0.0  # weight of costs on top of the net return, which already bears them once
    volatility_floor: float = 0.02  # fraction per bar, risk_adjusted only
    log_return: float = 0.0  # weight of the logarithmic return
    differential_sharpe: float = 0.0  # weight of what the bar adds to the running Sharpe ratio
    differential_downside: float = 0.0  # weight of what it adds to the running ratio of return to losses
    holding: float = 0.0  # weight of age in bars times share of money, of what is held
    consistency: float = 0.0  # weight of the change of a continuous action

    def __post_init__(self) -> None:
        if self.kind not in KINDS:
            raise ValueError(f"reward kind must be one of {', '.join(KINDS)}, got {self.kind!r}")
        for field in fields(self)[1:]:
            value = getattr(self, field.name)
            if isinstance(value, bool) or not isinstance(value, int | float) or not isfinite(value) or value < 0:
                raise ValueError(f"reward {field.name} must be a finite number of at least 0, got {value!r}")
        if self.volatility_floor == 0:
            raise ValueError("reward volatility_floor must be above 0, or a flat account would divide by zero")

    def as_array(self) -> np.ndarray:
        """float64, shape (N_WEIGHTS,), as reward_of reads it: kind, weights in the components' order, floor."""
        weights = [float(getattr(self, name)) for name in kernel.REWARD_COMPONENTS]
        return np.array([float(KINDS.index(self.kind)), *weights, self.volatility_floor])

    def to_dict(self) -> dict[str, Any]:
        """Plain values by field name, fit for JSON."""
        return asdict(self)

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """The reverse of to_dict; absent fields take their defaults. Raises: ValueError for unknown fields."""
        unknown = sorted(set(values) - {field.name for field in fields(cls)})
        if unknown:
            raise ValueError(f"unknown reward settings {', '.join(unknown)}; remove them or correct their spelling")
        return cls(**values)


def check_rate(settings: RewardSettings, rules: MarketRules, search: Mapping[str, Any] | None = None) -> None:
    """Refuse a weight of a differential ratio while the ratios are switched off: it would weigh nothing.

    search: what a study varies, weights as reward_..., see studies/search.py. Raises: ValueError saying what to set.
    """
    varied = search or {}
    wanted = [name for name in NEED_RATE if getattr(settings, name) or varied.get(f"reward_{name}", 0) != 0]
    if wanted and rules.sharpe_rate == 0:
        raise ValueError(
            f"a weight of {' and '.join(wanted)} does nothing while rules.sharpe_rate is 0; "
            "set rules.sharpe_rate, such as 0.01, or take the weight away"
        )


@inlined
def risk_adjusted(net_return: float, volatility: float, floor: float) -> float:
    """Net return over running volatility. volatility: the kernel's component, <= 0; floor: fraction per bar, > 0."""
    return net_return / max(-volatility, floor)


@inlined
def pay(out: np.ndarray, o: int, weights: np.ndarray, components: np.ndarray, c: int) -> float:
    """Reward of one bar. out: as the kernel writes it, from place o on; weights: RewardSettings.as_array().

    The components are copied to `components` from place c on, (N_COMPONENTS,).
    """
    net_return, volatility = out[o + kernel.OUT_NET_RETURN], out[o + kernel.OUT_VOLATILITY]
    adjusted = risk_adjusted(net_return, volatility, weights[_FLOOR])
    earned = weights[1 + kernel.OUT_NET_RETURN] * (net_return if weights[_KIND] == 0.0 else adjusted)
    # In this order the first penalties give the sums they always gave; a weight of 0 adds nothing.
    earned += weights[1 + kernel.OUT_DRAWDOWN] * out[o + kernel.OUT_DRAWDOWN]
    earned += weights[1 + kernel.OUT_VOLATILITY] * volatility
    earned += weights[1 + kernel.OUT_COST] * out[o + kernel.OUT_COST]
    earned += weights[1 + kernel.OUT_LOG_RETURN] * out[o + kernel.OUT_LOG_RETURN]
    earned += weights[1 + kernel.OUT_DIFFERENTIAL_SHARPE] * out[o + kernel.OUT_DIFFERENTIAL_SHARPE]
    earned += weights[1 + kernel.OUT_DIFFERENTIAL_DOWNSIDE] * out[o + kernel.OUT_DIFFERENTIAL_DOWNSIDE]
    earned += weights[1 + kernel.OUT_HOLDING] * out[o + kernel.OUT_HOLDING]
    earned += weights[1 + kernel.OUT_CONSISTENCY] * out[o + kernel.OUT_CONSISTENCY]
    for k in range(_N_KERNEL):
        components[c + k] = out[o + k]
    components[c + _N_KERNEL] = adjusted
    return earned


@compiled
def reward_of(components: np.ndarray, weights: np.ndarray) -> float:
    """Reward of one bar from its components in the order of COMPONENT_NAMES and RewardSettings.as_array()."""
    return pay(components, 0, weights, np.empty(N_COMPONENTS), 0)


def reward(components: dict[str, float], settings: RewardSettings) -> tuple[float, dict[str, float]]:
    """Reward of one bar and its components, risk-adjusted return added, for the live loop.

    components: the kernel's, by name; those without a weight may be missing, but not net_return and volatility.
    Raises: ValueError for one that is needed and missing.
    """
    needed = {name for name in kernel.REWARD_COMPONENTS if getattr(settings, name) != 0} | {"net_return", "volatility"}
    if missing := sorted(needed - set(components)):
        raise ValueError(f"reward components {', '.join(missing)} are missing; got {', '.join(sorted(components))}")
    row = np.array([float(components.get(name, 0.0)) for name in COMPONENT_NAMES])
    ratio = risk_adjusted(row[kernel.OUT_NET_RETURN], row[kernel.OUT_VOLATILITY], settings.volatility_floor)
    return float(reward_of(row, settings.as_array())), {**components, RISK_ADJUSTED: float(ratio)}


def sums_of(rows: np.ndarray) -> dict[str, float]:
    """Sums by name of components (T, N_COMPONENTS)."""
    return {name: float(value) for name, value in zip(COMPONENT_NAMES, rows.sum(axis=0), strict=True)}
