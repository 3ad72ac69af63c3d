"""Whether a study has found skill, or only the luckiest of its trials. Pure.

The deflated Sharpe ratio: the best trial's Sharpe ratio is held against the one that the best of as many trials without
any skill would show, given how long it was measured and how lopsided its returns are.
Source: Bailey and Lopez de Prado, "The Deflated Sharpe Ratio", Journal of Portfolio Management 2014; the formulas are
those of the package jsharpe.
"""

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

import jsharpe
import numpy as np
from scipy import stats

SPREAD_OF_MEDIANS = math.pi / 2  # variance of a median as a multiple of the mean's, for normal numbers
SURE_ENOUGH = 0.95  # chance above which a study may speak of skill
MIN_BARS = 20


@dataclass(frozen=True)
class Skill:
    """What the best trial's result is worth."""

    sharpe: float  # of the best trial, per bar
    luck: float  # per bar: what the best of as many trials without skill shows on average
    chance: float  # 0 to 1: probability that it is better than that luck
    n_trials: int
    n_bars: int

    @property
    def proven(self) -> bool:
        """Whether the study may report skill."""
        return self.sharpe > 0.0 and self.chance >= SURE_ENOUGH

    def to_dict(self) -> dict[str, Any]:
        """Plain values for JSON."""
        return {**asdict(self), "proven": self.proven}


def judge(returns: np.ndarray, trial_sharpes: np.ndarray) -> Skill:
    """The skill of the best trial.

    returns: (T,) its returns per bar on bars it did not learn from, all folds one after the other, the mean over
    seeds; trial_sharpes: (N,) Sharpe ratio per bar of every trial of the study, the best one's included.
    Raises: ValueError for fewer than MIN_BARS returns, no trials, or numbers that are not finite.
    """
    returns, sharpes = np.asarray(returns, dtype=float), np.asarray(trial_sharpes, dtype=float)
    if returns.ndim != 1 or len(returns) < MIN_BARS or not np.isfinite(returns).all():
        raise ValueError(f"returns has shape {returns.shape}, expected at least {MIN_BARS} finite returns per bar")
    if sharpes.ndim != 1 or len(sharpes) == 0 or not np.isfinite(sharpes).all():
        raise ValueError(f"trial_sharpes has shape {sharpes.shape}, expected one finite Sharpe ratio per trial")
    n_bars, spread = len(returns), float(returns.std(ddof=1))
    if spread == 0.0:  # never invested: nothing was shown
        return Skill(0.0, 0.0, 0.0, len(sharpes), n_bars)
    sharpe = float(returns.mean()) / spread
    # One trial has no choice to be lucky in; of few, their spread may be small by chance, so it is never taken to be
    # below what an estimate over so many bars varies by itself.
    between = max(float(np.var(sharpes)), 1.0 / n_bars) if len(sharpes) > 1 else 0.0
    luck = jsharpe.expected_maximum_sharpe_ratio(len(sharpes), between) if len(sharpes) > 1 else 0.0
    chance = jsharpe.probabilistic_sharpe_ratio(
        sharpe, float(luck), T=n_bars, gamma3=float(stats.skew(returns)),
        gamma4=float(stats.kurtosis(returns, fisher=False)),
    )  # fmt: skip
    return Skill(sharpe, float(luck), float(chance), len(sharpes), n_bars)


def judge_sharpes(best: float, trials: Sequence[float], n_bars: int) -> Skill:
    """The skill of the best trial, where only the trials' Sharpe ratios are known.

    best: Sharpe ratio per bar of the trial that was chosen, the median over folds; trials: the same of every trial,
    the best one's included; n_bars: validation bars of all folds together. A median says as much as a mean over
    2 / pi times as many bars; repetitions with other seeds saw the same bars and add none. Without the returns
    themselves they are taken to be normal.
    Raises: ValueError for fewer than MIN_BARS bars, no trials, or numbers that are not finite.
    """
    sharpes = np.asarray(trials, dtype=float)
    if n_bars < MIN_BARS:
        raise ValueError(f"n_bars is {n_bars}, expected at least {MIN_BARS}")
    if sharpes.ndim != 1 or len(sharpes) == 0 or not np.isfinite([best, *sharpes]).all():
        raise ValueError(f"got best {best} of {sharpes.shape} trials, expected one finite Sharpe ratio per trial")
    n_seen = n_bars / SPREAD_OF_MEDIANS
    luck = 0.0
    if len(sharpes) > 1:
        luck = jsharpe.expected_maximum_sharpe_ratio(len(sharpes), max(float(np.var(sharpes)), 1.0 / n_seen))
    # The variance under luck, of normal returns: (1 + luck^2 / 2) / T, as in `judge` with skewness 0 and kurtosis 3.
    chance = jsharpe.probabilistic_sharpe_ratio(best, luck, variance=(1.0 + luck**2 / 2.0) / n_seen)
    return Skill(float(best), float(luck), float(chance), len(sharpes), n_bars)


def judge_study(trials: Sequence[Sequence[Sequence[np.ndarray]]], best: int) -> Skill:
    """The skill of a study's best trial.

    trials: by trial, fold and seed, returns per bar (T_fold,) on the fold's validation rows, after costs; all seeds of
    a fold saw the same rows; a trial that ended early has fewer folds, or seeds of a fold; best: which one was chosen.
    Raises: ValueError without returns, or for seeds of a fold that saw different numbers of bars.
    """
    found = [stitched(folds) for folds in trials]
    return judge(found[best], np.array([sharpe_of(returns) for returns in found if len(returns)]))


def stitched(folds: Sequence[Sequence[np.ndarray]]) -> np.ndarray:
    """A trial's returns per bar: the mean over seeds of each fold, folds one after the other, (T,).

    Raises: ValueError for seeds of a fold that saw different numbers of bars.
    """
    parts = []
    for number, seeds in enumerate(folds):
        if len({len(returns) for returns in seeds}) > 1:
            lengths = ", ".join(str(len(returns)) for returns in seeds)
            raise ValueError(f"fold {number + 1}: seeds have {lengths} returns, expected equally many: the same rows")
        if len(seeds):
            parts.append(np.mean(np.array(seeds, dtype=float), axis=0))
    return np.concatenate(parts) if parts else np.empty(0)


def sharpe_of(returns: np.ndarray) -> float:
    """Sharpe ratio per bar, 0 for returns that never differ."""
    spread = float(np.std(returns, ddof=1)) if len(returns) > 1 else 0.0
    return float(np.mean(returns)) / spread if spread > 0.0 else 0.0
