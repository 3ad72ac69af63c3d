"""The Training, run and study pages: every state, every button, every table; who may press what."""

import csv
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from agents.models import AgentConfiguration, ModelVersion, TrainingPlan, TrainingPoint, TrainingRun, Trial
from agents.training_pages.training_rows import RunView, main_run
from core.models import Event, JobRow
from tests import factories

pytestmark = pytest.mark.django_db


@pytest.fixture
def run(desk) -> TrainingRun:
    """A run at work."""
    return factories.training_run(desk.ndx, finished=False, progress=0.37)


def change(run: TrainingRun, **values: object) -> None:
    TrainingRun.objects.filter(pk=run.pk).update(**values)


def text(response) -> str:
    return response.content.decode()


def test_the_page_opens_with_the_run_at_work(operator, run):
    page = text(operator.get("/training/"))
    for words in (
        f"ndx3x-trend · run {run.pk}",
        "37\u202f%",
        "2,150 steps/s",
        "Pause",
        "Stop, keep the best",
        "Share of",
    ):
        assert words in page
    assert main_run().run == run


def test_what_a_run_takes_is_shown(operator, run):
    change(run, resources={"cpu": 1.94, "memory_mb": 3174.4}, eta_seconds=430, worked_seconds=252)
    page = text(operator.get("/training/"))
    assert "CPU 1.9 cores" in page and "memory 3.1 GB" in page
    assert "4 min 12 s done, about 7 min 10 s left" in page


@pytest.mark.parametrize(
    ("values", "state", "words"),
    [
        ({"state": "paused", "desired_state": "paused"}, "paused", "Continue"),
        ({"state": "running", "desired_state": "paused"}, "pausing", "pausing …"),
        ({"state": "running", "desired_state": "stopped"}, "stopping", "stopping …"),
        ({"keep_best": True}, "stopping", "stopping, keeps the best …"),
        ({"state": "stopped", "desired_state": "stopped"}, "canceled", "It was canceled"),
        ({"state": "failed", "state_reason": "loss is NaN: feature vix"}, "failed", "loss is NaN: feature vix"),
        ({"state": "finished"}, "finished", "No model version came of it"),
        ({"state": "finished", "mode": "test"}, "finished", "The test went through"),
        ({"queued": True, "state": "stopped", "desired_state": "stopped"}, "waiting", "It waits for its turn"),
    ],
)
def test_every_state_has_its_words(operator, run, values, state, words):
    change(run, **values)
    run.refresh_from_db()
    assert RunView(run).state == state
    assert words in text(operator.get(reverse("training-run", args=[run.pk])))


def test_a_finished_run_names_its_version_and_its_hash(operator, desk):
    page = text(operator.get(reverse("training-run", args=[desk.aapl.deployed_version.run_id])))
    assert "aapl-swing v1" in page and "2f90" * 16 in page and "Report on the unseen period" in page


def test_the_folder_of_its_logs_is_named_when_there_is_one(operator, run, settings, tmp_path):
    settings.LOCAL_DIR = tmp_path
    address = reverse("training-run", args=[run.pk])
    assert "tensorboard --logdir" not in text(operator.get(address))
    (tmp_path / "tensorboard" / f"run-{run.pk}").mkdir(parents=True)
    assert f"tensorboard --logdir {tmp_path}/tensorboard/run-{run.pk}" in text(operator.get(address))


def test_with_nobody_waiting_the_queue_says_how_one_gets_there(operator, desk):
    page = text(operator.get("/training/"))
    assert "Start a training" in page and "Nobody waits" in page


@pytest.mark.parametrize("name", ["head", "trials", "result"])
def test_a_panel_of_a_run_comes_alone(operator, run, name):
    page = text(operator.get(f"/training/panels/{name}/?run={run.pk}"))
    assert "<html" not in page and f"/training/panels/{name}/?run={run.pk}" in page
    assert operator.get(f"/training/panels/{name}/?run=x").status_code == 404


def test_unknown_panels_runs_charts_and_actions_are_not_found(operator, run):
    for address in ("panels/secrets/", "99/", "99/study/", f"{run.pk}/curves/secrets.csv", f"{run.pk}/study/77/"):
        assert operator.get(f"/training/{address}").status_code == 404
    assert operator.get(f"/training/{run.pk}/ask/explode/").status_code == 404
    assert operator.post(f"/training/{run.pk}/explode/").status_code == 404
    assert operator.get(f"/training/{run.pk}/curves.json?since=yesterday").status_code == 400


