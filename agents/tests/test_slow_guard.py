"""An input turns into NaN within a study: the trial ends and says which, what was good is kept, the others go on."""

import shutil
from pathlib import Path

import numpy as np
import pytest
from django.test import Client
from django.urls import reverse

from agents.learners.on_policy import OnPolicyLearner
from agents.models import Trial
from agents.runs import learning
from agents.runs.learning import learn
from agents.runs.run_data import assignment_of
from agents.runs.training import train
from agents.studies.study import seed_for
from agents.tests import worlds
from agents.tests.desk import make_agent, make_run
from tests import factories

pytestmark = [pytest.mark.django_db, pytest.mark.slow]
BAD, COLUMN = 1, 2  # the trial that is hit, and the input
N_STEPS = 40_960


@pytest.fixture
def folder(settings, tmp_path: Path) -> Path:
    settings.MODELS_DIR, settings.LOCAL_DIR = tmp_path / "models", tmp_path
    return tmp_path


def test_a_nan_ends_one_trial_names_its_input_and_its_checkpoint_goes_on_to_the_same_weights(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = make_run(make_agent(n_trials=4, n_steps=N_STEPS, n_evaluations=4, sampler="nsga2"), 6)
    poisoned = seed_for(seed_for(run.seed, BAD), 0)
    advance, kept = OnPolicyLearner.advance, folder / "kept.checkpoint"

    def poison(self: OnPolicyLearner):
        # What the last bar showed becomes NaN after the second of four evaluations, in one learning alone.
        if self.request.seed == poisoned and self.steps_done >= 0.6 * N_STEPS:
            self.model._last_obs[5, COLUMN] = np.nan
        return advance(self)

    def wish() -> str:
        trial = run.trials.filter(number=BAD, state=Trial.State.FAILED).first()
        if trial is not None and not kept.exists():
            shutil.copy(folder / "models" / trial.metrics["checkpoint"], kept)
        return "go"

    monkeypatch.setattr(OnPolicyLearner, "advance", poison)
    model = train(run, wish=wish)
    monkeypatch.undo()

    states = dict(run.trials.values_list("number", "state"))
    assert states == {0: "done", BAD: "failed", 2: "done", 3: "done"}
    trial = run.trials.get(number=BAD)
    assert f"observation {worlds.FEATURES[COLUMN]} became NaN after" in trial.metrics["problem"]
    assert trial.metrics["problem"].endswith("repair its bars or leave it out")
    assert model.run == run and model.parameters == run.trials.get(is_best=True).parameters

    # The kept checkpoint is sound: from it the same learning, unharmed, ends as one that was never hit.
    lesson = assignment_of(run).lesson(trial.parameters, 0, poisoned)
    starts: list[int] = []
    resumed = learn(lesson, checkpoint=kept, on_progress=lambda told: starts.append(told.steps_done))
    assert 0.5 * N_STEPS <= starts[0] < N_STEPS
    assert resumed.weights_sha256 == learn(lesson).weights_sha256
    learning.checkpoints.read(kept, lesson.fingerprint())

    client = Client()
    client.force_login(factories.operator())
    # Pages count from one.
    page = client.get(reverse("trial", args=[run.pk, BAD + 1])).content.decode()
    assert f"{worlds.FEATURES[COLUMN]} became NaN" in page
