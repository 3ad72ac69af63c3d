"""Every page, empty and with rows; who may press what; what a chart may know."""

import json
from datetime import timedelta

import pytest
from django.urls import reverse

from agents.dashboard import wish
from agents.models import Agent, Decision, TrainingRun
from core.models import Account, Event, JobRow
from marketdata.models import Bar
from tests import factories

pytestmark = pytest.mark.django_db

PAGES = {
    "/": "No agents yet",
    "/agents/": "No agents yet",
    "/decisions/": "No decision yet",
    "/orders/": "No order yet",
    "/orders/?tab=trades": "No closed trade yet",
    "/training/": "Nothing was trained yet",
    "/backtests/": "No backtest yet",
    "/logs/": "The journal is empty",
    "/stop/": "There is no account yet",
}
PANELS = [
    "stats",
    "agents",
    "agent_cards",
    "positions",
    "trades",
    "events",
    "health",
    "training",
    "backtests",
    "replay",
    "bar",
    "banner",
]


@pytest.mark.parametrize(("address", "words"), PAGES.items())
def test_an_empty_page_says_what_will_be_here(operator, address, words):
    response = operator.get(address)
    assert response.status_code == 200
    assert words in response.content.decode()


@pytest.mark.parametrize("address", PAGES)
def test_a_page_with_rows_is_shown(operator, desk, address):
    factories.training_run(desk.ndx, finished=False, progress=0.37)
    response = operator.get(address)
    page = response.content.decode()
    assert response.status_code == 200
    assert "Stop all trading" in page and "Paper" in page


@pytest.mark.parametrize("name", PANELS)
def test_a_panel_is_shown_empty_and_with_rows(operator, name):
    address = reverse("panel", args=[name])
    assert operator.get(address).status_code == 200
    factories.desk()
    response = operator.get(address, headers={"HX-Request": "true"})
    assert response.status_code == 200 and "<html" not in response.content.decode()


def test_an_unknown_panel_is_not_found(operator):
    assert operator.get("/panels/secrets/").status_code == 404


def test_the_dashboard_adds_up_the_books(operator, desk):
    page = operator.get("/")
    books = [agent.book for agent in desk.agents]
    newest = sum(book.equity_snapshots.order_by("-time")[0].equity for book in books)
    assert page.context["stats"]["equity"] == newest
    assert page.context["stats"]["result"] == newest - 100_000
    # 50 bars for each of two agents
    assert page.context["stats"]["n_decisions"] == 100


def test_replay_and_constructed_data_are_marked(operator, desk):
    page = operator.get("/?agent=ndx3x-trend").content.decode()
    assert 'badge replay">Replay' in page and "constructed 3\u202f×" in page


def test_an_unknown_agent_on_the_chart_is_not_found(operator, desk):
    assert operator.get("/?agent=nobody").status_code == 404


def test_the_chart_never_shows_a_bar_the_replay_has_not_published(operator, desk):
    agent = desk.aapl
    cursor = int(agent.stream.cursor.timestamp())
    for query in ("", "?since=1", "?before=99999999999"):
        data = operator.get(f"/api/chart/{agent.pk}{query}").json()
        assert data["bars"] and max(row[0] for row in data["bars"]) == cursor
        for name in ("ema10", "ema50", "lane", "equity"):
            assert max(row[0] for row in data[name]) <= cursor
    assert Bar.objects.filter(instrument=agent.instrument, time__gt=agent.stream.cursor).exists()


def test_before_its_first_bar_a_replay_shows_history_only(operator, desk):
    stream = desk.aapl.stream
    stream.cursor = None
    stream.save()
    data = operator.get(f"/api/chart/{desk.aapl.pk}").json()
    assert max(row[0] for row in data["bars"]) < int(stream.from_time.timestamp())


