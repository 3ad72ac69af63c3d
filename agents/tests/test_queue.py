from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone

from agents.models import TrainingPlan, TrainingRun, Trial
from agents.runs import control, queue
from agents.runs.new_run import RunWish
from agents.runs.run_settings import settings_of_run
from agents.tasks import advance_queue
from agents.tests.desk import make_agent
from core.models import Event, JobRow

pytestmark = pytest.mark.django_db
Desired, State = JobRow.Desired, JobRow.State


@pytest.fixture(autouse=True)
def one_place(settings):
    settings.TRAININGS_AT_ONCE = 1


@pytest.fixture
def agents():
    return [make_agent(name=name) for name in ("ada", "bob", "cleo")]


def queued(agent, **values):
    return control.start_training(agent, actor="ann", queued=True, **values)


def wanted():
    return [run.agent.name for run in TrainingRun.objects.filter(desired_state=Desired.RUNNING).order_by("id")]


def finish(run):
    TrainingRun.objects.filter(pk=run.pk).update(state=State.FINISHED, phase="Finished", finished_at=timezone.now())


def kinds():
    return list(Event.objects.filter(kind__startswith="training.").order_by("id").values_list("kind", flat=True))


def test_trainings_begin_one_after_the_other_in_their_order(agents):
    first, second, third = (queued(agent) for agent in agents)
    assert (first.queued, second.queued, third.queued) == (False, True, True)
    assert wanted() == ["ada"]
    assert [run.position for run in queue.waiting()] == [0, 1]
    control.move_in_queue(third, 0, actor="ann")
    assert [run.agent.name for run in queue.waiting()] == ["cleo", "bob"]
    finish(first)
    assert advance_queue() == 1
    finish(third)
    assert advance_queue() == 1
    finish(second)
    assert advance_queue() == 0
    assert wanted() == ["ada", "bob", "cleo"]
    assert (
        kinds()
        == ["training.queued", "training.started"]
        + ["training.queued"] * 2
        + ["training.moved"]
        + ["training.started"] * 2
    )


def test_as_many_are_at_work_as_there_are_places(agents, settings, monkeypatch):
    settings.TRAININGS_AT_ONCE = 2
    assert [queued(agent).queued for agent in agents] == [False, False, True]
    settings.TRAININGS_AT_ONCE = 0
    monkeypatch.setattr(queue, "n_cores", lambda: 9)
    assert queue.places() == 4
    monkeypatch.setattr(queue, "n_cores", lambda: 1)
    assert queue.places() == 1


def test_to_start_at_once_passes_the_queue_but_not_the_agent_s_own_training(agents):
    queued(agents[0])
    at_once = control.start_training(agents[1], actor="ann", seed=5, reason="new bars")
    assert (at_once.desired_state, at_once.queued, at_once.reason) == (Desired.RUNNING, False, "new bars")
    with pytest.raises(ValueError, match=r"ada is already being trained \(run \d+\)"):
        control.start_training(agents[0], actor="ann")
    queued(agents[2])
    with pytest.raises(ValueError, match="cleo waits for its training"):
        control.start_training(agents[2], actor="ann")
    second = queued(agents[0])  # one may wait for its own agent
    finish(at_once)
    assert advance_queue() == 0
    assert TrainingRun.objects.get(pk=second.pk).queued


def test_one_that_is_not_due_lets_others_pass(agents):
    later = queued(agents[0], not_before=timezone.now() + timedelta(hours=1))
    assert later.queued
    assert not queued(agents[1]).queued
    finish(TrainingRun.objects.get(agent=agents[1]))
    assert advance_queue() == 0
    TrainingRun.objects.filter(pk=later.pk).update(not_before=timezone.now() - timedelta(seconds=1))
    assert advance_queue() == 1


def test_a_paused_training_leaves_its_place_and_goes_on_later(agents):
    first, second = queued(agents[0]), queued(agents[1])
    control.pause_training(first, actor="ann")
    second.refresh_from_db()
    assert second.desired_state == Desired.RUNNING
    with pytest.raises(ValueError, match="nothing to pause"):
        control.pause_training(first, actor="ann")
    control.resume_training(first, actor="ann")
    with pytest.raises(ValueError, match="nothing to resume"):
        control.resume_training(first, actor="ann")
    assert wanted() == ["ada", "bob"]
    assert kinds()[-2:] == ["training.started", "training.resumed"]


def test_a_waiting_one_is_taken_out_and_a_stopped_one_makes_place(agents):
    first, second, third = (queued(agent) for agent in agents)
    control.cancel_training(second, actor="ann")  # it waits, so it is taken out
    second.refresh_from_db()
    assert (second.queued, second.phase, second.finished_at is None) == (False, "Removed from the queue", False)
    with pytest.raises(ValueError, match="does not wait in the queue; stop it instead"):
        control.remove_from_queue(first, actor="ann")
    with pytest.raises(ValueError, match="so it cannot be moved"):
        control.move_in_queue(second, 0, actor="ann")
    control.cancel_training(first, actor="ann")
    third.refresh_from_db()
    assert (third.desired_state, third.queued) == (Desired.RUNNING, False)
    assert wanted() == ["cleo"]


