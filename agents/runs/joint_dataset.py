"""Several instruments ready for training in one account: only the moments at which all of them have a bar.

Each instrument's features and average true range are those of all its own bars; only then are the common moments
picked, so that a holiday of one exchange changes no feature of another's instruments. A row depends on bars up to it.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import reduce

import numpy as np

from agents.environment.market import Market
from agents.environment.randomise import RandomiseSettings, synthetic_markets
from agents.policies.features import FeatureSpec, Inputs
from agents.policies.normalisers import AnyNormaliser, NormaliserChoice, fit
from agents.runs.dataset import Dataset, check_lengths, columns_of
from agents.studies.folds import Rows
from core.simulation import kernel
from marketdata.series import BarSeries


@dataclass(frozen=True, eq=False)
class JointDataset:
    """Several instruments of one account ready for training; rows are their T common moments."""

    time: np.ndarray  # (T,) seconds UTC, start of each bar
    spec: FeatureSpec  # the features of one instrument, the same for all
    raw: np.ndarray  # (T, I * n) raw features, instrument by instrument, NaN where missing
    normaliser: AnyNormaliser  # of all I * n columns, fitted on the common training rows only
    market: Market
    training: Rows
    validation: Rows
    unseen: Rows
    fingerprint: str  # SHA-256 (hex) of the instruments' fingerprints in order
    inputs: tuple[Inputs, ...]  # per instrument, adjusted bars of the common moments: what paths are drawn from
    choice: NormaliserChoice  # how features are scaled

    def paths(self, rows: Rows, settings: RandomiseSettings, seed: int) -> tuple[Market, ...]:
        """Made-up markets drawn from `rows` alone, the same rows for all instruments."""
        sources = list(zip(self.inputs, np.split(self.raw, len(self.inputs), axis=1), strict=True))
        return synthetic_markets(sources, self.spec, self.normaliser, rows.first, rows.last, settings, seed)

    def refit(self, training: Rows, validation: Rows | None = None, spec: FeatureSpec | None = None) -> "JointDataset":
        """The same with other rows to train on, and some of the features, as Dataset.refit. Raises: ValueError."""
        spec = self.spec if spec is None else spec
        columns, n = np.array(columns_of(spec, self.spec)), len(self.spec)
        raw = self.raw[:, np.concatenate([columns + k * n for k in range(len(self.inputs))])]
        normaliser = fit(self.choice, raw, self.time, training.first, training.last)
        return replace(
            self, spec=spec, raw=raw, normaliser=normaliser, training=training,
            validation=self.validation if validation is None else validation,
            market=_market(self.market.bars, normaliser.apply_series(raw, self.time)),
        )  # fmt: skip


AnyDataset = Dataset | JointDataset


def several(datasets: Sequence[Dataset]) -> JointDataset:
    """Instruments of one account, in the account's order: row t of all of them is the same moment.

    datasets: one per instrument, with the same features, scaling and interval. A row belongs to a period if it does so
    for every instrument. A split or dividend of a bar that not all instruments have takes effect with the next common
    one. Raises: ValueError saying what differs, or which period has too few common bars.
    """
    _check_alike(datasets)
    time = reduce(np.intersect1d, [data.time for data in datasets])
    rows = [np.searchsorted(data.time, time) for data in datasets]
    training, validation, unseen = (
        _common([getattr(data, name) for data in datasets], rows) for name in ("training", "validation", "unseen")
    )
    check_lengths(training, validation, unseen, f"the dates: the instruments have {len(time)} bars in common")
    first, raw = datasets[0], np.concatenate([data.raw[at] for data, at in zip(datasets, rows, strict=True)], axis=1)
    normaliser = fit(first.choice, raw, time, training.first, training.last)
    tables = [_table(data.market.bars[:, 0], at) for data, at in zip(datasets, rows, strict=True)]
    return JointDataset(
        time=time,
        spec=first.spec,
        raw=raw,
        normaliser=normaliser,
        market=_market(np.stack(tables, axis=1), normaliser.apply_series(raw, time)),
        training=training,
        validation=validation,
        unseen=unseen,
        fingerprint=hashlib.sha256("\n".join(data.fingerprint for data in datasets).encode()).hexdigest(),
        inputs=tuple(
            replace(data.inputs, bars=_at(data.inputs.bars, at)) for data, at in zip(datasets, rows, strict=True)
        ),
        choice=first.choice,
    )


def _check_alike(datasets: Sequence[Dataset]) -> None:
    if len(datasets) < 2:
        raise ValueError(f"{len(datasets)} instruments arrived, expected two or more; one is a Dataset by itself")
    first = datasets[0]
    for number, other in enumerate(datasets[1:], start=2):
        for what, ours, theirs in (
            ("features", first.spec.names, other.spec.names),
            ("scaling", first.choice, other.choice),
            ("interval in seconds", first.inputs.interval_seconds, other.inputs.interval_seconds),
        ):
            if ours != theirs:
                raise ValueError(
                    f"{what} of instrument {number} differ from the first's: {theirs} and {ours}; prepare all alike"
                )


def _common(periods: list[Rows], rows: list[np.ndarray]) -> Rows:
    """The common rows that lie in every instrument's period; rows: (T,) each instrument's own row numbers."""
    first = max(int(np.searchsorted(at, period.first)) for period, at in zip(periods, rows, strict=True))
    stop = min(int(np.searchsorted(at, period.last, side="right")) for period, at in zip(periods, rows, strict=True))
    return Rows(first, stop - 1)


def _table(bars: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """An instrument's bars (N, N_BAR) at `rows` (T,), with what happened in the bars left out since the row before."""
    table = bars[rows].copy()
    if len(rows) < len(bars) and len(rows):
        table[:, [kernel.BAR_SPLIT, kernel.BAR_DIVIDEND]] = _carried(bars[: rows[-1] + 1], rows)
    return table