def test_the_queue_shows_who_is_next_when_and_why(operator, desk, run):
    plan = TrainingPlan.objects.create(name="Sunday plan")
    later = datetime.now(UTC) + timedelta(days=2)
    base = {"agent": desk.aapl, "configuration": desk.aapl.configuration, "queued": True}
    TrainingRun.objects.create(**base, position=2, reason="after a drift alert", not_before=later, plan=plan)
    first = TrainingRun.objects.create(**base, position=1, reason="weekly retraining")
    page = operator.get("/training/")
    assert [waiting.reason for waiting in page.context["queue"]] == ["weekly retraining", "after a drift alert"]
    for words in ("next", f"{later:%H:%M}", "Sunday plan", reverse("training-ask", args=[first.pk, "remove"])):
        assert words in text(page)


@pytest.mark.parametrize(
    ("action", "called"),
    [
        ("pause", "pause_training"),
        ("resume", "resume_training"),
        ("keep", "stop_and_keep_best"),
        ("cancel", "cancel_training"),
        ("remove", "remove_from_queue"),
    ],
)
def test_every_wish_reaches_its_function_and_is_said(operator, run, monkeypatch, action, called):
    asked = []
    monkeypatch.setattr(f"agents.runs.control.{called}", lambda row, *, actor: asked.append((row.pk, actor)))
    response = operator.post(f"/training/{run.pk}/{action}/", follow=True)
    assert asked == [(run.pk, "olga")] and f"Run {run.pk} " in text(response)


def test_a_refused_wish_says_why(operator, run, monkeypatch):
    def refuse(row, *, actor):
        raise ValueError("it is finished, so there is nothing to pause")

    monkeypatch.setattr("agents.runs.control.pause_training", refuse)
    page = text(operator.post(f"/training/{run.pk}/pause/", follow=True))
    assert f"Run {run.pk} was left as it was: It is finished, so there is nothing to pause." in page


def test_a_button_of_the_head_answers_with_the_head(operator, run, monkeypatch):
    monkeypatch.setattr("agents.runs.control.pause_training", lambda row, *, actor: None)
    data = {"panel": "training-head"}
    page = text(operator.post(f"/training/{run.pk}/pause/", data, headers={"HX-Request": "true"}))
    assert page.lstrip().startswith('<div class="run-head"') and "was asked to pause" in page


@pytest.mark.parametrize("action", ["keep", "cancel", "remove"])
def test_what_cannot_be_undone_is_asked_first(operator, run, action):
    address = reverse("training-ask", args=[run.pk, action])
    assert "<html" in text(operator.get(address))
    dialog = text(operator.get(address, headers={"HX-Request": "true"}))
    assert "<html" not in dialog and f'action="/training/{run.pk}/{action}/"' in dialog


@pytest.mark.parametrize("address", ["{run}/pause/", "{run}/keep/", "{run}/remove/", "{run}/cancel/", "new/", "plan/"])
def test_a_viewer_may_look_but_not_press(viewer, run, address):
    assert viewer.post(f"/training/{address.format(run=run.pk)}").status_code == 403
    page = text(viewer.get("/training/"))
    assert "Starting a training needs an operator" in page and "Stop, keep the best" not in page


def form(**values: object) -> dict[str, object]:
    """What the start form sends for aapl-swing if nothing is changed."""
    usual = {
        "agent": "aapl-swing", "algorithm": "ppo", "network": "mlp", "actions": "choice", "n_trials": 4, "n_seeds": 2,
        "n_folds": 3, "sampler": "tpe", "backend": "cpu", "n_workers": 0, "seed": 1,
    }  # fmt: skip
    return {**usual, **values}