def test_a_chart_can_be_patched_from_a_bar_on(operator, desk):
    since = int((desk.aapl.stream.cursor - timedelta(days=2)).timestamp())
    data = operator.get(f"/api/chart/{desk.aapl.pk}?since={since}").json()
    assert [len(data[name]) for name in ("bars", "ema10", "ema50", "lane", "equity")] == [3] * 5
    whole = operator.get(f"/api/chart/{desk.aapl.pk}").json()
    assert data["ema50"] == whole["ema50"][-3:]


def test_a_mark_names_the_decision_that_caused_it(operator, desk):
    mark = operator.get(f"/api/chart/{desk.aapl.pk}").json()["marks"][0]
    decision = Decision.objects.filter(agent=desk.aapl, label="buy").earliest("time")
    assert mark["decision"] == int(decision.time.timestamp())
    assert mark["time"] == mark["decision"] + 86_400  # filled one bar later
    page = operator.get(f"/decisions/aapl-swing/{mark['decision']}/").content.decode()
    assert "Bought 100 AAPL" in page and "What mattered most" in page and "36.8" in page


def test_buying_and_holding_starts_where_the_book_starts(operator, desk):
    equity = operator.get(f"/api/chart/{desk.aapl.pk}").json()["equity"]
    assert equity[0][1] == equity[0][2] == 50_000


def test_nonsense_in_chart_parameters_is_refused(operator, desk):
    assert operator.get(f"/api/chart/{desk.aapl.pk}?since=yesterday").status_code == 400
    assert operator.get("/api/chart/999").status_code == 404


def test_a_decision_is_a_page_and_a_drawer(operator, desk):
    decision = Decision.objects.filter(agent=desk.ndx).latest("time")
    address = reverse("decision", args=["ndx3x-trend", int(decision.time.timestamp())])
    assert "<html" in operator.get(address).content.decode()
    part = operator.get(address, headers={"HX-Request": "true"})
    assert "<html" not in part.content.decode() and "HX-Request" in part["Vary"]
    assert operator.get("/decisions/ndx3x-trend/99999999999999999/").status_code == 404


def test_decisions_are_filtered_and_paged(operator, desk):
    page = operator.get("/decisions/?agent=aapl-swing&verdict=resized")
    rows = page.context["page"].object_list
    assert {(row.agent.name, row.verdict) for row in rows} == {("aapl-swing", "resized")}
    assert operator.get("/decisions/?page=2").context["page"].number == 2
    assert "No decision fits" in operator.get("/decisions/?verdict=denied").content.decode()


def test_the_journal_is_filtered(operator, desk):
    page = operator.get("/logs/?level=attention").content.decode()
    assert "denied" in page and "aapl-swing started" not in page


def test_an_agent_shows_what_it_is_made_of(operator, desk):
    page = operator.get("/agents/aapl-swing/").content.decode()
    for words in ("9c41" * 16, "ema_50_slope", "torch 2.13.0", "half_spread_bps"):
        assert words in page


def test_a_report_opens_with_its_verdict_and_its_doubt(operator, desk):
    backtest = desk.aapl.deployed_version.backtests.get()
    page = operator.get(reverse("backtest", args=[backtest.pk])).content.decode()
    assert "cannot be told from luck" in page and "buying and holding earned" in page
    curve = operator.get(reverse("backtest-curve", args=[backtest.pk])).content.decode().splitlines()
    assert curve[0] == "time,equity,baseline,exposure" and len(curve) == 361
    trades = operator.get(reverse("backtest-trades", args=[backtest.pk])).content.decode().splitlines()
    assert len(trades) == 9


def test_trades_can_be_taken_along(operator, desk):
    lines = operator.get("/orders/trades.csv").content.decode().splitlines()
    # each agent buys and sells twice and then holds what it bought last
    assert lines[0].startswith("book,symbol,side") and len(lines) == 1 + 4


def test_a_run_shows_its_trials_best_first(operator, desk):
    run = desk.aapl.deployed_version.run
    page = operator.get(reverse("training-run", args=[run.pk]))
    assert [row.trial.number for row in page.context["table"].rows] == [1, 0, 3, 2]


