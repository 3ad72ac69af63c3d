"""Reward components that remember earlier bars: volatility and the differential ratios of Moody and Saffell."""

import math

import numpy as np

from core.simulation.compiled import inlined
from core.simulation.kernel.layout import (
    DOWNSIDE,
    LEAST_VARIANCE,
    OUT_CONSISTENCY,
    OUT_DIFFERENTIAL_DOWNSIDE,
    OUT_DIFFERENTIAL_SHARPE,
    OUT_LOG_RETURN,
    OUT_NET_RETURN,
    OUT_VOLATILITY,
    RULE_SHARPE_RATE,
    RULE_VOLATILITY_DECAY,
    SHARPE_A,
    SHARPE_B,
    VARIANCE,
    WORST_LOGGED_RETURN,
)


@inlined
def differential_sharpe(net_return: float, mean: float, square: float) -> float:
    """What a return adds to the Sharpe ratio, per unit of the moments' rate.

    mean, square: exponentially weighted first and second moment before the bar.
    Returns: 0 while their variance is nothing. Source: Moody and Saffell, "Reinforcement Learning for Trading", 1998.
    """
    variance = square - mean * mean
    if variance <= LEAST_VARIANCE:
        return 0.0
    gain = square * (net_return - mean) - 0.5 * mean * (net_return * net_return - square)
    return gain / (variance * math.sqrt(variance))


@inlined
def differential_downside(net_return: float, mean: float, downside: float) -> float:
    """What a return adds to the downside deviation ratio (Sortino's), per unit of the moments' rate.

    downside: exponentially weighted mean of min(return, 0)² before the bar.
    Returns: 0 while there was no loss. Source: Moody and Saffell, "Learning to Trade via Direct Reinforcement", 2001.
    """
    if downside <= LEAST_VARIANCE:
        return 0.0
    deviation = math.sqrt(downside)
    if net_return > 0.0:
        return (net_return - 0.5 * mean) / deviation
    gain = downside * (net_return - 0.5 * mean) - 0.5 * mean * net_return * net_return
    return gain / (downside * deviation)


@inlined
def reward_return(
    accounts: np.ndarray, a: int, net_return: float, rules: np.ndarray, r: int, out: np.ndarray, o: int
) -> None:
    """Write the components that follow from the bar's return and the returns before, and remember this one."""
    decay, rate = rules[r + RULE_VOLATILITY_DECAY], rules[r + RULE_SHARPE_RATE]
    variance = decay * accounts[a + VARIANCE] + (1.0 - decay) * (net_return * net_return)
    accounts[a + VARIANCE] = variance
    out[o + OUT_NET_RETURN] = net_return
    out[o + OUT_LOG_RETURN] = math.log1p(max(net_return, WORST_LOGGED_RETURN))
    out[o + OUT_VOLATILITY] = -math.sqrt(variance)
    out[o + OUT_DIFFERENTIAL_SHARPE] = out[o + OUT_DIFFERENTIAL_DOWNSIDE] = out[o + OUT_CONSISTENCY] = 0.0
    if rate == 0.0:
        return
    mean, square, downside = accounts[a + SHARPE_A], accounts[a + SHARPE_B], accounts[a + DOWNSIDE]
    loss = min(net_return, 0.0)
    out[o + OUT_DIFFERENTIAL_SHARPE] = differential_sharpe(net_return, mean, square)
    out[o + OUT_DIFFERENTIAL_DOWNSIDE] = differential_downside(net_return, mean, downside)
    accounts[a + SHARPE_A] = mean + rate * (net_return - mean)
    accounts[a + SHARPE_B] = square + rate * (net_return * net_return - square)
    accounts[a + DOWNSIDE] = downside + rate * (loss * loss - downside)
