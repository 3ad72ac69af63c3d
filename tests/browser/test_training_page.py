"""The Training and study pages in a real browser: every state is clean, curves grow in place, trials can be picked."""

import gzip
import random
from datetime import UTC, datetime, timedelta

import pytest
from django.urls import reverse

from agents.models import TrainingPlan, TrainingPoint, TrainingRun, Trial
from core.notices import notify
from tests import factories
from tests.browser.test_pages import MOST_KILOBYTES, look

pytestmark = [pytest.mark.browser]

WIDTHS = (1440, 390)
CURVES = "document.querySelector('[data-curves]').deskCurves"
LINES = "document.querySelector('[data-parallel]').deskParallel"


def study(run: TrainingRun, n: int = 24) -> TrainingRun:
    """Trials of which the learning rate decides the score, with folds and seeds; the last is at work."""
    run.trials.all().delete()
    chance = random.Random(7)
    rows = []
    for number in range(n):
        rate = 10 ** chance.uniform(-4, -2)
        score = 1.2 - abs(chance.gauss(0, 0.05)) - (rate * 100) if number < n - 1 else None
        parts = [
            {"fold": fold, "seed": seed, "score": (score or 0) + chance.gauss(0, 0.1), "weights_sha256": "2f90" * 16}
            for fold in range(3) for seed in range(2)
        ]  # fmt: skip
        rows.append(Trial(
            run=run, number=number, seed=number, value=score, parts=parts if score else [], duration_seconds=30.0,
            state=Trial.State.DONE if number < n - 1 else Trial.State.RUNNING, progress=0.4,
            parameters={"learning_rate": rate, "width": chance.choice([16, 32, 64]), "drop": "a long word of a group"},
            metrics={"turnover": 11.0, "max_drawdown": 0.13}, is_best=number == 3,
        ))  # fmt: skip
    Trial.objects.bulk_create(rows)
    return run


def points(run: TrainingRun, part: str, first: int, n: int) -> None:
    """Points of a curve, 1,024 steps apart."""
    values = {
        "episode_return": 0.1, "loss/value_loss": 1.5, "loss/entropy_loss": 0.9, "action/buy": 0.3, "action/hold": 0.5,
        "action/sell": 0.2, "reward/net_return": 2e-4, "reward/cost": -1e-4, "steps_per_second": 118_400.0,
    }  # fmt: skip
    TrainingPoint.objects.bulk_create(
        TrainingPoint(run=run, part=part, step=1024 * k, values={name: v * (1 + k % 7) for name, v in values.items()})
        for k in range(first, first + n)
    )


@pytest.fixture
def desk(transactional_db) -> factories.Desk:
    return factories.desk()


@pytest.fixture
def run(desk) -> TrainingRun:
    """A run at work with curves and trials."""
    run = study(factories.training_run(desk.ndx, finished=False, progress=0.37))
    points(run, "trial-23/fold-0/seed-0", 1, 60)
    points(run, "trial-3/fold-0/seed-0", 1, 80)
    return run


def queue(desk: factories.Desk) -> None:
    """Two who wait, one of them for a time."""
    base = {"agent": desk.aapl, "configuration": desk.aapl.configuration, "queued": True}
    TrainingRun.objects.create(**base, position=1, reason="weekly retraining with quite a long reason for it")
    plan = TrainingPlan.objects.create(name="Sunday plan")
    TrainingRun.objects.create(**base, position=2, plan=plan, not_before=datetime.now(UTC) + timedelta(days=2))


