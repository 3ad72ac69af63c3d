"""Bars cut into training, validation and unseen periods, with features scaled by the training rows alone."""

import hashlib
from dataclasses import dataclass
from datetime import UTC, date, datetime

import numpy as np

from agents.env import Market
from agents.features import DAY, FeatureSpec
from agents.normaliser import Normaliser
from core.simulation.fees import fees_for
from marketdata.series import BarSeries

MIN_TRAINING_BARS = 250
MIN_PERIOD_BARS = 20


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
    normaliser: Normaliser  # fitted on the training rows only
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
) -> Dataset:
    """Cut the bars and compute what training needs.

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
    raw = spec.compute(bars, vix, interval_seconds)
    normaliser = Normaliser.fit(raw[training.first : training.last + 1])
    return Dataset(
        bars=bars,
        spec=spec,
        raw=raw,
        normaliser=normaliser,
        market=market_of(bars, normaliser.apply(raw)),
        training=training,
        validation=validation,
        unseen=unseen,
        fingerprint=_fingerprint(bars, vix, spec, validation_from, unseen_from),
    )


def market_of(bars: BarSeries, features: np.ndarray) -> Market:
    """What the environment plays on. features: (T, n) normalised."""
    return Market(features, bars.open, bars.close, bars.volume, fees_for(bars.time.astype("datetime64[s]")))


def _seconds(day: date) -> int:
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def _fingerprint(
    bars: BarSeries, vix: BarSeries | None, spec: FeatureSpec, validation_from: date, unseen_from: date
) -> str:
    parts = (bars.fingerprint(), vix.fingerprint() if vix is not None else "", spec.fingerprint())
    text = "\n".join((*parts, validation_from.isoformat(), unseen_from.isoformat()))
    return hashlib.sha256(text.encode()).hexdigest()
