"""Features of a whole series at once."""

import numpy as np

from marketdata.features.catalogue import FeatureList
from marketdata.features.inputs import Inputs, bars_table, closes_table, usable, with_volume
from marketdata.features.kernels import Kernels
from marketdata.features.plan import Plan, plan_of
from marketdata.features.recipes import fill, no_outputs
from marketdata.features.talib_features import Indicator

COLUMN = {"open": 1, "high": 2, "low": 3, "close": 4, "volume": 5}


def compute(spec: FeatureList, inputs: Inputs) -> np.ndarray:
    """Raw features, shape (T, n), float64, NaN where a value is not known.

    Every value at a bar is made of that bar and earlier ones, and of what was known of other series by then. A bar
    with a missing price gives NaN in features of prices, and later bars are as if it did not exist.
    """
    plan = plan_of(spec.names)
    kernels = Kernels(plan, inputs.interval_seconds, inputs.sessions)
    return compute_with(kernels, plan, inputs)


def compute_with(kernels: Kernels, plan: Plan, inputs: Inputs) -> np.ndarray:
    """The same with kernels that have seen nothing; they have seen all bars afterwards."""
    table = bars_table(inputs.bars)
    out = np.full((len(table), plan.n), np.nan)
    kernels.tell("vix", closes_table(inputs.vix))
    kernels.tell("underlying", closes_table(inputs.underlying))
    kernels.tell("scores", inputs.scores)
    kernels.take(table, out)
    for needs_volume in (False, True):
        indicators = tuple(i for i in plan.indicators if i.needs_volume == needs_volume)
        if indicators:
            columns, rows = columns_for(table, needs_volume)
            for indicator in indicators:
                _one(plan, indicator, columns, rows, out)
    return out


def columns_for(table: np.ndarray, needs_volume: bool) -> tuple[dict[str, np.ndarray], np.ndarray]:
    """The bars TA-Lib may see, column by column, and their rows in the table."""
    good = usable(table) & with_volume(table) if needs_volume else usable(table)
    rows = np.flatnonzero(good)
    kept = table if len(rows) == len(table) else table[rows]
    return {name: np.ascontiguousarray(kept[:, column]) for name, column in COLUMN.items()}, rows


def outputs(indicator: Indicator, columns: dict[str, np.ndarray]) -> np.ndarray:
    """(M, T) float64 outputs, NaN during the lookback."""
    arrays = [columns[name] for name in indicator.inputs]
    if not len(arrays[0]):
        return np.empty((indicator.n_outputs(), 0))
    found = indicator.batch()(*arrays, **indicator.options)
    table = np.array(found, dtype=np.float64) if isinstance(found, tuple) else found.astype(float, copy=False)[None]
    table[:, : indicator.lookback()] = np.nan  # whole numbers have no NaN of their own
    return table


def _one(plan: Plan, indicator: Indicator, columns: dict[str, np.ndarray], rows: np.ndarray, out: np.ndarray) -> None:
    filling = plan.filling((indicator,))
    raw = outputs(indicator, columns)
    fill(
        filling.recipes, filling.first, filling.second, filling.columns,
        raw, no_outputs(len(raw)), columns["close"], rows, out,
    )  # fmt: skip
