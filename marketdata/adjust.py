"""Adjusts traded prices for splits and dividends with the help of an adjusted close. Pure.

The factor of a bar is adj_close / close, scaled so that the last bar keeps its traded price: a source also counts
splits and dividends after the file's end, which would shrink all prices alike (AAPL to below one dollar) and say
nothing about returns. Open, high, low and close are multiplied by the factor, so ratios inside a bar stay.

The factor steps on the first bar that trades without the dividend or after the split:
- split: the step is within 0.5 % of a usual ratio (2:1, 3:2, 7:1, 1:10 ...), at least 6:5 or at most 5:6, and the
  traded price confirms it: open / previous close, times the ratio, is nearer to 1 than open / previous close is.
  Volume before it is multiplied by the ratio.
- dividend: any other step up beyond rounding. Volume stays: no share was added.
- unexplained: any other step down beyond rounding. Prices follow the source, volume stays.
Beyond rounding means more than the last printed digits of close and adj_close can make.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

import numpy as np

from marketdata.series import BarSeries

_FORWARD = (
    (6, 5),
    (5, 4),
    (4, 3),
    (7, 5),
    (3, 2),
    (5, 3),
    *((n, 1) for n in (2, 3, 4, 5, 6, 7, 8, 10, 15, 20, 25, 30, 50)),
    (5, 2),
)
_RATIOS = np.array(sorted({a / b for a, b in _FORWARD} | {b / a for a, b in _FORWARD}))
_SPLIT_TOLERANCE = 0.005
_CENTS, _MOST_DECIMALS = 2, 8


@dataclass(frozen=True)
class CorporateAction:
    """A split or dividend found in the factor."""

    time: int  # first bar after it, seconds since 1970 UTC
    kind: Literal["split", "dividend", "unexplained"]
    ratio: float  # factor after divided by factor before; 2.0 for a 2:1 split
    amount: float  # dividend per share in the money of that day; 0 for a split

    @property
    def date(self) -> str:
        """ISO date of the bar."""
        return datetime.fromtimestamp(self.time, UTC).date().isoformat()

    def as_json(self) -> dict[str, str | float]:
        """For the journal and --json."""
        return {"date": self.date, "kind": self.kind, "ratio": self.ratio, "amount": self.amount}


@dataclass(frozen=True)
class AdjustedBars:
    """Bars comparable over the whole file, and what was found on the way."""

    series: BarSeries
    actions: list[CorporateAction]


def adjust_bars(
    series: BarSeries, adj_close: np.ndarray, *, dividend_base: Literal["previous_close", "close"] = "previous_close"
) -> AdjustedBars:
    """Adjust prices by adj_close / close and volume by splits only; the last bar keeps its traded price and volume.

    adj_close: shape (T,), > 0.
    dividend_base: how the source turned a dividend D into a step: 1 / (1 - D / previous close), as CRSP and Yahoo do,
        or 1 + D / close of the first day without it, as Quandl WIKI did. It matters for `amount` only.
    Raises: ValueError when adj_close has another shape or values that are not positive and finite.
    """
    adjusted = np.asarray(adj_close, dtype=np.float64)
    if adjusted.shape != series.close.shape or not (np.isfinite(adjusted) & (adjusted > 0)).all():
        raise ValueError(
            f"adj_close has shape {adjusted.shape}, expected {series.close.shape} with positive numbers: "
            "pass one adjusted close per bar"
        )
    if len(series) == 0:
        return AdjustedBars(series, [])
    factor = adjusted / series.close
    actions = _find_actions(series, factor, _rounding(series.close, adjusted), dividend_base)
    factor = factor / factor[-1]
    shares = np.ones(len(series))
    for action in actions:
        if action.kind == "split":
            shares[series.time < action.time] *= action.ratio
    open_, high, low, close = (price * factor for price in (series.open, series.high, series.low, series.close))
    return AdjustedBars(BarSeries(series.time, open_, high, low, close, series.volume * shares), actions)


def _find_actions(series: BarSeries, factor: np.ndarray, rounding: np.ndarray, base: str) -> list[CorporateAction]:
    steps = factor[1:] / factor[:-1]
    found = np.flatnonzero(np.abs(steps - 1.0) > rounding[1:] + rounding[:-1]) + 1
    return [_name_action(series, int(bar), float(steps[bar - 1]), base) for bar in found]


def _name_action(series: BarSeries, bar: int, step: float, base: str) -> CorporateAction:
    time = int(series.time[bar])
    ratio = float(_RATIOS[np.abs(_RATIOS / step - 1.0).argmin()])
    jump = series.open[bar] / series.close[bar - 1]
    if abs(ratio / step - 1.0) <= _SPLIT_TOLERANCE and abs(np.log(jump * ratio)) < abs(np.log(jump)):
        return CorporateAction(time, "split", ratio, 0.0)
    if step < 1.0:
        return CorporateAction(time, "unexplained", step, 0.0)
    amount = (step - 1.0) * series.close[bar] if base == "close" else (1.0 - 1.0 / step) * series.close[bar - 1]
    return CorporateAction(time, "dividend", step, float(amount))


def _rounding(close: np.ndarray, adjusted: np.ndarray) -> np.ndarray:
    """Largest relative error of the factor that printing both prices with few digits can make, per bar: (T,)."""
    return _half_digit(close) / close + _half_digit(adjusted) / adjusted + 1e-9


def _half_digit(prices: np.ndarray) -> float:
    """Half of the last digit these prices are printed with: 0.005 for cents, 0 when printed in full."""
    for decimals in range(_CENTS, _MOST_DECIMALS + 1):  # no source prints less than cents
        if np.abs(prices - np.round(prices, decimals)).max() < 1e-9:
            return 0.5 * 10.0**-decimals
    return 0.0
