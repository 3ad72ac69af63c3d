"""Which calculation a specification asks for, and where in a row each of its features goes."""

from dataclasses import dataclass
from functools import lru_cache

import numpy as np

from marketdata.features import market_kernel, price_kernel
from marketdata.features.catalogue import columns_of
from marketdata.features.talib_features import RECIPES, Indicator


@dataclass(frozen=True, eq=False)
class Filling:
    """What recipes.fill takes: what to make of which outputs, and where it goes; four (F,) int64 arrays."""

    recipes: np.ndarray
    first: np.ndarray
    second: np.ndarray
    columns: np.ndarray


@dataclass(frozen=True, eq=False)
class Plan:
    """One specification's work."""

    n: int
    indicators: tuple[Indicator, ...]  # TA-Lib's, each once
    price: np.ndarray  # columns of each kernel's features, -1 for not wanted
    volume: np.ndarray
    calendar: np.ndarray
    cross: np.ndarray
    sentiment: np.ndarray
    names: tuple[str, ...]

    def filling(self, indicators: tuple[Indicator, ...]) -> Filling:
        """For the outputs of these indicators, one below the other."""
        start, begin = 0, {}
        for indicator in indicators:
            begin[indicator] = start
            start += indicator.n_outputs()
        rows = [
            (made.recipe, begin[made.indicator] + made.a, begin[made.indicator] + made.b, column)
            for column, name in enumerate(self.names)
            if (made := RECIPES.get(name)) is not None and made.indicator in begin
        ]
        return Filling(*np.array(rows, dtype=np.int64).reshape(-1, 4).T.copy())


@lru_cache(maxsize=64)
def plan_of(names: tuple[str, ...]) -> Plan:
    """The plan of a specification's names."""
    indicators = dict.fromkeys(RECIPES[name].indicator for name in names if name in RECIPES)
    return Plan(
        len(names),
        tuple(indicators),
        columns_of(price_kernel.PRICE_NAMES, names),
        columns_of(price_kernel.VOLUME_NAMES, names),
        columns_of(market_kernel.CALENDAR_NAMES, names),
        columns_of(market_kernel.CROSS_NAMES, names),
        columns_of(market_kernel.SENTIMENT_NAMES, names),
        names,
    )
