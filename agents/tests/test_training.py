import pytest
import sqlalchemy
from django.core.management import CommandError, call_command

from agents import registry
from agents.models import ModelVersion, TrainingPoint, TrainingRun, Trial
from agents.runs import learning, training
from agents.runs.learning import TrainingDiverged, TrainingPaused, TrainingStopped
from agents.runs.training import TrainingFailed, train
from agents.studies import tuning
from agents.studies.skill import judge_sharpes
from agents.studies.study import middle
from agents.tests.desk import make_agent, make_run
from agents.tests.lessons import quick_learn
from agents.training_pages.skill_words import skill_words
from core.simulation.fees import load_fees

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def models_folder(settings, tmp_path):
    settings.MODELS_DIR, settings.LOCAL_DIR = tmp_path / "models", tmp_path
    return settings.MODELS_DIR


@pytest.fixture
def quick(monkeypatch):
    monkeypatch.setattr(learning, "learn", quick_learn)


class Crash(BaseException):
    """The process dies: nothing may catch it."""


def test_a_training_makes_one_proven_deployed_version(models_folder):
    agent, phases = make_agent(n_trials=2, n_folds=2, n_final_seeds=2), list[str]()
    run = make_run(agent)
    model = train(run, on_progress=phases.append)
    run.refresh_from_db()
    agent.refresh_from_db()
    trials = list(run.trials.order_by("number"))
    assert len(trials) == 2
    best = max((trial for trial in trials if trial.state == Trial.State.DONE), key=lambda trial: trial.value or 0.0)
    assert [trial.number for trial in trials if trial.is_best] == [best.number]
    assert model.parameters == best.parameters
    assert (agent.deployed_version, model.state) == (model, "deployed")
    assert {row.period for row in model.backtests.all()} == {"validation", "unseen"}
    # Of two final learnings the one with the lower score is published; its weights give its score again.
    scores = model.metrics["study"]["final_scores"]
    assert model.metrics["study"]["final_seed"] == middle(scores) == scores.index(min(scores))
    assert model.backtests.get(period="validation").metrics["sharpe_ratio"] == pytest.approx(min(scores))
    unseen = model.backtests.get(period="unseen")
    assert (unseen.n_bars, unseen.passed) == (150, True)
    assert (run.phase, run.progress, run.weights_sha256) == ("Finished", 1.0, model.weights_sha256)
    assert run.n_steps_total == (2 * 2 + 2) * 4096
    assert run.finished_at > run.started_at
    assert run.resources["memory_mb"] > 50
    assert run.worked_seconds > 0
    assert model.study_name == run.study_name == f"walker-run-{run.pk}"
    assert phases[0] == "Loading bars"
    assert {"Trial 1 of 2", training.TESTING} <= set(phases)
    assert [path.name for path in models_folder.rglob("*") if path.is_file()] == [model.file]
    kinds = {name.partition("/")[0] for point in TrainingPoint.objects.filter(run=run) for name in point.values}
    assert {"loss", "reward", "action", "score", "steps_per_second", "cpu", "memory_mb"} <= kinds
    assert train(run) == model
    assert ModelVersion.objects.count() == 1


def test_the_same_seed_gives_the_same_version_again(quick):
    agent = make_agent(n_trials=5)
    one, two, other = (train(make_run(agent, seed)) for seed in (4, 4, 5))
    assert one.weights_sha256 == two.weights_sha256 != other.weights_sha256
    assert one.parameters == two.parameters
    assert one.sha256 == two.sha256


@pytest.mark.parametrize("lessons", [1, 3, 5, 6])
def test_a_killed_training_goes_on_and_ends_with_the_same_weights(quick, monkeypatch, lessons):
    agent = make_agent(n_trials=4, n_final_seeds=3)
    undisturbed = train(make_run(agent, 7))
    run, seen = make_run(agent, 7), []

    def dying(lesson, *, judge, **others):
        seen.append(lesson)

        def judge_and_die(number, score):
            if len(seen) == lessons and number == 1:
                raise Crash
            return judge(number, score)

        return quick_learn(lesson, judge=judge_and_die, **others)

    monkeypatch.setattr(learning, "learn", dying)
    with pytest.raises(Crash):
        train(run)
    assert not ModelVersion.objects.filter(run=run).exists()
    model = train(run)
    assert model.weights_sha256 == undisturbed.weights_sha256
    assert (model.parameters, model.seed) == (undisturbed.parameters, undisturbed.seed)
    assert run.trials.count() == 4


