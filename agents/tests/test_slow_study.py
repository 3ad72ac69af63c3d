"""Studies from beginning to end in processes of their own, their rows worked out again by other means."""

from collections.abc import Iterator
from typing import Any

import numpy as np
import optuna
import pytest
from scipy import stats
from scipy.spatial.distance import cdist

from agents import registry
from agents.models import TrainingRun, Trial
from agents.runs.learning import learn
from agents.runs.run_data import assignment_of
from agents.studies import tuning
from agents.studies.search import groups_of
from agents.studies.study import seed_for
from agents.studies.workforce import n_cores
from agents.tests import worlds
from agents.tests.desk import make_agent, make_run
from agents.tests.processes import Trainings, trainings_in

pytestmark = [pytest.mark.django_db(transaction=True), pytest.mark.slow]
FOLDS, SEEDS, EVALUATIONS, TRIALS = 2, 2, 4, 8
SIZE: dict[str, Any] = {
    "n_trials": TRIALS, "n_folds": FOLDS, "n_seeds": SEEDS, "n_steps": 2_048, "n_evaluations": EVALUATIONS,
    "n_final_seeds": 3, "search": {"drop": "nothing"},
}  # fmt: skip
# The longest look-back of the features of `worlds` is MACD's: its slow average is there from the 26th bar on, 25 after
# the first, and the average over 9 of its values 8 bars later. As many are left out before each validation.
LOOK_BACK = 33


@pytest.fixture
def trainings(settings, tmp_path) -> Iterator[Trainings]:
    with trainings_in(tmp_path, settings) as found:
        yield found


def middle_of(values: list[float]) -> float:
    """SciPy's median: the desk uses Python's and numpy's."""
    return float(stats.scoreatpercentile(values, 50))


