import pytest
import sqlalchemy
from django.core.management import CommandError, call_command

from agents import registry, training, tuning
from agents.learning import TrainingDiverged, TrainingStopped
from agents.learning import Trial as LearningTrial
from agents.models import ModelVersion, TrainingRun, Trial
from agents.tests.desk import make_agent, make_run
from agents.training import TrainingFailed, train

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def models_folder(settings, tmp_path):
    settings.MODELS_DIR = tmp_path / "models"
    return settings.MODELS_DIR


class Crash(BaseException):
    """The process dies: nothing may catch it."""


def test_a_training_makes_one_proven_deployed_version(models_folder):
    agent, phases = make_agent(n_trials=3), list[str]()
    run = make_run(agent)
    model = train(run, on_progress=phases.append)
    run.refresh_from_db()
    agent.refresh_from_db()
    trials = list(run.trials.all())
    assert [trial.state for trial in trials[:2]] == ["done", "done"]
    assert len(trials) == 3
    best = max((trial for trial in trials if trial.state == "done"), key=lambda trial: trial.value or 0.0)
    assert [trial.number for trial in trials if trial.is_best] == [best.number]
    assert (model.parameters, model.seed) == (best.parameters, best.seed)
    assert (agent.deployed_version, model.state) == (model, "deployed")
    assert {row.period for row in model.backtests.all()} == {"validation", "unseen"}
    # The kept weights are the trial's own: the validation backtest gives its metrics again.
    validation = model.backtests.get(period="validation")
    assert validation.metrics["sharpe_ratio"] == best.metrics["sharpe_ratio"]
    unseen = model.backtests.get(period="unseen")
    assert (unseen.n_bars, unseen.passed) == (150, True)
    assert len(unseen.curve["equity"]) == 150
    assert (run.phase, run.progress, run.n_steps_total) == ("Finished", 1.0, 3 * 4096)
    assert run.started_at is not None
    assert run.finished_at is not None
    assert run.finished_at > run.started_at
    assert model.study_name == run.study_name == f"walker-run-{run.pk}"
    assert "Trial 1 of 3" in phases
    assert [path.name for path in models_folder.rglob("*.safetensors")] == [model.file]
    assert train(run) == model
    assert ModelVersion.objects.count() == 1


def test_the_same_seed_gives_the_same_version_again():
    agent = make_agent()
    one, two, other = (train(make_run(agent, seed)) for seed in (4, 4, 5))
    assert one.weights_sha256 == two.weights_sha256 != other.weights_sha256
    assert one.parameters == two.parameters
    assert one.sha256 == two.sha256


def test_a_killed_training_goes_on_and_repeats_only_the_lost_trial(monkeypatch):
    agent = make_agent()
    undisturbed = train(make_run(agent, 7))
    run, seen = make_run(agent, 7), []
    learn = LearningTrial.run

    def dying(trial):
        seen.append((trial.seed, trial.parameters))
        if len(seen) == 2:
            raise Crash
        return learn(trial)

    monkeypatch.setattr(LearningTrial, "run", dying)
    with pytest.raises(Crash):
        train(run)
    assert list(run.trials.values_list("state", flat=True)) == ["done", "running"]
    model = train(run)
    assert len(seen) == 3
    assert seen[1] == seen[2]  # same seed, same parameters
    assert list(run.trials.values_list("number", "state")) == [(0, "done"), (1, "failed"), (2, "done")]
    assert model.weights_sha256 == undisturbed.weights_sha256
    assert run.trials.get(number=1).metrics == {"lost": "its process ended; repeated"}


@pytest.mark.parametrize("broken", ["tell", "publish"])
def test_a_crash_between_files_rows_and_study_loses_nothing(monkeypatch, broken):
    agent = make_agent()
    run = make_run(agent)
    with monkeypatch.context() as patch:

        def crash(*args, **kwargs):
            raise Crash

        if broken == "tell":
            patch.setattr("optuna.Study.tell", crash)
        else:
            patch.setattr(registry, "prove", crash)
        with pytest.raises(Crash):
            train(run)
    assert not ModelVersion.objects.exists()
    n_before = run.trials.filter(state="done").count()
    model = train(run)
    assert run.trials.count() == 2
    assert n_before in (1, 2)
    assert (model.state, ModelVersion.objects.count()) == ("deployed", 1)


def test_a_stop_ends_it_without_a_version_and_a_later_start_goes_on():
    run = make_run(make_agent())
    asked = iter([False, False, False, True])
    with pytest.raises(TrainingStopped):
        train(run, should_stop=lambda: next(asked, True))
    assert not ModelVersion.objects.exists()
    assert not run.trials.filter(state="running").exists()
    assert train(run).run == run


def test_a_diverged_trial_is_noted_and_the_others_go_on(monkeypatch):
    run, learn, n = make_run(make_agent()), LearningTrial.run, []

    def diverging(trial):
        n.append(1)
        if len(n) == 1:
            raise TrainingDiverged("head.bias became NaN")
        return learn(trial)

    monkeypatch.setattr(LearningTrial, "run", diverging)
    model = train(run)
    first = run.trials.get(number=0)
    assert (first.state, first.metrics) == ("failed", {"problem": "head.bias became NaN"})
    assert run.trials.get(is_best=True).number == 1
    assert model.run == run


def test_when_every_trial_diverges_the_run_says_so(monkeypatch):
    def diverging(trial):
        raise TrainingDiverged("head.bias became NaN")

    monkeypatch.setattr(LearningTrial, "run", diverging)
    with pytest.raises(TrainingFailed, match=r"no trial finished: head\.bias became NaN"):
        train(make_run(make_agent()))


def test_a_live_account_gets_a_proven_version_but_it_is_not_deployed():
    agent = make_agent(mode="live")
    model = train(make_run(agent))
    agent.refresh_from_db()
    assert (model.state, agent.deployed_version) == ("proven", None)


def test_missing_bars_and_a_missing_vix_are_named():
    run = make_run(make_agent(periods={"validation": "1999-01-01", "unseen": "2014-01-01"}))
    with pytest.raises(TrainingFailed, match="WALKER: the training period has 0 bars"):
        train(run)
    agent = make_agent(name="other", vix="VXO")
    data = agent.configuration.data | {"features": ["rsi_14", "vix"]}
    agent.configurations.create(version=2, data=data)
    with pytest.raises(TrainingFailed, match=r"training\.vix: there is no instrument VXO"):
        train(make_run(agent))


def test_a_wrong_id_is_one_clear_line():
    with pytest.raises(CommandError, match="there is no training run 999"):
        call_command("run_training", "999")


def test_optunas_tables_live_in_their_own_schema():
    with tuning.open_storage() as storage, storage.engine.connect() as session:
        found = session.execute(
            sqlalchemy.text("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename IN ('studies', 'trials')")
        )
        assert [row[0] for row in found] == ["optuna"]


def test_progress_is_written_on_the_run_at_most_every_half_second(monkeypatch):
    run, seen = make_run(make_agent()), []
    say = training.Training.say

    def watching(self, phase, n_done, progress=None):
        say(self, phase, n_done, progress)
        seen.append(TrainingRun.objects.values_list("n_steps_done", "progress").get(pk=run.pk))

    monkeypatch.setattr(training.Training, "say", watching)
    train(run)
    assert seen == sorted(seen)
    assert seen[-1] == (2 * 4096, pytest.approx(training.STUDY_SHARE))
    assert Trial.objects.filter(run=run, duration_seconds__gt=0).count() == 2