@pytest.mark.parametrize(
    "broken", ["optuna.Study.add_trial", "agents.registry.prove", "agents.runs.training.forget_files"]
)
def test_a_crash_between_files_rows_and_study_loses_nothing(quick, monkeypatch, broken):
    run = make_run(make_agent())
    with monkeypatch.context() as patch:

        def crash(*args, **kwargs):
            raise Crash

        patch.setattr(broken, crash)
        with pytest.raises(Crash):
            train(run)
    model = train(run)
    assert run.trials.count() == 2
    assert (model.state, ModelVersion.objects.count()) == ("deployed", 1)


def test_a_pause_ends_it_without_a_version_and_a_later_start_goes_on(quick):
    run, asked = make_run(make_agent()), iter(["go", "go", "pause"])
    with pytest.raises(TrainingPaused):
        train(run, wish=lambda: next(asked, "pause"))
    assert not ModelVersion.objects.exists()
    assert train(run).run == run


def test_to_stop_and_keep_the_best_publishes_what_a_trial_has_learned(quick):
    run, asked = make_run(make_agent(n_trials=8)), []

    def wish():
        asked.append(1)
        if run.trials.filter(state=Trial.State.DONE).count() < 2:
            return "go"
        TrainingRun.objects.filter(pk=run.pk).update(keep_best=True)
        return "stop"

    model = train(run, wish=wish)
    assert 2 <= run.trials.count() <= 3
    best = run.trials.get(is_best=True)
    assert model.metrics["study"]["from_trial"] == best.number
    assert model.weights_sha256 == best.parts[0]["weights_sha256"]
    assert not TrainingPoint.objects.filter(run=run, part__startswith="final").exists()


def test_a_stop_without_anything_to_keep_is_passed_on(quick):
    with pytest.raises(TrainingStopped):
        train(make_run(make_agent()), wish=lambda: "stop")


def test_when_the_time_is_over_the_best_so_far_is_published(quick):
    run = make_run(make_agent(n_trials=50))
    TrainingRun.objects.filter(pk=run.pk).update(max_minutes=1, worked_seconds=59.9)
    model = train(TrainingRun.objects.get(pk=run.pk))
    assert 1 <= run.trials.count() < 50
    assert model.state == "deployed"


def test_without_any_time_left_one_trial_is_carried_out_all_the_same(quick):
    run = make_run(make_agent(n_trials=50))
    TrainingRun.objects.filter(pk=run.pk).update(max_minutes=1, worked_seconds=600.0)
    assert train(TrainingRun.objects.get(pk=run.pk)).state == "deployed"
    assert run.trials.count() == 1


def test_the_middle_of_the_final_learnings_is_published_and_a_lost_one_left_out(quick, monkeypatch):
    finals = []

    def counting(lesson, *, logs, **others):
        if "final" in logs.parts:
            finals.append(lesson.seed)
            if len(finals) == 2:
                raise TrainingDiverged("weight head became NaN")
        return quick_learn(lesson, logs=logs, **others)

    monkeypatch.setattr(learning, "learn", counting)
    model = train(make_run(make_agent(n_final_seeds=4)))
    scores = model.metrics["study"]["final_scores"]
    assert len(set(finals)) == 4
    assert len(scores) == 3
    assert model.seed == [finals[0], finals[2], finals[3]][middle(scores)]


def test_when_every_trial_diverges_the_run_says_so(monkeypatch):
    def diverging(lesson, **others):
        raise TrainingDiverged("observation rsi_14 became NaN")

    monkeypatch.setattr(learning, "learn", diverging)
    with pytest.raises(TrainingFailed, match="no trial finished: observation rsi_14 became NaN"):
        train(make_run(make_agent()))


def test_a_study_of_several_aims_publishes_from_its_front(quick):
    model = train(make_run(make_agent(n_trials=6, sampler="nsga2")))
    assert set(model.metrics["study"]["objectives"]) == {"sharpe", "drawdown", "turnover"}


