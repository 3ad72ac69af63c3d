"""What an environment plays on: bars as the kernel reads them beside features, of one instrument or several. Pure."""

from datetime import UTC, datetime, tzinfo
from functools import cached_property

import numpy as np
from numpy.typing import ArrayLike

from core.simulation import kernel
from core.simulation.bars import bar_table, side_by_side
from core.simulation.fees import fees_for
from marketdata.calendars import Sessions
from marketdata.coarser import session_dates
from marketdata.features import batch
from marketdata.features.inputs import DAY, bars_table
from marketdata.features.talib_features import HLC, Indicator
from marketdata.series import BarSeries

LIMIT = 5.0
# Wilder's average true range; what trailing stops in multiples of it follow.
AVERAGE_TRUE_RANGE = Indicator("ATR", HLC, (("timeperiod", 14),))


class Market:
    """Features and bars, one row per bar. Nothing of it may be changed.

    features (T, n) normalised, within +-5; bars (T, I, kernel.N_BAR); inputs (T, n) float32, the features as an
    observation holds them. open, close ... are columns of the bars: (T,) of one instrument, (T, I) of several.
    """

    def __init__(
        self,
        features: ArrayLike,
        open: ArrayLike,
        close: ArrayLike,
        volume: ArrayLike,
        fees: ArrayLike,
        actions: ArrayLike | None = None,
        *,
        high: ArrayLike | None = None,
        low: ArrayLike | None = None,
        day: ArrayLike | None = None,
        atr: ArrayLike | None = None,
    ) -> None:
        """One instrument. All arrays as bar_table takes them; volume: zeros where there is none; fees: of fees_for.

        Raises: ValueError naming the array that does not fit.
        """
        bars = bar_table(open, close, volume, fees, high=high, low=low, day=day, atr=atr, actions=actions)
        self._fill(np.array(features, dtype=float, order="C"), bars)

    @classmethod
    def several(cls, markets: "list[Market] | tuple[Market, ...]") -> "Market":
        """Instruments of one account, whose rows are the same moments: features side by side.

        Raises: ValueError for markets of different lengths, or none.
        """
        if not markets:
            raise ValueError("no markets arrived; at least one is needed")
        made = cls.__new__(cls)
        tables = (market.bars for market in markets)
        bars = side_by_side(*tables)
        made._fill(np.ascontiguousarray(np.concatenate([market.features for market in markets], axis=1)), bars)
        return made

    def _fill(self, features: np.ndarray, bars: np.ndarray) -> None:
        if features.ndim != 2 or len(features) != len(bars):
            raise ValueError(f"features has shape {features.shape}, expected ({len(bars)}, n): one row per bar")
        if not (np.abs(features) <= LIMIT).all():
            raise ValueError("features must be normalised, within +-5 and without NaN; use Normaliser.apply")
        self.features, self.bars = features, bars
        self.n_features, self.n_instruments = features.shape[1], bars.shape[1]

    def __len__(self) -> int:
        return len(self.bars)

    @cached_property
    def inputs(self) -> np.ndarray:
        """The features as observations hold them, (T, n) float32."""
        return self.features.astype(np.float32)

    def _column(self, place: int) -> np.ndarray:
        column = self.bars[:, :, place]
        return column[:, 0] if self.n_instruments == 1 else column

    @property
    def open(self) -> np.ndarray:
        """Prices of the first trade of each bar."""
        return self._column(kernel.BAR_OPEN)

    @property
    def high(self) -> np.ndarray:
        """Highest prices."""
        return self._column(kernel.BAR_HIGH)

    @property
    def low(self) -> np.ndarray:
        """Lowest prices."""
        return self._column(kernel.BAR_LOW)

    @property
    def close(self) -> np.ndarray:
        """Prices of the last trade of each bar."""
        return self._column(kernel.BAR_CLOSE)

    @property
    def volume(self) -> np.ndarray:
        """Units traded."""
        return self._column(kernel.BAR_VOLUME)

    @property
    def day(self) -> np.ndarray:
        """Ordinals of the sessions' dates."""
        return self._column(kernel.BAR_DAY)

    @property
    def atr(self) -> np.ndarray:
        """Average true ranges, NaN while unknown."""
        return self._column(kernel.BAR_ATR)

    @property
    def fees(self) -> np.ndarray:
        """Regulatory fees as fees_for gives them, (T, 3), of one instrument. Raises: ValueError for several."""
        return self._one()[:, kernel.BAR_SEC_RATE : kernel.BAR_TAF_CAP + 1]

    @property
    def actions(self) -> np.ndarray:
        """Split and dividend, (T, 2), or (0, 2) where nothing happens; of one instrument. Raises: ValueError."""
        rows = self._one()[:, kernel.BAR_SPLIT : kernel.BAR_DIVIDEND + 1]
        return rows if ((rows[:, 0] != 1.0) | (rows[:, 1] != 0.0)).any() else rows[:0]

    def _one(self) -> np.ndarray:
        if self.n_instruments != 1:
            raise ValueError(f"this market holds {self.n_instruments} instruments; read the columns of `bars`")
        return self.bars[:, 0, :]


