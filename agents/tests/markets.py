"""Made-up markets with ranges, weekends, splits and thin volume, for tests of the environments."""

import numpy as np

from agents.environment.env import EnvConfig, Market
from core.simulation.rules import MarketRules

# Everything at once: spread, impact, stops, trail, time stop, interest, borrowing, thin volume, leverage.
FULL = MarketRules(
    half_spread_bps=3, impact_bps=40, impact_exponent=0.5, schedule="ibkr_tiered", stop_loss=0.03, take_profit=0.05,
    trail_atr=2.0, time_stop=25, participation=0.05, short_selling=True, leverage=1.5, max_weight=1.2,
    no_trade_band=0.02, interest_rate=0.04, debit_spread=0.01, borrow_rate=0.02, margin_call=4.0, sharpe_rate=0.05,
)  # fmt: skip


def stormy(n_bars: int = 260, n_features: int = 3, seed: int = 0) -> Market:
    """A random walk of 2 % a bar with gaps; two splits, a dividend, days without volume."""
    random = np.random.default_rng(seed)
    close = 100 * np.exp(np.cumsum(random.normal(0, 0.02, n_bars)))
    open_ = np.concatenate([[100.0], close[:-1]]) * np.exp(random.normal(0, 0.01, n_bars))
    actions = np.tile([1.0, 0.0], (n_bars, 1))
    actions[n_bars // 3], actions[n_bars // 2, 1], actions[2 * n_bars // 3] = (7.0, 0.1), 0.8, (0.25, 0.0)
    units = np.cumprod(actions[:, 0])
    high = np.maximum(open_, close) * (1 + random.uniform(0, 0.02, n_bars))
    low = np.minimum(open_, close) * (1 - random.uniform(0, 0.02, n_bars))
    volume = random.integers(0, 40_000, n_bars) * (random.random(n_bars) > 0.05)
    return Market(
        random.normal(size=(n_bars, n_features)).clip(-5, 5), open_ / units, close / units, volume * units,
        np.tile([2e-5, 1e-4, 5.0], (n_bars, 1)), actions,
        high=high / units, low=low / units, day=np.cumsum(random.choice([1, 1, 1, 1, 3], n_bars)),
        atr=np.where(np.arange(n_bars) < 14, np.nan, 2.0 / units),
    )  # fmt: skip


def random_actions(config: EnvConfig, n_steps: int, shape: tuple[int, ...], seed: int = 0) -> np.ndarray:
    """Actions (n_steps, *shape) of the config's kind, in runs, so that positions are held for a while."""
    random = np.random.default_rng(seed)
    if config.action == "target":
        fresh = random.uniform(-1, 1, (n_steps, *shape))
    else:
        fresh = random.integers(0, 3 if config.action == "choice" else 9, (n_steps, *shape)).astype(float)
    stay = random.random((n_steps, *shape)) < 0.6
    for k in range(1, n_steps):
        fresh[k] = np.where(stay[k], fresh[k - 1] if config.action == "target" else 0.0, fresh[k])
    return fresh