def test_to_cancel_ends_a_run_for_good_and_keeps_no_files(agents, settings, tmp_path):
    settings.MODELS_DIR = tmp_path
    run, other = queued(agents[0]), queued(agents[1])
    files = [
        tmp_path / name.format(run.pk)
        for name in ("checkpoints/run-{}/trial-0/fold-0/seed-0.checkpoint", "trials/run-{}-trial-0-seed-0.safetensors")
    ]
    not_ours = tmp_path / "trials" / f"run-{run.pk}1-trial-0-seed-0.safetensors"
    for file in (*files, not_ours):
        file.parent.mkdir(parents=True, exist_ok=True)
        file.touch()
    Trial.objects.create(run=run, number=0, seed=1, state=Trial.State.DONE, value=0.5)
    TrainingRun.objects.filter(pk=run.pk).update(state=State.PAUSED, desired_state=Desired.PAUSED)  # no process has it
    control.cancel_training(run, actor="ann")
    run.refresh_from_db()
    assert (run.state, run.desired_state, run.phase) == (State.STOPPED, Desired.STOPPED, "Canceled")
    assert run.finished_at is not None
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == [not_ours]
    assert run.trials.count() == 1
    other.refresh_from_db()
    assert other.desired_state == Desired.RUNNING  # its place is free
    for again in (control.cancel_training, control.resume_training, control.pause_training):
        with pytest.raises(ValueError, match="is stopped, so there is nothing to"):
            again(run, actor="ann")
    finish(other)
    with pytest.raises(ValueError, match="is finished, so there is nothing to stop"):
        control.cancel_training(other, actor="ann")
    assert kinds().count("training.stopped") == 1


def test_the_process_of_a_canceled_run_keeps_nothing(agents, settings, tmp_path):
    settings.MODELS_DIR = tmp_path
    run = queued(agents[0])
    file = tmp_path / "checkpoints" / f"run-{run.pk}" / "final" / "seed-0.checkpoint"
    file.parent.mkdir(parents=True)
    file.touch()
    TrainingRun.objects.filter(pk=run.pk).update(state=State.RUNNING, desired_state=Desired.STOPPED)
    call_command("run_training", str(run.pk))
    run.refresh_from_db()
    assert (run.state, run.phase, file.exists()) == (State.STOPPED, "Canceled", False)


def test_to_keep_the_best_needs_a_finished_trial(agents):
    run = queued(agents[0])
    with pytest.raises(ValueError, match="no finished trial yet"):
        control.stop_and_keep_best(run, actor="ann")
    Trial.objects.create(run=run, number=0, seed=1, state=Trial.State.DONE, value=0.5)
    control.stop_and_keep_best(run, actor="ann")
    run.refresh_from_db()
    assert (run.keep_best, run.desired_state) == (True, Desired.RUNNING)
    control.cancel_training(run, actor="ann")
    with pytest.raises(ValueError, match="is not at work"):
        control.stop_and_keep_best(run, actor="ann")


def test_a_plan_trains_its_agents_one_at_a_time_and_leaves_out_what_has_no_time(agents, settings):
    settings.TRAININGS_AT_ONCE = 3
    plan = control.start_plan(agents, actor="ann", name="Nightly", max_minutes=30, run=RunWish(seed=9, n_trials=2))
    first, second, third = plan.runs.order_by("id")
    assert wanted() == ["ada"]  # there is place for more, but a plan keeps its order
    assert {(run.seed, run.n_trials) for run in plan.runs.all()} == {(9, 2)}
    TrainingRun.objects.filter(pk=first.pk).update(started_at=timezone.now() - timedelta(minutes=10))
    finish(first)
    assert [run.pk for run in queue.advance()] == [second.pk]
    finish(second)
    TrainingRun.objects.filter(pk=first.pk).update(started_at=timezone.now() - timedelta(minutes=31))
    assert queue.advance() == []
    third.refresh_from_db()
    assert (third.queued, third.phase) == (False, "Left out, the plan's time is over")
    assert kinds()[-1] == "training.left_out"


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"seed": -1}, "seed: got -1, expected a whole number from 0"),
        ({"mode": "quick"}, "mode: got 'quick', expected one of full, test"),
        ({"backend": "abacus"}, "backend: got 'abacus', expected one of cpu, cuda, tpu"),
        ({"n_trials": -2}, "n_trials: got -2"),
        ({"max_minutes": 0}, "max_minutes: got 0, expected at least 1"),
        ({"changes": {"training": {"n_folds": 0}}}, "training.n_folds: got 0"),
    ],
)
def test_what_makes_no_sense_is_refused_before_anything_is_queued(values, message):
    agent = make_agent()
    with pytest.raises(ValueError, match=message):
        control.start_training(agent, actor="ann", **values)
    assert not TrainingRun.objects.exists()
    assert agent.configurations.count() == 1


