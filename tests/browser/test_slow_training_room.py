"""A person trains an agent in the browser from the form to the model version; the processes behind it are real."""

import time
from collections.abc import Iterator
from typing import Any

import pytest
from django.urls import reverse

from agents.models import Agent, ModelVersion, TrainingRun, Trial
from agents.tests.desk import make_agent
from agents.tests.processes import Trainings, trainings_in
from tests import factories
from tests.browser.test_training_page import CURVES, LINES

pytestmark = [pytest.mark.browser, pytest.mark.slow]
N_TRIALS, ENOUGH = 60, 16  # what mattered is told from 15 finished trials on
STATE = "document.querySelector('[data-run-card=\"{run}\"] .run-head, #training-head-{run}')?.dataset.state"
BARS = "document.querySelector('[data-start-form] .static')"  # says whose bars are learned from
SHOWN = "parseInt(document.querySelector('#training-head-{run} .progress .num').innerText)"


@pytest.fixture
def trainings(settings, tmp_path) -> Iterator[Trainings]:
    with trainings_in(tmp_path, settings) as found:
        yield found


class Room:
    """A browser window, and the desk's launcher that works while the window is looked at."""

    def __init__(self, window: Any, trainings: Trainings) -> None:
        self.window, self.page, self.trainings = window, window.page, trainings

    def until(self, expression: str, seconds: float = 40.0) -> None:
        """Wait for something on the page; what is wanted meanwhile is started."""
        end = time.monotonic() + seconds
        while not self.page.evaluate(expression):
            self.trainings.start_wanted()
            assert time.monotonic() < end, f"still not true: {expression}\n{self.trainings.log()}"
            self.page.wait_for_timeout(150)

    def state(self, run: TrainingRun, wanted: str, seconds: float = 40.0) -> None:
        self.until(f"{STATE.format(run=run.pk)} === '{wanted}'", seconds)

    def press(self, run: TrainingRun, words: str) -> None:
        self.page.click(f"#training-head-{run.pk} button:has-text('{words}')")

    def agree(self, link: str, words: str) -> None:
        """Ask for something that is asked about first, and say yes."""
        self.page.click(link)
        self.page.click(f"#data-dialog[open] button[type=submit]:has-text('{words}')")


def start(room: Room, agent: Agent, **fields: str) -> TrainingRun:
    """Fill the form in and send it."""
    page = room.page
    if page.input_value("[data-start-form] [name=agent]") != agent.name:
        page.select_option("[data-start-form] [name=agent]", agent.name)
        room.window.wait_until(f"{BARS}?.innerText.startsWith('{agent.instrument.symbol}')")
    for name, value in fields.items():
        page.fill(f"[name={name}]", value)
    if "n_trials" in fields:
        page.wait_for_selector(f"[data-work]:has-text('{fields['n_trials']} trials')")
    page.click("[data-start-button]")
    page.wait_for_selector(f".run-head:has-text('{agent.name}'), #training-queue li:has-text('{agent.name}')")
    return TrainingRun.objects.get(agent=agent)


def test_a_training_from_the_form_to_the_version(visit, trainings: Trainings) -> None:
    usual = {"n_folds": 2, "n_steps": 2_048, "n_evaluations": 1, "n_workers": 1, "pruner": "none"}
    walker, second = (make_agent(name=name, **usual, search={"drop": "nothing"}) for name in ("walker", "second"))
    room = Room(visit(factories.operator()), trainings)
    window, page = room.window, room.page
    window.go("/training/")
    assert "Nothing was trained yet" in page.inner_text("#training-runs")
    run = start(room, walker, n_trials=str(N_TRIALS))
    assert (run.created_by, run.n_trials) == ("olga", N_TRIALS)
    room.state(run, "running")
    page.evaluate("window.mine = 'never loaded anew'")
    see_it_learn(room, run)
    other = queue_another(room, second)
    page.evaluate("window.mine = 'never loaded anew'")
    pause_and_let_the_other_pass(room, run, other)
    look_at_the_study(room, run)
    keep_the_best(room, run)
    assert window.troubles == []


def see_it_learn(room: Room, run: TrainingRun) -> None:
    """Curves, trials and progress come by themselves."""
    room.until(f"({CURVES}.state?.steps.length ?? 0) > 0")
    page, before = room.page, room.page.evaluate(SHOWN.format(run=run.pk))
    room.until(f"{SHOWN.format(run=run.pk)} > {before} + 2")
    assert "steps/s" in page.inner_text(f"#training-head-{run.pk}")
    room.until("document.querySelectorAll('#training-runs table tbody tr').length >= 3")
    page.select_option("[data-part]", index=1)
    for chart, word in {"losses": "value", "actions": "buy", "rewards": "return"}.items():
        room.until(f"document.querySelector('[data-chart={chart}] canvas') !== null")
        assert word in page.inner_text(f"[data-chart={chart}] [data-legend]").lower()
    assert page.evaluate("window.mine") == "never loaded anew"
    assert not room.window.findings()
    room.window.shoot("slow-training-live")


