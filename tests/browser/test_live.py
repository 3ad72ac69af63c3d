"""What moves: the drawer, the stop button, new bars, a lost connection."""

from datetime import timedelta

import pytest

from core.models import Event
from core.notices import notify
from marketdata.models import Stream
from tests import factories

pytestmark = [pytest.mark.browser]

CHART = "document.querySelector('#chart').deskChart"
MARK = f"""(() => {{
  const view = {CHART}, mark = view.marks.at(-1);
  const box = document.querySelector('#chart > div').getBoundingClientRect();
  const bar = view.bars.find((row) => row[0] === mark.time);
  return {{ x: box.x + view.chart.timeScale().timeToCoordinate(mark.time),
            y: box.y + view.price.priceToCoordinate(bar[mark.quantity > 0 ? 3 : 2]) + 14 * Math.sign(mark.quantity),
            decision: mark.decision }};
}})()"""


def test_a_click_on_a_mark_opens_its_decision_and_escape_closes_it(visit):
    factories.desk()
    window = visit(factories.operator())
    window.go("/")
    page = window.page
    spot = page.evaluate(MARK)
    page.mouse.move(spot["x"], spot["y"])
    page.wait_for_timeout(150)
    page.mouse.click(spot["x"], spot["y"])
    page.wait_for_selector("#drawer:not([hidden]) .say")
    assert "Bought 100 AAPL" in page.inner_text("#drawer")
    assert page.url.endswith(f"/decisions/aapl-swing/{spot['decision']}/")
    window.shoot("drawer")
    assert not window.findings()
    # The focus stays inside, however often Tab is pressed.
    for _ in range(12):
        page.keyboard.press("Tab")
    assert page.evaluate("document.querySelector('#drawer').contains(document.activeElement)")
    page.keyboard.press("Escape")
    page.wait_for_selector("#drawer", state="hidden")
    assert page.evaluate("location.pathname") == "/"
    page.go_back()
    page.wait_for_selector("#drawer:not([hidden])")


def test_the_drawer_gives_the_focus_back_to_its_link(visit):
    factories.desk()
    window = visit(factories.operator(), 390)
    window.go("/decisions/")
    link = window.page.locator("table a[data-drawer]").first
    link.focus()
    window.page.keyboard.press("Enter")
    window.page.wait_for_selector("#drawer:not([hidden])")
    window.shoot("drawer")
    window.page.click("[data-close-drawer]")
    assert window.page.evaluate("document.activeElement === document.querySelector('table a[data-drawer]')")


def test_a_new_bar_patches_the_chart_and_a_new_fill_the_panels(visit):
    desk = factories.desk()
    window = visit(factories.operator())
    window.go("/")
    page = window.page
    page.wait_for_selector("#strip.hidden", state="attached")
    before = page.evaluate(f"{CHART}.bars.length")
    page.evaluate("window.stillHere = true")
    stream = desk.aapl.stream
    Stream.objects.filter(pk=stream.pk).update(cursor=stream.cursor + timedelta(days=1))
    notify("bar", instrument=desk.aapl.instrument_id, stream=stream.pk)
    window.wait_until(f"{CHART}.bars.length === {before + 1}")
    window.wait_until("document.querySelector('#panel-bar').innerText.includes('2011-06-22')")
    Event.objects.create(kind="order.filled", message="Bought 5 AAPL at 213.60")
    notify("event")
    window.wait_until("document.querySelector('#panel-events').innerText.includes('Bought 5 AAPL')")
    assert page.evaluate("window.stillHere") and window.troubles == []


def test_the_replay_speed_is_set_without_leaving_the_page(visit):
    desk = factories.desk()
    window = visit(factories.operator())
    window.go("/")
    window.page.select_option("#panel-replay select", "20")
    window.page.wait_for_selector(".toast.success")
    assert Stream.objects.get(pk=desk.aapl.stream_id).bars_per_second == 20
    assert window.troubles == []


def test_a_lost_connection_is_shown_and_everything_refreshes_when_it_is_back(visit, server):
    factories.desk()
    window = visit(factories.operator())
    window.go("/")
    page = window.page
    page.wait_for_timeout(1000)
    server.stop()
    try:
        page.wait_for_selector("#strip:not(.hidden)", timeout=15_000)
        assert "numbers are" in page.inner_text("#strip")
        window.shoot("reconnecting")
        Event.objects.create(kind="system.note", message="written while nobody listened")
    finally:
        server.start()
    page.wait_for_selector("#strip.hidden", state="attached", timeout=30_000)
    window.wait_until(
        "document.querySelector('#panel-events').innerText.includes('written while nobody listened')", seconds=15
    )


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize("width", [1440, 390])
def test_trading_is_stopped_from_any_page_with_and_without_scripts(visit, width, script):
    factories.desk()
    window = visit(factories.operator(), width, java_script_enabled=script)
    window.go("/logs/")
    page = window.page
    page.click(".bar .kill")
    form = page.locator("dialog[open] form, main form[action='/stop/engage/']").first
    form.locator("input[name=reason]").fill("the feed looks wrong")
    if script:
        window.shoot("stop-dialog")
    form.locator("button.danger").click()
    page.wait_for_selector("text=All trading is stopped.")
    banner = page.inner_text(".banner")
    assert "olga" in banner and "the feed looks wrong" in banner and "canceled in" in banner
    window.shoot("stopped" if script else "stopped-plain")
    page.click(".banner a")
    form = page.locator("dialog[open] form, main form[action='/stop/rearm/']").first
    form.locator("input[name=reason]").fill("checked")
    form.locator("button.primary").click()
    page.wait_for_selector("text=Trading is allowed again")
    assert page.locator(".banner").count() == 0


def test_stopping_elsewhere_shows_here_at_once(visit):
    from risk import kill_switch

    desk = factories.desk()
    window = visit(factories.viewer())
    window.go("/decisions/")
    window.page.wait_for_timeout(500)
    kill_switch.engage(desk.account, reason="from the command line", actor="root")
    window.page.wait_for_selector("text=from the command line")
    window.page.wait_for_selector(".bar .kill:has-text('Trading is stopped')")


def test_the_lane_leads_to_decisions_that_made_no_order(visit):
    factories.desk()
    window = visit(factories.operator())
    window.go("/")
    page = window.page
    spot = page.evaluate(
        f"""(() => {{ const view = {CHART}, pane = view.chart.panes()[1].getHTMLElement().getBoundingClientRect();
        const box = document.querySelector('#chart > div').getBoundingClientRect();
        const time = view.lane[10][0], x = box.x + view.chart.timeScale().timeToCoordinate(time);
        return {{ x, y: pane.y + pane.height / 2, time }}; }})()"""
    )
    page.mouse.click(spot["x"], spot["y"])
    page.wait_for_selector("#drawer:not([hidden]) .say")
    assert page.url.endswith(f"/{spot['time']}/")