def test_a_failed_run_and_an_agent_without_a_model_have_words(operator, desk):
    run = factories.training_run(desk.ndx, finished=False)
    TrainingRun.objects.filter(pk=run.pk).update(state=JobRow.State.FAILED, state_reason="no bars of VIX")
    Agent.objects.filter(pk=desk.ndx.pk).update(deployed_version=None)
    Decision.objects.filter(agent=desk.ndx).delete()
    assert "no bars of VIX" in operator.get(reverse("training-run", args=[run.pk])).content.decode()
    assert "It has no model yet" in operator.get("/").content.decode()


@pytest.mark.parametrize("action", ["start", "pause", "resume", "stop"])
def test_a_viewer_may_look_but_not_press(viewer, desk, action):
    response = viewer.post(f"/agents/{desk.aapl.pk}/{action}/")
    assert response.status_code == 403
    assert "victor may look but not operate" in response.content.decode()
    assert Event.objects.filter(actor="victor").count() == 0


@pytest.mark.parametrize(
    "address",
    [
        "/stop/engage/",
        "/stop/rearm/",
        "/streams/{stream}/speed/",
        "/streams/{stream}/pause/",
        "/training/start/{agent}/",
        "/training/{run}/cancel/",
    ],
)
def test_every_control_needs_an_operator_and_a_post(viewer, desk, address):
    address = address.format(stream=desk.aapl.stream_id, agent=desk.aapl.pk, run=desk.aapl.deployed_version.run_id)
    assert viewer.post(address, {"reason": "x"}).status_code == 403
    viewer.force_login(factories.operator())
    assert viewer.get(address).status_code == 405


def test_a_viewer_sees_no_buttons_that_would_refuse(viewer, desk):
    page = viewer.get("/").content.decode()
    assert "Pause replay" not in page and 'aria-label="Pause aapl-swing"' not in page


def test_stopping_an_agent_works_as_a_plain_form(operator, desk):
    response = operator.post(f"/agents/{desk.aapl.pk}/stop/", {"next": "/agents/"}, follow=True)
    page = response.content.decode()
    assert response.redirect_chain == [("/agents/", 302)]
    assert "aapl-swing was asked to stop." in page and "Start aapl-swing" in page
    assert Event.objects.filter(kind="agent.stopped", actor="olga").exists()


@pytest.mark.parametrize(
    ("desired", "state", "versions", "words"),
    [
        ("stopped", "running", (2, 1), "stopping …"),
        ("running", "stopped", (2, 1), "starting …"),
        ("running", "paused", (2, 1), "continuing …"),
        ("paused", "running", (2, 1), "pausing …"),
        ("running", "running", (2, 1), "taking over settings …"),
        ("running", "running", (2, 2), ""),
        ("stopped", "stopped", (2, 2), ""),
    ],
)
def test_a_wish_is_shown_until_the_process_has_acknowledged_it(desired, state, versions, words):
    wanted, applied = versions
    job = Agent(desired_state=desired, state=state, settings_version=wanted, applied_version=applied)
    assert wish(job) == words


def test_the_same_button_answers_htmx_with_its_panel_and_a_toast(operator, desk):
    response = operator.post(f"/agents/{desk.aapl.pk}/pause/", {"panel": "agents"}, headers={"HX-Request": "true"})
    page = response.content.decode()
    assert response.status_code == 200 and "<html" not in page
    assert 'id="panel-agents"' in page and "pausing …" in page and "was asked to pause" in page


def test_a_refusal_is_told_and_an_unknown_action_not_found(operator, desk):
    Agent.objects.filter(pk=desk.aapl.pk).update(desired_state="stopped", state="stopped")
    response = operator.post(f"/agents/{desk.aapl.pk}/pause/", follow=True)
    assert "was left as it was" in response.content.decode()
    assert operator.post(f"/agents/{desk.aapl.pk}/explode/").status_code == 404


def test_a_form_cannot_send_anybody_to_another_site(operator, desk):
    response = operator.post(f"/agents/{desk.aapl.pk}/stop/", {"next": "https://evil.example/"})
    assert response["Location"] == "/agents/"


