"""Builds bars of a fund that nobody trades: an index leveraged anew every day. Pure."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from marketdata.series import BarSeries

_DAY = 86_400
_FLOOR = 1e-6  # of the previous close: a price inside the day never reaches 0


@dataclass(frozen=True)
class LeverageTerms:
    """What a daily leveraged fund promises and costs."""

    factor: float  # 3.0 moves three times the index each day; may be negative
    financing_rate: float  # yearly interest on the borrowed part (factor - 1), its spread included; 0.02 is 2 %
    yearly_fee: float  # of the fund's value; 0.0095 is 0.95 %


def constructed_leverage(series: BarSeries, terms: LeverageTerms, *, start_value: float) -> BarSeries:
    """Bars of a fund that multiplies each day's move of `series` and pays interest and fee.

    Close: previous * (1 + factor * r - (factor - 1) * financing * days / 360 - fee * days / 365), where r is the
    index's return from close to close and days the calendar days since the previous bar. Open, high and low: the same
    with the index's open, high, low over its previous close and the same costs. The first bar opens at start_value
    without costs. Volume is 0. An opposite factor swaps high and low.

    Raises: ValueError if start_value is not positive, or a close loses everything: a wiped-out fund has no next bar.
    Source: daily rebalancing as in Cheng and Madhavan, "The Dynamics of Leveraged and Inverse ETFs", 2009.
    """
    if not start_value > 0:
        raise ValueError(f"start_value is {start_value}, expected a price above 0")
    if len(series) == 0:
        return series
    before = np.concatenate([series.open[:1], series.close[:-1]])
    costs = _costs(series.time, terms)
    growth = np.stack(
        [
            1.0 + terms.factor * (price / before - 1.0) - costs
            for price in (series.open, series.high, series.low, series.close)
        ]
    )
    lost = np.flatnonzero(growth[3] <= _FLOOR)
    if lost.size:
        raise ValueError(
            f"a factor of {terms.factor:g} loses everything on bar {lost[0]}: use a smaller factor or a later start"
        )
    growth = np.maximum(growth, _FLOOR)
    previous = start_value * np.concatenate([[1.0], np.cumprod(growth[3])[:-1]])
    prices = growth * previous
    return BarSeries(series.time, prices[0], prices.max(axis=0), prices.min(axis=0), prices[3], np.zeros(len(series)))


def _costs(time: np.ndarray, terms: LeverageTerms) -> np.ndarray:
    """Interest (actual days / 360, the money market's count) and fee (actual / 365) since the previous bar: (T,)."""
    days = np.diff(time, prepend=time[:1]) / _DAY
    return (terms.factor - 1.0) * terms.financing_rate * days / 360.0 + terms.yearly_fee * days / 365.0
