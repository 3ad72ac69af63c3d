"""Bars cut into training, validation and unseen periods, with features scaled by the training rows alone."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np

from agents.env import Market
from agents.features import DAY, FeatureSpec, Inputs
from agents.normalisers import AnyNormaliser, NormaliserChoice, fit
from core.simulation.fees import fees_for
from marketdata.calendars import Sessions
from marketdata.features import batch
from marketdata.features.store import FeatureStore
from marketdata.series import BarSeries

MIN_TRAINING_BARS = 250
MIN_PERIOD_BARS = 20
ZSCORED = NormaliserChoice()


@dataclass(frozen=True)
class Rows:
    """First and last row of a period, both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return max(self.last - self.first + 1, 0)


@dataclass(frozen=True, eq=False)
class Dataset:
    """One instrument's bars ready for training."""

    bars: BarSeries
    spec: FeatureSpec
    raw: np.ndarray  # (T, n) raw features, NaN where missing
    normaliser: AnyNormaliser  # fitted on the training rows only
    market: Market
    training: Rows
    validation: Rows
    unseen: Rows
    fingerprint: str  # SHA-256 (hex) of bars, VIX bars, features and cuts


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
) -> Dataset:
    """Cut the bars and compute what training needs.

    underlying, scores, sessions: as in Inputs, for features that need them; store: keeps what was calculated.

    training: warm-up to the bar before `validation_from`; validation: from there to the bar before `unseen_from`;
    unseen: the rest. Raises: ValueError naming the period that is too short.
    """
    first_validation = int(np.searchsorted(bars.time, _seconds(validation_from)))
    first_unseen = int(np.searchsorted(bars.time, _seconds(unseen_from)))
    training = Rows(spec.warm_up, first_validation - 1)
    validation, unseen = Rows(first_validation, first_unseen - 1), Rows(first_unseen, len(bars) - 1)
    for name, rows, least in (
        ("training", training, MIN_TRAINING_BARS),
        ("validation", validation, MIN_PERIOD_BARS),
        ("unseen", unseen, MIN_PERIOD_BARS),
    ):
        if len(rows) < least:
            raise ValueError(
                f"the {name} period has {len(rows)} bars, expected at least {least}; "
                f"import more bars or move the dates {validation_from} and {unseen_from}"
            )
    inputs = Inputs(bars, interval_seconds, vix, underlying, scores, sessions)
    raw = batch.compute(spec, inputs) if store is None else store.rows(spec, inputs)
    fitted = fit(normaliser, raw, bars.time, training.first, training.last)
    return Dataset(
        bars=bars,
        spec=spec,
        raw=raw,
        normaliser=fitted,
        market=market_of(bars, fitted.apply_series(raw, bars.time)),
        training=training,
        validation=validation,
        unseen=unseen,
        fingerprint=_fingerprint(inputs, spec, validation_from, unseen_from),
    )


def market_of(bars: BarSeries, features: np.ndarray) -> Market:
    """What the environment plays on. features: (T, n) normalised."""
    return Market(features, bars.open, bars.close, bars.volume, fees_for(bars.time.astype("datetime64[s]")))


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _fingerprint(inputs: Inputs, spec: FeatureSpec, validation_from: date, unseen_from: date) -> str:
    vix = inputs.vix.fingerprint() if inputs.vix is not None else ""
    parts = [inputs.bars.fingerprint(), vix, spec.fingerprint()]
    if any(other is not None for other in (inputs.underlying, inputs.scores, inputs.sessions)):
        parts.append(inputs.fingerprint())
    text = "\n".join((*parts, validation_from.isoformat(), unseen_from.isoformat()))
    return hashlib.sha256(text.encode()).hexdigest()