def test_the_form_starts_a_training_with_what_was_filled_in(operator, desk):
    later = (datetime.now(UTC) + timedelta(hours=3)).strftime("%Y-%m-%dT%H:%M")
    sent = form(n_trials=12, n_seeds=1, network="lstm", seed=7, max_minutes=30, not_before=later, reason="a try")
    assert operator.post("/training/new/", sent).status_code == 302
    run = TrainingRun.objects.latest("id")
    assert (run.agent, run.n_trials, run.seed, run.max_minutes, run.reason) == (desk.aapl, 12, 7, 30, "a try")
    assert run.queued and run.not_before.strftime("%Y-%m-%dT%H:%M") == later and run.created_by == "olga"
    data = AgentConfiguration.objects.get(pk=run.configuration_id).data
    # the number of trials is for this run alone; seeds and network are new settings, looking at 32 bars
    assert data["training"]["n_trials"] == 4 and data["training"]["n_seeds"] == 1
    assert data["network"] == {"kind": "lstm", "window": 32}
    assert Event.objects.filter(kind="training.queued", actor="olga").exists()


def test_unchanged_settings_stay_the_same_version(operator, desk):
    operator.post("/training/new/", form())
    run = TrainingRun.objects.latest("id")
    assert run.configuration.version == 1 and run.desired_state == JobRow.Desired.RUNNING and not run.queued


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"n_trials": 0}, "Trials: at least 1."),
        ({"n_seeds": "many"}, "Seeds per trial: that is not a whole number."),
        ({"n_folds": ""}, "Folds: give a whole number."),
        ({"network": "recurrent"}, "Network: that does not go with PPO"),
        ({"algorithm": "sac"}, "Algorithm: that does not go; it can be PPO."),
        ({"backend": "cuda"}, "Runs on: No GPU was found on this machine."),
        ({"backend": "tpu", "network": "lstm"}, "Runs on: The TPU learns MLP only; choose that as the network"),
        ({"episodes": "backwards"}, "Episodes: choose one of the list."),
        ({"costs": "-1"}, "Costs vary by: at least 0."),
        ({"purge_bars": "few"}, "Bars left out: that is not a whole number."),
        ({"not_before": "2001-01-01T00:00"}, "Not before: that moment has passed"),
        ({"agent": "nobody"}, "Agent: it is no longer here"),
    ],
)
def test_what_is_wrong_is_said_at_its_field(operator, desk, monkeypatch, tmp_path, values, words):
    monkeypatch.setattr("agents.training_pages.training_backends.DEVICES", tmp_path)
    monkeypatch.setattr(
        "agents.training_pages.training_backends.find_spec", lambda name: True
    )  # the extra may be missing here
    before = TrainingRun.objects.count()
    response = operator.post("/training/new/", form(**values))
    assert response.status_code == 422 and words in text(response).replace("&#x27;", "'")
    assert TrainingRun.objects.count() == before


def test_an_agent_that_is_being_trained_is_refused_with_the_way_out(operator, desk, run):
    response = operator.post("/training/new/", form(agent="ndx3x-trend", algorithm="sac", actions="target"))
    assert response.status_code == 422 and "queue another" in text(response)


def test_the_form_offers_only_what_fits(operator, desk):
    page = text(operator.get("/training/form/?agent=ndx3x-trend"))
    assert 'value="target" selected' in page and "Nine steps" not in page and "<html" not in page
    # its versions were made with SAC, so nothing else is offered
    assert "another needs a new agent" in page and ">PPO<" not in page


def test_an_agent_without_a_version_may_change_its_algorithm(operator, desk):
    desk.ndx.deployed_version, version = None, desk.ndx.deployed_version
    desk.ndx.save()
    desk.ndx.decisions.all().delete()
    version.delete()
    page = text(operator.get("/training/form/?agent=ndx3x-trend&algorithm=ppo"))
    assert 'value="ppo" selected' in page and "Nine steps" in page
    operator.post("/training/new/", form(agent="ndx3x-trend"))
    desk.ndx.refresh_from_db()
    assert desk.ndx.algorithm == "ppo"
    event = Event.objects.get(kind="agent.algorithm")
    assert (event.actor, event.data) == ("olga", {"before": "sac", "after": "ppo"})


def test_the_button_says_how_long_it_takes(operator, desk):
    # Past run: 4 trials x 3 folds x 2 seeds in 240 s. Twice the trials: 480 s, which is 8 min.
    past = desk.aapl.deployed_version.run
    change(past, worked_seconds=240, n_trials=4)
    assert "Start, about 4 min" in text(operator.get("/training/form/?agent=aapl-swing"))
    assert "Start, about 8 min" in text(operator.get("/training/form/?agent=aapl-swing&n_trials=8"))
    # at most the time limit
    assert "about 5 min" in text(operator.get("/training/form/?agent=aapl-swing&n_trials=80&max_minutes=5"))
    # no test has run yet
    assert "how long it takes is not known" in text(operator.get("/training/form/?agent=aapl-swing&test=on"))


