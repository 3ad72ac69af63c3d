"""Admin pages of agents and what they leave behind, through HTTP and with a real database."""

import json
from datetime import date
from typing import Any

import pytest
from django.apps import apps
from django.contrib import admin
from django.contrib.auth.models import Permission
from django_q.models import OrmQ

from agents import registry
from agents.configuration import demo_configuration
from agents.models import Agent, AgentConfiguration, Backtest, Decision, ModelVersion, TrainingRun, Trial
from agents.reconfigure import add_configuration
from core.models import Event
from core.tests.admin_pages import DAY, ledger, page, walk
from marketdata.models import Bar, ChartBar, SentimentScore, Stream, Tick

SENT = {"_form_submitted": "True"}


def test_the_admins_system_checks_need_no_database():
    # A new desk runs them before its first table exists; without the django_db mark a query here is an error.
    assert admin.checks.check_admin_app(None) == []


@pytest.fixture
def rows(db: None) -> dict[str, Any]:
    """An agent with settings, a training, a proven version and one decision."""
    kept = ledger()
    stream = Stream.objects.create(name="aapl-replay", from_time=DAY, to_time=DAY)
    agent = Agent.objects.create(
        name="aapl-swing", algorithm="ppo", instrument=kept["instrument"], book=kept["book"], stream=stream
    )
    data = demo_configuration("ppo", date(2009, 1, 1), date(2011, 7, 1))
    configuration = AgentConfiguration.objects.create(agent=agent, version=1, data=data)
    run = TrainingRun.objects.create(agent=agent, configuration=configuration, state="finished", study_name="s")
    version = ModelVersion.objects.create(
        agent=agent, version=1, run=run, state="proven", file="a.safetensors", sha256="a" * 64, seed=1,
        weights_sha256="b" * 64, data_fingerprint="c" * 64, code_version="1", study_name="s",
    )  # fmt: skip
    decision = Decision.objects.create(
        time=DAY, agent=agent, instrument=kept["instrument"], model_version=version, configuration=configuration,
        action=1, label="buy", confidence=0.71, close=27.03, quantity_before=0, quantity_wanted=52, quantity_allowed=37,
        verdict="resized", equity=50_000, observation={"rsi_14": 28.4}, rationale={"sentence": "It bought."},
    )  # fmt: skip
    return kept | {
        "stream": stream,
        "agent": agent,
        "configuration": configuration,
        "run": run,
        "version": version,
        "trial": Trial.objects.create(run=run, number=1, seed=1, parameters={"gamma": 0.99}),
        "backtest": Backtest.objects.create(
            model_version=version,
            period="unseen",
            from_time=DAY,
            to_time=DAY,
            n_bars=1,
            passed=True,
            curve={"time": [1], "equity": [50_000.0]},
        ),
        "decision": decision,
    }


def test_every_page_of_agents_answers(admin_client, rows):
    for name in ("agent", "configuration", "run", "trial", "version", "backtest", "decision", "stream"):
        walk(admin_client, rows[name])


def test_bars_and_the_links_to_streams_are_the_only_rows_not_listed():
    rooms = ("core", "marketdata", "risk", "agents")
    ours = {model for model in apps.get_models() if model._meta.app_label in rooms}
    # Stream.instruments' own link rows show on the stream's page; a subscription belongs to its agent's start and stop.
    # Ticks and chart levels have keys the admin cannot show; a headline's page shows its scores.
    assert ours - set(admin.site._registry) <= {Bar, ChartBar, Tick, SentimentScore}
    assert Bar not in admin.site._registry


@pytest.mark.parametrize(
    ("button", "before", "after", "kind"),
    [
        ("start_one", "stopped", "running", "agent.started"),
        ("pause_one", "running", "paused", "agent.paused"),
        ("resume_one", "paused", "running", "agent.resumed"),
        ("stop_one", "running", "stopped", "agent.stopped"),
    ],
)
def test_an_agents_buttons_ask_first_then_act(admin_client, rows, button, before, after, kind):
    agent = rows["agent"]
    Agent.objects.update(desired_state=before)
    asked = admin_client.get(page(Agent, button, agent.pk))
    assert asked.status_code == 200 and b"csrfmiddlewaretoken" in asked.content
    agent.refresh_from_db()
    assert agent.desired_state == before
    assert admin_client.post(page(Agent, button, agent.pk), SENT).status_code == 302
    agent.refresh_from_db()
    assert agent.desired_state == after
    assert Event.objects.get(kind=kind).actor == "admin"


