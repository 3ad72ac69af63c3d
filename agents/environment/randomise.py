"""What differs between episodes of a training: costs drawn anew, and price paths that never were. Pure.

Synthetic paths are a block bootstrap: blocks of consecutive bars of the training rows, each bar taken relative to the
close before it, are drawn at random and put one after the other. Features are computed anew from the path and scaled
by the normaliser the training rows made.
Source: Kuensch, "The Jackknife and the Bootstrap for General Stationary Observations", Annals of Statistics 1989.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import isfinite

import numpy as np

from agents.environment.market import Market, market_of
from agents.environment.random_state import uniform
from agents.policies.features import FeatureSpec, Inputs
from agents.policies.normalisers import AnyNormaliser
from core.simulation import kernel
from core.simulation.compiled import inlined
from marketdata.features import batch
from marketdata.features.catalogue import CATALOGUE
from marketdata.series import BarSeries

LARGEST_SPREAD_BPS = 9_999.0  # as MarketRules: below the whole price
# Features that hang on nothing but the bars' prices, volumes and times; others cannot be computed of a made-up path.
OWN_NEEDS = frozenset({"volume", "sessions"})


@dataclass(frozen=True, kw_only=True)
class RandomiseSettings:
    """What is drawn anew for every episode. Raises: ValueError naming the field that makes no sense."""

    costs: float = 0.0  # half spread, impact and commission, each times a factor from 1 / (1 + costs) to 1 + costs
    paths: int = 0  # synthetic price paths beside the real one
    block: int = 20  # bars of a block

    def __post_init__(self) -> None:
        if isinstance(self.costs, bool) or not isfinite(self.costs) or self.costs < 0:
            raise ValueError(f"randomise costs must be a finite number of at least 0, got {self.costs!r}")
        if self.paths < 0 or self.block < 1:
            raise ValueError(f"randomise paths must be at least 0 and block 1, got {self.paths!r} and {self.block!r}")


@inlined
def cost_factor(costs: float, states: np.ndarray, i: int) -> float:
    """A factor from 1 / (1 + costs) to 1 + costs; its logarithm is uniform, so halving is as likely as doubling."""
    return np.exp((2.0 * uniform(states, i) - 1.0) * np.log1p(costs))


@inlined
def draw_costs(
    costs: float, states: np.ndarray, i: int, usual: np.ndarray, rules: np.ndarray, r: int, n_instruments: int
) -> None:
    """Write the rules of one episode to rules from place r on: those of `usual` with other costs.

    Three factors, for half spread, impact and the broker's commission, the same for all instruments. Regulatory fees
    are not the broker's and stay.
    """
    spread, impact = cost_factor(costs, states, i), cost_factor(costs, states, i)
    commission = cost_factor(costs, states, i)
    for k in range(n_instruments * kernel.N_RULES):
        rules[r + k] = usual[k]
    for place in range(r, r + n_instruments * kernel.N_RULES, kernel.N_RULES):
        wide = rules[place + kernel.RULE_HALF_SPREAD_BPS] * spread
        rules[place + kernel.RULE_HALF_SPREAD_BPS] = min(wide, LARGEST_SPREAD_BPS)
        rules[place + kernel.RULE_IMPACT_BPS] *= impact
        # Prices, minimum and maximum together: the whole commission is that many times as high.
        rules[place + kernel.RULE_COMMISSION_BPS] *= commission
        rules[place + kernel.RULE_COMMISSION_PER_UNIT] *= commission
        rules[place + kernel.RULE_COMMISSION_MINIMUM] *= commission
        rules[place + kernel.RULE_COMMISSION_MAXIMUM_FRACTION] *= commission
        rules[place + kernel.RULE_EXCHANGE_PER_SHARE] *= commission
        rules[place + kernel.RULE_CLEARING_PER_SHARE] *= commission
        rules[place + kernel.RULE_CLEARING_MAXIMUM_FRACTION] *= commission


def bootstrap_rows(first: int, last: int, n: int, block: int, random: np.random.Generator) -> np.ndarray:
    """Which training row each of the n bars of a path is taken from, (n,) int64, all within first + 1 to last.

    Row `first` itself only says what the next one is relative to. Raises: ValueError if the rows hold no block.
    """
    n_sources = last - first
    if n_sources < block:
        raise ValueError(f"blocks of {block} bars need as many training bars, got {max(n_sources, 0)}; lower the block")
    starts = random.integers(first + 1, last - block + 2, size=-(-n // block))
    return (starts[:, None] + np.arange(block)).ravel()[:n]


def synthetic_bars(bars: BarSeries, rows: np.ndarray) -> BarSeries:
    """The path that strings the bars of `rows` together, with the times of the first len(rows) bars.

    bars: adjusted for splits, for a step of the price that is none would be drawn again and again; rows: of
    bootstrap_rows. The path starts from the close before the first row drawn from.
    """
    before = bars.close[rows - 1]
    closes = bars.close[rows] / before
    # Multiplied up in order: each close is the one before times what that bar did.
    start = float(bars.close[rows.min() - 1])
    level = np.concatenate([[start], start * np.cumprod(closes)])[:-1]
    opens, highs, lows = (getattr(bars, name)[rows] / before * level for name in ("open", "high", "low"))
    return BarSeries(bars.time[: len(rows)], opens, highs, lows, closes * level, bars.volume[rows])


Source = tuple[Inputs, np.ndarray]  # what an instrument's features are made of, its bars adjusted; they, raw, (T, n)


def synthetic_market(
    sources: Sequence[Source],
    spec: FeatureSpec,
    normaliser: AnyNormaliser,
    first: int,
    last: int,
    block: int,
    random: np.random.Generator,
) -> Market:
    """One path of the length of rows 0 to last, made of the rows from first to last alone.

    sources: one per instrument of the account; rows of all of them are the same moments, and the same rows are drawn
    for all, so that what moves together still does. normaliser: fitted on the training rows, all features side by side.
    Features of other series (VIX, underlying, news) come from the rows the bars came from.
    """
    rows = bootstrap_rows(first, last, last + 1, block, random)
    paths = [synthetic_bars(inputs.bars, rows) for inputs, _ in sources]
    features = [_features(source, spec, path, rows) for source, path in zip(sources, paths, strict=True)]
    scaled = normaliser.apply_series(np.concatenate(features, axis=1), paths[0].time)
    markets = [
        market_of(path, part, interval_seconds=inputs.interval_seconds, sessions=inputs.sessions)
        for (inputs, _), path, part in zip(sources, paths, np.split(scaled, len(sources), axis=1), strict=True)
    ]
    return markets[0] if len(markets) == 1 else Market.several(markets)


def _features(source: Source, spec: FeatureSpec, path: BarSeries, rows: np.ndarray) -> np.ndarray:
    """Raw features (T, n) of a path whose bars came from `rows`."""
    inputs, raw = source
    features = raw[rows].copy()
    own = [k for k, name in enumerate(spec.names) if CATALOGUE[name].needs <= OWN_NEEDS]
    if own:
        part = FeatureSpec(tuple(spec.names[k] for k in own))
        made = Inputs(path, inputs.interval_seconds, sessions=inputs.sessions)
        features[:, own] = batch.compute(part, made)
    return features


def synthetic_markets(
    sources: Sequence[Source],
    spec: FeatureSpec,
    normaliser: AnyNormaliser,
    first: int,
    last: int,
    settings: RandomiseSettings,
    seed: int,
) -> tuple[Market, ...]:
    """As many paths as the settings ask for; path k of a seed is always the same. See synthetic_market."""
    return tuple(
        synthetic_market(sources, spec, normaliser, first, last, settings.block, np.random.default_rng([seed, k]))
        for k in range(settings.paths)
    )
