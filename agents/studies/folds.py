"""Walk-forward folds: train on what came before, leave a gap, validate on what came next. Pure.

The folds grow: each trains on everything from the first row to its gap. The last fold's validation is the configured
validation period; the earlier ones are cut from the rows before it, side by side:

    fold 0   [ training      ] gap [ validation ]
    fold 1   [ training                    ] gap [ validation ]
    fold 2   [ training                                  ] gap [ validation period ]   unseen

Source: the purged walk-forward of Lopez de Prado, Advances in Financial Machine Learning, 2018, chapters 7 and 12.
"""

from dataclasses import dataclass

MIN_TRAINING_BARS = 100
MIN_VALIDATION_BARS = 20
REWARD_HORIZON = 1  # bars: a decision is paid by the bar after it, which must not be a validation bar


@dataclass(frozen=True)
class Rows:
    """First and last row of a period, both included."""

    first: int
    last: int

    def __len__(self) -> int:
        return max(self.last - self.first + 1, 0)


@dataclass(frozen=True)
class Fold:
    """One step of the walk."""

    number: int
    training: Rows
    validation: Rows


def walk_forward(training: Rows, validation: Rows, n_folds: int, purge_bars: int) -> tuple[Fold, ...]:
    """The folds, oldest first.

    training, validation: the configured periods, side by side; purge_bars: rows left out between the two of a fold.
    The earlier validation blocks are as long as the period if that leaves the first fold at least as many training
    rows as one block, shorter otherwise. Raises: ValueError naming what is too short and what to change.
    """
    if n_folds < 1 or purge_bars < 0:
        raise ValueError(f"expected at least one fold and no negative gap, got n_folds {n_folds}, purge {purge_bars}")
    block = min(len(validation), len(training) // (n_folds + 1))
    folds = []
    for number in range(n_folds):
        begins = validation.first - (n_folds - 1 - number) * block
        ends = validation.last if number == n_folds - 1 else begins + block - 1
        fold = Fold(number, Rows(training.first, begins - 1 - purge_bars), Rows(begins, ends))
        _check(fold, n_folds, purge_bars)
        folds.append(fold)
    return tuple(folds)


def default_purge(warm_up: int) -> int:
    """Rows to leave out when the settings name none. warm_up: the features' longest look-back, in bars.

    So no validation observation is made of a bar that was trained on, and no training reward of a validation bar.
    """
    return max(warm_up, REWARD_HORIZON)


def _check(fold: Fold, n_folds: int, purge_bars: int) -> None:
    for name, rows, least in (
        ("training", fold.training, MIN_TRAINING_BARS), ("validation", fold.validation, MIN_VALIDATION_BARS),
    ):  # fmt: skip
        if len(rows) < least:
            raise ValueError(
                f"{name} rows of fold {fold.number + 1} of {n_folds} are {len(rows)}, expected at least {least} with "
                f"{purge_bars} left out between training and validation; lower training.n_folds or "
                "training.purge_bars, or import more bars"
            )
