"""What all learnings of one run share: data, folds, settings, and where their checkpoints and logs are."""

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from django.conf import settings as django_settings

from agents.configuration import AgentSettings
from agents.runs.dataset import Dataset
from agents.runs.learning import Lesson
from agents.runs.run_files import checkpoints_of
from agents.studies.drawn import applied
from agents.studies.folds import Fold, default_purge, walk_forward


@dataclass
class Assignment:
    """The learnings of a run: those of its trials' parts and the final ones."""

    run_pk: int
    settings: AgentSettings
    dataset: Dataset
    start_cash: float  # what the agent's book began with, so that sizes and costs are those of live trading
    backend: str
    _cut: dict[Any, Dataset] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.folds = folds_of(self.dataset, self.settings)

    @property
    def parts(self) -> list[tuple[int, int]]:
        """(fold, repetition) of a trial's learnings in order: every fold once before any is repeated."""
        training = self.settings.training
        return [(fold, seed) for seed in range(training.n_seeds) for fold in range(training.n_folds)]

    def lesson(self, parameters: dict[str, Any], fold: int, seed: int) -> Lesson:
        """One learning with drawn parameters. seed: of its random numbers."""
        settings, rest = applied(self.settings, parameters)
        rows = self.folds[fold]
        return Lesson(
            dataset=self.data(fold, settings.features),
            settings=settings,
            parameters=rest,
            seed=seed,
            training=rows.training,
            validation=rows.validation,
            start_cash=self.start_cash,
            n_steps=settings.training.n_steps,
            backend=self.backend,
        )

    def data(self, fold: int, features: Any = None) -> Dataset:
        """The data of one fold, scaled by its training rows alone. features: some of them, None for all."""
        rows: Fold = self.folds[fold]
        features = features or self.settings.features
        key = (fold, features.names)
        if key not in self._cut:
            self._cut[key] = self.dataset.refit(rows.training, rows.validation, features)
        return self._cut[key]

    def checkpoint(self, part: str) -> Path:
        """Where the learning of a part is kept while it is under way."""
        return checkpoints_of(self.run_pk) / f"{part}.checkpoint"

    def logs(self, part: str) -> Path:
        """Where TensorBoard finds a part."""
        return Path(django_settings.LOCAL_DIR) / "tensorboard" / f"run-{self.run_pk}" / part


def folds_of(dataset: Dataset, settings: AgentSettings) -> tuple[Fold, ...]:
    """The walk-forward folds of the data. Raises: ValueError saying what is too short."""
    training = settings.training
    purge = default_purge(dataset.spec.warm_up) if training.purge_bars is None else training.purge_bars
    return walk_forward(dataset.training, dataset.validation, training.n_folds, purge)


def trial_part(number: int, fold: int, seed: int) -> str:
    """How a part of a trial is named, from nought: trial-3/fold-1/seed-0."""
    return f"trial-{number}/fold-{fold}/seed-{seed}"


def final_part(seed: int) -> str:
    """How a final learning is named: final/seed-0."""
    return f"final/seed-{seed}"
