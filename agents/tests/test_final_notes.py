"""What a person should know of a final learning is on the run's page, as a trial's is on the trial's."""

import pytest
from django.urls import reverse

from agents.learners.guard import TrainingDiverged
from agents.models import TrainingRun
from agents.runs import learning
from agents.runs.learning import Progress
from agents.runs.training import train
from agents.tests.desk import make_agent, make_run
from agents.tests.lessons import quick_learn
from agents.training_pages.training_rows import RunView
from agents.training_pages.training_views import resource_words
from tests import factories

pytestmark = pytest.mark.django_db
ANEW = "Learning starts anew: the checkpoint is damaged"


def test_notes_of_final_learnings_are_kept_and_shown(client, monkeypatch, settings, tmp_path):
    settings.MODELS_DIR, settings.LOCAL_DIR = tmp_path / "models", tmp_path

    def learn(lesson, *, on_progress, logs, **others):
        if "final" in logs.parts:
            on_progress(Progress(steps_done=0, steps_total=lesson.n_steps, steps_per_second=0.0, note=ANEW))
            if logs.name == "seed-1":
                raise TrainingDiverged("loss became NaN after 512 steps")
        return quick_learn(lesson, on_progress=on_progress, logs=logs, **others)

    monkeypatch.setattr(learning, "learn", learn)
    run = make_run(make_agent(n_final_seeds=2))
    train(run)
    run.refresh_from_db()
    expected = [
        f"Final model, seed 1: {ANEW}",
        f"Final model, seed 2: {ANEW}; It came to nothing: loss became NaN after 512 steps",
    ]
    assert RunView(run).notes == expected
    assert run.resources["memory_mb"] > 0  # what it takes of the machine is still told beside them
    client.force_login(factories.operator())
    page = client.get(reverse("training-run", args=[run.pk])).content.decode()
    assert all(f"<span>{note}</span>" in page for note in expected)


def test_notes_outlive_a_restart_and_are_said_once(settings):
    from agents.agent_settings import settings_of
    from agents.runs.run_watch import RunWatch

    agent = make_agent()
    run, training = make_run(agent), settings_of(agent, agent.configuration.data).training
    RunWatch(run, training).note("final model, seed 1", ANEW)
    run = TrainingRun.objects.get(pk=run.pk)
    watch = RunWatch(run, training)  # of a new process
    watch.note("final model, seed 1", ANEW)
    watch.look("Final learning 1 of 1", now=True)
    run.refresh_from_db()
    assert RunView(run).notes == [f"Final model, seed 1: {ANEW}"]
    assert "seed" not in resource_words(run.resources)
