"""A small study on bars of a proof market: does it report skill? Of noise it must not. Pure.

Everything as in a real study: features of the bars, purged folds, several trials with drawn parameters and several
seeds each, learnings judged on rows they did not learn from, after costs. Only the rows in the database are missing.
"""

from dataclasses import dataclass
from datetime import UTC, date, datetime
from statistics import median
from typing import Any

import numpy as np
from optuna.trial import TrialState

from agents.configuration import AgentSettings, DeployChecks, network_of, space_of
from agents.environment.rewards import RewardSettings
from agents.policies.backtest import PERIODS_PER_YEAR
from agents.policies.features import FeatureSpec
from agents.proof_markets.markets import ProofMarket
from agents.runs.dataset import prepare
from agents.runs.joint_dataset import AnyDataset
from agents.runs.learning import Lesson, LessonResult, learn
from agents.studies.drawn import applied
from agents.studies.folds import Fold, default_purge, walk_forward
from agents.studies.skill import Skill, judge_sharpes, judge_study
from agents.studies.study import Drawn, StudyPlan, part_score, seed_for
from agents.training_pages.training_settings import NO_PRUNER, TrainingSettings
from core.simulation.rules import MarketRules
from marketdata.series import BarSeries

DAY = 86_400
N_BARS, FIRST_VALIDATION, FIRST_UNSEEN = 1_300, 1_000, 1_250
FEATURES = ("rsi_14", "macd", "ema_10", "return_1", "return_5", "volatility_20")


@dataclass(frozen=True)
class Part:
    """One learning of a trial on one fold."""

    score: float  # of the fold's validation rows, as trials are ranked by: a year's Sharpe ratio after costs
    returns: np.ndarray  # (T,) per bar on the same rows, of the best look at them, which flatters them


@dataclass(frozen=True)
class SmallStudy:
    """What a study found."""

    trials: list[list[list[Part]]]  # by trial, fold and seed
    skill: Skill  # of the best trial by its returns per bar
    published: Skill  # the same by the trials' values alone, as a run publishes it

    @property
    def best(self) -> int:
        """The trial with the largest median score over its parts."""
        return int(np.argmax([trial_value(trial) for trial in self.trials]))

    @property
    def value(self) -> float:
        """The best trial's median over its parts: a year's Sharpe ratio on validation rows, after costs."""
        return trial_value(self.trials[self.best])


def trial_value(trial: list[list[Part]]) -> float:
    """What trials are ranked by: the median score over folds and seeds."""
    return median([part.score for fold in trial for part in fold])


def bars_of(market: ProofMarket, seed: int) -> BarSeries:
    """Daily bars of one draw, each opening where the one before closed; what the market would show is left out."""
    close = market.draw(N_BARS, np.random.default_rng(seed)).close
    open_ = np.concatenate([close[:1], close[:-1]])
    time = (np.arange(N_BARS, dtype=np.int64) + _FIRST_DAY) * DAY
    return BarSeries(time, open_, np.maximum(open_, close), np.minimum(open_, close), close, np.full(N_BARS, 1e6))


_FIRST_DAY = 10_957  # 2000-01-01, in days since 1970


def _day(row: int) -> date:
    return datetime.fromtimestamp((_FIRST_DAY + row) * DAY, UTC).date()


def settings_of(market: ProofMarket, n_trials: int, n_steps: int, **training: Any) -> AgentSettings:
    """A small PPO agent with the usual folds and seeds, unless `training` says otherwise.

    Nothing is taken off for few trades, so that scores are Sharpe ratios; no trial ends early, so that all are judged.
    """
    return AgentSettings(
        algorithm="ppo",
        features=FeatureSpec(FEATURES),
        rules=MarketRules(half_spread_bps=market.cost * 1e4, tick_size=0.0, lot=1e-9, schedule="none"),
        reward=RewardSettings(),
        training=TrainingSettings(
            validation=_day(FIRST_VALIDATION), unseen=_day(FIRST_UNSEEN), n_trials=n_trials, n_steps=n_steps, vix="",
            pruner=NO_PRUNER, min_trades=0, **training,
        ),
        deploy_checks=DeployChecks(),
        network=network_of("ppo", {"hidden": [32, 32]}),
    )  # fmt: skip


def carry_out(market: ProofMarket, settings: AgentSettings, seed: int) -> SmallStudy:
    """The whole study on one draw of the market."""
    training = settings.training
    data = prepare(bars_of(market, seed), None, settings.features, training.validation, training.unseen)
    return study_of(data, settings, seed)


def study_of(
    data: AnyDataset, settings: AgentSettings, seed: int, other_rules: tuple[MarketRules, ...] = ()
) -> SmallStudy:
    """The whole study on data of one instrument or several; each trial is drawn in the knowledge of those before it.

    other_rules: as in Lesson.
    """
    training = settings.training
    purge = default_purge(settings.features.warm_up)
    folds = walk_forward(data.training, data.validation, training.n_folds, purge)
    plan = StudyPlan(
        seed=seed, n_trials=training.n_trials, n_resources=training.n_parts * training.n_evaluations,
        space=space_of(settings), sampler=training.sampler, pruner=training.pruner,
    )  # fmt: skip
    trials, settled = list[list[list[Part]]](), list[Any]()
    for number in range(training.n_trials):
        drawn = Drawn(plan, number, settled)
        trials.append([
            [_part(data, fold, settings, drawn.parameters, seed_for(seed, number, again), other_rules)
             for again in range(training.n_seeds)]
            for fold in folds
        ])  # fmt: skip
        settled.append(drawn.ended(TrialState.COMPLETE, [trial_value(trials[-1])], {}))
    values = [trial_value(trial) for trial in trials]
    returns = [[[part.returns for part in fold] for fold in trial] for trial in trials]
    per_bar = [value * PERIODS_PER_YEAR**-0.5 for value in values]
    published = judge_sharpes(max(per_bar), per_bar, sum(len(fold.validation) for fold in folds))
    return SmallStudy(trials, judge_study(returns, int(np.argmax(values))), published)


def _part(
    data: AnyDataset,
    fold: Fold,
    settings: AgentSettings,
    parameters: dict[str, Any],
    seed: int,
    other_rules: tuple[MarketRules, ...],
) -> Part:
    own, rest = applied(settings, parameters)
    lesson = Lesson(
        dataset=data.refit(fold.training, fold.validation, own.features), settings=own, parameters=rest, seed=seed,
        training=fold.training, validation=fold.validation, n_steps=own.training.n_steps, other_rules=other_rules,
    )  # fmt: skip
    result: LessonResult = learn(lesson)
    equity = result.validation.track.equity
    return Part(part_score(result.evaluations), equity[1:] / equity[:-1] - 1.0)
