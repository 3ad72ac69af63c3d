"""The environment ours is measured against: gym-trading-env, where it is installed. Pure.

It asks for an old ccxt that ours is not compatible with, but its environment needs none: install it without its
dependencies, `pip install --no-deps gym-trading-env==0.3.5`.
"""

import warnings
from importlib import import_module
from importlib.metadata import PackageNotFoundError, version

import gymnasium
import numpy as np
import pandas as pd

PACKAGE = "gym-trading-env"
HOW_TO_GET_IT = f"{PACKAGE} is not installed (pip install --no-deps {PACKAGE}==0.3.5)"


def peer_version() -> str | None:
    """The installed version, None where there is none."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return None


def peer_env(
    features: np.ndarray, close: np.ndarray, *, fee: float, borrow_rate: float, episode_length: int, start_cash: float
) -> gymnasium.Env:
    """Flat or long at every close, with all it can charge.

    features: (T, n); close: (T,); fee: fraction of value; borrow_rate: a step's. Raises: ImportError without the
    package.
    """
    with warnings.catch_warnings():  # importing it turns every warning of the process into an error
        environments = import_module("gym_trading_env.environments")

    columns = {f"feature_{i}": column for i, column in enumerate(np.asarray(features).T)}
    prices = dict.fromkeys(("open", "high", "low", "close"), close)
    frame = pd.DataFrame({**prices, **columns}, index=pd.date_range("2000-01-03", periods=len(close), freq="D"))
    return environments.TradingEnv(
        frame,
        positions=[0, 1],
        trading_fees=fee,
        borrow_interest_rate=borrow_rate,
        portfolio_initial_value=start_cash,
        max_episode_duration=episode_length,
        verbose=0,
    )
