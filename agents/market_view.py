"""What an agent may see of the market at one moment: its instrument's bars and the VIX, never a bar beyond it."""

import math
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta

import numpy as np
from django.db.models import Exists, Max, OuterRef, Q

from agents.environment.market import average_true_range
from agents.forward_prices import ForwardPrices, stored_actions
from agents.policies.features import DAY, FeatureSpec, Inputs
from core.closed_bar import ClosedBar
from core.models import Instrument
from marketdata import calendars
from marketdata.adjusted import Mode
from marketdata.corporate import load_adjusted, load_per_bar
from marketdata.features.batch import compute
from marketdata.features.inputs import closes_table
from marketdata.features.streaming import FeatureStream
from marketdata.models import Bar, DataSettings, SentimentScore
from marketdata.queries import load_bars
from marketdata.series import BarSeries

# Sessions are looked up this far beyond the bars, so that a live view seldom asks again.
DAYS_AHEAD = 400
DAYS_SPARE = 10
# Wilder's average forgets: (13/14) to this power is below 1e-30.
ATR_BARS = 1_000


@dataclass
class MarketView:
    """Reads the history once; then every new bar costs the same, however long the history is.

    `look` gives bars as traded, for fills and valuations; features are made of forward-adjusted ones. They come from a
    stream whose numbers are those of the batch that training used.
    """

    instrument_id: int
    vix_id: int | None
    interval_seconds: int
    _seen: datetime | None = None  # the last bar looked at
    _bar: ClosedBar | None = None  # that bar
    _new: list[BarSeries] = field(default_factory=list)  # bars looked at that the stream has not taken yet
    _live: "_Live | None" = None
    _recent: BarSeries | None = None  # what the average true range is made of
    n_readings: int = 0  # how often the history was read from its beginning; rows kept from before may be others now

    @classmethod
    def open(cls, instrument_id: int, vix_id: int | None, interval_seconds: int) -> "MarketView":
        """An empty view; the first features read the history."""
        return cls(instrument_id, vix_id, interval_seconds)

    def look(self, moment: datetime) -> ClosedBar:
        """Read everything up to the bar that began at `moment`; one in the past cuts off what was seen after it.

        Raises: LookupError if that bar is not stored.
        """
        if self._seen == moment and self._bar is not None:
            return self._bar
        if self._seen is not None and moment < self._seen:
            self._live, self._new = None, []
        start = self._seen + timedelta(seconds=1) if self._live is not None and self._seen is not None else moment
        bars = load_bars(self.instrument_id, self.interval_seconds, start=start, end=moment)
        if len(bars) == 0 or bars.time[-1] != int(moment.timestamp()):
            raise LookupError(f"the bar of {moment:%Y-%m-%d %H:%M} is not stored; import it again")
        if self._live is not None:
            self._new.append(bars)
        self._seen = moment
        self._bar = ClosedBar(
            time=moment,
            open=float(bars.open[-1]),
            close=float(bars.close[-1]),
            volume=float(bars.volume[-1]),
            high=float(bars.high[-1]),
            low=float(bars.low[-1]),
        )
        return self._bar

    def features(self, spec: FeatureSpec) -> tuple[np.ndarray, np.ndarray]:
        """Raw features (n,) of the last bar and of the one before; NaN where missing.

        Raises: LookupError before the first look.
        """
        if self._seen is None:
            raise LookupError("nothing has been looked at yet: call look first")
        # A split or dividend of bars already taken, stored since, makes them others: then all is read anew.
        if self._live is None or self._live.spec != spec or not self._live.take(self._new, self._seen):
            self._live = _Live.begin(spec, self.instrument_id, self.vix_id, self.interval_seconds, self._seen)
            self.n_readings += 1
        self._new = []
        return self._live.last, self._live.before

    def atr_before(self) -> float:
        """Average true range at the close before the bar last looked at, in that bar's units; NaN while unknown.

        From ATR_BARS bars: what came before them weighs less than the last digit.
        Raises: LookupError before the first look.
        """
        if self._seen is None:
            raise LookupError("nothing has been looked at yet: call look first")
        bars = self._recent_bars(self._seen)
        if len(bars) < 2:
            return math.nan
        instrument = Instrument.objects.get(pk=self.instrument_id)
        actions = load_per_bar(instrument, self.interval_seconds, bars.time)
        return float(average_true_range(bars, actions)[-2] / actions[-1, 0])

    def _recent_bars(self, moment: datetime) -> BarSeries:
        """The last ATR_BARS bars up to `moment`: read once, afterwards only what is new. Splits are read every time."""
        known = self._recent
        if known is None or len(known) == 0 or known.time[-1] > int(moment.timestamp()):
            rows = Bar.objects.filter(
                instrument_id=self.instrument_id, interval_seconds=self.interval_seconds, time__lte=moment
            )
            start = rows.order_by("-time").values_list("time", flat=True)[ATR_BARS - 1 : ATR_BARS].first()
            known = load_bars(self.instrument_id, self.interval_seconds, start=start, end=moment)
        elif known.time[-1] < int(moment.timestamp()):
            known = _last_of(known, _after(self.instrument_id, self.interval_seconds, int(known.time[-1]), moment))
        self._recent = known
        return known

    @property
    def times(self) -> np.ndarray:
        """Starts of all bars whose features are known, (T,) int64 seconds, oldest first; empty before features."""
        return self._live.times if self._live is not None else np.empty(0, dtype=np.int64)

    def history(self) -> np.ndarray:
        """Raw features (T, n) of all these bars, read and calculated anew: for whoever has missed some."""
        if self._live is None or self._seen is None:
            raise LookupError("no features have been asked for yet: call features first")
        return compute(self._live.spec, self._live.inputs(self._seen))


