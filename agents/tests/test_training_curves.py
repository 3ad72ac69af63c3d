"""Curves of a run: which part is shown, what is new, what is compared, what is exported."""

import pytest

from agents.models import TrainingPoint, TrainingRun, Trial
from agents.training_pages import training_curves
from agents.training_pages.training_words import part_words, series_words
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def run() -> TrainingRun:
    return factories.training_run(factories.desk().aapl, finished=False, progress=0.4)


def point(run: TrainingRun, part: str, step: int, **values: float) -> TrainingPoint:
    return TrainingPoint.objects.create(
        run=run, part=part, step=step, values={name.replace("__", "/"): value for name, value in values.items()}
    )


def test_nothing_is_shown_before_anything_is_recorded(run):
    found = training_curves.answer(run)
    assert found["part"] == "" and found["steps"] == [] and found["other"] is None
    # the factory's trials: 0.41, 0.97, stopped early, 0.12
    assert found["trials"] == [[1, 0.41, 0.41], [2, 0.97, 0.97], [3, None, 0.97], [4, 0.12, 0.97]]


def test_of_several_workers_the_first_trial_at_work_is_followed(run):
    run.trials.filter(number__in=[2, 3]).update(state=Trial.State.RUNNING, value=None)
    point(run, "trial-2/fold-0/seed-0", 10, episode_return=1)
    point(run, "trial-2/fold-1/seed-0", 10, episode_return=1)
    point(run, "trial-3/fold-0/seed-0", 10, episode_return=1)
    assert training_curves.answer(run)["part"] == "trial-2/fold-1/seed-0"
    assert training_curves.answer(run, "trial-3/fold-0/seed-0")["part"] == "trial-3/fold-0/seed-0"
    # a chosen part that does not exist is not an error: what is learning is shown
    assert training_curves.answer(run, "trial-9")["part"] == "trial-2/fold-1/seed-0"


def test_losses_and_score_of_one_step_are_one_row(run):
    point(run, "final/seed-0", 10, loss__value_loss=2.0)
    point(run, "final/seed-0", 20, loss__value_loss=1.0)
    point(run, "final/seed-0", 20, score=0.5)
    found = training_curves.answer(run)
    assert found["steps"] == [10, 20]
    assert found["values"] == {"loss/value_loss": [2.0, 1.0], "score": [None, 0.5]}
    assert found["labels"] == {"loss/value_loss": "value", "score": "score"}


def test_only_what_is_new_is_sent_again(run):
    first = point(run, "final/seed-0", 10, episode_return=0.1)
    point(run, "final/seed-0", 20, episode_return=0.2)
    found = training_curves.answer(run, since=first.pk, shown="final/seed-0")
    assert not found["whole"] and found["steps"] == [20] and found["values"] == {"episode_return": [0.2]}
    again = training_curves.answer(run, since=found["last"], shown="final/seed-0")
    assert not again["whole"] and again["steps"] == [] and again["last"] == found["last"]
    assert training_curves.answer(run, since=first.pk, shown="another")["whole"]


def test_after_a_long_absence_the_whole_curve_is_sent_thinned(run):
    rows = [TrainingPoint(run=run, part="final/seed-0", step=n, values={"episode_return": n % 7}) for n in range(1500)]
    TrainingPoint.objects.bulk_create(rows)
    found = training_curves.answer(run, since=1, shown="final/seed-0")
    assert found["whole"] and found["n"] == 1500 and len(found["steps"]) <= 600
    assert len(found["values"]["episode_return"]) == len(found["steps"])


def test_what_is_no_number_is_left_out(run):
    point(run, "final/seed-0", 10, episode_return=None, loss__value_loss=0.5)
    assert training_curves.answer(run)["values"]["episode_return"] == [None]


def test_the_best_trial_is_drawn_behind_the_one_that_learns(run):
    point(run, "trial-1/fold-0/seed-0", 10, episode_return=0.9)
    point(run, "trial-3/fold-0/seed-0", 10, episode_return=0.3)
    run.trials.filter(number=3).update(state=Trial.State.RUNNING)
    found = training_curves.answer(run)
    assert found["other"] == {"words": "best so far, trial 2", "steps": [10], "values": [0.9]}
    assert training_curves.answer(run, "trial-1/fold-0/seed-0")["other"] is None


def test_a_chart_is_a_table_with_nothing_left_out(run):
    for step in range(0, 1000, 10):
        point(run, "final/seed-0", step, action__buy=0.25, action__hold=0.75, episode_return=1.0)
    header, rows = training_curves.table(run, "actions", "")
    rows = list(rows)
    assert header == ["part", "step", "action/buy", "action/hold"]
    assert len(rows) == 100 and rows[1] == ["final/seed-0", 10, 0.25, 0.75]
    with pytest.raises(KeyError):
        training_curves.table(run, "secrets", "")


@pytest.mark.parametrize(
    ("part", "words"),
    [
        ("trial-3/fold-1/seed-0", "trial 4, fold 2, seed 1"),
        ("final/seed-2", "final model, seed 3"),
        ("something else", "something else"),
    ],
)
def test_parts_have_words(part, words):
    assert part_words(part) == words


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("loss/policy_gradient_loss", "policy"),
        ("loss/unheard_of", "unheard of"),
        ("reward/net_return", "net return"),
        ("action/buy_25", "buy 25"),
        ("episode_return", "return per episode"),
    ],
)
def test_lines_have_words(name, words):
    assert series_words(name) == words


@pytest.mark.parametrize(
    ("reward", "names"),
    [
        ({}, ["reward/net_return"]),
        ({"net_return": 1.0, "drawdown": 0.5, "cost": 0}, ["reward/net_return", "reward/drawdown"]),
        (
            {"kind": "risk_adjusted", "net_return": 1.0, "volatility": 1.0},
            ["reward/risk_adjusted_return", "reward/volatility"],
        ),
        # a floor is no weight of a part, and no part has its name: it matches no line
        (
            {"holding": 0.1, "volatility_floor": 0.02},
            ["reward/net_return", "reward/holding", "reward/volatility_floor"],
        ),
    ],
)
def test_only_parts_of_the_reward_with_a_weight_are_drawn(run, reward, names):
    run.configuration.data["reward"] = reward
    assert training_curves.counted(run) == names
