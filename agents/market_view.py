"""What an agent may see of the market at one moment: its instrument's bars and the VIX, never a bar beyond it."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import numpy as np

from agents.features import FeatureSpec
from core.closed_bar import ClosedBar
from marketdata.queries import load_bars
from marketdata.series import BarSeries


@dataclass
class MarketView:
    """Bars read so far, grown bar by bar; features are computed by the same function as in training."""

    instrument_id: int
    vix_id: int | None
    interval_seconds: int
    bars: BarSeries
    vix: BarSeries | None

    @classmethod
    def open(cls, instrument_id: int, vix_id: int | None, interval_seconds: int) -> "MarketView":
        """An empty view; the first look reads the history."""
        vix = BarSeries.empty() if vix_id is not None else None
        return cls(instrument_id, vix_id, interval_seconds, BarSeries.empty(), vix)

    def look(self, moment: datetime) -> ClosedBar:
        """Read everything up to the bar that began at `moment`. Raises: LookupError if that bar is not stored."""
        self.bars = _grown(self.bars, self.instrument_id, self.interval_seconds, moment)
        if self.vix is not None and self.vix_id is not None:
            self.vix = _grown(self.vix, self.vix_id, self.interval_seconds, moment)
        if len(self.bars) == 0 or self.bars.time[-1] != int(moment.timestamp()):
            raise LookupError(f"the bar of {moment:%Y-%m-%d %H:%M} is not stored; import it again")
        return ClosedBar(
            time=moment,
            open=float(self.bars.open[-1]),
            close=float(self.bars.close[-1]),
            volume=float(self.bars.volume[-1]),
        )

    def features(self, spec: FeatureSpec) -> tuple[np.ndarray, np.ndarray]:
        """Raw features (n,) of the last bar and of the one before; NaN where missing."""
        rows = spec.compute(self.bars, self.vix, self.interval_seconds)
        before = rows[-2] if len(rows) > 1 else np.full(rows.shape[1], np.nan)
        return rows[-1], before


def _grown(bars: BarSeries, instrument_id: int, interval_seconds: int, moment: datetime) -> BarSeries:
    """`bars` and what was stored after them, up to `moment`; a moment in their past cuts them off there."""
    if len(bars) and bars.time[-1] >= int(moment.timestamp()):
        return bars.until(int(moment.timestamp()))
    start = datetime.fromtimestamp(int(bars.time[-1]), UTC) + timedelta(seconds=1) if len(bars) else None
    new = load_bars(instrument_id, interval_seconds, start=start, end=moment)
    if not len(bars) or not len(new):
        return new if len(new) else bars
    names = ("time", "open", "high", "low", "close", "volume")
    return BarSeries(*(np.concatenate([getattr(bars, name), getattr(new, name)]) for name in names))