def _last_of(known: BarSeries, new: BarSeries) -> BarSeries:
    names = ("time", "open", "high", "low", "close", "volume")
    return BarSeries(*(np.concatenate([getattr(known, name), getattr(new, name)])[-ATR_BARS:] for name in names))


@dataclass
class _Live:
    """A running stream and how far the other series have been read for it."""

    spec: FeatureSpec
    stream: FeatureStream
    prices: ForwardPrices
    underlying: ForwardPrices | None
    vix_id: int | None
    last: np.ndarray
    before: np.ndarray
    vix_until: int  # start of the last bar read, seconds
    underlying_until: int
    scores_until: datetime
    newest_score: int
    sessions_until: date
    _times: np.ndarray  # starts of bars; room for more at its end
    _n_times: int

    @classmethod
    def begin(
        cls, spec: FeatureSpec, instrument_id: int, vix_id: int | None, interval_seconds: int, moment: datetime
    ) -> "_Live":
        """Warm a stream with the history up to `moment`."""
        instrument = Instrument.objects.select_related("underlying").get(pk=instrument_id)
        prices, underlying = ForwardPrices(instrument, interval_seconds), None
        if "underlying" in spec.needs and instrument.underlying is not None:
            underlying = ForwardPrices(instrument.underlying, interval_seconds)
        # Before the history: an action stored in between is then noticed at the next bar.
        _learn(prices, underlying, moment, -1, -1)
        newest = newest_score() if "sentiment" in spec.needs else 0
        inputs = load_inputs(instrument, vix_id, interval_seconds, spec, until=moment)
        stream = FeatureStream(spec, interval_seconds)
        rows = stream.warm(inputs)
        before = rows[-2] if len(rows) > 1 else np.full(len(spec), np.nan)
        return cls(
            spec, stream, prices, underlying, vix_id, rows[-1].copy(), before.copy(), _end(inputs.vix),
            _end(inputs.underlying), _usable_until(moment, interval_seconds), newest, _sessions_end(moment.date()),
            inputs.bars.time, len(inputs.bars),
        )  # fmt: skip

    @property
    def times(self) -> np.ndarray:
        """Starts of the bars taken, (T,) int64."""
        return self._times[: self._n_times]

    def inputs(self, moment: datetime) -> Inputs:
        """All that the features of the bars up to `moment` are made of."""
        return load_inputs(self.prices.instrument, self.vix_id, self.stream.interval_seconds, self.spec, until=moment)

    def take(self, parts: list[BarSeries], moment: datetime) -> bool:
        """Hand over the bars since, and what else has become known up to `moment`.

        Returns: False, and takes nothing, if bars already taken have other adjusted prices now.
        """
        if not parts:
            return True
        if not _learn(self.prices, self.underlying, moment, int(self.times[-1]), self.underlying_until):
            return False
        known = self._news(moment)
        for part in parts:
            bars = self.prices.adjust(part)
            columns = (bars.time, bars.open, bars.high, bars.low, bars.close, bars.volume)
            for row in zip(*(column.tolist() for column in columns), strict=True):
                self.before = self.last
                self.last = self.stream.update(
                    *row, vix=known.get("vix"), underlying=known.get("underlying"), scores=known.get("scores")
                )
                self._note(row[0])
                known = {}
        return True

    def _note(self, time: int) -> None:
        if self._n_times == len(self._times):
            self._times = np.concatenate([self._times, np.empty(max(self._n_times, 64), dtype=np.int64)])
        self._times[self._n_times] = time
        self._n_times += 1

    def _news(self, moment: datetime) -> dict[str, np.ndarray]:
        """Rows of other series that have not been handed over."""
        needs, known = self.spec.needs, dict[str, np.ndarray]()
        interval = self.stream.interval_seconds
        if "vix" in needs and self.vix_id is not None:
            vix = _after(self.vix_id, DAY, self.vix_until, moment)
            known["vix"], self.vix_until = closes_table(vix), max(_end(vix), self.vix_until)
        if self.underlying is not None:
            bars = self.underlying.adjust(
                _after(self.underlying.instrument.pk, interval, self.underlying_until, moment)
            )
            known["underlying"], self.underlying_until = closes_table(bars), max(_end(bars), self.underlying_until)
        if "sentiment" in needs:
            until, newest = _usable_until(moment, interval), newest_score()
            known["scores"] = load_scores(
                self.prices.instrument.pk, until, after=self.scores_until, unless_newer_than=self.newest_score
            )
            self.scores_until, self.newest_score = until, newest
        if "sessions" in needs and moment.date() + timedelta(days=DAYS_SPARE) > self.sessions_until:
            first = moment.date() - timedelta(days=DAYS_SPARE)
            self.sessions_until = _sessions_end(moment.date())
            self.stream.use_sessions(calendars.sessions(self.prices.instrument.calendar, first, self.sessions_until))
        return known


