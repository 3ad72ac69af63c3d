"""What a trial leaves behind: the last good checkpoint of one that diverged, and what a person should know."""

import pytest

from agents.learners.guard import TrainingDiverged
from agents.learners.on_policy import OnPolicyLearner
from agents.models import Trial
from agents.runs import learning
from agents.runs.learning import Progress
from agents.runs.run_files import checkpoints_of
from agents.runs.training import TrainingFailed, begin, train
from agents.studies.study import seed_for
from agents.tests.desk import make_agent, make_run
from agents.tests.lessons import quick_learn

pytestmark = pytest.mark.django_db
PROBLEM = "observation rsi_14 became NaN after 10 steps; repair its bars or leave it out"


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.MODELS_DIR, settings.LOCAL_DIR = tmp_path / "models", tmp_path
    return settings.MODELS_DIR


def test_a_learning_that_diverges_leaves_its_last_good_checkpoint(folder, monkeypatch):
    # The second fold of the only trial: the first part is done, so its checkpoint is gone.
    def diverging(lesson, *, checkpoint, **others):
        if "fold-1" in str(checkpoint):
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.write_text("as it was before the NaN")
            raise TrainingDiverged(PROBLEM)
        return quick_learn(lesson, checkpoint=checkpoint, **others)

    monkeypatch.setattr(learning, "learn", diverging)
    run = make_run(make_agent(n_trials=1, n_folds=2))
    with pytest.raises(TrainingFailed, match="rsi_14 became NaN"):
        train(run)
    trial = run.trials.get()
    kept = f"checkpoints/run-{run.pk}/trial-0/fold-1/seed-0.checkpoint"
    assert (trial.state, trial.metrics["problem"], trial.metrics["checkpoint"]) == (Trial.State.FAILED, PROBLEM, kept)
    assert (folder / kept).read_text() == "as it was before the NaN"
    assert [path for path in checkpoints_of(run.pk).rglob("*") if path.is_file()] == [folder / kept]


def test_a_nan_in_a_real_learning_keeps_a_checkpoint_that_can_be_read(folder, monkeypatch):
    rounds, advance = [], OnPolicyLearner.advance

    def poisoned(self):
        rounds.append(1)
        if len(rounds) == 3:
            raise TrainingDiverged(PROBLEM)
        return advance(self)

    monkeypatch.setattr(OnPolicyLearner, "advance", poisoned)
    monkeypatch.setattr(learning, "SECONDS_BETWEEN_CHECKPOINTS", 0.0)  # after every round
    run = make_run(make_agent(n_trials=1, n_steps=65_536, n_evaluations=4))
    with pytest.raises(TrainingFailed):
        train(run)
    found = folder / run.trials.get().metrics["checkpoint"]
    assignment = begin(run, lambda: "go", lambda phase: None).assignment
    trial = run.trials.get()
    lesson = assignment.lesson(trial.parameters, 0, seed_for(trial.seed, 0))
    about = learning.checkpoints.read(found, lesson.fingerprint()).about
    assert 0 < about["steps_done"] < 65_536


def test_what_is_kept_goes_with_the_end_of_the_run(folder, monkeypatch):
    def diverging_once(lesson, *, checkpoint, **others):
        if "trial-0" in str(checkpoint):
            checkpoint.parent.mkdir(parents=True, exist_ok=True)
            checkpoint.write_text("good")
            raise TrainingDiverged(PROBLEM)
        return quick_learn(lesson, checkpoint=checkpoint, **others)

    monkeypatch.setattr(learning, "learn", diverging_once)
    model = train(make_run(make_agent()))
    assert [path.name for path in folder.rglob("*") if path.is_file()] == [model.file]


def test_a_trial_without_a_checkpoint_names_none(monkeypatch):
    def diverging(lesson, **others):
        raise TrainingDiverged(PROBLEM)

    monkeypatch.setattr(learning, "learn", diverging)
    run = make_run(make_agent(n_trials=1))
    with pytest.raises(TrainingFailed):
        train(run)
    assert run.trials.get().metrics == {"problem": PROBLEM}


def test_a_note_of_the_learning_stays_with_its_trial(monkeypatch):
    def noting(lesson, *, on_progress, **others):
        if not seen:
            seen.append(1)
            on_progress(Progress(steps_done=0, steps_total=1, steps_per_second=0.0, note="Learning starts anew: why"))
        return quick_learn(lesson, on_progress=on_progress, **others)

    seen: list[int] = []
    monkeypatch.setattr(learning, "learn", noting)
    run = make_run(make_agent(n_trials=2))
    train(run)
    first, second = run.trials.order_by("number")
    assert first.metrics["note"] == "trial 1, fold 1, seed 1: Learning starts anew: why"
    assert first.metrics["sharpe_ratio"] is not None
    assert "note" not in second.metrics