def market_of(
    bars: BarSeries,
    features: np.ndarray,
    actions: np.ndarray | None = None,
    *,
    interval_seconds: int = DAY,
    sessions: Sessions | None = None,
    zone: tzinfo = UTC,
    day: np.ndarray | None = None,
) -> Market:
    """What the environment plays on. bars: as traded; features: (T, n) normalised; actions: (T, 2) or None.

    sessions, zone: of the exchange, for intraday bars, see session_days; day: (T,) what it gives, where it is known.
    """
    fees = fees_for(bars.time.astype("datetime64[s]"))
    return Market(
        features, bars.open, bars.close, bars.volume, fees, actions,
        # Open and close were traded, so they lie in the bar's range whatever the source says.
        high=np.maximum.reduce([bars.high, bars.open, bars.close]),
        low=np.minimum.reduce([bars.low, bars.open, bars.close]),
        day=session_days(bars.time, interval_seconds, sessions, zone) if day is None else day,
        atr=average_true_range(bars, actions),
    )  # fmt: skip


def session_days(
    time: np.ndarray, interval_seconds: int = DAY, sessions: Sessions | None = None, zone: tzinfo = UTC
) -> np.ndarray:
    """Ordinal (days since 1970) of the date of each bar's session, (T,) int64, never falling.

    time: starts of bars, int64 seconds UTC. A daily bar has its own date. An intraday bar has that of the session it
    lies in, of an overnight session the next day's; outside the sessions, or without them, its date in `zone`, which
    is also what decides from which bar on a split holds.
    """
    time = np.asarray(time, dtype=np.int64)
    if interval_seconds >= DAY:
        return time // DAY
    days = _local_days(time, zone)
    if sessions is not None and len(sessions):
        found = session_dates(time, sessions)
        days = np.where(found >= 0, found // DAY, days)
    return np.maximum.accumulate(days) if len(days) else days


def _local_days(time: np.ndarray, zone: tzinfo) -> np.ndarray:
    """Date of each moment in a zone, as days since 1970. A zone's offset changes on the quarter of an hour at most."""
    quarters, place = np.unique(time // 900, return_inverse=True)
    moments = (datetime.fromtimestamp(int(quarter) * 900, zone) for quarter in quarters)
    first = datetime(1970, 1, 1).toordinal()
    return np.array([moment.toordinal() - first for moment in moments], dtype=np.int64)[place]


def average_true_range(bars: BarSeries, actions: np.ndarray | None = None) -> np.ndarray:
    """Wilder's average true range of 14 bars at each close, in that bar's own prices: (T,), NaN while unknown.

    bars: as traded; actions: (T, 2) or None: a split is no move of the price, so it is taken out first and put back.
    """
    known = actions is not None and len(actions) == len(bars)
    factor = np.cumprod(actions[:, 0]) if known and actions is not None else np.ones(len(bars))
    table = bars_table(bars)
    table[:, 1:5] *= factor[:, None]
    columns, rows = batch.columns_for(table, needs_volume=False)
    found = np.full(len(bars), np.nan)
    found[rows] = batch.outputs(AVERAGE_TRUE_RANGE, columns)[0]
    return found / factor