def queue_another(room: Room, agent: Agent) -> TrainingRun:
    """The machine's place is taken: another agent waits."""
    page = room.page
    page.select_option("[data-start-form] [name=agent]", agent.name)
    room.window.wait_until(f"{BARS}?.innerText.startsWith('SECOND')")
    page.check("[name=queued]")
    page.click("[data-start-button]:has-text('Put it in the queue')")
    page.wait_for_selector("#training-queue li:has-text('second')")
    other = TrainingRun.objects.get(agent=agent)
    assert other.queued and other.started_at is None
    return other


def pause_and_let_the_other_pass(room: Room, run: TrainingRun, other: TrainingRun) -> None:
    """A paused run keeps what it has and gives its place away; canceled, the other gives it back."""
    room.state(run, "running")
    room.press(run, "Pause")
    room.state(run, "paused")
    run.refresh_from_db()
    n_steps, n_trials = run.n_steps_done, run.trials.count()
    room.state(other, "running")
    room.until("document.querySelectorAll('#training-queue li').length === 0")
    run.refresh_from_db()
    assert (run.n_steps_done, run.trials.count(), run.state) == (n_steps, n_trials, "paused")
    room.agree(f"#cancel-{other.pk}", "Cancel")
    room.until(f"!['running', 'stopping', 'starting'].includes({STATE.format(run=other.pk)})")
    other.refresh_from_db()
    assert other.desired_state == "stopped"
    room.press(run, "Continue")
    room.state(run, "running")
    room.until(f"document.querySelector('#training-head-{run.pk} .phase').innerText.includes('of {N_TRIALS}')")


def look_at_the_study(room: Room, run: TrainingRun) -> None:
    """Table, lines, what mattered and history, each made of the rows."""
    ended = run.trials.filter(state=Trial.State.DONE)
    room.trainings.wait(lambda: ended.count() > ENOUGH, "enough trials")
    window, page = room.window, room.page
    window.go(reverse("study", args=[run.pk]))
    n = page.locator("#table tbody tr").count()
    assert ENOUGH < n < N_TRIALS
    window.wait_until(f"document.querySelectorAll('.parallel .trial').length >= {ENOUGH}")
    axes = page.inner_text("[data-parallel]")
    assert "Learning rate" in axes
    page.focus(".axis-of[data-axis='0']")
    page.keyboard.press("ArrowUp")
    assert page.evaluate(f"{LINES}.brushes.size") == 1 and page.locator("#table tr.dim").count() > 0
    page.click("[data-clear-brushes]")
    shares = page.locator("#importance .bars .num").all_inner_texts()
    assert len(shares) >= 3 and 98 <= sum(int(text.rstrip("%\u202f ")) for text in shares) <= 102
    window.wait_until("document.querySelector('[data-chart=trials] canvas') !== null")
    assert "best" in page.inner_text("#history [data-words]").lower()
    assert not window.findings()
    window.shoot("slow-study")
    page.click("#table thead a:has-text('Learning rate')")
    page.wait_for_selector("#table th[aria-sort] :text('Learning rate')")
    page.click("#table tbody tr a >> nth=0")
    page.wait_for_selector("#drawer:not([hidden]) h2:has-text('Trial')")


def keep_the_best(room: Room, run: TrainingRun) -> None:
    """It ends with a version of what the best trial has learned, and the page leads there."""
    window, page = room.window, room.page
    window.go(reverse("training-run", args=[run.pk]))
    room.agree(f"#keep-{run.pk}", "Stop, keep the best")
    room.state(run, "finished")
    model = ModelVersion.objects.get(run=run)
    best = run.trials.filter(state=Trial.State.DONE).order_by("-value", "number").first()
    assert model.metrics["study"]["from_trial"] == best.number and run.trials.count() < N_TRIALS
    assert Agent.objects.get(name="walker").deployed_version == model
    assert str(model) in page.inner_text(f"#training-head-{run.pk}")
    page.click(f"#training-head-{run.pk} a:has-text('Report on the unseen period')")
    page.wait_for_url("**/backtests/*/")
    room.window.shoot("slow-report")
