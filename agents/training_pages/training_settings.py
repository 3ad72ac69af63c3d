"""How a version is trained: periods, folds, the study's size and ways, episodes. Pure; part of an agent's settings."""

from dataclasses import asdict, dataclass, field, replace
from datetime import date
from typing import Any, Self

from agents.setting_checks import ConfigurationError, check, check_known, day, is_whole, names_of

TPE, NSGA2 = "tpe", "nsga2"
SAMPLERS = (TPE, NSGA2)
HYPERBAND, MEDIAN, NO_PRUNER = "hyperband", "median", "none"
PRUNERS = (HYPERBAND, MEDIAN, NO_PRUNER)
BACKENDS = ("cpu", "cuda", "tpu")
EPISODES = ("random", "fixed", "chronological")
MOST = 1_000_000_000  # of anything that is counted
# What a test run is cut down to: it shows in seconds that bars, settings and machine fit, and learns nothing.
TEST_STEPS, TEST_TRIALS = 2_048, 2
_ABOVE_ZERO = ("n_trials", "n_steps", "n_evaluations", "n_threads", "episode_length", "n_folds", "n_seeds",
    "n_final_seeds")  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class TrainingSettings:
    """How a version is trained and judged before its one look at the unseen period."""

    validation: date  # first day of the validation period, the last fold's
    unseen: date  # first day of the unseen period, looked at once
    n_trials: int = 12  # finished trials per study, pruned ones included
    n_steps: int = 20_000  # environment steps per learning: of each fold and seed of a trial, and of the final ones
    n_evaluations: int = 5  # backtests on the validation rows per learning; the best one's weights are kept
    n_threads: int = 1  # of torch; more than one may change the last digits
    episode_length: int = 250  # bars of a training episode, unless episodes.length says otherwise
    min_trades: int = 6  # times the money must be turned over on the validation period, or a trial loses score
    vix: str = "VIX"  # symbol of the volatility index, empty for none
    search: dict[str, Any] = field(default_factory=dict)  # ranges that replace the algorithm's own, see search.py
    n_folds: int = 3  # walk-forward folds a trial is tried on; the last one's validation is the period above
    purge_bars: int | None = None  # bars left out between training and validation; None: the longest look-back
    n_seeds: int = 2  # times each fold is learned with other random numbers
    sampler: str = TPE  # tpe, or nsga2 for three aims at once
    pruner: str = HYPERBAND  # which trials end early: hyperband, median or none; nsga2 ends none
    n_workers: int = 0  # processes that carry out trials; 0: as many as cores and free memory allow
    max_minutes: int | None = None  # no new trial begins after that, the best so far is published
    backend: str = "cpu"  # cpu, cuda or tpu
    n_final_seeds: int = 3  # times the best parameters are learned at the end; the middle one is published

    def __post_init__(self) -> None:
        for name in _ABOVE_ZERO:
            value = getattr(self, name)
            check(is_whole(value, 1) and value <= MOST, f"training.{name}", value, "a whole number above 0")
        for name in ("min_trades", "n_workers"):
            value = getattr(self, name)
            good = is_whole(value, 0) and value <= MOST
            check(good, f"training.{name}", value, "a whole number of at least 0")
        for name, least in (("purge_bars", 0), ("max_minutes", 1)):
            value = getattr(self, name)
            good = value is None or (is_whole(value, least) and value <= MOST)
            check(good, f"training.{name}", value, f"a whole number of at least {least}, or null")
        for name, known in (("sampler", SAMPLERS), ("pruner", PRUNERS), ("backend", BACKENDS)):
            value = getattr(self, name)
            check(value in known, f"training.{name}", value, f"one of {', '.join(known)}")
        check(isinstance(self.vix, str), "training.vix", self.vix, "a symbol, or empty")
        check(isinstance(self.search, dict), "training.search", self.search, "an object of ranges")
        total = self.n_steps_total
        check(total < 2**63, "training", total, "fewer steps in all: lower n_trials, n_folds, n_seeds or n_steps")
        if self.unseen <= self.validation:
            raise ConfigurationError(
                f"training.periods: unseen {self.unseen} must come after validation {self.validation}"
            )

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Parse data["training"]: periods as ISO dates, the rest by field name."""
        values = dict(values)
        periods = values.pop("periods", None)
        check(isinstance(periods, dict), "training.periods", periods, 'an object {"validation": date, "unseen": date}')
        check_known(values, [name for name in names_of(cls) if name not in ("validation", "unseen")], "training.")
        validation, unseen = (day(periods.get(name), f"training.periods.{name}") for name in ("validation", "unseen"))
        return cls(validation=validation, unseen=unseen, **values)

    def to_dict(self) -> dict[str, Any]:
        """The reverse of from_dict."""
        values = asdict(self)
        periods = {name: values.pop(name).isoformat() for name in ("validation", "unseen")}
        return {"periods": periods, **values}

    @property
    def n_parts(self) -> int:
        """Learnings of one trial: every fold with every seed."""
        return self.n_folds * self.n_seeds

    @property
    def n_steps_total(self) -> int:
        """Environment steps of the whole study and the final learnings, if no trial ends early."""
        return (self.n_trials * self.n_parts + self.n_final_seeds) * self.n_steps

    def for_test(self) -> "TrainingSettings":
        """The same cut down to seconds."""
        return replace(
            self, n_trials=min(self.n_trials, TEST_TRIALS), n_steps=min(self.n_steps, TEST_STEPS), n_evaluations=1,
            n_folds=1, n_seeds=1, n_final_seeds=1, n_workers=1,
        )  # fmt: skip


@dataclass(frozen=True, kw_only=True)
class EpisodeSettings:
    """Which stretches of the training rows are played."""

    kind: str = "random"  # random: starts drawn; fixed: any of equal windows; chronological: in turn
    length: int | None = None  # bars; None: training.episode_length

    def __post_init__(self) -> None:
        check(self.kind in EPISODES, "episodes.kind", self.kind, f"one of {', '.join(EPISODES)}")
        good = self.length is None or is_whole(self.length, 2)
        check(good, "episodes.length", self.length, "a whole number of at least 2, or null")

    @classmethod
    def from_dict(cls, values: dict[str, Any]) -> Self:
        """Parse data["episodes"]; absent values take their defaults."""
        check_known(values, names_of(cls), "episodes.")
        return cls(**values)