def test_without_javascript_the_form_can_be_asked_what_fits(operator, desk):
    page = text(operator.post("/training/form/", form(n_trials=8)))
    assert "<html" in page and "8 trials, each on 3 folds with 2 seeds" in page


def test_a_plan_queues_its_agents_in_order(operator, desk):
    sent = {"name": "Sunday", "max_minutes": 90, f"place_{desk.ndx.pk}": 1, f"place_{desk.aapl.pk}": 2}
    assert operator.post("/training/plan/", sent).status_code == 302
    plan = TrainingPlan.objects.get()
    assert (plan.name, plan.max_minutes, plan.created_by) == ("Sunday", 90, "olga")
    assert [run.agent.name for run in plan.runs.order_by("id")] == ["ndx3x-trend", "aapl-swing"]


def test_a_plan_needs_a_name_and_an_agent(operator, desk):
    response = operator.post("/training/plan/", {"name": ""})
    assert response.status_code == 422 and "Name: say what this plan is for" in text(response)
    assert "Give at least one agent a place" in text(operator.post("/training/plan/", {"name": "Empty"}))
    wrong = text(operator.post("/training/plan/", {"name": "x", f"place_{desk.aapl.pk}": "first"}))
    assert "aapl-swing: that is not a whole number." in wrong


def test_curves_come_as_numbers_and_as_tables(operator, run):
    TrainingPoint.objects.create(run=run, part="trial-0/fold-0/seed-0", step=1024, values={"episode_return": 0.25})
    found = operator.get(f"/training/{run.pk}/curves.json").json()
    assert found["steps"] == [1024] and found["words"] == "trial 1, fold 1, seed 1"
    lines = text(operator.get(f"/training/{run.pk}/curves/return.csv")).splitlines()
    assert lines == ["part,step,episode_return", "trial-0/fold-0/seed-0,1024,0.25"]
    assert text(operator.get(f"/training/{run.pk}/curves/trials.csv")).splitlines()[1] == "1,0.41,0.41"


def test_a_study_is_sorted_by_what_is_asked(operator, run):
    address = reverse("study", args=[run.pk])
    order = {
        "-score": [2, 1, 4, 3], "score": [4, 1, 2, 3], "trial": [1, 2, 3, 4], "-learning_rate": [4, 3, 2, 1],
        "nonsense": [2, 1, 4, 3],
    }  # fmt: skip
    for sort, numbers in order.items():
        rows = operator.get(f"{address}?sort={sort}").context["table"].rows
        assert [row.number for row in rows] == numbers, sort
    assert 'aria-sort="descending"' in text(operator.get(address))


def test_a_study_shows_lines_only_of_what_varied(operator, run):
    lines = operator.get(reverse("study", args=[run.pk])).context["lines"]
    # net and gamma are the same in every trial of the factory; three trials have a score
    assert [axis["name"] for axis in lines["axes"]] == ["learning_rate", "score"]
    assert [trial["number"] for trial in lines["trials"]] == [2, 1, 4]
    assert lines["trials"][0]["best"] and lines["trials"][0]["values"][-1] == 0.97


def test_a_study_says_when_too_little_is_known(operator, run):
    page = text(operator.get(reverse("study", args=[run.pk])))
    assert "Too few trials to tell: 3 have finished" in page
    Trial.objects.filter(run=run).delete()
    assert "No trial yet" in text(operator.get(reverse("study", args=[run.pk])))


def test_a_study_can_be_taken_along(operator, run):
    rows = list(csv.DictReader(text(operator.get(reverse("study-csv", args=[run.pk]))).splitlines()))
    assert [row["number"] for row in rows] == ["0", "1", "2", "3"]
    assert rows[1]["value"] == "0.97" and rows[1]["learning_rate"] == "0.00062" and rows[2]["value"] == ""


