"""Bars cut into training, validation and unseen periods, with features scaled by the training rows alone."""

import hashlib
from dataclasses import dataclass, replace
from datetime import UTC, date, datetime

import numpy as np

from agents.environment.market import Market, market_of
from agents.environment.randomise import RandomiseSettings, synthetic_markets
from agents.policies.features import DAY, FeatureSpec, Inputs
from agents.policies.normalisers import AnyNormaliser, NormaliserChoice, fit
from agents.studies.folds import Rows
from marketdata.calendars import Sessions
from marketdata.features import batch
from marketdata.features.store import FeatureStore
from marketdata.series import BarSeries

MIN_TRAINING_BARS = 250
MIN_PERIOD_BARS = 20
ZSCORED = NormaliserChoice()


@dataclass(frozen=True, eq=False)
class Dataset:
    """One instrument's bars ready for training."""

    bars: BarSeries  # as traded
    spec: FeatureSpec
    raw: np.ndarray  # (T, n) raw features, NaN where missing
    normaliser: AnyNormaliser  # fitted on the training rows only
    market: Market
    training: Rows
    validation: Rows
    unseen: Rows
    fingerprint: str  # SHA-256 (hex) of bars, splits and dividends, VIX bars, features and cuts
    inputs: Inputs  # what the features were made of, bars adjusted
    choice: NormaliserChoice  # how features are scaled

    @property
    def time(self) -> np.ndarray:
        """When each bar began, (T,) seconds UTC."""
        return self.bars.time

    def paths(self, rows: Rows, settings: RandomiseSettings, seed: int) -> tuple[Market, ...]:
        """Made-up markets drawn from `rows` alone, as many as the settings ask for."""
        sources = [(self.inputs, self.raw)]
        return synthetic_markets(sources, self.spec, self.normaliser, rows.first, rows.last, settings, seed)

    def refit(self, training: Rows, validation: Rows | None = None, spec: FeatureSpec | None = None) -> "Dataset":
        """The same bars with other rows to train on: features are scaled by these rows alone.

        validation: rows the learning is judged on, None for the present ones; spec: some of the features, None for
        all. Raises: ValueError for a feature that the data do not have.
        """
        spec = self.spec if spec is None else spec
        raw = self.raw[:, columns_of(spec, self.spec)]
        normaliser = fit(self.choice, raw, self.bars.time, training.first, training.last)
        features = normaliser.apply_series(raw, self.bars.time)
        return replace(
            self, spec=spec, raw=raw, normaliser=normaliser, training=training,
            validation=self.validation if validation is None else validation,
            market=market_of(
                self.bars, features, self.market.actions, day=self.market.day,
            ),
        )  # fmt: skip


def prepare(
    bars: BarSeries,
    vix: BarSeries | None,
    spec: FeatureSpec,
    validation_from: date,
    unseen_from: date,
    interval_seconds: int = DAY,
    normaliser: NormaliserChoice = ZSCORED,
    *,
    underlying: BarSeries | None = None,
    scores: np.ndarray | None = None,
    sessions: Sessions | None = None,
    store: FeatureStore | None = None,
    traded: BarSeries | None = None,
    actions: np.ndarray | None = None,
    day: np.ndarray | None = None,
) -> Dataset:
    """Cut the bars and compute what training needs.

    bars: what features are made of, forward-adjusted where there are splits or dividends.
    underlying, scores, sessions: as in Inputs, for features that need them; store: keeps what was calculated.
    day: (T,) ordinal of each bar's session, None to find it from times and sessions.
    traded: the same bars as traded, None where `bars` are; actions: their splits and dividends, see env.Market.
    training: warm-up to the bar before `validation_from`; validation: from there to the bar before `unseen_from`;
    unseen: the rest. Raises: ValueError naming the period that is too short.
    """
    first_validation = int(np.searchsorted(bars.time, _seconds(validation_from)))
    first_unseen = int(np.searchsorted(bars.time, _seconds(unseen_from)))
    training = Rows(spec.warm_up, first_validation - 1)
    validation, unseen = Rows(first_validation, first_unseen - 1), Rows(first_unseen, len(bars) - 1)
    check_lengths(training, validation, unseen, f"the dates {validation_from} and {unseen_from}")
    traded = bars if traded is None else traded
    if not np.array_equal(traded.time, bars.time):
        raise ValueError("bars as traded and adjusted differ in their times: load both anew")
    inputs = Inputs(bars, interval_seconds, vix, underlying, scores, sessions)
    raw = batch.compute(spec, inputs) if store is None else store.rows(spec, inputs)
    fitted = fit(normaliser, raw, bars.time, training.first, training.last)
    features = fitted.apply_series(raw, bars.time)
    market = market_of(traded, features, actions, interval_seconds=interval_seconds, sessions=sessions, day=day)
    return Dataset(
        bars=traded,
        spec=spec,
        raw=raw,
        normaliser=fitted,
        market=market,
        training=training,
        validation=validation,
        unseen=unseen,
        fingerprint=_fingerprint(inputs, traded, market.actions, spec, validation_from, unseen_from),
        inputs=inputs,
        choice=normaliser,
    )


def columns_of(wanted: FeatureSpec, present: FeatureSpec) -> list[int]:
    """Where the wanted features stand among the present ones. Raises: ValueError for one that is not there."""
    missing = [name for name in wanted.names if name not in present.names]
    if missing:
        raise ValueError(f"the data have no feature {', '.join(missing)}; they have {', '.join(present.names)}")
    return [present.names.index(name) for name in wanted.names]


def check_lengths(training: Rows, validation: Rows, unseen: Rows, cuts: str) -> None:
    """Raises: ValueError naming the period that is too short. cuts: what a person may move, in words."""
    for name, rows, least in (
        ("training", training, MIN_TRAINING_BARS),
        ("validation", validation, MIN_PERIOD_BARS),
        ("unseen", unseen, MIN_PERIOD_BARS),
    ):
        if len(rows) < least:
            raise ValueError(
                f"the {name} period has {len(rows)} bars, expected at least {least}; import more bars or move {cuts}"
            )


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _fingerprint(
    inputs: Inputs, traded: BarSeries, actions: np.ndarray, spec: FeatureSpec, validation_from: date, unseen_from: date
) -> str:
    vix = inputs.vix.fingerprint() if inputs.vix is not None else ""
    parts = [traded.fingerprint(), vix, spec.fingerprint()]
    if len(actions):  # with the bars as traded they say what the adjusted ones are
        parts.append(hashlib.sha256(actions.astype("<f8").tobytes()).hexdigest())
    if any(other is not None for other in (inputs.underlying, inputs.scores, inputs.sessions)):
        parts.append(inputs.fingerprint())
    text = "\n".join((*parts, validation_from.isoformat(), unseen_from.isoformat()))
    return hashlib.sha256(text.encode()).hexdigest()
