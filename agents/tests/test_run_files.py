"""Files of ended trainings go; what a run needs to go on stays, whatever state it is in."""

import os
from datetime import timedelta

import pytest
from django.core.management import CommandError, call_command
from django.utils import timezone
from django_q.models import Schedule

from agents import tasks
from agents.models import TrainingRun
from agents.runs import run_files, training
from agents.runs.run_files import KEPT_FOR, remove_old
from agents.tests.desk import make_agent, make_run
from core.models import Event

pytestmark = pytest.mark.django_db


@pytest.fixture(autouse=True)
def folder(settings, tmp_path):
    settings.MODELS_DIR = tmp_path
    return tmp_path


def files_of(folder, pk, age=timedelta()):
    """A checkpoint and weights of a trial, half a megabyte in all, last written so long ago."""
    paths = [
        folder / "checkpoints" / f"run-{pk}" / "trial-0" / "fold-0" / "seed-0.checkpoint",
        folder / "trials" / f"run-{pk}-trial-0-seed-0.safetensors",
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(bytes(1 << 18))
    moment = (timezone.now() - age).timestamp()
    for path in (*paths, folder / "checkpoints" / f"run-{pk}"):
        os.utime(path, (moment, moment))
    return paths


def run_in(state, desired, *, ended=None, **values):
    run = make_run(make_agent(name=f"agent-{TrainingRun.objects.count()}"))
    at = None if ended is None else timezone.now() - ended
    TrainingRun.objects.filter(pk=run.pk).update(state=state, desired_state=desired, finished_at=at, **values)
    return run.pk


LONG, SHORT = KEPT_FOR + timedelta(hours=1), KEPT_FOR - timedelta(hours=1)


@pytest.mark.parametrize(
    ("state", "desired", "ended", "values", "kept"),
    [
        ("running", "running", None, {}, True),
        ("paused", "paused", None, {}, True),
        ("paused", "running", None, {}, True),
        ("stopped", "running", None, {}, True),  # its process has died, the watchdog starts it again
        ("stopped", "stopped", None, {"queued": True}, True),
        ("stopping", "stopped", None, {}, True),  # its own process tidies up at its end
        ("stopped", "stopped", None, {}, True),  # the desk was shut down before it was canceled for good
        ("stopped", "stopped", SHORT, {}, False),
        ("finished", "running", SHORT, {}, False),
        ("failed", "stopped", SHORT, {}, True),
        ("failed", "stopped", LONG, {}, False),
    ],
)
def test_only_what_nobody_can_go_on_with_is_removed(folder, state, desired, ended, values, kept):
    pk = run_in(state, desired, ended=ended, **values)
    paths = files_of(folder, pk, age=timedelta(days=400))  # a pause may last a year
    removed = remove_old()
    assert all(path.exists() == kept for path in paths)
    assert removed.runs == (() if kept else (pk,))


def test_a_failed_run_without_a_date_and_an_unknown_run_go_by_their_last_write(folder):
    failed = run_in("failed", "stopped")
    for age, kept in ((SHORT, True), (LONG, False)):
        paths = [*files_of(folder, failed, age), *files_of(folder, 987_654, age)]
        remove_old()
        assert all(path.exists() == kept for path in paths)


def test_the_journal_says_what_went_and_a_second_look_finds_nothing(folder):
    one, other = (run_in("finished", "running", ended=SHORT) for _ in range(2))
    stays = files_of(folder, run_in("paused", "paused"))
    for pk in (one, other):
        files_of(folder, pk)
    (folder / "checkpoints" / "run-x").mkdir()
    # Two runs with two files of a quarter of a megabyte each.
    words = f"Removed 1.0 MB of checkpoints and weights of ended trainings: run {one}, {other}"
    assert str(remove_old(actor="ann")) == words
    event = Event.objects.get(kind="training.files_removed")
    assert (event.message, event.actor, event.data) == (words, "ann", {"runs": [one, other], "megabytes": 1.0})
    assert str(remove_old()) == "No ended training has left files behind"
    assert Event.objects.filter(kind="training.files_removed").count() == 1
    assert all(path.exists() for path in stays)


def test_the_desk_does_it_every_day_and_a_person_from_a_terminal(folder, capsys):
    tasks.schedule()
    tasks.schedule()
    row = Schedule.objects.get(func="agents.tasks.remove_old_files")
    assert row.schedule_type == Schedule.DAILY
    files_of(folder, run_in("finished", "running", ended=SHORT))
    assert (tasks.remove_old_files(), tasks.remove_old_files()) == (1, 0)
    call_command("training", "clean")
    assert capsys.readouterr().out == "No ended training has left files behind.\n"
    with pytest.raises(CommandError, match="pause needs the number of a run; the newest are"):
        call_command("training", "pause")


def test_a_run_that_died_after_publishing_keeps_nothing_once_it_is_looked_at_again(folder, monkeypatch):
    run = make_run(make_agent())
    paths = files_of(folder, run.pk)
    monkeypatch.setattr(training.ModelVersion, "objects", type("Found", (), {"filter": lambda **_: Found()}))
    monkeypatch.setattr(training, "_finished", lambda run, model: None)
    training.train(run)
    assert not any(path.exists() for path in paths) and run_files.size_mb(run.pk) == 0.0


class Found:
    """A version that is there already."""

    def first(self):
        return self
