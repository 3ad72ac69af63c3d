from itertools import pairwise

import pytest

from agents.studies.folds import Rows, default_purge, walk_forward


def spans(folds):
    return [(one.training.first, one.training.last, one.validation.first, one.validation.last) for one in folds]


def test_folds_walk_forward_and_the_last_validates_on_the_configured_period():
    # 600 training rows (50 to 649), 200 validation rows. Three folds: blocks of min(200, 600 // 4) = 150 rows before
    # the period: 350-499 and 500-649. Ten rows before each are left out.
    folds = walk_forward(Rows(50, 649), Rows(650, 849), 3, 10)
    assert spans(folds) == [(50, 339, 350, 499), (50, 489, 500, 649), (50, 639, 650, 849)]


def test_a_short_validation_period_gives_blocks_of_its_length():
    folds = walk_forward(Rows(0, 999), Rows(1000, 1049), 2, 0)
    assert spans(folds) == [(0, 949, 950, 999), (0, 999, 1000, 1049)]


@pytest.mark.parametrize("n_folds", [1, 2, 5])
@pytest.mark.parametrize("purge", [0, 1, 30])
def test_no_fold_trains_on_what_it_or_its_gap_validates(n_folds, purge):
    training, validation = Rows(33, 1500), Rows(1501, 1900)
    folds = walk_forward(training, validation, n_folds, purge)
    assert len(folds) == n_folds
    assert folds[-1].validation == validation
    for fold in folds:
        assert fold.training.first == training.first
        # Row for row: the gap lies between the two, and is as wide as asked for.
        assert fold.validation.first - fold.training.last - 1 == purge
    for earlier, later in pairwise(folds):
        assert later.validation.first == earlier.validation.last + 1
        assert len(later.training) > len(earlier.training)


@pytest.mark.parametrize(
    ("training", "n_folds", "purge", "message"),
    [
        (Rows(0, 299), 3, 0, "expected no error"),
        (Rows(0, 299), 3, 60, "training rows of fold 1 of 3 are 90, expected at least 100 with 60 left out"),
        (Rows(0, 99), 5, 0, "training rows of fold 1 of 5"),
        (Rows(0, 299), 0, 0, "at least one fold"),
        (Rows(0, 299), 1, -1, "no negative gap"),
    ],
)
def test_too_few_rows_are_named(training, n_folds, purge, message):
    # 300 rows, three folds: blocks of 75, so the first fold trains on rows 0 to 149, less the gap.
    validation = Rows(training.last + 1, training.last + 100)
    if message == "expected no error":
        assert len(walk_forward(training, validation, n_folds, purge)[0].training) == 150
        return
    with pytest.raises(ValueError, match=message):
        walk_forward(training, validation, n_folds, purge)


def test_the_usual_gap_is_the_longest_look_back_and_at_least_the_reward_s_bar():
    assert default_purge(50) == 50
    assert default_purge(0) == 1