def check_objectives(run: TrainingRun) -> list[Trial]:
    """Every finished trial's objective and aims from its parts. Returns: the finished trials."""
    done = list(run.trials.filter(state=Trial.State.DONE).order_by("number"))
    for trial in done:
        assert sorted((part["fold"], part["seed"]) for part in trial.parts) == [(0, 0), (0, 1), (1, 0), (1, 1)]
        assert len({part["weights_sha256"] for part in trial.parts}) == FOLDS * SEEDS
        for part in trial.parts:
            assert len(part["evaluations"]) == EVALUATIONS
            assert part["score"] == pytest.approx(middle_of(part["evaluations"][EVALUATIONS // 2 :]), abs=1e-12)
        assert trial.value == pytest.approx(middle_of([part["score"] for part in trial.parts]), abs=1e-12)
        for aim, metric in {"drawdown": "max_drawdown", "turnover": "turnover"}.items():
            expected = middle_of([part["metrics"][metric] for part in trial.parts])
            assert trial.objectives[aim] == pytest.approx(expected, abs=1e-12)
    return done


def check_a_part_is_what_was_learned(run: TrainingRun, trial: Trial) -> None:
    """Learn one part of a trial anew: the stored row tells what comes of it, on the rows that the folds say."""
    assignment = assignment_of(run)
    period = assignment.dataset.validation
    last, first = assignment.folds[1], assignment.folds[0]
    assert (last.validation.first, last.validation.last) == (period.first, period.last)
    assert first.validation.last == period.first - 1, "folds follow each other"
    for fold in assignment.folds:
        assert fold.validation.first - fold.training.last - 1 == LOOK_BACK, "the purge"
    part = next(part for part in trial.parts if (part["fold"], part["seed"]) == (0, 1))
    lesson = assignment.lesson(trial.parameters, 0, seed_for(trial.seed, 1))
    raw = assignment.dataset.raw[first.training.first : first.training.last + 1]
    np.testing.assert_allclose(lesson.dataset.normaliser.centre, np.nanmean(raw, axis=0), rtol=1e-9, atol=1e-12)
    again = learn(lesson)
    assert again.weights_sha256 == part["weights_sha256"]
    assert again.evaluations == part["evaluations"]
    equity = again.validation.track.equity
    assert len(equity) == len(first.validation)
    returns = equity[1:] / equity[:-1] - 1.0
    sharpe = stats.tmean(returns) / stats.tstd(returns) * np.sqrt(252.0)
    assert part["metrics"]["sharpe_ratio"] == pytest.approx(sharpe, rel=1e-9)


def check_optuna_holds_the_same(run: TrainingRun) -> optuna.Study:
    """The study in PostgreSQL is made of the rows."""
    with tuning.open_storage() as storage:
        study = optuna.load_study(study_name=run.study_name, storage=storage)
        stored = study.get_trials()
    rows = list(run.trials.order_by("number"))
    assert [trial.params for trial in stored] == [row.parameters for row in rows]
    assert [trial.user_attrs["seed"] for trial in stored] == [row.seed for row in rows]
    assert len({row.seed for row in rows}) == TRIALS
    assert all(row.duration_seconds and row.duration_seconds > 0 for row in rows)
    workers = {row.worker.rpartition(":")[2] for row in rows}
    assert len(workers) <= n_cores()
    assert len(workers) == 1 or str(run.pid) not in workers, "beside workers the run's own process only looks on"
    for trial, row in zip(stored, rows, strict=True):
        if row.state == Trial.State.DONE:
            assert trial.values[0] == pytest.approx(row.value, abs=1e-12)
    return study


def beats(one: list[float], other: list[float]) -> bool:
    """At least as good in every aim and better in one; all aims the smaller the better."""
    return all(a <= b for a, b in zip(one, other, strict=True)) and one != other


def test_a_genetic_study_of_several_aims_publishes_the_knee_of_its_front(trainings: Trainings) -> None:
    agent = make_agent(sampler="nsga2", **SIZE)
    run = make_run(agent, 3)
    model = trainings.carry_out(run, n_workers=2)
    done = check_objectives(run)
    assert len(done) == TRIALS, "a genetic study ends no trial early"
    study = check_optuna_holds_the_same(run)

    aims = [[-trial.value, trial.objectives["drawdown"], trial.objectives["turnover"]] for trial in done]
    front = [row for row, own in enumerate(aims) if not any(beats(other, own) for other in aims)]
    assert sorted(trial.number for trial in study.best_trials) == front, "Optuna's front is ours"
    lowest, highest = np.min([aims[row] for row in front], axis=0), np.max([aims[row] for row in front], axis=0)
    spread = np.where(highest > lowest, highest - lowest, 1.0)
    away = cdist([(np.array(aims[row]) - lowest) / spread for row in front], np.zeros((1, 3))).ravel()
    knee = done[front[int(np.argmin(away))]]
    assert run.trials.get(is_best=True) == knee
    assert model.parameters == knee.parameters
    assert model.metrics["study"]["objectives"] == knee.objectives
    # Parents of a second generation were chosen among the first.
    generations = {trial.system_attrs.get("NSGAIISampler:generation", 0) for trial in study.get_trials()}
    assert max(generations) >= 1
    check_a_part_is_what_was_learned(run, done[1])
    agent.refresh_from_db()
    assert agent.deployed_version == model


def test_the_usual_study_takes_medians_ends_laggards_and_publishes_the_middle_learning(trainings: Trainings) -> None:
    run = make_run(make_agent(**SIZE), 5)
    model = trainings.carry_out(run, n_workers=0)  # as many as there are cores and memory for
    done = check_objectives(run)
    pruned = list(run.trials.filter(state=Trial.State.PRUNED))
    assert len(done) + len(pruned) == TRIALS and done and pruned
    study = check_optuna_holds_the_same(run)
    best = max(done, key=lambda trial: (trial.value, -trial.number))
    assert run.trials.get(is_best=True) == best
    assert study.best_trial.number == best.number
    assert model.parameters == best.parameters
    for trial in pruned:
        # What it had reported last lies below what half of the others had by then: it did lag behind.
        stored = study.get_trials()[trial.number]
        step = max(stored.intermediate_values)
        others = [t.intermediate_values[step] for t in study.get_trials() if step in t.intermediate_values]
        assert stored.intermediate_values[step] < max(others)
        assert trial.value == pytest.approx(stored.intermediate_values[step])
    # Of three final learnings that in the middle is published, not the best.
    scores = model.metrics["study"]["final_scores"]
    assert len(scores) == 3
    published = model.backtests.get(period="validation").metrics["sharpe_ratio"]
    assert published == pytest.approx(middle_of(scores), rel=1e-9)
    check_a_part_is_what_was_learned(run, done[0])


def test_a_study_varies_all_it_may_and_a_worker_of_another_place_helps(trainings: Trainings) -> None:
    search = {
        "width": {"choices": [8, 16]}, "depth": {"low": 1, "high": 2}, "network": {"choices": ["mlp", "tcn"]},
        "window": {"choices": [4, 8]}, "penalty": {"low": 0.5, "high": 2.0}, "n_epochs": {"choices": [2, 4]},
        "reward_holding": {"low": 0.0, "high": 0.001}, "reward_cost": {"choices": [0.0, 0.5]},
    }  # fmt: skip
    agent = make_agent(
        n_trials=8, n_folds=1, n_seeds=1, n_steps=4_096, n_evaluations=1, n_workers=1, pruner="none",
        sampler="tpe", search=search,
    )  # fmt: skip
    run = make_run(agent, 4)
    TrainingRun.objects.filter(pk=run.pk).update(study_name=f"walker-run-{run.pk}")
    # As on another host: started by hand, with a folder of its own and nothing shared but the database.
    helper = Trainings(trainings.folder / "elsewhere")
    helper.folder.mkdir()
    helping = helper.start(run.pk, "run_study_worker")
    trainings.wait_only(lambda: run.trials.filter(state=Trial.State.DONE).exists(), "the helper's first trial")
    model = trainings.carry_out(run)
    assert helping.wait(30) == 0, helper.log()

    rows = list(run.trials.order_by("number"))
    assert [row.state for row in rows] == [Trial.State.DONE] * 8
    assert {row.worker.rpartition(":")[2] for row in rows} >= {str(helping.pid)}
    usual = {"learning_rate", "batch_size", "gamma", "ent_coef", "drop"}
    assert all(set(row.parameters) == usual | set(search) for row in rows)
    varied = {name for name in usual | set(search) if len({row.parameters[name] for row in rows}) > 1}
    # In eight trials one of two choices may happen never to be drawn.
    assert {"learning_rate", "ent_coef", "penalty", "reward_holding"} <= varied and len(varied) >= 8
    assert {row.parameters["drop"] for row in rows} <= {"nothing", *groups_of(worlds.FEATURES)}
    policy, best = registry.load(model), model.parameters
    assert policy.network.kind == best["network"]
    assert policy.window == best["window"]
    assert policy.network.hidden == (best["width"],) * best["depth"]
    assert len(policy.spec) < len(worlds.FEATURES) or best["drop"] == "nothing"