def test_a_test_run_is_proven_but_never_trades_by_itself(quick):
    run = make_run(make_agent(n_trials=9, n_folds=3, n_seeds=2))
    TrainingRun.objects.filter(pk=run.pk).update(mode="test", n_trials=50)  # asked for besides, yet it stays short
    model = train(TrainingRun.objects.get(pk=run.pk))
    run.refresh_from_db()
    assert (run.n_trials, run.n_steps_total) == (2, 3 * 2048)
    assert (model.state, model.agent.deployed_version) == ("proven", None)


def test_a_live_account_gets_a_proven_version_but_it_is_not_deployed(quick):
    agent = make_agent(mode="live")
    model = train(make_run(agent))
    agent.refresh_from_db()
    assert (model.state, agent.deployed_version) == ("proven", None)


def test_dropped_features_are_missing_from_the_version_alone(quick):
    agent = make_agent(search={"drop": {"choices": ["momentum"]}, "width": 16})
    model = train(make_run(agent))
    # All but an average and the volatility are momentum's, see docs/features.md.
    assert model.features == ["ema_10", "volatility_20"]
    assert model.state == "deployed"


def test_missing_bars_and_a_missing_vix_are_named():
    run = make_run(make_agent(periods={"validation": "1999-01-01", "unseen": "2014-01-01"}))
    with pytest.raises(TrainingFailed, match="WALKER: the training period has 0 bars"):
        train(run)
    agent = make_agent(name="other", vix="VXO")
    data = agent.configuration.data | {"features": ["rsi_14", "vix"]}
    agent.configurations.create(version=2, data=data)
    with pytest.raises(TrainingFailed, match=r"training\.vix: there is no instrument VXO"):
        train(make_run(agent))
    with pytest.raises(TrainingFailed, match=r"training rows of fold 1 of 9 are .* lower training\.n_folds"):
        train(make_run(make_agent(name="third", n_folds=9)))


def test_a_backend_that_is_not_here_is_one_clear_line():
    run = make_run(make_agent())
    TrainingRun.objects.filter(pk=run.pk).update(backend="cuda")
    run.refresh_from_db()
    with pytest.raises(TrainingFailed, match="backend cuda"):
        train(run)


@pytest.mark.parametrize("command", ["run_training", "run_study_worker"])
def test_a_wrong_id_is_one_clear_line(command):
    with pytest.raises(CommandError, match="there is no training run 999"):
        call_command(command, "999")


def test_optunas_tables_live_in_their_own_schema():
    with tuning.open_storage() as storage, storage.engine.connect() as session:
        found = session.execute(
            sqlalchemy.text("SELECT DISTINCT schemaname FROM pg_tables WHERE tablename IN ('studies', 'trials')")
        )
        assert [row[0] for row in found] == ["optuna"]


def test_progress_never_falls_and_a_run_knows_its_time(quick, monkeypatch):
    run, seen = make_run(make_agent(n_trials=4)), []
    look = training.RunWatch.look

    def watching(self, phase, pids=(), *, now=False):
        look(self, phase, pids, now=True)
        seen.append(TrainingRun.objects.values_list("n_steps_done", "progress").get(pk=run.pk))

    monkeypatch.setattr(training.RunWatch, "look", watching)
    monkeypatch.setattr(training, "LOOK_SECONDS", 0.0)
    train(run)
    assert [progress for _, progress in seen] == sorted(progress for _, progress in seen)
    assert len(seen) > 10
    run.refresh_from_db()
    assert run.eta_seconds == 0.0
    assert registry.models_dir().exists()


def test_a_version_says_whether_its_study_found_more_than_luck(quick):
    run = make_run(make_agent(n_trials=6, n_folds=2))
    model = train(run)
    skill, values = model.metrics["study"]["skill"], [trial.value or 0.0 for trial in run.trials.all()]
    # Validation rows 400 to 549; before them 366 rows are left once the features are warm, a third of which is a fold.
    expected = judge_sharpes(max(values) / 252**0.5, [value / 252**0.5 for value in values], 150 + 122)
    assert skill.pop("words") == skill_words(expected.to_dict(), 252)
    assert skill == pytest.approx(expected.to_dict())
    assert (skill["n_trials"], skill["n_bars"]) == (6, 272)
    assert model.metrics["fees_version"] == load_fees().version
