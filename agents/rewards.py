"""What an agent is paid for one bar, from the kernel's components. One formula for training, backtest and live."""

from dataclasses import asdict, dataclass, fields
from math import isfinite
from typing import Any, Self

import numpy as np
from numba import njit

KINDS = ("net_return", "risk_adjusted")


@dataclass(frozen=True, kw_only=True)
class RewardSettings:
    """Weights of the reward's parts. Raises: ValueError naming the field that makes no sense.

    kind net_return:    net_return_weight * net_return + penalties
    kind risk_adjusted: net_return_weight * net_return / max(running volatility, volatility_floor) + penalties
    penalties:          drawdown * component + volatility * component + cost * component, components all <= 0
    Running volatility is the kernel's: the root of the exponentially weighted mean of squared net returns, this
    bar's included. The floor keeps a nearly flat account's tiny returns from counting like a full position's.
    """

    kind: str = "net_return"  # net_return or risk_adjusted
    net_return: float = 1.0  # weight of the first part
    drawdown: float = 0.0  # weight of newly made drawdown
    volatility: float = 0.0  # weight of running volatility per bar
    cost: float = 0.0  # weight of costs on top of the net return, which already bears them once
    volatility_floor: float = 0.02  # fraction per bar, risk_adjusted only

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
        """float64, shape (6,), as reward_of reads it."""
        values = (self.net_return, self.drawdown, self.volatility, self.cost, self.volatility_floor)
        return np.array([float(KINDS.index(self.kind)), *values], dtype=float)

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


@njit(cache=True, fastmath=False)
def risk_adjusted(net_return: float, volatility: float, floor: float) -> float:
    """Net return over running volatility. volatility: the kernel's component, <= 0; floor: fraction per bar, > 0."""
    return net_return / max(-volatility, floor)


@njit(cache=True, fastmath=False)
def reward_of(net_return: float, drawdown: float, volatility: float, cost: float, weights: np.ndarray) -> float:
    """Reward of one bar from the kernel's components and RewardSettings.as_array()."""
    earned = net_return if weights[0] == 0.0 else risk_adjusted(net_return, volatility, weights[5])
    return weights[1] * earned + weights[2] * drawdown + weights[3] * volatility + weights[4] * cost


def reward(components: dict[str, float], settings: RewardSettings) -> tuple[float, dict[str, float]]:
    """Reward of one bar and its components, risk-adjusted return added, for the live loop.

    components: the kernel's, by name: net_return, drawdown, volatility, cost at least.
    """
    net_return, drawdown, volatility, cost = (
        float(components[name]) for name in ("net_return", "drawdown", "volatility", "cost")
    )
    ratio = risk_adjusted(net_return, volatility, settings.volatility_floor)
    earned = reward_of(net_return, drawdown, volatility, cost, settings.as_array())
    return float(earned), {**components, "risk_adjusted_return": float(ratio)}