def test_a_trial_shows_every_fold_and_seed(operator, run):
    parts = [
        {"fold": fold, "seed": seed, "score": score, "weights_sha256": f"{fold}{seed}" * 32, "metrics": {}}
        for fold, seed, score in ((0, 0, 1.0), (0, 1, 0.5), (1, 0, 0.25), (1, 1, 0.75))
    ]
    Trial.objects.filter(run=run, number=1).update(parts=parts, worker="desk-1:4711", objectives={"turnover": 11.2})
    address = reverse("trial", args=[run.pk, 2])
    page = text(operator.get(address))
    # the folds' medians are 0.75 and 0.5
    assert operator.get(address).context["row"].worst == 0.5
    for words in ("desk-1:4711", "11.2\u202f×", "0101…0101", "Learning rate"):
        assert words in page
    part = operator.get(address, headers={"HX-Request": "true"})
    assert "<html" not in text(part) and "data-close-drawer" in text(part) and "HX-Request" in part["Vary"]


def test_a_failed_trial_says_which_input_and_where_its_checkpoint_is(operator, run, settings, tmp_path):
    problem = "observation vix became NaN after 512 steps; repair its bars or leave it out"
    file = f"checkpoints/run-{run.pk}/trial-1/fold-0/seed-0.checkpoint"
    metrics = {"problem": problem, "checkpoint": file, "note": "trial 2, fold 1, seed 1: Learning starts anew: damaged"}
    Trial.objects.filter(run=run, number=1).update(state="failed", value=None, metrics=metrics)
    settings.MODELS_DIR = tmp_path
    (tmp_path / file).parent.mkdir(parents=True)
    address = reverse("trial", args=[run.pk, 2])
    page = text(operator.get(address))
    for words in (f"It failed: {problem}", file, "Learning starts anew: damaged"):
        assert words in page
    # A canceled or finished run keeps no checkpoints.
    change(run, state="stopped", desired_state="stopped")
    page = text(operator.get(address))
    assert problem in page and file not in page


def test_to_cancel_says_that_it_is_for_good(operator, run):
    page = text(operator.get(reverse("training-ask", args=[run.pk, "cancel"])))
    assert "It ends for good" in page and "To go on later, pause it instead." in page


def test_more_settings_become_a_version_of_the_settings_and_come_back(operator, desk):
    usual = {"episodes": "random", "costs": "0", "pruner": "hyperband", "purge_bars": ""}
    operator.post("/training/new/", form(**usual, queued="on"))
    assert desk.aapl.configurations.count() == 1  # nothing was changed
    chosen = {"episodes": "chronological", "costs": "50", "pruner": "none", "purge_bars": "12"}
    assert operator.post("/training/new/", form(**chosen, queued="on")).status_code == 302
    data = desk.aapl.configuration.data
    assert (data["episodes"]["kind"], data["randomise"]["costs"]) == ("chronological", 0.5)
    assert (data["training"]["pruner"], data["training"]["purge_bars"]) == ("none", 12)
    page = text(operator.get("/training/form/?agent=aapl-swing"))
    assert 'value="chronological" selected' in page and 'value="50"' in page and 'value="12"' in page
    # What is not sent stays; empty bars mean the usual number again.
    operator.post("/training/new/", form(queued="on"))
    assert desk.aapl.configurations.count() == 2
    operator.post("/training/new/", form(purge_bars="", queued="on"))
    assert desk.aapl.configuration.data["training"]["purge_bars"] is None
    assert desk.aapl.configuration.data["training"]["pruner"] == "none"


def test_run_and_study_say_whether_it_was_skill_or_luck(operator, desk):
    run = factories.training_run(desk.ndx, finished=True)
    pages = [reverse("study", args=[run.pk]), reverse("training-run", args=[run.pk])]
    said = "Better than luck of 12 tries with a chance of 97 %."
    assert not any(said in text(operator.get(page)) for page in pages)
    ModelVersion.objects.create(
        agent=desk.ndx, version=9, run=run, file="x", sha256="9c41" * 16, weights_sha256="2f90" * 16, seed=1,
        data_fingerprint="77ab" * 16, code_version="0.1.0", library_versions={}, features=[], parameters={},
        study_name="x", metrics={"study": {"skill": {"words": said}}},
    )  # fmt: skip
    assert all(said in text(operator.get(page)) for page in pages)
