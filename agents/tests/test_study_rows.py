from datetime import timedelta

import pytest
from django.utils import timezone

from agents.assignment import Assignment
from agents.models import TrainingPoint, Trial
from agents.runs import learning
from agents.runs.learning import TrainingDiverged, TrainingPaused
from agents.runs.run_settings import settings_of_run
from agents.studies import study_rows, tuning
from agents.studies.study_rows import StudyRows, is_lost, running_values, this_worker
from agents.studies.study_worker import StudyWorker
from agents.tests import worlds
from agents.tests.desk import make_agent, make_run
from agents.tests.lessons import quick_learn
from core.models import JobRow

pytestmark = pytest.mark.django_db


class Crash(BaseException):
    """The process dies: nothing may catch it."""


@pytest.fixture(autouse=True)
def quick(settings, tmp_path, monkeypatch):
    settings.MODELS_DIR, settings.LOCAL_DIR = tmp_path / "models", tmp_path
    monkeypatch.setattr(learning, "learn", quick_learn)


@pytest.fixture
def storage(db):
    with tuning.open_storage() as found:
        yield found


def begun(seed=1, name="walker", **training):
    """A run whose study may begin."""
    wanted = {"n_trials": 6, "n_folds": 2, "n_seeds": 1, "n_evaluations": 2} | training
    run = make_run(make_agent(name=name, **wanted), seed)
    run.study_name = f"{name}-run-{run.pk}"
    run.save()
    return run


def worker_of(run, storage, wish=lambda: "go"):
    settings = settings_of_run(run)
    assignment = Assignment(run.pk, settings, worlds.dataset(settings), 50_000.0, "cpu")
    return StudyWorker(StudyRows(run, settings, storage), assignment, wish)


def results(run):
    return list(run.trials.order_by("number").values_list("number", "state", "parameters", "value", "parts"))


def without_times(rows):
    return [(*rest, [{k: v for k, v in part.items() if k != "seconds"} for part in parts]) for *rest, parts in rows]


def test_every_trial_is_kept_with_parts_aims_seed_and_time_and_told_to_optuna(storage):
    run = begun(n_trials=8, n_seeds=2, n_evaluations=3)
    worker = worker_of(run, storage)
    worker.work()
    assert worker.rows.record() == 8
    rows, frozen = list(run.trials.order_by("number")), worker.rows.study.get_trials(deepcopy=False)
    assert [row.number for row in rows] == list(range(8)) == [trial.number for trial in frozen]
    assert [dict(trial.params) for trial in frozen] == [row.parameters for row in rows]
    done = [row for row in rows if row.state == Trial.State.DONE]
    assert done
    for row in done:
        assert [(part["fold"], part["seed"]) for part in row.parts] == [(0, 0), (1, 0), (0, 1), (1, 1)]
        scores = sorted(part["score"] for part in row.parts)
        assert row.value == pytest.approx((scores[1] + scores[2]) / 2)  # median of four
        assert frozen[row.number].value == pytest.approx(row.value)
        assert row.objectives == {"sharpe": pytest.approx(row.objectives["sharpe"]), "drawdown": 0.1, "turnover": 5.0}
        assert (row.worker, row.progress) == (this_worker(), 1.0)
        assert row.duration_seconds is not None
        assert len(row.parts[0]["weights_sha256"]) == 64
    assert len({row.seed for row in rows}) == 8
    assert TrainingPoint.objects.filter(run=run, part="trial-0/fold-1/seed-0", values__has_key="score").count() == 3
    assert not list(worker.assignment.checkpoint("trial-0/fold-0/seed-0").parent.rglob("*.checkpoint"))


def test_two_workers_by_turns_give_the_study_of_one(storage):
    alone = begun(5)
    worker_of(alone, storage).work()
    run = begun(5, name="second")
    first, second = worker_of(run, storage), worker_of(run, storage)
    second.name = "elsewhere:1"
    # The second claims before the first has ended anything, as far as the study lets it.
    claims = [(first, first.rows.claim(first.name)), (second, second.rows.claim(second.name))]
    while claims:
        worker, claim = claims.pop()
        worker.carry_out(claim)
        claims += [(worker, claim)] if (claim := worker.rows.claim(worker.name)) else []
    assert without_times(results(run)) == without_times(results(alone))


@pytest.mark.parametrize("evaluations", [1, 4, 6])
def test_a_worker_that_dies_leaves_a_trial_that_ends_as_it_would_have(storage, monkeypatch, evaluations):
    alone = begun(6)
    worker_of(alone, storage).work()
    run, seen = begun(6, name="second"), []
    judge = study_rows.running_values

    with monkeypatch.context() as patch:

        def dying(*arguments):
            seen.append(arguments)
            if len(seen) == evaluations:
                raise Crash
            return judge(*arguments)

        patch.setattr("agents.studies.study_worker.running_values", dying)
        with pytest.raises(Crash):
            worker_of(run, storage).work()
    worker_of(run, storage).work()
    assert without_times(results(run)) == without_times(results(alone))