@pytest.mark.parametrize("theme", ["dark", "light"])
@pytest.mark.parametrize("width", WIDTHS)
def test_every_state_is_clean(visit, desk, run, width, theme):
    queue(desk)
    window = visit(factories.operator(), width)
    window.context.add_cookies([{"name": "theme", "value": theme, "url": window.server.address}])
    address = reverse("training-run", args=[run.pk])
    wrong = look(window, f"training-running-{theme}", "/training/")
    wrong += look(window, f"training-run-{theme}", address)
    wrong += look(window, f"study-{theme}", reverse("study", args=[run.pk]))
    wrong += look(window, f"study-trial-{theme}", reverse("trial", args=[run.pk, 4]))
    wrong += look(window, f"training-waiting-{theme}", reverse("training-run", args=[run.pk + 1]))
    wrong += look(window, f"training-plan-{theme}", "/training/plan/")
    wrong += look(window, f"training-ask-{theme}", reverse("training-ask", args=[run.pk, "keep"]))
    TrainingRun.objects.filter(pk=run.pk).update(
        state="failed", desired_state="stopped",
        state_reason="The loss became NaN at step 34,816: feature ema_50_slope holds 1.2e+38 on 2008-10-10",
    )  # fmt: skip
    wrong += look(window, f"training-failed-{theme}", "/training/")
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("width", WIDTHS)
def test_an_empty_page_is_clean(visit, transactional_db, width):
    assert look(visit(factories.operator(), width), "training-empty", "/training/") == []


def test_curves_grow_in_place(visit, run):
    window = visit(factories.operator())
    window.go("/training/")
    window.wait_until(f"{CURVES}.state?.steps.length === 60")
    assert window.page.inner_text("[data-part-words]") == "trial 24, fold 1, seed 1"
    window.page.evaluate("document.querySelector('.curve canvas').dataset.mine = 'yes'")
    points(run, "trial-23/fold-0/seed-0", 61, 5)
    TrainingRun.objects.filter(pk=run.pk).update(progress=0.52)
    notify("training", run=run.pk)
    window.wait_until(f"{CURVES}.state.steps.length === 65")
    window.wait_until("document.querySelector('.run-head').innerText.includes('52')")
    # the picture was patched, not made again, and says what it shows
    assert window.page.evaluate("document.querySelector('.curve canvas').dataset.mine") == "yes"
    assert "66,560 steps" in window.page.inner_text("[data-chart=actions] [data-words]")
    assert "buy" in window.page.inner_text("[data-chart=actions] [data-legend]")
    assert not window.troubles


def test_another_part_can_be_chosen(visit, run):
    window = visit(factories.operator())
    window.go("/training/")
    window.wait_until(f"{CURVES}.state?.steps.length === 60")
    window.page.select_option("[data-part]", "trial-3/fold-0/seed-0")
    window.wait_until(f"{CURVES}.state?.steps.length === 80")
    assert "trial-3" in window.page.get_attribute("[data-chart=losses] [data-csv]", "href")


def test_a_run_that_begins_gets_its_card(visit, desk):
    window = visit(factories.operator())
    window.go("/training/")
    run = factories.training_run(desk.ndx, finished=False, progress=0.1)
    points(run, "final/seed-0", 1, 10)
    notify("training", run=run.pk)
    window.page.wait_for_selector(f"[data-run-card='{run.pk}'] .curve canvas")
    assert not window.troubles


def test_canceling_asks_first_and_gives_the_focus_back(visit, run):
    window = visit(factories.operator())
    window.go("/training/")
    page = window.page
    page.focus(f"#cancel-{run.pk}")
    page.keyboard.press("Enter")
    page.wait_for_selector("#data-dialog[open] button.danger")
    window.shoot("training-cancel")
    assert not window.findings()
    page.keyboard.press("Escape")
    assert page.evaluate("document.activeElement.id") == f"cancel-{run.pk}"
    page.keyboard.press("Enter")
    page.click("#data-dialog[open] button.danger")
    page.wait_for_selector("[data-toast]:has-text('no model version comes of it')")
    run.refresh_from_db()
    assert run.desired_state == "stopped"
    window.wait_until("document.querySelector('.run-head').dataset.state === 'canceled'")


def test_pausing_needs_one_press(visit, run):
    window = visit(factories.operator(), 390)
    window.go("/training/")
    window.page.click(".run-head button:has-text('Pause')")
    window.wait_until("document.querySelector('.run-head').dataset.state === 'pausing'")
    run.refresh_from_db()
    assert run.desired_state == "paused"