def _carried(bars: np.ndarray, rows: np.ndarray) -> np.ndarray:
    """Split and dividend (T, 2) since the row before: a dividend of old units is spread over what they became."""
    begins = np.concatenate([rows[:1], rows[:-1] + 1])  # before the first common bar nothing is held
    splits = np.multiply.reduceat(bars[:, kernel.BAR_SPLIT], begins)
    level = np.cumprod(bars[:, kernel.BAR_SPLIT])
    ends = np.repeat(rows, np.diff(begins, append=len(bars)))
    of_one = np.zeros(len(bars))
    of_one[rows[0] :] = bars[rows[0] :, kernel.BAR_DIVIDEND] * (level[rows[0] :] / level[ends])
    return np.column_stack([splits, np.add.reduceat(of_one, begins)])


def _market(bars: np.ndarray, features: np.ndarray) -> Market:
    """bars: (T, I, N_BAR); features: (T, I * n) scaled."""
    parts = np.split(features, bars.shape[1], axis=1)
    return Market.several([_one(bars[:, k], part) for k, part in enumerate(parts)])


def _one(bars: np.ndarray, features: np.ndarray) -> Market:
    fees = bars[:, kernel.BAR_SEC_RATE : kernel.BAR_TAF_CAP + 1]
    actions = bars[:, kernel.BAR_SPLIT : kernel.BAR_DIVIDEND + 1]
    return Market(
        features, bars[:, kernel.BAR_OPEN], bars[:, kernel.BAR_CLOSE], bars[:, kernel.BAR_VOLUME], fees, actions,
        high=bars[:, kernel.BAR_HIGH], low=bars[:, kernel.BAR_LOW], day=bars[:, kernel.BAR_DAY],
        atr=bars[:, kernel.BAR_ATR],
    )  # fmt: skip


def _at(bars: BarSeries, rows: np.ndarray) -> BarSeries:
    return BarSeries(*(getattr(bars, name)[rows] for name in ("time", "open", "high", "low", "close", "volume")))
