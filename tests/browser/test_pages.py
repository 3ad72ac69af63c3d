"""Every page in a real browser: fits, throws nothing, can be used by everybody, stays light."""

import gzip

import pytest
from django.urls import reverse

from tests import factories

pytestmark = [pytest.mark.browser]

WIDTHS = (1440, 390)
MOST_KILOBYTES = 350


def pages(desk: factories.Desk) -> dict[str, str]:
    """Name and address of every page."""
    decision = desk.aapl.decisions.filter(label="buy").latest("time")
    version = desk.aapl.deployed_version
    return {
        "dashboard": "/",
        "dashboard-etf": "/?agent=ndx3x-trend",
        "agents": "/agents/",
        "agent": "/agents/aapl-swing/",
        "decisions": "/decisions/",
        "decision": reverse("decision", args=["aapl-swing", int(decision.time.timestamp())]),
        "orders": "/orders/",
        "trades": "/orders/?tab=trades",
        "training": "/training/",
        "training-run": reverse("training-run", args=[version.run_id]),
        "backtests": "/backtests/",
        "backtest": reverse("backtest", args=[version.backtests.get().pk]),
        "logs": "/logs/",
        "stop": "/stop/",
    }


def look(window, name: str, address: str) -> list[str]:
    """What is wrong with a page, in words."""
    window.troubles.clear()
    window.go(address)
    window.shoot(name)
    wrong = [f"{name}: {trouble}" for trouble in window.troubles]
    over = window.page.evaluate("document.documentElement.scrollWidth - innerWidth")
    if over > 0:
        wrong.append(f"{name} at {window.width}: {over} px too wide")
    return wrong + [f"{name} at {window.width}: {finding}" for finding in window.findings()]


@pytest.mark.parametrize("width", WIDTHS)
def test_every_page_is_clean(visit, width):
    desk = factories.desk()
    factories.training_run(desk.ndx, finished=False, progress=0.37)
    window = visit(factories.operator(), width)
    wrong = [trouble for name, address in pages(desk).items() for trouble in look(window, name, address)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("width", WIDTHS)
def test_every_empty_page_is_clean(visit, width):
    window = visit(factories.operator(), width)
    addresses = ("", "agents", "decisions", "orders", "training", "backtests", "logs", "stop")
    wrong = [
        t for name in addresses for t in look(window, f"empty-{name or 'dashboard'}", f"/{name}/".replace("//", "/"))
    ]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("pair", ["green-red", "blue-orange"])
def test_the_light_theme_keeps_its_contrast(visit, pair):
    desk = factories.desk()
    window = visit(factories.operator())
    window.context.add_cookies(
        [
            {"name": name, "value": value, "url": window.server.address}
            for name, value in (("theme", "light"), ("pair", pair))
        ]
    )
    chosen = {name: pages(desk)[name] for name in ("dashboard", "decision", "orders", "backtest", "training", "stop")}
    wrong = [trouble for name, address in chosen.items() for trouble in look(window, f"{name}-light-{pair}", address)]
    assert not wrong, "\n".join(wrong)


@pytest.mark.parametrize("width", WIDTHS)
def test_pages_for_strangers_and_mistakes_are_clean(visit, width):
    stranger = visit(None, width)
    assert look(stranger, "login", "/login/?next=/logs/") == []
    window = visit(factories.viewer(), width)
    wrong = look(window, "not-found", "/nothing/")
    # The browser itself writes one line about a 404.
    assert [line for line in wrong if "404" not in line] == []


def test_the_dashboard_is_light(visit):
    factories.desk()
    window = visit(factories.operator())
    sizes: dict[str, int] = {}

    def weigh(response) -> None:
        kind = response.request.resource_type
        if kind in ("document", "stylesheet", "script"):
            sizes[response.url] = len(gzip.compress(response.body(), 6))

    window.page.on("response", weigh)
    window.go("/")
    assert sum(sizes.values()) <= MOST_KILOBYTES * 1000, sizes