def test_the_form_follows_what_is_chosen(visit, desk):
    TrainingRun.objects.filter(model_version__agent=desk.aapl).update(worked_seconds=240)
    window = visit(factories.operator())
    window.go("/training/")
    page = window.page
    assert "Start, about 4 min" in page.inner_text("[data-start-button]")
    page.fill("[name=n_trials]", "8")
    page.wait_for_selector("[data-start-button]:has-text('about 8 min')")
    assert page.evaluate("document.activeElement.name") == "n_trials"
    assert "8 trials, each on 3 folds with 2 seeds" in page.inner_text("[data-work]")
    page.select_option("[name=agent]", "ndx3x-trend")
    page.wait_for_selector("[name=algorithm] option[value=sac]:checked", state="attached")
    assert page.evaluate("[...document.querySelector('[name=actions]').options].map((o) => o.value).join()") == "target"
    page.check("[name=queued]")
    page.wait_for_selector("[data-start-button]:has-text('Put it in the queue')")
    page.click("[data-start-button]")
    page.wait_for_selector("#training-queue li:has-text('ndx3x-trend'), .run-head:has-text('ndx3x-trend')")
    assert TrainingRun.objects.latest("id").agent == desk.ndx and not window.troubles


def test_picking_on_an_axis_fades_the_others(visit, run):
    window = visit(factories.operator())
    window.go(reverse("study", args=[run.pk]))
    page = window.page
    box = page.locator(".axis-of[data-axis='0'] .catcher").bounding_box()
    x = box["x"] + box["width"] / 2
    page.mouse.move(x, box["y"] + box["height"] - 4)
    page.mouse.down()
    page.mouse.move(x, box["y"] + box["height"] / 2, steps=5)
    page.mouse.up()
    picked = page.evaluate(f"{LINES}.picked.length")
    assert 0 < picked < 23
    assert page.locator(".parallel .trial.off").count() == 23 - picked
    # the trial at work has no score and no line, so its row fades with the others
    assert page.locator("#table tr.dim").count() == 24 - picked
    assert f"{picked} of 23 trials, the best scored" in page.inner_text("[data-parallel-words]")
    window.shoot("study-picked")
    page.click("[data-clear-brushes]")
    assert page.locator("#table tr.dim").count() == 0 and not window.findings()


def test_axes_and_trials_work_by_keyboard(visit, run):
    window = visit(factories.operator())
    window.go(reverse("study", args=[run.pk]))
    page = window.page
    page.focus(".axis-of[data-axis='0']")
    page.keyboard.press("ArrowUp")
    assert page.evaluate(f"{LINES}.brushes.size") == 1
    assert " to " in page.get_attribute(".axis-of[data-axis='0']", "aria-valuetext")
    page.keyboard.press("Escape")
    assert page.evaluate(f"{LINES}.brushes.size") == 0
    page.focus("#table tr[data-trial='4'] a")
    page.keyboard.press("Enter")
    page.wait_for_selector("#drawer:not([hidden]) h2:has-text('Trial 4')")
    assert page.url.endswith(f"/training/{run.pk}/study/4/")
    assert page.get_attribute("#drawer", "aria-label") == f"Trial 4 of run {run.pk}" and not window.findings()
    page.keyboard.press("Escape")
    page.wait_for_selector("#drawer", state="hidden")
    assert page.url.endswith("/study/")


@pytest.mark.parametrize("name", ["training", "study"])
def test_the_pages_are_light(visit, run, name):
    window = visit(factories.operator())
    sizes: dict[str, int] = {}

    def weigh(response) -> None:
        if response.request.resource_type in ("document", "stylesheet", "script", "fetch"):
            sizes[response.url] = len(gzip.compress(response.body(), 6))

    window.page.on("response", weigh)
    window.go("/training/" if name == "training" else reverse("study", args=[run.pk]))
    window.wait_until(f"{CURVES}.state !== null")
    assert sum(sizes.values()) <= MOST_KILOBYTES * 1000, sizes


def test_without_javascript_everything_but_the_curves_is_there(visit, run):
    window = visit(factories.operator(), java_script_enabled=False)
    window.page.goto(f"{window.server.address}/training/")
    page = window.page.content()
    for words in ("The curves need JavaScript", "Show what fits", "Stop, keep the best", f"run {run.pk}"):
        assert words in page
    window.page.click(f"#cancel-{run.pk}")
    window.page.click("main button.danger")
    run.refresh_from_db()
    assert run.desired_state == "stopped"