def test_replay_speed_is_changed_and_nonsense_refused(operator, desk):
    address = f"/streams/{desk.aapl.stream_id}/speed/"
    operator.post(address, {"bars_per_second": "20"})
    desk.aapl.stream.refresh_from_db()
    assert desk.aapl.stream.bars_per_second == 20
    response = operator.post(address, {"bars_per_second": "-1"}, follow=True)
    assert "The speed was not changed" in response.content.decode()
    desk.aapl.stream.refresh_from_db()
    assert desk.aapl.stream.bars_per_second == 20


def test_a_training_is_started_once_and_canceled(operator, desk):
    address = f"/training/start/{desk.aapl.pk}/"
    run_page = operator.post(address)["Location"]
    run = TrainingRun.objects.latest("id")
    assert run_page == reverse("training-run", args=[run.pk]) and run.created_by == "olga"
    assert "No training was started" in operator.post(address, follow=True).content.decode()
    operator.post(f"/training/{run.pk}/cancel/")
    run.refresh_from_db()
    assert run.desired_state == "stopped"


def test_trading_is_stopped_with_a_reason_seen_everywhere_and_rearmed(operator, desk):
    refused = operator.post("/stop/engage/", {"reason": " "})
    assert refused.status_code == 422 and "Say why" in refused.content.decode()
    page = operator.post("/stop/engage/", {"reason": "VIX at 40", "next": "/logs/"}, follow=True).content.decode()
    assert "All trading stopped in" in page
    for address in ("/", "/decisions/", "/backtests/"):
        shown = operator.get(address).content.decode()
        assert "All trading is stopped." in shown and "VIX at 40" in shown and "olga" in shown
    assert operator.post("/stop/rearm/", {"reason": ""}).status_code == 422
    operator.post("/stop/rearm/", {"reason": "calm again"})
    assert "All trading is stopped." not in operator.get("/").content.decode()
    assert operator.post("/stop/rearm/", {"reason": "again"}, follow=True).status_code == 200


def test_without_an_account_there_is_nothing_to_stop(operator):
    assert operator.post("/stop/engage/", {"reason": "x"}).status_code == 404


def test_live_money_looks_different(operator):
    Account.objects.create(name="real", mode=Account.Mode.LIVE)
    page = operator.get("/").content.decode()
    assert "LIVE · real money" in page and 'class="is-live"' in page


def test_a_sentence_from_the_database_cannot_bring_markup(operator, desk):
    decision = Decision.objects.filter(agent=desk.aapl).latest("time")
    decision.rationale = {"sentence": "<img src=x onerror=alert(1)>"}
    decision.save()
    assert "<img src=x" not in operator.get("/").content.decode()


def test_the_data_in_the_page_is_the_chart_data(operator, desk):
    page = operator.get("/").content.decode()
    embedded = page.split('id="chart-data" type="application/json">')[1].split("</script>")[0]
    assert json.loads(embedded)["symbol"] == "AAPL"


def test_a_transformers_decision_shows_which_bars_it_looked_at(operator, desk):
    decision = desk.aapl.decisions.order_by("-time").first()
    address = reverse("decision", args=["aapl-swing", int(decision.time.timestamp())])
    assert "Which bars it looked at" not in operator.get(address).content.decode()
    attention = [{"bars_ago": 1, "share": 0.5}, {"bars_ago": 0, "share": 0.2}, {"bars_ago": 12, "share": 0.1}]
    decision.rationale = {**decision.rationale, "attention": attention}
    decision.save()
    response = operator.get(address)
    page = response.content.decode()
    for words in ("Which bars it looked at", "1 bar ago", "this bar", "12 bars ago", "50\u202f%"):
        assert words in page
    # Bars are as long as their share of the largest: 0.5, 0.2 and 0.1 of 0.5.
    assert [row["of_largest"] for row in response.context["looked_at"]] == [1.0, 0.4, 0.2]