def test_a_pause_keeps_the_trial_for_the_next_worker(storage):
    alone = begun(7)
    worker_of(alone, storage).work()
    run, asked = begun(7, name="second"), []

    def wish():
        asked.append(1)
        return "pause" if len(asked) == 5 else "go"

    with pytest.raises(TrainingPaused):
        worker_of(run, storage, wish).work()
    row = run.trials.get(state=Trial.State.RUNNING)
    assert (row.worker, is_lost(row)) == ("", True)
    worker_of(run, storage).work()
    assert without_times(results(run)) == without_times(results(alone))


def test_a_trial_that_cannot_be_learned_says_why_and_the_others_go_on(storage, monkeypatch):
    def diverging(lesson, **others):
        if lesson.parameters["learning_rate"] > 6e-4:
            raise TrainingDiverged("loss value_loss became NaN")
        return quick_learn(lesson, **others)

    monkeypatch.setattr(learning, "learn", diverging)
    run = begun(2)
    worker_of(run, storage).work()
    failed = run.trials.filter(state=Trial.State.FAILED)
    assert failed.exists()
    assert {row.metrics["problem"] for row in failed} == {"loss value_loss became NaN"}
    assert failed.count() + run.trials.exclude(state=Trial.State.FAILED).count() == 6


def test_a_trial_taken_by_another_worker_is_left_to_it(storage):
    run = begun()
    worker = worker_of(run, storage)
    claim = worker.rows.claim(worker.name)
    run.trials.update(worker="elsewhere:1")
    worker.carry_out(claim)
    assert run.trials.get().worker == "elsewhere:1"
    assert run.trials.get().state == Trial.State.RUNNING


def test_no_new_trial_begins_when_time_is_over_but_a_lost_one_is_ended(storage):
    run = begun()
    worker = worker_of(run, storage)
    worker.rows.claim("")
    worker.work(lambda: False)
    assert [row.state for row in run.trials.all()] == [Trial.State.DONE]


def test_who_carries_out_a_trial_is_told_by_process_here_and_by_silence_elsewhere():
    now = timezone.now()
    here = this_worker().rpartition(":")[0]
    assert not is_lost(Trial(worker=this_worker(), heartbeat_at=now))
    assert is_lost(Trial(worker=this_worker(), heartbeat_at=now - timedelta(days=400)))  # its number was used again
    assert is_lost(Trial(worker=f"{here}:999999999", heartbeat_at=now))
    assert not is_lost(Trial(worker="elsewhere:1", heartbeat_at=now - timedelta(seconds=60)))
    assert is_lost(Trial(worker="elsewhere:1", heartbeat_at=now - timedelta(seconds=180)))
    assert is_lost(Trial(worker="", heartbeat_at=now))


def test_a_trial_reports_the_median_of_its_parts_as_far_as_they_have_come():
    # First part 1, 3, 2: later half of three is 3, 2. Running: 1; median of (3) 3... of two the later one; then 2.5.
    # Second part adds 0.5 to the settled 2.5: median 1.5.
    assert running_values([[1.0, 3.0, 2.0], [0.5]], 3) == [(1, 1.0), (2, 3.0), (3, 2.5), (4, 1.5)]


def test_a_study_of_several_aims_keeps_them_in_optuna(storage):
    run = begun(n_trials=6, sampler="nsga2")
    worker = worker_of(run, storage)
    worker.work()
    worker.rows.record()
    assert {row.state for row in run.trials.all()} == {Trial.State.DONE}
    for row, frozen in zip(run.trials.order_by("number"), worker.rows.study.trials, strict=True):
        assert frozen.values == pytest.approx([row.value, 0.1, 5.0])


def test_a_run_follows_what_was_asked_for_it_alone():
    run = begun()
    run.n_trials, run.max_minutes, run.n_workers = 50, 7, 3
    training = settings_of_run(run).training
    assert (training.n_trials, training.max_minutes, training.n_workers) == (50, 7, 3)
    run.mode = "test"  # takes seconds, whatever else was asked
    training = settings_of_run(run).training
    assert training.n_trials <= 2
    assert (training.max_minutes, training.n_workers) == (7, 1)
    assert (training.n_folds, training.n_seeds, training.n_final_seeds, training.n_steps) == (1, 1, 1, 2048)
    assert run.desired_state == JobRow.Desired.RUNNING