def test_chosen_agents_are_started_from_the_list(admin_client, rows):
    chosen = {"action": "start_chosen", "_selected_action": [rows["agent"].pk]}
    answer = admin_client.post(page(Agent, "changelist"), chosen, follow=True)
    assert b"aapl-swing was asked to start" in answer.content
    assert Agent.objects.get().desired_state == "running" and OrmQ.objects.count() == 1


def test_what_cannot_be_done_is_said_and_changes_nothing(admin_client, rows):
    answer = admin_client.post(page(Agent, "pause_one", rows["agent"].pk), SENT, follow=True)
    assert b"is stopped, so there is nothing to pause" in answer.content
    assert Agent.objects.get().desired_state == "stopped"


def test_train_now_queues_a_run_with_the_seed_and_refuses_a_second(admin_client, rows):
    address = page(Agent, "train_one", rows["agent"].pk)
    assert b'name="seed"' in admin_client.get(address).content
    assert admin_client.post(address, SENT | {"seed": "7"}).status_code == 302
    run = TrainingRun.objects.get(seed=7)
    assert run.created_by == "admin" and run.configuration == rows["configuration"]
    assert b"already being trained" in admin_client.post(address, SENT | {"seed": "8"}, follow=True).content
    assert not TrainingRun.objects.filter(seed=8).exists()


def test_training_without_settings_is_refused_in_words(admin_client, rows):
    book = rows["book"]
    book.pk, book.name = None, "second"
    book.save(force_insert=True)
    bare = Agent.objects.create(name="bare", algorithm="ppo", instrument=rows["instrument"], book=book)
    chosen = {"action": "train_chosen", "_selected_action": [bare.pk]}
    assert b"bare has no settings yet" in admin_client.post(page(Agent, "changelist"), chosen, follow=True).content


def test_a_running_training_can_be_stopped_and_a_finished_one_not(admin_client, rows):
    run = rows["run"]
    address = page(TrainingRun, "cancel", run.pk)
    assert b"is not running" in admin_client.post(address, SENT, follow=True).content
    TrainingRun.objects.update(state="running", desired_state="running")
    admin_client.post(address, SENT)
    run.refresh_from_db()
    assert run.desired_state == "stopped"
    assert Event.objects.get(kind="training.stopped").actor == "admin"


def test_a_new_version_of_the_settings_starts_from_the_newest(admin_client, rows):
    newer = rows["configuration"].data | {"deploy_checks": {"min_trades": 9}}
    add_configuration(rows["agent"], newer, actor="ana")
    answer = admin_client.get(page(Agent, "new_settings", rows["agent"].pk), follow=True)
    assert answer.context["adminform"].form.initial["data"] == newer


def test_new_settings_are_numbered_journalled_and_told_to_the_agent(admin_client, rows):
    agent, data = rows["agent"], rows["configuration"].data
    changed = data | {"deploy_checks": {"min_trades": 9}}
    values = {"agent": agent.pk, "data": json.dumps(changed)}
    assert admin_client.post(page(AgentConfiguration, "add"), values).status_code == 302
    added = agent.configurations.latest("version")
    assert (added.version, added.created_by, added.data) == (2, "admin", changed)
    event = Event.objects.get(kind="agent.configured")
    assert event.data["before"] == {"deploy_checks": data["deploy_checks"]}
    assert event.data["after"] == {"deploy_checks": {"min_trades": 9}}
    agent.refresh_from_db()
    assert agent.settings_version == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("{not json", b"Enter a valid JSON"),
        ('{"features": ["rsi_14"], "training": {}, "speed": 1}', b"unknown setting speed"),
        ('{"features": ["no_such"], "training": {}}', b"no_such"),
        ('{"features": NaN}', b"no NaN"),
        ('{"features": 1e999}', b"no NaN"),
        ('{"features": ["\\u0000"]}', b"cannot be stored"),
        ("[]", b"required"),
    ],
)
def test_settings_that_make_no_sense_are_refused_by_name(admin_client, rows, text, words):
    answer = admin_client.post(page(AgentConfiguration, "add"), {"agent": rows["agent"].pk, "data": text})
    assert answer.status_code == 200 and words in answer.content
    assert AgentConfiguration.objects.count() == 1


def test_settings_are_never_edited_or_deleted(admin_client, rows):
    for name in ("change", "delete"):
        address = page(AgentConfiguration, name, rows["configuration"].pk)
        assert admin_client.post(address, {"post": "yes", "data": "{}"}).status_code == 403


def _agent_form(agent: Agent, **values: Any) -> dict[str, Any]:
    inline = {"configurations-TOTAL_FORMS": 1, "configurations-INITIAL_FORMS": 1}
    return {"stream": agent.stream_id or "", "deploy_when_proven": "on", **inline, **values}