def test_changes_become_a_new_version_of_the_settings():
    agent = make_agent()
    run = control.start_training(agent, actor="ann", changes={"training": {"n_trials": 9}, "normaliser": "robust"})
    assert (run.configuration.version, run.configuration.created_by) == (2, "ann")
    assert run.configuration.data["training"]["n_trials"] == 9
    assert run.configuration.data["training"]["n_steps"] == 4096  # the others stay
    assert agent.configuration == run.configuration


def test_the_command_queues_agents_in_the_order_they_are_named(agents, capsys):
    call_command("train", "bob", "ada", "--plan", "Weekend", "--minutes", "90", "--minutes-each", "20", "--test")
    plan = TrainingPlan.objects.get()
    assert (plan.name, plan.max_minutes) == ("Weekend", 90)
    found = plan.runs.order_by("id").values_list("agent__name", "max_minutes", "mode")
    assert list(found) == [("bob", 20, "test"), ("ada", 20, "test")]
    said = capsys.readouterr().out
    assert "bob begins" in said
    assert "ada waits" in said
    with pytest.raises(CommandError, match="there is no agent dora; there are: ada, bob, cleo"):
        call_command("train", "ada", "dora")
    with pytest.raises(CommandError, match="ada is named twice"):
        call_command("train", "ada", "ada")
    with pytest.raises(CommandError, match="max_minutes: got 0"):
        call_command("train", "ada", "--minutes", "0")
    assert TrainingPlan.objects.count() == 1


def test_a_test_says_that_it_stays_short(agents, capsys):
    call_command("train", "ada", "--test", "--trials", "50")
    assert "A test has 2 trials at most, not 50." in capsys.readouterr().out
    assert settings_of_run(TrainingRun.objects.latest("pk")).training.n_trials == 2


def test_all_means_every_agent_and_none_is_said(capsys):
    with pytest.raises(CommandError, match="there are: none yet"):
        call_command("train", "all")
    make_agent()
    call_command("train", "all")
    assert "walker begins" in capsys.readouterr().out


def test_runs_are_paused_continued_and_ended_from_a_terminal(agents, capsys):
    run = queued(agents[0])
    Trial.objects.create(run=run, number=0, seed=1, state=Trial.State.DONE, value=0.5)
    wishes = []
    for action in ("pause", "resume", "keep-best", "stop"):
        call_command("training", action, str(run.pk))
        run.refresh_from_db()
        wishes.append((run.desired_state, run.keep_best))
    assert wishes == [
        (Desired.PAUSED, False),
        (Desired.RUNNING, False),
        (Desired.RUNNING, True),
        (Desired.STOPPED, True),
    ]
    said = capsys.readouterr().out
    assert f"Run {run.pk} of ada pauses; everything under way is kept" in said
    assert "is ended for good" in said
    events = Event.objects.filter(kind__startswith="training.").order_by("id")[2:]
    assert [event.kind for event in events] == [f"training.{name}" for name in ("paused", "resumed", "kept", "stopped")]
    assert all(event.actor.endswith("terminal)") for event in events)


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("pause", "999"), r"there is no training run 999; the newest are \d+ \(ada\)"),
        (("resume", "{run}"), r"ada run \d+ is at work, so there is nothing to resume"),
        (("keep-best", "{run}"), "no finished trial yet"),
        (("pause", "first"), "invalid int value: 'first'"),
        (("explode", "1"), "invalid choice: 'explode'"),
    ],
)
def test_a_wrong_run_or_state_is_one_clear_line(agents, words, message):
    run = queued(agents[0])
    with pytest.raises(CommandError, match=message):
        call_command("training", *(word.format(run=run.pk) for word in words))


def test_without_any_run_the_command_says_how_to_start_one():
    with pytest.raises(CommandError, match="there is no training run 1; none has been started yet"):
        call_command("training", "stop", "1")


@pytest.mark.parametrize(
    ("algorithm", "values", "message"),
    [
        ("ppo", {"backend": "tpu", "changes": {"network": {"kind": "lstm", "window": 8}}},
            "backend: The TPU learns MLP only; .*; the network is lstm"),
        ("a2c", {"backend": "tpu"}, "backend: A2C runs on cpu, cuda, not on tpu"),
        # What the settings say counts too.
        ("ppo", {"changes": {"training": {"backend": "tpu"}, "network": {"kind": "tcn", "window": 8}}},
            "backend: The TPU learns MLP only"),
    ],
)  # fmt: skip
def test_a_backend_without_the_algorithm_or_the_network_is_refused_at_once(algorithm, values, message, monkeypatch):
    monkeypatch.setattr(
        "agents.training_pages.training_backends.find_spec", lambda name: True
    )  # the extra may be missing here
    agent = make_agent(algorithm)
    with pytest.raises(ValueError, match=message):
        control.start_training(agent, actor="ann", **values)
    assert not TrainingRun.objects.exists()
    assert agent.configurations.count() == 1
    assert control.start_training(make_agent(name="fits"), actor="ann", backend="tpu").backend == "tpu"
