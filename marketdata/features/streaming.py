"""Features one bar at a time: the same numbers as the batch, with fixed work per bar and no history."""

import math

import numpy as np

from marketdata.calendars import Sessions
from marketdata.features.batch import columns_for, compute_with
from marketdata.features.catalogue import FeatureList
from marketdata.features.handles import Handles
from marketdata.features.inputs import Inputs, Rows, bars_table
from marketdata.features.kernels import Kernels
from marketdata.features.plan import plan_of


class FeatureStream:
    """The features of one instrument, bar by bar."""

    def __init__(self, spec: FeatureList, interval_seconds: int, sessions: Sessions | None = None) -> None:
        """sessions: of the instrument's exchange, which must cover the bars to come; see use_sessions."""
        self.spec, self.interval_seconds = spec, interval_seconds
        self._plan = plan_of(spec.names)
        self._kernels = Kernels(self._plan, interval_seconds, sessions)
        self._prices, self._volumes = Handles(self._plan, False), Handles(self._plan, True)
        self._table, self._row = np.empty((1, 6)), np.empty((1, self._plan.n))
        self._last_time = -math.inf

    def warm(self, inputs: Inputs) -> np.ndarray:
        """Start from history. Returns: its features, (T, n), exactly the batch's.

        The sessions of `inputs` are known from here on. Raises: ValueError after the first bar, or for bars of
        another interval.
        """
        if self._last_time != -math.inf:
            raise ValueError("the stream has seen bars already: make a new one to start from history")
        if inputs.interval_seconds != self.interval_seconds:
            raise ValueError(
                f"bars of {inputs.interval_seconds} seconds arrived, this stream takes {self.interval_seconds}"
            )
        if inputs.sessions is not None:
            self.use_sessions(inputs.sessions)
        rows = compute_with(self._kernels, self._plan, inputs)
        table = bars_table(inputs.bars)
        for handles, needs_volume in ((self._prices, False), (self._volumes, True)):
            if handles.indicators:
                handles.warm(columns_for(table, needs_volume)[0])
        if len(table):
            self._last_time = table[-1, 0]
        return rows

    def update(
        self, time: int, open: float, high: float, low: float, close: float, volume: float, *,
        vix: Rows = None, underlying: Rows = None, scores: Rows = None,
    ) -> np.ndarray:  # fmt: skip
        """Take one closed bar. Returns: its features, (n,) float64, NaN where not known.

        time: start of the bar, seconds since 1970 UTC; vix, underlying: their bars (time, close) that were not handed
        over before, scores: new (known_at, score); rows that lie after the bar wait for the bar that may know them.
        Raises: ValueError if the bar does not come after the one before.
        """
        if time <= self._last_time:
            raise ValueError(f"the bar of {time} does not come after the one of {self._last_time:.0f}")
        self._last_time = time
        for name, rows in (("vix", vix), ("underlying", underlying), ("scores", scores)):
            if rows is not None:
                self._kernels.tell(name, rows)
        out = self._row
        out.fill(math.nan)
        self._table[0] = (time, open, high, low, close, volume)
        self._kernels.take(self._table, out)
        if 0.0 < open < math.inf and 0.0 < high < math.inf and 0.0 < low < math.inf and 0.0 < close < math.inf:
            bar = (open, high, low, close, volume)
            if self._prices.indicators:
                self._prices.update(bar, out)
            if self._volumes.indicators and 0.0 <= volume < math.inf:
                self._volumes.update(bar, out)
        return out[0].copy()

    def use_sessions(self, sessions: Sessions | None) -> None:
        """Know these sessions from the next bar on, such as when the ones known so far end."""
        self._kernels.use_sessions(sessions)