def _learn(
    prices: ForwardPrices, underlying: ForwardPrices | None, moment: datetime, until: int, underlying_until: int
) -> bool:
    """Take over splits and dividends known at a bar; False if they change bars up to `until`, seconds."""
    both = [prices] if underlying is None else [prices, underlying]
    known = stored_actions((each.instrument.pk for each in both), moment)
    unchanged = [prices.learn(known, moment, until)]
    if underlying is not None:
        unchanged.append(underlying.learn(known, moment, underlying_until))
    return all(unchanged)


def load_inputs(
    instrument: Instrument,
    vix_id: int | None,
    interval_seconds: int,
    spec: FeatureSpec,
    *,
    until: datetime | None = None,
) -> Inputs:
    """Everything stored that the features need, up to the bar that began at `until` (None: all there is).

    vix_id: the instrument whose daily bars are the VIX, None for none. Training and live both come through here.
    Bars and the underlying's are forward-adjusted: no later split or dividend changes them. The VIX is as it came.
    """
    needs = spec.needs
    bars = load_adjusted(instrument, interval_seconds, Mode.FORWARD, end=until)
    vix = load_bars(vix_id, DAY, end=until) if "vix" in needs and vix_id is not None else None
    underlying = None
    if "underlying" in needs and instrument.underlying is not None:
        underlying = load_adjusted(instrument.underlying, interval_seconds, Mode.FORWARD, end=until)
    scores, sessions = None, None
    if len(bars):
        first, last = (datetime.fromtimestamp(int(bars.time[row]), UTC) for row in (0, -1))
        if "sentiment" in needs:
            scores = load_scores(instrument.pk, _usable_until(until or last, interval_seconds))
        if "sessions" in needs:
            begin = first.date() - timedelta(days=DAYS_SPARE)
            sessions = calendars.sessions(instrument.calendar, begin, _sessions_end(last.date()))
    return Inputs(bars, interval_seconds, vix, underlying, scores, sessions)


def load_scores(
    instrument_id: int, until: datetime, *, after: datetime | None = None, unless_newer_than: int = 0
) -> np.ndarray:
    """Scores of an instrument's news known by `until`: (K, 2) float64, known_at seconds ascending and score.

    Each headline counts once, by the first score it was given. after, unless_newer_than: leave out what was known by
    then, except scores whose row is newer than this one: they were made late. Empty while tone is switched off.
    """
    if DataSettings.load().sentiment == DataSettings.Sentiment.OFF:
        return np.empty((0, 2))
    earlier = SentimentScore.objects.filter(item=OuterRef("item"), pk__lt=OuterRef("pk"))
    rows = SentimentScore.objects.filter(~Exists(earlier), item__instruments=instrument_id, item__known_at__lte=until)
    if after is not None:
        rows = rows.filter(Q(item__known_at__gt=after) | Q(pk__gt=unless_newer_than))
    found = rows.order_by("item__known_at", "pk").values_list("item__known_at", "score")
    return np.array([(known.timestamp(), score) for known, score in found], dtype=np.float64).reshape(-1, 2)


def newest_score() -> int:
    """Number of the newest score there is, 0 for none."""
    return SentimentScore.objects.aggregate(newest=Max("pk"))["newest"] or 0


def _usable_until(moment: datetime, interval_seconds: int) -> datetime:
    # The latest a bar can close; the stream itself knows the session's close and lets later scores wait.
    return moment + timedelta(seconds=interval_seconds)


def _sessions_end(day: date) -> date:
    return day + timedelta(days=DAYS_AHEAD)


def _end(series: BarSeries | None) -> int:
    return int(series.time[-1]) if series is not None and len(series) else -1


def _after(instrument_id: int, interval_seconds: int, last: int, moment: datetime) -> BarSeries:
    start = datetime.fromtimestamp(last, UTC) + timedelta(seconds=1) if last >= 0 else None
    return load_bars(instrument_id, interval_seconds, start=start, end=moment)
