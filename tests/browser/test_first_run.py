"""The first run as a person sees it: real bars, real trainings, both agents trading, at desktop and phone width."""

import re
import time
from collections.abc import Iterator

import pytest

from tests.browser.conftest import SHOTS
from tests.running_desk import RunningDesk, own_environment, wait_for

pytestmark = [pytest.mark.browser, pytest.mark.desk]

WIDTHS = {1440: 1000, 390: 844}
PAGES = ("/", "/agents/", "/decisions/", "/orders/", "/training/", "/backtests/", "/logs/")
TRAINING_PATIENCE_SECONDS = 420


class Person:
    """A browser window of somebody who signs in by the form."""

    def __init__(self, browser, desk: RunningDesk, password: str, width: int) -> None:
        self.desk, self.width = desk, width
        self.page = browser.new_context(viewport={"width": width, "height": WIDTHS[width]}).new_page()
        self.troubles: list[str] = []
        self.page.on("console", lambda message: message.type == "error" and self.troubles.append(message.text))
        self.page.on("pageerror", lambda error: self.troubles.append(str(error)))
        self.page.goto(f"{desk.address}/")
        self.page.fill("input[name=username]", "operator")
        self.page.fill("input[name=password]", password)
        self.page.press("input[name=password]", "Enter")
        self.page.wait_for_url(f"{desk.address}/")

    def go(self, path: str) -> str:
        self.page.goto(self.desk.address + path)
        self.page.wait_for_timeout(500)
        return self.page.inner_text("main")

    def wait_for_text(self, text: str, seconds: float = 20) -> None:
        until = time.monotonic() + seconds
        while text not in self.page.inner_text("body"):
            assert time.monotonic() < until, f"{text!r} did not appear on {self.page.url}"
            self.page.wait_for_timeout(200)

    def shoot(self, name: str) -> None:
        SHOTS.mkdir(parents=True, exist_ok=True)
        self.page.screenshot(path=SHOTS / f"first-run-{name}-{self.width}.png", full_page=True)


@pytest.fixture(scope="module")
def desk(browser, tmp_path_factory) -> Iterator[RunningDesk]:
    pytest.importorskip("arch", reason="the demo's bars come from the optional group: pip install '.[demo]'")
    folder = tmp_path_factory.mktemp("first-run")
    desk = RunningDesk(folder, own_environment(folder))
    desk.start()
    try:
        yield desk
    finally:
        desk.stop()
        desk.manage("down")


@pytest.fixture(scope="module")
def password(desk: RunningDesk) -> str:
    found = re.findall(r"Password\s+(\S+)\s+\(shown this once", desk.log())
    assert len(found) == 1, desk.log()
    return found[0]


def test_the_page_shows_the_training_and_then_both_agents_trading(browser, desk: RunningDesk, password: str) -> None:
    person = Person(browser, desk, password, 1440)
    assert "aapl-swing" in person.page.inner_text("main")
    person.wait_for_text(" of 6", seconds=90)  # Trial 1 of 6, or whichever is under way
    person.shoot("training")
    # No reload from here on: everything arrives over the websocket.
    wait_for(
        lambda: desk.query("SELECT count(DISTINCT agent_id) FROM agents_decision") == [(2,)],
        "both agents decide",
        TRAINING_PATIENCE_SECONDS,
    )
    person.wait_for_text("Long", seconds=60)
    before = person.page.evaluate("document.querySelector('#chart').deskChart.bars.length")
    person.page.wait_for_timeout(4000)
    assert person.page.evaluate("document.querySelector('#chart').deskChart.bars.length") > before
    assert person.troubles == []
    person.shoot("trading")


def test_what_was_trained_is_proven_and_recorded(desk: RunningDesk) -> None:
    versions = desk.query(
        "SELECT a.name, v.state, length(v.sha256), v.study_name <> '', jsonb_array_length(v.features)"
        " FROM agents_modelversion v JOIN agents_agent a ON a.id = v.agent_id ORDER BY 1"
    )
    assert [row[:4] for row in versions] == [
        ("aapl-swing", "deployed", 64, True), ("ndx3x-trend", "deployed", 64, True),
    ]  # fmt: skip
    # A study may leave out groups of features, so what a version sees is some of what its agent may see.
    assert all(3 <= row[4] <= most for row, most in zip(versions, (11, 12), strict=True))
    assert desk.query("SELECT count(*) FROM agents_backtest WHERE period = 'unseen' AND passed") == [(2,)]
    assert desk.query("SELECT count(*) FROM agents_trial WHERE is_best") == [(2,)]
    # No decision before the unseen period, none on a bar the stream has not published.
    wrong = (
        "SELECT count(*) FROM agents_decision d JOIN agents_agent a ON a.id = d.agent_id"
        " JOIN marketdata_stream s ON s.id = a.stream_id WHERE d.time < s.from_time OR d.time > s.cursor"
    )
    assert desk.query(wrong) == [(0,)]


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_answers_with_what_happened(browser, desk: RunningDesk, password: str, width: int) -> None:
    person = Person(browser, desk, password, width)
    wide = "document.documentElement.scrollWidth > document.documentElement.clientWidth"
    for path in PAGES:
        text = person.go(path)
        assert "aapl-swing" in text or "AAPL" in text, path
        assert not person.page.evaluate(wide), f"{path} is wider than the window"
        person.shoot(path.strip("/") or "dashboard")
    assert "constructed" in person.go("/backtests/").lower()
    assert person.troubles == []


def test_a_person_stops_all_trading_and_allows_it_again(browser, desk: RunningDesk, password: str) -> None:
    person = Person(browser, desk, password, 390)
    person.page.get_by_role("button", name="Stop all trading").or_(
        person.page.get_by_role("link", name="Stop all trading")
    ).first.click()
    reason = person.page.locator("dialog[open] [name=reason], main [name=reason]").first
    reason.fill("a test stops trading")
    reason.press("Enter")
    person.wait_for_text("a test stops trading")
    wait_for(
        lambda: desk.query("SELECT engaged FROM risk_killswitchstate ORDER BY id DESC LIMIT 1") == [(True,)],
        "the kill switch is engaged",
    )
    stopped_at = desk.query("SELECT count(*) FROM core_fill")
    before = desk.n_bars_done()
    wait_for(lambda: desk.n_bars_done() >= before + 6, "the replay goes on")
    assert desk.query("SELECT count(*) FROM core_fill") == stopped_at, "nothing may be filled while stopped"
    person.shoot("stopped")
    assert "allowed again" in desk.manage("rearm", "the test is over")
    assert desk.query("SELECT engaged FROM risk_killswitchstate ORDER BY id DESC LIMIT 1") == [(False,)]