def test_a_changed_agent_is_journalled_and_told(admin_client, rows):
    agent = rows["agent"]
    values = _agent_form(agent)
    del values["deploy_when_proven"]
    assert admin_client.post(page(Agent, "change", agent.pk), values).status_code == 302
    agent.refresh_from_db()
    assert agent.deploy_when_proven is False and agent.settings_version == 2
    # The version goes up so that the running process reads its row again.
    assert Event.objects.get(kind="agent.changed").data == {
        "before": {"deploy_when_proven": True, "settings_version": 1},
        "after": {"deploy_when_proven": False, "settings_version": 2},
    }


def test_a_running_agent_keeps_its_stream(admin_client, rows):
    agent = rows["agent"]
    Agent.objects.update(desired_state="running")
    answer = admin_client.post(page(Agent, "change", agent.pk), _agent_form(agent, stream=""))
    assert answer.status_code == 200 and b"before giving it another stream" in answer.content
    agent.refresh_from_db()
    assert agent.stream is not None


def test_an_agent_with_history_cannot_be_deleted_and_an_unused_one_can(admin_client, rows):
    admin_client.post(page(Agent, "delete", rows["agent"].pk), {"post": "yes"})
    assert Agent.objects.filter(pk=rows["agent"].pk).exists()
    book = rows["book"]
    book.pk, book.name = None, "second"
    book.save(force_insert=True)
    unused = Agent.objects.create(name="unused", algorithm="ppo", instrument=rows["instrument"], book=book)
    AgentConfiguration.objects.create(agent=unused, version=1, data={})
    Agent.objects.filter(pk=unused.pk).update(desired_state="running")
    assert admin_client.post(page(Agent, "delete", unused.pk), {"post": "yes"}).status_code == 403
    Agent.objects.filter(pk=unused.pk).update(desired_state="stopped")
    assert admin_client.post(page(Agent, "delete", unused.pk), {"post": "yes"}).status_code == 302
    assert not Agent.objects.filter(pk=unused.pk).exists()
    assert Event.objects.get(kind="agent.deleted").data["before"]["name"] == "unused"


def test_a_proven_version_is_deployed_on_paper(admin_client, rows, monkeypatch):
    monkeypatch.setattr(registry, "load", lambda model: None)  # its file is the registry's tests' business
    answer = admin_client.post(page(ModelVersion, "deploy", rows["version"].pk), SENT, follow=True)
    assert b"trades with version 1" in answer.content
    assert Agent.objects.get().deployed_version == rows["version"]
    assert Event.objects.get(kind="model.deployed").actor == "admin"


@pytest.mark.parametrize(("state", "mode"), [("refused", "paper"), ("registered", "paper"), ("proven", "live")])
def test_other_versions_and_live_accounts_are_refused_in_words(admin_client, rows, monkeypatch, state, mode):
    monkeypatch.setattr(registry, "load", lambda model: None)
    ModelVersion.objects.update(state=state)
    type(rows["account"]).objects.update(mode=mode)
    answer = admin_client.post(page(ModelVersion, "deploy", rows["version"].pk), SENT, follow=True)
    assert b"Not deployed" in answer.content
    assert Agent.objects.get().deployed_version is None


def test_a_version_whose_file_is_missing_is_refused_in_words(admin_client, rows, settings, tmp_path):
    settings.MODELS_DIR = tmp_path
    answer = admin_client.post(page(ModelVersion, "deploy", rows["version"].pk), SENT, follow=True)
    assert b"Not deployed" in answer.content and b"cannot be read" in answer.content


def test_staff_who_may_only_look_cannot_press_any_button(client, django_user_model, rows):
    looker = django_user_model.objects.create_user("looker", password="x", is_staff=True)
    looker.user_permissions.set(Permission.objects.filter(codename__startswith="view_"))
    client.force_login(looker)
    agent = rows["agent"]
    assert client.get(page(Agent, "change", agent.pk)).status_code == 200
    for button in ("start_one", "pause_one", "resume_one", "stop_one", "train_one", "new_settings"):
        assert client.post(page(Agent, button, agent.pk), SENT).status_code == 403, button
    client.post(page(Agent, "changelist"), {"action": "start_chosen", "_selected_action": [agent.pk]})
    assert client.post(page(ModelVersion, "deploy", rows["version"].pk), SENT).status_code == 403
    assert client.post(page(TrainingRun, "cancel", rows["run"].pk), SENT).status_code == 403
    assert Agent.objects.get().desired_state == "stopped" and TrainingRun.objects.count() == 1


def test_an_address_that_names_no_agent_is_not_found(admin_client, rows):
    assert admin_client.post(page(Agent, "start_one", 999_999), SENT).status_code == 404
